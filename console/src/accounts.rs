//! Who may log in: an object for each, in the console's own bucket.
//!
//! An account is changed by writing it anew. Its `epoch` is drawn anew whenever all of its sessions have to end: a session
//! names the epoch that it was begun in.

pub(crate) mod password;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use modiolus_operations::objects;
use modiolus_pipeline::key::ACCOUNTS_PREFIX;
use modiolus_pipeline::{AccountName, Bucket, Digest, ObjectKey};
use modiolus_store::ObjectStore;
use serde::{Deserialize, Serialize};

use crate::app::{Role, random};
use crate::clock::Clock;

/// How long a one-time link is good, in seconds.
const LINK_SECONDS: i64 = 24 * 3600;

/// For so long, in seconds, an account is not read again: what another process changes counts after that.
const FRESH_SECONDS: i64 = 5;

/// How many accounts are remembered.
const KNOWN: usize = 4096;

/// Somebody who may log in.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Account {
    pub(crate) role: Role,
    /// When it was made, in seconds since 1970.
    added: i64,
    /// The password's argon2id hash, once it is set.
    pub(crate) password: Option<String>,
    /// With which the password can be set without the old one.
    link: Option<Link>,
    /// Sessions of another epoch are over.
    pub(crate) epoch: String,
}

/// A one-time link, of which only the digest is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Link {
    token: Digest,
    /// In seconds since 1970.
    until: i64,
}

impl Account {
    fn is_opened_by(&self, token: &str, now: i64) -> bool {
        self.link.as_ref().is_some_and(|link| now < link.until && link.token == Digest::of(token))
    }
}

/// What a list says of an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// The login name.
    pub name: AccountName,
    /// What they may do.
    pub role: Role,
    /// When the account was made, in seconds since 1970.
    pub added: i64,
    /// Whether they have a password.
    pub has_password: bool,
    /// Until when a one-time link is good that nobody has used, in seconds since 1970.
    pub link_until: Option<i64>,
}

/// A new one-time link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Invitation {
    /// For whom.
    pub name: AccountName,
    /// The path on the review page. Whoever has it may set the password.
    pub link: String,
    /// Until when it is good, in seconds since 1970.
    pub until: i64,
}

/// An account as it was read, and when.
type Known = (Option<Arc<Account>>, i64);

/// The accounts of a store.
pub struct Accounts {
    store: Arc<dyn ObjectStore>,
    clock: Clock,
    known: Mutex<HashMap<AccountName, Known>>,
    /// One change at a time.
    turn: tokio::sync::Mutex<()>,
}

impl Accounts {
    /// Those of this store.
    pub fn new(store: Arc<dyn ObjectStore>, clock: Clock) -> Self {
        Self { store, clock, known: Mutex::default(), turn: tokio::sync::Mutex::default() }
    }

    /// All of them, by name.
    ///
    /// # Errors
    /// When the store can't be read, or an account in it is damaged.
    pub async fn list(&self) -> Result<Vec<Listed>> {
        let mut all = Vec::new();
        for name in self.names().await? {
            let Some(Account { role, added, password, link, .. }) = self.read(&name).await? else { continue };
            let link = link.filter(|link| self.clock.now() < link.until);
            let (has_password, link_until) = (password.is_some(), link.map(|link| link.until));
            all.push(Listed { name, role, added, has_password, link_until });
        }
        Ok(all)
    }

    /// Whether there is none.
    ///
    /// # Errors
    /// When the store can't be read.
    pub async fn is_empty(&self) -> Result<bool> {
        Ok(self.names().await?.is_empty())
    }

    async fn names(&self) -> Result<Vec<AccountName>> {
        let paths = self.store.list(Bucket::Console, ACCOUNTS_PREFIX).await?;
        let name = |path: &String| path.strip_prefix(ACCOUNTS_PREFIX)?.strip_suffix(".json")?.parse().ok();
        Ok(paths.iter().filter_map(name).collect())
    }

    /// Makes an account, whose password is set with the link.
    ///
    /// # Errors
    /// When there is one of that name, or the store fails.
    pub async fn add(&self, name: AccountName, role: Role) -> Result<Invitation> {
        let _turn = self.turn.lock().await;
        if self.read(&name).await?.is_some() {
            bail!(
                "{name} has an account: `modiolus users link {name}` makes a new link, `modiolus users role` another role"
            );
        }
        let account = Account { role, added: self.clock.now(), password: None, link: None, epoch: random()? };
        self.invite(name, account).await
    }

