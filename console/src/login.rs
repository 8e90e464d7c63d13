//! Logging in and out, and setting a password: what has to be right before a session begins.

pub(crate) mod pages;

use std::net::IpAddr;
use std::sync::Arc;

use anyhow::Result;
use axum::http::StatusCode;
use modiolus_pipeline::{AccountName, Digest};
use modiolus_store::ObjectStore;

use crate::accounts::password::Passwords;
use crate::accounts::{Account, Accounts};
use crate::app::{Console, Role, Who, random};
use crate::audit::deed::Deed;
use crate::clock::Clock;
use crate::failure::{ApiResult, Failure};
use crate::sessions::Sessions;
use crate::throttle::Throttle;

/// From one address: so many wrong passwords at once, and one more every so many seconds. A clinic may have one address.
const BY_ADDRESS: (i64, i64) = (30, 20);

/// For one account.
const BY_ACCOUNT: (i64, i64) = (10, 60);

/// Those who log in.
pub(crate) struct Login {
    accounts: Arc<Accounts>,
    sessions: Sessions,
    passwords: Passwords,
    by_address: Throttle,
    by_account: Throttle,
    clock: Clock,
    /// Tells the tokens of those who have no session.
    secret: String,
}

impl Login {
    pub(crate) fn new(store: Arc<dyn ObjectStore>, accounts: Arc<Accounts>, clock: Clock) -> Result<Self> {
        Ok(Self {
            sessions: Sessions::new(store, accounts.clone(), clock.clone()),
            accounts,
            passwords: Passwords::default(),
            by_address: Throttle::new(BY_ADDRESS.0, BY_ADDRESS.1),
            by_account: Throttle::new(BY_ACCOUNT.0, BY_ACCOUNT.1),
            clock,
            secret: random()?,
        })
    }

    /// Somebody who hasn't logged in here, with a token that is good while this process lives.
    pub(crate) fn without_session(&self, who: Who) -> Who {
        let csrf = Digest::of_parts([b"nobody's session", self.secret.as_bytes(), who.name.as_bytes()]);
        Who { csrf: csrf.to_string(), has_session: false, ..who }
    }

    /// Whose session this is, unless it is over. The token follows from the session, so that it lives as long.
    pub(crate) async fn whose(&self, session: &str) -> Result<Option<Who>> {
        let found = self.sessions.whose(session).await?;
        Ok(found.map(|(name, role)| Who {
            csrf: Digest::of_parts([b"session", session.as_bytes()]).to_string(),
            has_session: true,
            ..Who::new(name, role)
        }))
    }

    /// What an account may do.
    pub(crate) async fn role_of(&self, name: &AccountName) -> Result<Option<Role>> {
        Ok(self.accounts.lately(name).await?.map(|account| account.role))
    }

    /// Somebody who has an account of this name.
    async fn known(&self, name: &str) -> Result<Option<Who>> {
        let Ok(name) = name.trim().parse::<AccountName>() else { return Ok(None) };
        Ok(self.role_of(&name).await?.map(|role| Who::new(name, role)))
    }

    /// Begins a session for whoever knows the password; what the browser has to keep.
    ///
    /// # Errors
    /// When it is wrong, or too many were.
    pub(crate) async fn log_in(&self, name: &str, password: String, from: IpAddr) -> ApiResult<String> {
        let name = name.trim().parse::<AccountName>().ok();
        let account = self.with_password(name.as_ref(), password, from).await?;
        match name.zip(account) {
            Some((name, account)) => Ok(self.sessions.begin(name, &account.epoch).await?),
            None => {
                tracing::warn!(%from, "a login failed");
                Err(Failure::new(StatusCode::UNAUTHORIZED, "name or password is wrong"))
            }
        }
    }

    /// The account, if this is its password. Whether there is such an account can't be told from the answer or its time.
    async fn with_password(
        &self,
        name: Option<&AccountName>,
        password: String,
        from: IpAddr,
    ) -> ApiResult<Option<Arc<Account>>> {
        let (address, key) = (network_of(from), name.map_or("", AccountName::as_str).as_bytes());
        let now = self.clock.now();
        let wait = |seconds| Failure::busy("too many wrong passwords", seconds);
        self.by_address.take(&address, now).map_err(wait)?;
        self.by_account.take(key, now).map_err(|seconds| {
            self.by_address.give_back(&address);
            wait(seconds)
        })?;
        let account = match name {
            Some(name) => self.accounts.now(name).await?,
            None => None,
        };
        let hash = account.as_ref().and_then(|account| account.password.clone());
        let is_right = self.passwords.is_right(password, hash).await?;
        if is_right {
            self.by_address.give_back(&address);
            self.by_account.give_back(key);
        }
        Ok(account.filter(|_| is_right))
    }

    /// Ends a session.
    pub(crate) async fn log_out(&self, session: &str) -> Result<()> {
        self.sessions.end(session).await
    }

    /// Whether a one-time link is good.
    pub(crate) async fn is_link(&self, name: &AccountName, token: &str) -> Result<bool> {
        self.accounts.is_link(name, token).await
    }

    /// Sets the password of whoever has a one-time link and begins a session; `None` where the link isn't good any more.
    pub(crate) async fn use_link(
        &self,
        name: &AccountName,
        token: &str,
        password: String,
    ) -> ApiResult<Option<String>> {
        let hash = self.passwords.hash(password).await?;
        match self.accounts.use_link(name, token, hash).await? {
            Some(account) => Ok(Some(self.sessions.begin(name.clone(), &account.epoch).await?)),
            None => Ok(None),
        }
    }

    /// Sets another password for whoever knows the one before, ends their sessions and begins one; `None` where they don't.
    pub(crate) async fn change_password(
        &self,
        name: &AccountName,
        before: String,
        password: String,
        from: IpAddr,
    ) -> ApiResult<Option<String>> {
        if self.with_password(Some(name), before, from).await?.is_none() {
            return Ok(None);
        }
        let hash = self.passwords.hash(password).await?;
        let account = self.accounts.set_password(name, hash).await?;
        Ok(Some(self.sessions.begin(name.clone(), &account.epoch).await?))
    }

    /// Removes the sessions that are over.
    pub(crate) async fn sweep(&self) -> Result<usize> {
        self.sessions.sweep().await
    }
}

impl Console {
    /// Logs somebody in, and notes it.
    pub(crate) async fn log_in(&self, name: &str, password: String, from: IpAddr) -> ApiResult<String> {
        let begun = self.login.log_in(name, password, from).await;
        let who = match &begun {
            Ok(session) => self.login.whose(session).await?,
            // The name of nobody may be anything, such as a password in the wrong field.
            Err(_) => self.login.known(name).await?,
        };
        let status = begun.as_ref().map_or_else(Failure::status, |_| StatusCode::OK);
        self.journal.note(who.as_ref(), Deed::new("logged in", None), status);
        begun
    }
}

/// Whoever has an address of version 6 has 2^64 of them.
fn network_of(address: IpAddr) -> Vec<u8> {
    match address.to_canonical() {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets()[..8].to_vec(),
    }
}
