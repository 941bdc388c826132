//! `/v1/machines/{id}/file` and `/files`, and the same of volumes. Source: PROTOCOL.md sections 5 and 9.

use std::os::unix::fs::FileExt;
use std::sync::Arc;

use axum::body::Body as Bytes;
use axum::extract::State;
use axum::http::{header, HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::prelude::{Engine as _, BASE64_STANDARD};
use futures_util::StreamExt;
use nullspace_wire::api;
use nullspace_wire::files::{
    FileEncoding, FileExistsResponse, FileInfo, PathRequest, PatternRequest, ReadFileRequest,
    ReadFileResponse, RenameRequest, ReplaceInFilesRequest, SetPermissionsRequest, WriteFileRequest,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::batch;
use super::body::Body;
use super::params::Params;
use super::reply::{json, nothing, Answer};
use super::routes::Routes;
use super::Shared;
use crate::isolation::files::FileError;
use crate::machine::files::{archive, failure, permission_bits, FileSession, Owner};
use crate::machine::{Engine, Error, Kind};

/// Most bytes of a file inside a JSON answer: 32 MiB.
const LARGEST_JSON: u64 = 32 << 20;
/// Bytes sent at once.
const CHUNK: usize = 256 << 10;
/// Pieces of a file that are read before they can be sent.
const PIECES_AHEAD: usize = 3;
/// Deepest list.
const DEEPEST: u32 = 64;

/// Routes of this resource.
pub fn routes() -> Routes {
    Routes::new()
        .on(&api::DOWNLOAD_FILE, download)
        .on(&api::UPLOAD_FILE_RAW, upload)
        .on(&api::UPLOAD_FILE_MULTIPART, upload)
        .on(&api::LIST_DIR, list)
        .on(&api::READ_FILE, read)
        .on(&api::WRITE_FILE, write)
        .on(&api::FILE_EXISTS, exists)
        .on(&api::FILE_INFO, info)
        .on(&api::MAKE_DIR, mkdir)
        .on(&api::REMOVE_FILE, remove)
        .on(&api::RENAME_FILE, rename)
        .on(&api::SET_FILE_PERMISSIONS, permissions)
        .on(&api::FIND_IN_FILES, find)
        .on(&api::SEARCH_FILES, search)
        .on(&api::REPLACE_IN_FILES, replace)
        .on(&api::LIST_VOLUME_FILES, list)
        .on(&api::READ_VOLUME_FILE, read)
        .on(&api::WRITE_VOLUME_FILE, write)
        .on(&api::VOLUME_FILE_EXISTS, exists)
        .on(&api::GET_VOLUME_FILE_INFO, info)
        .on(&api::MAKE_VOLUME_DIR, mkdir)
        .on(&api::REMOVE_VOLUME_FILE, remove)
        .on(&api::RENAME_VOLUME_FILE, rename)
        .on(&api::SET_VOLUME_FILE_PERMISSIONS, permissions)
        .on(&api::FIND_IN_VOLUME_FILES, find)
        .on(&api::SEARCH_VOLUME_FILES, search)
        .on(&api::REPLACE_IN_VOLUME_FILES, replace)
}

async fn list(State(engine): Shared, owner: Owner, params: Params) -> Answer {
    let depth = params.parsed("depth", "1")?.unwrap_or(0u32).min(DEEPEST);
    let mut files = engine.files_of(&owner, params.text("user")).await?;
    let path = files
        .path("path", &params.text("path").unwrap_or_else(|| "/".into()))
        .await?;
    Ok(json(StatusCode::OK, &files.list(path, depth).await?))
}

async fn read(State(engine): Shared, owner: Owner, body: Body<ReadFileRequest>) -> Answer {
    let request = body.value;
    let mut files = engine.files_of(&owner, request.user).await?;
    let path = files.path("path", &request.path).await?;
    let (_, file, _hold) = files.read(path).await?;
    let file = tokio::fs::File::from_std(file);
    let mut bytes = Vec::new();
    let read = file.take(LARGEST_JSON + 1).read_to_end(&mut bytes).await;
    read.map_err(|error| failure(FileError::Broken(error)))?;
    let size = bytes.len() as u64;
    if size > LARGEST_JSON {
        let text = format!("the file is larger than {LARGEST_JSON} bytes: download it with GET .../file");
        return Err(Error::new(Kind::TooLarge, text).into());
    }
    let encoding = request.encoding.unwrap_or_default();
    let content = match encoding {
        FileEncoding::Base64 => BASE64_STANDARD.encode(&bytes),
        FileEncoding::Utf8 => String::from_utf8(bytes).map_err(|_| {
            Error::invalid(
                "encoding",
                "is \"utf8\", and the file is not: read it as \"base64\"",
            )
        })?,
    };
    let answer = ReadFileResponse {
        content,
        encoding,
        size,
    };
    Ok(json(StatusCode::OK, &answer))
}

async fn write(State(engine): Shared, owner: Owner, body: Body<WriteFileRequest>) -> Answer {
    let request = body.value;
    let content = match request.encoding.unwrap_or_default() {
        FileEncoding::Utf8 => request.content.into_bytes(),
        FileEncoding::Base64 => BASE64_STANDARD
            .decode(request.content)
            .map_err(|error| Error::invalid("content", format_args!("is no base64: {error}")))?,
    };
    let mode = wanted_mode(request.mode.as_deref())?;
    let mut files = engine.files_of(&owner, request.user).await?;
    let path = files.path("path", &request.path).await?;
    Ok(json(StatusCode::OK, &files.write(path, content, mode).await?))
}

async fn exists(State(engine): Shared, owner: Owner, body: Body<PathRequest>) -> Answer {
    let mut files = engine.files_of(&owner, body.value.user).await?;
    let path = files.path("path", &body.value.path).await?;
    let exists = files.exists(path).await?;
    Ok(json(StatusCode::OK, &FileExistsResponse { exists }))
}

async fn info(State(engine): Shared, owner: Owner, body: Body<PathRequest>) -> Answer {
    let mut files = engine.files_of(&owner, body.value.user).await?;
    let path = files.path("path", &body.value.path).await?;
    Ok(json(StatusCode::OK, &files.info(path).await?))
}

async fn mkdir(State(engine): Shared, owner: Owner, body: Body<PathRequest>) -> Answer {
    let mut files = engine.files_of(&owner, body.value.user).await?;
    let path = files.path("path", &body.value.path).await?;
    files.make_directory(path).await?;
    Ok(nothing())
}

async fn remove(State(engine): Shared, owner: Owner, body: Body<PathRequest>) -> Answer {
    let mut files = engine.files_of(&owner, body.value.user).await?;
    let path = files.path("path", &body.value.path).await?;
    files.remove(path).await?;
    Ok(nothing())
}

async fn rename(State(engine): Shared, owner: Owner, body: Body<RenameRequest>) -> Answer {
    let mut files = engine.files_of(&owner, body.value.user).await?;
    let from = files.path("old_path", &body.value.old_path).await?;
    let to = files.path("new_path", &body.value.new_path).await?;
    Ok(json(StatusCode::OK, &files.rename(from, to).await?))
}

async fn permissions(State(engine): Shared, owner: Owner, body: Body<SetPermissionsRequest>) -> Answer {
    let mut files = engine.files_of(&owner, body.value.user).await?;
    let path = files.path("path", &body.value.path).await?;
    files.set_permissions(path, &body.value.permissions).await?;
    Ok(nothing())
}

async fn find(State(engine): Shared, owner: Owner, body: Body<PatternRequest>) -> Answer {
    let mut files = engine.files_of(&owner, body.value.user).await?;
    let path = files.path("path", &body.value.path).await?;
    Ok(json(StatusCode::OK, &files.find(path, body.value.pattern).await?))
}

async fn search(State(engine): Shared, owner: Owner, body: Body<PatternRequest>) -> Answer {
    let mut files = engine.files_of(&owner, body.value.user).await?;
    let path = files.path("path", &body.value.path).await?;
    Ok(json(
        StatusCode::OK,
        &files.search(path, body.value.pattern).await?,
    ))
}

async fn replace(State(engine): Shared, owner: Owner, body: Body<ReplaceInFilesRequest>) -> Answer {
    let request = body.value;
    let mut files = engine.files_of(&owner, request.user).await?;
    let mut paths = Vec::with_capacity(request.files.len());
    for file in &request.files {
        paths.push(files.path("files", file).await?);
    }
    let dry_run = request.dry_run.unwrap_or(false);
    let done = files
        .replace(paths, request.pattern, request.replacement, dry_run)
        .await?;
    Ok(json(StatusCode::OK, &done))
}

/// Permission bits that a written file gets, when the request names some.
pub fn wanted_mode(octal: Option<&str>) -> Result<Option<u32>, Error> {
    octal.map(|octal| permission_bits("mode", octal)).transpose()
}

fn wanted_path(params: &Params) -> Result<String, Error> {
    let path = params.text("path");
    path.ok_or_else(|| Error::invalid("path", "is missing: give a path such as /workspace/a.txt"))
}

async fn download(State(engine): Shared, owner: Owner, params: Params, headers: HeaderMap) -> Answer {
    send(
        &engine,
        &owner,
        params.text("user"),
        &wanted_path(&params)?,
        wants_archive(params.text("archive_format").as_deref())?,
        &headers,
    )
    .await
}

/// Whether a directory is wanted, as an archive.
pub fn wants_archive(format: Option<&str>) -> Result<bool, Error> {
    match format {
        None => Ok(false),
        Some("tar") => Ok(true),
        Some(other) => {
            let what = format_args!("is {other:?}: give \"tar\" for a directory, and nothing for a file");
            Err(Error::invalid("archive_format", what))
        }
    }
}

/// Answers with the bytes of a file, or of a range of it; or with those of the archive of a directory.
pub async fn send(
    engine: &Arc<Engine>,
    owner: &Owner,
    user: Option<String>,
    path: &str,
    as_archive: bool,
    headers: &HeaderMap,
) -> Answer {
    let mut files = engine.files_of(owner, user).await?;
    let path = files.path("path", path).await?;
    if as_archive {
        let bytes = archive::of(files, path).await?;
        let kind = [(header::CONTENT_TYPE, "application/octet-stream")];
        return Ok((kind, Bytes::from_stream(bytes)).into_response());
    }
    let (info, file, hold) = files.read(path).await?;
    let range = headers
        .get(header::RANGE)
        .and_then(|value| range(value.to_str().ok()?, info.size));
    let (start, end) = match range {
        None => (0, info.size),
        Some(Ok(range)) => range,
        Some(Err(())) => {
            let shown = [(header::CONTENT_RANGE, format!("bytes */{}", info.size))];
            return Ok((StatusCode::RANGE_NOT_SATISFIABLE, shown).into_response());
        }
    };
    let length = end - start;
    // Read by position, a few pieces ahead: the next one is there when the one before has been sent, and no thread waits
    // for a slow client. A file that shrinks meanwhile ends the answer early, which the client sees by its length.
    let file = Arc::new((file, hold));
    let places = (start..end).step_by(CHUNK);
    let chunks = futures_util::stream::iter(places)
        .map(move |at| {
            let (file, size) = (file.clone(), CHUNK.min((end - at) as usize));
            async move {
                let read = tokio::task::spawn_blocking(move || {
                    let mut chunk = vec![0; size];
                    file.0.read_exact_at(&mut chunk, at).map(|()| chunk)
                });
                read.await.map_err(std::io::Error::other)?
            }
        })
        .buffered(PIECES_AHEAD);
    let mut response = Response::new(Bytes::from_stream(chunks));
    let shown = response.headers_mut();
    shown.insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("application/octet-stream"),
    );
    shown.insert(header::CONTENT_LENGTH, length.into());
    shown.insert(header::ACCEPT_RANGES, header::HeaderValue::from_static("bytes"));
    if range.is_some() {
        let text = format!("bytes {start}-{}/{}", end - 1, info.size);
        if let Ok(value) = text.parse() {
            shown.insert(header::CONTENT_RANGE, value);
        }
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    Ok(response)
}

/// Start and end of `bytes=a-b`, `a-` or `-n`; `None` = not understood and so ignored, an error = outside the file.
/// Several ranges at once are not understood. Source: RFC 9110 section 14.
fn range(text: &str, size: u64) -> Option<Result<(u64, u64), ()>> {
    let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
    let (start, end) = match (first, last) {
        ("", last) => (size.saturating_sub(last.parse().ok()?), size),
        (first, "") => (first.parse().ok()?, size),
        (first, last) => {
            let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
            if last < first {
                return None;
            }
            (first, last.saturating_add(1).min(size))
        }
    };
    Some(if start < end { Ok((start, end)) } else { Err(()) })
}

async fn upload(
    State(engine): Shared,
    owner: Owner,
    params: Params,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    let path = wanted_path(&params)?;
    let mode = wanted_mode(params.text("mode").as_deref())?;
    receive(&engine, &owner, params.text("user"), &path, &headers, body, mode).await
}

/// Streams the body, or the part `file` of a form, into a file, which appears once all of it has come.
pub async fn receive(
    engine: &Arc<Engine>,
    owner: &Owner,
    user: Option<String>,
    path: &str,
    headers: &HeaderMap,
    body: Bytes,
    mode: Option<u32>,
) -> Answer {
    let mut files = engine.files_of(owner, user).await?;
    let path = files.path("path", path).await?;
    match batch::boundary(headers) {
        None => store(&mut files, path, body.into_data_stream(), mode)
            .await
            .map(drop)?,
        Some(boundary) => batch::file_part(&mut files, path, &boundary, body, mode).await?,
    };
    Ok(nothing())
}

/// Writes what comes into a file. What ends early leaves the file as it was.
pub async fn store<E>(
    files: &mut FileSession,
    path: String,
    chunks: impl futures_util::Stream<Item = Result<axum::body::Bytes, E>>,
    mode: Option<u32>,
) -> Result<FileInfo, Error> {
    let new = files.create(path).await?;
    let mut file = tokio::fs::File::from_std(new.file);
    let mut chunks = std::pin::pin!(chunks);
    while let Some(chunk) = chunks.next().await {
        // Dropping the session removes what came.
        let chunk = chunk.map_err(|_| {
            Error::new(
                Kind::InvalidRequest,
                "the body ended early; the file is as it was",
            )
        })?;
        let written = file.write_all(&chunk).await;
        written.map_err(|error| failure(FileError::Broken(error)))?;
    }
    file.flush()
        .await
        .map_err(|error| failure(FileError::Broken(error)))?;
    files.commit_as(new.token, true, mode).await
}

#[cfg(test)]
mod tests {
    use super::range;

    #[test]
    fn ranges_are_read_as_the_rfc_says() {
        assert_eq!(range("bytes=0-3", 10), Some(Ok((0, 4))));
        assert_eq!(range("bytes=4-", 10), Some(Ok((4, 10))));
        assert_eq!(range("bytes=-3", 10), Some(Ok((7, 10))));
        assert_eq!(range("bytes=-30", 10), Some(Ok((0, 10))));
        assert_eq!(range("bytes=8-99", 10), Some(Ok((8, 10))));
        assert_eq!(range("bytes=10-", 10), Some(Err(())));
        assert_eq!(range("bytes=-0", 10), Some(Err(())));
        for ignored in ["bytes=3-1", "bytes=0-1,4-5", "lines=1-2", "bytes=x"] {
            assert_eq!(range(ignored, 10), None, "{ignored}");
        }
    }
}
