//! Random passwords and keys, made at the first start, and handed to those who need them.
//!
//! The folder of all secrets has `broker-USER.password`, `store-MEMBER.key` (an access key's id), `store-MEMBER.secret`,
//! `pseudonym.key`, `garage-rpc.secret` and `garage-admin.token`. Keep a copy: without `pseudonym.key` nobody can tell any more
//! which patient is which.
//!
//! Each member's own folder has only what is its own, under names that are the same for all: `broker.password`, `store.key`,
//! `store.secret`, `pseudonym.key`.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use modiolus_broker::rabbitmq::definitions::{Role, User, definitions};

use crate::member::Member;

/// For the owner only.
pub(crate) const PRIVATE: u32 = 0o600;

/// For everybody who has the folder at all: RabbitMQ and the operator's tool run under users of their own.
pub(crate) const SHARED: u32 = 0o644;

/// Makes the secrets that are missing in `all`.
///
/// # Errors
/// When the folder can't be written, or a secret in it is empty.
pub fn make(all: &Path) -> Result<()> {
    for role in Role::all() {
        secret(all, &format!("broker-{}.password", role.user_name()), || random_hex(24))?;
    }
    for member in Member::all() {
        secret(all, &format!("store-{}.key", member.name()), || Ok(format!("GK{}", random_hex(12)?)))?;
        secret(all, &format!("store-{}.secret", member.name()), || random_hex(32))?;
    }
    for name in ["pseudonym.key", "garage-rpc.secret", "garage-admin.token"] {
        secret(all, name, || random_hex(32))?;
    }
    Ok(())
}

/// Puts into the folder of each member and server below `handed` what is its own. Folders that are not there are passed over.
///
/// # Errors
/// When a secret can't be read, or a folder not be written.
pub fn hand_out(all: &Path, handed: &Path, virtual_host: &str) -> Result<()> {
    for member in Member::all() {
        let own = Folder::of_member(handed, member);
        let name = member.name();
        if member.role().is_some() {
            own.copy(all, &format!("broker-{name}.password"), "broker.password")?;
        }
        own.copy(all, &format!("store-{name}.key"), "store.key")?;
        own.copy(all, &format!("store-{name}.secret"), "store.secret")?;
        if member.knows_the_pseudonyms_key() {
            own.copy(all, "pseudonym.key", "pseudonym.key")?;
        }
    }
    let garage = Folder::new(handed, "garage", PRIVATE);
    garage.copy(all, "garage-rpc.secret", "rpc.secret")?;
    garage.copy(all, "garage-admin.token", "admin.token")?;
    // Hashes of passwords only.
    let rabbitmq = Folder::new(handed, "rabbitmq", SHARED);
    rabbitmq.write("definitions.json", &format!("{:#}\n", definitions(virtual_host, &users(all)?)))
}

/// A secret of the folder.
///
/// # Errors
/// When it isn't there, or is empty.
pub fn read(all: &Path, name: &str) -> Result<String> {
    let path = all.join(name);
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let text = text.trim();
    ensure!(!text.is_empty(), "{} is empty: remove it, and it is made anew", path.display());
    Ok(text.to_owned())
}

fn users(all: &Path) -> Result<Vec<User>> {
    let user = |role: Role| {
        let name = role.user_name();
        Ok(User { name: name.into(), password: read(all, &format!("broker-{name}.password"))?, role })
    };
    Role::all().map(user).collect()
}

/// Makes a secret unless it is there. It is there whole or not at all, and of two who make it at once one wins.
pub(crate) fn secret(all: &Path, name: &str, make: impl FnOnce() -> Result<String>) -> Result<()> {
    let path = all.join(name);
    if !path.exists() {
        let new = all.join(format!(".{name}.{}", std::process::id()));
        write(&new, &make()?, PRIVATE)?;
        match fs::hard_link(&new, &path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(error).with_context(|| path.display().to_string());
            }
            _ => fs::remove_file(&new)?,
        }
    }
    read(all, name).map(drop)
}

