//! What commands print: bounded in memory, spilled to disk, cut into text without splitting characters.

use std::fs::{DirBuilder, File};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use nullspace_wire::exec::{Dropped, ProcessLogs};

/// Which stream a chunk came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Most bytes of each stream in the answer of a foreground command: 32 MiB. The rest is read and dropped.
pub const CAPTURE_LIMIT: usize = 32 << 20;
/// Bytes of a stream that every command may have: 8 MiB. More is taken from [`ROOM`].
const CAPTURE_SHARE: usize = 8 << 20;
/// Bytes beyond their shares that all commands of the engine may hold together: 256 MiB.
static ROOM: AtomicUsize = AtomicUsize::new(256 << 20);
/// Bytes of a background log that stay in memory: 64 KiB. More goes to a file.
const MEMORY_LIMIT: usize = 64 << 10;
/// Bytes of a log file, 4 MiB. When it is full it becomes the older half and a new one begins, so that a log keeps
/// its last 4 to 8 MiB.
const SEGMENT_LIMIT: u64 = 4 << 20;

/// The beginning of what one stream of a foreground command prints.
#[derive(Debug, Default)]
struct Beginning {
    kept: Vec<u8>,
    dropped: u64,
    /// Bytes taken from [`ROOM`].
    taken: usize,
}

impl Beginning {
    fn push(&mut self, chunk: &[u8]) {
        // After the first gap nothing more: what is kept has none.
        let wanted = match self.dropped {
            0 => chunk.len().min(CAPTURE_LIMIT - self.kept.len()),
            _ => 0,
        };
        let own = wanted.min(CAPTURE_SHARE.saturating_sub(self.kept.len()));
        let more = wanted - own;
        let take = |room: usize| room.checked_sub(more);
        let kept = match ROOM.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take) {
            Ok(_) => {
                self.taken += more;
                wanted
            }
            Err(_) => own,
        };
        self.kept.extend_from_slice(&chunk[..kept]);
        self.dropped += (chunk.len() - kept) as u64;
    }

    fn text(&self) -> String {
        // Of a character that was cut only the whole ones before it are shown: the data ends, but is not changed.
        let end = match std::str::from_utf8(&self.kept) {
            Err(error) if self.dropped > 0 && error.error_len().is_none() => error.valid_up_to(),
            _ => self.kept.len(),
        };
        String::from_utf8_lossy(&self.kept[..end]).into_owned()
    }
}

impl Drop for Beginning {
    fn drop(&mut self) {
        ROOM.fetch_add(self.taken, Ordering::Relaxed);
    }
}

/// The beginning of what a foreground command prints.
#[derive(Debug, Default)]
pub struct Capture {
    stdout: Beginning,
    stderr: Beginning,
}

impl Capture {
    /// Takes a chunk; what is over the limit is only counted.
    pub fn push(&mut self, stream: Stream, chunk: &[u8]) {
        match stream {
            Stream::Stdout => self.stdout.push(chunk),
            Stream::Stderr => self.stderr.push(chunk),
        }
    }

