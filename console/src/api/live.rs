//! Something that people watch while it goes on, as server-sent events.

use std::convert::Infallible;
use std::pin::Pin;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, KeepAliveStream, Sse};
use futures::Stream;
use futures::stream::unfold;
use modiolus_runtime::CancellationToken;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use crate::failure::ApiResult;

/// How often it is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// After so long a watcher has to ask again, as browsers do by themselves: their session may be over by now.
const LONGEST: Duration = Duration::from_secs(300);

/// The events of a watched thing.
pub(crate) type Live = Sse<KeepAliveStream<Pin<Box<dyn Stream<Item = Result<Event, Infallible>> + Send>>>>;

/// What can be watched.
pub(crate) trait Watched: Serialize + Send {
    /// Whether nothing more will happen.
    fn is_over(&self) -> bool;
}

/// `progress` whenever what `look` gives has changed, `done` when it is over, each with its JSON; nothing more when
/// the console stops.
pub(crate) fn watch<T, F, A>(stopping: CancellationToken, look: F) -> Live
where
    T: Watched,
    F: Fn() -> A + Send + Sync + 'static,
    A: Future<Output = ApiResult<T>> + Send,
{
    let watch =
        Watch { look, stopping, told: String::new(), is_over: false, until: Instant::now() + LONGEST };
    let events = unfold(watch, |mut watch| async move { watch.next().await.map(|event| (Ok(event), watch)) });
    let events: Pin<Box<dyn Stream<Item = _> + Send>> = Box::pin(events);
    Sse::new(events).keep_alive(KeepAlive::default())
}

struct Watch<F> {
    look: F,
    stopping: CancellationToken,
    told: String,
    is_over: bool,
    until: Instant,
}

impl<T, F, A> Watch<F>
where
    T: Watched,
    F: Fn() -> A + Send + Sync + 'static,
    A: Future<Output = ApiResult<T>> + Send,
{
    async fn next(&mut self) -> Option<Event> {
        while !self.is_over && Instant::now() < self.until {
            // What can't be read now may be later: whoever watches sees that nothing changes.
            if let Ok(found) = (self.look)().await {
                self.is_over = found.is_over();
                let json = serde_json::to_string(&found).unwrap_or_default();
                if self.is_over || json != self.told {
                    self.told.clone_from(&json);
                    let name = if self.is_over { "done" } else { "progress" };
                    return Some(Event::default().event(name).data(json));
                }
            }
            tokio::select! {
                () = sleep(LOOK) => {}
                () = self.stopping.cancelled() => return None,
            }
        }
        None
    }
}
