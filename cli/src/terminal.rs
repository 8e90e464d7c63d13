//! How far a command is, on standard error: a bar on a terminal, a line a second elsewhere.

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use modiolus_operations::upload::Told;

/// How often a line is written where there is no terminal.
const PAUSE: Duration = Duration::from_secs(1);

/// The terminal is one, so all bars are drawn together, one below the other.
static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// Whether a person watches.
pub(crate) fn is_there() -> bool {
    io::stderr().is_terminal()
}

/// Says something to the person who waits, above the bars.
pub(crate) fn say(text: &str) {
    // Nobody may be listening; that stops no work.
    let _ = aside(|| writeln!(io::stderr().lock(), "{text}"));
}

/// Runs something that writes to the terminal, without the bars in its way.
pub(crate) fn aside<T>(write: impl FnOnce() -> T) -> T {
    BARS.suspend(write)
}

/// How far a long task is. Shared between threads.
pub(crate) struct Bar {
    label: Mutex<String>,
    unit: &'static str,
    done: AtomicU64,
    total: AtomicU64,
    bar: Option<ProgressBar>,
    last: Mutex<Instant>,
}

impl Bar {
    /// A bar for `total` units (such as "files"); 0 if their number isn't known yet.
    pub(crate) fn new(label: &str, total: u64, unit: &'static str) -> Self {
        let bar = is_there().then(|| {
            let bar = BARS.add(ProgressBar::new(total).with_message(label.to_owned()));
            let template = format!("{{msg}} {{wide_bar}} {{pos}}/{{len}} {unit} {{elapsed}}, {{eta}} left");
            if let Ok(style) = ProgressStyle::with_template(&template) {
                bar.set_style(style);
            }
            bar
        });
        let (done, total) = (AtomicU64::new(0), AtomicU64::new(total));
        let label = Mutex::new(label.to_owned());
        Self { label, unit, done, total, bar, last: Mutex::new(Instant::now()) }
    }

    /// Says something else before the number of units from now on.
    pub(crate) fn relabel(&self, label: &str) {
        label.clone_into(&mut self.label());
        if let Some(bar) = &self.bar {
            bar.set_message(label.to_owned());
        }
    }

    fn label(&self) -> MutexGuard<'_, String> {
        self.label.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// So many more units are known to be coming.
    pub(crate) fn expect(&self, more: u64) {
        let total = self.total.fetch_add(more, Ordering::Relaxed) + more;
        if let Some(bar) = &self.bar {
            bar.set_length(total);
        }
    }

    /// So many more units are done.
    pub(crate) fn advance(&self, units: u64) {
        let done = self.done.fetch_add(units, Ordering::Relaxed) + units;
        match &self.bar {
            Some(bar) => bar.set_position(done),
            None if self.is_due() => say(&self.text()),
            None => {}
        }
    }

    /// All units are done, some perhaps by an earlier process that was stopped: the bar goes, a line stays.
    pub(crate) fn complete(self) {
        self.done.store(self.total.load(Ordering::Relaxed), Ordering::Relaxed);
        self.finish();
    }

    /// The task has ended: the bar goes, a line stays.
    pub(crate) fn finish(self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        say(&self.text());
    }

    fn text(&self) -> String {
        let (done, total) = (self.done.load(Ordering::Relaxed), self.total.load(Ordering::Relaxed));
        match total {
            0 => format!("{}: {done} {}", self.label(), self.unit),
            _ => format!("{}: {done} of {total} {}", self.label(), self.unit),
        }
    }

    fn is_due(&self) -> bool {
        // A lock that is held means that another thread is writing the line.
        let Ok(mut last) = self.last.try_lock() else { return false };
        let due = last.elapsed() >= PAUSE;
        if due {
            *last = Instant::now();
        }
        due
    }
}

impl Told for Bar {
    fn expect(&self, files: u64) {
        Self::expect(self, files);
    }

    fn advance(&self, files: u64) {
        Self::advance(self, files);
    }
}

/// Says that a signal was heard; not at the last, which ends the process.
pub(crate) fn say_stopping(last: bool) {
    if !last {
        say("Stopping; what is done stays done. Once more stops at once.");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_counted_from_many_threads() {
        let bar = Bar::new("predict", 0, "pictures");
        bar.expect(40);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..10).for_each(|_| bar.advance(1)));
            }
        });
        assert_eq!(bar.text(), "predict: 40 of 40 pictures");
    }
}
