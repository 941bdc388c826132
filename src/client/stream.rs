//! A command whose output comes as it is printed. Source: PROTOCOL.md section 4, "Exec WebSocket".

use std::cell::Cell;
use std::time::Duration;

use nullspace_wire::api;

use super::call::Outcome;
use super::machine::Machine;
use super::socket::cut_off;
use crate::core::error::Error;
use crate::core::exec;
use crate::core::frames::{self, Exec, Stream};
use crate::core::value::{json, Value};
use crate::transport::{Socket, Transport};

/// Name in messages.
const OPERATION: &str = "execStream";

/// What a command did.
#[derive(Debug, Clone, PartialEq)]
pub enum Event<A> {
    /// It runs: its process id.
    Started(u32),
    /// It printed: text, and base64 of the bytes where they are no UTF-8.
    Output(Stream, A, Option<A>),
    /// It ended with this code. Nothing follows.
    Exit(i32),
}

/// A command on its socket. Dropped before its end, a command that it started is killed: nobody would hear of it.
pub struct Running<T: Transport> {
    socket: T::Socket,
    machine: Machine<T>,
    transport: T,
    id: String,
    pid: Cell<Option<u32>>,
    owned: bool,
    /// See [`exec::is_line`].
    is_line: bool,
    /// It is wanted also when nobody hears it.
    stays: Cell<bool>,
    ended: Cell<bool>,
    /// Milliseconds of the transport's clock; a server that says nothing until then is gone.
    deadline: Option<f64>,
}

impl<T: Transport> Machine<T> {
    /// Starts a command and hears it.
    pub async fn stream(&self, request: &Value) -> Outcome<T, Running<T>> {
        let id = self.transport().uuid();
        let mut frame = json!({ "type": "exec_start", "id": &id, "args": json!([]) });
        for (name, value) in request.as_object().into_iter().flatten() {
            if name != "background" {
                frame.put(name, value.clone());
            }
        }
        let limit = exec::hearing_time(request);
        let mut running = self.attach(id, frame.to_json(), true, limit).await?;
        running.is_line = exec::is_line(request);
        Ok(running)
    }

    /// Hears a command that runs already, from now on.
    pub async fn connect_command(&self, pid: u32) -> Outcome<T, Running<T>> {
        let id = self.transport().uuid();
        let frame = json!({ "type": "exec_connect", "id": &id, "pid": pid }).to_json();
        self.attach(id, frame, false, None).await
    }

    async fn attach(
        &self,
        id: String,
        frame: String,
        owned: bool,
        limit: Option<Duration>,
    ) -> Outcome<T, Running<T>> {
        let socket = self
            .client
            .open(
                OPERATION,
                &format!("{}?channel=exec", self.socket_path(&api::WEBSOCKET_UPGRADE)),
            )
            .await?;
        let transport = self.transport().clone();
        let running = Running {
            deadline: limit.map(|limit| transport.now_ms() + limit.as_secs_f64() * 1000.0),
            socket,
            machine: self.quiet(),
            transport,
            id,
            pid: Cell::new(None),
            owned,
            is_line: false,
            stays: Cell::new(false),
            ended: Cell::new(false),
        };
        running.tell(frame).await?;
        Ok(running)
    }
}

impl<T: Transport> Running<T> {
    /// The next event; `None` after the exit. A socket that closes without one is an error, never an exit code.
    pub async fn next(&self) -> Outcome<T, Option<Event<T::Answer>>> {
        while !self.ended.get() {
            let left = self
                .deadline
                .map(|end| Duration::from_secs_f64((end - self.transport.now_ms()).max(1.0) / 1000.0));
            let frame = match self.socket.next(left).await {
                Ok(frame) => frame,
                Err(closed) => {
                    self.ended.set(true);
                    self.kill_unheard();
                    return Err(cut_off(OPERATION, &closed, "how the command ended is not known").into());
                }
            };
            let read = frames::exec(&frame).inspect_err(|_| self.close())?;
            match read {
                Exec::Unknown => {}
                Exec::Started(pid) => {
                    self.pid.set(Some(pid));
                    return Ok(Some(Event::Started(pid)));
                }
                Exec::Output(stream, data, base64) => return Ok(Some(Event::Output(stream, data, base64))),
                Exec::Exit(code) => {
                    self.ended.set(true);
                    self.socket.close(None);
                    return Ok(Some(Event::Exit(code)));
                }
                Exec::Failed(error) => {
                    self.ended.set(true);
                    self.socket.close(None);
                    return Err(exec::explained(error, self.is_line).into());
                }
            }
        }
        Ok(None)
    }

    /// Waits until the command is known to run: its process id.
    pub async fn started(&self) -> Outcome<T, u32> {
        match self.next().await? {
            Some(Event::Started(pid)) => Ok(pid),
            _ => {
                self.close();
                Err(Error::invalid_response("the first frame of the socket is not `exec_started`").into())
            }
        }
    }

    /// Process id, once it is known.
    pub fn pid(&self) -> Option<u32> {
        self.pid.get()
    }

    /// Ends its standard input.
    pub async fn close_stdin(&self) -> Outcome<T, ()> {
        let frame = json!({ "type": "exec_stdin_close", "id": &self.id, "pid": self.pid.get() });
        self.tell(frame.to_json()).await
    }

    /// It goes on when its connection is lost: what it printed can be asked for.
    pub fn stay(&self) {
        self.stays.set(true);
    }

    /// The connection is lost, and with it whoever heard the command: it is ended by a call of its own, if the API
    /// answers. Otherwise its time limit does it.
    fn kill_unheard(&self) {
        let Some(pid) = self.pid.get().filter(|_| self.owned && !self.stays.get()) else {
            return;
        };
        let machine = self.machine.clone();
        self.transport.spawn(async move {
            let _ = machine.kill_quietly(pid).await;
        });
    }

    /// Hears no more of it; it goes on.
    pub fn disconnect(&self) {
        self.ended.set(true);
        self.socket.close(None);
    }

    /// Kills it, whoever started it, and hears no more.
    pub fn kill(&self) {
        self.ended.set(true);
        self.socket.close(Some(self.kill_frame()));
    }

    fn kill_frame(&self) -> String {
        json!({ "type": "exec_kill", "id": &self.id, "pid": self.pid.get() }).to_json()
    }

    /// Hears no more of it. A command that was started here is killed, unless it stays.
    pub fn close(&self) {
        if self.ended.replace(true) {
            return;
        }
        let killed = self.owned && !self.stays.get();
        self.socket.close(killed.then(|| self.kill_frame()));
    }

    async fn tell(&self, frame: String) -> Outcome<T, ()> {
        let sent = self.socket.send(frame).await;
        sent.map_err(|closed| cut_off(OPERATION, &closed, "the command may not have started").into())
    }
}

impl<T: Transport> Drop for Running<T> {
    fn drop(&mut self) {
        self.close();
    }
}

impl<T: Transport> Machine<T> {
    /// Ends the standard input of a process that nobody here hears.
    pub async fn close_stdin(&self, pid: u32) -> Outcome<T, ()> {
        let running = self.connect_command(pid).await?;
        running.started().await?;
        running.close_stdin().await?;
        running.disconnect();
        Ok(())
    }
}
