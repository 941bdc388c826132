//! A tree as a stream, for another computer: everything that overlay needs is in it, and it arrives whole or not at all.
//!
//! It keeps modes, owners, times, attributes, devices (whiteouts are such), holes, and the links between files. Names come one by
//! one, so that a tree may be as deep as it likes and nothing of what arrives is ever followed: tar has neither.

use std::collections::hash_map::Entry;
use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;

use nullspace_agent::trees::{Chain, Met, Walk};
use rustix::fs::{
    chmodat, chownat, fchmod, fchown, fgetxattr, flistxattr, fsetxattr, fstat, futimens, lgetxattr, linkat,
    llistxattr, lsetxattr, mkdirat, mknodat, openat, readlinkat, seek, statat, symlinkat, utimensat, AtFlags,
    FileType, Gid, Mode, OFlags, SeekFrom, Stat, Timespec, Timestamps, Uid, XattrFlags, CWD,
};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::copy::{each_attribute, mode_for, path_of, times, LARGEST, LONGEST_PATH};

/// Bytes of a file that are sent at once.
const PIECE: usize = 256 << 10;
/// Most bytes of what describes something: the kernel keeps 64 KiB of attributes, some file systems more.
const LONGEST_FRAME: usize = 16 << 20;
/// Level of zstd: as fast as a network of today.
const LEVEL: i32 = 1;
/// Bytes between two looks at the free room.
const LOOK: u64 = 32 << 20;
/// Names the file of the layer below, on the computer where it was written. It means nothing on another one.
const OF_THE_COMPUTER: [&[u8]; 2] = [b"trusted.overlay.origin", b"user.overlay.origin"];

/// What a file or directory is besides its content.
#[derive(Debug, Serialize, Deserialize)]
struct Attributes {
    mode: u32,
    uid: u32,
    gid: u32,
    accessed: (i64, u32),
    modified: (i64, u32),
    extended: Vec<(Vec<u8>, Vec<u8>)>,
}

/// A step of a walk through the tree.
#[derive(Debug, Serialize, Deserialize)]
enum Frame {
    /// Into a directory.
    Enter(Vec<u8>),
    /// Out of it; the last one is out of the tree.
    Leave(Attributes),
    /// A file. Its pieces follow, then [`Frame::Close`].
    File {
        name: Vec<u8>,
        size: u64,
        /// Set if it has more names.
        number: Option<u64>,
    },
    /// So many bytes follow, which belong at a place of the file. Holes are not sent.
    Piece { at: u64, length: u32 },
    /// The file is whole.
    Close(Attributes),
    /// Another name of something.
    Again { name: Vec<u8>, number: u64 },
    /// A symbolic link.
    Link {
        name: Vec<u8>,
        target: Vec<u8>,
        number: Option<u64>,
        attributes: Attributes,
    },
    /// A device, a pipe, a socket.
    Special {
        name: Vec<u8>,
        device: u64,
        number: Option<u64>,
        attributes: Attributes,
    },
}

/// Writes the tree of a directory that does not change.
pub fn pack(top: &Path, to: impl Write) -> io::Result<()> {
    let mut encoder = zstd::stream::write::Encoder::new(to, LEVEL)?;
    encoder.include_checksum(true)?;
    let mut packing = Packing {
        to: BufWriter::with_capacity(PIECE, encoder),
        numbers: HashMap::new(),
        piece: vec![0; PIECE],
    };
    let mut walk = Walk::new(Chain::open(top)?);
    loop {
        match walk.step()? {
            Met::Entry(name, FileType::Directory) => {
                packing.put(&Frame::Enter(name.to_bytes().to_vec()))?;
                walk.enter(&name)?;
            }
            Met::Entry(name, _) => packing.entry(walk.chain(), &name)?,
            Met::End => {
                let here = walk.chain().here()?;
                let attributes = attributes_of(here, &fstat(here)?);
                packing.put(&Frame::Leave(attributes))?;
                if !walk.leave()? {
                    break;
                }
            }
        }
    }
    let encoder = packing.to.into_inner().map_err(io::IntoInnerError::into_error)?;
    encoder.finish()?.flush()
}

struct Packing<W: Write> {
    to: W,
    /// Files of several names that were sent, by device and inode.
    numbers: HashMap<(u64, u64), u64>,
    piece: Vec<u8>,
}

