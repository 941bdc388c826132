//! The log: one line for each event, on standard error. What clients sent may be in it, so no line holds a character that
//! a terminal acts on, or that reads as the end of a line.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};

/// Form of the log.
#[derive(Clone, Copy, clap::ValueEnum)]
pub enum Form {
    Text,
    Json,
}

/// Begins to log.
pub fn start(form: Form, level: tracing::Level) {
    // Only what this program says: libraries may log headers, and headers hold keys.
    let filter = tracing_subscriber::EnvFilter::new(format!("error,nullspace_engine={level}"));
    let has_colours = io::stderr().is_terminal();
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(has_colours)
        .with_writer(move || Lines {
            to: io::stderr(),
            has_colours,
        });
    match form {
        Form::Text => log.with_target(false).init(),
        Form::Json => log.json().flatten_event(true).with_target(false).init(),
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
