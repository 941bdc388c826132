//! A layer's archive becomes a directory that overlay can use.
//!
//! Nothing of an archive is believed. Every path is followed below the layer's directory only, as if that were `/`; what
//! is there already is replaced and never written through; numbers are bounded by [`Limits`].

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::io::{self, BufReader, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;

use lzma_rust2::XzReader;
use nullspace_agent::trees::Removal;
use rustix::fs::{
    chmodat, chownat, fchmod, fchown, fsetxattr, futimens, linkat, mkdirat, mknodat, openat, openat2, statat,
    symlinkat, utimensat, AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Timespec, Timestamps, Uid,
    XattrFlags, CWD,
};
use rustix::io::Errno;
use sha2::{Digest, Sha256};

use super::error::{Error, Kind, Result};
use crate::isolation::ids;

/// What a layer may be.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Most entries of a layer.
    pub entries: u64,
    /// Most bytes of a layer, unpacked.
    pub bytes: u64,
    /// How many times its packed size a layer may be, unpacked, once it is over [`free_bytes`](Limits::free_bytes). What
    /// people pack becomes 2 to 20 times as large, and zeros 1000 times.
    pub growth: u64,
    /// Bytes that a layer may be in any case.
    pub free_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            entries: 1_000_000,
            bytes: 64 << 30,
            growth: 200,
            free_bytes: 1 << 30,
        }
    }
}

/// Most bytes that describe one entry, its extended headers included: a path takes 4096, an attribute 65536.
const LONGEST_HEADER: u64 = 1 << 20;
/// Most bytes of a path and of what a symbolic link says. Source: path_resolution(7).
const LONGEST_PATH: usize = 4095;
/// Ids of a machine. Source: isolation, `IDS`.
const IDS: u64 = 65_536;
/// Who owns what belongs to nobody in a machine.
const NOBODY: u32 = 65_534;
/// Bytes written between two looks at the free room.
const LOOK: u64 = 32 << 20;
/// Bytes read at once.
const PIECE: usize = 128 << 10;
/// Zeros at the end of an archive: those that fill the last block, and two blocks more. Some tools leave them out, and
/// others do not mind.
const LONGEST_END: usize = 511 + 2 * 512;
/// Largest window of zstd that is taken, as a power of two: what `zstd --long` uses.
const ZSTD_WINDOW: u32 = 27;
/// Most memory that xz may ask for: twice what `xz -9` does.
const XZ_MEMORY_KIB: u32 = 128 << 10;
/// In front of the name of what is hidden from the layers below. Source: OCI image specification, "Whiteouts".
const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
/// Other names of the file system that whiteouts come from; they mean nothing elsewhere.
const INTERNAL: &[u8] = b".wh..wh.";

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// What was unpacked.
#[derive(Debug, Default)]
pub struct Unpacked {
    /// `sha256:` of the archive without its compression.
    pub diff_id: String,
    /// Devices that were left out: machines have their own.
    pub devices: u64,
    /// Files whose owner is no id of a machine; nobody owns them now.
    pub strangers: u64,
}

impl Unpacked {
    /// Refuses a layer that is another than the image says.
    pub fn check(self, diff_id: &str) -> Result<Self> {
        if self.diff_id == diff_id {
            return Ok(self);
        }
        let text = format!("it unpacks to {}, and the image says {diff_id}", self.diff_id);
        Err(Error::refused(text))
    }
}

