//! What a build says: entries with offsets from 0 and no holes. Those of a build that runs are in memory and follow onto the disk
//! now and then, so that a crash loses the last moments at most; those of one that is over are on the disk.

use std::sync::{Arc, Mutex};

use nullspace_wire::template::{BuildLogEntry, BuildLogKind, BuildLogLevel};
use tokio::sync::watch;

use super::Build;
use crate::machine::ground::sync::lock;
use crate::machine::ground::{clock, Error, Result};
use crate::machine::Engine;
use crate::store::builds as store;

/// Entries of a build, its end not counted: what is printed after so many is left out.
const MOST_ENTRIES: usize = 20_000;
/// Bytes of an entry.
const LONGEST: usize = 4096;

/// Bytes of a log that a cluster keeps.
const KEPT_BYTES: usize = 256 << 10;

/// How many entries there are, and whether they are all.
type LogState = (usize, bool);

/// The log of a build that is not over.
pub struct Log {
    build: String,
    template: String,
    state: Mutex<State>,
    told: watch::Sender<LogState>,
}

#[derive(Default)]
struct State {
    entries: Vec<BuildLogEntry>,
    stored: usize,
    is_full: bool,
}

/// A new entry of now.
pub fn entry(build: &str, template: &str, offset: u64, kind: BuildLogKind, message: String) -> BuildLogEntry {
    let level = match kind {
        BuildLogKind::Error => BuildLogLevel::Error,
        BuildLogKind::Warning | BuildLogKind::Cancelled | BuildLogKind::Retry => BuildLogLevel::Warn,
        _ => BuildLogLevel::Info,
    };
    BuildLogEntry {
        build_id: build.to_owned(),
        template_id: template.to_owned(),
        offset,
        timestamp: clock::now(),
        kind,
        level,
        message,
        phase: None,
        step_index: None,
        total_steps: None,
        cache_kind: None,
        cache_status: None,
        cache_reason: None,
        cache_subject: None,
        error_detail: None,
        result: None,
    }
}

/// Leaves the last entries, as many as a cluster keeps, and one before them that says so.
pub(super) fn keep_end(entries: &mut Vec<BuildLogEntry>) {
    let mut room = KEPT_BYTES;
    let fits = |entry: &&BuildLogEntry| {
        let size = serde_json::to_string(entry).unwrap_or_default().len();
        room.checked_sub(size).map(|left| room = left).is_some()
    };
    let cut = entries.len() - entries.iter().rev().take_while(fits).count();
    let Some(last) = cut.checked_sub(1).and_then(|place| entries.get_mut(place)) else {
        return;
    };
    let message = "the log began earlier: only its end was kept outside of the node that built".into();
    *last = entry(
        &last.build_id,
        &last.template_id,
        last.offset,
        BuildLogKind::Warning,
        message,
    );
    entries.drain(..cut - 1);
}

impl Log {
    pub(super) fn new(build: &str, template: &str) -> Self {
        Self {
            build: build.to_owned(),
            template: template.to_owned(),
            state: Mutex::default(),
            told: watch::Sender::new((0, false)),
        }
    }

    /// Adds an entry; `more` fills it in. Output beyond the bound is left out, the end of a build never.
    pub(super) fn add(&self, kind: BuildLogKind, message: &str, more: impl FnOnce(&mut BuildLogEntry)) {
        let mut state = lock(&self.state);
        let is_last = matches!(
            kind,
            BuildLogKind::Error | BuildLogKind::Cancelled | BuildLogKind::End
        );
        let mut message = message;
        let mut kind = kind;
        if !is_last && state.entries.len() >= MOST_ENTRIES {
            if state.is_full {
                return;
            }
            state.is_full = true;
            (kind, message) = (
                BuildLogKind::Warning,
                "the log is full: what the build prints from here on is left out",
            );
        }
        let mut cut = message.len().min(if is_last { usize::MAX } else { LONGEST });
        while !message.is_char_boundary(cut) {
            cut -= 1;
        }
        let offset = state.entries.len() as u64;
        let mut entry = entry(
            &self.build,
            &self.template,
            offset,
            kind,
            message[..cut].to_owned(),
        );
        more(&mut entry);
        state.entries.push(entry);
        let count = state.entries.len();
        drop(state);
        self.told.send_modify(|told| told.0 = count);
    }

    /// Entries from an offset.
    pub(super) fn from(&self, offset: u64) -> Vec<BuildLogEntry> {
        let state = lock(&self.state);
        let from = usize::try_from(offset)
            .unwrap_or(usize::MAX)
            .min(state.entries.len());
        state.entries[from..].to_vec()
    }

