//! Files for `scp`, `sftp` and editors: version 3 of SFTP with the extensions of OpenSSH. Each request is a step of a
//! session of [`crate::isolation::files`], so it is taken inside the machine with the rights of the user, and needs no
//! program there.

use bytes::Bytes;
use russh::server::Msg;
use russh::ChannelWriteHalf;
use russh_sftp::extensions::{self, LimitsExtension, Statvfs};
use russh_sftp::protocol::{
    Attrs, Data, ExtendedReply, File, FileAttributes, Handle, Name, OpenFlags, Packet, StatusCode, Version,
};
use russh_sftp::{de, ser};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::pump::{Input, Outlet};
use super::session::{finish, CHUNK, NOT_STARTED};
use crate::isolation::files::{
    is_exact, Entry, FileError, How, Look, Op, Spot, Step, Stepped, LARGEST_PIECE, MOST_HANDLES,
};
use crate::machine::commands::output::Stream;
use crate::machine::commands::processes::Chunk;
use crate::machine::files::{letters, FileSession};
use crate::machine::unix_seconds;

/// Bytes of a packet at most, as OpenSSH has it.
const LARGEST_PACKET: usize = 256 << 10;
/// What is around the content in a packet that carries some.
const AROUND_PIECE: usize = 1 << 10;
/// Extensions, with their versions.
const EXTENSIONS: [(&str, &str); 6] = [
    (POSIX_RENAME, "1"),
    (LSETSTAT, "1"),
    (extensions::LIMITS, "1"),
    (extensions::HARDLINK, "1"),
    (extensions::FSYNC, "1"),
    (extensions::STATVFS, "2"),
];
const POSIX_RENAME: &str = "posix-rename@openssh.com";
const LSETSTAT: &str = "lsetstat@openssh.com";
/// A file whose time is further away than this is shown with its year, as by `ls`.
const HALF_A_YEAR: i64 = 182 * 24 * 3600;

const _: () = assert!(LARGEST_PIECE as usize + AROUND_PIECE <= LARGEST_PACKET);

/// Answers requests until the client or the machine ends.
pub async fn serve(
    files: FileSession,
    input: Outlet,
    out: mpsc::Sender<Chunk>,
    sent: JoinHandle<ChannelWriteHalf<Msg>>,
    closed: CancellationToken,
) {
    let sending = sent.abort_handle();
    let gone = files.gone().clone();
    let mut packets = Packets {
        input,
        waiting: Vec::new(),
    };
    let mut sftp = Sftp {
        start: files.directory(),
        files,
    };
    let conversation = async {
        let code = tokio::select! {
            code = sftp.converse(&mut packets, &out) => code,
            () = gone.cancelled() => NOT_STARTED,
        };
        drop((sftp, out));
        if let Ok(writer) = sent.await {
            finish(&writer, Some(code)).await;
        }
    };
    tokio::select! {
        () = conversation => {}
        // What is sent may wait for a window that nobody will open.
        () = closed.cancelled() => sending.abort(),
    }
}

/// Packets of the client.
struct Packets {
    input: Outlet,
    waiting: Vec<u8>,
}

impl Packets {
    /// The content of the next one; `None` at the end, and when what comes can be none.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some((length, rest)) = self.waiting.split_first_chunk() {
                let length = u32::from_be_bytes(*length) as usize;
                if !(1..=LARGEST_PACKET).contains(&length) {
                    return None;
                }
                if let Some(packet) = rest.get(..length) {
                    let packet = Bytes::copy_from_slice(packet);
                    self.waiting.drain(..size_of::<u32>() + length);
                    return Some(packet);
                }
            }
            match self.input.next().await? {
                Input::Data(bytes) => self.waiting.extend_from_slice(&bytes),
                Input::End => return None,
            }
        }
    }
}

/// Why there is another answer than asked for.
enum Refusal {
    /// The client hears it.
    Status(StatusCode, String),
    /// The session with the machine is over.
    Over,
}

impl From<FileError> for Refusal {
    fn from(error: FileError) -> Self {
        match error {
            FileError::Fault(fault) => Self::Status(status(fault.errno), fault.text),
            FileError::Broken(_) => Self::Over,
        }
    }
}

impl From<StatusCode> for Refusal {
    fn from(code: StatusCode) -> Self {
        Self::Status(code, code.to_string())
    }
}

/// What a packet says is wrong in itself.
fn malformed(error: impl std::fmt::Display) -> Refusal {
    Refusal::Status(StatusCode::BadMessage, error.to_string())
}

