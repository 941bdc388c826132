//! Uploads: directly, or in parts that are repeated one by one. Source: PROTOCOL.md section 5, "Uploads".

use std::cell::{Cell, RefCell};
use std::future::{poll_fn, Future};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use nullspace_wire::api;
use serde::Serialize;

use super::call::{Call, Client, Failed, Failure, Outcome};
use super::files::{Both, FileOwner, BYTES};
use crate::core::error::{Error, Kind};
use crate::core::files;
use crate::core::options::Value;
use crate::core::uploads::{self, Plan, Source};
use crate::core::value::json;
use crate::transport::{Answer, Content, Transport};

/// Silence that ends a request of a session. Source: PROTOCOL.md section 1.
const TIMEOUT: Duration = Duration::from_secs(300);
const CREATE: Both = [&api::CREATE_UPLOAD_SESSION, &api::CREATE_VOLUME_UPLOAD_SESSION];
const LOOK: Both = [&api::GET_UPLOAD_SESSION, &api::GET_VOLUME_UPLOAD_SESSION];
const ABORT: Both = [&api::ABORT_UPLOAD_SESSION, &api::ABORT_VOLUME_UPLOAD_SESSION];
const PART: Both = [&api::UPLOAD_SESSION_PART, &api::UPLOAD_VOLUME_SESSION_PART];
const COMPLETE: Both = [
    &api::COMPLETE_UPLOAD_SESSION,
    &api::COMPLETE_VOLUME_UPLOAD_SESSION,
];

/// Where the bytes come from: what JavaScript does for an upload.
#[allow(async_fn_in_trait)] // called generically; futures need not be `Send` on wasm
pub trait Bytes<T: Transport> {
    /// Holds some of the bytes; dropped, they are forgotten.
    type Part: HeldPart<T>;
    /// The bytes from `begin` to `end`, and their digest as hexadecimal text.
    async fn part(&self, begin: f64, end: f64) -> Outcome<T, (Self::Part, String)>;
    /// The digest of the whole.
    async fn digest(&self) -> Outcome<T, String>;
    /// Tells how far it is.
    fn progress(&self, progress: &Progress) -> Outcome<T, ()>;
}

/// How far an upload is.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Progress {
    /// `created`, `uploading`, `retrying`, `completing`, `completed`.
    pub phase: &'static str,
    /// Of the parts that came.
    pub sent_bytes: f64,
    /// Of all.
    pub total_bytes: f64,
    /// That came.
    pub sent_parts: u32,
    /// All.
    pub total_parts: u32,
    /// Which try of a part it is, from 1.
    pub attempt: u32,
}

/// Tells a phase, and which try of a part it is.
type Tell<'a, T> = &'a dyn Fn(&'static str, u32) -> Outcome<T, ()>;

/// Bytes that are held for a request.
pub trait HeldPart<T: Transport> {
    /// Their name.
    fn content(&self) -> Content;
    /// The outcome of the call that sent them; what their source threw comes first.
    fn result<V>(self, outcome: Outcome<T, V>) -> Outcome<T, V>;
}

/// A session that nobody will complete is given up, unless it can be taken up again.
struct AbortOnDrop<T: Transport> {
    place: FileOwner<T>,
    id: String,
    keep: Cell<bool>,
}

impl<T: Transport> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        if self.keep.get() {
            return;
        }
        let (place, id) = (self.place.clone(), std::mem::take(&mut self.id));
        let client = place.client.quiet();
        self.place.transport().spawn(async move {
            let call = place.upload_call(ABORT, &[&id], None);
            // Nobody hears of it; the session ends by its time at the latest.
            let _ = client.call(&call).await;
        });
    }
}

struct Session {
    id: String,
    part_size: f64,
    part_count: u32,
    next_part: Option<u32>,
    concurrency: u32,
}

impl Session {
    fn of<A: Answer>(answer: &A) -> Result<Self, Error> {
        let number = |name: &str| answer.number(name);
        let lacks = || Error::invalid_response("the upload session lacks a field");
        Ok(Self {
            id: answer.text("uploadId").ok_or_else(lacks)?,
            part_size: number("partSize").filter(|size| *size >= 1.0).ok_or_else(lacks)?,
            part_count: number("partCount").ok_or_else(lacks)? as u32,
            next_part: number("nextPart").map(|part| part as u32),
            concurrency: number("maxConcurrency").ok_or_else(lacks)? as u32,
        })
    }
}

impl<T: Transport> FileOwner<T> {
    fn upload_call(&self, route: Both, ids: &[&str], timeout: Option<Duration>) -> Call {
        let mut call = self.on(route, ids, timeout);
        call.timeout = self.client.timeout(timeout, TIMEOUT);
        call
    }

