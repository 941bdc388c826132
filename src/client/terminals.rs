//! Terminals: what outlives a connection, and a session on its WebSocket. Source: PROTOCOL.md section 6.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Poll, Waker};
use std::time::Duration;

use nullspace_wire::api;

use super::call::Outcome;
use super::machine::Machine;
use super::single::Planned;
use super::socket::cut_off;
use crate::core::error::{Error, Kind};
use crate::core::frames::{self, Pty};
use crate::core::options::Value;
use crate::core::terminals::Input;
use crate::core::value::json;
use crate::surface::Operation;
use crate::transport::{Answer, Socket, Transport};

/// Name in messages.
const OPERATION: &str = "pty";
/// Until the first frame.
const FIRST_ANSWER: Duration = Duration::from_secs(15);
/// Frames that wait for a reader. Without a reader the oldest go, as lines do that scroll out of a terminal.
const WAITING: usize = 256;

impl<T: Transport> Machine<T> {
    /// Opens a session, or takes one up: `first` is the frame that says which.
    pub async fn open_terminal(&self, mut first: Value) -> Outcome<T, Session<T>> {
        let id = self.transport().uuid();
        first.put("id", id.as_str().into());
        let created = first.get("type").and_then(Value::as_str) == Some("pty_start");
        let socket = self
            .client
            .open(
                OPERATION,
                &format!("{}?channel=pty", self.socket_path(&api::WEBSOCKET_UPGRADE)),
            )
            .await?;
        let lost = |closed| cut_off(OPERATION, &closed, "the terminal did not open");
        socket.send(first.to_json()).await.map_err(lost)?;
        let frame = socket.next(Some(FIRST_ANSWER)).await.map_err(lost)?;
        let started = match frames::pty(&frame)? {
            Pty::Started(started) => started,
            Pty::Failed(error) => return Err(error.into()),
            _ => {
                let what = "the first frame of the terminal is not `pty_started`";
                return Err(Error::invalid_response(what).into());
            }
        };
        Ok(Session {
            session_id: started.text("session_id").unwrap_or_default(),
            pid: started.number("pid").unwrap_or_default() as u32,
            machine: self.clone(),
            socket,
            id,
            created,
            state: State::default(),
        })
    }
}

/// A session on its WebSocket. It outlives the connection: `disconnect` leaves it open.
pub struct Session<T: Transport> {
    /// `pty_...`
    pub session_id: String,
    /// Process id of the shell.
    pub pid: u32,
    /// Whether it was made here, not taken up.
    pub created: bool,
    machine: Machine<T>,
    socket: T::Socket,
    id: String,
    state: State<T::Answer>,
}

/// What a session printed: base64, else text.
#[derive(Debug, Clone, PartialEq)]
pub struct Printed<A> {
    /// Wins over the text.
    pub base64: Option<A>,
    /// Lossy.
    pub text: Option<A>,
}

struct State<A> {
    printed: RefCell<VecDeque<Printed<A>>>,
    end: RefCell<Option<Result<i32, Error>>>,
    /// Somebody reads the output.
    read: Cell<bool>,
    /// Somebody waits for the next frame.
    pulling: Cell<bool>,
    waiting: RefCell<Vec<Waker>>,
}

impl<A> Default for State<A> {
    fn default() -> Self {
        Self {
            printed: RefCell::default(),
            end: RefCell::default(),
            read: Cell::new(false),
            pulling: Cell::new(false),
            waiting: RefCell::default(),
        }
    }
}

impl<A> State<A> {
    fn wake(&self) {
        for waker in self.waiting.take() {
            waker.wake();
        }
    }
}

/// The right to wait for the next frame; given up, somebody else takes it.
struct Pull<'a, A>(&'a State<A>);

impl<A> Drop for Pull<'_, A> {
    fn drop(&mut self) {
        self.0.pulling.set(false);
        self.0.wake();
    }
}

