//! What people's tools do with a store, whether on a command line or on a page: start runs and see how far they are,
//! choose models, find files.

pub mod chunks;
pub mod file;
pub mod models;
pub mod names;
pub mod network;
pub mod objects;
pub mod place;
pub mod runs;
pub mod start;
pub mod walk;
