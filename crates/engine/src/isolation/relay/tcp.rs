//! TCP out of a machine.

use std::io;
use std::net::SocketAddrV4;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpStream};

use super::said::Hearing;
use super::{dns, gateway, reset, Direction, Entered, Shared, Way};

/// Bytes copied at once.
pub(super) const CHUNK: usize = 32 << 10;
/// Receive buffer of a machine's connection while its rate is limited, so that an upload does not seem done long
/// before it is.
const LIMITED_BUFFER: usize = 64 << 10;
/// How long a connection may take to say its name, when it needs one.
const SILENCE: Duration = Duration::from_secs(30);
/// Rest after accept() failed, which it does when the engine is out of descriptors.
const REST: Duration = Duration::from_millis(50);

/// Accepts until dropped.
pub(super) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        match listener.accept().await {
            Ok((socket, _)) => accepted(socket, &shared),
            Err(error) => {
                tracing::debug!(%error, "relay: accept failed");
                tokio::time::sleep(REST).await;
            }
        }
    }
}

fn accepted(socket: TcpStream, shared: &Arc<Shared>) {
    let socket = Arc::new(socket);
    // A connection that was not redirected has no original destination that could be reached: its own address, which
    // is loopback and refused, or the gateway.
    let Ok(destination) = sockopt::ip_original_dst(&*socket) else {
        return reset(&socket);
    };
    let Some(place) = shared.place(destination) else {
        return reset(&socket);
    };
    let Some(entered) = shared.enter(destination, &socket) else {
        return reset(&socket);
    };
    let shared = shared.clone();
    tokio::spawn(async move {
        let cut = entered.cut.clone();
        let work = async {
            if shared.is_gateway(destination) {
                gateway::serve(&socket, &shared).await
            } else if destination.port() == dns::PORT {
                dns::serve_tcp(&socket, &shared).await
            } else {
                relay(&socket, destination, &entered, &shared).await
            }
        };
        // Whatever went wrong on one side, the other sees a reset: an end would look like a whole answer.
        if !matches!(cut.run_until_cancelled(work).await, Some(Ok(()))) {
            reset(&socket);
        }
        drop(place);
    });
}

async fn relay(
    inside: &Arc<TcpStream>,
    destination: SocketAddrV4,
    entered: &Entered,
    shared: &Arc<Shared>,
) -> io::Result<()> {
    let mut from = Heard {
        hearing: Hearing::default(),
        buffer: Vec::new(),
        held: Vec::new(),
        is_all: false,
    };
    // Nobody outside hears of a connection before it is known to be allowed.
    let first = match entered.way {
        Way::Named => tokio::time::timeout(SILENCE, from.next(inside, entered, &shared.sent)).await??,
        Way::Open | Way::Heard => 0,
    };
    let dialed = tokio::time::timeout(shared.options.connect_timeout, TcpStream::connect(destination));
    let outside = Arc::new(dialed.await.map_err(|_| io::ErrorKind::TimedOut)??);
    // A route of this computer to itself, which no interface address shows.
    if outside.local_addr()?.ip() == outside.peer_addr()?.ip() || !entered.add(&outside) {
        reset(&outside);
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    if shared.sent.bucket.is_limited() {
        let _ = sockopt::set_socket_recv_buffer_size(&**inside, LIMITED_BUFFER);
    }
    for socket in [inside, &outside] {
        let _ = socket.set_nodelay(true);
    }
    let _ = sockopt::set_socket_keepalive(&*outside, true); // a lost peer must not keep its slot for ever
    let guard = ResetUnlessDone(Some(outside.clone()));
    let there = async {
        match entered.way {
            Way::Open => copy(inside, &outside, &shared.sent).await,
            Way::Heard | Way::Named => from.copy(first, inside, &outside, entered, &shared.sent).await,
        }
    };
    tokio::try_join!(there, copy(&outside, inside, &shared.received))?;
    guard.done();
    Ok(())
}

/// Resets a socket when its task is dropped or fails.
struct ResetUnlessDone(Option<Arc<TcpStream>>);

impl ResetUnlessDone {
    fn done(mut self) {
        self.0 = None;
    }
}

impl Drop for ResetUnlessDone {
    fn drop(&mut self) {
        if let Some(socket) = &self.0 {
            reset(socket);
        }
    }
}

/// What a machine says on a connection that is listened to.
struct Heard {
    hearing: Hearing,
    buffer: Vec<u8>,
    /// Read, and not passed on yet.
    held: Vec<u8>,
    /// Nothing more comes.
    is_all: bool,
}

impl Heard {
    /// Reads until something may be passed on, or all is: how much of what is held.
    async fn next(
        &mut self,
        from: &TcpStream,
        entered: &Entered,
        direction: &Direction,
    ) -> io::Result<usize> {
        loop {
            self.buffer.resize(CHUNK, 0);
            match read(from, &mut self.buffer, direction).await? {
                0 => self.is_all = true,
                read => self.held.extend_from_slice(&self.buffer[..read]),
            }
            let say = &mut |said| entered.say(said);
            let passed = self.hearing.hear(&self.held, self.is_all, say)?;
            if self.is_all && passed < self.held.len() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if passed > 0 || self.is_all {
                return Ok(passed);
            }
        }
    }

    /// Copies as [`copy`] does, listening for as long as there is something to hear. `first`: what of the held may go.
    async fn copy(
        mut self,
        first: usize,
        from: &TcpStream,
        to: &TcpStream,
        entered: &Entered,
        direction: &Direction,
    ) -> io::Result<()> {
        let mut passed = first;
        loop {
            write_all(to, &self.held[..passed]).await?;
            direction.count(passed);
            self.held.drain(..passed);
            if self.is_all {
                return Ok(rustix::net::shutdown(to, rustix::net::Shutdown::Write)?);
            }
            if self.hearing.is_through() && self.held.is_empty() {
                return copy(from, to, direction).await;
            }
            passed = self.next(from, entered, direction).await?;
        }
    }
}

/// Copies until the end of `from`, then ends `to`, whose other direction may go on.
async fn copy(from: &TcpStream, to: &TcpStream, direction: &Direction) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        let read = read(from, &mut buffer, direction).await?;
        if read == 0 {
            return Ok(rustix::net::shutdown(to, rustix::net::Shutdown::Write)?);
        }
        write_all(to, &buffer[..read]).await?;
        direction.count(read);
    }
}

/// Reads as much as the rate allows; 0 at the end.
pub(super) async fn read(from: &TcpStream, buffer: &mut [u8], direction: &Direction) -> io::Result<usize> {
    loop {
        // First wait, then take tokens: a silent connection must not hold any.
        from.readable().await?;
        let granted = direction.bucket.take(buffer.len()).await;
        let read = from.try_read(&mut buffer[..granted]);
        direction.bucket.give_back(granted, *read.as_ref().unwrap_or(&0));
        match read {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            read => return read,
        }
    }
}

/// Like `AsyncWriteExt::write_all`, on a shared socket.
pub(super) async fn write_all(to: &TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        to.writable().await?;
        match to.try_write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Like `AsyncReadExt::read_exact`, on a shared socket. `false` = it ended before the first byte.
pub(super) async fn read_exact(from: &TcpStream, buffer: &mut [u8]) -> io::Result<bool> {
    let mut filled = 0;
    while filled < buffer.len() {
        from.readable().await?;
        match from.try_read(&mut buffer[filled..]) {
            Ok(0) if filled == 0 => return Ok(false),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}