fn write(path: &Path, text: &str, mode: u32) -> Result<()> {
    let write = || {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().with_context(|| path.display().to_string())
}

/// The folder of one member or server.
pub(crate) struct Folder {
    path: PathBuf,
    mode: u32,
}

impl Folder {
    pub(crate) fn of_member(handed: &Path, member: Member) -> Self {
        Self::new(handed, member.name(), if member == Member::Operator { SHARED } else { PRIVATE })
    }

    pub(crate) fn new(handed: &Path, name: &str, mode: u32) -> Self {
        Self { path: handed.join(name), mode }
    }

    fn copy(&self, all: &Path, secret: &str, name: &str) -> Result<()> {
        self.write(name, &read(all, secret)?)
    }

    /// Replaces the file at once, since whoever reads it may be running.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<()> {
        if !self.path.is_dir() {
            return Ok(());
        }
        let (new, path) = (self.path.join(format!(".{name}.new")), self.path.join(name));
        write(&new, text, self.mode)?;
        fs::rename(&new, &path).with_context(|| path.display().to_string())
    }
}

/// So many random bytes, two digits each.
fn random_hex(bytes: usize) -> Result<String> {
    let mut random = vec![0; bytes];
    getrandom::fill(&mut random).context("the system gives no random numbers")?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use tempfile::TempDir;

    use super::*;

    fn prepared() -> (TempDir, PathBuf, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let (all, handed) = (folder.path().join("all"), folder.path().join("handed"));
        for path in [&all, &handed.join("infer"), &handed.join("filter"), &handed.join("operator")] {
            fs::create_dir_all(path).unwrap();
        }
        fs::create_dir_all(handed.join("rabbitmq")).unwrap();
        make(&all).unwrap();
        hand_out(&all, &handed, "modiolus").unwrap();
        (folder, all, handed)
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_member_gets_its_own_secrets_and_no_others() {
        let (_folder, all, handed) = prepared();
        assert_eq!(names(&handed.join("infer")), ["broker.password", "store.key", "store.secret"]);
        let filter = ["broker.password", "pseudonym.key", "store.key", "store.secret"];
        assert_eq!(names(&handed.join("filter")), filter);
        assert_eq!(names(&handed.join("rabbitmq")), ["definitions.json"]);
        assert_eq!(
            fs::read_to_string(handed.join("infer/store.key")).unwrap(),
            read(&all, "store-infer.key").unwrap()
        );
    }

    #[test]
    fn a_second_start_changes_no_secret_and_no_two_are_equal() {
        let (_folder, all, handed) = prepared();
        let texts = || names(&all).iter().map(|name| read(&all, name).unwrap()).collect::<Vec<_>>();
        let definitions = || fs::read_to_string(handed.join("rabbitmq/definitions.json")).unwrap();
        let (before, loaded) = (texts(), definitions());
        make(&all).unwrap();
        hand_out(&all, &handed, "modiolus").unwrap();
        assert_eq!((texts(), definitions()), (before.clone(), loaded));
        let different: std::collections::HashSet<_> = before.iter().collect();
        assert_eq!(different.len(), before.len());
        assert!(before.iter().all(|secret| secret.len() >= 26));
    }

    #[test]
    fn definitions_show_no_password() {
        let (_folder, all, handed) = prepared();
        let text = fs::read_to_string(handed.join("rabbitmq/definitions.json")).unwrap();
        for role in Role::all() {
            assert!(text.contains(role.user_name()));
            assert!(!text.contains(&read(&all, &format!("broker-{}.password", role.user_name())).unwrap()));
        }
    }

    #[test]
    fn a_workers_secrets_are_for_its_user_only() {
        let (_folder, all, handed) = prepared();
        let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(all.join("pseudonym.key")), 0o600);
        assert_eq!(mode(handed.join("infer/store.secret")), 0o600);
    }

    #[test]
    fn an_empty_secret_is_named() {
        let (_folder, all, _) = prepared();
        fs::write(all.join("pseudonym.key"), "\n").unwrap();
        assert!(format!("{:#}", make(&all).unwrap_err()).contains("pseudonym.key is empty"));
    }
}
