//! An authority of the cluster's own, and certificates from it for a broker and a store that are reached over TLS.
//!
//! The folder of all secrets keeps the authority, `tls-authority.pem` and `tls-authority.key`, made once. Certificates are
//! made anew at each start, so that they are young and have the names that are wanted now.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

use crate::member::Member;
use crate::secrets::{self, Folder, PRIVATE, SHARED};

/// For how many years a certificate is good, from the beginning of this one.
const YEARS: i32 = 10;

const AUTHORITY: &str = "tls-authority.pem";
const AUTHORITY_KEY: &str = "tls-authority.key";

/// Puts the authority's certificate (`ca.pem`) into the folder of each member below `handed`, and a certificate for `names` with
/// its key (`server.pem`, `server.key`) into those of the broker and of the store's door.
///
/// # Errors
/// When a name can't be in a certificate, a secret not be read, or a folder not be written.
pub fn hand_out(all: &Path, handed: &Path, names: &[String]) -> Result<()> {
    secrets::secret(all, AUTHORITY_KEY, || Ok(KeyPair::generate()?.serialize_pem()))?;
    let key = || Ok::<_, anyhow::Error>(KeyPair::from_pem(&secrets::read(all, AUTHORITY_KEY)?)?);
    secrets::secret(all, AUTHORITY, || Ok(authority()?.self_signed(&key()?)?.pem()))?;
    let issuer = Issuer::new(authority()?, key().context(AUTHORITY_KEY)?);
    let ca = secrets::read(all, AUTHORITY)?;
    for member in Member::all() {
        Folder::of_member(handed, member).write("ca.pem", &ca)?;
    }
    // RabbitMQ runs under a user of its own, which alone has this folder.
    for (server, mode) in [("rabbitmq", SHARED), ("door", PRIVATE)] {
        let (folder, own) = (Folder::new(handed, server, mode), KeyPair::generate()?);
        let certificate = server_of(names)?.signed_by(&own, &issuer)?;
        folder.write("ca.pem", &ca)?;
        folder.write("server.pem", &certificate.pem())?;
        folder.write("server.key", &own.serialize_pem())?;
    }
    Ok(())
}

fn authority() -> Result<CertificateParams> {
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.distinguished_name.push(DnType::CommonName, "Modiolus: this cluster's own authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    good_for_years(&mut authority);
    Ok(authority)
}

fn server_of(names: &[String]) -> Result<CertificateParams> {
    let named = || format!("certificates for {}: names of hosts or addresses", names.join(", "));
    let mut server = CertificateParams::new(names).with_context(named)?;
    server.distinguished_name.push(DnType::CommonName, "Modiolus: broker and store");
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    server.use_authority_key_identifier_extension = true;
    good_for_years(&mut server);
    Ok(server)
}

fn good_for_years(certificate: &mut CertificateParams) {
    const SECONDS_A_YEAR: u64 = 31_556_952;
    let passed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() / SECONDS_A_YEAR;
    let year = 1970 + i32::try_from(passed).unwrap_or_default();
    certificate.not_before = date_time_ymd(year - 1, 1, 1);
    certificate.not_after = date_time_ymd(year + YEARS, 1, 1);
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn members_are_told_whom_to_trust_and_servers_get_a_key_each() {
        let folder = tempfile::tempdir().unwrap();
        let (all, handed) = (folder.path().join("all"), folder.path().join("handed"));
        for path in ["all", "handed/infer", "handed/rabbitmq", "handed/door"] {
            fs::create_dir_all(folder.path().join(path)).unwrap();
        }
        let text = |path: &str| fs::read_to_string(handed.join(path)).unwrap();
        hand_out(&all, &handed, &names(&["rabbitmq", "127.0.0.1"])).unwrap();
        assert_eq!(text("infer/ca.pem"), text("rabbitmq/ca.pem"));
        assert!(!handed.join("infer/server.key").exists());
        assert_ne!(text("rabbitmq/server.key"), text("door/server.key"));
        let (before, server) = (text("infer/ca.pem"), text("door/server.pem"));
        hand_out(&all, &handed, &names(&["rabbitmq"])).unwrap();
        assert_eq!(text("infer/ca.pem"), before, "who trusts it goes on trusting it");
        assert_ne!(text("door/server.pem"), server);
        let error = hand_out(&all, &handed, &names(&["no\u{e4}me"])).unwrap_err();
        assert!(format!("{error:#}").contains("no\u{e4}me"), "{error:#}");
    }
}