impl<W: Write> Packing<W> {
    fn put(&mut self, frame: &Frame) -> io::Result<()> {
        let bytes = postcard::to_allocvec(frame).map_err(io::Error::other)?;
        let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        self.to.write_all(&length.to_le_bytes())?;
        self.to.write_all(&bytes)
    }

    fn entry(&mut self, chain: &Chain, name: &CStr) -> io::Result<()> {
        let near = chain.here()?;
        let found = statat(near, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let text = name.to_bytes().to_vec();
        let mut number = None;
        // One that is too deep to be linked is sent by each of its names.
        if found.st_nlink > 1 && chain.depth() < LONGEST_PATH / 2 && place(chain, name).len() < LONGEST_PATH {
            let next = self.numbers.len() as u64;
            match self.numbers.entry((found.st_dev, found.st_ino)) {
                Entry::Occupied(known) => {
                    let number = *known.get();
                    return self.put(&Frame::Again { name: text, number });
                }
                Entry::Vacant(free) => number = Some(*free.insert(next)),
            }
        }
        match FileType::from_raw_mode(found.st_mode) {
            FileType::RegularFile => self.file(near, name, number),
            FileType::Symlink => {
                let target = readlinkat(near, name, Vec::new())?.into_bytes();
                let attributes = attributes_by_name(near, name, &found)?;
                self.put(&Frame::Link {
                    name: text,
                    target,
                    number,
                    attributes,
                })
            }
            _ => {
                let attributes = attributes_by_name(near, name, &found)?;
                self.put(&Frame::Special {
                    name: text,
                    device: found.st_rdev,
                    number,
                    attributes,
                })
            }
        }
    }

    fn file(&mut self, near: BorrowedFd<'_>, name: &CStr, number: Option<u64>) -> io::Result<()> {
        let read = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = openat(near, name, read, Mode::empty())?;
        let found = fstat(&file)?;
        let size = found.st_size as u64;
        self.put(&Frame::File {
            name: name.to_bytes().to_vec(),
            size,
            number,
        })?;
        let file = std::fs::File::from(file);
        let mut at = 0;
        while at < size {
            let begin = match seek(&file, SeekFrom::Data(at)) {
                Ok(begin) => begin,
                Err(Errno::NXIO) => break,
                // Of a file system that knows no holes.
                Err(_) => at,
            };
            let end = seek(&file, SeekFrom::Hole(begin)).unwrap_or(size).min(size);
            at = begin;
            while at < end {
                let wanted = PIECE.min((end - at) as usize);
                let mut piece = std::mem::take(&mut self.piece);
                file.read_exact_at(&mut piece[..wanted], at)?;
                self.put(&Frame::Piece {
                    at,
                    length: wanted as u32,
                })?;
                self.to.write_all(&piece[..wanted])?;
                self.piece = piece;
                at += wanted as u64;
            }
        }
        self.put(&Frame::Close(attributes_of(file.as_fd(), &found)))
    }
}

/// Makes the tree of a stream in a directory that is there and empty. `room` refuses when nothing more may be written.
pub fn unpack(from: impl Read, top: &Path, room: &dyn Fn() -> io::Result<()>) -> io::Result<()> {
    let mut unpacking = Unpacking {
        from: BufReader::with_capacity(PIECE, zstd::stream::read::Decoder::new(from)?),
        here: Chain::open(top)?,
        top: openat(
            CWD,
            top,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )?,
        names: HashMap::new(),
        piece: vec![0; PIECE],
        since_look: 0,
        room,
    };
    unpacking.run()?;
    // What follows the last frame is only the end of the stream, which says that all of it came.
    match unpacking.from.read(&mut [0])? {
        0 => Ok(()),
        _ => Err(nonsense("more than a tree")),
    }
}

fn nonsense(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("a layer arrives with {what}"))
}

/// A name in a directory, and nothing else.
fn checked(name: Vec<u8>) -> io::Result<CString> {
    let is_name = !matches!(&name[..], b"" | b"." | b"..") && !name.contains(&b'/');
    let name = CString::new(name).ok().filter(|_| is_name);
    name.ok_or_else(|| nonsense("a name that is none"))
}

struct Unpacking<'a, R> {
    from: R,
    here: Chain,
    top: OwnedFd,
    /// Where files of several names are, from the top.
    names: HashMap<u64, Vec<u8>>,
    piece: Vec<u8>,
    since_look: u64,
    room: &'a dyn Fn() -> io::Result<()>,
}