    /// Entries that are not on the disk, as JSON; they count as stored now.
    pub(super) fn take_new(&self) -> Vec<(u64, String)> {
        let mut state = lock(&self.state);
        let new = state.entries[state.stored..]
            .iter()
            .map(|entry| (entry.offset, serde_json::to_string(entry).unwrap_or_default()))
            .collect();
        state.stored = state.entries.len();
        new
    }

    /// Nothing follows.
    pub(super) fn close(&self) {
        self.told.send_modify(|told| told.1 = true);
    }

    /// Waits for the end of the build.
    pub(super) async fn ended(&self) {
        let mut told = self.told.subscribe();
        let _ = told.wait_for(|told| told.1).await;
    }
}

/// Reads a log entry by entry.
pub struct Follow {
    next: u64,
    /// Entries that are known already, the next one last.
    known: Vec<BuildLogEntry>,
    live: Option<(Arc<Build>, watch::Receiver<LogState>)>,
}

impl Follow {
    /// The next entry; `None` at the end. Cancel-safe.
    pub async fn next(&mut self) -> Option<BuildLogEntry> {
        loop {
            if let Some(entry) = self.known.pop() {
                self.next = entry.offset + 1;
                return Some(entry);
            }
            let (build, told) = self.live.as_mut()?;
            let is_over = {
                let next = self.next;
                let state = told
                    .wait_for(|(count, is_over)| *count as u64 > next || *is_over)
                    .await;
                state.map_or(true, |state| state.1)
            };
            self.known = build.log.from(self.next);
            self.known.reverse();
            if is_over && self.known.is_empty() {
                return None;
            }
        }
    }
}

impl Engine {
    /// Reads the log of a build from an offset; with `follow` until the build is over.
    pub async fn follow_build(&self, id: &str, offset: u64, follow: bool) -> Result<Follow> {
        if let Some(build) = self.live_build(id) {
            let mut known = build.log.from(offset);
            known.reverse();
            let told = build.log.told.subscribe();
            return Ok(Follow {
                next: offset,
                known,
                live: follow.then_some((build, told)),
            });
        }
        self.stored_build(id).await?;
        let mut known = self.stored_entries(id, offset).await?;
        known.reverse();
        Ok(Follow {
            next: offset,
            known,
            live: None,
        })
    }

    /// Reads the log of a build that has just begun.
    pub fn follow_new(&self, build: &Arc<Build>) -> Follow {
        Follow {
            next: 0,
            known: Vec::new(),
            live: Some((build.clone(), build.log.told.subscribe())),
        }
    }

    pub(super) async fn stored_entries(&self, id: &str, offset: u64) -> Result<Vec<BuildLogEntry>> {
        let id = id.to_owned();
        let rows = self.store.call(move |c| store::entries(c, &id, offset)).await?;
        rows.iter()
            .map(|row| {
                serde_json::from_str(row).map_err(|e| Error::internal("reading the log of a build", e))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_log_the_end_is_kept_with_a_word_about_the_rest() {
        let log = Log::new("tb_1", "tmpl_1");
        for _ in 0..10 {
            log.add(BuildLogKind::Message, "x", |_| ());
        }
        let mut short = log.from(0);
        keep_end(&mut short);
        assert_eq!(short, log.from(0));
        for _ in 0..1000 {
            log.add(BuildLogKind::Message, &"y".repeat(LONGEST), |_| ());
        }
        log.add(BuildLogKind::End, "done", |_| ());
        let mut long = log.from(0);
        keep_end(&mut long);
        let size: usize = long.iter().map(|e| serde_json::to_string(e).unwrap().len()).sum();
        assert!((KEPT_BYTES / 2..KEPT_BYTES + 1024).contains(&size), "{size}");
        assert_eq!(long[0].kind, BuildLogKind::Warning);
        assert!(long.windows(2).all(|two| two[0].offset + 1 == two[1].offset));
        assert_eq!(
            (long.last().unwrap().offset, long.last().unwrap().kind),
            (1010, BuildLogKind::End)
        );
    }

    #[test]
    fn a_log_has_no_holes_is_bounded_and_always_has_its_end() {
        let log = Log::new("tb_1", "tmpl_1");
        for _ in 0..MOST_ENTRIES + 10 {
            log.add(BuildLogKind::Message, "x", |_| ());
        }
        log.add(BuildLogKind::End, "done", |_| ());
        let all = log.from(0);
        assert_eq!(all.len(), MOST_ENTRIES + 2);
        assert!(all
            .iter()
            .enumerate()
            .all(|(place, entry)| entry.offset == place as u64));
        assert_eq!(all[MOST_ENTRIES].kind, BuildLogKind::Warning);
        assert_eq!(all.last().unwrap().kind, BuildLogKind::End);
        log.add(BuildLogKind::Message, &"ü".repeat(LONGEST), |_| ());
        assert_eq!(log.take_new().len(), all.len());
        assert!(log.take_new().is_empty());
    }
}
