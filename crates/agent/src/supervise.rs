//! The supervisor of one command: a process between the agent and the command's first process, the subreaper of all
//! that the command starts. Whatever session or process group a descendant moves to, and whichever parent it loses,
//! it stays below the supervisor, so the command can be ended whole. Needs no control group, and so holds on every
//! host and for engines without rights.
//!
//! The agent asks for the end with [`END`]. A command that ends by itself takes its supervisor along: what it left
//! behind goes to the agent and lives on.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::process::{kill_process, waitpid, Pid, Signal, WaitOptions};

/// Asks a supervisor to end its command and everything below it.
pub const END: Signal = Signal::USR1;

/// How long none of the processes that were killed may be gone; one that hangs in the kernel is left to itself then.
const PATIENCE: Duration = Duration::from_secs(5);
/// After how many looks without a new process those that were sent a stop count as stopped. Some never are, such as one
/// that waits in vfork() for a child that was stopped, and other commands of the machine end all the time. Looks and not
/// seconds: on a busy computer both sides get fewer turns.
const SETTLED: u32 = 200;
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);
/// The longest time between two looks at what is left.
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// Starts the command and watches over it. Runs in a process of its own, forked by the agent, and never returns.
///
/// `become_program` runs in the command's process and returns only when it failed, with what `report` is told. The
/// command's process id comes first on `report`; it is missing when there is no room for another process, and the
/// failure then is what `no_room` makes of the error.
pub fn run(
    report: &impl AsFd,
    become_program: impl FnOnce() -> [u8; 8],
    no_room: impl FnOnce(&io::Error) -> [u8; 8],
) -> ! {
    // Nothing can be done about an error here.
    let say = |bytes: &[u8]| _ = rustix::io::write(report, bytes);
    // SAFETY: one thread, live pointers; descriptors are closed by number and their owners never used again.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const all, std::ptr::null_mut());
        // Not in the agent's group, and not in the command's, whose signals are not meant for it.
        libc::setsid();
        libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
        let command = libc::fork();
        if command == 0 {
            say(&libc::getpid().to_ne_bytes());
            say(&become_program());
            libc::_exit(127);
        }
        if command == -1 {
            say(&no_room(&io::Error::last_os_error()));
            libc::_exit(127);
        }
        // The streams of the command above all, whose ends are waited for.
        libc::syscall(libc::SYS_close_range, 0, libc::c_uint::MAX, 0);
        watch(command);
        libc::_exit(0)
    }
}

/// Returns when the command has ended: by itself, or with all that is below it. Its first process is left for the
/// agent to collect, so its number is not given away before the agent knows of the end.
fn watch(command: libc::pid_t) {
    // SAFETY: a live set.
    let wanted = unsafe {
        let mut wanted: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut wanted);
        libc::sigaddset(&raw mut wanted, libc::SIGCHLD);
        libc::sigaddset(&raw mut wanted, END.as_raw());
        wanted
    };
    loop {
        // SAFETY: a live set, no details wanted. Of two that wait the lower number comes first: `END` is heard
        // before the end of a command that was killed together with it.
        match unsafe { libc::sigwaitinfo(&raw const wanted, std::ptr::null_mut()) } {
            heard if heard == END.as_raw() => return end(),
            libc::SIGCHLD if collect(command) => break,
            _ => {}
        }
    }
    // It may have been killed while others were collected: then `END` was sent before.
    if is_asked_to_end() {
        end();
    }
}

const _: () = assert!(END.as_raw() < libc::SIGCHLD);

/// Whether [`END`] waits to be heard.
fn is_asked_to_end() -> bool {
    // SAFETY: a live set, which the call fills.
    unsafe {
        let mut pending: libc::sigset_t = std::mem::zeroed();
        libc::sigpending(&raw mut pending);
        libc::sigismember(&raw const pending, END.as_raw()) == 1
    }
}

/// Collects orphans that have ended, and tells whether the command has.
fn collect(command: libc::pid_t) -> bool {
    loop {
        // SAFETY: a live structure, read only where the call filled it.
        let ended = unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
            if libc::waitid(libc::P_ALL, 0, &raw mut info, flags) == -1 {
                return true;
            }
            info.si_pid()
        };
        if ended == 0 || ended == command {
            return ended == command;
        }
        let _ = waitpid(Pid::from_raw(ended), WaitOptions::NOHANG);
    }
}

