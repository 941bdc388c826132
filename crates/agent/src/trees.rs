//! Directory trees that somebody else made: walked and removed without recursion, however deep they are, with a bounded
//! number of descriptors, and without following a symbolic link.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{
    chmodat, fchmod, fstat, ioctl_getflags, ioctl_setflags, openat, renameat_with, statat, unlinkat, AtFlags,
    Dir, FileType, IFlags, Mode, OFlags, RenameFlags, CWD,
};
use rustix::io::Errno;

/// Directories of one walk that are open at once. Deeper, the outer ones are closed and found again by `..`.
const OPEN: usize = 16;
/// Levels of a walk, so that its memory is bounded too.
const DEEPEST: usize = 100_000;
/// Tries to empty a directory that others may be filling.
const PASSES: usize = 4;

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// Directories below each other, from a top one to the one where a walk is.
pub struct Chain(Vec<Level>);

struct Level {
    /// `None` while it is closed.
    directory: Option<Dir>,
    name: CString,
    identity: Identity,
    /// Where its reading goes on.
    offset: i64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    fn of(fd: BorrowedFd<'_>) -> io::Result<Self> {
        let found = fstat(fd)?;
        Ok(Self {
            device: found.st_dev,
            inode: found.st_ino,
        })
    }
}

impl Chain {
    /// Begins at a directory that is open for reading.
    pub fn new(top: OwnedFd) -> io::Result<Self> {
        let mut chain = Self(Vec::new());
        chain.push(top, CString::default())?;
        Ok(chain)
    }

    /// Begins at a path. Only its last part must not be a link.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::new(openat(CWD, path, DIRECTORY, Mode::empty())?)
    }

    /// The directory where it is.
    pub fn here(&self) -> io::Result<BorrowedFd<'_>> {
        let directory = self.0.last().and_then(|level| level.directory.as_ref());
        Ok(directory.ok_or(Errno::BADF)?.fd()?)
    }

    /// Levels below the top.
    pub fn depth(&self) -> usize {
        self.0.len() - 1
    }

    /// The way from the top, as a path.
    pub fn path(&self) -> Vec<u8> {
        let names: Vec<&[u8]> = self.0[1..].iter().map(|level| level.name.to_bytes()).collect();
        names.join(&b'/')
    }

    /// Goes to a directory below.
    pub fn enter(&mut self, name: &CStr) -> io::Result<()> {
        if self.depth() >= DEEPEST {
            let text = format!("more than {DEEPEST} directories in each other");
            return Err(io::Error::other(text));
        }
        let below = openat(self.here()?, name, DIRECTORY, Mode::empty())?;
        self.push(below, name.to_owned())
    }

    fn push(&mut self, directory: OwnedFd, name: CString) -> io::Result<()> {
        self.0.push(Level {
            identity: Identity::of(directory.as_fd())?,
            directory: Some(Dir::new(directory)?),
            name,
            offset: 0,
        });
        if let Some(outer) = self.0.len().checked_sub(OPEN + 1) {
            self.0[outer].directory = None;
        }
        Ok(())
    }

    /// Goes back to the directory above, and says what it came from and whether that had to be opened again. One that is
    /// not above any more, because somebody moved what is below, is an error.
    pub fn leave(&mut self) -> io::Result<(CString, bool)> {
        let left = self.0.pop().ok_or(Errno::BADF)?;
        let here = self.0.last_mut().ok_or(Errno::BADF)?;
        if here.directory.is_some() {
            return Ok((left.name, false));
        }
        let left_directory = left.directory.as_ref().ok_or(Errno::BADF)?;
        let above = openat(left_directory.fd()?, "..", DIRECTORY, Mode::empty())?;
        if Identity::of(above.as_fd())? != here.identity {
            return Err(io::Error::other("a directory was moved meanwhile"));
        }
        here.directory = Some(Dir::new(above)?);
        Ok((left.name, true))
    }
}

/// What a walk met.
pub enum Met {
    /// Something in the directory where the walk is. A directory is not entered unless [`Walk::enter`] is called.
    Entry(CString, FileType),
    /// The end of the directory where the walk is; to be left with [`Walk::leave`].
    End,
}

