//! The review page: people see the runs, correct the masks and start trainings with a mouse.
//!
//! Pages are rendered here, scripts lie in `assets` as they are, and nothing comes from elsewhere. All that a page shows or
//! does goes through the JSON API below `/api/v1`, which describes itself at `/api/v1/openapi.json`.
//!
//! - [`Catalogue`](catalogue::Catalogue): what a run has found, gathered from the objects of its jobs
//! - [`Notes`](notes::Notes): what people said of slices; only ever appended to
//! - [`Works`](works::Works): where jobs are done, in this process or in a cluster
//!
//! Patients are pseudonyms here. Paths and PatientIDs of a delivery are read to name slices and are never shown.

pub mod api;
mod app;
mod archive;
mod assets;
pub mod catalogue;
mod extract;
mod failure;
mod guard;
pub mod notes;
mod pages;
mod progress;
mod proposals;
mod server;
mod upload;
pub mod works;

pub use app::{Console, Role, Who};
pub use server::{Options, router, serve};