/// Ends everything below this process.
fn end() {
    let mut before = stop();
    let mut living = Vec::new();
    let mut deadline = Instant::now() + PATIENCE;
    let mut pause = SHORTEST_PAUSE;
    let mut calm = Calm::default();
    while !calm.lasts() {
        let look = Look::now();
        let found: Vec<_> = look.alive().collect();
        for pid in &found {
            send(*pid, Signal::KILL);
        }
        if found.is_empty() {
            calm.note(look.is_settled(&before));
            pause = SHORTEST_PAUSE;
        } else {
            calm = Calm::default();
            if found != living {
                living = found;
                deadline = Instant::now() + PATIENCE;
            } else if Instant::now() > deadline {
                return;
            }
        }
        if !calm.lasts() {
            std::thread::sleep(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        before = look;
    }
}

/// Stops everything below this process: what is stopped cannot fork any more, so that even a process that forks as
/// fast as it can is caught. Gives the last look.
fn stop() -> Look {
    let mut stopped = HashSet::new();
    let mut before = Look::default();
    let mut calm = Calm::default();
    while !calm.lasts() {
        let look = Look::now();
        let mut is_news = false;
        for pid in look.below.keys() {
            if stopped.insert(*pid) {
                is_news = true;
                send(*pid, Signal::STOP);
            }
        }
        if is_news {
            calm = Calm::default();
        } else {
            calm.note(look.is_settled(&before));
            std::thread::sleep(SHORTEST_PAUSE);
        }
        before = look;
    }
    before
}

/// Looks in a row that found nothing to do.
#[derive(Default)]
struct Calm {
    looks: u32,
    /// The last ones among them that cannot have missed anything.
    sure: u32,
}

impl Calm {
    fn note(&mut self, is_sure: bool) {
        self.looks += 1;
        self.sure = if is_sure { self.sure + 1 } else { 0 };
    }

    /// Whether nothing more is to be expected.
    fn lasts(&self) -> bool {
        self.sure >= 2 || self.looks >= SETTLED
    }
}

fn send(pid: libc::pid_t, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        // It may have ended just now.
        let _ = kill_process(pid, signal);
    }
}

/// The processes below this one, as one walk through `/proc` finds them.
#[derive(Default)]
struct Look {
    below: BTreeMap<libc::pid_t, State>,
    /// No process of the machine ended during the walk. One that did may have left a child that the walk has missed,
    /// or that it cannot place.
    is_whole: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    /// May fork, also after a SIGSTOP: a fork that has begun is finished first.
    Runs,
    Stopped,
    /// Has ended, and only waits to be collected.
    Over,
}

impl Look {
    fn now() -> Self {
        let mut all = BTreeMap::new();
        let mut is_whole = true;
        for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            let stat = std::fs::read(entry.path().join("stat")).unwrap_or_default();
            match state_of(&stat) {
                Some(found) => _ = all.insert(pid, found),
                None => is_whole = false,
            }
        }
        // A parent that is not there ended between the reads, and whose child it left is not known.
        is_whole &= all
            .values()
            .all(|(_, parent)| *parent == 0 || all.contains_key(parent));
        let own = std::process::id() as libc::pid_t;
        let is_below = |pid: libc::pid_t| {
            let mut at = pid;
            // Parents are read one after the other, so that they could form a ring when numbers were given anew.
            for _ in 0..all.len() {
                match all.get(&at) {
                    Some((_, parent)) if *parent == own => return true,
                    Some((_, parent)) => at = *parent,
                    None => return false,
                }
            }
            false
        };
        let below = all
            .iter()
            .filter(|(pid, _)| is_below(**pid))
            .map(|(pid, (state, _))| (*pid, *state))
            .collect();
        Self { below, is_whole }
    }

    /// Those that have not ended.
    fn alive(&self) -> impl Iterator<Item = libc::pid_t> + '_ {
        let alive = self.below.iter().filter(|(_, state)| **state != State::Over);
        alive.map(|(pid, _)| *pid)
    }

    /// Whether nothing below this process can fork any more. What ended or stopped only since the look before may have forked
    /// after this one had read the list of processes.
    fn is_settled(&self, before: &Self) -> bool {
        let is_still =
            |pid, state| state != State::Runs && before.below.get(pid).is_some_and(|was| *was != State::Runs);
        self.is_whole && self.below.iter().all(|(pid, state)| is_still(pid, *state))
    }
}

/// The state of a process, and its parent. The name before them may hold anything, also brackets.
fn state_of(stat: &[u8]) -> Option<(State, libc::pid_t)> {
    let after = stat.iter().rposition(|byte| *byte == b')')? + 1;
    let text = std::str::from_utf8(&stat[after..]).ok()?;
    let mut fields = text.split_ascii_whitespace();
    let state = match fields.next()? {
        "Z" | "X" => State::Over,
        "T" | "t" => State::Stopped,
        _ => State::Runs,
    };
    Some((state, fields.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_and_parent_are_found_behind_any_name() {
        for (stat, wanted) in [
            ("7 (sleep) S 3 7 7 0", Some((State::Runs, 3))),
            ("7 (a) Z 9 (b) R 12 7", Some((State::Runs, 12))),
            ("7 (a) ) Z 1 7", Some((State::Over, 1))),
            ("7 (Z) T 1 7", Some((State::Stopped, 1))),
            ("7 (gdb) t 1 7", Some((State::Stopped, 1))),
            ("", None),
            ("7 (sleep) S", None),
        ] {
            assert_eq!(state_of(stat.as_bytes()), wanted, "{stat:?}");
        }
    }
}
