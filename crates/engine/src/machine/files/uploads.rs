//! Resumable uploads: parts come in any order into a staged file of the engine and appear in the machine, or the volume, as a
//! whole.
//!
//! The staged file has no name, so that nothing of it outlives the engine, however that ends; nor would a session have a
//! use then, since its machine ends too, and the upload to a volume is begun anew. Source: PROTOCOL.md section 5.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nullspace_wire::upload::{
    CompleteUploadResponse, CreateUploadRequest, CreateUploadResponse, UploadConflict, UploadKind,
    UploadLimits, UploadSession, UploadStatus,
};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{failure, permission_bits, unpack, FileSession, Owner};
use crate::isolation::files::FileError;
use crate::machine::ground::error::UploadReason;
use crate::machine::ground::idempotency::{Makes, Ticket};
use crate::machine::ground::sync::lock;
use crate::machine::ground::{clock, Error, Kind, Result};
use crate::machine::Engine;

/// Where the bytes of an upload come from. Source: schema, `UploadSourceKind`.
const SOURCE_KINDS: [&str; 3] = ["restartable_file", "spooled_stream", "directory_archive"];
/// Bytes of a part: few enough that some of them at once are little memory.
const PART_SIZE: u64 = 4 << 20;
/// Largest upload: 16 GiB.
const LARGEST: u64 = 16 << 30;
/// Bytes of all uploads of a machine, or of a volume, that are under way.
const QUOTA: u64 = 16 << 30;
/// Parts at once.
const CONCURRENCY: u32 = 4;
/// How long a session waits for its next part.
const LIFETIME: Duration = Duration::from_secs(3600);
/// Bytes copied at once.
const CHUNK: usize = 1 << 20;

/// Sessions that are known, by id.
#[derive(Default)]
pub struct Uploads(Mutex<HashMap<String, Arc<Upload>>>);

struct Upload {
    owner: Owner,
    /// Permission bits of a single file.
    mode: Option<u32>,
    staged: Arc<File>,
    state: Mutex<State>,
    /// Held while it is completed.
    completing: tokio::sync::Mutex<()>,
}

struct State {
    info: UploadSession,
    came: Vec<bool>,
    expires: tokio::time::Instant,
    published: Option<CompleteUploadResponse>,
}

fn refused(reason: UploadReason, id: Option<&str>, message: impl Into<String>) -> Error {
    Error::new(Kind::Upload(reason), message).with_details(json!({ "upload_id": id }))
}

impl Upload {
    fn info(&self) -> UploadSession {
        lock(&self.state).info.clone()
    }

    /// Refuses what is over.
    fn check_open(&self) -> Result<()> {
        let mut state = lock(&self.state);
        let id = state.info.upload_id.clone();
        if state.info.status != UploadStatus::Completed && state.expires < clock::instant() {
            state.info.status = UploadStatus::Expired;
        }
        match state.info.status {
            UploadStatus::Aborted => Err(refused(
                UploadReason::Aborted,
                Some(&id),
                "the upload was aborted",
            )),
            UploadStatus::Expired => Err(refused(
                UploadReason::Expired,
                Some(&id),
                "the upload has expired: begin a new one",
            )),
            UploadStatus::Completed => Err(refused(
                UploadReason::AlreadyCompleted,
                Some(&id),
                "the upload is completed already",
            )),
            _ => Ok(()),
        }
    }

    /// Bytes of a part.
    fn part_length(info: &UploadSession, number: u32) -> u64 {
        let begin = u64::from(number) * info.part_size;
        info.part_size.min(info.content_length - begin)
    }
}

/// The kind of a source in the schema's words, which answers keep to. Other words are taken: nothing depends on the kind, and a
/// client may have more of them.
fn source_kind(given: &str, is_tar: bool) -> Result<&'static str> {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
    if !(1..=64).contains(&given.len()) || !given.bytes().all(is_word) {
        let what = "is none: give \"restartable_file\", \"spooled_stream\" or \"directory_archive\"";
        return Err(Error::invalid("source_kind", what));
    }
    let [_, stream, archive] = SOURCE_KINDS;
    let known = SOURCE_KINDS.into_iter().find(|kind| *kind == given);
    Ok(known.unwrap_or(if is_tar { archive } else { stream }))
}

impl Engine {
    /// Begins an upload.
    pub async fn create_upload(
        self: &Arc<Self>,
        owner: &Owner,
        key: Option<&str>,
        request: CreateUploadRequest,
    ) -> Result<String> {
        let body =
            serde_json::to_value(&request).map_err(|error| Error::internal("reading a request", error))?;
        let ticket = Ticket::new(Makes::Upload, format!("upload {owner}"), key, &body)?;
        let work = async {
            let session = self.begin_upload(owner, request).await?;
            let answer = serde_json::to_string(&CreateUploadResponse { session })
                .map_err(|error| Error::internal("writing an answer", error))?;
            if let Some(ticket) = ticket.clone() {
                let kept = answer.clone();
                self.store.call(move |c| ticket.keep(c, &kept)).await?;
            }
            Ok(answer)
        };
        self.once(ticket.as_ref(), work).await
    }

