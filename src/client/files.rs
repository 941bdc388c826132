//! Files of a machine, or of a volume, as bytes. What is one request of JSON is in the table. Source: PROTOCOL.md section 5.

use std::time::Duration;

use nullspace_wire::api::{self, Route};

use super::call::{Call, Client, Outcome, Pending, DEFAULT_TIMEOUT};
use super::machine::Machine;
use super::single::{Planned, SingleRequest};
use crate::core::error::{Error, Kind};
use crate::core::files::{Common, Target};
use crate::core::http;
use crate::core::options::Value;
use crate::core::value::json;
use crate::surface::{files, Operation, Scope};
use crate::transport::{Answer, Content, Transport};

/// Media type of content.
pub(super) const BYTES: &str = "application/octet-stream";

/// Whose files: those of a machine, or of a volume. Their calls differ by their paths; bytes of a volume go through signed
/// addresses.
#[derive(Clone)]
pub struct FileOwner<T> {
    pub(super) client: Client<T>,
    id: String,
    timeout: Duration,
    /// Not of a machine.
    pub is_volume: bool,
}

/// A call on a machine, and the same on a volume.
pub(super) type Both = [&'static Route; 2];

const DESCRIBE: Both = [&api::FILE_INFO, &api::GET_VOLUME_FILE_INFO];

impl<T: Transport> Machine<T> {
    /// Its files.
    pub fn files(&self) -> FileOwner<T> {
        FileOwner {
            client: self.client.clone(),
            id: self.id.clone(),
            timeout: self.timeout(),
            is_volume: false,
        }
    }
}

impl<T: Transport> FileOwner<T> {
    /// Files of a volume.
    pub fn of_volume(client: &Client<T>, id: String) -> Self {
        Self {
            client: client.clone(),
            id,
            timeout: client.timeout(None, DEFAULT_TIMEOUT),
            is_volume: true,
        }
    }

    /// The transport of its client.
    pub fn transport(&self) -> &T {
        self.client.transport()
    }

    pub(super) fn route(&self, both: Both) -> &'static Route {
        both[usize::from(self.is_volume)]
    }

    /// A call on these files; `ids` are those behind the owner's in the path.
    pub(super) fn on(&self, both: Both, ids: &[&str], timeout: Option<Duration>) -> Call {
        let (route, ids) = (self.route(both), [&[self.id.as_str()], ids].concat());
        Call::new(
            route,
            http::fill(route.path, &ids),
            timeout.unwrap_or(self.timeout),
        )
    }

    /// A call of the table.
    pub fn plan(
        &self,
        operation: &'static Operation,
        args: &[Option<Value>],
        options: Option<&Value>,
    ) -> Planned<T> {
        let scope = match self.is_volume {
            true => Scope::Volume,
            false => Scope::Handle,
        };
        self.client
            .planned(operation, scope, &[&self.id], Some(self.timeout), args, options)
    }

    /// A call with a body.
    fn ask(&self, both: Both, body: &Value, timeout: Option<Duration>) -> Pending<'static, T> {
        let mut call = self.on(both, &[], timeout);
        call.body = Some(body.to_json());
        SingleRequest::new(&self.client, call).send()
    }

    /// The call of an address that gives the right to it.
    async fn signed(
        &self,
        asks: &'static Route,
        body: &Value,
        route: &'static Route,
        timeout: Option<Duration>,
    ) -> Outcome<T, Call> {
        let url = self.ask([asks; 2], body, timeout).await?.text("url");
        let url = url.ok_or_else(|| Error::invalid_response(format!("{}: no url", asks.name)))?;
        let mut call = Call::new(route, url, self.client.timeout(timeout, files::TRANSFER_TIME));
        call.signed = true;
        Ok(call)
    }

    /// Bytes of a file, or of the archive of a directory: `READ` and `ARCHIVE` of the table.
    pub fn read(
        &self,
        operation: &'static Operation,
        path: &Value,
        options: Option<&Value>,
    ) -> Outcome<T, Pending<'static, T>> {
        let args = [Some(path.clone())];
        if !self.is_volume {
            return Ok(self.plan(operation, &args, options)?.send());
        }
        let request = operation.request(Scope::Volume, &[&self.id], &args, options)?;
        let place = self.clone();
        Ok(Box::pin(async move {
            let query = request.query.into_iter();
            let body = query
                .map(|(name, value)| (name.into_owned(), value.into()))
                .collect();
            let mut call = place
                .signed(
                    &api::VOLUME_DOWNLOAD_URL,
                    &Value::Object(body),
                    request.route,
                    request.request_timeout,
                )
                .await?;
            call.decoder = request.answer;
            place.client.call(&call).await
        }))
    }

    /// Writes bytes, with what is checked already.
    pub async fn put_file(
        &self,
        target: &Target,
        content: Content,
        common: &Common,
    ) -> Outcome<T, T::Answer> {
        let timeout = common.request_timeout;
        let mut call = match self.is_volume {
            true => {
                let (asks, route) = (&api::VOLUME_UPLOAD_URL, &api::UPLOAD_VOLUME_FILE_DIRECT);
                self.signed(asks, &json!({ "path": &target.path }), route, timeout)
                    .await?
            }
            false => {
                let mut call = self.on([&api::UPLOAD_FILE_RAW; 2], &[], timeout);
                let mut query = vec![("path", target.path.clone())];
                query.extend(target.mode.clone().map(|mode| ("mode", mode)));
                call.path = common.query(&call.path, query);
                // For silence, so the time of a create or a connect has no say in it.
                call.timeout = self.client.timeout(timeout, files::TRANSFER_TIME);
                call
            }
        };
        call.content = Some((content, BYTES.to_owned()));
        self.client.call(&call).await?;
        let mut body = json!({ "path": &target.path });
        match (&target.mode, self.is_volume) {
            // A signed address tells no mode.
            (Some(mode), true) => {
                let changed = json!({ "path": &target.path, "permissions": mode });
                self.ask([&api::SET_VOLUME_FILE_PERMISSIONS; 2], &changed, timeout)
                    .await?;
            }
            (None, true) => {}
            (_, false) => body.put("user", common.user.clone().into()),
        }
        self.ask(DESCRIBE, &body, timeout).await
    }

    /// Writes several files of a machine at once: their descriptions, in order. `content` is the multipart body.
    pub async fn write_batch(
        &self,
        content: Content,
        boundary: &str,
        common: &Common,
    ) -> Outcome<T, T::Answer> {
        let mut call = self.on([&api::BATCH_WRITE_FILES; 2], &[], common.request_timeout);
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
        let first = |name| failed[0].get(name).and_then(Value::as_str).unwrap_or_default();
        let mut error = Error::new(
            Kind::BatchWrite,
            "batch_write_partial_failure",
            format!(
                "{} of {} files were not written; the first: {}: {}",
                failed.len(),
                failed.len() + written.len(),
                first("path"),
                first("error"),
            ),
        );
        error.details = Some(json!({ "successes": written, "failures": failed }));
        Err(error.into())
    }
}
