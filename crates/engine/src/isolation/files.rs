//! Files of a started machine, or of a volume: the engine's end of a session.
//!
//! No answer of a machine is trusted: lengths are bounded, descriptors must be regular files.

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdStream;

use nullspace_agent::files::{LARGEST_REPLY, LARGEST_REQUEST};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::UnixStream;

pub use nullspace_agent::files::{
    is_exact, Entry, EntryKind, Event, EventKind, Fault, How, Info, Look, Match, Op, Reply, Spot, Step,
    Stepped, LARGEST_PIECE, MOST_HANDLES, RESERVED, TEMPORARY, TEMPORARY_END,
};

/// Why a file operation failed.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The machine's own reason.
    #[error("{}", .0.text)]
    Fault(Fault),
    /// The session ended, or what it said makes no sense.
    #[error("the file session failed: {0}")]
    Broken(#[from] io::Error),
}

/// What a session answers.
pub type Result<T> = std::result::Result<T, FileError>;

/// A session. Dropping it ends what it does inside and removes content that was not committed.
pub struct Files {
    channel: UnixStream,
}

/// New content of a file, not visible before [`Files::commit`].
#[derive(Debug)]
pub struct NewFile {
    /// Names it in the session.
    pub token: u32,
    /// Whether a file is there already.
    pub exists: bool,
    /// Where to write.
    pub file: File,
}

fn nonsense(what: &str) -> FileError {
    FileError::Broken(io::Error::new(io::ErrorKind::InvalidData, what))
}

/// Makes `$variant` of an answer into its content.
macro_rules! expect {
    ($reply:expr, $variant:path) => {
        match $reply {
            $variant(content) => Ok(content),
            _ => Err(nonsense("another answer than asked for")),
        }
    };
}

impl Files {
    /// Takes what [`super::Running::files`] gave. Must be called within a runtime.
    pub fn new(channel: StdStream) -> Result<Self> {
        channel.set_nonblocking(true)?;
        Ok(Self {
            channel: UnixStream::from_std(channel)?,
        })
    }

    /// Asks for something that is answered without a descriptor.
    pub async fn ask(&mut self, op: Op) -> Result<Reply> {
        self.send(op).await?;
        Ok(self.receive().await?.0)
    }

    /// Looks at a path.
    pub async fn info(&mut self, path: String) -> Result<Info> {
        expect!(self.ask(Op::Info { path }).await?, Reply::Info)
    }

    /// Home directory of the user.
    pub async fn home(&mut self) -> Result<String> {
        expect!(self.ask(Op::Home).await?, Reply::Text)
    }

    /// Whether something is there.
    pub async fn exists(&mut self, path: String) -> Result<bool> {
        expect!(self.ask(Op::Exists { path }).await?, Reply::Is)
    }

    /// Entries of a directory.
    pub async fn list(&mut self, path: String, depth: u32) -> Result<Vec<Info>> {
        expect!(self.ask(Op::List { path, depth }).await?, Reply::List)
    }

    /// Renames.
    pub async fn rename(&mut self, from: String, to: String) -> Result<Info> {
        expect!(self.ask(Op::Rename { from, to }).await?, Reply::Info)
    }

    /// Lines that hold a text.
    pub async fn find(&mut self, path: String, pattern: String) -> Result<Vec<Match>> {
        expect!(self.ask(Op::Find { path, pattern }).await?, Reply::Matches)
    }

    /// Paths whose name matches.
    pub async fn search(&mut self, path: String, pattern: String) -> Result<Vec<String>> {
        expect!(self.ask(Op::Search { path, pattern }).await?, Reply::Paths)
    }

    /// Replaces a text, and says how often in each file.
    pub async fn replace(
        &mut self,
        files: Vec<String>,
        pattern: String,
        replacement: String,
        dry_run: bool,
    ) -> Result<Vec<u64>> {
        let op = Op::Replace {
            files,
            pattern,
            replacement,
            dry_run,
        };
        expect!(self.ask(op).await?, Reply::Replaced)
    }

    /// Opens a regular file to read.
    pub async fn read(&mut self, path: String) -> Result<(Info, File)> {
        self.send(Op::Read { path }).await?;
        let (reply, fd) = self.receive().await?;
        Ok((expect!(reply, Reply::Info)?, regular(fd)?))
    }