/// Reads a tree, the content of a directory before what follows it.
pub struct Walk(Chain);

impl Walk {
    /// Begins at a directory.
    pub fn new(chain: Chain) -> Self {
        Self(chain)
    }

    /// Where it is.
    pub fn chain(&self) -> &Chain {
        &self.0
    }

    /// The next thing it meets.
    pub fn step(&mut self) -> io::Result<Met> {
        loop {
            let level = self.0 .0.last_mut().ok_or(Errno::BADF)?;
            let directory = level.directory.as_mut().ok_or(Errno::BADF)?;
            let entry = match directory.read() {
                None => return Ok(Met::End),
                Some(entry) => entry?,
            };
            level.offset = entry.offset();
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let kind = match entry.file_type() {
                FileType::Unknown => match statat(directory.fd()?, name, AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(found) => FileType::from_raw_mode(found.st_mode),
                    Err(Errno::NOENT) => continue,
                    Err(error) => return Err(error.into()),
                },
                kind => kind,
            };
            return Ok(Met::Entry(name.to_owned(), kind));
        }
    }

    /// Begins again in the directory where it is.
    fn rewind(&mut self) -> io::Result<()> {
        let directory = self.0 .0.last_mut().and_then(|level| level.directory.as_mut());
        directory.ok_or(Errno::BADF)?.rewind();
        Ok(())
    }

    /// Reads a directory that was met.
    pub fn enter(&mut self, name: &CStr) -> io::Result<()> {
        self.0.enter(name)
    }

    /// Goes on in the directory above; `false` at the top, where the walk ends.
    pub fn leave(&mut self) -> io::Result<bool> {
        if self.0.depth() == 0 {
            return Ok(false);
        }
        let (_, reopened) = self.0.leave()?;
        if reopened {
            let level = self.0 .0.last_mut().ok_or(Errno::BADF)?;
            let directory = level.directory.as_mut().ok_or(Errno::BADF)?;
            directory.seek(level.offset)?;
        }
        Ok(true)
    }
}

/// How to remove.
#[derive(Clone, Copy, Default)]
pub struct Removal<'a> {
    /// Whether modes, and flags such as `immutable`, do not keep anything: for trees that nobody else uses any more.
    /// What another file system holds is left alone then.
    pub by_force: bool,
    /// Asked now and then; when it says so, the removal ends half-way with [`io::ErrorKind::Interrupted`].
    pub is_over: Option<&'a dyn Fn() -> bool>,
}

/// Entries between two looks at whether a removal is over.
const PATIENCE: usize = 256;

