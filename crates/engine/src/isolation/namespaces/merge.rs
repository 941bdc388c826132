//! Many layers into one. Looking a missing file up costs a step a layer, and the kernel takes at most 500 of them.
//!
//! Files are not copied: layers never change, so the new one has hard links to the same ones.

use std::ffi::CStr;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;

use nullspace_agent::trees::{Chain, Met, Removal, Walk};
use rustix::fs::{fgetxattr, fsetxattr, linkat, mkdirat, statat, AtFlags, FileType, Mode, XattrFlags};
use rustix::io::Errno;

use super::copy::side_by_side;

/// Marks of overlay on a directory, with and without rights over the whole computer.
const OPAQUE: [&CStr; 2] = [c"trusted.overlay.opaque", c"user.overlay.opaque"];
const REDIRECT: [&CStr; 2] = [c"trusted.overlay.redirect", c"user.overlay.redirect"];

/// Whether layers can be merged: a directory that was renamed refers to one of a layer below by its path, and those
/// references are not followed here.
pub fn is_possible(folder: &Path) -> io::Result<bool> {
    let mut walk = Walk::new(Chain::open(folder)?);
    loop {
        match walk.step()? {
            Met::Entry(name, FileType::Directory) => {
                walk.enter(&name)?;
                if has_any(walk.chain().here()?, &REDIRECT) {
                    return Ok(false);
                }
            }
            Met::Entry(..) => {}
            Met::End => {
                if !walk.leave()? {
                    return Ok(true);
                }
            }
        }
    }
}

/// Puts what `newer` holds over `merged`, which exists, and gives it the attributes of `newer`.
pub fn put_over(merged: &Path, newer: &Path) -> io::Result<()> {
    side_by_side(newer, merged, |source, target, name, kind| {
        let below = match statat(target.here()?, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) => Some(FileType::from_raw_mode(found.st_mode)),
            Err(Errno::NOENT) => None,
            Err(error) => return Err(error.into()),
        };
        let remove = |target: &Chain| Removal::default().run_at(target.here()?, name);
        if kind != FileType::Directory {
            if below.is_some() {
                remove(target)?;
            }
            let (from, to) = (source.chain().here()?, target.here()?);
            return Ok(linkat(from, name, to, name, AtFlags::empty())?);
        }
        source.enter(name)?;
        let hides = below.is_some_and(|below| below != FileType::Directory);
        let is_opaque = has_any(source.chain().here()?, &OPAQUE);
        if below.is_some() && (hides || is_opaque) {
            remove(target)?;
        }
        if below != Some(FileType::Directory) || is_opaque {
            mkdirat(target.here()?, name, Mode::RWXU)?;
        }
        target.enter(name)?;
        // What was hidden below the merged layers by a file or a removal stays hidden.
        if hides && !is_opaque {
            mark_opaque(target.here()?)?;
        }
        Ok(())
    })
}

fn mark_opaque(directory: BorrowedFd<'_>) -> io::Result<()> {
    let [trusted, user] = OPAQUE;
    fsetxattr(directory, trusted, b"y", XattrFlags::empty())
        .or_else(|_| fsetxattr(directory, user, b"y", XattrFlags::empty()))
        .map_err(Into::into)
}

fn has_any(directory: BorrowedFd<'_>, names: &[&CStr]) -> bool {
    // With no room for the value the kernel tells its length.
    names
        .iter()
        .any(|name| fgetxattr(directory, *name, &mut [0_u8; 0][..]).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::fd::AsFd;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
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
            mark_opaque(fs::File::open(self.at(path)).unwrap().as_fd()).unwrap();
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
        has_any(fs::File::open(path).unwrap().as_fd(), &OPAQUE)
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
        let set = |name| rustix::fs::lsetxattr(layers.at("1/d/e"), name, b"/old", XattrFlags::empty());
        set(trusted).or_else(|_| set(user)).unwrap();
        assert!(!is_possible(&layers.at("1")).unwrap());
    }
}
