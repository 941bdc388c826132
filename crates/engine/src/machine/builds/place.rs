//! Files of a build context, put into a machine.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::definition::Entry;
use super::glob;
use super::step::{Copy, CopyFrom};
use crate::isolation::files::{EntryKind, Files, Info, NewFile, Op};
use crate::isolation::Running;
use crate::machine::commands::exec::DefaultUser;
use crate::machine::files::{failure, within};
use crate::machine::ground::{Error, Kind, Result};
use crate::machine::validate::{clean, RESERVED};

/// Opens files of a machine as root.
pub async fn files(running: &Arc<dyn Running>) -> Result<Files> {
    let channel = running.files(None).await;
    let channel = channel.map_err(|error| Error::isolation("opening files", error))?;
    Files::new(channel).map_err(failure)
}

/// An absolute path, from the directory where the step runs.
pub fn absolute(workdir: &str, path: &str) -> String {
    match path.starts_with('/') {
        true => clean(path),
        false => clean(&format!("{workdir}/{path}")),
    }
}

/// Begin of the paths in a directory of the context; `""` is all of it.
pub fn below(source: &str) -> String {
    match source {
        "" => String::new(),
        source => format!("{source}/"),
    }
}

/// What is to be made, with its permission bits.
enum Made {
    Dir(String, Option<u32>),
    File(String, PathBuf, Option<u32>),
}

/// Puts files in place. `blob` says where the bytes of a file are.
pub async fn copy(
    running: &Arc<dyn Running>,
    context: &BTreeMap<String, Entry>,
    copy: &Copy,
    workdir: &str,
    blob: impl Fn(&str) -> PathBuf,
) -> Result<()> {
    let mut files = files(running).await?;
    let dst = absolute(workdir, &copy.dst);
    let is_directory = match within(files.info(dst.clone())).await {
        Ok(info) => info.kind == EntryKind::Directory,
        Err(error) if error.kind == Kind::NotFound => false,
        Err(error) => return Err(error),
    };
    let into = is_directory || copy.dst.ends_with('/') || copy.sources.len() > 1;
    let mut all = Vec::new();
    for source in &copy.sources {
        let source = source.trim_end_matches('/');
        match context.get(source) {
            Some(Entry::File { blob: content, mode }) => {
                let name = source.rsplit('/').next().unwrap_or(source);
                let target = if into {
                    clean(&format!("{dst}/{name}"))
                } else {
                    dst.clone()
                };
                all.push(Made::File(target, blob(content.id()), copy.mode.or(*mode)));
            }
            // The content of a directory, not the directory itself: as COPY does.
            found => {
                let mode = match found {
                    Some(Entry::Dir(mode)) if !is_directory => *mode,
                    _ => None,
                };
                all.push(Made::Dir(dst.clone(), mode));
                let below = below(source);
                for (path, entry) in context.range(below.clone()..) {
                    let Some(rest) = path.strip_prefix(&below) else {
                        break;
                    };
                    let target = clean(&format!("{dst}/{rest}"));
                    all.push(match entry {
                        Entry::Dir(mode) => Made::Dir(target, *mode),
                        Entry::File { blob: content, mode } => {
                            Made::File(target, blob(content.id()), copy.mode.or(*mode))
                        }
                    });
                }
            }
        }
    }
    let mut owned = Vec::new();
    for made in all {
        match made {
            Made::Dir(path, mode) => {
                let is_there = within(files.exists(path.clone())).await?;
                within(files.ask(Op::MakeDirectory { path: path.clone() })).await?;
                if let Some(mode) = mode {
                    within(files.ask(Op::SetMode {
                        path: path.clone(),
                        mode,
                    }))
                    .await?;
                }
                if !is_there {
                    owned.push(path);
                }
            }
            Made::File(path, source, mode) => {
                put(&mut files, &path, source, mode).await?;
                owned.push(path);
            }
        }
    }
    match &copy.owner {
        Some(owner) => give(running, owner, &owned).await,
        None => Ok(()),
    }
}

/// Directories of a machine that are no files of a stage.
const OF_THE_MACHINE: [&str; 5] = ["/dev", "/proc", "/run", "/sys", RESERVED];

