//! What all requests share.

use std::sync::Arc;

use anyhow::{Context, Result};
use modiolus_operations::retraining::Retraining;
use modiolus_pipeline::Digest;
use modiolus_runtime::CancellationToken;
use modiolus_store::ObjectStore;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::catalogue::Catalogue;
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
    pub(crate) pages: Pages,
    /// Who everyone is where nobody is asked.
    pub(crate) everyone: Who,
    /// What a request that changes something has to bring: a page of another site can't read it.
    pub(crate) csrf: String,
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Who {
    /// Their name, as it stands beside what they say.
    pub name: String,
    /// What they may do.
    pub role: Role,
}

/// What somebody may do; each may do what the ones before may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Look.
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

impl Console {
    /// A console over a store, whose jobs are done there.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn new(store: Arc<dyn ObjectStore>, works: Arc<dyn Works>, everyone: Who) -> Result<Self> {
        Ok(Self {
            catalogue: Catalogue::new(store.clone()),
            notes: Notes::new(store.clone()),
            retraining: Retraining::new(store.clone()),
            watching: Watching::default(),
            bounds: BOUNDS,
            stopping: CancellationToken::new(),
            pages: Pages::embedded()?,
            csrf: random()?,
            store,
            works,
            everyone,
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