impl Removal<'_> {
    /// Removes a file, or a directory and all in it. Whatever can be removed is, also when something cannot.
    pub fn run(&self, path: &Path) -> io::Result<()> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(Errno::INVAL.into());
        };
        let parent = if parent.as_os_str().is_empty() {
            Path::new(".")
        } else {
            parent
        };
        // To be searched, not read.
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let parent = openat(CWD, parent, flags, Mode::empty())?;
        let name = CString::new(name.as_bytes()).map_err(|_| Errno::INVAL)?;
        self.run_at(parent.as_fd(), &name)
    }

    /// The same, of a name in a directory that is open.
    pub fn run_at(&self, parent: BorrowedFd<'_>, name: &CStr) -> io::Result<()> {
        self.within(parent, name, DEEPEST)
    }

    fn within(&self, parent: BorrowedFd<'_>, name: &CStr, deepest: usize) -> io::Result<()> {
        let found = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(found.st_mode) != FileType::Directory {
            return self.unlink(parent, name, AtFlags::empty());
        }
        let is_full = |error: &io::Error| error.raw_os_error() == Some(Errno::NOTEMPTY.raw_os_error());
        let mut passes = 1;
        loop {
            let removed = self
                .empty(parent, name, deepest)
                .and_then(|()| self.unlink(parent, name, AtFlags::REMOVEDIR));
            match removed {
                Err(error) if is_full(&error) && passes < PASSES => passes += 1,
                removed => return removed,
            }
        }
    }

    /// Removes what is in a directory. A failure does not end it; the first one is told.
    fn empty(&self, parent: BorrowedFd<'_>, name: &CStr, deepest: usize) -> io::Result<()> {
        let top = self.open(parent, name)?;
        let file_system = Identity::of(top.as_fd())?.device;
        let mut moved = 0;
        loop {
            let moved_before = moved;
            let mut failure: Option<io::Error> = None;
            let mut seen = 0;
            let mut walk = Walk::new(Chain::new(top.try_clone()?)?);
            // The copy shares its position with the original.
            walk.rewind()?;
            loop {
                seen += 1;
                if seen % PATIENCE == 0 && self.is_over.is_some_and(|is_over| is_over()) {
                    return Err(io::ErrorKind::Interrupted.into());
                }
                let mut is_read_again = false;
                let met = walk.step()?;
                let here = walk.chain().here()?;
                let done = match met {
                    // Deeper than walks go: moved up, and gone through afterwards.
                    Met::Entry(name, FileType::Directory) if walk.chain().depth() >= deepest => {
                        self.move_up(here, &name, top.as_fd(), &mut moved)
                    }
                    Met::Entry(name, FileType::Directory) => match self.open(here, &name) {
                        Ok(below) if self.by_force && Identity::of(below.as_fd())?.device != file_system => {
                            Err(Errno::XDEV.into())
                        }
                        Ok(below) => walk.0.push(below, name),
                        Err(error) => Err(error),
                    },
                    Met::Entry(name, _) => self.unlink(here, &name, AtFlags::empty()),
                    Met::End if walk.chain().depth() == 0 => break,
                    Met::End => {
                        let (name, reopened) = walk.0.leave()?;
                        is_read_again = reopened;
                        self.unlink(walk.chain().here()?, &name, AtFlags::REMOVEDIR)
                    }
                };
                match done {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => failure = failure.or(Some(error)),
                    Ok(()) => {}
                }
                // A directory that was closed is read from its beginning. What could not be removed would be met again,
                // without an end.
                if is_read_again && failure.is_some() {
                    break;
                }
            }
            match failure {
                Some(failure) => return Err(failure),
                None if moved == moved_before => return Ok(()),
                None => {}
            }
        }
    }

    fn open(&self, parent: BorrowedFd<'_>, name: &CStr) -> io::Result<OwnedFd> {
        let opened = match openat(parent, name, DIRECTORY, Mode::empty()) {
            Err(Errno::ACCESS) if self.by_force => {
                chmodat(parent, name, Mode::RWXU, AtFlags::empty())?;
                openat(parent, name, DIRECTORY, Mode::empty())
            }
            opened => opened,
        }?;
        if self.by_force && !Mode::from_raw_mode(fstat(&opened)?.st_mode).contains(Mode::RWXU) {
            let _ = fchmod(&opened, Mode::RWXU);
        }
        Ok(opened)
    }

    fn unlink(&self, parent: BorrowedFd<'_>, name: &CStr, flags: AtFlags) -> io::Result<()> {
        match unlinkat(parent, name, flags) {
            Err(Errno::PERM | Errno::ACCESS) if self.by_force => {
                release(parent, name);
                Ok(unlinkat(parent, name, flags)?)
            }
            done => Ok(done?),
        }
    }

    fn move_up(
        &self,
        from: BorrowedFd<'_>,
        name: &CStr,
        top: BorrowedFd<'_>,
        moved: &mut u64,
    ) -> io::Result<()> {
        loop {
            let to = format!("moved-{moved}");
            *moved += 1;
            match renameat_with(from, name, top, &to, RenameFlags::NOREPLACE) {
                Err(Errno::EXIST) => {}
                Err(Errno::PERM | Errno::ACCESS) if self.by_force => {
                    release(from, name);
                    return Ok(renameat_with(from, name, top, &to, RenameFlags::NOREPLACE)?);
                }
                done => return Ok(done?),
            }
        }
    }
}

/// Moves something within a file system, whatever its mode and flags.
pub fn rename_by_force(from: &Path, to: &Path) -> io::Result<()> {
    match std::fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let (Some(parent), Some(name)) = (from.parent(), from.file_name()) else {
                return Err(error);
            };
            let parent = openat(CWD, parent, DIRECTORY, Mode::empty())?;
            let name = CString::new(name.as_bytes()).map_err(|_| Errno::INVAL)?;
            release(parent.as_fd(), &name);
            std::fs::rename(from, to)
        }
        done => done,
    }
}

