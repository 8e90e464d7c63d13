//! Procedurally made CBCT patients with a cochlear implant, and the truth about them.
#![warn(missing_docs)]

mod anatomy;
mod arrays;
mod cochlea;
mod draw;
mod implant;
mod metal;
mod noise;
mod scanner;
mod slice;
mod space;

pub use arrays::{ArrayModel, MODELS, Vendor};
pub use slice::{PhantomSlice, SliceContact, SliceOptions, slice};
