//! The review page: people see the runs, correct the masks and start trainings with a mouse.
//!
//! Pages are rendered here, scripts lie in `assets` as they are, and nothing comes from elsewhere. All that a page shows or
//! does goes through the JSON API below `/api/v1`, which describes itself at `/api/v1/openapi.json`.
//!
//! - [`Catalogue`](catalogue::Catalogue): what a run has found, gathered from the objects of its jobs
//! - [`Notes`](notes::Notes): what people said of slices; only ever appended to
//! - [`Accounts`](accounts::Accounts): who may log in; [`Access`]: how people get in at all
//! - [`Works`](works::Works): where jobs are done, in this process or in a cluster
//!
//! Patients are pseudonyms here. Paths and PatientIDs of a delivery are read to name slices and are never shown.

pub mod access;
pub mod accounts;
pub mod api;
mod app;
mod archive;
mod assets;
mod audit;
pub mod catalogue;
pub mod clock;
mod cookie;
mod describe;
mod extract;
mod failure;
mod guard;
mod login;
pub mod notes;
mod pages;
mod progress;
mod proposals;
mod server;
mod sessions;
mod throttle;
mod upload;
#[cfg(test)]
mod watched_store;
pub mod works;

pub use access::Access;
pub use app::{Console, Role, Who};
pub use server::{Options, router, serve};
