//! Files of a build context, put into a machine.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::definition::Entry;
use super::step::Copy;
use crate::isolation::files::{EntryKind, Files, NewFile, Op};
use crate::isolation::{ExecSpec, Running};
use crate::machine::error::{Error, Kind, Result};
use crate::machine::exec::{user_environment, DefaultUser};
use crate::machine::files::{clean, failure, within};

/// Paths of one call of `chown`.
const PATHS_AT_ONCE: usize = 500;

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
                let below = format!("{source}/");
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

/// Gives files to a user.
pub async fn give(running: &Arc<dyn Running>, owner: &str, paths: &[String]) -> Result<()> {
    for some in paths.chunks(PATHS_AT_ONCE) {
        let head = ["chown", "-h", "--", owner].map(str::to_owned);
        let spec = ExecSpec {
            argv: head.into_iter().chain(some.iter().cloned()).collect(),
            envs: user_environment(None, Default::default()),
            cwd: "/".into(),
            ..Default::default()
        };
        let process = running
            .exec(spec)
            .await
            .map_err(|e| Error::isolation("changing an owner", e))?;
        let exit = process
            .exit
            .await
            .map_err(|_| Error::isolation("changing an owner", crate::isolation::IsolationError::Gone))?;
        if exit.code != 0 {
            return Err(Error::new(
                Kind::InvalidRequest,
                format!("the files could not be given to {owner:?}: there is no such user in the template"),
            ));
        }
    }
    Ok(())
}

/// Name and home directory of a user of a machine, by name or number.
pub async fn user(running: &Arc<dyn Running>, name: &str) -> Result<DefaultUser> {
    use std::io::Read as _;
    // Says whether there is one.
    let opened = running.files(Some(name)).await;
    drop(opened.map_err(|error| Error::isolation("looking a user up", error))?);
    let mut files = files(running).await?;
    let text = match within(files.read("/etc/passwd".into())).await {
        Ok((_, mut file)) => {
            let read = tokio::task::spawn_blocking(move || {
                let mut text = Vec::new();
                (&mut file).take(1 << 20).read_to_end(&mut text).map(|_| text)
            });
            let text = read.await.map_err(|e| Error::internal("looking a user up", e))?;
            text.map_err(|e| Error::internal("looking a user up", e))?
        }
        // An image may know its user by number only.
        Err(error) if error.kind == Kind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    let text = String::from_utf8_lossy(&text);
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
