//! Files of a machine as bytes. What is one request of JSON is in the table. Source: PROTOCOL.md section 5.

use nullspace_wire::api;
use serde_json::json;

use super::call::{self, Outcome};
use super::machine::Machine;
use crate::core::error::{Error, Kind};
use crate::core::files::{Common, Target};
use crate::surface::files;
use crate::transport::{Answer, Content, Transport};

/// Media type of content.
pub(super) const BYTES: &str = "application/octet-stream";

impl<T: Transport> Machine<T> {
    /// The same, with what is checked already.
    pub async fn put_file(
        &self,
        target: &Target,
        content: Content,
        common: &Common,
    ) -> Outcome<T, T::Answer> {
        let mut call = self.on(&api::UPLOAD_FILE_RAW, &[], common.request_timeout);
        let mut query = vec![("path", target.path.clone())];
        query.extend(target.mode.clone().map(|mode| ("mode", mode)));
        call.path = common.query(&call.path, query);
        // For silence, so the time of a create or a connect has no say in it.
        call.timeout = self.client.timeout(common.request_timeout, files::TRANSFER_TIME);
        call.content = Some((content, BYTES.to_owned()));
        self.client.call(&call).await?;
        let mut described = self.on(&api::FILE_INFO, &[], common.request_timeout);
        described.body = Some(call::json(&json!({ "path": target.path, "user": common.user }))?);
        self.client.call(&described).await
    }

    /// Writes several files at once: their descriptions, in order. `content` is the multipart body.
    pub async fn write_batch(
        &self,
        content: Content,
        boundary: &str,
        common: &Common,
    ) -> Outcome<T, T::Answer> {
        let mut call = self.on(&api::BATCH_WRITE_FILES, &[], common.request_timeout);
        call.timeout = self.client.timeout(common.request_timeout, files::TRANSFER_TIME);
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
}