impl<T: Transport> Session<T> {
    /// What follows in the output; `None` after the end.
    pub async fn next(&self) -> Outcome<T, Option<Printed<T::Answer>>> {
        self.state.read.set(true);
        loop {
            let printed = self.state.printed.borrow_mut().pop_front();
            if printed.is_some() {
                self.state.wake();
                return Ok(printed);
            }
            match &*self.state.end.borrow() {
                Some(Ok(_)) => return Ok(None),
                Some(Err(error)) => return Err(error.clone().into()),
                None => {}
            }
            self.advance().await;
        }
    }

    /// The exit code, once it has ended.
    pub fn exit_code(&self) -> Option<i32> {
        self.state.end.borrow().as_ref()?.as_ref().ok().copied()
    }

    /// Whether the connection stands, as far as is known here.
    pub fn is_connected(&self) -> bool {
        self.state.end.borrow().is_none()
    }

    /// Nobody reads any more.
    pub fn unread(&self) {
        self.state.read.set(false);
        self.state.wake();
    }

    /// Waits for the end: the exit code.
    pub async fn wait(&self) -> Outcome<T, i32> {
        loop {
            if let Some(end) = &*self.state.end.borrow() {
                return end.clone().map_err(Into::into);
            }
            self.advance().await;
        }
    }

    /// Waits for one frame, or until somebody else has.
    async fn advance(&self) {
        let state = &self.state;
        let mut queued = false;
        let pull = poll_fn(|context| {
            let full = state.read.get() && state.printed.borrow().len() >= WAITING;
            if state.pulling.get() || full {
                // Woken once is enough: the caller looks again at what it waits for.
                if std::mem::replace(&mut queued, true) {
                    return Poll::Ready(None);
                }
                state.waiting.borrow_mut().push(context.waker().clone());
                return Poll::Pending;
            }
            state.pulling.set(true);
            Poll::Ready(Some(Pull(state)))
        })
        .await;
        let Some(_pull) = pull else { return };
        let end = match self.socket.next(None).await {
            Ok(frame) => match frames::pty(&frame) {
                Ok(Pty::Output { base64, text }) => {
                    let mut printed = state.printed.borrow_mut();
                    if printed.len() >= WAITING {
                        printed.pop_front();
                    }
                    printed.push_back(Printed { base64, text });
                    return;
                }
                Ok(Pty::Started(_) | Pty::Unknown) => return,
                Ok(Pty::Exited(code)) => Ok(code),
                Ok(Pty::Failed(error)) | Err(error) => Err(error),
            },
            Err(closed) => Err(cut_off(
                OPERATION,
                &closed,
                "the session may go on: take it up with `pty.connect({ sessionId })`",
            )),
        };
        self.finish(end);
    }

    fn finish(&self, end: Result<i32, Error>) {
        let mut held = self.state.end.borrow_mut();
        if held.is_none() {
            *held = Some(end);
            self.socket.close(None);
        }
    }

    /// Types.
    pub async fn send_input(&self, input: &Input) -> Outcome<T, ()> {
        if let Some(end) = &*self.state.end.borrow() {
            let why = match end {
                Ok(code) => format!("it exited with code {code}"),
                Err(error) => error.message.clone(),
            };
            let what = format!("the terminal takes no input: {why}");
            return Err(Error::new(Kind::Conflict, "pty_closed", what).into());
        }
        let (field, data) = input.field();
        let frame =
            json!({ "type": "pty_input", "id": &self.id, "session_id": &self.session_id, field: data });
        let sent = self.socket.send(frame.to_json()).await;
        sent.map_err(|closed| cut_off(OPERATION, &closed, "the input was not sent").into())
    }

    /// A call of the table on this session.
    pub fn plan(
        &self,
        operation: &'static Operation,
        args: &[Option<Value>],
        options: Option<&Value>,
    ) -> Planned<T> {
        let session = Some(Value::Text(self.session_id.clone()));
        self.machine
            .plan(operation, &[&[session], args].concat(), options)
    }

    /// Leaves it open.
    pub fn disconnect(&self) {
        self.finish(Err(Error::new(
            Kind::Other,
            "pty_disconnected",
            "the terminal was disconnected from this side; take it up with `pty.connect({ sessionId })`",
        )));
        self.state.wake();
    }
}