impl<R: Read> Unpacking<'_, R> {
    fn next(&mut self) -> io::Result<Frame> {
        let mut length = [0; 4];
        self.from.read_exact(&mut length)?;
        let length = u32::from_le_bytes(length) as usize;
        if length > LONGEST_FRAME {
            return Err(nonsense("a description that is too long"));
        }
        let mut bytes = vec![0; length];
        self.from.read_exact(&mut bytes)?;
        postcard::from_bytes(&bytes).map_err(|_| nonsense("a description that cannot be read"))
    }

    fn run(&mut self) -> io::Result<()> {
        loop {
            match self.next()? {
                Frame::Enter(name) => {
                    let name = checked(name)?;
                    mkdirat(self.here.here()?, &name, Mode::RWXU)?;
                    self.here.enter(&name)?;
                }
                Frame::Leave(attributes) => {
                    // Last: what is made in a directory changes its time.
                    attributes.give(self.here.here()?)?;
                    if self.here.depth() == 0 {
                        return Ok(());
                    }
                    self.here.leave()?;
                }
                Frame::File { name, size, number } => self.file(&checked(name)?, size, number)?,
                Frame::Again { name, number } => {
                    let name = checked(name)?;
                    let known = self.names.get(&number);
                    let known = known.ok_or_else(|| nonsense("another name of nothing"))?;
                    linkat(&self.top, &known[..], self.here.here()?, &name, AtFlags::empty())?;
                }
                Frame::Link {
                    name,
                    target,
                    number,
                    attributes,
                } => {
                    let name = checked(name)?;
                    symlinkat(&target[..], self.here.here()?, &name)?;
                    attributes.give_by_name(self.here.here()?, &name)?;
                    self.number(number, &name)?;
                }
                Frame::Special {
                    name,
                    device,
                    number,
                    attributes,
                } => {
                    let name = checked(name)?;
                    let kind = FileType::from_raw_mode(attributes.mode);
                    if matches!(kind, FileType::Directory | FileType::Symlink) {
                        return Err(nonsense("something of the wrong kind"));
                    }
                    let mode = Mode::from_raw_mode(attributes.mode);
                    mknodat(self.here.here()?, &name, kind, mode, device)?;
                    attributes.give_by_name(self.here.here()?, &name)?;
                    self.number(number, &name)?;
                }
                Frame::Piece { .. } | Frame::Close(_) => return Err(nonsense("a piece of no file")),
            }
        }
    }

    fn file(&mut self, name: &CStr, size: u64, number: Option<u64>) -> io::Result<()> {
        let create = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = openat(self.here.here()?, name, create, Mode::RUSR | Mode::WUSR)?;
        let file = std::fs::File::from(made);
        loop {
            match self.next()? {
                Frame::Piece { at, length } => {
                    let length = length as usize;
                    let is_inside = at.checked_add(length as u64).is_some_and(|end| end <= size);
                    if length > PIECE || !is_inside {
                        return Err(nonsense("a piece that does not fit its file"));
                    }
                    self.from.read_exact(&mut self.piece[..length])?;
                    file.write_all_at(&self.piece[..length], at)?;
                    self.since_look += length as u64;
                    if self.since_look >= LOOK {
                        self.since_look = 0;
                        (self.room)()?;
                    }
                }
                Frame::Close(attributes) => {
                    file.set_len(size)?;
                    attributes.give(file.as_fd())?;
                    return self.number(number, name);
                }
                _ => return Err(nonsense("a file without an end")),
            }
        }
    }

    fn number(&mut self, number: Option<u64>, name: &CStr) -> io::Result<()> {
        let Some(number) = number else { return Ok(()) };
        let path = place(&self.here, name);
        if path.len() >= LONGEST_PATH {
            // The kernel takes no longer ones, so that its other names could not be made.
            return Err(nonsense("a file of several names that is too deep"));
        }
        self.names.insert(number, path);
        Ok(())
    }
}

/// Where something is, from the top.
fn place(chain: &Chain, name: &CStr) -> Vec<u8> {
    let mut path = chain.path();
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name.to_bytes());
    path
}

impl Attributes {
    fn new(found: &Stat, extended: Vec<(Vec<u8>, Vec<u8>)>) -> Self {
        let times = times(found);
        let pair = |time: Timespec| (time.tv_sec, time.tv_nsec as u32);
        Self {
            mode: found.st_mode,
            uid: found.st_uid,
            gid: found.st_gid,
            accessed: pair(times.last_access),
            modified: pair(times.last_modification),
            extended,
        }
    }