/// Unpacks an archive of `packed` bytes into a directory that is there and empty.
pub fn layer(
    archive: impl Read,
    packed: u64,
    root: &Path,
    limits: &Limits,
    room: &dyn Fn() -> Result<()>,
) -> Result<Unpacked> {
    let most = limits
        .bytes
        .min(limits.free_bytes.max(packed.saturating_mul(limits.growth)));
    let shared = Rc::new(Shared {
        left: Cell::new(most),
        header: Cell::new(None),
        fault: RefCell::default(),
    });
    let reader = Reader {
        from: open(archive).map_err(broken)?,
        digest: Sha256::new(),
        shared: shared.clone(),
        most,
        end: LONGEST_END,
    };
    let mut archive = tar::Archive::new(reader);
    let top = openat2(
        CWD,
        root,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::empty(),
    );
    let mut unpack = Unpack {
        top: top.map_err(failed)?,
        near: None,
        folders: BTreeMap::new(),
        is_privileged: ids::is_computers_root(),
        has_ids: ids::is_computers_root() || ids::of_users_machine() > 1,
        left: limits.entries,
        most: limits.entries,
        piece: vec![0; PIECE],
        since_look: 0,
        room,
        done: Unpacked::default(),
    };
    // What went wrong while reading is known better by the reader than by what it told its caller.
    let cause = |error: Error| shared.fault.take().unwrap_or(error);
    let mut entries = archive.entries().map_err(broken)?;
    loop {
        shared.header.set(Some(LONGEST_HEADER));
        let Some(entry) = entries.next() else { break };
        let mut entry = entry.map_err(|error| cause(broken(error)))?;
        shared.header.set(None);
        let shown = shown(&entry.path_bytes());
        unpack
            .entry(&mut entry)
            .and_then(|()| io::copy(&mut entry, &mut io::sink()).map(drop).map_err(broken))
            .map_err(|error| cause(error.at(format_args!("entry {shown}"))))?;
    }
    shared.header.set(None);
    let mut reader = archive.into_inner();
    io::copy(&mut reader, &mut io::sink()).map_err(|error| cause(broken(error)))?;
    unpack.finish()?;
    unpack.done.diff_id = format!("sha256:{}", hex::encode(reader.digest.finalize()));
    Ok(unpack.done)
}

/// Takes the compression off, whichever it is: media types say less than the bytes.
fn open<'a>(mut archive: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut begin = Vec::new();
    archive.by_ref().take(6).read_to_end(&mut begin)?;
    let is_gzip = begin.starts_with(&[0x1f, 0x8b]);
    let is_xz = begin.starts_with(b"\xfd7zXZ\0");
    let is_zstd = matches!(
        begin[..],
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..]
    );
    let archive = BufReader::with_capacity(PIECE, io::Cursor::new(begin).chain(archive));
    Ok(if is_gzip {
        Box::new(flate2::bufread::MultiGzDecoder::new(archive))
    } else if is_xz {
        Box::new(XzReader::new_mem_limit(archive, true, XZ_MEMORY_KIB))
    } else if is_zstd {
        let mut decoder = zstd::stream::read::Decoder::with_buffer(archive)?;
        decoder.window_log_max(ZSTD_WINDOW)?;
        Box::new(decoder)
    } else {
        Box::new(archive)
    })
}

/// What the reader and who uses it through the archive share.
struct Shared {
    /// Bytes that may still come.
    left: Cell<u64>,
    /// Bytes that the description of the next entry may still take, while one is read.
    header: Cell<Option<u64>>,
    fault: RefCell<Option<Error>>,
}

/// The archive without its compression: counted, and hashed.
struct Reader<'a> {
    from: Box<dyn Read + 'a>,
    digest: Sha256,
    shared: Rc<Shared>,
    most: u64,
    /// Zeros that may still be missing at the end.
    end: usize,
}

impl Reader<'_> {
    fn refuse(&self, error: Error) -> io::Error {
        let text = io::Error::other(error.message.clone());
        *self.shared.fault.borrow_mut() = Some(error);
        text
    }
}

impl Read for Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = buffer.len().min(PIECE);
        let read = self.from.read(&mut buffer[..wanted])?;
        if read == 0 && self.shared.header.get().is_some() {
            let zeros = wanted.min(self.end);
            buffer[..zeros].fill(0);
            self.end -= zeros;
            return Ok(zeros);
        }
        let Some(left) = self.shared.left.get().checked_sub(read as u64) else {
            let text = format!(
                "it becomes more than {} MiB when unpacked, which is the most for its size",
                self.most >> 20
            );
            return Err(self.refuse(Error::refused(text)));
        };
        self.shared.left.set(left);
        if let Some(header) = self.shared.header.get() {
            let Some(left) = header.checked_sub(read as u64) else {
                let text = format!("an entry is described by more than {LONGEST_HEADER} bytes");
                return Err(self.refuse(Error::refused(text)));
            };
            self.shared.header.set(Some(left));
        }
        self.digest.update(&buffer[..read]);
        Ok(read)
    }
}

