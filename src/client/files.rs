//! Files of a machine. Source: PROTOCOL.md section 5.

use std::time::Duration;

use serde_json::{json, Value as Json};

use super::call::{Call, Outcome};
use super::machine::Machine;
use super::single::{Planned, Single};
use crate::core::error::{Error, Kind};
use crate::core::files::{self, Common};
use crate::core::options::Value;
use crate::transport::{Answer, Content, Decoder, Transport};

/// Silence that ends a transfer. Source: PROTOCOL.md section 1.
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(300);

/// Media type of bytes that say nothing of themselves.
const BYTES: &str = "application/octet-stream";

impl<T: Transport> Machine<T> {
    fn files_post(
        &self,
        operation: &'static str,
        verb: &str,
        body: Json,
        decoder: Decoder,
        common: &Common,
    ) -> Single<T> {
        let under = format!("/files/{verb}");
        let mut call = self.on(operation, "POST", &under, decoder, common.request_timeout);
        call.body = Some(common.body(body));
        self.single(call)
    }

    fn bytes_call(
        &self,
        operation: &'static str,
        method: &'static str,
        path: String,
        common: &Common,
    ) -> Call {
        let mut call = self.on(
            operation,
            method,
            &common.query("/file", vec![("path", path)]),
            Decoder::Nothing,
            common.request_timeout,
        );
        // For silence, so the time of a create or a connect has no say in it.
        call.timeout = self.client.timeout(common.request_timeout, TRANSFER_TIMEOUT);
        call
    }

    /// The bytes of a file, in the form that the options ask for.
    pub fn read_file(&self, path: &Value, options: Option<&Value>) -> Planned<T> {
        let (common, decoder) = files::read(options)?;
        let mut call = self.bytes_call("downloadFile", "GET", files::path("path", path)?, &common);
        call.decoder = decoder;
        Ok(self.single(call))
    }

    /// Writes a short text.
    pub fn write_text(&self, path: &Value, text: &str, options: Option<&Value>) -> Planned<T> {
        let common = Common::read(options)?;
        let body = json!({ "path": files::path("path", path)?, "content": text, "encoding": "utf8" });
        Ok(self.files_post("writeFile", "write", body, Decoder::FileInfo, &common))
    }

    /// Writes bytes that pass by, and then describes the file.
    pub async fn write_bytes(
        &self,
        path: &Value,
        content: Content,
        options: Option<&Value>,
    ) -> Outcome<T, T::Answer> {
        let common = Common::read(options)?;
        self.put_file(&files::path("path", path)?, content, &common).await
    }

    /// The same, with what is checked already.
    pub(super) async fn put_file(
        &self,
        path: &str,
        content: Content,
        common: &Common,
    ) -> Outcome<T, T::Answer> {
        let mut call = self.bytes_call("uploadFile", "PUT", path.to_owned(), common);
        call.content = Some((content, BYTES.to_owned()));
        self.client.call(&call).await?;
        self.files_post(
            "getFileInfo",
            "info",
            json!({ "path": path }),
            Decoder::FileInfo,
            common,
        )
        .send()
        .await
    }

    /// Writes several files at once: their descriptions, in order. `content` is the multipart body.
    pub async fn write_batch(
        &self,
        content: Content,
        boundary: &str,
        common: &Common,
    ) -> Outcome<T, T::Answer> {
        let mut call = self.on(
            "batchWriteFiles",
            "POST",
            "/files/batch-write",
            Decoder::BatchWrite,
            common.request_timeout,
        );
        call.timeout = self.client.timeout(common.request_timeout, TRANSFER_TIMEOUT);
        call.content = Some((content, format!("multipart/form-data; boundary={boundary}")));
        let answer = self.client.call(&call).await?;
        let results = answer
            .inner("results")
            .ok_or_else(|| Error::invalid_response("batchWriteFiles: the answer has no results"))?;
        let (mut written, mut failed) = (Vec::new(), Vec::new());
        results.each(&mut |result| {
            let path = result.text("path").unwrap_or_default();
            match result.text("error") {
                Some(error) => failed.push(json!({ "path": path, "error": error })),
                None => written.push(path),
            }
        });
        if failed.is_empty() {
            return Ok(results);
        }
        let first = failed[0]["error"].as_str().unwrap_or_default();
        let mut error = Error::new(
            Kind::BatchWrite,
            "batch_write_partial_failure",
            format!(
                "{} of {} files were not written; the first: {}: {first}",
                failed.len(),
                failed.len() + written.len(),
                failed[0]["path"].as_str().unwrap_or_default(),
            ),
        );
        error.details = Some(json!({ "successes": written, "failures": failed }));
        Err(error.into())
    }

