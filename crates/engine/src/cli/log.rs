//! The log: one line for each event, on standard error. What clients sent may be in it, so no line holds a character that
//! a terminal acts on, or that reads as the end of a line.

use std::borrow::Cow;
use std::fs::{self, File};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Form of the log.
#[derive(Clone, Copy, clap::ValueEnum)]
pub enum Form {
    Text,
    Json,
}

/// A log file begins anew when it is longer. Bytes.
const LONGEST: u64 = 8 << 20;

/// Begins to log, to standard error unless there is a file.
pub fn start(form: Form, level: tracing::Level, file: Option<&Path>) -> super::Outcome<()> {
    let file = match file {
        None => None,
        Some(path) => {
            let opened =
                Rotated::open(path, LONGEST).map_err(|e| format!("--log-file {}: {e}", path.display()))?;
            Some(Arc::new(Mutex::new(opened)))
        }
    };
    // Only what this program says: libraries may log headers, and headers hold keys.
    let filter = tracing_subscriber::EnvFilter::new(format!("error,nullspace_engine={level}"));
    let has_colours = file.is_none() && io::stderr().is_terminal();
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(has_colours)
        .with_writer(move || Lines {
            to: match &file {
                Some(file) => To::File(file.clone()),
                None => To::Terminal(io::stderr()),
            },
            has_colours,
        });
    match form {
        Form::Text => log.with_target(false).init(),
        Form::Json => log.json().flatten_event(true).with_target(false).init(),
    }
    Ok(())
}

/// Where lines go.
enum To {
    Terminal(io::Stderr),
    File(Arc<Mutex<Rotated>>),
}

impl Write for To {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Terminal(terminal) => terminal.write_all(bytes)?,
            Self::File(file) => file.lock().unwrap_or_else(PoisonError::into_inner).add(bytes)?,
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A file that does not grow for ever: the one before it is kept, with `.1` behind its name.
struct Rotated {
    path: PathBuf,
    file: File,
    length: u64,
    longest: u64,
}

impl Rotated {
    fn open(path: &Path, longest: u64) -> io::Result<Self> {
        let file = File::options().append(true).create(true).mode(0o600).open(path)?;
        Ok(Self {
            path: path.to_owned(),
            length: file.metadata()?.len(),
            file,
            longest,
        })
    }

    /// Adds a line.
    fn add(&mut self, line: &[u8]) -> io::Result<()> {
        if self.length > 0 && self.length + line.len() as u64 > self.longest {
            let mut before = self.path.clone().into_os_string();
            before.push(".1");
            fs::rename(&self.path, before)?;
            *self = Self::open(&self.path, self.longest)?;
        }
        self.file.write_all(line)?;
        self.length += line.len() as u64;
        Ok(())
    }
}

/// Takes one line a call.
struct Lines<W> {
    to: W,
    /// The subscriber's own escape sequences pass; it escapes those of others.
    has_colours: bool,
}

impl<W: Write> Write for Lines<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        let (text, end) = match text.strip_suffix('\n') {
            Some(text) => (text, "\n"),
            None => (&*text, ""),
        };
        let shown = printable(text, self.has_colours);
        self.to.write_all([&*shown, end].concat().as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// A text without control characters, line separators and marks that turn the direction of writing: each is written as
/// in JSON.
fn printable(text: &str, has_colours: bool) -> Cow<'_, str> {
    let is_bad = |c: char| match c {
        '\t' => false,
        '\x1b' => !has_colours,
        '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => true,
        c => c.is_control(),
    };
    if !text.contains(is_bad) {
        return text.into();
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match is_bad(c) {
            true => shown.push_str(&format!("\\u{:04x}", u32::from(c))),
            false => shown.push(c),
        }
    }
    shown.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_file_begins_anew_when_it_is_long_and_the_last_one_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("engine.log");
        let read = |name: &str| fs::read_to_string(directory.path().join(name)).unwrap_or_default();
        let mut log = Rotated::open(&path, 10).unwrap();
        for line in ["one\n", "two\n", "three\n"] {
            log.add(line.as_bytes()).unwrap();
        }
        assert_eq!(
            (read("engine.log"), read("engine.log.1")),
            ("three\n".into(), "one\ntwo\n".into())
        );
        // A later engine goes on.
        let mut log = Rotated::open(&path, 10).unwrap();
        log.add(b"four\n").unwrap();
        assert_eq!(
            (read("engine.log"), read("engine.log.1")),
            ("four\n".into(), "three\n".into())
        );
        log.add(b"longer than all\n").unwrap();
        assert_eq!(read("engine.log"), "longer than all\n");
    }

    #[test]
    fn a_line_holds_nothing_that_a_terminal_acts_on() {
        let mut lines = Lines {
            to: Vec::new(),
            has_colours: false,
        };
        let line = "path=/v1/\u{9b}31m\u{85}x\u{2028}y\u{202e}z\x1b[0m\ninfo: forged \u{e9}\t!\n";
        lines.write_all(line.as_bytes()).unwrap();
        assert_eq!(
            String::from_utf8(lines.to).unwrap(),
            "path=/v1/\\u009b31m\\u0085x\\u2028y\\u202ez\\u001b[0m\\u000ainfo: forged \u{e9}\t!\n"
        );
    }
}
