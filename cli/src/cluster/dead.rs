//! `modiolus dead`: what a cluster has given up, for people to look at and to decide.
//!
//! Letters are taken from the queues of the dead and go back when the command ends, unless they are replayed or dropped.

use std::collections::{BTreeMap, HashSet};

use anyhow::{Context, Result, bail};
use futures::future::try_join_all;
use modiolus_broker::{Broker, Letter};
use modiolus_operations::dead::{self, DeadLetters};
use modiolus_pipeline::message::{CAUSE_HEADER, CODE_HEADER, MAX_MESSAGE_BYTES};
use modiolus_pipeline::{Digest, Envelope, JobId, RunId, StageError, StageName};
use modiolus_store::ObjectStore;
use serde::Serialize;
use serde_json::Value;

use super::Cluster;
use super::arguments::{Dead, DeadAction, Which};
use crate::failure::Usage;
use crate::output::{self, Table};

/// The header in which the broker says why it gave a letter up.
const BROKERS_REASON: &str = "x-first-death-reason";

/// A dead letter.
#[derive(Debug, Serialize)]
struct DeadLetter {
    /// Names the letter: the start of the digest of its body.
    letter: String,
    stage: StageName,
    run: Option<RunId>,
    chunk: Option<u32>,
    job: Option<JobId>,
    code: String,
    cause: String,
    bytes: usize,
    /// Shown in full only.
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<Content>,
}

/// All that is in a letter.
#[derive(Debug, Serialize)]
struct Content {
    headers: BTreeMap<String, String>,
    /// JSON, or where it is none, text.
    body: Value,
}

/// What happens to the letters that are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    List,
    Show,
    Replay,
    Drop,
}

/// Lists, shows, replays or drops.
pub(crate) async fn dead(options: &Dead) -> Result<()> {
    let (action, which) = match &options.action {
        DeadAction::List(which) => (Action::List, which),
        DeadAction::Show(which) => (Action::Show, which),
        DeadAction::Replay(which) => (Action::Replay, which),
        DeadAction::Drop(which) => (Action::Drop, which),
    };
    which.check(action)?;
    let cluster = Cluster::open(&options.at).await?;
    let letters = go_through(&cluster.broker, &*cluster.store, which, action).await;
    // What was settled is written before the command ends.
    cluster.broker.close().await;
    let letters = letters?;
    if let Some(missing) = which.letters.iter().find(|wanted| !letters.iter().any(|letter| letter.is(wanted)))
    {
        bail!("no dead letter or job is called {missing}: see `modiolus dead list`");
    }
    print(&letters, action, options.json)
}

impl Which {
    /// What changes something must say what it means.
    fn check(&self, action: Action) -> Result<()> {
        let says = self.all || !self.letters.is_empty() || self.stage.is_some() || self.run.is_some();
        if says || action == Action::List {
            return Ok(());
        }
        Err(Usage("which? Name letters or jobs, or give --stage, --run or --all".into()).into())
    }

    fn means(&self, letter: &DeadLetter) -> bool {
        let named = self.letters.is_empty() || self.letters.iter().any(|wanted| letter.is(wanted));
        named && self.run.as_ref().is_none_or(|run| letter.run.as_ref() == Some(run))
    }

    fn stages(&self) -> impl Iterator<Item = StageName> {
        let wanted = self.stage;
        StageName::ALL.into_iter().filter(move |stage| wanted.is_none_or(|wanted| wanted == *stage))
    }
}

/// Looks at the dead of all stages that are meant, and does what is wanted with them.
async fn go_through(
    broker: &dyn Broker,
    store: &dyn ObjectStore,
    which: &Which,
    action: Action,
) -> Result<Vec<DeadLetter>> {
    let stages = which.stages().map(|stage| go_through_stage(broker, store, which, action, stage));
    Ok(try_join_all(stages).await?.into_iter().flatten().collect())
}