    fn logs(&self) -> ProcessLogs {
        let (stdout, stderr) = (self.stdout.text(), self.stderr.text());
        ProcessLogs {
            output: format!("{stdout}{stderr}"),
            stdout,
            stderr,
            exit_code: None,
            dropped: Dropped::of(self.stdout.dropped, self.stderr.dropped),
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
    /// Bytes of output in the file and in the older half, by stream, and of the file itself.
    newer: [u64; 2],
    older: [u64; 2],
    file_bytes: u64,
    /// Bytes that are gone, by stream.
    dropped: [u64; 2],
}

impl Log {
    /// An empty log that spills to `path` and `path.old`. They are removed when the log is dropped.
    pub fn new(path: PathBuf) -> Self {
        Self {
            path,
            memory: Vec::new(),
            file: None,
            newer: [0; 2],
            older: [0; 2],
            file_bytes: 0,
            dropped: [0; 2],
        }
    }

    /// Bytes that are kept.
    pub fn size(&self) -> u64 {
        self.newer.iter().chain(&self.older).sum()
    }

    /// Moves what is in memory to the file.
    pub fn rest(&mut self) {
        // Where the disk is full it stays where it is.
        if self.file.is_none() && !self.memory.is_empty() {
            let _ = self.spill(&[]);
        }
    }

    /// Forgets what is kept, and counts it.
    pub fn discard(&mut self) {
        for (dropped, kept) in self.dropped.iter_mut().zip(self.newer.iter().zip(&self.older)) {
            *dropped += kept.0 + kept.1;
        }
        (self.newer, self.older) = ([0; 2], [0; 2]);
        self.memory = Vec::new();
        self.remove_files();
    }

    fn remove_files(&mut self) {
        if self.file.take().is_some() {
            let _ = std::fs::remove_file(&self.path);
            let _ = std::fs::remove_file(self.older_path());
        }
    }

    fn older_path(&self) -> PathBuf {
        self.path.with_extension("old")
    }

    /// Takes a chunk. Writes go to the page cache and are short, so they are not sent to another thread.
    pub fn push(&mut self, stream: Stream, chunk: &[u8]) {
        let mut frame = Vec::with_capacity(chunk.len() + 5);
        frame.push(u8::from(stream == Stream::Stderr));
        frame.extend_from_slice(&u32::try_from(chunk.len()).unwrap_or(u32::MAX).to_be_bytes());
        frame.extend_from_slice(chunk);
        let index = usize::from(frame[0]);
        if self.file.is_none() && self.memory.len() + frame.len() <= MEMORY_LIMIT {
            self.memory.extend_from_slice(&frame);
            self.newer[index] += chunk.len() as u64;
            return;
        }
        // A full disk must not end the command: what cannot be kept is counted.
        match self.spill(&frame) {
            Ok(()) => self.newer[index] += chunk.len() as u64,
            Err(_) => self.dropped[index] += chunk.len() as u64,
        }
    }

    fn spill(&mut self, frame: &[u8]) -> std::io::Result<()> {
        if self.file.is_some() && self.file_bytes + frame.len() as u64 > SEGMENT_LIMIT {
            std::fs::rename(&self.path, self.older_path())?;
            for (dropped, lost) in self.dropped.iter_mut().zip(self.older) {
                *dropped += lost;
            }
            self.older = std::mem::take(&mut self.newer);
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
        for path in [&self.older_path(), &self.path] {
            // No file yet, or one that somebody removed: what is left is still worth showing.
            let _ = File::open(path).and_then(|mut f| f.read_to_end(&mut frames));
        }
        frames.extend_from_slice(&self.memory);
        let (mut stdout, mut stderr, mut output) = (Vec::new(), Vec::new(), Vec::new());
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
            dropped: Dropped::of(self.dropped[0], self.dropped[1]),
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.remove_files();
    }
}

/// Where the output of a command goes.
#[derive(Debug)]
pub enum Sink {
    /// Into the answer.
    Capture(Capture),
    /// Into a log.
    Log(Log),
    /// Nowhere, beside what [`Command::note`](super::processes::Command::note) keeps.
    Notes(Log),
    /// Nowhere: terminals are read live.
    Nothing,
}

impl Sink {
    /// A log at this path.
    pub fn log(path: &Path) -> Self {
        Sink::Log(Log::new(path.to_owned()))
    }

    /// A log of notes at this path.
    pub fn notes(path: &Path) -> Self {
        Sink::Notes(Log::new(path.to_owned()))
    }

    /// Takes a chunk.
    pub fn push(&mut self, stream: Stream, chunk: &[u8]) {
        match self {
            Sink::Capture(capture) => capture.push(stream, chunk),
            Sink::Log(log) => log.push(stream, chunk),
            Sink::Notes(_) | Sink::Nothing => {}
        }
    }

    /// All that is kept.
    pub fn read(&self) -> ProcessLogs {
        match self {
            Sink::Capture(capture) => capture.logs(),
            Sink::Log(log) | Sink::Notes(log) => log.read(),
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

    /// What is left at the end of the stream, which is never a whole character.
    pub fn finish(&mut self) -> Piece {
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
                assert_eq!(
                    text + &decoder.finish().text,
                    "aé€𝄞z",
                    "cut at {first} and {second}"
                );
            }
        }
    }

    #[test]
    fn bytes_that_are_no_text_do_not_hold_up_the_rest() {
        let mut decoder = TextDecoder::default();
        assert_eq!(decoder.push(b"a\xffb\xe2\x82"), "a\u{fffd}b");
        assert_eq!(decoder.push(b"x"), "\u{fffd}x");
        assert_eq!(decoder.push(b"\xf0\x9f"), "");
        assert_eq!(decoder.finish().text, "\u{fffd}");
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
        assert_eq!(decoder.finish(), piece("\u{fffd}", Some(b"\xf0\x9f")));
        assert_eq!(decoder.finish(), piece("", None));
    }

    #[test]
    fn a_capture_keeps_the_beginning_as_it_came_and_counts_the_rest() {
        let mut capture = Capture::default();
        capture.push(Stream::Stdout, &vec![b'a'; CAPTURE_LIMIT - 1]);
        // The first byte of two: half a character is no part of the text.
        capture.push(Stream::Stdout, "ébc".as_bytes());
        // Nothing after a gap.
        capture.push(Stream::Stdout, b"d");
        capture.push(Stream::Stderr, b"e");
        let logs = capture.logs();
        assert_eq!(logs.stdout.len(), CAPTURE_LIMIT - 1);
        assert!(logs.stdout.ends_with("aaa"));
        assert_eq!(logs.stderr, "e");
        assert_eq!(logs.dropped, Dropped::of(4, 0));
        assert_eq!(
            serde_json::to_value(&logs.dropped).unwrap(),
            serde_json::json!({ "truncated": true, "dropped_stdout_bytes": 4, "dropped_stderr_bytes": 0 })
        );
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
        assert!(logs.output.starts_with("xxx"), "the data is not changed");
        let dropped = logs.dropped.dropped_stdout_bytes.unwrap();
        assert_eq!(dropped + logs.stdout.len() as u64, (20 << 20) + 7);
        assert_eq!(logs.dropped.dropped_stderr_bytes, Some(0));
        log.discard();
        let logs = log.read();
        assert_eq!((logs.output.as_str(), log.size()), ("", 0));
        assert_eq!(logs.dropped, Dropped::of((20 << 20) + 7, 0));
    }
}
