//! What commands print: bounded in memory, spilled to disk, cut into text without splitting characters.

use std::fs::{DirBuilder, File};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nullspace_wire::exec::ProcessLogs;

/// Which stream a chunk came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Most bytes of each stream in the answer of a foreground command: 8 MiB. The rest is read and dropped.
pub const CAPTURE_LIMIT: usize = 8 << 20;
/// Bytes of a background log that stay in memory: 64 KiB. More goes to a file.
const MEMORY_LIMIT: usize = 64 << 10;
/// Bytes of a log file, 4 MiB. When it is full it becomes the older half and a new one begins, so that a log keeps
/// its last 4 to 8 MiB.
const SEGMENT_LIMIT: u64 = 4 << 20;

/// The beginning of what a foreground command prints.
#[derive(Debug, Default)]
pub struct Capture {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    dropped_stdout: u64,
    dropped_stderr: u64,
}

impl Capture {
    /// Takes a chunk; what is over the limit is only counted.
    pub fn push(&mut self, stream: Stream, chunk: &[u8]) {
        let (kept, dropped) = match stream {
            Stream::Stdout => (&mut self.stdout, &mut self.dropped_stdout),
            Stream::Stderr => (&mut self.stderr, &mut self.dropped_stderr),
        };
        let room = CAPTURE_LIMIT.saturating_sub(kept.len()).min(chunk.len());
        kept.extend_from_slice(&chunk[..room]);
        *dropped += (chunk.len() - room) as u64;
    }

    /// Both streams as text; a cut stream ends with a line that says so.
    pub fn texts(&self) -> (String, String) {
        let text = |kept: &[u8], dropped: u64| {
            let mut text = String::from_utf8_lossy(kept).into_owned();
            if dropped > 0 {
                text.push_str(&format!(
                    "\n[nullspace: {dropped} more bytes were dropped; stream the command to get all of them]\n"
                ));
            }
            text
        };
        (
            text(&self.stdout, self.dropped_stdout),
            text(&self.stderr, self.dropped_stderr),
        )
    }

    fn logs(&self) -> ProcessLogs {
        let (stdout, stderr) = self.texts();
        ProcessLogs {
            output: format!("{stdout}{stderr}"),
            stdout,
            stderr,
            exit_code: None,
        }
    }
}

/// The end of what a background command prints, both streams in the order they came.
///
/// Chunks are framed: one byte for the stream, four for the length, then the bytes.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    memory: Vec<u8>,
    file: Option<File>,
    file_bytes: u64,
    dropped: u64,
}

impl Log {
    /// An empty log that spills to `path` and `path.old`. They are removed when the log is dropped.
    pub fn new(path: PathBuf) -> Self {
        Self {
            path,
            memory: Vec::new(),
            file: None,
            file_bytes: 0,
            dropped: 0,
        }
    }

    fn older(&self) -> PathBuf {
        self.path.with_extension("old")
    }

    /// Takes a chunk. Writes go to the page cache and are short, so they are not sent to another thread.
    pub fn push(&mut self, stream: Stream, chunk: &[u8]) {
        let mut frame = Vec::with_capacity(chunk.len() + 5);
        frame.push(u8::from(stream == Stream::Stderr));
        frame.extend_from_slice(&u32::try_from(chunk.len()).unwrap_or(u32::MAX).to_be_bytes());
        frame.extend_from_slice(chunk);
        if self.file.is_none() && self.memory.len() + frame.len() <= MEMORY_LIMIT {
            self.memory.extend_from_slice(&frame);
            return;
        }
        // A full disk must not end the command: what cannot be kept is counted.
        if self.spill(&frame).is_err() {
            self.dropped += chunk.len() as u64;
        }
    }

    fn spill(&mut self, frame: &[u8]) -> std::io::Result<()> {
        if self.file.is_some() && self.file_bytes + frame.len() as u64 > SEGMENT_LIMIT {
            let lost = std::fs::metadata(self.older()).map_or(0, |m| m.len());
            std::fs::rename(&self.path, self.older())?;
            self.dropped += lost;
            self.file = None;
        }
        if self.file.is_none() {
            if let Some(parent) = self.path.parent() {
                DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
            }
            let mut private = File::options();
            private.write(true).create(true).truncate(true).mode(0o600);
            self.file = Some(private.open(&self.path)?);
            self.file_bytes = 0;
            let memory = std::mem::take(&mut self.memory);
            self.append(&memory)?;
        }
        self.append(frame)
    }

