//! Searching below a directory. Symlinks are not followed, what cannot be read is left out, and a search that nobody
//! waits for any more ends.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use super::pattern::Pattern;
use super::serve::{open_without_waiting, Session};
use super::text::{meant, shown};
use super::write::New;
use super::{Fault, Match, Result, MOST_MATCHES};

/// Bytes of a line that are shown.
const LONGEST_LINE: usize = 4 << 10;
/// Bytes of a line that are searched.
const LONGEST_READ: u64 = 1 << 20;
/// Bytes of all lines together.
const LARGEST_RESULT: usize = 16 << 20;
/// Files that a failure names.
const MOST_NAMED: usize = 20;
/// Bytes of a file that text is replaced in.
const LARGEST_FILE: u64 = 64 << 20;
/// Entries looked at between two looks at whether anybody waits.
const PATIENCE: usize = 64;

/// Calls `visit` for everything below `path` that is no directory, and for directories too; by path. It says whether
/// to go on.
fn walk(session: &Session, path: &Path, visit: &mut dyn FnMut(&Path, fs::FileType) -> bool) -> Result<()> {
    let mut waiting = sorted(path).map_err(|e| Fault::at(path, &e))?;
    let mut seen = 0;
    while let Some((path, kind)) = waiting.pop() {
        seen += 1;
        if seen % PATIENCE == 0 && session.is_abandoned() {
            return Err(Fault::new(libc::ECANCELED, "nobody waits for the search"));
        }
        if !visit(&path, kind) {
            return Ok(());
        }
        if kind.is_dir() {
            waiting.extend(sorted(&path).unwrap_or_default());
        }
    }
    Ok(())
}

/// Entries of a directory, the last first.
fn sorted(directory: &Path) -> io::Result<Vec<(PathBuf, fs::FileType)>> {
    let entries = fs::read_dir(directory)?.flatten();
    let mut found: Vec<_> = entries
        .filter_map(|e| Some((e.path(), e.file_type().ok()?)))
        .collect();
    found.sort_by(|a, b| b.0.cmp(&a.0));
    Ok(found)
}

pub(super) fn search(session: &Session, path: &Path, pattern: &str) -> Result<Vec<String>> {
    let patterns = Pattern::all(path, pattern)?;
    let mut found = Vec::new();
    walk(session, path, &mut |entry, kind| {
        if patterns.iter().any(|pattern| pattern.matches(path, entry, kind)) {
            found.push(shown(entry));
        }
        found.len() < MOST_MATCHES
    })?;
    Ok(found)
}

pub(super) fn find(session: &Session, path: &Path, pattern: &str) -> Result<Vec<Match>> {
    if pattern.is_empty() {
        return Err(Fault::new(libc::EINVAL, "the text to find is empty"));
    }
    let mut results = Results::default();
    let metadata = fs::metadata(path).map_err(|e| Fault::at(path, &e))?;
    if metadata.is_dir() {
        walk(session, path, &mut |entry, kind| {
            if kind.is_file() {
                let _ = results.add(entry, pattern); // what cannot be read is left out
            }
            !results.is_full()
        })?;
    } else if metadata.is_file() {
        results.add(path, pattern).map_err(|e| Fault::at(path, &e))?;
    }
    Ok(results.found)
}

#[derive(Default)]
struct Results {
    found: Vec<Match>,
    bytes: usize,
}

impl Results {
    fn is_full(&self) -> bool {
        self.found.len() >= MOST_MATCHES || self.bytes >= LARGEST_RESULT
    }

    /// Searches a file line by line. One with a NUL in a line is no text: it is left from there on.
    fn add(&mut self, path: &Path, pattern: &str) -> io::Result<()> {
        let mut reader = BufReader::with_capacity(64 << 10, open_without_waiting(path)?);
        let (mut line, mut number) = (Vec::new(), 0);
        loop {
            line.clear();
            if reader.by_ref().take(LONGEST_READ).read_until(b'\n', &mut line)? == 0 || line.contains(&0) {
                return Ok(());
            }
            number += 1;
            if !line.ends_with(b"\n") && line.len() as u64 == LONGEST_READ {
                skip_line(&mut reader)?;
            }
            if count(&line, pattern.as_bytes()) == 0 {
                continue;
            }
            let text = String::from_utf8_lossy(&line);
            let text = text.trim_end_matches(['\n', '\r']);
            let mut end = text.len().min(LONGEST_LINE);
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            let found = Match {
                file: shown(path),
                line: number,
                content: text[..end].to_owned(),
            };
            self.bytes += found.file.len() + found.content.len();
            self.found.push(found);
            if self.is_full() {
                return Ok(());
            }
        }
    }
}

