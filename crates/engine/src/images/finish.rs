//! The layer above those of an image: what every machine needs, whoever made its files. `isolation` does the same for a
//! root file system that is imported.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{openat2, FileType, Mode, OFlags, ResolveFlags, CWD};
use rustix::io::Errno;

use crate::isolation::namespaces::NAMES;

/// What a path is in a machine that is made of layers.
enum Found {
    Nothing,
    Directory {
        mode: u32,
        uid: u32,
        gid: u32,
    },
    /// Bytes of a file.
    File(u64),
    /// A link or something else that stays as it is.
    Other,
}

/// Fills `root`, which is there and empty, for the layers below it, the nearest first: folders that hold `root` each.
pub fn fill(root: &Path, layers: &[PathBuf]) -> io::Result<()> {
    if let Found::Nothing = look(layers, "workspace")? {
        directory(&root.join("workspace"), 0o755)?;
    }
    match look(layers, "tmp")? {
        Found::Directory { mode: 0o1777, .. } | Found::Other => {}
        Found::Directory { .. } | Found::Nothing | Found::File(_) => directory(&root.join("tmp"), 0o1777)?,
    }
    let etc = root.join("etc");
    match look(layers, "etc")? {
        Found::Directory { mode, uid, gid } => {
            directory(&etc, mode)?;
            if rustix::process::geteuid().is_root() {
                std::os::unix::fs::chown(&etc, Some(uid), Some(gid))?;
            }
        }
        Found::Nothing => directory(&etc, 0o755)?,
        Found::File(_) | Found::Other => return Ok(()),
    }
    for (name, content, is_ours) in NAMES {
        let below = look(layers, &format!("etc/{name}"))?;
        // Builders leave an empty file where they mounted one of theirs.
        if *is_ours || matches!(below, Found::Nothing | Found::File(0)) {
            fs::write(etc.join(name), content)?;
            fs::set_permissions(etc.join(name), Permissions::from_mode(0o644))?;
        }
    }
    Ok(())
}

fn directory(path: &Path, mode: u32) -> io::Result<()> {
    fs::create_dir(path)?;
    fs::set_permissions(path, Permissions::from_mode(mode))
}

/// What overlay would show at a path, without following a link.
fn look(layers: &[PathBuf], path: &str) -> io::Result<Found> {
    for layer in layers {
        let root = layer.join("root");
        let parts: Vec<&str> = path.split('/').collect();
        for depth in 1..=parts.len() {
            let so_far = parts[..depth].join("/");
            let Some((kind, found, is_opaque)) = stat(&root, &so_far)? else {
                break;
            };
            if kind == FileType::CharacterDevice {
                return Ok(Found::Nothing);
            }
            let is_last = depth == parts.len();
            if is_last {
                return Ok(match kind {
                    FileType::Directory => Found::Directory {
                        mode: found.mode() & 0o7777,
                        uid: found.uid(),
                        gid: found.gid(),
                    },
                    FileType::RegularFile => Found::File(found.len()),
                    _ => Found::Other,
                });
            }
            if kind != FileType::Directory {
                return Ok(Found::Other);
            }
            if is_opaque && stat(&root, &parts[..=depth].join("/"))?.is_none() {
                return Ok(Found::Nothing);
            }
        }
    }
    Ok(Found::Nothing)
}

/// What one layer has at a path, and whether that hides what is in the layers below.
fn stat(root: &Path, path: &str) -> io::Result<Option<(FileType, fs::Metadata, bool)>> {
    let top = openat2(
        CWD,
        root,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::empty(),
    )?;
    let inside = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = match openat2(&top, path, flags, Mode::empty(), inside) {
        // A link in front of the last part; or the path is one itself, which such a flag refuses too.
        Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
        Err(Errno::LOOP) => {
            let found = fs::symlink_metadata(root.join(path))?;
            return Ok(Some((FileType::Symlink, found, false)));
        }
        opened => opened?,
    };
    let found = fs::File::from(opened).metadata()?;
    let kind = FileType::from_raw_mode(found.mode());
    let is_opaque = kind == FileType::Directory && is_opaque(&root.join(path));
    Ok(Some((kind, found, is_opaque)))
}

