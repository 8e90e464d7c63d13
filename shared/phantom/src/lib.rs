//! Procedurally made CBCT patients with a cochlear implant, and the truth about them.
#![warn(missing_docs)]

mod anatomy;
mod arrays;
mod cochlea;
mod draw;
mod export;
mod implant;
mod metal;
mod noise;
mod objects;
mod patient;
mod scanner;
mod slice;
mod space;

pub use arrays::{ArrayModel, MODELS, Vendor};
pub use export::{ExportOptions, MAX_FILES, MAX_PATIENTS, PhantomError, Summary, export};
pub use slice::{PhantomSlice, SliceContact, SliceOptions, slice};