    /// Makes a new link. The one before is good for nothing any more; the password is, until another is set.
    ///
    /// # Errors
    /// When there is no such account, or the store fails.
    pub async fn renew_link(&self, name: AccountName) -> Result<Invitation> {
        let _turn = self.turn.lock().await;
        let account = self.wanted(&name).await?;
        self.invite(name, account).await
    }

    async fn invite(&self, name: AccountName, mut account: Account) -> Result<Invitation> {
        let (token, until) = (random()?, self.clock.now() + LINK_SECONDS);
        account.link = Some(Link { token: Digest::of(&token), until });
        self.write(&name, account).await?;
        Ok(Invitation { link: format!("/link/{name}/{token}"), name, until })
    }

    /// Gives somebody another role.
    ///
    /// # Errors
    /// When there is no such account, or the store fails.
    pub async fn set_role(&self, name: &AccountName, role: Role) -> Result<()> {
        let _turn = self.turn.lock().await;
        let account = Account { role, ..self.wanted(name).await? };
        self.write(name, account).await
    }

    /// Removes an account; its sessions are over.
    ///
    /// # Errors
    /// When there is no such account, or the store fails.
    pub async fn remove(&self, name: &AccountName) -> Result<()> {
        let _turn = self.turn.lock().await;
        self.wanted(name).await?;
        self.store.delete(&ObjectKey::Account(name.clone())).await?;
        self.note(name, None);
        Ok(())
    }

    /// Whether a link is good.
    pub(crate) async fn is_link(&self, name: &AccountName, token: &str) -> Result<bool> {
        Ok(self.read(name).await?.is_some_and(|account| account.is_opened_by(token, self.clock.now())))
    }

    /// Sets the password of whoever has this link, which is good for nothing after that; `None` where it was already.
    pub(crate) async fn use_link(
        &self,
        name: &AccountName,
        token: &str,
        hash: String,
    ) -> Result<Option<Arc<Account>>> {
        let _turn = self.turn.lock().await;
        let account = self.read(name).await?.filter(|account| account.is_opened_by(token, self.clock.now()));
        match account {
            Some(account) => Ok(Some(self.with_password(name, account, hash).await?)),
            None => Ok(None),
        }
    }

    /// Sets somebody's password; all of their sessions are over.
    pub(crate) async fn set_password(&self, name: &AccountName, hash: String) -> Result<Arc<Account>> {
        let _turn = self.turn.lock().await;
        let account = self.wanted(name).await?;
        self.with_password(name, account, hash).await
    }

    async fn with_password(
        &self,
        name: &AccountName,
        account: Account,
        hash: String,
    ) -> Result<Arc<Account>> {
        let account = Account { password: Some(hash), link: None, epoch: random()?, ..account };
        self.write(name, account.clone()).await?;
        Ok(Arc::new(account))
    }

    /// An account as it was some seconds ago, or is.
    pub(crate) async fn lately(&self, name: &AccountName) -> Result<Option<Arc<Account>>> {
        let now = self.clock.now();
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        match known {
            Some((account, read)) if (read..read + FRESH_SECONDS).contains(&now) => Ok(account),
            _ => self.now(name).await,
        }
    }

    /// An account as it is.
    pub(crate) async fn now(&self, name: &AccountName) -> Result<Option<Arc<Account>>> {
        let account = self.read(name).await?.map(Arc::new);
        self.note(name, account.clone());
        Ok(account)
    }

    async fn wanted(&self, name: &AccountName) -> Result<Account> {
        self.read(name).await?.with_context(|| format!("{name} has no account: see `modiolus users list`"))
    }

    async fn read(&self, name: &AccountName) -> Result<Option<Account>> {
        objects::json_if_there(&*self.store, ObjectKey::Account(name.clone())).await
    }

    async fn write(&self, name: &AccountName, account: Account) -> Result<()> {
        self.store.put(ObjectKey::Account(name.clone()), serde_json::to_vec(&account)?.into()).await?;
        self.note(name, Some(Arc::new(account)));
        Ok(())
    }

    fn note(&self, name: &AccountName, account: Option<Arc<Account>>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KNOWN {
            known.clear();
        }
        known.insert(name.clone(), (account, self.clock.now()));
    }
}
