//! Files of build contexts: kept under the hash of their bytes, so that the same file is uploaded once. Those that no build used
//! for a day go, and the oldest over a bound.

use std::collections::BTreeSet;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;

use nullspace_wire::template::{ContextEntryType, PreflightRequest, PreflightResponse, PreflightResult};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::definition::{blob_id, Content, Definition, Entry};
use crate::machine::ground::{clock, ids, Error, Kind, Result};
use crate::machine::Engine;
use crate::store::builds as store;

/// Bytes of a file at most: 8 GiB.
const LARGEST: u64 = 8 << 30;
/// Bytes of all files that are kept: 10 GiB.
const MOST_BYTES: u64 = 10 << 30;
/// Seconds that an unused file is kept.
const LIFETIME: i64 = 24 * 3600;
/// Files of one preflight at most.
const MOST_FILES: usize = 20_000;

fn refused(phase: &'static str, reason: &str, path: &str, message: String) -> Error {
    Error::new(Kind::ContextFile(phase), message)
        .with_details(json!({ "reason": reason, "path": path }))
        .with_action("begin with a preflight, which says what is missing, and upload that")
}

/// A file that is written and not in its place yet. It goes with this value.
struct Fresh(Option<PathBuf>);

impl Fresh {
    /// Puts it in its place.
    fn place(mut self, target: &std::path::Path) -> std::io::Result<()> {
        if let Some(path) = &self.0 {
            std::fs::rename(path, target)?;
        }
        self.0 = None;
        Ok(())
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// An upload under way: bytes come in, and the file appears when they are those that its name says.
pub struct Upload {
    id: String,
    expected: u64,
    file: Option<std::fs::File>,
    fresh: Fresh,
    hash: Sha256,
    written: u64,
}

impl Engine {
    fn blobs(&self) -> PathBuf {
        self.store.directory().join("blobs")
    }

    /// Where the bytes of a file are.
    pub(super) fn blob_path(&self, id: &str) -> PathBuf {
        self.blobs().join(id)
    }

    /// Says which files of a context are missing, and under which names they are uploaded.
    pub async fn preflight_blobs(&self, request: PreflightRequest) -> Result<PreflightResponse> {
        if request.files.len() > MOST_FILES {
            let text = format!("has {} entries: give at most {MOST_FILES}", request.files.len());
            return Err(Error::invalid("files", text));
        }
        let mut answered = Vec::new();
        let mut wanted = Vec::new();
        for (place, file) in request.files.into_iter().enumerate() {
            let mut result = PreflightResult {
                path: file.path,
                entry_type: file.entry_type,
                missing: false,
                mode: file.mode,
                blob_id: None,
            };
            if file.entry_type == ContextEntryType::File {
                let is_hash =
                    |text: &&String| text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
                let hash = file.sha256.as_ref().filter(is_hash).ok_or_else(|| {
                    let message =
                        format!("`files[{place}].sha256` is no SHA-256: give its 64 hexadecimal digits");
                    refused("preflight", "invalid_digest", &result.path, message)
                })?;
                let size = file.size_bytes.filter(|size| *size <= LARGEST).ok_or_else(|| {
                    let message =
                        format!("`files[{place}].size_bytes` is missing or more than {LARGEST} bytes");
                    refused("preflight", "invalid_size", &result.path, message)
                })?;
                let id = format!("blob_{}", hash.to_ascii_lowercase());
                wanted.push((answered.len(), id.clone(), size, file.force_upload == Some(true)));
                result.blob_id = Some(id);
            }
            answered.push(result);
        }
        let now = clock::unix_seconds();
        let missing = self.store.call(move |c| {
            let transaction = c.transaction()?;
            let mut missing = Vec::new();
            for (place, id, size, is_forced) in wanted {
                let is_there = store::want_blob(&transaction, &id, size, now)?;
                if !is_there || is_forced {
                    missing.push(place);
                }
            }
            transaction.commit()?;
            Ok(missing)
        });
        for place in missing.await? {
            answered[place].missing = true;
        }
        Ok(PreflightResponse { files: answered })
    }

    /// Begins the upload of a file that a preflight named.
    pub async fn begin_blob(&self, id: &str) -> Result<Upload> {
        let (wanted, now) = (id.to_owned(), clock::unix_seconds());
        let known = self.store.call(move |c| store::blob(c, &wanted, now)).await?;
        let Some((expected, _)) = known else {
            return Err(refused(
                "blob_upload",
                "unknown_blob",
                id,
                format!("no preflight named the file {id}"),
            ));
        };
        self.refuse_without_room_for(expected).await?;
        let (id, directory) = (id.to_owned(), self.blobs());
        let opened = tokio::task::spawn_blocking(move || {
            std::fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&directory)?;
            let path = directory.join(format!("{id}.{}", ids::event()));
            let file = std::fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path)?;
            let fresh = Fresh(Some(path));
            std::io::Result::Ok(Upload {
                id,
                expected,
                file: Some(file),
                fresh,
                hash: Sha256::new(),
                written: 0,
            })
        });
        opened
            .await
            .map_err(|e| Error::internal("taking a file", e))?
            .map_err(|e| Error::internal("taking a file", e))
    }