    fn append(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        if let Some(file) = &mut self.file {
            file.write_all(bytes)?;
            self.file_bytes += bytes.len() as u64;
        }
        Ok(())
    }

    /// All that is kept, as text.
    pub fn read(&self) -> ProcessLogs {
        let mut frames = Vec::new();
        for path in [&self.older(), &self.path] {
            // No file yet, or one that somebody removed: what is left is still worth showing.
            let _ = File::open(path).and_then(|mut f| f.read_to_end(&mut frames));
        }
        frames.extend_from_slice(&self.memory);
        let (mut stdout, mut stderr, mut output) = (Vec::new(), Vec::new(), Vec::new());
        if self.dropped > 0 {
            let note = format!(
                "[nullspace: {} bytes of earlier output were dropped]\n",
                self.dropped
            );
            output.extend_from_slice(note.as_bytes());
        }
        let mut rest = frames.as_slice();
        while let Some((head, tail)) = rest.split_at_checked(5) {
            let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
            let (chunk, tail) = tail.split_at(length.min(tail.len()));
            if head[0] == 0 { &mut stdout } else { &mut stderr }.extend_from_slice(chunk);
            output.extend_from_slice(chunk);
            rest = tail;
        }
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        ProcessLogs {
            stdout: text(stdout),
            stderr: text(stderr),
            output: text(output),
            exit_code: None,
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        if self.file.is_some() {
            let _ = std::fs::remove_file(&self.path);
            let _ = std::fs::remove_file(self.older());
        }
    }
}

/// Where the output of a command goes.
#[derive(Debug)]
pub enum Sink {
    /// Into the answer.
    Capture(Capture),
    /// Into a log.
    Log(Log),
    /// Nowhere: terminals are read live.
    Nothing,
}

impl Sink {
    /// A log at this path.
    pub fn log(path: &Path) -> Self {
        Sink::Log(Log::new(path.to_owned()))
    }

    /// Takes a chunk.
    pub fn push(&mut self, stream: Stream, chunk: &[u8]) {
        match self {
            Sink::Capture(capture) => capture.push(stream, chunk),
            Sink::Log(log) => log.push(stream, chunk),
            Sink::Nothing => {}
        }
    }

    /// All that is kept.
    pub fn read(&self) -> ProcessLogs {
        match self {
            Sink::Capture(capture) => capture.logs(),
            Sink::Log(log) => log.read(),
            Sink::Nothing => Capture::default().logs(),
        }
    }
}

/// Text of a piece of output.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Piece {
    /// Bytes that are no UTF-8 are U+FFFD here.
    pub text: String,
    /// What the text stands for, where that is no UTF-8.
    pub bytes: Option<Vec<u8>>,
}

/// Bytes into text, chunk by chunk: a character that is split between chunks waits for its end, bytes that are no
/// UTF-8 become U+FFFD.
#[derive(Debug, Default)]
pub struct TextDecoder {
    pending: Vec<u8>,
}

impl TextDecoder {
    /// Text of the bytes so far, except for a last character that is not whole.
    pub fn push(&mut self, chunk: &[u8]) -> String {
        self.push_piece(chunk).text
    }

    /// The same, with the bytes where they are no UTF-8.
    pub fn push_piece(&mut self, chunk: &[u8]) -> Piece {
        let mut is_text = true;
        self.pending.extend_from_slice(chunk);
        let mut text = String::with_capacity(self.pending.len());
        let mut unfinished = 0;
        for part in self.pending.utf8_chunks() {
            text.push_str(part.valid());
            let invalid = part.invalid();
            if invalid.is_empty() {
                continue;
            }
            let is_at_end = std::ptr::eq(invalid.as_ptr_range().end, self.pending.as_ptr_range().end);
            // An error without a length means "more bytes could make it whole".
            let could_grow = std::str::from_utf8(invalid).is_err_and(|e| e.error_len().is_none());
            if is_at_end && could_grow {
                unfinished = invalid.len();
            } else {
                text.push(char::REPLACEMENT_CHARACTER);
                is_text = false;
            }
        }
        let left = self.pending.split_off(self.pending.len() - unfinished);
        let bytes = std::mem::replace(&mut self.pending, left);
        Piece {
            text,
            bytes: (!is_text).then_some(bytes),
        }
    }

    /// What is left at the end of the stream.
    pub fn finish(&mut self) -> String {
        self.finish_piece().text
    }

