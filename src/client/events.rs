//! What a server tells without end: lifecycle events and the monitor. A connection that is lost is opened again, and
//! events go on behind the last one that was given, or behind the newest one of the time when they were asked for.
//! Source: PROTOCOL.md section 10.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::time::Duration;

use nullspace_wire::api::{self, Route};

use super::call::{Call, Client, Failure, Outcome, DEFAULT_TIMEOUT};
use super::machine::Machine;
use super::socket::cut_off;
use crate::core::error::{Error, Kind};
use crate::core::events::Stream;
use crate::core::{frames, http, monitor};
use crate::transport::{Answer, Decoder, Socket, Transport};

/// Before a lost connection is opened again: the first wait, doubled each time until something came.
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// The longest wait.
const LAST_WAIT: Duration = Duration::from_secs(5);
/// Until a server confirms a subscription.
const FIRST_ANSWER: Duration = Duration::from_secs(15);
/// Events that are remembered, so that none is given twice: a server that lost the cursor repeats old ones.
const REMEMBERED: usize = 256;

/// What is heard.
enum Subject {
    /// Lifecycle events; where they are listed: route and path.
    Events(Stream, &'static Route, String),
    /// The monitor: name of the subscription, its first frame.
    Monitor(String, String),
}

/// A subscription. It ends when it is dropped or closed.
pub struct Feed<T: Transport> {
    client: Client<T>,
    path: String,
    subject: Subject,
    socket: RefCell<Option<T::Socket>>,
    /// A frame that said that the subscription is in force, and says more.
    ahead: RefCell<Option<T::Answer>>,
    /// Ids of the events given last, the newest behind. Of a live stream that gave none yet: the newest before it.
    given: RefCell<VecDeque<String>>,
    wait: Cell<Option<Duration>>,
    closed: Cell<bool>,
}

impl<T: Transport> Feed<T> {
    /// Lifecycle events of everything.
    pub fn events(client: Client<T>, stream: Stream) -> Self {
        let list = &api::LIST_LIFECYCLE_EVENTS;
        Self::new(
            client,
            api::LIFECYCLE_WEBSOCKET_UPGRADE.path.to_owned(),
            Subject::Events(stream, list, list.path.to_owned()),
        )
    }

    /// The monitor.
    pub fn monitor(client: Client<T>, id: String, first: String) -> Self {
        Self::new(
            client,
            api::MONITOR_WEBSOCKET_UPGRADE.path.to_owned(),
            Subject::Monitor(id, first),
        )
    }

    fn new(client: Client<T>, path: String, subject: Subject) -> Self {
        Self {
            client,
            path,
            subject,
            socket: RefCell::default(),
            ahead: RefCell::default(),
            given: RefCell::default(),
            wait: Cell::new(None),
            closed: Cell::new(false),
        }
    }

    /// The next event, decoded; `None` after [`Feed::close`] and when nothing came for the idle time. Fails when the server refuses, or says what it must
    /// not; not when a connection is lost that was open.
    pub async fn next(&self) -> Outcome<T, Option<T::Answer>> {
        let idle = match &self.subject {
            Subject::Events(stream, ..) => stream.idle_timeout,
            Subject::Monitor(..) => None,
        };
        let now = || self.client.transport().now_ms();
        let end = idle.map(|idle| now() + idle.as_secs_f64() * 1000.0);
        while !self.closed.get() {
            // A timer may fire a little early.
            let left = end.map(|end| end - now());
            if left.is_some_and(|left| left < 2.0) {
                self.close();
                break;
            }
            let limit = left.map(|left| Duration::from_secs_f64(left / 1000.0));
            let socket = self.socket.borrow().clone();
            let Some(socket) = socket else {
                self.connect().await?;
                continue;
            };
            let ahead = self.ahead.take();
            let next = match ahead {
                Some(frame) => Ok(frame),
                None => socket.next(limit).await,
            };
            match next {
                Ok(frame) => match self.read(&frame) {
                    Ok(None) => {}
                    Ok(event) => {
                        self.wait.set(Some(FIRST_WAIT));
                        return Ok(event);
                    }
                    Err(error) => {
                        self.close();
                        return Err(error.into());
                    }
                },
                Err(_) => drop(self.socket.take()),
            }
        }
        Ok(None)
    }

    /// Opens the first connection: what happens after this is heard, whatever becomes of the connection.
    pub async fn begin(&self) -> Outcome<T, ()> {
        let is_open = self.socket.borrow().is_some();
        if is_open || self.closed.get() {
            return Ok(());
        }
        self.connect().await
    }

    /// Hears no more.
    pub fn close(&self) {
        self.closed.set(true);
        if let Some(socket) = self.socket.take() {
            socket.close(match &self.subject {
                Subject::Events(..) => None,
                Subject::Monitor(id, _) => Some(monitor::unsubscribe(id)),
            });
        }
    }

    fn operation(&self) -> &'static str {
        match self.subject {
            Subject::Events(..) => "streamLifecycleEvents",
            Subject::Monitor(..) => "monitor",
        }
    }

