//! A tree with what a copy of one can get wrong, for the tests of all that copy trees.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{lchown, symlink, FileExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{mknodat, utimensat, AtFlags, FileType, Mode, Timespec, Timestamps, CWD};

/// A name that is no text.
const NO_TEXT: &[u8] = b"\xff\n";

/// A tree whose directories lie below `directory`.
pub struct Sample {
    /// Such as `root/d`.
    pub directory: &'static str,
    /// Where its symlink leads.
    pub leads_to: &'static str,
}

impl Sample {
    /// Makes it. Owners are others only where root makes it.
    pub fn make(&self, source: &Path) {
        let directory = source.join(self.directory);
        fs::create_dir_all(directory.join("e")).unwrap();
        fs::write(directory.join("file"), "content\n").unwrap();
        fs::write(source.join(OsStr::from_bytes(NO_TEXT)), "").unwrap();
        fs::hard_link(directory.join("file"), directory.join("e/link")).unwrap();
        fs::hard_link(directory.join("file"), source.join("link")).unwrap();
        symlink(self.leads_to, source.join("symlink")).unwrap();
        let pipe = source.join("pipe");
        mknodat(CWD, &pipe, FileType::Fifo, Mode::from_raw_mode(0o640), 0).unwrap();
        // What overlay leaves where something was removed.
        let whiteout = source.join("whiteout");
        mknodat(CWD, &whiteout, FileType::CharacterDevice, Mode::empty(), 0).unwrap();
        let sparse = fs::File::create(source.join("sparse")).unwrap();
        sparse.write_all_at(b"begin", 0).unwrap();
        sparse.write_all_at(b"middle", 8 << 20).unwrap();
        sparse.set_len(64 << 20).unwrap();
        if rustix::process::geteuid().is_root() {
            for path in [&source.join("symlink"), &pipe, &directory.join("file")] {
                lchown(path, Some(12), Some(34)).unwrap();
            }
        }
        fs::set_permissions(directory.join("file"), fs::Permissions::from_mode(0o4751)).unwrap();
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o1750)).unwrap();
        let old = Timespec {
            tv_sec: 1_000_000_000,
            tv_nsec: 123_456_789,
        };
        let old = Timestamps {
            last_access: old,
            last_modification: old,
        };
        let inner = directory.join("e");
        for path in [
            &source.join("symlink"),
            &pipe,
            &inner,
            &directory,
            &source.join("sparse"),
            source,
        ] {
            utimensat(CWD, path, &old, AtFlags::SYMLINK_NOFOLLOW).unwrap();
        }
    }

    /// Checks that another tree is like it.
    pub fn check(&self, source: &Path, target: &Path) {
        let below = ["e", "file", "e/link"].map(|name| Path::new(self.directory).join(name));
        let beside = [
            b"symlink",
            b"pipe".as_slice(),
            b"whiteout",
            b"sparse",
            NO_TEXT,
            b"",
        ];
        let names = Path::new(self.directory)
            .ancestors()
            .chain(below.iter().map(AsRef::as_ref))
            .chain(beside.map(|name| Path::new(OsStr::from_bytes(name))));
        for name in names {
            let of = |tree: &Path| {
                let found = tree.join(name).symlink_metadata().unwrap();
                // The size of a directory is the file system's.
                let size = (!found.is_dir()).then_some(found.size());
                let owner = (found.uid(), found.gid());
                let time = (found.mtime(), found.mtime_nsec());
                (found.mode(), owner, found.rdev(), found.nlink(), size, time)
            };
            assert_eq!(of(source), of(target), "{}", name.display());
        }
        let directory = target.join(self.directory);
        assert_eq!(fs::read_to_string(directory.join("file")).unwrap(), "content\n");
        let inode = |path: &Path| path.metadata().unwrap().ino();
        let file = inode(&directory.join("file"));
        assert_eq!(
            (inode(&directory.join("e/link")), inode(&target.join("link"))),
            (file, file)
        );
        assert_eq!(
            fs::read_link(target.join("symlink")).unwrap(),
            Path::new(self.leads_to)
        );
        let kind = |name: &str| target.join(name).symlink_metadata().unwrap();
        assert!(kind("pipe").file_type().is_fifo());
        assert!(kind("whiteout").file_type().is_char_device() && kind("whiteout").rdev() == 0);
        let read = fs::read(target.join("sparse")).unwrap();
        assert!(
            read.len() == 64 << 20 && read.starts_with(b"begin") && read[8 << 20..].starts_with(b"middle")
        );
        assert!(kind("sparse").blocks() * 512 < 4 << 20);
    }
}
