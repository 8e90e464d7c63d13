//! What people's tools do with a store, whether on a command line or on a page: start runs and see how far they are,
//! choose models, find files, take in what people drew, and train anew for it.

pub mod annotations;
pub mod chunks;
pub mod dataset;
pub mod dead;
pub mod exported;
pub mod file;
pub mod labelled;
pub mod models;
pub mod names;
pub mod network;
pub mod objects;
pub mod place;
pub mod retraining;
pub mod runs;
pub mod start;
pub mod trainings;
pub mod upload;
pub mod uploaded;
pub mod walk;
