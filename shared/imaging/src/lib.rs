//! Pure pixels: everything that Modiolus does to a picture, and nothing else.
//!
//! A picture is a [`Grid`]: rows by columns, row-major, position `(row, column)`, the centre of the top left pixel at
//! `(0.0, 0.0)`. The crate turns modality values into pictures ([`window`]), pictures into network input and back
//! ([`anatomy`], [`frame`], [`resize`]), drawings into masks ([`annotation`]) and masks into pictures, outlines
//! and numbers ([`overlay`], [`contour`], [`components`], [`measure`], [`metrics`], [`plot`]). [`fingerprint`] tells equal
//! and nearly equal slices, [`score`] orders slices by how clearly an electrode array is visible, [`png`] reads and writes
//! PNG bytes in memory.
//!
//! There is no input or output here, no thread, no clock and no global randomness: equal input gives equal output.

pub mod anatomy;
pub mod annotation;
pub mod components;
pub mod contacts;
pub mod contour;
pub mod fingerprint;
pub mod frame;
pub mod grid;
pub mod measure;
pub mod metrics;
pub mod overlay;
pub mod plot;
pub mod png;
pub mod resize;
pub mod score;
pub mod window;

mod distance;
mod opening;
mod raster;
#[cfg(test)]
mod real;
mod thinning;

pub use frame::Frame;
pub use grid::{Grid, Image8, Mask, PIXELS, Region, Rgb, Spacing, Values};