    fn owner(&self) -> (Option<Uid>, Option<Gid>) {
        (Some(Uid::from_raw(self.uid)), Some(Gid::from_raw(self.gid)))
    }

    fn times(&self) -> Timestamps {
        let time = |(seconds, nanoseconds): (i64, u32)| Timespec {
            tv_sec: seconds as _,
            tv_nsec: nanoseconds as _,
        };
        Timestamps {
            last_access: time(self.accessed),
            last_modification: time(self.modified),
        }
    }

    /// Gives them to a file or a directory that is open.
    fn give(&self, to: BorrowedFd<'_>) -> io::Result<()> {
        let (uid, gid) = self.owner();
        fchmod(to, mode_for(fchown(to, uid, gid), self.mode)?)?;
        self.extend(|name, value| fsetxattr(to, name, value, XattrFlags::empty()))?;
        Ok(futimens(to, &self.times())?)
    }

    /// Gives them to what cannot be opened without an effect.
    fn give_by_name(&self, near: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
        let (uid, gid) = self.owner();
        let mode = mode_for(
            chownat(near, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW),
            self.mode,
        )?;
        if FileType::from_raw_mode(self.mode) != FileType::Symlink {
            chmodat(near, name, mode, AtFlags::empty())?;
        }
        let path = path_of(near, name)?;
        self.extend(|name, value| lsetxattr(&path, name, value, XattrFlags::empty()))?;
        Ok(utimensat(near, name, &self.times(), AtFlags::SYMLINK_NOFOLLOW)?)
    }

    fn extend(&self, set: impl Fn(&CStr, &[u8]) -> rustix::io::Result<()>) -> io::Result<()> {
        for (name, value) in &self.extended {
            let mut name = name.clone();
            name.push(0);
            let get = |_: &CStr, into: &mut [u8]| {
                let into = into.get_mut(..value.len()).ok_or(Errno::RANGE)?;
                into.copy_from_slice(value);
                Ok(value.len())
            };
            each_attribute(&name, get, &set)?;
        }
        Ok(())
    }
}

fn attributes_of(file: BorrowedFd<'_>, found: &Stat) -> Attributes {
    let mut names = vec![0; LARGEST];
    let length = flistxattr(file, &mut names[..]).unwrap_or(0);
    let read = |name: &CStr, value: &mut [u8]| fgetxattr(file, name, value);
    Attributes::new(found, extended(&names[..length], read))
}

fn attributes_by_name(near: BorrowedFd<'_>, name: &CStr, found: &Stat) -> io::Result<Attributes> {
    let path = path_of(near, name)?;
    let mut names = vec![0; LARGEST];
    let length = llistxattr(&path, &mut names[..]).unwrap_or(0);
    let read = |name: &CStr, value: &mut [u8]| lgetxattr(&path, name, value);
    Ok(Attributes::new(found, extended(&names[..length], read)))
}