    /// Uploads a source: what came of it, with `path`, `bytes`, `files`.
    pub async fn upload<B: Bytes<T>>(
        &self,
        source: &Source,
        bytes: &B,
        stream: Option<Content>,
        plan: &Plan,
    ) -> Outcome<T, Uploaded> {
        if !plan.parts {
            return self.upload_directly(source, bytes, stream, plan).await;
        }
        let size = source.size.unwrap_or_default();
        let checksum = match plan.whole_checksum {
            true => Some(bytes.digest().await?),
            false => None,
        };
        let mut call = self.upload_call(CREATE, &[], plan.request_timeout);
        call.body = Some(uploads::create(plan, source, size, checksum.as_deref()));
        call.idempotency_key = Some(self.transport().uuid());
        let answer = repeated(&self.client, &call).await?;
        let session = answer
            .inner("session")
            .ok_or_else(|| Error::invalid_response("createUpload: no session"))?;
        let session = Session::of(&session)?;
        self.send_session(
            session,
            size,
            bytes,
            plan.concurrency,
            plan.request_timeout,
            checksum,
        )
        .await
    }

    async fn upload_directly<B: Bytes<T>>(
        &self,
        source: &Source,
        bytes: &B,
        stream: Option<Content>,
        plan: &Plan,
    ) -> Outcome<T, Uploaded> {
        let common = files::Common {
            user: plan.user.clone(),
            request_timeout: plan.request_timeout,
        };
        let total = source.size;
        let tell = |phase, sent: f64, total_bytes: f64, sent_parts| {
            bytes.progress(&Progress {
                phase,
                sent_bytes: sent,
                total_bytes,
                sent_parts,
                total_parts: 1,
                attempt: 1,
            })
        };
        // How much a stream holds is known at its end.
        if let Some(total) = total {
            tell("created", 0.0, total, 0)?;
        }
        let info = match stream {
            Some(content) => self.put_file(&plan.target, content, &common).await?,
            None => {
                let (part, _) = bytes.part(0.0, total.unwrap_or_default()).await?;
                let sent = self.put_file(&plan.target, part.content(), &common).await;
                part.result(sent)?
            }
        };
        let size = info.number("size").or(total).unwrap_or_default();
        tell("completed", size, size, 1)?;
        Ok(Uploaded {
            path: info.text("path").unwrap_or_else(|| plan.target.path.clone()),
            bytes: size,
            files: 1.0,
            upload_id: None,
        })
    }

    /// Goes on with an upload that was cut off.
    pub async fn resume_upload<B: Bytes<T>>(
        &self,
        id: &str,
        source: &Source,
        bytes: &B,
        options: Option<&Value>,
    ) -> Outcome<T, Uploaded> {
        let (concurrency, timeout) = uploads::resumed(options)?;
        let call = self.upload_call(LOOK, &[id], timeout);
        let session = repeated(&self.client, &call).await?;
        let size = session.number("contentLength");
        if source.size.is_none() || source.size != size {
            let what = "is not the one that was begun: its size differs";
            return Err(Error::option("source", what).into());
        }
        let checksum = match session.text("wholeChecksumSha256") {
            Some(wanted) => {
                let found = bytes.digest().await?;
                if found != wanted {
                    let what = "is not the one that was begun: its digest differs";
                    return Err(Error::option("source", what).into());
                }
                Some(found)
            }
            None => None,
        };
        let total = size.unwrap_or_default();
        self.send_session(
            Session::of(&session)?,
            total,
            bytes,
            concurrency,
            timeout,
            checksum,
        )
        .await
    }

    async fn send_session<B: Bytes<T>>(
        &self,
        session: Session,
        size: f64,
        bytes: &B,
        concurrency: u32,
        timeout: Option<Duration>,
        checksum: Option<String>,
    ) -> Outcome<T, Uploaded> {
        let guard = AbortOnDrop {
            place: self.clone(),
            id: session.id.clone(),
            keep: Cell::new(false),
        };
        let done = self
            .finish_session(&session, size, bytes, concurrency, timeout, checksum)
            .await;
        // What a network broke can be taken up again.
        let keep = match &done {
            Ok(_) => true,
            Err(Failure::Error(error)) => error.kind == Kind::Transport,
            Err(Failure::Thrown(_)) => false,
        };
        guard.keep.set(keep);
        match done {
            Err(Failure::Error(mut error)) if error.kind == Kind::Transport => {
                error.details = Some(json!({ "uploadId": session.id }));
                Err(error.into())
            }
            done => done,
        }
    }