/// Copies files of another machine, with owners and permissions. Links and directories stay what they are, hard links become
/// files, and what is neither is left out.
pub async fn copy_from(source: &Arc<dyn Running>, running: &Arc<dyn Running>, copy: &CopyFrom) -> Result<()> {
    let (mut from, mut to) = (files(source).await?, files(running).await?);
    let numbers = [
        numbers(&mut from, "/etc/passwd").await?,
        numbers(&mut from, "/etc/group").await?,
    ];
    let mut found = Vec::new();
    for pattern in &copy.sources {
        let some = matching(&mut from, pattern).await?;
        if some.is_empty() {
            let text = format!("there is no {pattern:?} where the files are copied from");
            return Err(Error::new(Kind::NotFound, text));
        }
        found.extend(some);
    }
    let dst = clean(&copy.dst);
    let is_directory = match within(to.info(format!("{}/.", dst.trim_end_matches('/')))).await {
        Ok(_) => true,
        Err(error) if matches!(error.kind, Kind::NotFound | Kind::InvalidRequest) => false,
        Err(error) => return Err(error),
    };
    let into = is_directory || copy.dst.ends_with('/') || found.len() > 1;
    let mut copying = Copying {
        from,
        to,
        numbers,
        copy,
        owned: BTreeMap::new(),
        special: Vec::new(),
    };
    for path in found {
        let name = path.rsplit('/').next().unwrap_or_default();
        let inside = format!("{}/.", path.trim_end_matches('/'));
        match within(copying.from.info(inside)).await {
            Ok(info) => copying.directory(&path, &dst, &info).await?,
            Err(_) => {
                let target = if into {
                    clean(&format!("{dst}/{name}"))
                } else {
                    dst.clone()
                };
                copying.file(&path, target).await?;
            }
        }
    }
    copying.end(running).await
}

struct Copying<'a> {
    from: Files,
    to: Files,
    /// Numbers of the users and groups there, by name.
    numbers: [BTreeMap<String, u32>; 2],
    copy: &'a CopyFrom,
    /// What is given to whom in the end.
    owned: BTreeMap<String, Vec<String>>,
    /// Bits that a change of the owner takes away.
    special: Vec<(String, u32)>,
}

impl Copying<'_> {
    /// All that is in a directory, into one that is made.
    async fn directory(&mut self, top: &str, dst: &str, info: &Info) -> Result<()> {
        self.make_directory(dst.to_owned(), info).await?;
        let mut waiting = vec![(top.to_owned(), dst.to_owned())];
        while let Some((path, dst)) = waiting.pop() {
            for entry in within(self.from.list(path.clone(), 0)).await? {
                let target = clean(&format!("{dst}/{}", entry.name));
                if OF_THE_MACHINE.contains(&entry.path.as_str()) {
                    continue;
                }
                match entry.kind {
                    EntryKind::Directory => {
                        self.make_directory(target.clone(), &entry).await?;
                        waiting.push((entry.path, target));
                    }
                    EntryKind::File => self.file(&entry.path, target).await?,
                    EntryKind::Symlink => self.link(&entry, target).await?,
                    _ => {}
                }
            }
        }
        Ok(())
    }

    async fn make_directory(&mut self, path: String, info: &Info) -> Result<()> {
        if within(self.to.exists(path.clone())).await? {
            return within(self.to.ask(Op::MakeDirectory { path })).await.map(drop);
        }
        within(self.to.ask(Op::MakeDirectory { path: path.clone() })).await?;
        let mode = info.mode;
        within(self.to.ask(Op::SetMode {
            path: path.clone(),
            mode,
        }))
        .await?;
        self.own(path, info, mode);
        Ok(())
    }

    async fn file(&mut self, path: &str, target: String) -> Result<()> {
        use std::io::Read as _;
        let (info, content) = within(self.from.read(path.to_owned())).await?;
        // Files of the kernel say 0 and may have no end.
        let mut content = content.take(info.size);
        let NewFile { token, mut file, .. } = within(self.to.create(target.clone())).await?;
        let copied = tokio::task::spawn_blocking(move || std::io::copy(&mut content, &mut file));
        let copied = copied.await.map_err(|e| Error::internal("copying a file", e))?;
        copied.map_err(|error| failure(error.into()))?;
        let mode = self.copy.mode.unwrap_or(info.mode);
        within(self.to.commit(token, true, Some(mode))).await?;
        self.own(target, &info, mode);
        Ok(())
    }

    async fn link(&mut self, entry: &Info, path: String) -> Result<()> {
        if within(self.to.exists(path.clone())).await? {
            within(self.to.ask(Op::Remove { path: path.clone() })).await?;
        }
        let target = entry.symlink_target.clone().unwrap_or_default();
        within(self.to.ask(Op::Symlink {
            target,
            path: path.clone(),
        }))
        .await?;
        self.own(path, entry, 0);
        Ok(())
    }

    /// What is made is root's already.
    fn own(&mut self, path: String, info: &Info, mode: u32) {
        let number = |which: usize, name: &str| {
            let known = self.numbers[which].get(name).copied();
            known.or_else(|| name.parse().ok()).unwrap_or(0)
        };
        let owner = match &self.copy.owner {
            Some(owner) => owner.clone(),
            None => format!("{}:{}", number(0, &info.owner), number(1, &info.group)),
        };
        if owner == "0:0" {
            return;
        }
        if mode & 0o6000 != 0 {
            self.special.push((path.clone(), mode));
        }
        self.owned.entry(owner).or_default().push(path);
    }

    async fn end(mut self, running: &Arc<dyn Running>) -> Result<()> {
        for (owner, paths) in &self.owned {
            give(running, owner, paths).await?;
        }
        for (path, mode) in self.special {
            within(self.to.ask(Op::SetMode { path, mode })).await?;
        }
        Ok(())
    }
}