/// Takes away what keeps a name from being removed: flags of it and of its directory, and modes.
fn release(parent: BorrowedFd<'_>, name: &CStr) {
    let clear = |fd: BorrowedFd<'_>| {
        let keeping = IFlags::IMMUTABLE | IFlags::APPEND;
        if let Ok(flags) = ioctl_getflags(fd) {
            if flags.intersects(keeping) {
                let _ = ioctl_setflags(fd, flags.difference(keeping));
            }
        }
    };
    clear(parent);
    if fstat(parent).is_ok_and(|found| !Mode::from_raw_mode(found.st_mode).contains(Mode::RWXU)) {
        let _ = fchmod(parent, Mode::RWXU);
    }
    let Ok(found) = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) else {
        return;
    };
    let kind = FileType::from_raw_mode(found.st_mode);
    if kind == FileType::Directory && !Mode::from_raw_mode(found.st_mode).contains(Mode::RWXU) {
        let _ = chmodat(parent, name, Mode::RWXU, AtFlags::empty());
    }
    // Nothing else has flags, and opening a device or a pipe may do something.
    if matches!(kind, FileType::Directory | FileType::RegularFile) {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        if let Ok(opened) = openat(parent, name, flags, Mode::empty()) {
            clear(opened.as_fd());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::fs;
    use std::path::PathBuf;

    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("nullspace-trees-{name}-{}", std::process::id()));
            fs::create_dir(&path).unwrap();
            Self(path)
        }

        fn at(&self, name: &str) -> PathBuf {
            self.0.join(name)
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = FORCE.run(&self.0);
        }
    }

    const FORCE: Removal<'static> = Removal {
        by_force: true,
        is_over: None,
    };

    /// Directories in each other, with a file in each.
    fn nest(top: &Path, depth: usize) {
        fs::create_dir(top).unwrap();
        let mut at = openat(CWD, top, DIRECTORY, Mode::empty()).unwrap();
        for _ in 0..depth {
            rustix::fs::mkdirat(&at, "d", Mode::RWXU).unwrap();
            openat(&at, "f", OFlags::CREATE | OFlags::WRONLY, Mode::RWXU).unwrap();
            at = openat(&at, "d", DIRECTORY, Mode::empty()).unwrap();
        }
    }

    /// Entries of a tree.
    fn count(top: &Path) -> usize {
        let mut walk = Walk::new(Chain::open(top).unwrap());
        let mut entries = 0;
        loop {
            match walk.step().unwrap() {
                Met::Entry(name, kind) => {
                    entries += 1;
                    if kind == FileType::Directory {
                        walk.enter(&name).unwrap();
                    }
                }
                Met::End if !walk.leave().unwrap() => return entries,
                Met::End => {}
            }
        }
    }

    fn descriptors() -> usize {
        fs::read_dir("/proc/self/fd").unwrap().count()
    }

    #[test]
    fn a_tree_of_any_depth_is_walked_and_removed_on_a_small_stack_with_few_descriptors() {
        let place = Place::new("deep");
        let top = place.at("top");
        let work = move || {
            nest(&top, 6_000);
            assert_eq!(count(&top), 12_000);
            let before = descriptors();
            let most = std::cell::Cell::new(0);
            let is_over = || {
                most.set(most.get().max(descriptors()));
                false
            };
            let removal = Removal {
                by_force: true,
                is_over: Some(&is_over),
            };
            removal.run(&top).unwrap();
            assert!(!top.exists());
            // Other tests of this process open some too.
            assert!(most.get() < before + 60, "{} after {before}", most.get());
        };
        let small = std::thread::Builder::new().stack_size(128 << 10);
        small.spawn(work).unwrap().join().unwrap();
    }

    #[test]
    fn what_is_deeper_than_a_walk_goes_is_removed_too() {
        let place = Place::new("deeper");
        let top = place.at("top");
        nest(&top, 100);
        fs::create_dir(top.join("moved-0")).unwrap();
        let parent = openat(CWD, &place.0, DIRECTORY, Mode::empty()).unwrap();
        FORCE.within(parent.as_fd(), c"top", 3).unwrap();
        assert!(!top.exists());
    }

    #[test]
    fn wide_and_deep_directories_are_walked_whole() {
        let place = Place::new("wide");
        let top = place.at("top");
        fs::create_dir(&top).unwrap();
        for number in 0..40 {
            nest(&top.join(number.to_string()), 40);
        }
        for number in 0..5_000 {
            fs::write(top.join(format!("file-{number}")), "").unwrap();
        }
        assert_eq!(count(&top), 40 * 81 + 5_000);
        Removal::default().run(&top).unwrap();
        assert!(!top.exists());
    }

    #[test]
    fn names_of_any_bytes_and_links_are_removed_and_not_followed() {
        let place = Place::new("names");
        let top = place.at("top");
        fs::create_dir(&top).unwrap();
        fs::create_dir(place.at("outside")).unwrap();
        fs::write(place.at("outside/file"), "stays").unwrap();
        for name in [&b"\xff\xfe\n"[..], b" ", b"...", b"\x01-rf", &[0xc3; 255]] {
            fs::write(top.join(OsStr::from_bytes(name)), "").unwrap();
        }
        fs::create_dir(top.join(OsStr::from_bytes(b"\xff"))).unwrap();
        std::os::unix::fs::symlink("../outside", top.join("link")).unwrap();
        std::os::unix::fs::symlink("nowhere", top.join("dangling")).unwrap();
        Removal::default().run(&top).unwrap();
        assert!(!top.exists());
        assert_eq!(fs::read_to_string(place.at("outside/file")).unwrap(), "stays");
        // A link at the top is itself what is removed.
        std::os::unix::fs::symlink("outside", place.at("link")).unwrap();
        FORCE.run(&place.at("link")).unwrap();
        assert!(place.at("outside/file").exists());
        let missing = FORCE.run(&place.at("missing")).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn flags_and_modes_keep_nothing_from_a_removal_by_force() {
        let place = Place::new("flags");
        let top = place.at("top");
        fs::create_dir_all(top.join("closed/below")).unwrap();
        fs::create_dir_all(top.join("appended")).unwrap();
        fs::write(top.join("appended/file"), "").unwrap();
        fs::write(top.join("fixed"), "").unwrap();
        fs::set_permissions(
            top.join("closed"),
            std::os::unix::fs::PermissionsExt::from_mode(0o0),
        )
        .unwrap();
        let flag = |path: &Path, flag: IFlags| {
            let opened = fs::File::open(path).unwrap();
            ioctl_getflags(&opened).and_then(|flags| ioctl_setflags(&opened, flags | flag))
        };
        let flagged = flag(&top.join("fixed"), IFlags::IMMUTABLE)
            .and_then(|()| flag(&top.join("appended/file"), IFlags::APPEND))
            .and_then(|()| flag(&top.join("appended"), IFlags::APPEND))
            .and_then(|()| flag(&top, IFlags::IMMUTABLE));
        match flagged {
            Err(error) => {
                eprintln!("without flags, which need root and a file system that has them: {error}")
            }
            Ok(()) => {
                Removal::default().run(&top).unwrap_err();
                assert!(top.join("fixed").exists());
                rename_by_force(&top, &place.at("moved")).unwrap();
                rename_by_force(&place.at("moved"), &top).unwrap();
                flag(&top, IFlags::IMMUTABLE).unwrap();
            }
        }
        FORCE.run(&top).unwrap();
        assert!(!top.exists());
    }

    #[test]
    fn a_removal_that_is_over_stops_and_the_next_one_goes_on() {
        let place = Place::new("over");
        let top = place.at("top");
        nest(&top, 2_000);
        let looks = std::cell::Cell::new(0);
        let is_over = || {
            looks.set(looks.get() + 1);
            looks.get() > 3
        };
        let removal = Removal {
            by_force: true,
            is_over: Some(&is_over),
        };
        let error = removal.run(&top).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Interrupted);
        assert!(top.exists());
        FORCE.run(&top).unwrap();
        assert!(!top.exists());
    }
}