async fn go_through_stage(
    broker: &dyn Broker,
    store: &dyn ObjectStore,
    which: &Which,
    action: Action,
    stage: StageName,
) -> Result<Vec<DeadLetter>> {
    let mut letters = DeadLetters::of(broker, stage);
    let (mut found, mut held, mut replayed) = (Vec::new(), Vec::new(), HashSet::new());
    while let Some(delivery) = letters.next().await? {
        let letter = DeadLetter::of(&delivery.letter, stage, action == Action::Show);
        if !which.means(&letter) {
            held.push(delivery);
            continue;
        }
        match action {
            Action::List | Action::Show => held.push(delivery),
            Action::Drop => delivery.ack().await?,
            // It may be dead again before we are through: once is enough.
            Action::Replay if !replayed.insert(letter.whose()) => {
                held.push(delivery);
                continue;
            }
            Action::Replay => {
                dead::replay(broker, store, stage, &delivery.letter).await?;
                delivery.ack().await?;
            }
        }
        found.push(letter);
    }
    Ok(found)
}

impl DeadLetter {
    fn of(letter: &Letter, stage: StageName, in_full: bool) -> Self {
        let (scope, job) = Envelope::address(&letter.body).unzip();
        let (code, cause) = why_dead(letter);
        Self {
            letter: Digest::of(&letter.body).short(12),
            stage,
            run: scope.as_ref().map(|scope| scope.run.clone()),
            chunk: scope.map(|scope| scope.chunk),
            job,
            code,
            cause,
            bytes: letter.body.len(),
            content: in_full.then(|| Content {
                headers: letter.headers.clone(),
                body: serde_json::from_slice(&letter.body)
                    .unwrap_or_else(|_| String::from_utf8_lossy(&letter.body).into()),
            }),
        }
    }

    /// Whether it is meant by this name.
    fn is(&self, name: &str) -> bool {
        self.letter == name || self.job.as_ref().is_some_and(|job| job.as_str() == name)
    }

    /// What stays the same however often the letter was tried.
    fn whose(&self) -> (Option<RunId>, Option<u32>, String) {
        let job = self.job.as_ref().map_or_else(|| self.letter.clone(), ToString::to_string);
        (self.run.clone(), self.chunk, job)
    }
}

/// Code and cause: those that a worker has given, or what can be seen of a letter that the broker itself moved to the dead.
fn why_dead(letter: &Letter) -> (String, String) {
    let header = |name: &str| letter.headers.get(name).cloned();
    if let Some(code) = header(CODE_HEADER) {
        return (code, header(CAUSE_HEADER).unwrap_or_default());
    }
    // No worker reads it, so that none has said so.
    if letter.body.len() > MAX_MESSAGE_BYTES
        && let Err(StageError { code, message, .. }) = Envelope::decode(&letter.body)
    {
        return (code.into(), message);
    }
    let by_broker = header(BROKERS_REASON).map(|reason| format!("the broker gave it up: {reason}"));
    ("dead-lettered".into(), by_broker.unwrap_or_default())
}

fn print(letters: &[DeadLetter], action: Action, json: bool) -> Result<()> {
    if json {
        return output::json(&letters);
    }
    match action {
        Action::List => list(letters),
        Action::Show => letters.iter().try_for_each(show),
        Action::Replay => output::line(&format!("{} jobs will be done again", letters.len())),
        Action::Drop => {
            output::line(&format!("{} letters are dropped; their jobs stay failed", letters.len()))
        }
    }
}

fn list(letters: &[DeadLetter]) -> Result<()> {
    if letters.is_empty() {
        return output::line("nothing was given up");
    }
    let mut table = Table::new(&["letter", "stage", "run", "chunk", "job", "code", "cause"]);
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".into());
    for letter in letters {
        table.row([
            letter.letter.clone(),
            letter.stage.to_string(),
            or_dash(letter.run.as_ref().map(ToString::to_string)),
            or_dash(letter.chunk.map(|chunk| chunk.to_string())),
            or_dash(letter.job.as_ref().map(ToString::to_string)),
            letter.code.clone(),
            letter.cause.clone(),
        ]);
    }
    table.print()
}

fn show(letter: &DeadLetter) -> Result<()> {
    let content = letter.content.as_ref().context("a letter that is shown has its content")?;
    output::line(&format!("letter {} for {}, {} bytes", letter.letter, letter.stage, letter.bytes))?;
    for (name, value) in &content.headers {
        output::line(&format!("  {}: {}", output::printable(name), output::printable(value)))?;
    }
    match &content.body {
        Value::String(text) => output::line(&output::printable(text)),
        body => output::json(body),
    }
}

#[cfg(test)]
#[path = "dead_tests.rs"]
mod tests;
