//! One connection: who it is, and what it asks for. Programs, terminals, files and forwarded ports of its own machine;
//! nothing listens in the machine or on this computer on behalf of a client.

use std::collections::HashMap;
use std::sync::Arc;

use nullspace_wire::Envs;
use russh::keys::Certificate;
use russh::server::{Auth, ChannelOpenHandle, Handler, Msg, Session as Connection};
use russh::{Channel, ChannelId, ChannelOpenFailure, ChannelWriteHalf, Pty, Sig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::certificate::{Admitted, Authority};
use super::pump::{pipes, Inlet, Input, Outlet};
use super::sftp;
use crate::isolation::PtySize;
use crate::machine::commands::exec::Streamed;
use crate::machine::commands::output::Stream;
use crate::machine::commands::processes::{Chunk, Command};
use crate::machine::commands::shells::Shell;
use crate::machine::live::{Busy, Machine};
use crate::machine::{Engine, Error};

/// Channels at once in one connection.
const MOST_CHANNELS: usize = 64;
/// Variables that a client may set for one channel.
const MOST_ENVS: usize = 256;
/// Size of a terminal when the client has none.
const DEFAULT_SIZE: PtySize = PtySize { cols: 80, rows: 24 };
/// Bytes of a piece of output.
pub(super) const CHUNK: usize = 32 << 10;
/// What a terminal takes as the end of input.
const END_OF_INPUT: u8 = 4;
/// What a client may send before the program has taken it.
pub(super) const WINDOW: u32 = 1 << 20;
/// Between the bytes of a channel whose program does not read.
const TRICKLE_PAUSE: std::time::Duration = std::time::Duration::from_millis(2);
/// Exit code of what did not start. The same as that of `ssh` for its own errors.
pub(super) const NOT_STARTED: u32 = 255;

/// What a channel is.
enum State {
    /// Open, and nothing was asked for yet.
    Fresh(ChannelWriteHalf<Msg>),
    /// Something runs behind it.
    Running {
        inlet: Inlet,
        /// The program; files and a forwarded port have none.
        target: Option<Target>,
        /// Ends what runs when it is dropped.
        _end: DropGuard,
    },
}

/// The program behind a channel.
struct Target {
    machine: Arc<Machine>,
    command: Arc<Command>,
}

struct SessionChannel {
    state: Option<State>,
    envs: Envs,
    size: Option<PtySize>,
}

/// One connection.
pub struct Session {
    engine: Arc<Engine>,
    authority: Arc<Authority>,
    who: Option<Admitted>,
    /// Cancelled once the client is known.
    admitted: CancellationToken,
    lines: HashMap<ChannelId, SessionChannel>,
}

type Done = Result<(), russh::Error>;

impl Session {
    /// A connection of somebody unknown, and what tells that it is known.
    pub fn new(engine: Arc<Engine>, authority: Arc<Authority>) -> (Self, CancellationToken) {
        let admitted = CancellationToken::new();
        let session = Self {
            engine,
            authority,
            who: None,
            admitted: admitted.clone(),
            lines: HashMap::new(),
        };
        (session, admitted)
    }

    fn who(&self) -> Result<Admitted, russh::Error> {
        self.who.clone().ok_or(russh::Error::NotAuthenticated)
    }

    /// Starts what a channel asked for.
    async fn start(&mut self, channel: ChannelId, line: Option<String>, connection: &mut Connection) -> Done {
        let who = self.who()?;
        let Some((known, writer)) = fresh(&mut self.lines, channel) else {
            return connection.channel_failure(channel);
        };
        let shell = Shell {
            user: who.user,
            line,
            envs: std::mem::take(&mut known.envs),
            pty: known.size,
        };
        let has_terminal = shell.pty.is_some();
        let opened = self.engine.open_shell(&who.machine, shell).await;
        connection.channel_success(channel)?;
        match opened {
            Ok(streamed) => {
                let target = Target {
                    machine: streamed.machine.clone(),
                    command: streamed.command.clone(),
                };
                let (inlet, input, output, sent) = pipes(writer);
                let closed = CancellationToken::new();
                let engine = self.engine.clone();
                known.state = Some(State::Running {
                    inlet,
                    target: Some(target),
                    _end: closed.clone().drop_guard(),
                });
                tokio::spawn(serve_program(
                    engine,
                    streamed,
                    has_terminal,
                    input,
                    output,
                    sent,
                    closed,
                ));
            }
            // Whoever sits at the other end reads why.
            Err(error) => {
                tokio::spawn(refuse(writer, error));
            }
        }
        Ok(())
    }

    /// Serves files on a channel.
    async fn start_sftp(&mut self, channel: ChannelId, connection: &mut Connection) -> Done {
        let who = self.who()?;
        let Some((known, writer)) = fresh(&mut self.lines, channel) else {
            return connection.channel_failure(channel);
        };
        let user = Some(who.user).filter(|user| user != "root");
        let opened = self.engine.files(&who.machine, user).await;
        connection.channel_success(channel)?;
        match opened {
            Ok(files) => {
                let (inlet, input, output, sent) = pipes(writer);
                let closed = CancellationToken::new();
                known.state = Some(State::Running {
                    inlet,
                    target: None,
                    _end: closed.clone().drop_guard(),
                });
                tokio::spawn(sftp::serve(files, input, output, sent, closed));
            }
            Err(error) => {
                tokio::spawn(refuse(writer, error));
            }
        }
        Ok(())
    }

    fn inlet(&self, channel: ChannelId) -> Option<&Inlet> {
        match self.lines.get(&channel)?.state.as_ref()? {
            State::Running { inlet, .. } => Some(inlet),
            State::Fresh(_) => None,
        }
    }
}

/// Takes what a channel that asked for nothing yet is answered with.
fn fresh(
    lines: &mut HashMap<ChannelId, SessionChannel>,
    channel: ChannelId,
) -> Option<(&mut SessionChannel, ChannelWriteHalf<Msg>)> {
    let line = lines.get_mut(&channel)?;
    match line.state.take() {
        Some(State::Fresh(writer)) => Some((line, writer)),
        other => {
            line.state = other;
            None
        }
    }
}

impl Handler for Session {
    type Error = russh::Error;

    async fn auth_openssh_certificate(
        &mut self,
        user: &str,
        certificate: &Certificate,
    ) -> Result<Auth, Self::Error> {
        Ok(match self.authority.check(user, certificate) {
            Some(who) => {
                self.who = Some(who);
                self.admitted.cancel();
                Auth::Accept
            }
            None => Auth::reject(),
        })
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _connection: &mut Connection,
    ) -> Done {
        if self.lines.len() >= MOST_CHANNELS {
            reply.reject(ChannelOpenFailure::ResourceShortage).await;
            return Ok(());
        }
        let id = channel.id();
        let (_, writer) = channel.split();
        let line = SessionChannel {
            state: Some(State::Fresh(writer)),
            envs: Envs::new(),
            size: None,
        };
        self.lines.insert(id, line);
        reply.accept().await;
        Ok(())
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        channel: Channel<Msg>,
        host: &str,
        port: u32,
        _from: &str,
        _from_port: u32,
        reply: ChannelOpenHandle,
        _connection: &mut Connection,
    ) -> Done {
        let who = self.who()?;
        if self.lines.len() >= MOST_CHANNELS {
            reply.reject(ChannelOpenFailure::ResourceShortage).await;
            return Ok(());
        }
        // Only the machine itself: what it may reach elsewhere is for its own policy to say.
        let is_own = ["localhost", "127.0.0.1", "::1", "0.0.0.0"].contains(&host);
        let (true, Ok(port @ 1..)) = (is_own, u16::try_from(port)) else {
            reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
            return Ok(());
        };
        let dialled = dial(&self.engine, &who.machine, port).await;
        let Ok((stream, busy)) = dialled else {
            reply.reject(ChannelOpenFailure::ConnectFailed).await;
            return Ok(());
        };
        let id = channel.id();
        let (_, writer) = channel.split();
        reply.accept().await;
        let (inlet, input, output, sent) = pipes(writer);
        let closed = CancellationToken::new();
        let line = SessionChannel {
            state: Some(State::Running {
                inlet,
                target: None,
                _end: closed.clone().drop_guard(),
            }),
            envs: Envs::new(),
            size: None,
        };
        self.lines.insert(id, line);
        tokio::spawn(serve_port(stream, busy, input, output, sent, closed));
        Ok(())
    }

    async fn env_request(
        &mut self,
        channel: ChannelId,
        name: &str,
        value: &str,
        connection: &mut Connection,
    ) -> Done {
        let is_name = !name.is_empty() && !name.contains(['=', '\0']) && !value.contains('\0');
        match self.lines.get_mut(&channel) {
            Some(line) if is_name && line.envs.len() < MOST_ENVS => {
                line.envs.insert(name.to_owned(), value.to_owned());
                connection.channel_success(channel)
            }
            _ => connection.channel_failure(channel),
        }
    }

    async fn pty_request(
        &mut self,
        channel: ChannelId,
        term: &str,
        cols: u32,
        rows: u32,
        _width: u32,
        _height: u32,
        _modes: &[(Pty, u32)],
        connection: &mut Connection,
    ) -> Done {
        let Some(line) = self.lines.get_mut(&channel) else {
            return connection.channel_failure(channel);
        };
        line.size = Some(size(cols, rows));
        if !term.is_empty() && !term.contains('\0') {
            line.envs.insert("TERM".into(), term.to_owned());
        }
        connection.channel_success(channel)
    }

    async fn window_change_request(
        &mut self,
        channel: ChannelId,
        cols: u32,
        rows: u32,
        _width: u32,
        _height: u32,
        _connection: &mut Connection,
    ) -> Done {
        if let Some(target) = self.target(channel) {
            if let Ok(running) = target.machine.running() {
                // A program that has just ended has no terminal any more.
                let _ = running.resize(target.command.pid, size(cols, rows)).await;
            }
        }
        Ok(())
    }

    async fn signal(&mut self, channel: ChannelId, signal: Sig, _connection: &mut Connection) -> Done {
        if let (Some(target), Some(number)) = (self.target(channel), number(&signal)) {
            if let Ok(running) = target.machine.running() {
                let pid = target.command.pid;
                // A program that has just ended hears nothing.
                let _ = match number {
                    libc::SIGKILL => running.end(pid).await,
                    number => running.signal(pid, number).await,
                };
            }
        }
        Ok(())
    }

    async fn shell_request(&mut self, channel: ChannelId, connection: &mut Connection) -> Done {
        self.start(channel, None, connection).await
    }

    async fn exec_request(&mut self, channel: ChannelId, line: &[u8], connection: &mut Connection) -> Done {
        match std::str::from_utf8(line) {
            Ok(text) if !text.contains('\0') => self.start(channel, Some(text.to_owned()), connection).await,
            _ => connection.channel_failure(channel),
        }
    }

    async fn subsystem_request(
        &mut self,
        channel: ChannelId,
        name: &str,
        connection: &mut Connection,
    ) -> Done {
        if name != "sftp" {
            return connection.channel_failure(channel);
        }
        self.start_sftp(channel, connection).await
    }

    async fn data(&mut self, channel: ChannelId, data: &[u8], _connection: &mut Connection) -> Done {
        let Some(inlet) = self.inlet(channel) else {
            return Ok(());
        };
        inlet.put(Input::Data(data.to_vec()));
        if inlet.is_full() {
            // The window is as good as shut now; this keeps what still comes through it from keeping anybody busy.
            tokio::time::sleep(TRICKLE_PAUSE).await;
        }
        Ok(())
    }

    /// Asked each time the client was given a new window: how large the next one is. One of two bytes is as good as none,
    /// and asks again; none would never ask.
    fn adjust_window(&mut self, channel: ChannelId, _current: u32) -> u32 {
        match self.inlet(channel) {
            Some(inlet) if inlet.is_full() => 2,
            _ => WINDOW,
        }
    }

    async fn channel_eof(&mut self, channel: ChannelId, _connection: &mut Connection) -> Done {
        if let Some(inlet) = self.inlet(channel) {
            inlet.put(Input::End);
        }
        Ok(())
    }

    async fn channel_close(&mut self, channel: ChannelId, _connection: &mut Connection) -> Done {
        self.lines.remove(&channel);
        Ok(())
    }
}

impl Session {
    fn target(&self, channel: ChannelId) -> Option<&Target> {
        match self.lines.get(&channel)?.state.as_ref()? {
            State::Running { target, .. } => target.as_ref(),
            State::Fresh(_) => None,
        }
    }
}

fn size(cols: u32, rows: u32) -> PtySize {
    let side = |asked, default| match u16::try_from(asked) {
        Ok(0) | Err(_) => default,
        Ok(side) => side,
    };
    PtySize {
        cols: side(cols, DEFAULT_SIZE.cols),
        rows: side(rows, DEFAULT_SIZE.rows),
    }
}

fn number(signal: &Sig) -> Option<i32> {
    Some(match signal {
        Sig::HUP => libc::SIGHUP,
        Sig::INT => libc::SIGINT,
        Sig::QUIT => libc::SIGQUIT,
        Sig::ABRT => libc::SIGABRT,
        Sig::KILL => libc::SIGKILL,
        Sig::TERM => libc::SIGTERM,
        Sig::ALRM => libc::SIGALRM,
        Sig::PIPE => libc::SIGPIPE,
        Sig::USR1 => libc::SIGUSR1,
        _ => return None,
    })
}

async fn dial(engine: &Arc<Engine>, machine: &str, port: u16) -> Result<(TcpStream, Busy), Error> {
    let (machine, busy) = engine.ready(machine).await?;
    let stream = machine.running()?.dial(port).await;
    Ok((
        stream.map_err(|e| Error::isolation("connecting to a port of the machine", e))?,
        busy,
    ))
}

async fn refuse(writer: ChannelWriteHalf<Msg>, error: Error) {
    let text = format!("nullspace: {error}\r\n").into_bytes();
    // Errors mean that the connection is gone.
    let _ = writer.extended_data_bytes(1, text).await;
    finish(&writer, Some(NOT_STARTED)).await;
}

/// Says that there is no more, and how it ended.
pub(super) async fn finish(writer: &ChannelWriteHalf<Msg>, code: Option<u32>) {
    if let Some(code) = code {
        let _ = writer.exit_status(code).await;
    }
    let _ = writer.eof().await;
    let _ = writer.close().await;
}

/// Moves bytes until the program ends, or kills it when the client goes away.
async fn serve_program(
    engine: Arc<Engine>,
    streamed: Streamed,
    has_terminal: bool,
    input: Outlet,
    out: mpsc::Sender<Chunk>,
    sent: JoinHandle<ChannelWriteHalf<Msg>>,
    closed: CancellationToken,
) {
    let Streamed {
        machine,
        command,
        mut output,
        busy: _busy,
    } = streamed;
    let sending = sent.abort_handle();
    let feeding = tokio::spawn(feed(command.clone(), input, has_terminal));
    let running = async {
        while let Some(chunk) = output.recv().await {
            if out.send(chunk).await.is_err() {
                break;
            }
        }
        drop(out);
        let code = command.end().await.code();
        if let Ok(writer) = sent.await {
            finish(&writer, u32::try_from(code).ok()).await;
        }
    };
    tokio::select! {
        () = running => {}
        () = closed.cancelled() => {
            // The machine may be gone too; then so is the program.
            let _ = engine.kill_command(&machine, &command).await;
            command.close_stdin().await;
            // It may wait for a window that nobody will open.
            sending.abort();
        }
    }
    feeding.abort();
}

async fn feed(command: Arc<Command>, mut input: Outlet, has_terminal: bool) {
    while let Some(input) = input.next().await {
        let is_taken = match input {
            Input::Data(bytes) => command.write(&bytes).await,
            // Closing a terminal would hang up on the program instead.
            Input::End if has_terminal => command.write(&[END_OF_INPUT]).await,
            Input::End => {
                command.close_stdin().await;
                Ok(false)
            }
        };
        if !matches!(is_taken, Ok(true)) {
            return;
        }
    }
}

/// Moves bytes until either side of a forwarded connection ends.
async fn serve_port(
    stream: TcpStream,
    _busy: Busy,
    mut input: Outlet,
    output: mpsc::Sender<Chunk>,
    sent: JoinHandle<ChannelWriteHalf<Msg>>,
    closed: CancellationToken,
) {
    let sending = sent.abort_handle();
    let (mut reader, mut writer) = stream.into_split();
    let feeding = tokio::spawn(async move {
        while let Some(input) = input.next().await {
            let written = match input {
                Input::Data(bytes) => writer.write_all(&bytes).await,
                Input::End => writer.shutdown().await,
            };
            if written.is_err() {
                return;
            }
        }
    });
    let running = async {
        let mut buffer = vec![0; CHUNK];
        while let Ok(count @ 1..) = reader.read(&mut buffer).await {
            if output
                .send((Stream::Stdout, buffer[..count].into()))
                .await
                .is_err()
            {
                break;
            }
        }
        drop(output);
        if let Ok(writer) = sent.await {
            finish(&writer, None).await;
        }
    };
    tokio::select! {
        () = running => {}
        () = closed.cancelled() => sending.abort(),
    }
    feeding.abort();
}
