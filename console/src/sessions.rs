//! Who has logged in: an object for each session, named by the digest of what the browser keeps.
//!
//! Whoever reads the store can't go on with a session: only the browser has what the digest is of.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use modiolus_operations::objects;
use modiolus_pipeline::key::SESSIONS_PREFIX;
use modiolus_pipeline::{AccountName, Bucket, Digest, ObjectKey};
use modiolus_store::ObjectStore;
use serde::{Deserialize, Serialize};

use crate::accounts::Accounts;
use crate::app::{Role, random};
use crate::clock::Clock;

/// A session ends after so long without a request, in seconds.
pub(crate) const IDLE_SECONDS: i64 = 2 * 3600;

/// A session ends after so long, in seconds: a working day.
pub(crate) const LONGEST_SECONDS: i64 = 12 * 3600;

/// For so long, in seconds, a session is not read again: one that another process ends is over after that.
const FRESH_SECONDS: i64 = 5;

/// After so long, in seconds, it is written down that a session is used.
const NOTED_SECONDS: i64 = 300;

/// How many sessions are remembered.
const KNOWN: usize = 4096;

/// A session as it is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Session {
    account: AccountName,
    /// The account's when it was begun.
    epoch: String,
    /// In seconds since 1970.
    started: i64,
    /// When it was used last, in seconds since 1970, about.
    seen: i64,
}

impl Session {
    fn is_over(&self, now: i64) -> bool {
        now >= self.seen + IDLE_SECONDS || now >= self.started + LONGEST_SECONDS
    }
}

#[derive(Clone)]
struct Known {
    session: Session,
    /// When it was read, in seconds since 1970.
    read: i64,
    /// When its last use was written down.
    noted: i64,
}

/// The sessions of a store.
pub(crate) struct Sessions {
    store: Arc<dyn ObjectStore>,
    accounts: Arc<Accounts>,
    clock: Clock,
    known: Mutex<HashMap<Digest, Known>>,
    /// How many were ended: what was read before the last end is not remembered.
    ended: AtomicU64,
    /// What is ended is not written again by whoever notes that it is used.
    turn: tokio::sync::Mutex<()>,
}

impl Sessions {
    pub(crate) fn new(store: Arc<dyn ObjectStore>, accounts: Arc<Accounts>, clock: Clock) -> Self {
        let (known, ended, turn) = (Mutex::default(), AtomicU64::new(0), tokio::sync::Mutex::default());
        Self { store, accounts, clock, known, ended, turn }
    }

    /// Begins one; what the browser has to keep.
    pub(crate) async fn begin(&self, account: AccountName, epoch: &str) -> Result<String> {
        let (id, now) = (random()?, self.clock.now());
        let session = Session { account, epoch: epoch.to_owned(), started: now, seen: now };
        self.write(Digest::of(&id), &session).await?;
        Ok(id)
    }

    /// Whose it is, unless it is over.
    pub(crate) async fn whose(&self, id: &str) -> Result<Option<(AccountName, Role)>> {
        // Anything else is no session of ours, and not worth a look into the store.
        if id.parse::<Digest>().is_err() {
            return Ok(None);
        }
        let (digest, now, ended) = (Digest::of(id), self.clock.now(), self.ended.load(Ordering::SeqCst));
        let Some(mut known) = self.lately(digest, now).await? else { return Ok(None) };
        let account = self.accounts.lately(&known.session.account).await?;
        let account = account.filter(|account| account.epoch == known.session.epoch);
        let Some(account) = account.filter(|_| !known.session.is_over(now)) else {
            self.end(id).await?;
            return Ok(None);
        };
        known.session.seen = known.session.seen.max(now);
        if now >= known.noted + NOTED_SECONDS && self.note(digest, &known.session).await? {
            known.noted = now;
        }
        let name = known.session.account.clone();
        self.remember(digest, known, ended);
        Ok(Some((name, account.role)))
    }

    /// Ends one.
    pub(crate) async fn end(&self, id: &str) -> Result<()> {
        let _turn = self.turn.lock().await;
        let digest = Digest::of(id);
        self.ended.fetch_add(1, Ordering::SeqCst);
        self.lock().remove(&digest);
        Ok(self.store.delete(&ObjectKey::Session(digest)).await?)
    }

    /// Removes those that are over; how many.
    pub(crate) async fn sweep(&self) -> Result<usize> {
        let mut swept = 0;
        for path in self.store.list(Bucket::Console, SESSIONS_PREFIX).await? {
            let name = path.strip_prefix(SESSIONS_PREFIX).and_then(|name| name.strip_suffix(".json"));
            let Some(digest) = name.and_then(|name| name.parse::<Digest>().ok()) else { continue };
            let session: Option<Session> =
                objects::json_if_there(&*self.store, ObjectKey::Session(digest)).await?;
            let known = self.lock().get(&digest).map_or(0, |known| known.session.seen);
            let Some(mut session) = session else { continue };
            session.seen = session.seen.max(known);
            if session.is_over(self.clock.now()) {
                let _turn = self.turn.lock().await;
                self.store.delete(&ObjectKey::Session(digest)).await?;
                swept += 1;
            }
        }
        Ok(swept)
    }

    async fn lately(&self, digest: Digest, now: i64) -> Result<Option<Known>> {
        let known = self.lock().get(&digest).cloned();
        if let Some(known) = &known
            && (known.read..known.read + FRESH_SECONDS).contains(&now)
        {
            return Ok(Some(known.clone()));
        }
        let session: Option<Session> =
            objects::json_if_there(&*self.store, ObjectKey::Session(digest)).await?;
        let Some(mut session) = session else {
            self.lock().remove(&digest);
            return Ok(None);
        };
        let noted = session.seen;
        session.seen = session.seen.max(known.map_or(0, |known| known.session.seen));
        Ok(Some(Known { session, read: now, noted }))
    }

    /// Writes down that it is used, unless it was ended meanwhile.
    async fn note(&self, digest: Digest, session: &Session) -> Result<bool> {
        let _turn = self.turn.lock().await;
        let is_there = self.store.length(&ObjectKey::Session(digest)).await?.is_some();
        if is_there {
            self.write(digest, session).await?;
        }
        Ok(is_there)
    }

    async fn write(&self, digest: Digest, session: &Session) -> Result<()> {
        Ok(self.store.put(ObjectKey::Session(digest), serde_json::to_vec(session)?.into()).await?)
    }

    fn remember(&self, digest: Digest, known: Known, ended: u64) {
        let mut all = self.lock();
        if self.ended.load(Ordering::SeqCst) != ended {
            return;
        }
        if all.len() >= KNOWN {
            all.clear();
        }
        all.insert(digest, known);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Digest, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