    /// Opens a connection. A first one that fails is an error; later ones are tried without end, since the server
    /// was there and took the key.
    async fn connect(&self) -> Outcome<T, ()> {
        let again = self.wait.get();
        if let Some(wait) = again {
            self.client.transport().sleep(wait).await;
            self.wait.set(Some((wait * 2).min(LAST_WAIT)));
        }
        match self.subscribed().await {
            Ok(socket) if self.closed.get() => socket.close(None),
            Ok(socket) => {
                self.wait.set(again.and(self.wait.get()).or(Some(FIRST_WAIT)));
                *self.socket.borrow_mut() = Some(socket);
            }
            Err(Failure::Error(error)) if again.is_some() && may_pass(&error) => {}
            Err(failure) => return Err(failure),
        }
        Ok(())
    }

    async fn subscribed(&self) -> Outcome<T, T::Socket> {
        let operation = self.operation();
        let lost = |closed| cut_off(operation, &closed, "nothing was heard yet");
        let first = match &self.subject {
            Subject::Events(stream, route, path) if self.wait.get().is_none() => {
                if stream.live_only {
                    self.look_back(stream, route, path).await?;
                }
                stream.subscribe()
            }
            Subject::Events(stream, ..) => stream.go_on(self.given.borrow().back().map(String::as_str)),
            Subject::Monitor(_, first) => first.clone(),
        };
        let socket = self.client.open(operation, &self.path).await?;
        socket.send(first).await.map_err(lost)?;
        loop {
            let frame = socket.next(Some(FIRST_ANSWER)).await.map_err(lost)?;
            let kind = frames::kind(&frame)?;
            match (&self.subject, kind.as_str()) {
                (Subject::Events(..), "subscribed") => break,
                (Subject::Events(..), "error") => {
                    return Err(frames::failure(&frame, "invalid_request").into())
                }
                (Subject::Events(..), other) => return Err(unexpected(other).into()),
                (Subject::Monitor(id, _), kind) if is_own(&frame, id) => match kind {
                    "monitor_error" => return Err(frames::failure(&frame, "monitor_error").into()),
                    _ => {
                        *self.ahead.borrow_mut() = Some(frame);
                        break;
                    }
                },
                // Of another subscription.
                _ => {}
            }
        }
        Ok(socket)
    }

    /// Finds the newest event before a live stream: behind it the stream goes on when its connection is lost before it
    /// gave any.
    async fn look_back(&self, stream: &Stream, route: &'static Route, path: &str) -> Outcome<T, ()> {
        let path = http::with_query(path, &stream.newest());
        let call = Call::new(route, path, self.client.timeout(None, DEFAULT_TIMEOUT));
        let page = self.client.call(&call).await?;
        if let Some(events) = page.inner("events") {
            let mut given = self.given.borrow_mut();
            events.each(&mut |event| given.extend(event.text("id")));
        }
        Ok(())
    }

    fn read(&self, frame: &T::Answer) -> Result<Option<T::Answer>, Error> {
        let kind = frames::kind(frame)?;
        let shape = |decoder, frame| {
            let shaped = self.client.transport().shape(decoder, frame);
            shaped.map_err(|wrong| Error::invalid_response(format!("{}: {wrong}", self.operation())))
        };
        match &self.subject {
            Subject::Events(..) => match kind.as_str() {
                "event" => {
                    let event = frame.inner("event").ok_or_else(|| unexpected("event"))?;
                    let event = shape(Decoder::LifecycleEvent, &event)?;
                    let id = event.text("id").unwrap_or_default();
                    let mut given = self.given.borrow_mut();
                    if given.contains(&id) {
                        return Ok(None);
                    }
                    if given.len() >= REMEMBERED {
                        given.pop_front();
                    }
                    given.push_back(id);
                    Ok(Some(event))
                }
                "error" => Err(frames::failure(frame, "invalid_request")),
                other => Err(unexpected(other)),
            },
            Subject::Monitor(id, _) => {
                // Frames of a newer server are left alone.
                match kind.as_str() {
                    "monitor_snapshot" | "monitor_update" | "monitor_metrics" | "monitor_processes"
                    | "monitor_error"
                        if is_own(frame, id) =>
                    {
                        shape(Decoder::MonitorFrame, frame).map(Some)
                    }
                    _ => Ok(None),
                }
            }
        }
    }
}

impl<T: Transport> Drop for Feed<T> {
    fn drop(&mut self) {
        self.close();
    }
}

impl<T: Transport> Machine<T> {
    /// Lifecycle events of this machine.
    pub fn event_feed(&self, stream: Stream) -> Feed<T> {
        let list = &api::LIST_MACHINE_LIFECYCLE_EVENTS;
        let path = self.socket_path(&api::MACHINE_LIFECYCLE_WEBSOCKET_UPGRADE);
        let listed = self.socket_path(list);
        Feed::new(self.client.clone(), path, Subject::Events(stream, list, listed))
    }
}

/// Whether a server that was there once may be there again: anything but a refusal.
fn may_pass(error: &Error) -> bool {
    error.kind == Kind::Transport || error.status.is_some_and(|status| status >= 500 && status != 501)
}

fn is_own<A: Answer>(frame: &A, id: &str) -> bool {
    frame.text("id").as_deref() == Some(id)
}

fn unexpected(kind: &str) -> Error {
    Error::invalid_response(format!(
        "the server sent a frame `{kind}` where an event was expected"
    ))
}
