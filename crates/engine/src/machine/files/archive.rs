//! A directory as a tar archive that is made while it is sent: nothing of it is staged.
//!
//! It holds files, directories and symlinks, as they say; pipes, sockets and devices are left out, and so is what somebody
//! removes meanwhile and what is not whole yet. A file that shrinks meanwhile breaks it off, which the receiver sees.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::Stream;
use tar::{EntryType, Header};
use tokio::sync::mpsc;

use super::{is_unfinished, FileSession};
use crate::isolation::files::{EntryKind, Info};
use crate::machine::ground::{Error, Kind, Result};

/// Bytes sent at once.
const CHUNK: u64 = 256 << 10;
/// Pieces that wait for a slow receiver.
const PIECES_AHEAD: usize = 3;
/// What everything in an archive is a multiple of.
const BLOCK: usize = 512;
/// Longest name or link that a header takes itself.
const LONGEST_NAME: usize = 99;

type Piece = std::io::Result<Bytes>;

/// The archive of what is in a directory, with paths that begin in it.
pub async fn of(mut files: FileSession, path: String) -> Result<impl Stream<Item = Piece>> {
    // The directory that a link leads to, too.
    match files.info(format!("{}/.", path.trim_end_matches('/'))).await {
        Ok(_) => {}
        Err(error) if error.kind == Kind::NotFound || error.kind == Kind::InvalidRequest => {
            let info = files.info(path.clone()).await?;
            let what = format_args!("is for directories, and {path} is a {}: leave it out", info.kind);
            return Err(Error::invalid("archive_format", what));
        }
        Err(error) => return Err(error),
    }
    let (sender, receiver) = mpsc::channel(PIECES_AHEAD);
    tokio::spawn(async move {
        let mut packing = Packing { files, sender };
        if let Err(Broken::Because(error)) = packing.run(path).await {
            // The answer has begun: that it ends early is all that can be told.
            let _ = packing
                .sender
                .send(Err(std::io::Error::other(error.message)))
                .await;
        }
    });
    let pieces = futures_util::stream::unfold(receiver, |mut receiver| async {
        let piece = receiver.recv().await?;
        Some((piece, receiver))
    });
    Ok(pieces)
}

/// Why an archive ends early.
enum Broken {
    /// Nobody reads it any more.
    Abandoned,
    Because(Error),
}

impl From<Error> for Broken {
    fn from(error: Error) -> Self {
        Broken::Because(error)
    }
}

struct Packing {
    files: FileSession,
    sender: mpsc::Sender<Piece>,
}

impl Packing {
    async fn run(&mut self, top: String) -> std::result::Result<(), Broken> {
        // Directories that are still to be read: where they are, and what they are called in the archive.
        let mut waiting = vec![(top, String::new())];
        while let Some((directory, name)) = waiting.pop() {
            let entries = match self.files.entries(directory, 0).await {
                Err(error) if is_gone(&error) && !name.is_empty() => continue,
                entries => entries?,
            };
            for entry in entries.into_iter().filter(|entry| !is_unfinished(&entry.name)) {
                let name = format!("{name}{}", entry.name);
                match entry.kind {
                    EntryKind::Directory => {
                        let name = format!("{name}/");
                        self.header(&entry, &name, EntryType::Directory, 0).await?;
                        waiting.push((entry.path, name));
                    }
                    EntryKind::Symlink => self.header(&entry, &name, EntryType::Symlink, 0).await?,
                    EntryKind::File => self.file(entry, &name).await?,
                    EntryKind::Other => {}
                }
            }
        }
        self.send(vec![0; 2 * BLOCK]).await
    }

    async fn file(&mut self, entry: Info, name: &str) -> std::result::Result<(), Broken> {
        let (info, file) = match self.files.open(entry.path).await {
            Err(error) if is_gone(&error) => return Ok(()),
            opened => opened?,
        };
        self.header(&info, name, EntryType::Regular, info.size).await?;
        let file = Arc::new(file);
        let mut at = 0;
        while at < info.size {
            let length = CHUNK.min(info.size - at);
            self.send(piece(file.clone(), at, length).await?).await?;
            at += length;
        }
        let rest = (info.size % BLOCK as u64) as usize;
        match rest {
            0 => Ok(()),
            rest => self.send(vec![0; BLOCK - rest]).await,
        }
    }

    async fn header(
        &mut self,
        entry: &Info,
        name: &str,
        kind: EntryType,
        size: u64,
    ) -> std::result::Result<(), Broken> {
        let link = entry
            .symlink_target
            .as_deref()
            .filter(|_| kind == EntryType::Symlink);
        let mut bytes = Vec::with_capacity(BLOCK);
        if name.len() > LONGEST_NAME {
            long(&mut bytes, EntryType::GNULongName, name);
        }
        if let Some(link) = link.filter(|link| link.len() > LONGEST_NAME) {
            long(&mut bytes, EntryType::GNULongLink, link);
        }
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_mode(entry.mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(u64::try_from(entry.modified_secs).unwrap_or(0));
        let old = header.as_old_mut();
        put(&mut old.name, name);
        put(&mut old.linkname, link.unwrap_or_default());
        header.set_cksum();
        bytes.extend_from_slice(header.as_bytes());
        self.send(bytes).await
    }

    async fn send(&mut self, bytes: Vec<u8>) -> std::result::Result<(), Broken> {
        let sent = self.sender.send(Ok(bytes.into())).await;
        sent.map_err(|_| Broken::Abandoned)
    }
}

/// Gone, or something else than a moment ago.
fn is_gone(error: &Error) -> bool {
    matches!(error.kind, Kind::NotFound | Kind::InvalidRequest)
}

async fn piece(file: Arc<File>, at: u64, length: u64) -> Result<Vec<u8>> {
    let read = tokio::task::spawn_blocking(move || {
        let mut bytes = vec![0; length as usize];
        file.read_exact_at(&mut bytes, at).map(|()| bytes)
    });
    read.await
        .map_err(|error| Error::internal("reading a file", error))?
        .map_err(|error| Error::internal("reading a file", error))
}

/// The beginning of a text, in a field of a header.
fn put(field: &mut [u8], text: &str) {
    let length = text.len().min(field.len());
    field[..length].copy_from_slice(&text.as_bytes()[..length]);
}

/// A text that is too long for the header that follows.
fn long(bytes: &mut Vec<u8>, kind: EntryType, text: &str) {
    let mut header = Header::new_gnu();
    put(&mut header.as_old_mut().name, "././@LongLink");
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(text.len() as u64 + 1);
    header.set_cksum();
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend_from_slice(text.as_bytes());
    let whole = (bytes.len() + 1).next_multiple_of(BLOCK);
    bytes.resize(whole, 0);
}
