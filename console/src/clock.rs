//! What time it is.

use std::sync::Arc;

use modiolus_operations::start::now;

/// A clock; tests turn its hands.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> i64 + Send + Sync>);

impl Clock {
    /// The system's.
    pub fn system() -> Self {
        Self(Arc::new(now))
    }

    /// One that shows what `seconds` gives, in seconds since 1970.
    pub fn showing(seconds: impl Fn() -> i64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(seconds))
    }

    /// The time, in seconds since 1970.
    pub fn now(&self) -> i64 {
        (self.0)()
    }
}
