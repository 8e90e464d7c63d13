//! TLS in front of a server that has none, as Garage: what comes in is deciphered and handed on.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// How long who comes in may take to agree on a cipher.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// The pause after a connection that could not be taken: too many are open, mostly, and some of them end soon.
const PAUSE: Duration = Duration::from_millis(100);

/// Where a door is, and what is behind it.
#[derive(Debug, Clone, clap::Args)]
pub struct Place {
    /// The address and port (TCP) to listen on
    #[arg(long, default_value = "0.0.0.0:3900", value_name = "ADDRESS")]
    pub listen: SocketAddr,
    /// The server's socket
    #[arg(long, default_value = "/run/garage/s3.socket", value_name = "FILE")]
    pub socket: PathBuf,
    /// The certificate (PEM)
    #[arg(long, default_value = "/run/secrets/server.pem", value_name = "FILE")]
    pub certificate: PathBuf,
    /// Its key (PEM)
    #[arg(long, default_value = "/run/secrets/server.key", value_name = "FILE")]
    pub key: PathBuf,
    /// Only look whether a door that is open reaches its server
    #[arg(long)]
    pub health: bool,
}

/// A server without TLS.
#[derive(Debug, Clone)]
pub enum Server {
    /// That listens on an address.
    Tcp(SocketAddr),
    /// That listens on a socket of this machine.
    Unix(PathBuf),
}

/// Keeps the door open until SIGTERM, or looks whether it is.
///
/// # Errors
/// When the certificate can't be read or the address is taken; asked for health, when nobody listens.
pub fn keep(place: &Place) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        if place.health {
            let address = SocketAddr::from(([127, 0, 0, 1], place.listen.port()));
            TcpStream::connect(address).await.context("the door is not open")?;
            UnixStream::connect(&place.socket).await.with_context(|| place.socket.display().to_string())?;
            return Ok(());
        }
        let mut told = signal(SignalKind::terminate())?;
        let tls = acceptor(&place.certificate, &place.key)?;
        let listener = TcpListener::bind(place.listen).await.with_context(|| place.listen.to_string())?;
        tokio::select! {
            () = serve(listener, tls, Server::Unix(place.socket.clone())) => {}
            _ = told.recv() => {}
        }
        Ok(())
    })
}

/// What deciphers, with a certificate and its key (PEM).
///
/// # Errors
/// When a file can't be read or they don't belong together.
pub fn acceptor(certificate: &Path, key: &Path) -> Result<TlsAcceptor> {
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect::<Result<_, _>>);
    let chain = chain.with_context(|| certificate.display().to_string())?;
    let key = PrivateKeyDer::from_pem_file(key).with_context(|| key.display().to_string())?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .context("the certificate and its key")?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Lets everyone in who trusts the certificate, for ever.
pub async fn serve(listener: TcpListener, tls: TlsAcceptor, server: Server) {
    loop {
        match listener.accept().await {
            Ok((caller, _)) => {
                tokio::spawn(pass(tls.clone(), caller, server.clone()));
            }
            Err(error) => {
                eprintln!("modiolus-init: a connection is not taken: {error}");
                sleep(PAUSE).await;
            }
        }
    }
}

/// One connection. Whoever doesn't trust the certificate stays out, and ends it.
async fn pass(tls: TlsAcceptor, caller: TcpStream, server: Server) {
    // Answers are short or written at once.
    let _ = caller.set_nodelay(true);
    let Ok(Ok(inside)) = timeout(HANDSHAKE, tls.accept(caller)).await else { return };
    let handed_on = match &server {
        Server::Tcp(address) => hand_on(inside, TcpStream::connect(address).await).await,
        Server::Unix(socket) => hand_on(inside, UnixStream::connect(socket).await).await,
    };
    if let Err(error) = handed_on {
        eprintln!("modiolus-init: {server:?} is not reached: {error}");
    }
}

/// Either side may end it at any time.
async fn hand_on(
    mut inside: impl AsyncRead + AsyncWrite + Unpin,
    server: io::Result<impl AsyncRead + AsyncWrite + Unpin>,
) -> io::Result<()> {
    let _ = copy_bidirectional(&mut inside, &mut server?).await;
    Ok(())
}
