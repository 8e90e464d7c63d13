//! DICOM files as they come from a hospital: bytes in, typed values or a reason for refusal out. No file is opened here.
//!
//! - [`header`] reads the attributes of a file from its first few kilobytes, in microseconds.
//! - [`decide`] says which plane a slice is cut in and whether that is the wanted one.
//! - [`index`] is what the ingest stage leaves for the filter stage: the attributes or the refusal of every file.
//! - [`instance`] decodes a whole file to its pixels; [`lut`] holds the grey-level transformations of one.
//! - [`deidentify`] takes a patient's identity out of a file; [`identity`] looks for it in the file's name; [`segmentation`] makes one of a mask, [`write`] of made-up images.
//!
//! Everything reads through one strict reader of data elements, which borrows from the input and never
//! allocates by a length that the input promises. Nothing here panics on hostile input, and no [`Refusal`] or `Debug`
//! output holds a patient's identity.
//!
//! [`Refusal`]: modiolus_pipeline::Refusal

mod admission;
pub mod attributes;
mod codec;
mod confidentiality;
mod data_set;
pub mod decide;
pub mod deidentify;
mod element;
pub mod header;
pub mod identity;
pub mod index;
pub mod instance;
pub mod lut;
pub mod picture;
pub mod segmentation;
mod tag;
mod text;
mod transfer;
pub mod write;

pub use attributes::Attributes;
pub use decide::{plane_of, verdict};
pub use deidentify::Deidentifier;
pub use header::{HeaderRead, read_header};
pub use index::{Index, IndexEntry};
pub use instance::{Instance, decode};
pub use lut::{Lut, Voi, WindowFunction};
