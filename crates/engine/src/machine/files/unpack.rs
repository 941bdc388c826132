//! A directory that came as a tar archive: unpacked beside its target, then put in place.
//!
//! Nothing of an archive is believed: paths must stay below the target, symlinks too, also those that lead through others,
//! and there are only files, directories and symlinks. Nor are symlinks followed that the target has already. Source:
//! PROTOCOL.md section 5.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Component, Path};
use std::sync::Arc;

use nullspace_wire::upload::{UploadConflict, UploadSession};
use serde_json::json;

use super::uploads::copy;
use super::FileSession;
use crate::machine::ground::error::UploadReason;
use crate::machine::ground::{Error, Kind, Result};
use crate::machine::Engine;

/// Most entries of an archive.
const MOST_ENTRIES: usize = 200_000;

/// The archive: a staged file, read without moving its position.
#[derive(Clone)]
pub struct Source {
    file: Arc<File>,
    length: u64,
    at: u64,
}

impl Source {
    /// The first `length` bytes of a file.
    pub fn new(file: Arc<File>, length: u64) -> Self {
        Self { file, length, at: 0 }
    }
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let left = self.length.saturating_sub(self.at);
        let wanted = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let read = self.file.read_at(&mut buffer[..wanted], self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Seek for Source {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.length.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or(std::io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

/// One entry of an archive, checked.
#[derive(Debug, PartialEq)]
pub struct Entry {
    /// Below the target, without a slash at either end; empty for the target itself.
    path: String,
    what: What,
}

#[derive(Debug, PartialEq)]
enum What {
    Directory,
    File { offset: u64, size: u64, mode: u32 },
    Symlink(String),
}

fn refused(reason: UploadReason, path: &Path, why: &str) -> Error {
    let shown = path.display().to_string();
    Error::new(Kind::Upload(reason), format!("the archive's {shown:?} {why}"))
        .with_details(json!({ "path": shown }))
}

/// A path that stays below where it is put; `None` when it does not.
fn below(path: &Path) -> Option<String> {
    let mut parts = Vec::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => parts.push(name.to_str()?),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(parts.join("/"))
}

/// Symlinks of an archive: what each says, by its path.
type Links = HashMap<String, String>;

/// Links that are followed on one way, as by the kernel; the next one leads nowhere.
const MOST_LINKS: usize = 40;
/// Bytes of what a link says, as for the kernel.
const LONGEST_LINK: usize = 4095;

/// Whether the way that `target` names leaves the directory, seen from a symlink at `path`. Other links of the archive
/// on the way are followed: what looks as if it stayed inside may lead out through one of them.
fn leads_out(links: &Links, path: &str, target: &str) -> bool {
    let mut at: Vec<&str> = path.split('/').collect();
    at.pop();
    let mut left: Vec<&str> = target.split('/').rev().collect();
    let mut followed = 0;
    if target.starts_with('/') {
        return true;
    }
    while let Some(part) = left.pop() {
        match part {
            "" | "." => {}
            ".." => {
                if at.pop().is_none() {
                    return true;
                }
            }
            name => {
                at.push(name);
                let Some(link) = links.get(&at.join("/")) else {
                    continue;
                };
                followed += 1;
                if followed > MOST_LINKS {
                    return false;
                }
                if link.starts_with('/') {
                    return true;
                }
                at.pop();
                left.extend(link.split('/').rev());
            }
        }
    }
    false
}

/// Whether something of the archive is to lie below one of its symlinks, or in the place of one.
fn is_through(links: &Links, entry: &Entry) -> bool {
    let is_link = matches!(entry.what, What::Symlink(_));
    let above = entry.path.match_indices('/').map(|(end, _)| &entry.path[..end]);
    above
        .chain((!is_link).then_some(entry.path.as_str()))
        .any(|path| links.contains_key(path))
}

/// Reads the whole list of an archive before anything is written.
pub fn entries(source: Source) -> Result<Vec<Entry>> {
    let broken = |error: std::io::Error| {
        Error::new(
            Kind::Upload(UploadReason::UnsupportedEntry),
            format!("the archive cannot be read: {error}"),
        )
    };
    let length = source.length;
    let mut archive = tar::Archive::new(source);
    let mut list: Vec<Entry> = Vec::new();
    for entry in archive.entries_with_seek().map_err(broken)? {
        let entry = entry.map_err(broken)?;
        let path = entry.path().map_err(broken)?.into_owned();
        let name = below(&path).ok_or_else(|| {
            refused(
                UploadReason::InvalidPath,
                &path,
                "does not stay inside the directory",
            )
        })?;
        let kind = entry.header().entry_type();
        let what = if kind.is_dir() {
            What::Directory
        } else if kind.is_file() {
            let (offset, size) = (entry.raw_file_position(), entry.size());
            // An extended header may give any size.
            if offset.checked_add(size).is_none_or(|end| end > length) {
                let why = format!("is cut off: the archive has no {size} bytes for it");
                return Err(refused(UploadReason::UnsupportedEntry, &path, &why));
            }
            What::File {
                offset,
                size,
                mode: entry.header().mode().unwrap_or(0o644) & 0o777,
            }
        } else if kind.is_symlink() {
            let link = entry
                .link_name()
                .map_err(broken)?
                .unwrap_or_default()
                .into_owned();
            let text = link
                .to_str()
                .filter(|text| text.len() <= LONGEST_LINK)
                .ok_or_else(|| refused(UploadReason::InvalidSymlink, &path, "is no UTF-8, or too long"))?;
            What::Symlink(text.to_owned())
        } else {
            return Err(refused(
                UploadReason::UnsupportedEntry,
                &path,
                "is neither a file, a directory nor a symlink",
            ));
        };
        if name.is_empty() && what != What::Directory {
            return Err(refused(UploadReason::InvalidPath, &path, "has no name"));
        }
        if list.len() == MOST_ENTRIES {
            return Err(refused(
                UploadReason::SizeLimit,
                &path,
                "is one entry too many: 200000 are allowed",
            ));
        }
        list.push(Entry { path: name, what });
    }
    check_links(&list)?;
    Ok(list)
}

fn check_links(list: &[Entry]) -> Result<()> {
    let mut links = Links::new();
    for entry in list {
        if let What::Symlink(target) = &entry.what {
            let is_again = links.insert(entry.path.clone(), target.clone());
            if is_again.is_some_and(|earlier| earlier != *target) {
                let why = "is two different symlinks";
                return Err(refused(UploadReason::InvalidSymlink, Path::new(&entry.path), why));
            }
        }
    }
    for entry in list {
        if is_through(&links, entry) {
            let why = "lies behind a symlink of the archive, or is in the place of one";
            return Err(refused(UploadReason::InvalidPath, Path::new(&entry.path), why));
        }
        let leads_out = match &entry.what {
            What::Symlink(target) => leads_out(&links, &entry.path, target),
            _ => false,
        };
        if leads_out {
            let why = "leads out of the directory";
            return Err(refused(UploadReason::InvalidSymlink, Path::new(&entry.path), why));
        }
    }
    Ok(())
}

/// Unpacks an archive and puts it in place: bytes and number of files.
pub async fn publish(
    engine: &Arc<Engine>,
    mut session: FileSession,
    source: Source,
    info: &UploadSession,
) -> Result<(u64, u64)> {
    let (reader, staged) = (source.clone(), source.file);
    let list = tokio::task::spawn_blocking(move || entries(reader))
        .await
        .map_err(|error| Error::internal("reading an archive", error))??;
    let target = info.target_path.trim_end_matches('/').to_owned();
    // Of the root nothing is left.
    let there = target.is_empty() || session.exists(target.clone()).await?;
    if there && info.conflict == UploadConflict::Error {
        let what = format!("{target} is there already");
        return Err(Error::new(Kind::Upload(UploadReason::TargetConflict), what)
            .with_details(json!({ "upload_id": info.upload_id, "path": target })));
    }
    // Hidden beside the target: a rename puts it in place at once.
    let parent = target.rsplit_once('/').map_or("", |(parent, _)| parent);
    let beside = format!("{parent}/.nullspace-{}.tmp", info.upload_id);
    let unpacked = unpack(&mut session, &staged, &list, &beside).await;
    let placed = match &unpacked {
        Ok(_) => place(&mut session, &list, &beside, &target, there, info.conflict).await,
        Err(_) => Ok(()),
    };
    if unpacked.is_err() || placed.is_err() {
        // The session may be broken by what failed.
        if let Ok(mut fresh) = engine.files_of(session.owner(), info.user.clone()).await {
            let _ = fresh.remove(beside).await;
        }
    }
    placed?;
    unpacked
}

async fn unpack(
    session: &mut FileSession,
    staged: &Arc<File>,
    list: &[Entry],
    root: &str,
) -> Result<(u64, u64)> {
    session.make_directory(root.to_owned()).await?;
    let (mut bytes, mut files) = (0, 0);
    for entry in list.iter().filter(|entry| !entry.path.is_empty()) {
        let path = format!("{root}/{}", entry.path);
        match &entry.what {
            What::Directory => session.make_directory(path).await?,
            What::File { offset, size, mode } => {
                let new = session.create(path).await?;
                copy(staged.clone(), *offset, *size, new.file).await?;
                session.commit_as(new.token, true, Some(*mode)).await?;
                bytes += size;
                files += 1;
            }
            What::Symlink(link) => session.symlink(link.clone(), path).await?,
        }
    }
    Ok((bytes, files))
}

async fn place(
    session: &mut FileSession,
    list: &[Entry],
    beside: &str,
    target: &str,
    there: bool,
    conflict: UploadConflict,
) -> Result<()> {
    if !there || conflict == UploadConflict::Replace {
        if there {
            session.remove(target.to_owned()).await?;
        }
        session.rename(beside.to_owned(), target.to_owned()).await?;
        return Ok(());
    }
    refuse_links(session, list, target).await?;
    for entry in list.iter().filter(|entry| !entry.path.is_empty()) {
        let (from, to) = (
            format!("{beside}/{}", entry.path),
            format!("{target}/{}", entry.path),
        );
        match entry.what {
            What::Directory => session.make_directory(to).await?,
            _ => {
                if let Some((above, _)) = to.rsplit_once('/') {
                    session.make_directory(above.to_owned()).await?;
                }
                session.rename(from, to).await?;
            }
        }
    }
    session.remove(beside.to_owned()).await
}

/// Refuses an archive whose directories are symlinks in the target: what is put into them would land elsewhere. Looked
/// at before anything is moved.
async fn refuse_links(session: &mut FileSession, list: &[Entry], target: &str) -> Result<()> {
    let mut directories = BTreeSet::new();
    for entry in list {
        let above = entry.path.match_indices('/').map(|(end, _)| &entry.path[..end]);
        let own = (entry.what == What::Directory && !entry.path.is_empty()).then_some(entry.path.as_str());
        directories.extend(above.chain(own));
    }
    // What lies below a directory that is not there is not there either.
    let mut missing: Option<&str> = None;
    for directory in directories {
        let is_below = |missing: &str| {
            directory
                .strip_prefix(missing)
                .is_some_and(|rest| rest.starts_with('/'))
        };
        if missing.is_some_and(is_below) {
            continue;
        }
        match session.info(format!("{target}/{directory}")).await {
            Ok(info) if info.kind == "symlink" => {
                let why = "is a directory, and a symlink in the target";
                return Err(refused(UploadReason::TargetConflict, Path::new(directory), why));
            }
            Ok(_) => {}
            Err(error) if error.kind == Kind::NotFound => missing = Some(directory),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_stay_below_and_symlinks_too() {
        assert_eq!(below(Path::new("./a//b/")).as_deref(), Some("a/b"));
        assert_eq!(below(Path::new(".")).as_deref(), Some(""));
        for bad in ["/etc/passwd", "../x", "a/../../x", "a/.."] {
            assert_eq!(below(Path::new(bad)), None, "{bad}");
        }
        let links = Links::new();
        assert!(!leads_out(&links, "a/b", "../c"));
        assert!(!leads_out(&links, "a", "./c/d"));
        for (path, link) in [
            ("a", "../x"),
            ("a/b", "../../x"),
            ("a", "/etc/passwd"),
            ("a", "b/../../x"),
        ] {
            assert!(leads_out(&links, path, link), "{path} -> {link}");
        }
    }

    fn link(path: &str, target: &str) -> Entry {
        Entry {
            path: path.into(),
            what: What::Symlink(target.into()),
        }
    }

    fn directory(path: &str) -> Entry {
        Entry {
            path: path.into(),
            what: What::Directory,
        }
    }

    #[test]
    fn symlinks_lead_nowhere_out_through_each_other() {
        for good in [
            vec![link("a/b/c", "../d"), directory("a/d")],
            vec![
                link("lib", "lib64"),
                link("lib64", "usr/lib"),
                link("x/y", "../lib/z"),
            ],
            vec![link("loop", "loop"), link("deep/link", "..")],
            vec![link("a", "b"), link("a", "b")],
            vec![link("a", "b/../.."), link("b", "c/d"), directory("c/d")],
        ] {
            check_links(&good).unwrap();
        }
        for bad in [
            vec![link("deep/link", ".."), link("esc", "deep/link/..")],
            vec![link("esc", "deep/link/.."), link("deep/link", "..")],
            vec![link("a", "b/../.."), link("b", "c"), directory("c")],
            vec![link("a", "b"), directory("a/c")],
            vec![link("a", "b"), directory("a")],
            vec![link("a", "b"), link("a/c", "d")],
            vec![link("a", "b"), link("a", "c")],
        ] {
            check_links(&bad).unwrap_err();
        }
    }

    proptest! {
        #[test]
        fn fuzz_no_path_leads_out(path in "[a./\\\\]{0,24}", link in "[a./]{0,24}") {
            if let Some(clean) = below(Path::new(&path)) {
                prop_assert!(!clean.starts_with('/'));
                prop_assert!(clean.split('/').all(|part| part != ".."));
                if !clean.is_empty() && !leads_out(&Links::new(), &clean, &link) {
                    let mut depth = clean.split('/').count() as i64 - 1;
                    for part in link.split('/') {
                        depth += match part { ".." => -1, "" | "." => 0, _ => 1 };
                        prop_assert!(depth >= 0);
                    }
                }
            }
        }

        #[test]
        fn fuzz_any_bytes_are_an_archive_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..2048)) {
            let mut file = tempfile::tempfile().unwrap();
            std::io::Write::write_all(&mut file, &bytes).unwrap();
            let _ = entries(Source::new(Arc::new(file), bytes.len() as u64));
        }
    }
}
