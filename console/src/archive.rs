//! A zip that is written while it is sent: at no time is more of it in memory than a few of its pieces.

use std::io::{self, BufWriter, Write};

use anyhow::Result;
use axum::body::{Body, Bytes};
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use futures::stream::unfold;
use tokio::sync::mpsc;
use zip::write::{SimpleFileOptions, StreamWriter};
use zip::{CompressionMethod, ZipWriter};

/// How many pieces may wait for a slow receiver.
const PIECES: usize = 8;

/// The size of a piece in bytes.
const PIECE: usize = 1 << 16;

/// What files are added to.
pub(crate) struct Archive(ZipWriter<StreamWriter<BufWriter<Pipe>>>);

impl Archive {
    /// Adds a file as it is: pictures are compressed already.
    pub(crate) fn add(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        self.file(name, bytes, CompressionMethod::Stored)
    }

    /// Adds a text, compressed.
    pub(crate) fn add_text(&mut self, name: &str, text: &str) -> Result<()> {
        self.file(name, text.as_bytes(), CompressionMethod::Deflated)
    }

    fn file(&mut self, name: &str, bytes: &[u8], method: CompressionMethod) -> Result<()> {
        self.0.start_file(name, SimpleFileOptions::default().compression_method(method))?;
        Ok(self.0.write_all(bytes)?)
    }
}

/// Answers with a zip that `fill` makes, file by file, on a thread where it may block. Where it fails, the answer breaks off: what
/// has arrived is no zip.
pub(crate) fn answer(name: &str, fill: impl FnOnce(&mut Archive) -> Result<()> + Send + 'static) -> Response {
    let (sender, receiver) = mpsc::channel(PIECES);
    tokio::task::spawn_blocking(move || {
        let end = sender.clone();
        match write(Pipe(sender), fill) {
            // Fails when the receiver has gone.
            Ok(()) => drop(end.blocking_send(None)),
            Err(error) => tracing::warn!("a download broke off: {error:#}"),
        }
    });
    let pieces = unfold(Some(receiver), |receiver| async move {
        let mut receiver = receiver?;
        match receiver.recv().await {
            Some(Some(piece)) => Some((Ok(piece), Some(receiver))),
            Some(None) => None,
            // Whoever wrote has gone before the end, for whatever reason.
            None => Some((Err(io::Error::other("the download broke off")), None)),
        }
    });
    let mut answer = Body::from_stream(pieces).into_response();
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/zip"));
    if let Ok(disposition) = format!("attachment; filename=\"{name}\"").parse() {
        headers.insert(CONTENT_DISPOSITION, disposition);
    }
    answer
}

fn write(pipe: Pipe, fill: impl FnOnce(&mut Archive) -> Result<()>) -> Result<()> {
    let mut archive = Archive(ZipWriter::new_stream(BufWriter::with_capacity(PIECE, pipe)));
    fill(&mut archive)?;
    archive.0.finish()?.into_inner().flush()?;
    Ok(())
}

/// Sends what is written to it, piece by piece; `None` says that this was all.
struct Pipe(mpsc::Sender<Option<Bytes>>);

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let gone = |_| io::Error::new(io::ErrorKind::BrokenPipe, "whoever downloads has gone");
        self.0.blocking_send(Some(Bytes::copy_from_slice(bytes))).map_err(gone)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Read};

    use anyhow::bail;
    use zip::ZipArchive;

    use super::*;

    #[tokio::test]
    async fn what_arrives_is_a_zip_of_all_files() {
        let large: Vec<u8> = (0..1_000_000u32).map(|n| (n % 251) as u8).collect();
        let sent = large.clone();
        let answer = answer("some.zip", move |archive| {
            archive.add("a/large.png", &sent)?;
            archive.add_text("split.csv", "name,side\n")
        });
        assert_eq!(answer.headers()[CONTENT_DISPOSITION], "attachment; filename=\"some.zip\"");
        let bytes = axum::body::to_bytes(answer.into_body(), 2_000_000).await.unwrap();
        let mut zip = ZipArchive::new(Cursor::new(bytes)).unwrap();
        let mut read = Vec::new();
        zip.by_name("a/large.png").unwrap().read_to_end(&mut read).unwrap();
        assert_eq!(read, large);
        assert_eq!(zip.len(), 2);
    }

    #[tokio::test]
    async fn a_download_that_fails_breaks_off_instead_of_looking_whole() {
        let fails = answer("some.zip", |archive| {
            archive.add("a.png", b"picture")?;
            bail!("the store is gone")
        });
        let panics = answer("some.zip", |_| panic!("a test of what happens then"));
        for answer in [fails, panics] {
            assert!(axum::body::to_bytes(answer.into_body(), 1_000_000).await.is_err());
        }
    }
}
