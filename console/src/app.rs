//! What all requests share.

use std::str::FromStr;
use std::sync::Arc;

use anyhow::{Context, Result};
use modiolus_operations::retraining::Retraining;
use modiolus_pipeline::Digest;
use modiolus_runtime::CancellationToken;
use modiolus_store::ObjectStore;
use serde::{Deserialize, Serialize};
use tokio_util::task::TaskTracker;
use utoipa::ToSchema;

use crate::access::Access;
use crate::accounts::Accounts;
use crate::audit::Journal;
use crate::catalogue::Catalogue;
use crate::clock::Clock;
use crate::login::Login;
use crate::notes::Notes;
use crate::pages::Pages;
use crate::progress::Watching;
use crate::upload::{BOUNDS, Bounds};
use crate::works::Works;

/// The console of one store.
pub struct Console {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) works: Arc<dyn Works>,
    pub(crate) catalogue: Catalogue,
    pub(crate) notes: Notes,
    pub(crate) retraining: Retraining,
    pub(crate) watching: Watching,
    /// How large a delivery may be.
    pub(crate) bounds: Bounds,
    /// Whether those who watch are sent away.
    pub(crate) stopping: CancellationToken,
    /// What people have begun to change, whether or not they wait for what comes of it.
    pub(crate) deeds: TaskTracker,
    pub(crate) pages: Pages,
    pub(crate) clock: Clock,
    pub(crate) access: Access,
    pub(crate) login: Login,
    pub(crate) journal: Journal,
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Who {
    /// Their name, as it stands beside what they say.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// What their requests that change something have to bring: a page of another site can't read it.
    #[serde(skip)]
    pub(crate) csrf: String,
    /// Whether they have logged in here, and may log out.
    #[serde(skip)]
    pub(crate) has_session: bool,
}

impl Who {
    /// Somebody of this name.
    pub fn new(name: impl Into<String>, role: Role) -> Self {
        Self { name: name.into(), role, csrf: String::new(), has_session: false }
    }
}

/// What somebody may do; each may do what the ones before may.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Look.
    #[default]
    Viewer,
    /// Say what is on a slice.
    Annotator,
    /// Start runs and trainings, choose the model.
    Operator,
}

impl Role {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Annotator => "annotator",
            Self::Operator => "operator",
        }
    }
}

impl FromStr for Role {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let all = [Self::Viewer, Self::Annotator, Self::Operator];
        let role = all.into_iter().find(|role| role.name() == text);
        role.with_context(|| format!("{text:?} is no role: viewer, annotator or operator"))
    }
}

impl Console {
    /// A console over a store, whose jobs are done there.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn new(store: Arc<dyn ObjectStore>, works: Arc<dyn Works>, access: Access) -> Result<Self> {
        Self::at(Clock::system(), store, works, access)
    }

    /// The same by another clock.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn at(
        clock: Clock,
        store: Arc<dyn ObjectStore>,
        works: Arc<dyn Works>,
        access: Access,
    ) -> Result<Self> {
        let accounts = Accounts::new(store.clone(), clock.clone());
        Ok(Self {
            catalogue: Catalogue::new(store.clone()),
            notes: Notes::new(store.clone()),
            retraining: Retraining::new(store.clone()),
            watching: Watching::default(),
            bounds: BOUNDS,
            stopping: CancellationToken::new(),
            deeds: TaskTracker::new(),
            pages: Pages::embedded()?,
            login: Login::new(store.clone(), Arc::new(accounts), clock.clone())?,
            journal: Journal::new(store.clone(), clock.clone())?,
            clock,
            store,
            works,
            access,
        })
    }

    /// Takes deliveries that have at most so many GiB.
    #[must_use]
    pub fn with_deliveries_up_to(mut self, gib: u32) -> Self {
        self.bounds = Bounds::of_gib(gib);
        self
    }
}

/// 256 bits that nobody can guess, as hexadecimal digits.
pub(crate) fn random() -> Result<String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).context("the system has no random numbers")?;
    Ok(Digest::from(bytes).to_string())
}
