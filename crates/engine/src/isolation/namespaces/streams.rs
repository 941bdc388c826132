//! Descriptors that an agent handed out, as streams. Each is looked at first: a machine may hand out anything.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{ready, Context, Poll};

use rustix::fs::FileType;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::unix::pipe;
use tokio::net::TcpStream;

use crate::isolation::{Input, IsolationError, Output, Result};

/// The reading end of a pipe.
pub fn output(fd: OwnedFd) -> Result<Output> {
    Ok(Box::new(pipe::Receiver::from_owned_fd(fd).map_err(wrong)?))
}

/// The writing end of a pipe.
pub fn input(fd: OwnedFd) -> Result<Input> {
    Ok(Box::new(pipe::Sender::from_owned_fd(fd).map_err(wrong)?))
}

/// Both sides of a terminal.
pub fn terminal(fd: OwnedFd) -> Result<(Output, Input)> {
    let found = rustix::fs::fstat(&fd).map_err(|error| wrong(error.into()))?;
    // Major 5, minor 2: the multiplexer through which every terminal's master is opened.
    let master = (rustix::fs::major(found.st_rdev), rustix::fs::minor(found.st_rdev)) == (5, 2);
    if FileType::from_raw_mode(found.st_mode) != FileType::CharacterDevice || !master {
        return Err(wrong(io::Error::other("it is no terminal")));
    }
    rustix::io::ioctl_fionbio(&fd, true).map_err(|error| wrong(error.into()))?;
    // SAFETY: the value owns its descriptor and always answers with the same one.
    let shared = Arc::new(unsafe { AsyncFd::register(fd) }.map_err(|error| wrong(error.into()))?);
    Ok((Box::new(Terminal(shared.clone())), Box::new(Terminal(shared))))
}

/// A stream socket between two processes.
pub fn session(fd: OwnedFd) -> Result<std::os::unix::net::UnixStream> {
    let kind = rustix::net::sockopt::socket_type(&fd).map_err(|error| wrong(error.into()))?;
    let domain = rustix::net::sockopt::socket_domain(&fd).map_err(|error| wrong(error.into()))?;
    if kind != rustix::net::SocketType::STREAM || domain != rustix::net::AddressFamily::UNIX {
        return Err(wrong(io::Error::other("it is no local stream socket")));
    }
    Ok(fd.into())
}

/// A TCP connection that may still be made.
pub async fn connection(fd: OwnedFd) -> Result<TcpStream> {
    let kind = rustix::net::sockopt::socket_type(&fd).map_err(|error| wrong(error.into()))?;
    let domain = rustix::net::sockopt::socket_domain(&fd).map_err(|error| wrong(error.into()))?;
    let is_ip = [
        rustix::net::AddressFamily::INET,
        rustix::net::AddressFamily::INET6,
    ]
    .contains(&domain);
    if kind != rustix::net::SocketType::STREAM || !is_ip {
        return Err(wrong(io::Error::other("it is no TCP socket")));
    }
    rustix::io::ioctl_fionbio(&fd, true).map_err(|error| wrong(error.into()))?;
    let stream = TcpStream::from_std(fd.into()).map_err(wrong)?;
    stream.writable().await.map_err(wrong)?;
    match stream.take_error().map_err(wrong)? {
        None => Ok(stream),
        Some(error) => Err(IsolationError::Invalid(error.to_string())),
    }
}

fn wrong(error: io::Error) -> IsolationError {
    IsolationError::Failed(format!(
        "the machine's agent handed out a bad descriptor: {error}"
    ))
}

/// One side of a terminal.
struct Terminal(Arc<AsyncFd<OwnedFd>>);

impl AsyncRead for Terminal {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let mut guard = ready!(self.0.poll_read_ready(context))?;
            let unfilled = buffer.initialize_unfilled();
            match guard.try_io(|fd| rustix::io::read(fd.get_ref().as_fd(), unfilled).map_err(Into::into)) {
                Ok(Ok(count)) => {
                    buffer.advance(count);
                    return Poll::Ready(Ok(()));
                }
                // What a terminal says when nobody has it open any more.
                Ok(Err(error)) if error.raw_os_error() == Some(libc::EIO) => return Poll::Ready(Ok(())),
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                Err(_) => {}
            }
        }
    }
}

impl AsyncWrite for Terminal {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.0.poll_write_ready(context))?;
            if let Ok(result) =
                guard.try_io(|fd| rustix::io::write(fd.get_ref().as_fd(), bytes).map_err(Into::into))
            {
                return Poll::Ready(result);
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
