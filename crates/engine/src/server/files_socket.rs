//! Watching files over a WebSocket: one watch a socket. Source: PROTOCOL.md section 5, "Watch".

use std::sync::Arc;
use std::time::Duration;

use serde_json::{json, Value};
use tokio::sync::mpsc;

use super::exec_socket::unexpected;
use super::socket::{text, Gone, Socket};
use crate::isolation::files::{Event, EventKind};
use crate::machine::files::{is_unfinished, FileSession, Owner};
use crate::machine::{Engine, Error};

/// Changes that wait for a slow client; then the machine waits, and says `resync` when it has lost some.
const BACKLOG: usize = 256;
/// Longest watch that can be asked for: a day.
const LONGEST: f64 = 86_400.0;

/// Serves one socket.
pub async fn run(mut socket: Socket, engine: Arc<Engine>, owner: Owner) {
    let closing = engine.closing().clone();
    let is_closing = tokio::select! {
        _ = session(&mut socket, &engine, &owner) => false,
        () = closing.cancelled() => true,
    };
    if is_closing {
        socket.close_going_away().await;
    } else {
        socket.close().await;
    }
}

async fn session(socket: &mut Socket, engine: &Arc<Engine>, owner: &Owner) -> Result<(), Gone> {
    let (frame, mut files) = loop {
        let frame = socket.next().await?;
        match begin(engine, owner, &frame).await {
            Ok(files) => break (frame, files),
            Err(error) => socket.refuse(text(&frame, "id"), &error).await?,
        }
    };
    let watch = text(&frame, "id");
    socket
        .send(&json!({ "type": "file_watch_started", "id": watch }))
        .await?;
    let limit = frame["timeout_secs"]
        .as_f64()
        .filter(|secs| *secs > 0.0)
        .unwrap_or(LONGEST);
    let limit = tokio::time::sleep(Duration::from_secs_f64(limit.min(LONGEST)));
    tokio::pin!(limit);
    let gone = files.gone().clone();
    // Reading an event cannot be cancelled in its middle, so that it has a task of its own.
    let (sender, mut events) = mpsc::channel(BACKLOG);
    let reader = tokio::spawn(async move {
        loop {
            let event = files.next_event().await;
            let is_last = event.is_err();
            if sender.send(event).await.is_err() || is_last {
                return;
            }
        }
    });
    let _end = AbortOnDrop(reader);
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Some(Ok(event)) if is_unfinished(name_of(&event.path)) => {}
                Some(Ok(event)) => socket.send(&shown(watch, event)).await?,
                // What is watched has ended, and the session with it.
                Some(Err(_)) if gone.is_cancelled() => return Ok(()),
                Some(Err(error)) => return socket.refuse(watch, &error).await,
                None => return Ok(()),
            },
            () = &mut limit => return Ok(()),
            () = gone.cancelled() => return Ok(()),
            frame = socket.next() => {
                let frame = frame?;
                let error = unexpected(text(&frame, "type"), "nothing after file_watch");
                socket.refuse(text(&frame, "id"), &error).await?;
            }
        }
    }
}

fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn begin(engine: &Arc<Engine>, owner: &Owner, frame: &Value) -> Result<FileSession, Error> {
    if text(frame, "type") != "file_watch" {
        return Err(unexpected(text(frame, "type"), "file_watch"));
    }
    let user = frame["user"].as_str().map(str::to_owned);
    let mut files = engine.files_of(owner, user).await?;
    let path = files.path("path", text(frame, "path")).await?;
    files
        .watch(path, frame["recursive"].as_bool().unwrap_or(false))
        .await?;
    Ok(files)
}

fn shown(watch: &str, event: Event) -> Value {
    let kind = match event.kind {
        EventKind::Create => "create",
        EventKind::Write => "write",
        EventKind::Remove => "remove",
        EventKind::Rename => "rename",
        EventKind::Attributes => "chmod",
        EventKind::Resync => "resync_required",
    };
    json!({ "type": "file_event", "id": watch, "event": kind, "name": event.name, "path": event.path })
}
