//! Archives of layers on their way here: into files without names, so that nothing of them outlives the engine.

use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use axum::http::header::CONTENT_RANGE;
use axum::http::StatusCode;
use rustix::fs::{open, unlink, Mode, OFlags};
use sha2::{Digest, Sha256};

use super::client::{piece, Failed, Repository};
use super::error::{Error, Kind, Result};
use super::manifest::Descriptor;
use super::{check_digest, Images};

/// Bytes that come between two looks at the free room.
const LOOK: u64 = 32 << 20;

/// What has come of an archive.
struct Partial {
    file: Arc<File>,
    at: u64,
    digest: Sha256,
    since_look: u64,
}

impl Images {
    /// An archive that is what its descriptor says, to be read from its beginning. What came before a connection was cut
    /// is not asked for again.
    pub(super) async fn download(&self, repository: &Repository<'_>, wanted: &Descriptor) -> Result<File> {
        let file = nameless(&self.directory)
            .map_err(|error| Error::new(Kind::Failed, format!("no file can be made for it: {error}")))?;
        let mut partial = Partial {
            file: Arc::new(file),
            at: 0,
            digest: Sha256::new(),
            since_look: 0,
        };
        let mut tries = repository.tries();
        while let Err(failed) = self.go_on(repository, wanted, &mut partial).await {
            tries.again(failed).await?;
        }
        let digest = format!("sha256:{}", super::sigv4::hex(&partial.digest.finalize()));
        check_digest("the archive", &wanted.digest, &digest)?;
        let mut file = &*partial.file;
        file.seek(SeekFrom::Start(0)).map_err(unwritten)?;
        partial.file.try_clone().map_err(unwritten)
    }

    async fn go_on(
        &self,
        repository: &Repository<'_>,
        wanted: &Descriptor,
        partial: &mut Partial,
    ) -> std::result::Result<(), Failed> {
        let path = format!("blobs/{}", wanted.digest);
        let range = format!("bytes={}-", partial.at);
        let headers = [("range", range.as_str())];
        let headers = if partial.at == 0 { &[][..] } else { &headers[..] };
        let response = repository.get(&path, headers).await?;
        let begins_at = response.headers().get(CONTENT_RANGE).and_then(|value| {
            value
                .to_str()
                .ok()?
                .strip_prefix("bytes ")?
                .split_once('-')?
                .0
                .parse()
                .ok()
        });
        let goes_on = response.status() == StatusCode::PARTIAL_CONTENT && begins_at == Some(partial.at);
        if !goes_on {
            partial.at = 0;
            partial.digest = Sha256::new();
        }
        let mut body = response.into_body();
        while let Some(data) = piece(&mut body).await? {
            let end = partial.at + data.len() as u64;
            if end > wanted.size {
                let text = format!(
                    "it is longer than the {} bytes that the manifest says",
                    wanted.size
                );
                return Err(Error::refused(text).into());
            }
            partial.since_look += data.len() as u64;
            if partial.since_look >= LOOK {
                partial.since_look = 0;
                self.check_room()?;
            }
            partial.digest.update(&data);
            let (file, at) = (partial.file.clone(), partial.at);
            let written = tokio::task::spawn_blocking(move || file.write_all_at(&data, at)).await;
            written
                .unwrap_or_else(|error| Err(std::io::Error::other(error)))
                .map_err(unwritten)?;
            partial.at = end;
        }
        if partial.at < wanted.size {
            let text = format!(
                "{} of {} bytes came before the connection ended",
                partial.at, wanted.size
            );
            return Err(Error::new(Kind::Unreachable, text).into());
        }
        Ok(())
    }
}

fn unwritten(error: std::io::Error) -> Error {
    let kind = match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => Kind::NoRoom,
        _ => Kind::Failed,
    };
    Error::new(kind, format!("it cannot be written: {error}"))
}

/// A file without a name. Where the file system has none such, it has one for a moment, in the directory whose content the
/// next start removes.
fn nameless(directory: &Path) -> std::io::Result<File> {
    let mode = Mode::RUSR | Mode::WUSR;
    if let Ok(file) = open(directory, OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC, mode) {
        return Ok(file.into());
    }
    let trash = directory.join("trash");
    std::fs::create_dir_all(&trash)?;
    let path = trash.join(uuid::Uuid::new_v4().simple().to_string());
    let create = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = open(&path, create, mode)?;
    // Somebody may have been quicker.
    let _ = unlink(&path);
    Ok(file.into())
}