    async fn begin_upload(
        self: &Arc<Self>,
        owner: &Owner,
        request: CreateUploadRequest,
    ) -> Result<UploadSession> {
        let mut session = self.files_of(owner, request.user.clone()).await?;
        let target = session.path("target_path", &request.target_path).await?;
        let is_tar = request.kind == UploadKind::DirectoryTar;
        if is_tar != (request.archive_format.as_deref() == Some("tar")) {
            let what = "is \"tar\" for a directory_tar, and absent for a file";
            return Err(Error::invalid("archive_format", what));
        }
        let source_kind = source_kind(&request.source_kind, is_tar)?;
        let mode = request
            .mode
            .as_deref()
            .map(|octal| permission_bits("mode", octal));
        let mode = mode.transpose()?;
        if is_tar && mode.is_some() {
            let what = "is for a single file: an archive holds the permissions of its files";
            return Err(Error::invalid("mode", what));
        }
        if request.checksum_algorithm != "sha256" {
            return Err(Error::invalid(
                "checksum_algorithm",
                "is not \"sha256\", the only one",
            ));
        }
        if request.content_length > LARGEST {
            let what = format!(
                "{} bytes are more than the {LARGEST} that one upload may have",
                request.content_length
            );
            return Err(refused(UploadReason::SizeLimit, None, what));
        }
        if request.conflict == UploadConflict::Error && session.exists(target.clone()).await? {
            let what = format!("{target} is there already, and `conflict` is \"error\"");
            return Err(refused(UploadReason::TargetConflict, None, what));
        }
        let held: u64 = lock(&self.uploads.0)
            .values()
            .filter(|upload| upload.owner == *owner)
            .map(|upload| upload.info().reserved_staging_bytes)
            .sum();
        if held + request.content_length > QUOTA {
            let what = format!("uploads under way hold {held} of {QUOTA} bytes: complete or abort one");
            return Err(refused(UploadReason::NoStagingSpace, None, what));
        }
        let staged = self.stage(request.content_length).await?;
        let part_count = request.content_length.div_ceil(PART_SIZE).max(1) as u32;
        let info = UploadSession {
            upload_id: format!("upl_{}", uuid::Uuid::new_v4().simple()),
            kind: request.kind,
            source_kind: source_kind.into(),
            target_path: target,
            content_length: request.content_length,
            accepted_bytes: 0,
            reserved_staging_bytes: request.content_length,
            part_size: PART_SIZE,
            part_count,
            max_concurrency: CONCURRENCY,
            status: UploadStatus::Created,
            conflict: request.conflict,
            checksum_algorithm: request.checksum_algorithm,
            limits: UploadLimits {
                max_upload_bytes: LARGEST,
                max_part_bytes: PART_SIZE,
                max_concurrency: CONCURRENCY,
                machine_staging_quota_bytes: matches!(owner, Owner::Machine(_)).then_some(QUOTA),
                staging_quota_bytes: matches!(owner, Owner::Volume(_)).then_some(QUOTA),
            },
            created_at: clock::now(),
            updated_at: clock::now(),
            expires_at: clock::after(LIFETIME),
            user: request.user,
            next_part: Some(0),
            archive_format: request.archive_format,
            whole_checksum_sha256: request
                .whole_checksum_sha256
                .map(|text| text.to_ascii_lowercase()),
        };
        let upload = Arc::new(Upload {
            owner: owner.clone(),
            mode,
            staged: Arc::new(staged),
            state: Mutex::new(State {
                info: info.clone(),
                came: vec![false; part_count as usize],
                expires: clock::instant() + LIFETIME,
                published: None,
            }),
            completing: tokio::sync::Mutex::default(),
        });
        lock(&self.uploads.0).insert(info.upload_id.clone(), upload.clone());
        self.forget_in_time(session, upload);
        Ok(info)
    }