    /// The same, with the bytes: what is left is never a whole character.
    pub fn finish_piece(&mut self) -> Piece {
        let left = std::mem::take(&mut self.pending);
        Piece {
            text: String::from_utf8_lossy(&left).into_owned(),
            bytes: (!left.is_empty()).then_some(left),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_the_same_wherever_the_stream_is_cut() {
        let bytes = "aé€𝄞z".as_bytes();
        for first in 0..=bytes.len() {
            for second in first..=bytes.len() {
                let mut decoder = TextDecoder::default();
                let parts = [&bytes[..first], &bytes[first..second], &bytes[second..]];
                let text: String = parts.iter().map(|p| decoder.push(p)).collect();
                assert_eq!(text + &decoder.finish(), "aé€𝄞z", "cut at {first} and {second}");
            }
        }
    }

    #[test]
    fn bytes_that_are_no_text_do_not_hold_up_the_rest() {
        let mut decoder = TextDecoder::default();
        assert_eq!(decoder.push(b"a\xffb\xe2\x82"), "a\u{fffd}b");
        assert_eq!(decoder.push(b"x"), "\u{fffd}x");
        assert_eq!(decoder.push(b"\xf0\x9f"), "");
        assert_eq!(decoder.finish(), "\u{fffd}");
    }

    #[test]
    fn pieces_have_their_bytes_where_these_are_no_text() {
        let mut decoder = TextDecoder::default();
        let piece = |text: &str, bytes: Option<&[u8]>| Piece {
            text: text.to_owned(),
            bytes: bytes.map(<[u8]>::to_vec),
        };
        assert_eq!(decoder.push_piece("é".as_bytes()), piece("é", None));
        // The first half of a character waits; it is text once the rest has come.
        assert_eq!(decoder.push_piece(b"a\xc3"), piece("a", None));
        assert_eq!(decoder.push_piece(b"\xa9"), piece("é", None));
        assert_eq!(
            decoder.push_piece(b"a\xff\xe2\x82"),
            piece("a\u{fffd}", Some(b"a\xff"))
        );
        assert_eq!(decoder.push_piece(b"x"), piece("\u{fffd}x", Some(b"\xe2\x82x")));
        assert_eq!(decoder.push_piece(b"\xf0\x9f"), piece("", None));
        assert_eq!(decoder.finish_piece(), piece("\u{fffd}", Some(b"\xf0\x9f")));
        assert_eq!(decoder.finish_piece(), piece("", None));
    }

    #[test]
    fn a_capture_keeps_the_beginning_and_says_what_is_missing() {
        let mut capture = Capture::default();
        capture.push(Stream::Stdout, &vec![b'a'; CAPTURE_LIMIT - 1]);
        capture.push(Stream::Stdout, b"bcd");
        capture.push(Stream::Stderr, b"e");
        let (stdout, stderr) = capture.texts();
        assert!(
            stdout[CAPTURE_LIMIT - 2..].starts_with("ab\n[nullspace: 2 more bytes"),
            "{}",
            &stdout[CAPTURE_LIMIT - 2..]
        );
        assert_eq!(stderr, "e");
    }

    #[test]
    fn a_log_keeps_both_streams_in_order_in_memory_and_on_disk() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("1.log");
        let mut log = Log::new(path.clone());
        log.push(Stream::Stdout, b"one ");
        log.push(Stream::Stderr, b"two ");
        log.push(Stream::Stdout, b"three ");
        assert!(!path.exists());
        let logs = log.read();
        assert_eq!(
            (logs.stdout.as_str(), logs.stderr.as_str()),
            ("one three ", "two ")
        );
        assert_eq!(logs.output, "one two three ");
        log.push(Stream::Stdout, &vec![b'x'; MEMORY_LIMIT]);
        assert!(path.exists());
        assert!(log.read().output.starts_with("one two three xxx"));
        drop(log);
        assert!(!path.exists());
    }

    #[test]
    fn a_long_log_keeps_its_end_within_its_bound() {
        let directory = tempfile::tempdir().unwrap();
        let mut log = Log::new(directory.path().join("1.log"));
        let chunk = vec![b'x'; 1 << 20];
        for _ in 0..20 {
            log.push(Stream::Stdout, &chunk);
        }
        log.push(Stream::Stdout, b"the end");
        let logs = log.read();
        assert!(logs.stdout.ends_with("the end"));
        assert!(logs.stdout.len() as u64 <= 2 * SEGMENT_LIMIT);
        assert!(logs.stdout.len() as u64 >= SEGMENT_LIMIT - (1 << 20));
        assert!(logs.output.starts_with("[nullspace: "), "{}", &logs.output[..60]);
    }
}
