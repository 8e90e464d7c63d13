//! The store's buckets, the keys of those who use them, and their rights.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use modiolus_pipeline::Bucket;
use modiolus_store::{S3Options, S3Store};

use crate::garage::Garage;
use crate::member::Member;
use crate::secrets::read;

/// How long the server may take to start.
const START: Duration = Duration::from_secs(120);

/// Where the store is.
#[derive(Debug, Clone, clap::Args)]
pub struct Place {
    /// Garage's interface for administrators
    #[arg(long, env = "MODIOLUS_GARAGE_ADMIN", default_value = "http://garage:3903", value_name = "URL")]
    pub admin: String,
    /// Garage's S3 interface
    #[arg(long, env = "MODIOLUS__STORE__ENDPOINT", default_value = "http://garage:3900", value_name = "URL")]
    pub endpoint: String,
    /// Garage's region
    #[arg(long, env = "MODIOLUS__STORE__REGION", default_value = "garage")]
    pub region: String,
    /// What stands before the names of the buckets
    #[arg(long, env = "MODIOLUS__STORE__BUCKET_PREFIX", default_value = "modiolus-")]
    pub bucket_prefix: String,
    /// A file with the certificates (PEM) of who vouches for the S3 interface, for TLS
    #[arg(long, env = "MODIOLUS__STORE__CA_FILE", value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
}

/// Makes buckets, keys and rules, and sets the rights.
///
/// # Errors
/// When the server doesn't come, or refuses; says what.
pub fn prepare(all: &Path, place: &Place) -> Result<()> {
    ensure!(place.admin.starts_with("http://"), "--admin: http://HOST:PORT: Garage's interface has no TLS");
    let garage = Garage::new(&place.admin, read(all, "garage-admin.token")?);
    garage.wait(START)?;
    for member in Member::all() {
        let name = member.name();
        garage.import_key(name, &key(all, member)?, &read(all, &format!("store-{name}.secret"))?)?;
    }
    for bucket in Bucket::ALL {
        let id = garage.bucket(&format!("{}{bucket}", place.bucket_prefix))?;
        for member in Member::all() {
            garage.set_rights(&id, &key(all, member)?, member.rights(bucket))?;
        }
    }
    make_rules(all, place)
}

fn key(all: &Path, member: Member) -> Result<String> {
    read(all, &format!("store-{}.key", member.name()))
}

/// Through S3, as on any other server.
fn make_rules(all: &Path, place: &Place) -> Result<()> {
    let options = S3Options {
        region: place.region.clone(),
        bucket_prefix: place.bucket_prefix.clone(),
        ca_file: place.ca_file.clone(),
        ..S3Options::new(&place.endpoint, key(all, Member::Init)?, read(all, "store-init.secret")?)
    };
    let store = S3Store::new(options)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(store.create_buckets()).context("the rules of the buckets")?;
    Ok(())
}
