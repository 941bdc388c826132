//! Archives of layers on their way here: a task receives and hashes what a thread unpacks at the same time. Nothing is
//! written in between.

use std::io::{self, Read};

use axum::body::Bytes;
use axum::http::header::CONTENT_RANGE;
use axum::http::{Response, StatusCode};
use hyper::body::Incoming;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use super::check_digest;
use super::client::{piece, Failed, Repository};
use super::error::{Error, Kind, Result};
use super::manifest::Descriptor;

/// Pieces that may wait for the thread. Each is what came at once: 400 KiB at most.
const AHEAD: usize = 8;

/// What comes of an archive.
enum Part {
    Piece(Bytes),
    /// All came, and its digest is right.
    Whole,
}

/// An archive as the thread reads it. It ends when all of it came and was what its descriptor says; otherwise reading fails.
pub(super) struct Archive {
    parts: mpsc::Receiver<Part>,
    piece: Bytes,
    is_whole: bool,
}

impl Read for Archive {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() && !self.is_whole {
            match self.parts.blocking_recv() {
                Some(Part::Piece(piece)) => self.piece = piece,
                Some(Part::Whole) => self.is_whole = true,
                None => return Err(io::Error::other("the download ended before it was whole")),
            }
        }
        let some = self.piece.split_to(buffer.len().min(self.piece.len()));
        buffer[..some.len()].copy_from_slice(&some);
        Ok(some.len())
    }
}

/// Brings an archive to where it is read.
pub(super) struct Download<'a> {
    repository: &'a Repository<'a>,
    wanted: &'a Descriptor,
    parts: mpsc::Sender<Part>,
    at: u64,
    digest: Sha256,
}

impl<'a> Download<'a> {
    pub fn new(repository: &'a Repository<'a>, wanted: &'a Descriptor) -> (Self, Archive) {
        let (sender, receiver) = mpsc::channel(AHEAD);
        let download = Self {
            repository,
            wanted,
            parts: sender,
            at: 0,
            digest: Sha256::new(),
        };
        let archive = Archive {
            parts: receiver,
            piece: Bytes::new(),
            is_whole: false,
        };
        (download, archive)
    }

    /// Brings all of it. What came before a connection was cut is not read again. Answers whether it is whole: it is not when
    /// the reader gave up, which knows why.
    pub async fn run(mut self) -> Result<bool> {
        let mut tries = self.repository.tries();
        loop {
            match self.go_on().await {
                Ok(true) => break,
                Ok(false) => return Ok(false),
                Err(failed) => tries.again(failed).await?,
            }
        }
        let digest = format!("sha256:{}", hex::encode(self.digest.finalize()));
        check_digest("the archive", &self.wanted.digest, &digest)?;
        Ok(self.parts.send(Part::Whole).await.is_ok())
    }

    async fn go_on(&mut self) -> std::result::Result<bool, Failed> {
        let path = format!("blobs/{}", self.wanted.digest);
        let range = format!("bytes={}-", self.at);
        let headers = [("range", range.as_str())];
        let headers = if self.at == 0 { &[][..] } else { &headers[..] };
        let response = self.repository.get(&path, headers).await?;
        let mut known = self.at.saturating_sub(begin(&response));
        let mut body = response.into_body();
        while let Some(mut data) = piece(&mut body).await? {
            // A registry that knows no ranges sends the begin again.
            let skipped = known.min(data.len() as u64);
            known -= skipped;
            let data = data.split_off(skipped as usize);
            self.at += data.len() as u64;
            if self.at > self.wanted.size {
                let text = format!(
                    "it is longer than the {} bytes that the manifest says",
                    self.wanted.size
                );
                return Err(Error::refused(text).into());
            }
            self.digest.update(&data);
            if self.parts.send(Part::Piece(data)).await.is_err() {
                return Ok(false);
            }
        }
        if self.at < self.wanted.size {
            let text = format!(
                "{} of {} bytes came before the connection ended",
                self.at, self.wanted.size
            );
            return Err(Error::new(Kind::Unreachable, text).into());
        }
        Ok(true)
    }
}

/// Where in the archive an answer begins.
fn begin(response: &Response<Incoming>) -> u64 {
    if response.status() != StatusCode::PARTIAL_CONTENT {
        return 0;
    }
    let range = response.headers().get(CONTENT_RANGE);
    let range = range.and_then(|value| value.to_str().ok()?.strip_prefix("bytes "));
    let begin = range.and_then(|range| range.split_once('-')?.0.parse().ok());
    begin.unwrap_or_default()
}