/// The same numbers as OpenSSH: clients know what it means by them.
fn status(errno: i32) -> StatusCode {
    match errno {
        libc::ENOENT | libc::ENOTDIR | libc::EBADF | libc::ELOOP => StatusCode::NoSuchFile,
        libc::EACCES | libc::EPERM | libc::EFAULT => StatusCode::PermissionDenied,
        libc::ENAMETOOLONG | libc::EINVAL => StatusCode::BadMessage,
        libc::ENOSYS | libc::EOPNOTSUPP => StatusCode::OpUnsupported,
        _ => StatusCode::Failure,
    }
}

struct Sftp {
    files: FileSession,
    /// Where relative paths start: where shells do.
    start: String,
}

type Answer = Result<Packet, Refusal>;

impl Sftp {
    /// Request and answer, one after the other; gives the exit code.
    async fn converse(&mut self, packets: &mut Packets, out: &mpsc::Sender<Chunk>) -> u32 {
        while let Some(packet) = packets.next().await {
            // Every request but the first begins with its kind and its number.
            let id = packet.get(1..5).and_then(|id| id.try_into().ok());
            let id = id.map_or(0, u32::from_be_bytes);
            let answered = match Packet::try_from(&mut { packet }) {
                Ok(request) => self.answer(id, request).await,
                Err(error) => Err(malformed(error)),
            };
            let answer = match answered {
                Ok(answer) => answer,
                Err(Refusal::Status(code, text)) => Packet::status(id, code, &text, "en"),
                Err(Refusal::Over) => return NOT_STARTED,
            };
            let Ok(bytes) = Bytes::try_from(answer) else {
                return NOT_STARTED;
            };
            for piece in bytes.chunks(CHUNK) {
                if out.send((Stream::Stdout, piece.into())).await.is_err() {
                    return NOT_STARTED;
                }
            }
        }
        0
    }

    async fn answer(&mut self, id: u32, request: Packet) -> Answer {
        let step = match request {
            Packet::Init(_) => {
                let own = EXTENSIONS.map(|(name, version)| (name.to_owned(), version.to_owned()));
                let mut version = Version::new();
                version.extensions = own.into();
                return Ok(version.into());
            }
            Packet::Open(open) => Step::Open {
                path: self.path(&open.filename)?,
                how: how(open.pflags),
                mode: open.attrs.permissions.unwrap_or(0o666),
            },
            Packet::OpenDir(open) => Step::OpenDirectory {
                path: self.path(&open.path)?,
            },
            Packet::Close(close) => Step::Close {
                handle: handle(&close.handle)?,
            },
            Packet::Read(read) => {
                let asked = read.len.min(LARGEST_PIECE);
                let step = Step::ReadAt {
                    handle: handle(&read.handle)?,
                    offset: read.offset,
                    length: asked,
                };
                let Stepped::Bytes(data) = self.files.pieces().step(step).await? else {
                    return Err(Refusal::Over);
                };
                return match data.len() {
                    0 => Ok(told(id, StatusCode::Eof)),
                    length if length > asked as usize => Err(Refusal::Over),
                    _ => {
                        let data = data.into_vec();
                        Ok(Data { id, data }.into())
                    }
                };
            }
            Packet::Write(write) => Step::WriteAt {
                handle: handle(&write.handle)?,
                offset: write.offset,
                bytes: write.data.into(),
            },
            Packet::ReadDir(read) => Step::Next {
                handle: handle(&read.handle)?,
            },
            Packet::Stat(look) => Step::Look {
                at: Spot::Path(self.path(&look.path)?),
            },
            Packet::Lstat(look) => Step::Look {
                at: Spot::Link(self.path(&look.path)?),
            },
            Packet::Fstat(look) => Step::Look {
                at: Spot::Handle(handle(&look.handle)?),
            },
            Packet::SetStat(set) => change(Spot::Path(self.path(&set.path)?), &set.attrs),
            Packet::FSetStat(set) => change(Spot::Handle(handle(&set.handle)?), &set.attrs),
            Packet::MkDir(make) => Step::MakeDirectory {
                path: self.path(&make.path)?,
                mode: make.attrs.permissions.unwrap_or(0o777),
            },
            Packet::RmDir(remove) => Step::RemoveDirectory {
                path: self.path(&remove.path)?,
            },
            Packet::Remove(remove) => Step::RemoveFile {
                path: self.path(&remove.filename)?,
            },
            Packet::Rename(rename) => Step::RenameToNew {
                from: self.path(&rename.oldpath)?,
                to: self.path(&rename.newpath)?,
            },
            Packet::RealPath(real) => Step::Resolve {
                path: self.path(&real.path)?,
            },
            Packet::ReadLink(read) => {
                let path = self.path(&read.path)?;
                let target = self.files.pieces().info(path).await?.symlink_target;
                let target = target.ok_or(StatusCode::BadMessage)?;
                return Ok(names(id, vec![plain(target)]));
            }
            Packet::Symlink(link) => {
                // In the order of OpenSSH, which is not that of the specification: what it says comes first.
                let (target, path) = (name(&link.linkpath)?.to_owned(), self.path(&link.targetpath)?);
                self.files.pieces().ask(Op::Symlink { target, path }).await?;
                return Ok(told(id, StatusCode::Ok));
            }
            Packet::Extended(extended) => return self.extended(id, &extended.request, extended.data).await,
            _ => return Err(StatusCode::BadMessage.into()),
        };
        self.step(id, step).await
    }

