//! Procedurally made CBCT patients with a cochlear implant, and the truth about them.
//!
//! Two faces: [`slice()`] makes one slice with its mask for training, [`export`] writes whole patients as a hospital would
//! hand them out. Both look at the same thing: a head in space (bone, inner ear, soft tissue, air), an electrode array of a
//! known make wound into its cochlea, other metal around it, and a scanner that blurs, streaks, drifts and windows.
//! Everything follows from a seed and is the same on every machine (ChaCha8, no system mathematics).
//!
//! # What one sees
//! - The **electrode array** lies in the cochlea, a spiral of two and a half turns: 12 to 22 bright dots (contacts), apart or
//!   melted into a band. Its **lead** is a wire, often as bright, that runs on to the receiver behind the ear; the
//!   receiver's **coil**, cut by the slice, is a zig-zag. Only the array is in the mask.
//! - The bright, even mass around it is the **otic capsule**, with dark fluid-filled holes: duct, vestibule, canals.
//! - Above, behind a bright line (the **tegmen**), is the brain; below and beside, spongy bone, vessels and air cells.
//! - Metal **blooms** (looks larger than it is), throws dark and bright **streaks**, and leaves ripples at its sides.
//!
//! # What the mask means
//! People made masks from real slices by keeping what is brighter than 150 of 255 and erasing all that is no array; so the
//! absolute grey level carries the label. The phantom's mask does the same: pixels brighter than 150 to whose brightness the
//! array contributes. Where the whole array is faint, the level lies half way between its contacts and bone.
//!
//! ```
//! let made = modiolus_phantom::slice(7, &modiolus_phantom::SliceOptions::default());
//! assert_eq!(made.image.size(), made.mask.size());
//! ```

mod anatomy;
mod arrays;
mod cochlea;
mod draw;
mod export;
mod flat;
mod implant;
mod metal;
mod noise;
mod objects;
mod patient;
mod scanner;
mod shapes;
mod slice;
mod space;
mod style;
mod viewer;

pub use arrays::{ArrayModel, MODELS, Vendor};
pub use export::{ExportOptions, MAX_FILES, MAX_PATIENTS, PhantomError, Summary, export};
pub use slice::{PhantomSlice, SliceContact, SliceOptions, slice, slice_onto, training_pair};
pub use style::{Quality, Style};
