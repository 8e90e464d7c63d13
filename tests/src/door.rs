//! TLS in front of a server that has none: what comes in is deciphered and handed on.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

/// A door that is open until its test ends.
pub struct Door {
    port: u16,
    ca_file: PathBuf,
}

impl Door {
    /// A door before a server, with a certificate of an authority of its own, which is written into `folder`.
    ///
    /// # Panics
    /// When this machine has no port left.
    pub async fn before(server: SocketAddr, folder: &Path) -> Self {
        let (tls, authority) = certificate();
        let ca_file = folder.join("store-ca.pem");
        fs::write(&ca_file, authority).expect("a temporary folder");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("a port").port();
        tokio::spawn(async move {
            while let Ok((caller, _)) = listener.accept().await {
                tokio::spawn(pass(tls.clone(), caller, server));
            }
        });
        Self { port, ca_file }
    }

    /// Where it is.
    pub fn endpoint(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    /// The file with the authority's certificate.
    pub fn ca_file(&self) -> &Path {
        &self.ca_file
    }
}

/// One connection. Whoever doesn't trust the certificate stays out, and ends it.
async fn pass(tls: TlsAcceptor, caller: TcpStream, server: SocketAddr) {
    let Ok(mut inside) = tls.accept(caller).await else { return };
    if let Ok(mut server) = TcpStream::connect(server).await {
        // Either side may end it at any time.
        let _ = copy_bidirectional(&mut inside, &mut server).await;
    }
}

/// A certificate for this machine, and that of the authority that it comes from.
fn certificate() -> (TlsAcceptor, String) {
    let certify = || -> Result<_, rcgen::Error> {
        let mut authority = CertificateParams::new(Vec::new())?;
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
        let key = KeyPair::generate()?;
        let server = CertificateParams::new(vec!["localhost".into()])?.signed_by(&key, &authority)?;
        Ok((authority.pem(), server, key))
    };
    let (authority, server, key) = certify().expect("certificates");
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("TLS versions")
        .with_no_client_auth()
        .with_single_cert(vec![server.der().clone()], key)
        .expect("a certificate and its key");
    (TlsAcceptor::from(Arc::new(config)), authority)
}
