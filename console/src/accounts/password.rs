//! Passwords: argon2id, with what RustCrypto and OWASP recommend (19 MiB, two passes, one lane).

use std::sync::{Arc, LazyLock};

use anyhow::{Context, Result, anyhow};
use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use tokio::sync::Semaphore;

use crate::app::random;
use crate::failure::{ApiResult, Failure};

/// In characters. NIST SP 800-63B asks for 8 at least where a password is all there is to it; we ask for more.
const SHORTEST: usize = 12;

/// In characters: a bound for the work, above what a person or a password manager makes.
const LONGEST: usize = 256;

/// So many are hashed at once: each takes 19 MiB and a core.
const AT_ONCE: usize = 2;

/// So many wait or are hashed; whoever comes then is told to come later.
const QUEUE: usize = 32;

/// What a password is compared with where there is none, so that the work is the same.
static NOBODYS: LazyLock<Option<String>> = LazyLock::new(|| hash(&random().ok()?).ok());

/// What is wrong with a new password.
pub(crate) fn fault(password: &str) -> Option<String> {
    match password.chars().count() {
        ..SHORTEST => Some(format!("A password has at least {SHORTEST} characters.")),
        SHORTEST..=LONGEST => None,
        _ => Some(format!("A password has at most {LONGEST} characters.")),
    }
}

/// Hashes passwords, a few at a time.
pub(crate) struct Passwords {
    at_once: Arc<Semaphore>,
    queue: Arc<Semaphore>,
}

impl Default for Passwords {
    fn default() -> Self {
        Self { at_once: Arc::new(Semaphore::new(AT_ONCE)), queue: Arc::new(Semaphore::new(QUEUE)) }
    }
}

impl Passwords {
    /// Whether this is the password with that hash; without one it isn't, which takes as long to say.
    pub(crate) async fn is_right(&self, password: String, hash: Option<String>) -> ApiResult<bool> {
        self.work(move || Ok(is_right(&password, hash.as_deref()))).await
    }

    /// The hash of a new password.
    pub(crate) async fn hash(&self, password: String) -> ApiResult<String> {
        self.work(move || hash(&password)).await
    }

    async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> ApiResult<T> {
        let busy = || Failure::busy("too many people log in at this moment", 5);
        let place = self.queue.clone().try_acquire_owned().map_err(|_| busy())?;
        let turn = self.at_once.clone().acquire_owned().await.map_err(|_| busy())?;
        let done = tokio::task::spawn_blocking(move || {
            // Theirs until the work is done, even if whoever asked has gone.
            let _both = (place, turn);
            work()
        });
        Ok(done.await.context("a password was not hashed").flatten()?)
    }
}

fn hash(password: &str) -> Result<String> {
    let hashed: PasswordHash = Argon2::default()
        .hash_password(password.as_bytes())
        .map_err(|error| anyhow!("a password can't be hashed: {error}"))?;
    Ok(hashed.to_string())
}

fn is_right(password: &str, hash: Option<&str>) -> bool {
    let Some(against) = hash.or(NOBODYS.as_deref()) else { return false };
    // An overlong one is nobody's, and would only cost time.
    let password = if password.chars().count() > LONGEST { "" } else { password };
    Argon2::default().verify_password(password.as_bytes(), against).is_ok() && hash.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_kept_as_argon2id_with_a_salt_of_its_own() {
        let (one, two) = (hash("correct horse battery").unwrap(), hash("correct horse battery").unwrap());
        assert!(one.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{one}");
        assert_ne!(one, two);
        assert!(is_right("correct horse battery", Some(&one)));
        assert!(!is_right("correct horse batterY", Some(&one)));
        assert!(!is_right("", Some(&one)) && !is_right("correct horse battery", Some("no hash")));
        assert!(!is_right("correct horse battery", None));
    }

    #[test]
    fn a_password_is_neither_short_nor_endless() {
        assert!(fault(&"x".repeat(11)).is_some() && fault(&"ä".repeat(257)).is_some());
        assert!(fault(&"ä".repeat(12)).is_none() && fault(&"x".repeat(256)).is_none());
    }

    #[test]
    fn to_try_a_name_that_nobody_has_takes_the_same_work() {
        let known = hash("correct horse battery").unwrap();
        is_right("warm up", None);
        let time = |hash: Option<&str>| {
            let best = (0..5).map(|_| {
                let start = std::time::Instant::now();
                is_right("wrong password", hash);
                start.elapsed()
            });
            best.min().unwrap()
        };
        let (known, unknown) = (time(Some(&known)), time(None));
        assert!(unknown > known / 3 && known > unknown / 3, "{known:?} {unknown:?}");
    }
}