    /// A file without a name, as large as the upload: what does not fit is known now.
    async fn stage(&self, size: u64) -> Result<File> {
        let path = self
            .store
            .directory()
            .join(format!("upload-{}", uuid::Uuid::new_v4().simple()));
        let made = tokio::task::spawn_blocking(move || {
            let file = File::options()
                .read(true)
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path)?;
            std::fs::remove_file(&path)?;
            if size > 0 {
                rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, size)?;
            }
            Ok::<_, std::io::Error>(file)
        });
        match made
            .await
            .map_err(|error| Error::internal("staging an upload", error))?
        {
            Ok(file) => Ok(file),
            Err(error) if error.kind() == std::io::ErrorKind::StorageFull => Err(refused(
                UploadReason::NoStagingSpace,
                None,
                "the engine's disk has no room for this upload",
            )),
            Err(error) => Err(Error::internal("staging an upload", error)),
        }
    }

    /// Forgets a session when its machine, its volume or its time is over; what it staged goes with it.
    fn forget_in_time(self: &Arc<Self>, session: FileSession, upload: Arc<Upload>) {
        let (engine, gone, closing) = (self.clone(), session.gone().clone(), self.closing.clone());
        // It would keep the machine from counting as idle.
        drop(session);
        tokio::spawn(async move {
            loop {
                let expires = lock(&upload.state).expires;
                tokio::select! {
                    () = gone.cancelled() => break,
                    () = closing.cancelled() => break,
                    () = clock::sleep_until(expires) => {}
                }
                if lock(&upload.state).expires <= clock::instant() {
                    break;
                }
            }
            // Told as expired for a while: nobody should wonder.
            if !gone.is_cancelled() && !closing.is_cancelled() {
                let _ = upload.check_open();
                clock::sleep(LIFETIME).await;
            }
            let id = upload.info().upload_id;
            lock(&engine.uploads.0).remove(&id);
        });
    }

    pub(in crate::machine) fn has_upload(&self, id: &str) -> bool {
        lock(&self.uploads.0).contains_key(id)
    }

    fn upload(&self, owner: &Owner, id: &str) -> Result<Arc<Upload>> {
        let upload = lock(&self.uploads.0).get(id).cloned();
        upload.filter(|upload| upload.owner == *owner).ok_or_else(|| {
            Error::new(
                Kind::NotFound,
                format!("{owner} has no upload {id}: it never was, or its time is over"),
            )
        })
    }

    /// How far an upload is.
    pub fn get_upload(&self, owner: &Owner, id: &str) -> Result<UploadSession> {
        let upload = self.upload(owner, id)?;
        // Notes that it has expired.
        let _ = upload.check_open();
        Ok(upload.info())
    }

    /// Takes one part. The same part may come again.
    pub async fn put_part(
        &self,
        owner: &Owner,
        id: &str,
        number: u32,
        checksum: Option<&str>,
        bytes: bytes::Bytes,
    ) -> Result<UploadSession> {
        let upload = self.upload(owner, id)?;
        upload.check_open()?;
        match owner {
            // A part is activity of its machine, which must not be paused between two of them.
            Owner::Machine(id) => self.live_machine(id).await?.touch(),
            Owner::Volume(id) => drop(self.volume(id).await?),
        }
        let info = upload.info();
        let about = |reason, message: String| {
            Error::new(Kind::Upload(reason), message)
                .with_details(json!({ "upload_id": id, "part_number": number }))
        };
        if number >= info.part_count {
            let what = format!("the upload has {} parts, counted from 0", info.part_count);
            return Err(about(UploadReason::PartOutOfRange, what));
        }
        let expected = Upload::part_length(&info, number);
        if bytes.len() as u64 != expected {
            let what = format!("part {number} has {} bytes instead of {expected}", bytes.len());
            return Err(about(UploadReason::PartSizeMismatch, what));
        }
        let (staged, offset) = (upload.staged.clone(), u64::from(number) * info.part_size);
        let checksum = checksum.map(str::to_ascii_lowercase);
        let written = tokio::task::spawn_blocking(move || {
            if checksum.is_some_and(|given| given != hex::encode(Sha256::digest(&bytes))) {
                return Ok(false);
            }
            staged.write_all_at(&bytes, offset).map(|()| true)
        });
        match written
            .await
            .map_err(|error| Error::internal("writing a part", error))?
        {
            Ok(true) => {}
            Ok(false) => {
                let what = format!("part {number} is not what its header x-nullspace-part-sha256 says");
                return Err(about(UploadReason::InvalidPartChecksum, what));
            }
            Err(error) => return Err(Error::internal("writing a part", error)),
        }
        upload.check_open()?;
        let mut state = lock(&upload.state);
        if !std::mem::replace(&mut state.came[number as usize], true) {
            state.info.accepted_bytes += expected;
        }
        state.info.next_part = state.came.iter().position(|came| !came).map(|index| index as u32);
        state.info.status = match state.info.next_part {
            Some(_) => UploadStatus::Uploading,
            None => UploadStatus::Staged,
        };
        state.info.updated_at = clock::now();
        state.info.expires_at = clock::after(LIFETIME);
        state.expires = clock::instant() + LIFETIME;
        Ok(state.info.clone())
    }

    /// Puts what came into its place. Completed again, it answers the same.
    pub async fn complete_upload(
        self: &Arc<Self>,
        owner: &Owner,
        id: &str,
        checksum: Option<String>,
    ) -> Result<CompleteUploadResponse> {
        let upload = self.upload(owner, id)?;
        let _one = upload.completing.lock().await;
        if let Some(published) = &lock(&upload.state).published {
            return Ok(published.clone());
        }
        upload.check_open()?;
        let info = upload.info();
        if let Some(next) = info.next_part.filter(|_| info.content_length > 0) {
            let missing = lock(&upload.state).came.iter().filter(|came| !**came).count();
            let what = format!("{missing} parts are missing, the first is {next}");
            return Err(refused(UploadReason::MissingParts, Some(id), what));
        }
        let wanted = checksum.map(|text| text.to_ascii_lowercase());
        for wanted in [wanted, info.whole_checksum_sha256.clone()].into_iter().flatten() {
            if digest(upload.staged.clone(), info.content_length).await? != wanted {
                let what = "what came is not what `whole_checksum_sha256` says";
                return Err(refused(UploadReason::WholeChecksumMismatch, Some(id), what));
            }
        }
        let session = self.files_of(owner, info.user.clone()).await?;
        let published = match info.kind {
            UploadKind::File => publish_file(session, &upload, &info).await,
            UploadKind::DirectoryTar => {
                let bytes = unpack::Source::new(upload.staged.clone(), info.content_length);
                unpack::publish(self, session, bytes, &info).await
            }
        };
        let (bytes, files) = published?;
        let mut state = lock(&upload.state);
        state.info.status = UploadStatus::Completed;
        state.info.reserved_staging_bytes = 0;
        state.info.updated_at = clock::now();
        let answer = CompleteUploadResponse {
            session: state.info.clone(),
            published_bytes: bytes,
            published_file_count: files,
        };
        state.published = Some(answer.clone());
        // The room is free at once.
        let _ = upload.staged.set_len(0);
        Ok(answer)
    }

    /// Gives an upload up.
    pub async fn abort_upload(&self, owner: &Owner, id: &str) -> Result<()> {
        let upload = self.upload(owner, id)?;
        // One that is being completed is completed or failed first.
        let _one = upload.completing.lock().await;
        let mut state = lock(&upload.state);
        if state.info.status != UploadStatus::Completed {
            state.info.status = UploadStatus::Aborted;
            state.info.reserved_staging_bytes = 0;
            let _ = upload.staged.set_len(0);
        }
        Ok(())
    }
}

