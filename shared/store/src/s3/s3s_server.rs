//! An S3 server inside a test: s3s-fs behind hyper, on a free port, with TLS if asked.

use std::net::SocketAddr;
use std::sync::Arc;

use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{Body, HttpRequest, HttpResponse};
use s3s_fs::FileSystem;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::S3Options;

/// Serves until it is dropped.
pub(super) struct S3sServer {
    address: SocketAddr,
    accepting: JoinHandle<()>,
    _folder: TempDir,
}

impl S3sServer {
    pub(super) async fn start(tls: Option<TlsAcceptor>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut service = S3ServiceBuilder::new(FileSystem::new(folder.path()).unwrap());
        service.set_auth(SimpleAuth::from_single("key", "secret"));
        let service = service.build();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let accepting = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (service, tls) = (service.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(socket, service).await,
                        // A client that does not trust us hangs up.
                        Some(tls) => {
                            if let Ok(socket) = tls.accept(socket).await {
                                serve(socket, service).await;
                            }
                        }
                    }
                });
            }
        });
        Self { address, accepting, _folder: folder }
    }

    pub(super) fn options(&self, scheme: &str) -> S3Options {
        S3Options::new(format!("{scheme}://localhost:{}", self.address.port()), "key", "secret")
    }
}

impl Drop for S3sServer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn serve(socket: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, service: S3Service) {
    let service = Arc::new(service);
    let answer = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let service = service.clone();
        async move { honest(&service, request.map(Body::from)).await }
    });
    // A client may hang up whenever it wants.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(socket), answer).await;
}

/// s3s-fs says that the keys of a list are URL-encoded, and does not encode them.
async fn honest(service: &S3Service, request: HttpRequest) -> Result<HttpResponse, s3s::HttpError> {
    let is_list = request.uri().query().is_some_and(|query| query.contains("list-type=2"));
    let mut response = service.call(request).await?;
    if is_list {
        let body = response.body_mut().store_all_limited(64 << 20).await.unwrap();
        let text = String::from_utf8(body.to_vec()).unwrap();
        *response.body_mut() = Body::from(text.replace("<EncodingType>url</EncodingType>", ""));
        response.headers_mut().remove("content-length");
    }
    Ok(response)
}