struct Unpack<'a> {
    top: OwnedFd,
    /// The directory of the last entry, which is mostly that of the next one too.
    near: Option<(Vec<u8>, Rc<OwnedFd>)>,
    /// What directories get at the end, when nothing is made in them any more: mode and time.
    folders: BTreeMap<Vec<u8>, (u32, Timestamps)>,
    /// Whether this is the computer's root, whose overlays are of another kind.
    is_privileged: bool,
    /// Whether files can belong to anybody.
    has_ids: bool,
    /// Entries that may still come, of so many. Directories that no entry describes count too.
    left: u64,
    most: u64,
    piece: Vec<u8>,
    since_look: u64,
    room: &'a dyn Fn() -> Result<()>,
    done: Unpacked,
}

impl Unpack<'_> {
    fn entry<R: Read>(&mut self, entry: &mut tar::Entry<'_, R>) -> Result<()> {
        self.count()?;
        let kind = entry.header().entry_type();
        if kind.is_pax_global_extensions() {
            return Ok(());
        }
        let path = clean(&entry.path_bytes())?;
        let attributes = self.attributes(entry)?;
        let Some((folder, name)) = split(&path) else {
            if !kind.is_dir() {
                return Err(Error::refused("has no name"));
            }
            self.own(self.top.as_fd(), &attributes).map_err(failed)?;
            self.folders
                .insert(Vec::new(), (attributes.mode, attributes.times));
            return Ok(());
        };
        if name.starts_with(WHITEOUT) {
            return self.whiteout(folder, name);
        }
        if kind.is_character_special() || kind.is_block_special() {
            self.done.devices += 1;
            return Ok(());
        }
        let text = CString::new(name).map_err(|_| Error::refused("has a zero byte in its name"))?;
        let target = match kind.is_hard_link() {
            true => Some(clean(&entry.link_name_bytes().unwrap_or_default())?),
            false => None,
        };
        if target.as_ref() == Some(&path) {
            // A link to itself says nothing new; its target must not be taken away for it.
            return Ok(());
        }
        let was = self.replace(folder, &text, kind.is_dir())?;
        if kind.is_dir() {
            let near = self.folder(folder)?;
            if was != Some(FileType::Directory) {
                mkdirat(&near, &text, Mode::RWXU).map_err(failed)?;
            }
            let made = openat(&near, &text, DIRECTORY, Mode::empty()).map_err(failed)?;
            if was == Some(FileType::CharacterDevice) {
                self.hide_below(made.as_fd())?;
            }
            self.own(made.as_fd(), &attributes).map_err(failed)?;
            self.folders
                .insert(path.clone(), (attributes.mode, attributes.times));
            return Ok(());
        }
        if let Some(target) = target {
            return self.hard_link(folder, &text, &target);
        }
        if kind.is_symlink() {
            let target = entry.link_name_bytes().unwrap_or_default().into_owned();
            return self.symlink(folder, &text, &target, &attributes);
        }
        if kind == tar::EntryType::Fifo {
            let near = self.folder(folder)?;
            mknodat(&near, &text, FileType::Fifo, Mode::RUSR, 0).map_err(failed)?;
            let mode = self
                .own_by_name(near.as_fd(), &text, &attributes)
                .map_err(failed)?;
            chmodat(&near, &text, mode, AtFlags::empty()).map_err(failed)?;
            return Ok(());
        }
        if kind.is_gnu_sparse() {
            // Its zeros come out of nowhere, and are not counted by the reader.
            return Err(Error::refused("is a sparse file, which is not supported"));
        }
        if kind.is_file() || kind.is_contiguous() {
            let size = entry.size();
            return self.file(folder, &text, entry, size, &attributes);
        }
        Err(Error::refused(format!(
            "is of an unknown kind ({:?})",
            char::from(kind.as_byte())
        )))
    }

    fn count(&mut self) -> Result<()> {
        let Some(left) = self.left.checked_sub(1) else {
            let text = format!(
                "the layer has more than {} entries, the most that is taken",
                self.most
            );
            return Err(Error::refused(text));
        };
        self.left = left;
        Ok(())
    }

    /// The directory of an entry, made if nothing describes it. Links on the way are followed inside the layer.
    fn folder(&mut self, path: &[u8]) -> Result<Rc<OwnedFd>> {
        if let Some((near, opened)) = &self.near {
            if near == path {
                return Ok(opened.clone());
            }
        }
        let opened = Rc::new(self.open_folder(path)?);
        self.near = Some((path.to_owned(), opened.clone()));
        Ok(opened)
    }

    fn open_folder(&mut self, path: &[u8]) -> Result<OwnedFd> {
        match self.open_existing(path) {
            Err(Errno::NOENT) => {}
            opened => return opened.map_err(failed),
        }
        let mut at = self.open_existing(b"").map_err(failed)?;
        let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        let ends: Vec<usize> = slashes.map(|(at, _)| at).chain([path.len()]).collect();
        for so_far in ends.into_iter().map(|end| &path[..end]) {
            at = match self.open_existing(so_far) {
                Err(Errno::NOENT) => {
                    self.count()?;
                    let (_, name) = split(so_far).unwrap_or_default();
                    mkdirat(&at, name, Mode::RWXU).map_err(failed)?;
                    let made = openat(&at, name, DIRECTORY, Mode::empty()).map_err(failed)?;
                    // The mask of this process takes nothing away here.
                    fchmod(&made, Mode::from_raw_mode(0o755)).map_err(failed)?;
                    made
                }
                opened => opened.map_err(failed)?,
            };
        }
        Ok(at)
    }

    /// Takes away what an entry replaces: everything but a directory that is described again. Says what was there.
    fn replace(&mut self, folder: &[u8], name: &CStr, by_directory: bool) -> Result<Option<FileType>> {
        let near = self.folder(folder)?;
        let was = match statat(&near, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(None),
            found => FileType::from_raw_mode(found.map_err(failed)?.st_mode),
        };
        if !(by_directory && was == FileType::Directory) {
            let removal = Removal {
                by_force: true,
                is_over: None,
            };
            removal.run_at(near.as_fd(), name).map_err(failed_io)?;
            self.near = None;
        }
        Ok(Some(was))
    }

    /// Hides what the layers below have under a name, or in a directory. What this layer has there stays.
    fn whiteout(&mut self, folder: &[u8], name: &[u8]) -> Result<()> {
        if name == OPAQUE {
            let near = self.folder(folder)?;
            return self.hide_below(near.as_fd());
        }
        if name.starts_with(INTERNAL) {
            return Ok(());
        }
        let hidden = &name[WHITEOUT.len()..];
        if matches!(hidden, b"" | b"." | b"..") {
            return Err(Error::refused("hides something without a name"));
        }
        let text = CString::new(hidden).map_err(|_| Error::refused("has a zero byte in its name"))?;
        let near = self.folder(folder)?;
        match mknodat(&near, &text, FileType::CharacterDevice, Mode::empty(), 0) {
            Err(Errno::EXIST) => {}
            made => return made.map_err(failed),
        }
        match openat(&near, &text, DIRECTORY, Mode::empty()) {
            Ok(directory) => self.hide_below(directory.as_fd()),
            // A file hides what is below anyway.
            Err(_) => Ok(()),
        }
    }

    /// Marks a directory as overlay does: with the name that the engine's rights let machines be mounted with.
    fn hide_below(&self, directory: BorrowedFd<'_>) -> Result<()> {
        let name = if self.is_privileged {
            c"trusted.overlay.opaque"
        } else {
            c"user.overlay.opaque"
        };
        fsetxattr(directory, name, b"y", XattrFlags::empty()).map_err(failed)
    }

    fn hard_link(&mut self, folder: &[u8], name: &CStr, target: &[u8]) -> Result<()> {
        let missing = || {
            let text = format!(
                "is a hard link to {}, which is no file of the same layer",
                shown(target)
            );
            Error::refused(text)
        };
        let (target_folder, target_name) = split(target).ok_or_else(missing)?;
        let from = self.open_existing(target_folder).map_err(|_| missing())?;
        let target_name = CString::new(target_name).map_err(|_| missing())?;
        let found = statat(&from, &target_name, AtFlags::SYMLINK_NOFOLLOW).map_err(|_| missing())?;
        let kind = FileType::from_raw_mode(found.st_mode);
        if !matches!(kind, FileType::RegularFile | FileType::Symlink | FileType::Fifo) {
            return Err(missing());
        }
        let near = self.folder(folder)?;
        linkat(&from, &target_name, &near, name, AtFlags::empty()).map_err(failed)
    }

    fn open_existing(&self, path: &[u8]) -> rustix::io::Result<OwnedFd> {
        let path = if path.is_empty() { &b"."[..] } else { path };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        openat2(&self.top, path, flags, Mode::empty(), inside)
    }

    fn symlink(&mut self, folder: &[u8], name: &CStr, target: &[u8], attributes: &Attributes) -> Result<()> {
        if target.is_empty() || target.len() > LONGEST_PATH || target.contains(&0) {
            return Err(Error::refused("is a symbolic link that leads nowhere a link can"));
        }
        let near = self.folder(folder)?;
        symlinkat(target, &near, name).map_err(failed)?;
        self.own_by_name(near.as_fd(), name, attributes).map_err(failed)?;
        Ok(())
    }

    fn file(
        &mut self,
        folder: &[u8],
        name: &CStr,
        from: &mut impl Read,
        size: u64,
        attributes: &Attributes,
    ) -> Result<()> {
        let near = self.folder(folder)?;
        let create = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = openat(&near, name, create, Mode::RUSR | Mode::WUSR).map_err(failed)?;
        let mut to = std::fs::File::from(made);
        let mut written = 0;
        loop {
            let read = from.read(&mut self.piece).map_err(broken)?;
            if read == 0 {
                break;
            }
            self.since_look += read as u64;
            if self.since_look >= LOOK {
                self.since_look = 0;
                (self.room)()?;
            }
            to.write_all(&self.piece[..read]).map_err(failed_io)?;
            written += read as u64;
        }
        if written != size {
            let text = format!("is cut off: {written} of {size} bytes are there");
            return Err(Error::refused(text));
        }
        self.own(to.as_fd(), attributes).map_err(failed)?;
        fchmod(&to, self.mode(attributes)).map_err(failed)?;
        self.mark(to.as_fd(), attributes)?;
        futimens(&to, &attributes.times).map_err(failed)
    }

    /// Attributes that mean something in a machine. Those of overlay itself are ours alone.
    fn mark(&self, file: BorrowedFd<'_>, attributes: &Attributes) -> Result<()> {
        for (name, value) in &attributes.extended {
            match fsetxattr(file, name.as_c_str(), value, XattrFlags::empty()) {
                Ok(()) | Err(Errno::NOTSUP | Errno::PERM) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(())
    }

    fn attributes<R: Read>(&mut self, entry: &mut tar::Entry<'_, R>) -> Result<Attributes> {
        let mut extended = Vec::new();
        if let Some(extensions) = entry.pax_extensions().map_err(broken)? {
            for extension in extensions {
                let extension = extension.map_err(broken)?;
                let key = extension.key_bytes();
                if key.starts_with(b"GNU.sparse.") {
                    return Err(Error::refused("is a sparse file of a form that is not supported"));
                }
                let Some(name) = key.strip_prefix(b"SCHILY.xattr.") else {
                    continue;
                };
                let is_users = name.starts_with(b"user.") && !name.starts_with(b"user.overlay.");
                if is_users || name == b"security.capability" {
                    let name =
                        CString::new(name).map_err(|_| Error::refused("has an attribute without a name"))?;
                    extended.push((name, extension.value_bytes().to_owned()));
                }
            }
        }
        let header = entry.header();
        let mut is_stranger = false;
        let mut id = |id: io::Result<u64>| {
            let id = id.map_err(broken)?;
            is_stranger |= id >= IDS;
            Ok(u32::try_from(id).ok().filter(|_| id < IDS).unwrap_or(NOBODY))
        };
        let (uid, gid) = (id(header.uid())?, id(header.gid())?);
        self.done.strangers += u64::from(is_stranger);
        let moment = Timespec {
            // One before 1970 is none here.
            tv_sec: header
                .mtime()
                .ok()
                .and_then(|seconds| seconds.try_into().ok())
                .unwrap_or_default(),
            tv_nsec: 0,
        };
        Ok(Attributes {
            mode: header.mode().map_err(broken)? & 0o7777,
            uid: Uid::from_raw(uid),
            gid: Gid::from_raw(gid),
            times: Timestamps {
                last_access: moment,
                last_modification: moment,
            },
            extended,
        })
    }

    /// Without rights to give files away, one belongs to this process, and runs as nobody else.
    fn mode(&self, attributes: &Attributes) -> Mode {
        let kept = if self.has_ids { 0o7777 } else { 0o1777 };
        Mode::from_raw_mode(attributes.mode & kept)
    }

    /// The ids of a user end at 65535; what belongs to a later one stays this process' own.
    fn as_far_as_mapped(&self, owned: rustix::io::Result<()>) -> rustix::io::Result<()> {
        match owned {
            Err(rustix::io::Errno::INVAL) if !self.is_privileged => Ok(()),
            owned => owned,
        }
    }

    fn own(&self, file: BorrowedFd<'_>, attributes: &Attributes) -> rustix::io::Result<()> {
        if !self.has_ids {
            return Ok(());
        }
        self.as_far_as_mapped(fchown(file, Some(attributes.uid), Some(attributes.gid)))
    }

    /// The same for what is not opened, and its time. Answers the mode that it may have.
    fn own_by_name(
        &self,
        near: BorrowedFd<'_>,
        name: &CStr,
        attributes: &Attributes,
    ) -> rustix::io::Result<Mode> {
        if self.has_ids {
            let (uid, gid) = (Some(attributes.uid), Some(attributes.gid));
            self.as_far_as_mapped(chownat(near, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW))?;
        }
        utimensat(near, name, &attributes.times, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(self.mode(attributes))
    }

    /// Gives directories their modes and times, what is below first.
    fn finish(&mut self) -> Result<()> {
        for (path, (mode, times)) in std::mem::take(&mut self.folders).into_iter().rev() {
            let opened = match split(&path) {
                None => self.open_existing(b""),
                Some((folder, name)) => self
                    .open_existing(folder)
                    .and_then(|near| openat(near, name, DIRECTORY, Mode::empty())),
            };
            // A later entry may have put something else in its place.
            let Ok(directory) = opened else { continue };
            let kept = if self.has_ids { 0o7777 } else { 0o1777 };
            fchmod(&directory, Mode::from_raw_mode(mode & kept)).map_err(failed)?;
            futimens(&directory, &times).map_err(failed)?;
        }
        Ok(())
    }
}

struct Attributes {
    mode: u32,
    uid: Uid,
    gid: Gid,
    times: Timestamps,
    extended: Vec<(CString, Vec<u8>)>,
}

/// A path below the layer's directory, without slashes at its ends; empty for that directory itself.
fn clean(path: &[u8]) -> Result<Vec<u8>> {
    if path.len() > LONGEST_PATH {
        return Err(Error::refused(format!(
            "has a path of more than {LONGEST_PATH} bytes"
        )));
    }
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                return Err(Error::refused(format!(
                    "leads out: there is a `..` in {}",
                    shown(path)
                )))
            }
            part => parts.push(part),
        }
    }
    Ok(parts.join(&b'/'))
}