async fn publish_file(mut session: FileSession, upload: &Upload, info: &UploadSession) -> Result<(u64, u64)> {
    let new = session.create(info.target_path.clone()).await?;
    copy(upload.staged.clone(), 0, info.content_length, new.file).await?;
    let replace = info.conflict != UploadConflict::Error;
    match session.commit_as(new.token, replace, upload.mode).await {
        Err(error) if error.kind == Kind::Conflict => {
            let what = format!("{} is there already", info.target_path);
            Err(refused(UploadReason::TargetConflict, Some(&info.upload_id), what))
        }
        Err(error) => Err(error),
        Ok(_) => Ok((info.content_length, 1)),
    }
}

/// Copies bytes of the staged file to the beginning of another one.
pub(super) async fn copy(staged: Arc<File>, offset: u64, length: u64, to: File) -> Result<()> {
    let copied = tokio::task::spawn_blocking(move || {
        let mut buffer = vec![0; CHUNK];
        let mut done = 0;
        while done < length {
            let wanted = CHUNK.min((length - done) as usize);
            staged.read_exact_at(&mut buffer[..wanted], offset + done)?;
            to.write_all_at(&buffer[..wanted], done)?;
            done += wanted as u64;
        }
        Ok::<_, std::io::Error>(())
    });
    copied
        .await
        .map_err(|error| Error::internal("copying an upload", error))?
        .map_err(|error| failure(FileError::Broken(error)))
}

async fn digest(staged: Arc<File>, length: u64) -> Result<String> {
    let read = tokio::task::spawn_blocking(move || {
        let mut hash = Sha256::new();
        let mut buffer = vec![0; CHUNK];
        let mut done = 0;
        while done < length {
            let wanted = CHUNK.min((length - done) as usize);
            staged.read_exact_at(&mut buffer[..wanted], done)?;
            hash.update(&buffer[..wanted]);
            done += wanted as u64;
        }
        Ok::<_, std::io::Error>(hex::encode(hash.finalize()))
    });
    read.await
        .map_err(|error| Error::internal("reading an upload", error))?
        .map_err(|error| Error::internal("reading an upload", error))
}