/// Paths of a machine that match a pattern; a plain path is there, or nothing is.
async fn matching(files: &mut Files, pattern: &str) -> Result<Vec<String>> {
    let mut found = vec![String::new()];
    for part in pattern.split('/').filter(|part| !part.is_empty()) {
        let mut next = Vec::new();
        for directory in found {
            if !glob::is_pattern(part) {
                next.push(format!("{directory}/{part}"));
                continue;
            }
            let path = if directory.is_empty() { "/" } else { &directory };
            let entries = match within(files.list(path.to_owned(), 0)).await {
                Ok(entries) => entries,
                Err(error) if matches!(error.kind, Kind::NotFound | Kind::InvalidRequest) => continue,
                Err(error) => return Err(error),
            };
            let fits = entries
                .into_iter()
                .filter(|entry| glob::matches(part, &entry.name));
            next.extend(fits.map(|entry| format!("{directory}/{}", entry.name)));
        }
        found = next;
    }
    let mut there = Vec::new();
    for path in found {
        let path = if path.is_empty() { "/".to_owned() } else { path };
        if within(files.exists(path.clone())).await? {
            there.push(path);
        }
    }
    there.sort();
    Ok(there)
}

/// Numbers by name, of `/etc/passwd` and `/etc/group`.
async fn numbers(files: &mut Files, path: &str) -> Result<BTreeMap<String, u32>> {
    let text = users(files, path).await?;
    let number = |line: &str| {
        let mut fields = line.split(':');
        let (name, number) = (fields.next()?, fields.nth(1)?.parse().ok()?);
        Some((name.to_owned(), number))
    };
    Ok(text.lines().filter_map(number).collect())
}

/// A file of users or groups; an image may have none, and know its users by number only.
async fn users(files: &mut Files, path: &str) -> Result<String> {
    match within(files.read(path.to_owned())).await {
        Ok((_, file)) => read_text(file).await,
        Err(error) if error.kind == Kind::NotFound => Ok(String::new()),
        Err(error) => Err(error),
    }
}

