//! How a process is told to stop.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The first SIGTERM or SIGINT cancels `stop`, so that jobs end or are handed back; the second ends the process at once.
/// `tell` is called before, with whether it is the second. Needs a tokio runtime.
///
/// # Errors
/// When the system lets this process listen to no signals.
pub fn stop_on_signal(
    stop: CancellationToken,
    tell: impl Fn(bool) + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(tokio::spawn(async move {
        for last in [false, true] {
            tokio::select! { _ = terminate.recv() => (), _ = interrupt.recv() => () }
            tell(last);
            if last {
                std::process::exit(1);
            }
            stop.cancel();
        }
    }))
}