fn is_opaque(directory: &Path) -> bool {
    ["trusted.overlay.opaque", "user.overlay.opaque"]
        .iter()
        .any(|name| rustix::fs::lgetxattr(directory, *name, &mut [0_u8; 8][..]).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Place(tempfile::TempDir);

    impl Place {
        fn new() -> Self {
            let place = Self(tempfile::tempdir().unwrap());
            for name in ["high/root", "low/root", "end"] {
                fs::create_dir_all(place.at(name)).unwrap();
            }
            place
        }

        fn at(&self, path: &str) -> PathBuf {
            self.0.path().join(path)
        }

        fn file(&self, path: &str, text: &str) -> &Self {
            fs::create_dir_all(self.at(path).parent().unwrap()).unwrap();
            fs::write(self.at(path), text).unwrap();
            self
        }

        fn end(&self) -> PathBuf {
            fill(&self.at("end"), &[self.at("high"), self.at("low")]).unwrap();
            self.at("end")
        }
    }

    fn mode(path: &Path) -> u32 {
        path.symlink_metadata().unwrap().mode() & 0o7777
    }

    #[test]
    fn an_empty_image_gets_all_of_it() {
        let place = Place::new();
        let end = place.end();
        assert_eq!(
            (mode(&end.join("workspace")), mode(&end.join("tmp"))),
            (0o755, 0o1777)
        );
        assert!(fs::read_to_string(end.join("etc/hosts"))
            .unwrap()
            .contains("localhost"));
        assert!(fs::read_to_string(end.join("etc/resolv.conf"))
            .unwrap()
            .contains("nameserver"));
    }

    #[test]
    fn what_an_image_has_stays_as_it_is() {
        let place = Place::new();
        place
            .file("low/root/workspace/x", "")
            .file("low/root/etc/hosts", "10.0.0.1 mine\n");
        fs::create_dir(place.at("low/root/tmp")).unwrap();
        fs::set_permissions(place.at("low/root/tmp"), Permissions::from_mode(0o1777)).unwrap();
        fs::set_permissions(place.at("low/root/etc"), Permissions::from_mode(0o751)).unwrap();
        std::os::unix::fs::symlink("/run/resolv.conf", place.at("low/root/etc/resolv.conf")).unwrap();
        let end = place.end();
        assert!(
            !end.join("workspace").exists() && !end.join("tmp").exists() && !end.join("etc/hosts").exists()
        );
        assert_eq!(mode(&end.join("etc")), 0o751);
        assert!(end.join("etc/resolv.conf").symlink_metadata().unwrap().is_file());
    }

    #[test]
    fn what_a_higher_layer_hides_is_not_there() {
        let place = Place::new();
        place
            .file("low/root/workspace/x", "")
            .file("low/root/etc/hosts", "10.0.0.1 mine\n");
        let whiteout = |path: &str| {
            let at = place.at(path);
            rustix::fs::mknodat(CWD, &at, FileType::CharacterDevice, Mode::empty(), 0).unwrap();
        };
        whiteout("high/root/workspace");
        fs::create_dir(place.at("high/root/etc")).unwrap();
        let opaque = |name: &str| {
            rustix::fs::lsetxattr(
                place.at("high/root/etc"),
                name,
                b"y",
                rustix::fs::XattrFlags::empty(),
            )
        };
        opaque("trusted.overlay.opaque")
            .or_else(|_| opaque("user.overlay.opaque"))
            .unwrap();
        let end = place.end();
        assert!(end.join("workspace").exists() && end.join("etc/hosts").exists());
    }

    #[test]
    fn an_empty_hosts_file_is_none_and_links_stay() {
        let place = Place::new();
        place.file("low/root/etc/hosts", "");
        for name in ["tmp", "workspace"] {
            std::os::unix::fs::symlink("/var/tmp", place.at("low/root").join(name)).unwrap();
        }
        let end = place.end();
        assert!(fs::read_to_string(end.join("etc/hosts"))
            .unwrap()
            .contains("127.0.0.1"));
        assert!(!end.join("tmp").exists() && !end.join("workspace").exists());
    }
}
