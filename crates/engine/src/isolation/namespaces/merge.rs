//! Many layers into one. Looking a missing file up costs a step a layer, and the kernel takes at most 500 of them.
//!
//! Files are not copied: layers never change, so the new one has hard links to the same ones.

use std::ffi::CStr;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{lgetxattr, llistxattr, lsetxattr, Timestamps, XattrFlags};

/// Marks of overlay on a directory, with and without rights over the whole computer.
const OPAQUE: [&CStr; 2] = [c"trusted.overlay.opaque", c"user.overlay.opaque"];
const REDIRECT: [&CStr; 2] = [c"trusted.overlay.redirect", c"user.overlay.redirect"];
/// Most bytes of an attribute's value, or of the list of names. Source: xattr(7).
const LARGEST: usize = 65_536;

/// Whether layers can be merged: a directory that was renamed refers to one of a layer below by its path, and those
/// references are not followed here.
pub fn is_possible(folder: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if !entry.file_type()?.is_dir() {
            continue;
        }
        if REDIRECT.iter().any(|name| value(&entry.path(), name).is_some()) || !is_possible(&entry.path())? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Puts what `newer` holds over `merged`, which exists.
pub fn put_over(merged: &Path, newer: &Path) -> io::Result<()> {
    for entry in fs::read_dir(newer)? {
        let entry = entry?;
        let (source, target) = (entry.path(), merged.join(entry.file_name()));
        let below = match target.symlink_metadata() {
            Ok(found) => Some(found),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        if !entry.file_type()?.is_dir() {
            if below.is_some() {
                remove(&target)?;
            }
            fs::hard_link(&source, &target)?;
            continue;
        }
        let hides = below.as_ref().is_some_and(|below| !below.is_dir());
        let is_opaque = OPAQUE.iter().any(|name| value(&source, name).is_some());
        if below.is_some() && (hides || is_opaque) {
            remove(&target)?;
        }
        if !target.is_dir() {
            fs::create_dir(&target)?;
        }
        put_over(&target, &source)?;
        // Last: what is made in a directory changes its time.
        same_attributes(&source, &target)?;
        // What was hidden below the merged layers by a file or a removal stays hidden.
        if hides && !is_opaque {
            mark_opaque(&target)?;
        }
    }
    Ok(())
}

fn remove(path: &Path) -> io::Result<()> {
    if path.symlink_metadata()?.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    }
}

fn mark_opaque(path: &Path) -> io::Result<()> {
    let [trusted, user] = OPAQUE;
    lsetxattr(path, trusted, b"y", XattrFlags::empty())
        .or_else(|_| lsetxattr(path, user, b"y", XattrFlags::empty()))
        .map_err(Into::into)
}

/// Owner, mode, attributes and times of a directory.
pub fn same_attributes(from: &Path, to: &Path) -> io::Result<()> {
    let found = from.symlink_metadata()?;
    std::os::unix::fs::lchown(to, Some(found.uid()), Some(found.gid()))?;
    fs::set_permissions(to, fs::Permissions::from_mode(found.mode() & 0o7777))?;
    let mut names = vec![0; LARGEST];
    let length = llistxattr(from, &mut names[..]).unwrap_or(0);
    for name in names[..length].split_inclusive(|byte| *byte == 0) {
        let Ok(name) = CStr::from_bytes_with_nul(name) else {
            continue;
        };
        if let Some(value) = value(from, name) {
            lsetxattr(to, name, &value, XattrFlags::empty())?;
        }
    }
    let time = |seconds: i64, nanos: i64| rustix::fs::Timespec {
        tv_sec: seconds,
        tv_nsec: nanos,
    };
    rustix::fs::utimensat(
        rustix::fs::CWD,
        to,
        &Timestamps {
            last_access: time(found.atime(), found.atime_nsec()),
            last_modification: time(found.mtime(), found.mtime_nsec()),
        },
        rustix::fs::AtFlags::SYMLINK_NOFOLLOW,
    )?;
    Ok(())
}

fn value(path: &Path, name: &CStr) -> Option<Vec<u8>> {
    let mut value = vec![0; LARGEST];
    let length = lgetxattr(path, name, &mut value[..]).ok()?;
    value.truncate(length);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    struct Layers(tempfile::TempDir);

    impl Layers {
        fn file(&self, path: &str, text: &str) -> &Self {
            let path = self.at(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
            self
        }

        /// What overlay leaves where something was removed.
        fn whiteout(&self, path: &str) -> &Self {
            let path = self.at(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let kind = rustix::fs::FileType::CharacterDevice;
            rustix::fs::mknodat(rustix::fs::CWD, &path, kind, rustix::fs::Mode::empty(), 0).unwrap();
            self
        }

        fn opaque(&self, path: &str) -> &Self {
            fs::create_dir_all(self.at(path)).unwrap();
            mark_opaque(&self.at(path)).unwrap();
            self
        }

        fn at(&self, path: &str) -> PathBuf {
            self.0.path().join(path)
        }

        fn merged(&self) -> PathBuf {
            let merged = self.at("merged");
            fs::create_dir(&merged).unwrap();
            for layer in ["1", "2", "3"] {
                if self.at(layer).exists() {
                    put_over(&merged, &self.at(layer)).unwrap();
                }
            }
            merged
        }
    }

    fn layers() -> Layers {
        Layers(tempfile::tempdir().unwrap())
    }

    fn is_whiteout(found: &fs::Metadata) -> bool {
        use std::os::unix::fs::FileTypeExt;
        found.file_type().is_char_device() && found.rdev() == 0
    }

    fn is_opaque(path: &Path) -> bool {
        OPAQUE.iter().any(|name| value(path, name).is_some())
    }

    #[test]
    fn newer_files_win_and_directories_join() {
        let layers = layers();
        layers
            .file("1/a", "old")
            .file("1/d/x", "x")
            .file("2/a", "new")
            .file("2/d/y", "y");
        fs::set_permissions(layers.at("2/d"), fs::Permissions::from_mode(0o750)).unwrap();
        let merged = layers.merged();
        assert_eq!(fs::read_to_string(merged.join("a")).unwrap(), "new");
        assert_eq!(fs::read_to_string(merged.join("d/x")).unwrap(), "x");
        assert_eq!(fs::read_to_string(merged.join("d/y")).unwrap(), "y");
        assert_eq!(merged.join("d").metadata().unwrap().mode() & 0o7777, 0o750);
        assert_eq!(
            merged.join("d/y").metadata().unwrap().ino(),
            layers.at("2/d/y").metadata().unwrap().ino()
        );
        assert_eq!(fs::read_to_string(layers.at("1/a")).unwrap(), "old");
    }

    #[test]
    fn what_was_removed_stays_removed_and_hides_what_is_below_all() {
        let layers = layers();
        layers
            .file("1/a", "1")
            .file("1/d/x", "1")
            .whiteout("2/a")
            .whiteout("2/d");
        let merged = layers.merged();
        for name in ["a", "d"] {
            assert!(
                is_whiteout(&merged.join(name).symlink_metadata().unwrap()),
                "{name}"
            );
        }
    }

    #[test]
    fn a_directory_made_anew_is_opaque() {
        let layers = layers();
        layers.file("1/d/x", "1").whiteout("2/d").file("3/d/y", "3");
        let merged = layers.merged();
        assert!(is_opaque(&merged.join("d")) && !merged.join("d/x").exists() && merged.join("d/y").exists());

        let layers = self::layers();
        layers.file("1/d/x", "1").opaque("2/d").file("2/d/y", "2");
        let merged = layers.merged();
        assert!(is_opaque(&merged.join("d")) && !merged.join("d/x").exists() && merged.join("d/y").exists());

        let layers = self::layers();
        layers.opaque("1/d").file("1/d/x", "1").file("2/d/y", "2");
        let merged = layers.merged();
        assert!(is_opaque(&merged.join("d")) && merged.join("d/x").exists() && merged.join("d/y").exists());
    }

    #[test]
    fn a_renamed_directory_keeps_layers_apart() {
        let layers = layers();
        layers.file("1/d/e/x", "1");
        assert!(is_possible(&layers.at("1")).unwrap());
        let [trusted, user] = REDIRECT;
        let set = |name| lsetxattr(layers.at("1/d/e"), name, b"/old", XattrFlags::empty());
        set(trusted).or_else(|_| set(user)).unwrap();
        assert!(!is_possible(&layers.at("1")).unwrap());
    }
}