/// The begin of a file of users, as text.
async fn read_text(mut file: std::fs::File) -> Result<String> {
    use std::io::Read as _;
    let read = tokio::task::spawn_blocking(move || {
        let mut text = Vec::new();
        (&mut file).take(1 << 20).read_to_end(&mut text).map(|_| text)
    });
    let text = read.await.map_err(|e| Error::internal("reading users", e))?;
    let text = text.map_err(|e| Error::internal("reading users", e))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Writes files, with the directories above them.
pub async fn write(
    running: &Arc<dyn Running>,
    all: &[(String, String)],
    owner: Option<&str>,
    mode: Option<u32>,
) -> Result<()> {
    use std::io::Write as _;
    let mut files = files(running).await?;
    for (path, content) in all {
        let NewFile { token, mut file, .. } = within(files.create(path.clone())).await?;
        let written = file.write_all(content.as_bytes());
        written.map_err(|error| failure(error.into()))?;
        within(files.commit(token, true, Some(mode.unwrap_or(0o644)))).await?;
    }
    let paths: Vec<String> = all.iter().map(|(path, _)| path.clone()).collect();
    match owner {
        Some(owner) => give(running, owner, &paths).await,
        None => Ok(()),
    }
}

/// Makes a directory if it is missing, and gives it to somebody if it was.
pub async fn make_directory(running: &Arc<dyn Running>, path: &str, owner: Option<&str>) -> Result<()> {
    let mut files = files(running).await?;
    let is_there = within(files.exists(path.to_owned())).await?;
    within(files.ask(Op::MakeDirectory {
        path: path.to_owned(),
    }))
    .await?;
    match owner.filter(|_| !is_there) {
        Some(owner) => give(running, owner, &[path.to_owned()]).await,
        None => Ok(()),
    }
}

async fn put(files: &mut Files, path: &str, source: PathBuf, mode: Option<u32>) -> Result<()> {
    let NewFile { token, mut file, .. } = within(files.create(path.to_owned())).await?;
    let copied = tokio::task::spawn_blocking(move || {
        let mut from = std::fs::File::open(source)?;
        std::io::copy(&mut from, &mut file)
    });
    let copied = copied.await.map_err(|e| Error::internal("copying a file", e))?;
    copied.map_err(|error| failure(error.into()))?;
    within(files.commit(token, true, mode)).await.map(drop)
}

/// Writes a file that only its owner reads.
pub async fn write_private(files: &mut Files, path: &str, content: &str) -> Result<()> {
    use std::io::Write as _;
    let NewFile { token, mut file, .. } = within(files.create(path.to_owned())).await?;
    let written = file.write_all(content.as_bytes());
    written.map_err(|error| failure(error.into()))?;
    within(files.commit(token, true, Some(0o400))).await.map(drop)
}

/// Gives files to `user` or `user:group`, by name or number. By the engine, since an image may have no `chown`.
pub async fn give(running: &Arc<dyn Running>, owner: &str, paths: &[String]) -> Result<()> {
    if paths.is_empty() {
        return Ok(());
    }
    let mut files = files(running).await?;
    let (user, group) = owner_numbers(&mut files, owner).await?;
    for path in paths {
        let path = path.clone();
        within(files.ask(Op::SetOwner { path, user, group })).await?;
    }
    Ok(())
}

/// The numbers of `user` or `user:group`. Without a group it is the user's own; a number that no file knows is its own group.
async fn owner_numbers(files: &mut Files, owner: &str) -> Result<(u32, u32)> {
    let (user, group) = match owner.split_once(':') {
        Some((user, group)) => (user, Some(group).filter(|group| !group.is_empty())),
        None => (owner, None),
    };
    let unknown = |what: &str, name: &str| {
        let text = format!("the files could not be given to {owner:?}: the template has no {what} {name:?}");
        Error::new(Kind::InvalidRequest, text)
    };
    let passwd = users(files, "/etc/passwd").await?;
    let entry = passwd.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let is_it = fields.first() == Some(&user) || fields.get(2) == Some(&user);
        let number = |index: usize| fields.get(index)?.parse().ok();
        is_it.then_some((number(2)?, number(3)?))
    });
    let (user, own) = match (entry, user.parse()) {
        (Some((user, own)), _) => (user, own),
        (None, Ok(number)) => (number, number),
        (None, Err(_)) => return Err(unknown("user", user)),
    };
    let group = match group.map(|group| (group, group.parse())) {
        None => own,
        Some((_, Ok(number))) => number,
        Some((name, Err(_))) => {
            let known = numbers(files, "/etc/group").await?;
            *known.get(name).ok_or_else(|| unknown("group", name))?
        }
    };
    Ok((user, group))
}

/// Name and home directory of a user of a machine, by name or number.
pub async fn user(running: &Arc<dyn Running>, name: &str) -> Result<DefaultUser> {
    // Says whether there is one.
    let opened = running.files(Some(name)).await;
    drop(opened.map_err(|error| Error::isolation("looking a user up", error))?);
    let mut files = files(running).await?;
    let text = users(&mut files, "/etc/passwd").await?;
    let home = text.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        (fields.first() == Some(&name) || fields.get(2) == Some(&name)).then(|| fields.get(5).copied())?
    });
    Ok(DefaultUser {
        name: name.to_owned(),
        home: home
            .filter(|home| home.starts_with('/'))
            .unwrap_or("/")
            .to_owned(),
    })
}