    /// What a directory holds.
    pub fn list_files(&self, path: Option<&Value>, options: Option<&Value>) -> Planned<T> {
        let (common, depth) = files::list(options)?;
        let path = match path {
            Some(path) => files::path("path", path)?,
            None => "/".to_owned(),
        };
        let mut query = vec![("path", path)];
        query.extend(depth.map(|depth| ("depth", depth.to_string())));
        let call = self.on(
            "listFiles",
            "GET",
            &common.query("/files", query),
            Decoder::FileList,
            common.request_timeout,
        );
        Ok(self.single(call))
    }

    /// A short text, for what the SDK itself has to know of it.
    pub(super) async fn read_small(&self, path: &Value) -> Outcome<T, String> {
        let body = json!({ "path": files::path("path", path)?, "encoding": "utf8" });
        let common = Common::read(None)?;
        let answer = self
            .files_post("readFile", "read", body, Decoder::ReadFile, &common)
            .send()
            .await?;
        Ok(answer.text("content").unwrap_or_default())
    }

    fn existence(&self, path: &Value, options: Option<&Value>) -> Planned<T> {
        let body = json!({ "path": files::path("path", path)? });
        let common = Common::read(options)?;
        Ok(self.files_post("fileExists", "exists", body, Decoder::FileExists, &common))
    }

    /// Whether there is something at a path.
    pub fn file_exists(&self, path: &Value, options: Option<&Value>) -> Planned<T> {
        Ok(self.existence(path, options)?.field("exists"))
    }

    /// The same, for the SDK itself.
    pub(super) async fn is_there(&self, path: &Value) -> Outcome<T, bool> {
        let answer = self.existence(path, None)?.send().await?;
        Ok(answer.flag("exists") == Some(true))
    }

    /// Describes what is at a path.
    pub fn file_info(&self, path: &Value, options: Option<&Value>) -> Planned<T> {
        let body = json!({ "path": files::path("path", path)? });
        let common = Common::read(options)?;
        Ok(self.files_post("getFileInfo", "info", body, Decoder::FileInfo, &common))
    }

    /// Makes a directory and what leads to it, or removes whatever is at a path: `verb`.
    pub fn at_path(
        &self,
        operation: &'static str,
        verb: &str,
        path: &Value,
        options: Option<&Value>,
    ) -> Planned<T> {
        let body = json!({ "path": files::path("path", path)? });
        let common = Common::read(options)?;
        Ok(self.files_post(operation, verb, body, Decoder::Nothing, &common))
    }

    /// Renames, or moves.
    pub fn rename_file(&self, from: &Value, to: &Value, options: Option<&Value>) -> Planned<T> {
        let body = json!({ "old_path": files::path("from", from)?, "new_path": files::path("to", to)? });
        let common = Common::read(options)?;
        Ok(self.files_post("renameFile", "rename", body, Decoder::FileInfo, &common))
    }

    /// Sets permissions.
    pub fn set_file_permissions(
        &self,
        path: &Value,
        permissions: &Value,
        options: Option<&Value>,
    ) -> Planned<T> {
        let body = json!({
            "path": files::path("path", path)?,
            "permissions": files::permissions(permissions)?,
        });
        let common = Common::read(options)?;
        Ok(self.files_post(
            "setFilePermissions",
            "permissions",
            body,
            Decoder::Nothing,
            &common,
        ))
    }

    /// Lines that match a pattern (`find`), or names of files that do (`search`).
    pub fn matching(&self, verb: &str, path: &Value, pattern: &Value, options: Option<&Value>) -> Planned<T> {
        let body = json!({
            "path": files::path("path", path)?,
            "pattern": files::text("pattern", pattern, false)?,
        });
        let (operation, decoder) = match verb {
            "find" => ("findInFiles", Decoder::SearchMatches),
            _ => ("searchFiles", Decoder::Texts),
        };
        let common = Common::read(options)?;
        Ok(self.files_post(operation, verb, body, decoder, &common))
    }

    /// Replaces in files.
    pub fn replace_in_files(
        &self,
        paths: &Value,
        pattern: &Value,
        replacement: &Value,
        options: Option<&Value>,
    ) -> Planned<T> {
        let body = json!({
            "files": files::paths(paths)?,
            "pattern": files::text("pattern", pattern, false)?,
            "replacement": files::text("replacement", replacement, true)?,
        });
        let common = Common::read(options)?;
        Ok(self.files_post("replaceInFiles", "replace", body, Decoder::ReplaceResult, &common))
    }

    /// An address for one download or upload without the key: `verb` is `download-url` or `upload-url`.
    pub fn file_url(&self, verb: &str, path: &Value, options: Option<&Value>) -> Planned<T> {
        let (operation, decoder) = match verb {
            "download-url" => ("createDownloadUrl", Decoder::DownloadUrl),
            _ => ("createUploadUrl", Decoder::UploadUrl),
        };
        let body = json!({ "path": files::path("path", path)? });
        let common = Common::read(options)?;
        Ok(self.files_post(operation, verb, body, decoder, &common))
    }
}