/// The directory of a path, and the name in it.
fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    if path.is_empty() {
        return None;
    }
    Some(match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (&b""[..], path),
    })
}

/// A name for an error: on one line, and not too long.
fn shown(path: &[u8]) -> String {
    const MOST: usize = 200;
    let text = String::from_utf8_lossy(path);
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{:?}...", &text[..end]),
        None => format!("{text:?}"),
    }
}

pub(super) fn broken(error: io::Error) -> Error {
    Error::refused(format!("the archive cannot be read: {error}"))
}

fn failed(error: Errno) -> Error {
    failed_io(error.into())
}

fn failed_io(error: io::Error) -> Error {
    let kind = match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::NOSPC | Errno::DQUOT) => Kind::NoRoom,
        // What the archive asked for cannot be: a name too long, a file where a directory is to be, a circle of links.
        Some(
            Errno::NAMETOOLONG | Errno::NOTDIR | Errno::LOOP | Errno::ISDIR | Errno::EXIST | Errno::MLINK,
        ) => Kind::Refused,
        _ => Kind::Failed,
    };
    Error::new(kind, format!("it cannot be written: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::thread::{set_thread_res_gid, set_thread_res_uid};
    use std::os::unix::fs::{FileTypeExt, MetadataExt};

    fn archive() -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        let mut add = |path: &str, kind: tar::EntryType, mode: u32, data: &[u8]| {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(kind);
            header.set_mode(mode);
            header.set_uid(1234);
            header.set_gid(4321);
            header.set_size(data.len() as u64);
            builder.append_data(&mut header, path, data).unwrap();
        };
        add("closed", tar::EntryType::Directory, 0o500, b"");
        add("closed/file", tar::EntryType::Regular, 0o4755, b"text");
        add("closed/.wh.hidden", tar::EntryType::Regular, 0, b"");
        add("closed/.wh..wh..opq", tar::EntryType::Regular, 0, b"");
        builder.into_inner().unwrap()
    }

    #[test]
    fn every_compression_is_taken_off() {
        let plain = archive();
        let gzip = |bytes: &[u8]| {
            let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            packed.write_all(bytes).unwrap();
            packed.finish().unwrap()
        };
        let xz = |bytes: &[u8]| {
            let options = lzma_rust2::XzOptions::with_preset(1);
            let mut packed = lzma_rust2::XzWriter::new(Vec::new(), options).unwrap();
            packed.write_all(bytes).unwrap();
            packed.finish().unwrap()
        };
        let zstd = zstd::encode_all(&plain[..], 1).unwrap();
        for packed in [gzip(&plain), xz(&plain), zstd, plain.clone()] {
            let mut found = Vec::new();
            open(&packed[..]).unwrap().read_to_end(&mut found).unwrap();
            assert!(found == plain, "{:x?}", &packed[..6]);
        }
    }

    /// In a thread whose rights are those of nobody: the kernel keeps them by thread.
    #[test]
    fn an_engine_without_rights_unpacks_what_it_may_own() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: only root can become somebody else");
            return;
        }
        let place = tempfile::tempdir().unwrap();
        let root = place.path().join("root");
        std::fs::create_dir(&root).unwrap();
        for path in [place.path(), &root] {
            std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let to = root.clone();
        let work = move || {
            let (uid, gid) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
            set_thread_res_gid(gid, gid, gid).unwrap();
            set_thread_res_uid(uid, uid, uid).unwrap();
            let archive = archive();
            let size = archive.len() as u64;
            layer(&archive[..], size, &to, &Limits::default(), &|| Ok(()))
        };
        let unpacked = std::thread::spawn(work).join().unwrap().unwrap();
        assert!(unpacked.diff_id.starts_with("sha256:"));
        let closed = root.join("closed");
        let found = |path: &Path| path.symlink_metadata().unwrap();
        assert_eq!(
            (found(&closed).mode() & 0o7777, found(&closed).uid()),
            (0o500, NOBODY)
        );
        assert_eq!(
            found(&closed.join("file")).mode() & 0o7777,
            0o755,
            "nobody runs it as its owner"
        );
        assert!(found(&closed.join("hidden")).file_type().is_char_device());
        assert!(rustix::fs::lgetxattr(&closed, c"user.overlay.opaque", &mut [0; 8][..]).is_ok());
    }
}