    async fn extended(&mut self, id: u32, request: &str, data: Vec<u8>) -> Answer {
        let mut data = Bytes::from(data);
        let step = match request {
            extensions::LIMITS => {
                let limits = LimitsExtension {
                    max_packet_len: LARGEST_PACKET as u64,
                    max_read_len: LARGEST_PIECE.into(),
                    max_write_len: LARGEST_PIECE.into(),
                    max_open_handles: MOST_HANDLES as u64,
                };
                return reply(id, &limits);
            }
            POSIX_RENAME => {
                let (from, to) = self.two_paths(&mut data)?;
                self.files.pieces().rename(from, to).await?;
                return Ok(told(id, StatusCode::Ok));
            }
            extensions::HARDLINK => {
                let (from, to) = self.two_paths(&mut data)?;
                Step::Link { from, to }
            }
            extensions::FSYNC => Step::Sync {
                handle: handle(&read::<String>(&mut data)?)?,
            },
            LSETSTAT => {
                let (path, attributes): (String, FileAttributes) = read(&mut data)?;
                change(Spot::Link(self.path(&path)?), &attributes)
            }
            extensions::STATVFS => Step::Space {
                path: self.path(&read::<String>(&mut data)?)?,
            },
            _ => return Err(StatusCode::OpUnsupported.into()),
        };
        self.step(id, step).await
    }

    async fn step(&mut self, id: u32, step: Step) -> Answer {
        match self.files.pieces().step(step).await? {
            Stepped::Done => Ok(told(id, StatusCode::Ok)),
            Stepped::Handle(handle) => Ok(Handle {
                id,
                handle: handle.to_string(),
            }
            .into()),
            Stepped::Look(look) => Ok(Attrs {
                id,
                attrs: attributes(&look),
            }
            .into()),
            Stepped::Entries(entries) if entries.is_empty() => Ok(told(id, StatusCode::Eof)),
            Stepped::Entries(entries) => Ok(names(id, entries.into_iter().map(listed).collect())),
            Stepped::Path(path) => Ok(names(id, vec![plain(path)])),
            Stepped::Space(space) => reply(
                id,
                &Statvfs {
                    block_size: space.block_size,
                    fragment_size: space.fragment_size,
                    blocks: space.blocks,
                    blocks_free: space.blocks_free,
                    blocks_avail: space.blocks_available,
                    inodes: space.files,
                    inodes_free: space.files_free,
                    inodes_avail: space.files_available,
                    fs_id: space.id,
                    flags: space.flags,
                    name_max: space.longest_name,
                },
            ),
            Stepped::Bytes(_) => Err(Refusal::Over),
        }
    }

    fn path(&self, given: &str) -> Result<String, Refusal> {
        let given = name(given)?;
        Ok(match given.strip_prefix('/') {
            Some(_) => given.to_owned(),
            None => format!("{}/{given}", self.start),
        })
    }

    fn two_paths(&self, data: &mut Bytes) -> Result<(String, String), Refusal> {
        let (from, to): (String, String) = read(data)?;
        Ok((self.path(&from)?, self.path(&to)?))
    }
}

/// What can be a name. One that was no UTF-8 came as text that stands for many names: no file may be replaced for another.
fn name(given: &str) -> Result<&str, Refusal> {
    if given.contains('\0') || !is_exact(given) {
        let text = format!("{given:?} is no UTF-8: give the name as it is listed here");
        return Err(Refusal::Status(StatusCode::BadMessage, text));
    }
    Ok(given)
}

fn told(id: u32, code: StatusCode) -> Packet {
    Packet::status(id, code, &code.to_string(), "en")
}