fn skip_line(reader: &mut impl BufRead) -> io::Result<()> {
    loop {
        let buffer = reader.fill_buf()?;
        let end = buffer.iter().position(|b| *b == b'\n');
        let (used, is_done) = (
            end.map_or(buffer.len(), |at| at + 1),
            end.is_some() || buffer.is_empty(),
        );
        reader.consume(used);
        if is_done {
            return Ok(());
        }
    }
}

fn count(bytes: &[u8], pattern: &[u8]) -> usize {
    memchr::memmem::find_iter(bytes, pattern).count()
}

/// How often a text would be replaced in each file. Fails where replacing it would.
pub(super) fn count_in(files: &[String], pattern: &str) -> Result<Vec<u64>> {
    if pattern.is_empty() {
        return Err(Fault::new(libc::EINVAL, "the text to replace is empty"));
    }
    let one = |file: &String| {
        let path = &meant(file);
        let times = count(&read_to_replace(path)?, pattern.as_bytes());
        if times > 0 {
            // Dropped at once. It finds out whether the file may be written.
            New::begin(path)?;
        }
        Ok(times as u64)
    };
    files.iter().map(one).collect()
}

pub(super) fn replace(files: &[String], pattern: &str, replacement: &str) -> Result<Vec<u64>> {
    // All of them before the first one changes: a name that is wrong leaves every file as it was.
    count_in(files, pattern)?;
    let mut counts = Vec::with_capacity(files.len());
    for file in files {
        match replace_one(&meant(file), pattern.as_bytes(), replacement.as_bytes()) {
            Ok(times) => counts.push(times),
            Err(fault) => return Err(say_changed(fault, files, &counts)),
        }
    }
    Ok(counts)
}

/// Adds to a failure which files had changed before it.
fn say_changed(fault: Fault, files: &[String], counts: &[u64]) -> Fault {
    let changed: Vec<&str> = files
        .iter()
        .zip(counts)
        .filter(|(_, times)| **times > 0)
        .map(|(file, _)| file.as_str())
        .collect();
    if changed.is_empty() {
        return fault;
    }
    let shown = changed[..changed.len().min(MOST_NAMED)].join(", ");
    let more = match changed.len().saturating_sub(MOST_NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Fault::new(
        fault.errno,
        format!("{}; the text was replaced before in {shown}{more}", fault.text),
    )
}

/// The content of a file that text is replaced in.
fn read_to_replace(path: &Path) -> Result<Vec<u8>> {
    let fault = |e: io::Error| Fault::at(path, &e);
    let metadata = fs::metadata(path).map_err(fault)?;
    if metadata.is_dir() {
        return Err(fault(io::Error::from_raw_os_error(libc::EISDIR)));
    }
    if !metadata.is_file() || metadata.len() > LARGEST_FILE {
        let text = format!(
            "{}: is no regular file of at most {LARGEST_FILE} bytes",
            shown(path)
        );
        return Err(Fault::new(libc::EFBIG, text));
    }
    let mut old = Vec::new();
    open_without_waiting(path)
        .and_then(|f| f.take(LARGEST_FILE).read_to_end(&mut old))
        .map_err(fault)?;
    Ok(old)
}

fn replace_one(path: &Path, pattern: &[u8], replacement: &[u8]) -> Result<u64> {
    let fault = |e: io::Error| Fault::at(path, &e);
    let old = read_to_replace(path)?;
    let times = count(&old, pattern);
    if times == 0 {
        return Ok(0);
    }
    let new = New::begin(path)?;
    let mut to = io::BufWriter::new(File::from(new.descriptor()?));
    let mut at = 0;
    for found in memchr::memmem::find_iter(&old, pattern) {
        to.write_all(&old[at..found]).map_err(fault)?;
        to.write_all(replacement).map_err(fault)?;
        at = found + pattern.len();
    }
    to.write_all(&old[at..])
        .and_then(|()| to.flush())
        .map_err(fault)?;
    new.commit(true, None)?;
    Ok(times as u64)
}
