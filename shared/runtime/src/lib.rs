//! The one loop behind all stages: receive, fetch, run, put, publish, acknowledge.
//!
//! A job's effects happen in this order: outputs, pointers, [`Manifest`](modiolus_pipeline::Manifest) (the commit),
//! [`Marker`](modiolus_pipeline::Marker), followers, acknowledgement. A crash between any two of these loses nothing: the
//! job comes again, finds its manifest, and does the rest again. A chunk can't look complete while a follower is
//! unpublished, since the marker that is already there names the follower, and the follower's own marker is not.
//!
//! - [`Worker`]: the loop of one stage
//! - [`Joins`]: when a chunk, when a run is complete
//! - [`House`]: several stages and a broker in one process, for one machine
//! - [`config`]: what a program of the cluster is told when it starts
//! - [`faults`]: the same ports with seeded faults, for simulation
//! - [`service`]: what the main of a worker does
//! - [`Telemetry`]: what a worker counts
//! - [`Traces`]: which job followed from which
//! - [`logging`]: what people and machines read on the standard error output

pub mod config;
pub mod deaths;
mod erased;
pub mod event;
pub mod faults;
mod house;
mod join;
pub mod logging;
mod pace;
mod perform;
mod pulse;
pub mod service;
mod stop;
mod telemetry;
mod trace;
mod worker;

pub use erased::{AnyJob, AnyStage};
pub use event::{Event, Notice};
pub use house::{House, HouseError};
pub use join::{FailedJob, Joins, RunOutcome};
pub use pulse::Pulse;
pub use stop::stop_on_signal;
pub use telemetry::Telemetry;
pub use tokio_util::sync::CancellationToken;
pub use trace::Traces;
pub use worker::{Worker, WorkerOptions};
