//! The epochs as they end: a table on standard output, a bar on standard error.

use std::sync::Mutex;
use std::time::Instant;

use anyhow::Result;
use modiolus_pipeline::ProgressEvent;
use modiolus_pipeline::job::train::EpochMetrics;

use crate::output;
use crate::terminal::{self, Bar};

/// A table that grows by a row an epoch.
pub(super) struct EpochTable {
    json: bool,
    /// On a terminal; elsewhere the rows say how far it is.
    bar: Option<Bar>,
    /// The last epoch shown.
    shown: Mutex<u32>,
    started: Instant,
}

impl EpochTable {
    /// The table of so many epochs, as text or as JSON lines.
    pub(super) fn new(json: bool, epochs: u32) -> Self {
        let bar = terminal::is_there().then(|| Bar::new("Training", epochs.into(), "epochs"));
        Self { json, bar, shown: Mutex::new(0), started: Instant::now() }
    }

    /// Shows those of these epochs that were not shown yet: of an earlier start, or told to nobody.
    pub(super) fn catch_up(&self, epochs: &[EpochMetrics]) -> Result<()> {
        epochs.iter().try_for_each(|metrics| self.show(metrics))
    }

    /// Shows an epoch that has ended.
    pub(super) fn follow(&self, event: &ProgressEvent) {
        if let ProgressEvent::Epoch(metrics) = event {
            // Nobody may be reading any more; the model is what counts.
            let _ = self.show(metrics);
        }
    }

    /// Takes the bar away.
    pub(super) fn finish(self) {
        if let Some(bar) = self.bar {
            bar.finish();
        }
    }

    fn show(&self, metrics: &EpochMetrics) -> Result<()> {
        let Ok(mut shown) = self.shown.lock() else { return Ok(()) };
        // A job that was delivered twice tells its epochs twice.
        if metrics.epoch <= *shown {
            return Ok(());
        }
        let is_first = *shown == 0;
        if let Some(bar) = &self.bar {
            bar.advance(u64::from(metrics.epoch - *shown));
        }
        *shown = metrics.epoch;
        if self.json {
            return output::json_line(metrics);
        }
        let seconds = self.started.elapsed().as_secs();
        terminal::aside(|| {
            if is_first {
                output::line(&heading(metrics.held_out))?;
            }
            output::line(&row(metrics, seconds))
        })
    }
}

fn heading(held_out: bool) -> String {
    let judged = if held_out { "held out" } else { "trained on" };
    format!(
        "{:>9}  {:>8}  {:>12}  {:>6}  {:>6}  {:>7}   (IoU and Dice: {judged})",
        "epoch", "loss", "judged loss", "IoU", "Dice", "seconds"
    )
}

fn row(metrics: &EpochMetrics, seconds: u64) -> String {
    let EpochMetrics { epoch, epochs, loss, judged_loss, iou, dice, .. } = metrics;
    let of = format!("{epoch}/{epochs}");
    format!("{of:>9}  {loss:>8.4}  {judged_loss:>12.4}  {iou:>6.3}  {dice:>6.3}  {seconds:>7}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stand_under_their_heading_and_an_epoch_is_shown_once() {
        let metrics = EpochMetrics {
            epoch: 2,
            epochs: 12,
            loss: 0.5,
            judged_loss: 0.25,
            iou: 0.75,
            dice: 0.857,
            held_out: true,
        };
        let (heading, row) = (heading(true), row(&metrics, 3));
        assert_eq!(heading.find("IoU").unwrap() + 3, row.find("0.750").unwrap() + 5);
        let table = EpochTable::new(true, 12);
        table.show(&metrics).unwrap();
        table.follow(&ProgressEvent::Epoch(EpochMetrics { epoch: 1, ..metrics }));
        assert_eq!(*table.shown.lock().unwrap(), 2);
    }
}