    /// Takes more bytes of it.
    pub async fn write_blob(
        &self,
        mut upload: Upload,
        bytes: impl AsRef<[u8]> + Send + 'static,
    ) -> Result<Upload> {
        let length = bytes.as_ref().len() as u64;
        if upload.written + length > upload.expected {
            return Err(self.wrong_size(&upload, upload.written + length));
        }
        let written = tokio::task::spawn_blocking(move || {
            upload.hash.update(bytes.as_ref());
            upload.written += length;
            let done = match &mut upload.file {
                Some(file) => file.write_all(bytes.as_ref()),
                None => Ok(()),
            };
            done.map(|()| upload)
        });
        let written = written.await.map_err(|e| Error::internal("taking a file", e))?;
        written.map_err(|error| match error.raw_os_error() {
            Some(libc::ENOSPC | libc::EDQUOT) => {
                Error::new(Kind::CapacityExceeded, "the engine's disk is full").retryable(false)
            }
            _ => Error::internal("taking a file", error),
        })
    }

    fn wrong_size(&self, upload: &Upload, came: u64) -> Error {
        refused(
            "blob_upload",
            "size_mismatch",
            &upload.id,
            format!(
                "the file has {came} bytes or more, and the preflight said {}",
                upload.expected
            ),
        )
    }

    /// Puts it in place if it is whole.
    pub async fn finish_blob(&self, mut upload: Upload) -> Result<()> {
        if upload.written != upload.expected {
            return Err(self.wrong_size(&upload, upload.written));
        }
        let found = format!(
            "blob_{}",
            hex::encode(std::mem::take(&mut upload.hash).finalize())
        );
        if found != upload.id {
            return Err(refused(
                "blob_upload",
                "digest_mismatch",
                &upload.id,
                format!(
                    "the bytes that came have the SHA-256 of {found}, and not of {}",
                    upload.id
                ),
            ));
        }
        let (id, size, target, is_durable) = (
            upload.id.clone(),
            upload.expected,
            self.blob_path(&upload.id),
            self.store.is_durable(),
        );
        let placed = tokio::task::spawn_blocking(move || {
            if let Some(file) = upload.file.take().filter(|_| is_durable) {
                file.sync_all()?;
            }
            upload.fresh.place(&target)
        });
        let placed = placed.await.map_err(|e| Error::internal("keeping a file", e))?;
        placed.map_err(|e| Error::internal("keeping a file", e))?;
        let now = clock::unix_seconds();
        Ok(self
            .store
            .call(move |c| store::blob_came(c, &id, size, now))
            .await?)
    }

    /// Makes files that came with a request into uploaded ones, and checks that the others are there.
    pub(super) async fn take_context(&self, definition: &mut Definition) -> Result<()> {
        for (path, entry) in &mut definition.context {
            let Entry::File { blob, .. } = entry else { continue };
            let now = clock::unix_seconds();
            let id = blob.id().to_owned();
            match blob {
                Content::Inline(_, bytes) => {
                    let bytes = std::mem::take(bytes);
                    debug_assert_eq!(blob_id(&bytes), id);
                    let (wanted, size) = (id.clone(), bytes.len() as u64);
                    let is_there = self
                        .store
                        .call(move |c| store::want_blob(c, &wanted, size, now))
                        .await?;
                    if !is_there {
                        let upload = self.begin_blob(&id).await?;
                        let upload = self.write_blob(upload, bytes).await?;
                        self.finish_blob(upload).await?;
                    }
                    *blob = Content::Blob(id);
                }
                Content::Blob(_) => {
                    let wanted = id.clone();
                    let known = self.store.call(move |c| store::blob(c, &wanted, now)).await?;
                    if !known.is_some_and(|(_, is_there)| is_there) {
                        return Err(refused(
                            "preflight",
                            "missing_blob",
                            path,
                            format!("the file {path:?} is {id}, which was not uploaded or is gone"),
                        ));
                    }
                }
            }
        }
        Ok(())
    }

    /// Removes files that nothing needs any more, and what interrupted uploads left.
    pub(super) async fn collect_blobs(&self, is_start: bool) {
        let before = clock::unix_seconds() - LIFETIME;
        let dropped = self.store.call(move |c| {
            let dropped = store::drop_blobs(c, before, MOST_BYTES)?;
            Ok((dropped, store::blobs(c)?))
        });
        let Ok((dropped, kept)) = dropped.await else {
            return;
        };
        let directory = self.blobs();
        let removed = tokio::task::spawn_blocking(move || {
            for id in &dropped {
                let _ = std::fs::remove_file(directory.join(id));
            }
            if !is_start {
                return;
            }
            let kept: BTreeSet<String> = kept.into_iter().collect();
            for entry in std::fs::read_dir(&directory).into_iter().flatten().flatten() {
                if entry.file_name().to_str().is_none_or(|name| !kept.contains(name)) {
                    let _ = std::fs::remove_file(entry.path());
                }
            }
        });
        let _ = removed.await;
    }
}
