//! TLS in front of the tests' store, as an installation has it: `modiolus_init::door`.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use modiolus_init::door::{Server, acceptor, serve};
use modiolus_init::tls;
use tokio::net::TcpListener;

/// A door that is open until its test ends.
pub struct Door {
    port: u16,
    ca_file: PathBuf,
}

impl Door {
    /// A door before a server, with a certificate of an authority of its own; both lie in `folder`.
    ///
    /// # Panics
    /// When this machine has no port left.
    pub async fn before(server: SocketAddr, folder: &Path) -> Self {
        let (all, handed) = (folder.join("tls"), folder.join("handed"));
        let own = handed.join("door");
        fs::create_dir_all(&all).and_then(|()| fs::create_dir_all(&own)).expect("a temporary folder");
        tls::hand_out(&all, &handed, &["localhost".into()]).expect("certificates");
        let tls =
            acceptor(&own.join("server.pem"), &own.join("server.key")).expect("a certificate and its key");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("a port").port();
        tokio::spawn(serve(listener, tls, Server::Tcp(server)));
        Self { port, ca_file: own.join("ca.pem") }
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
