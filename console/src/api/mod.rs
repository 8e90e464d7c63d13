//! The JSON API, which the pages use themselves.

pub(crate) mod annotations;
pub(crate) mod audit;
pub(crate) mod comparison;
pub(crate) mod exchange;
pub(crate) mod import;
pub(crate) mod live;
pub(crate) mod models;
pub(crate) mod pictures;
pub(crate) mod runs;
pub(crate) mod session;
pub(crate) mod slices;
pub(crate) mod trainings;
pub(crate) mod work;

use std::sync::Arc;

use axum::extract::State;

use crate::app::Console;

/// What every handler is given.
pub(crate) type App = State<Arc<Console>>;