    async fn finish_session<B: Bytes<T>>(
        &self,
        session: &Session,
        size: f64,
        bytes: &B,
        concurrency: u32,
        timeout: Option<Duration>,
        checksum: Option<String>,
    ) -> Outcome<T, Uploaded> {
        let first = session.next_part.unwrap_or(session.part_count);
        let next = Cell::new(first);
        let sent = Cell::new((f64::from(first) * session.part_size).min(size));
        let parts = Cell::new(first);
        let tell = |phase, attempt| {
            bytes.progress(&Progress {
                phase,
                sent_bytes: sent.get(),
                total_bytes: size,
                sent_parts: parts.get(),
                total_parts: session.part_count,
                attempt,
            })
        };
        let tell: Tell<'_, T> = &tell;
        tell("created", 1)?;
        let work = || async {
            while next.get() < session.part_count {
                let number = next.replace(next.get() + 1);
                let begin = f64::from(number) * session.part_size;
                let end = (begin + session.part_size).min(size);
                let attempt = self
                    .send_part(session, number, begin, end, bytes, timeout, tell)
                    .await?;
                sent.set(sent.get() + (end - begin));
                parts.set(parts.get() + 1);
                tell("uploading", attempt)?;
            }
            Ok(())
        };
        let workers = concurrency.min(session.concurrency).max(1);
        all::<T>((0..workers).map(|_| Box::pin(work()) as Work<'_, T>).collect()).await?;
        tell("completing", 1)?;
        let mut call = self.upload_call(COMPLETE, &[&session.id], timeout);
        call.body = Some(json!({ "whole_checksum_sha256": checksum }).to_json());
        call.idempotency_key = Some(self.transport().uuid());
        let answer = repeated(&self.client, &call).await?;
        tell("completed", 1)?;
        let done = answer.inner("session");
        Ok(Uploaded {
            path: done
                .and_then(|session| session.text("targetPath"))
                .unwrap_or_default(),
            bytes: answer.number("publishedBytes").unwrap_or_default(),
            files: answer.number("publishedFileCount").unwrap_or_default(),
            upload_id: Some(session.id.clone()),
        })
    }

    /// Sends a part until it has come: how many tries that took.
    #[allow(clippy::too_many_arguments)] // a part of `finish_session`, by which each of them is known
    async fn send_part<B: Bytes<T>>(
        &self,
        session: &Session,
        number: u32,
        begin: f64,
        end: f64,
        bytes: &B,
        timeout: Option<Duration>,
        tell: Tell<'_, T>,
    ) -> Outcome<T, u32> {
        let mut tried = 0;
        loop {
            let (part, digest) = bytes.part(begin, end).await?;
            let ids = [session.id.as_str(), &number.to_string()];
            let mut call = self.upload_call(PART, &ids, timeout);
            call.content = Some((part.content(), BYTES.to_owned()));
            call.part_digest = Some(digest);
            let failed = match self.client.try_once(&call, &Cell::new(0)).await {
                Ok(_) => return part.result(Ok(tried + 1)),
                Err(failed) => failed,
            };
            let (error, again) = match failed {
                Failed::Thrown(thrown) => return Err(Failure::Thrown(thrown)),
                Failed::Api(error) => (error, false),
                Failed::Transport(error) => (self.client.describe(&call, &error), true),
            };
            // What the source threw ends it at once.
            let outcome = part.result(Err(error.into()));
            if !again || tried == uploads::RETRIES || matches!(outcome, Err(Failure::Thrown(_))) {
                return outcome;
            }
            self.transport().sleep(uploads::delay(tried)).await;
            tried += 1;
            // It may have come all the same, or the session may be over.
            let look = self.upload_call(LOOK, &[&session.id], timeout);
            let state = repeated(&self.client, &look).await?;
            if let Some(over @ ("aborted" | "expired" | "failed")) = state.text("status").as_deref() {
                let what = format!("the upload is {over}");
                return Err(Error::new(Kind::UploadState, "file_upload_error", what).into());
            }
            tell("retrying", tried + 1)?;
        }
    }
}

/// What came of an upload.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Uploaded {
    /// Absolute, where the server says so.
    pub path: String,
    /// Of files.
    pub bytes: f64,
    /// How many.
    pub files: f64,
    /// `upl_...`, when it went in parts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upload_id: Option<String>,
}

/// Sends a call of a session, again after a lost answer: its key or its nature makes that safe.
async fn repeated<T: Transport>(client: &Client<T>, call: &Call) -> Outcome<T, T::Answer> {
    let mut tried = 0;
    loop {
        match client.try_once(call, &Cell::new(0)).await {
            Ok(sent) => return Ok(sent.answer),
            Err(Failed::Transport(_)) if tried < uploads::RETRIES => {
                client.transport().sleep(uploads::delay(tried)).await;
                tried += 1;
            }
            Err(failed) => return Err(client.failure(failed, call)),
        }
    }
}

/// Some of the parts, one after the other.
type Work<'a, T> = Pin<Box<dyn Future<Output = Outcome<T, ()>> + 'a>>;

/// Runs all until they end, or until one fails: the others are dropped then.
async fn all<'a, T: Transport>(works: Vec<Work<'a, T>>) -> Outcome<T, ()> {
    let works = RefCell::new(works);
    poll_fn(|context| {
        let mut works = works.borrow_mut();
        let mut index = 0;
        while index < works.len() {
            match works[index].as_mut().poll(context) {
                Poll::Ready(Ok(())) => drop(works.swap_remove(index)),
                Poll::Ready(Err(failure)) => return Poll::Ready(Err(failure)),
                Poll::Pending => index += 1,
            }
        }
        match works.is_empty() {
            true => Poll::Ready(Ok(())),
            false => Poll::Pending,
        }
    })
    .await
}