fn read<'a, T: Deserialize<'a>>(data: &'a mut Bytes) -> Result<T, Refusal> {
    de::from_bytes(data).map_err(malformed)
}

fn reply(id: u32, content: &impl Serialize) -> Answer {
    let data = ser::to_bytes(content).map_err(malformed)?.into();
    Ok(ExtendedReply { id, data }.into())
}

fn handle(text: &str) -> Result<u64, Refusal> {
    text.parse().map_err(|_| status(libc::EBADF).into())
}

fn how(flags: OpenFlags) -> How {
    How {
        read: flags.contains(OpenFlags::READ),
        write: flags.contains(OpenFlags::WRITE),
        append: flags.contains(OpenFlags::APPEND),
        create: flags.contains(OpenFlags::CREATE),
        is_new: flags.contains(OpenFlags::EXCLUDE),
        truncate: flags.contains(OpenFlags::TRUNCATE),
    }
}

fn change(at: Spot, attributes: &FileAttributes) -> Step {
    let both = |first: Option<u32>, second: Option<u32>| Some((first?, second?));
    Step::Change {
        at,
        size: attributes.size,
        mode: attributes.permissions,
        times: both(attributes.atime, attributes.mtime).map(|(a, m)| (a.into(), m.into())),
        owner: both(attributes.uid, attributes.gid),
    }
}

/// Times outside of 1970 to 2106 have no form in this version.
fn attributes(look: &Look) -> FileAttributes {
    let time = |seconds: i64| Some(seconds.clamp(0, u32::MAX.into()) as u32);
    FileAttributes {
        size: Some(look.size),
        uid: Some(look.user),
        gid: Some(look.group),
        permissions: Some(look.mode),
        atime: time(look.accessed),
        mtime: time(look.modified),
        ..FileAttributes::default()
    }
}

fn names(id: u32, files: Vec<File>) -> Packet {
    Name { id, files }.into()
}

fn plain(filename: String) -> File {
    File {
        longname: filename.clone(),
        filename,
        attrs: FileAttributes::default(),
    }
}

fn listed(entry: Entry) -> File {
    File {
        attrs: attributes(&entry.look),
        longname: line(&entry, unix_seconds()),
        filename: entry.name,
    }
}

/// An entry as `ls -l` shows it, in UTC.
fn line(Entry { name, look }: &Entry, now: i64) -> String {
    let kind = match look.mode & libc::S_IFMT {
        libc::S_IFDIR => 'd',
        libc::S_IFLNK => 'l',
        libc::S_IFCHR => 'c',
        libc::S_IFBLK => 'b',
        libc::S_IFIFO => 'p',
        libc::S_IFSOCK => 's',
        _ => '-',
    };
    let form = if (now - HALF_A_YEAR..=now).contains(&look.modified) {
        "%b %e %H:%M"
    } else {
        "%b %e  %Y"
    };
    let time = jiff::Timestamp::from_second(look.modified).unwrap_or_default();
    format!(
        "{kind}{} {:>4} {:<8} {:<8} {:>8} {} {name}",
        letters(look.mode & 0o7777),
        look.links,
        look.user_name,
        look.group_name,
        look.size,
        time.strftime(form),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_shown_as_ls_does() {
        let entry = |mode, modified| Entry {
            name: "a b".into(),
            look: Look {
                mode,
                size: 7,
                links: 1,
                user: 0,
                group: 5,
                user_name: "root".into(),
                group_name: "5".into(),
                accessed: 0,
                modified,
            },
        };
        // 2024-02-03 04:05:06 UTC, seen a day and a year later.
        let modified = 1_706_933_106;
        let shown = |mode, days: i64| line(&entry(mode, modified), modified + days * 24 * 3600);
        assert_eq!(
            shown(libc::S_IFREG | 0o644, 1),
            "-rw-r--r--    1 root     5               7 Feb  3 04:05 a b"
        );
        assert_eq!(
            shown(libc::S_IFDIR | 0o1777, 365),
            "drwxrwxrwt    1 root     5               7 Feb  3  2024 a b"
        );
    }

    #[test]
    fn times_without_a_form_are_the_nearest() {
        let look = Look {
            mode: 0,
            size: 0,
            links: 1,
            user: 0,
            group: 0,
            user_name: String::new(),
            group_name: String::new(),
            accessed: -1,
            modified: 1 << 40,
        };
        let attributes = attributes(&look);
        assert_eq!((attributes.atime, attributes.mtime), (Some(0), Some(u32::MAX)));
    }
}