fn extended(
    names: &[u8],
    get: impl Fn(&CStr, &mut [u8]) -> rustix::io::Result<usize>,
) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut all = Vec::new();
    let mut value = vec![0; LARGEST];
    for name in names.split_inclusive(|byte| *byte == 0) {
        let Ok(name) = CStr::from_bytes_with_nul(name) else {
            continue;
        };
        if OF_THE_COMPUTER.contains(&name.to_bytes()) {
            continue;
        }
        if let Ok(length) = get(name, &mut value) {
            all.push((name.to_bytes().to_vec(), value[..length].to_vec()));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isolation::namespaces::copy::same_attributes;
    use crate::isolation::namespaces::sample::Sample;
    use std::fs;

    fn free() -> io::Result<()> {
        Ok(())
    }

    fn carried(source: &Path, target: &Path) -> io::Result<()> {
        let mut stream = Vec::new();
        pack(source, &mut stream)?;
        fs::create_dir(target)?;
        unpack(&stream[..], target, &free)
    }

    #[test]
    fn what_arrives_is_like_what_was_sent() {
        let place = tempfile::tempdir().unwrap();
        let (source, target) = (place.path().join("source"), place.path().join("target"));
        let sample = Sample {
            directory: "root/d",
            leads_to: "/etc/passwd",
        };
        sample.make(&source);
        let directory = fs::File::open(source.join("root/d")).unwrap();
        let is_root = rustix::process::geteuid().is_root();
        if is_root {
            fsetxattr(&directory, c"trusted.overlay.opaque", b"y", XattrFlags::empty()).unwrap();
            fsetxattr(
                &directory,
                c"trusted.overlay.origin",
                b"\0here",
                XattrFlags::empty(),
            )
            .unwrap();
            fsetxattr(&directory, c"user.a=b", b"1\n2\0=3", XattrFlags::empty()).unwrap();
        }

        carried(&source, &target).unwrap();
        sample.check(&source, &target);
        if is_root {
            let came = fs::File::open(target.join("root/d")).unwrap();
            let mut value = [0; 16];
            let read = |name: &CStr, value: &mut [u8]| fgetxattr(&came, name, value);
            assert_eq!(read(c"trusted.overlay.opaque", &mut value), Ok(1));
            assert_eq!(read(c"user.a=b", &mut value), Ok(6));
            assert_eq!(&value[..6], b"1\n2\0=3");
            assert_eq!(read(c"trusted.overlay.origin", &mut value), Err(Errno::NODATA));
        }
    }

    #[test]
    fn a_tree_deeper_than_a_path_may_be_arrives() {
        let place = tempfile::tempdir().unwrap();
        let (source, target) = (place.path().join("source"), place.path().join("target"));
        fs::create_dir(&source).unwrap();
        let name = CString::new(vec![b'n'; 200]).unwrap();
        let mut chain = Chain::open(&source).unwrap();
        for _ in 0..40 {
            mkdirat(chain.here().unwrap(), &name, Mode::RWXU).unwrap();
            chain.enter(&name).unwrap();
        }
        let create = OFlags::WRONLY | OFlags::CREATE;
        openat(chain.here().unwrap(), c"file", create, Mode::RUSR).unwrap();
        carried(&source, &target).unwrap();
        let mut chain = Chain::open(&target).unwrap();
        for _ in 0..40 {
            chain.enter(&name).unwrap();
        }
        let found = statat(chain.here().unwrap(), c"file", AtFlags::SYMLINK_NOFOLLOW).unwrap();
        assert_eq!(found.st_size, 0);
        same_attributes(chain.here().unwrap(), chain.here().unwrap()).unwrap();
    }

    #[test]
    fn a_stream_that_ends_early_or_was_changed_is_an_error() {
        let place = tempfile::tempdir().unwrap();
        let source = place.path().join("source");
        fs::create_dir(&source).unwrap();
        for number in 0..50 {
            fs::write(source.join(format!("f{number}")), vec![number; 3000]).unwrap();
        }
        let mut stream = Vec::new();
        pack(&source, &mut stream).unwrap();
        let into = |name: String, stream: &[u8]| {
            let target = place.path().join(name);
            fs::create_dir(&target).unwrap();
            unpack(stream, &target, &free)
        };
        into("whole".into(), &stream).unwrap();
        for length in [0, 1, stream.len() / 2, stream.len() - 5, stream.len() - 1] {
            assert!(
                into(format!("cut{length}"), &stream[..length]).is_err(),
                "{length}"
            );
        }
        let middle = stream.len() - 8;
        stream[middle] ^= 1;
        assert!(into("changed".into(), &stream).is_err());
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        let place = tempfile::tempdir().unwrap();
        for (number, name) in ["..", ".", "", "a/b", "/etc", "a\0b"].iter().enumerate() {
            let target = place.path().join(number.to_string());
            fs::create_dir(&target).unwrap();
            let mut stream = zstd::stream::write::Encoder::new(Vec::new(), LEVEL).unwrap();
            let frame = postcard::to_allocvec(&Frame::Enter(name.as_bytes().to_vec())).unwrap();
            stream.write_all(&(frame.len() as u32).to_le_bytes()).unwrap();
            stream.write_all(&frame).unwrap();
            let refused = unpack(&stream.finish().unwrap()[..], &target, &free).unwrap_err();
            assert!(refused.to_string().contains("name"), "{name:?}: {refused}");
        }
    }

    #[test]
    fn a_full_disk_ends_it() {
        let place = tempfile::tempdir().unwrap();
        let (source, target) = (place.path().join("source"), place.path().join("target"));
        fs::create_dir_all(&source).unwrap();
        fs::create_dir(&target).unwrap();
        fs::write(source.join("large"), vec![7; LOOK as usize]).unwrap();
        let mut stream = Vec::new();
        pack(&source, &mut stream).unwrap();
        let full = || Err(io::Error::other("no room"));
        assert_eq!(
            unpack(&stream[..], &target, &full).unwrap_err().to_string(),
            "no room"
        );
    }
}