    /// Begins new content of a file.
    pub async fn create(&mut self, path: String) -> Result<NewFile> {
        self.send(Op::Create { path }).await?;
        match self.receive().await? {
            (Reply::Created { token, exists }, fd) => Ok(NewFile {
                token,
                exists,
                file: regular(fd)?,
            }),
            _ => Err(nonsense("another answer than asked for")),
        }
    }

    /// Puts new content in place.
    pub async fn commit(&mut self, token: u32, replace: bool, mode: Option<u32>) -> Result<Info> {
        expect!(self.ask(Op::Commit { token, replace, mode }).await?, Reply::Info)
    }

    /// Takes one step.
    pub async fn step(&mut self, step: Step) -> Result<Stepped> {
        expect!(self.ask(Op::Step(step)).await?, Reply::Stepped)
    }

    /// Begins to watch; then [`next_event`](Self::next_event) is all that may be called.
    pub async fn watch(&mut self, path: String, recursive: bool) -> Result<()> {
        match self.ask(Op::Watch { path, recursive }).await? {
            Reply::Done => Ok(()),
            _ => Err(nonsense("another answer than asked for")),
        }
    }

    /// The next change. Cancelling it in the middle of a frame breaks the session.
    pub async fn next_event(&mut self) -> Result<Event> {
        expect!(self.receive().await?.0, Reply::Event)
    }

    async fn send(&mut self, op: Op) -> Result<()> {
        let mut frame = vec![0; 4];
        frame = postcard::to_extend(&op, frame).map_err(|_| nonsense("a request that cannot be written"))?;
        let len = frame.len() - 4;
        if len > LARGEST_REQUEST {
            let text = format!("the request has {len} bytes, more than {LARGEST_REQUEST}");
            return Err(FileError::Fault(Fault {
                errno: rustix::io::Errno::TOOBIG.raw_os_error(),
                text,
            }));
        }
        frame[..4].copy_from_slice(&(len as u32).to_le_bytes());
        Ok(self.channel.write_all(&frame).await?)
    }

    async fn receive(&mut self) -> Result<(Reply, Option<OwnedFd>)> {
        let mut header = [0; 4];
        let (mut filled, mut fd) = (0, None);
        while filled < header.len() {
            self.channel.readable().await?;
            let read = self.channel.try_io(Interest::READABLE, || {
                receive_some(&self.channel, &mut header[filled..])
            });
            match read {
                Ok((0, _)) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                Ok((read, with)) => {
                    filled += read;
                    fd = fd.or(with);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
        let len = u32::from_le_bytes(header) as usize;
        if len > LARGEST_REPLY {
            return Err(nonsense("an answer that is too long"));
        }
        // Grows as bytes come: a length alone must not cost memory.
        let mut body = Vec::with_capacity(len.min(64 << 10));
        (&mut self.channel)
            .take(len as u64)
            .read_to_end(&mut body)
            .await?;
        if body.len() < len {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        match postcard::from_bytes(&body).map_err(|_| nonsense("an answer that cannot be read"))? {
            Reply::Fault(fault) => Err(FileError::Fault(fault)),
            reply => Ok((reply, fd)),
        }
    }
}

/// Reads bytes and, at most, one descriptor.
fn receive_some(channel: &UnixStream, buffer: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(buffer)];
    let received = rustix::net::recvmsg(channel, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let fds = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(fds) => Some(fds),
        _ => None,
    });
    let fd = fds.flatten().last();
    Ok((received.bytes, fd))
}

/// A descriptor that reading and writing cannot hang on, and whose content does not depend on who reads it.
fn regular(fd: Option<OwnedFd>) -> Result<File> {
    let fd = fd.ok_or_else(|| nonsense("no descriptor"))?;
    let kind = rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(&fd).map_err(io::Error::from)?.st_mode);
    let system = rustix::fs::fstatfs(&fd).map_err(io::Error::from)?.f_type as u64;
    const PROC: u64 = 0x9fa0;
    const SYSFS: u64 = 0x6265_6572;
    if !kind.is_file() || [PROC, SYSFS].contains(&system) {
        return Err(nonsense("a descriptor of something else than a file"));
    }
    Ok(fd.into())
}
