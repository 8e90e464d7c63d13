//! Whether a loop still goes on: what `/livez` tells.

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout};

/// How often a loop that waits shows that it does.
const BEAT: Duration = Duration::from_secs(60);

/// After so long without a sign, a loop has stopped: nothing that it does takes so long without showing one. A broker or store
/// that is away is waited for with signs.
const STOPPED: Duration = Duration::from_secs(600);

/// The signs of one loop. Clones are of the same.
#[derive(Debug, Clone, Default)]
pub struct Pulse(Arc<Mutex<Option<Instant>>>);

impl Pulse {
    /// Shows that the loop goes on.
    pub(crate) fn beat(&self) {
        *self.last() = Some(Instant::now());
    }

    /// Waits for something that may take as long as it likes.
    pub(crate) async fn during<T>(&self, wait: impl Future<Output = T>) -> T {
        let mut wait = pin!(wait);
        loop {
            self.beat();
            if let Ok(value) = timeout(BEAT, &mut wait).await {
                return value;
            }
        }
    }

    /// Whether the loop goes on, or has not begun yet.
    pub(crate) fn goes_on(&self) -> bool {
        self.last().is_none_or(|last| last.elapsed() < STOPPED)
    }

    fn last(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_waits_goes_on_and_one_that_shows_no_sign_has_stopped() {
        let pulse = Pulse::default();
        sleep(2 * STOPPED).await;
        assert!(pulse.goes_on(), "it has not begun");
        pulse.during(sleep(5 * STOPPED)).await;
        assert!(pulse.goes_on());
        sleep(STOPPED).await;
        assert!(!pulse.goes_on());
        pulse.beat();
        assert!(pulse.goes_on());
    }
}
