//! Starts one process. Its pipes or terminal are made here, inside, so that `/dev/stdout` can be opened by whoever the
//! process runs as; the engine's ends are handed out.

use std::ffi::CString;
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{fchown, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;

use nullspace_agent::limits;
use nullspace_agent::message::{Exec, Refusal};
use rustix::fs::{Gid, Mode, OFlags, Uid};
use rustix::pty::{ptsname, unlockpt};
use rustix::termios::{tcsetwinsize, Winsize};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use crate::supervise;
use crate::sys::{self, c};
use crate::users::{self, User};

/// Where programs are looked for when the environment has no `PATH`.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A started process and the engine's ends of its streams.
pub struct Started {
    pub pid: u32,
    /// What ends it whole.
    pub supervisor: u32,
    pub descriptors: Vec<OwnedFd>,
    /// The master of its terminal, kept for resizing.
    pub terminal: Option<OwnedFd>,
}

struct Streams {
    /// Standard input, output and error of the process.
    child: [OwnedFd; 3],
    engine: Vec<OwnedFd>,
    terminal: Option<OwnedFd>,
}

fn find_user(name: Option<&str>) -> Result<Option<User>, Refusal> {
    name.map(users::find).transpose().map_err(Refusal::Invalid)
}

/// Starts a process that serves file operations as a user, and gives the other end of its socket.
pub fn files(user: Option<&str>) -> Result<OwnedFd, Refusal> {
    let found = find_user(user)?;
    let (ours, theirs) = UnixStream::pair().map_err(no_room)?;
    // SAFETY: this process has one thread, so the child may do what it likes.
    let pid = unsafe { libc::fork() };
    if pid == -1 {
        return Err(no_room(io::Error::last_os_error()));
    }
    if pid > 0 {
        return Ok(ours.into());
    }
    // SAFETY: one thread; descriptors of the agent are closed by number and their owners never used again.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
        libc::setsid();
        let channel = theirs.as_raw_fd() as libc::c_uint;
        // The control socket above all: what this process becomes must not speak for the agent.
        if channel > 0 {
            libc::syscall(libc::SYS_close_range, 0, channel - 1, 0);
        }
        libc::syscall(libc::SYS_close_range, channel + 1, libc::c_uint::MAX, 0);
        let is_offered = limits::offer_in_want_of_memory().is_ok();
        let is_user = found.as_ref().map_or(Ok(()), become_user);
        if is_offered && libc::chdir(c"/".as_ptr()) == 0 {
            match is_user {
                Ok(()) => nullspace_agent::files::serve(theirs),
                Err(error) => nullspace_agent::files::refuse(
                    theirs,
                    &format!(
                        "files are not open to `{}` here: {error}. {}",
                        user.unwrap_or("root"),
                        nullspace_agent::files::OTHER_USERS
                    ),
                ),
            }
        }
        libc::_exit(0);
    }
}

/// Gives up root for good.
fn become_user(user: &User) -> io::Result<()> {
    if user.uid == 0 && user.gid == 0 && user.groups.is_empty() {
        return Ok(());
    }
    let groups: Vec<Gid> = user.groups.iter().copied().map(Gid::from_raw).collect();
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    set_thread_groups(&groups)?;
    set_thread_res_gid(gid, gid, gid)?;
    Ok(set_thread_res_uid(uid, uid, uid)?)
}

/// Starts it, and waits until it runs its program or cannot.
pub fn start(exec: &Exec) -> Result<Started, Refusal> {
    let user = find_user(exec.user.as_deref())?;
    let plan = Plan::new(exec, user.as_ref())?;
    let streams = match exec.pty {
        Some((cols, rows)) => terminal(cols, rows, user.as_ref()),
        None => pipes(exec.stdin, user.as_ref()),
    }
    .map_err(no_room)?;
    let (errors, report) = sys::pipe().map_err(no_room)?;
    // SAFETY: this process has one thread, so the child may do what it likes.
    let supervisor = unsafe { libc::fork() };
    if supervisor == -1 {
        return Err(no_room(io::Error::last_os_error()));
    }
    if supervisor == 0 {
        supervise::run(
            &report,
            || plan.become_program(&streams.child, exec.pty.is_some(), user.as_ref(), &report),
            |error| failure(STEP_FORK, error),
        );
    }
    drop(report);
    drop(streams.child);
    // The writing end is close-on-exec: its end means that the program runs, or that nothing does.
    let mut told = Vec::with_capacity(12);
    let _ = std::fs::File::from(errors).read_to_end(&mut told);
    let number = |at: usize| {
        let bytes = told.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        bytes.map(i32::from_ne_bytes)
    };
    // The pid comes first, and alone when all went well.
    let pid = match (number(0), number(4), number(8)) {
        (Some(pid), None, _) => pid,
        (Some(step), Some(error), None) | (Some(_), Some(step), Some(error)) => {
            return Err(plan.explain(step, exec, &io::Error::from_raw_os_error(error)));
        }
        // Killed before it came to anything.
        (None, ..) => return Err(no_room(io::Error::from_raw_os_error(libc::EAGAIN))),
    };
    Ok(Started {
        pid: pid as u32,
        supervisor: supervisor as u32,
        descriptors: streams.engine,
        terminal: streams.terminal,
    })
}

const STEP_USER: i32 = 1;
const STEP_CWD: i32 = 2;
const STEP_PROGRAM: i32 = 3;
const STEP_STREAMS: i32 = 4;
const STEP_FORK: i32 = 5;

/// What failed, as the agent is told.
fn failure(step: i32, error: &io::Error) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&step.to_ne_bytes());
    bytes[4..].copy_from_slice(&error.raw_os_error().unwrap_or(libc::EIO).to_ne_bytes());
    bytes
}

/// All that the child needs, in C's form.
struct Plan {
    candidates: Vec<CString>,
    argv: Vec<CString>,
    envs: Vec<CString>,
    cwd: CString,
}

impl Plan {
    fn new(exec: &Exec, _user: Option<&User>) -> Result<Self, Refusal> {
        let text = |text: &str| {
            c(text).map_err(|_| Refusal::Invalid("a zero byte in a command, argument or variable".into()))
        };
        let program = exec
            .argv
            .first()
            .ok_or_else(|| Refusal::Invalid("the command is empty".into()))?;
        let candidates = if program.contains('/') {
            vec![text(program)?]
        } else {
            let path = exec
                .envs
                .iter()
                .find_map(|variable| variable.strip_prefix("PATH="))
                .unwrap_or(DEFAULT_PATH);
            path.split(':')
                .map(|folder| {
                    text(&format!(
                        "{}/{program}",
                        if folder.is_empty() { "." } else { folder }
                    ))
                })
                .collect::<Result<_, _>>()?
        };
        Ok(Self {
            candidates,
            argv: exec
                .argv
                .iter()
                .map(|argument| text(argument))
                .collect::<Result<_, _>>()?,
            envs: exec
                .envs
                .iter()
                .map(|variable| text(variable))
                .collect::<Result<_, _>>()?,
            cwd: text(&exec.cwd)?,
        })
    }

    /// In the child: never returns but with what failed.
    fn become_program(
        &self,
        streams: &[OwnedFd; 3],
        terminal: bool,
        user: Option<&User>,
        report: &OwnedFd,
    ) -> [u8; 8] {
        // SAFETY: one thread, live pointers; what could be inherited is reset or closed.
        unsafe {
            let mut none: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut none);
            libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
            libc::signal(libc::SIGPIPE, libc::SIG_DFL);
            // A session, and so a process group, of its own.
            libc::setsid();
            for (number, stream) in streams.iter().enumerate() {
                if libc::dup2(stream.as_raw_fd(), number as RawFd) == -1 {
                    return failure(STEP_STREAMS, &io::Error::last_os_error());
                }
            }
            if terminal && libc::ioctl(0, libc::TIOCSCTTY, 0) == -1 {
                return failure(STEP_STREAMS, &io::Error::last_os_error());
            }
            // All but the pipe that reports a failure, which is close-on-exec. The control socket above all.
            let kept = report.as_raw_fd() as libc::c_uint;
            if kept > 3 {
                libc::syscall(libc::SYS_close_range, 3, kept - 1, 0);
            }
            libc::syscall(libc::SYS_close_range, kept + 1, libc::c_uint::MAX, 0);
            if let Err(error) = limits::offer_in_want_of_memory() {
                return failure(STEP_STREAMS, &error);
            }
            if let Some(user) = user {
                if let Err(error) = become_user(user) {
                    return failure(STEP_USER, &error);
                }
            }
            // Without its supervisor the command could not be ended whole any more: it ends with it.
            let _ = sys::die_with_parent();
            libc::umask(0o022);
            // As the user: the directory may be closed to them.
            if libc::chdir(self.cwd.as_ptr()) == -1 {
                return failure(STEP_CWD, &io::Error::last_os_error());
            }
            let pointers = |texts: &[CString]| -> Vec<*const libc::c_char> {
                texts
                    .iter()
                    .map(|text| text.as_ptr())
                    .chain([std::ptr::null()])
                    .collect()
            };
            let (argv, envs) = (pointers(&self.argv), pointers(&self.envs));
            let mut worst = libc::ENOENT;
            for candidate in &self.candidates {
                libc::execve(candidate.as_ptr(), argv.as_ptr(), envs.as_ptr());
                match io::Error::last_os_error().raw_os_error() {
                    Some(libc::ENOENT | libc::ENOTDIR) => {}
                    // A script without a first line that names its interpreter.
                    Some(libc::ENOEXEC) => {
                        let mut script: Vec<*const libc::c_char> =
                            vec![c"/bin/sh".as_ptr(), candidate.as_ptr()];
                        script.extend(&argv[1..]);
                        libc::execve(c"/bin/sh".as_ptr(), script.as_ptr(), envs.as_ptr());
                        worst = libc::ENOEXEC;
                    }
                    // It is there, but not for this user: another folder may hold one that is.
                    Some(libc::EACCES) => worst = libc::EACCES,
                    other => {
                        worst = other.unwrap_or(libc::EIO);
                        break;
                    }
                }
            }
            failure(STEP_PROGRAM, &io::Error::from_raw_os_error(worst))
        }
    }

    /// What a program needs that is missing, when the program itself is there: the kernel says the same of both.
    fn missing_interpreter(&self, exec: &Exec) -> Option<String> {
        let head = self.candidates.iter().find_map(|candidate| {
            let path = Path::new(&exec.cwd).join(candidate.to_str().ok()?);
            // A pipe that nobody writes to must not hold up the agent.
            let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
            let file = OpenOptions::new()
                .read(true)
                .custom_flags(flags)
                .open(path)
                .ok()?;
            let mut head = Vec::new();
            file.metadata().ok()?.is_file().then_some(())?;
            file.take(256).read_to_end(&mut head).ok()?;
            Some(head)
        })?;
        let Some(rest) = head.strip_prefix(b"#!") else {
            return Some("the file is there, but the loader or interpreter that it names is not".into());
        };
        let line = String::from_utf8_lossy(rest.split(|byte| *byte == b'\n').next()?).into_owned();
        if line.ends_with('\r') {
            return Some(
                "its lines end with CR LF, as on Windows, so it asks for an interpreter whose name ends with CR; \
                 remove them, as with sed -i 's/\\r$//'"
                    .into(),
            );
        }
        let interpreter = line.split_whitespace().next().unwrap_or_default().to_owned();
        Some(format!(
            "its first line asks for `{interpreter}`, which is not there"
        ))
    }

    fn explain(&self, step: i32, exec: &Exec, error: &io::Error) -> Refusal {
        if matches!(
            error.raw_os_error(),
            Some(libc::EAGAIN | libc::ENOMEM | libc::ENFILE | libc::EMFILE)
        ) {
            return Refusal::Exhausted(format!("the machine has no room for another process: {error}"));
        }
        match step {
            STEP_CWD => Refusal::Directory(format!(
                "the working directory `{}` cannot be entered: {error}",
                exec.cwd
            )),
            STEP_PROGRAM => {
                let why = match error.raw_os_error() {
                    Some(libc::ENOENT) => self.missing_interpreter(exec),
                    _ => None,
                };
                let why = why.unwrap_or_else(|| error.to_string());
                Refusal::Invalid(format!("`{}` cannot be run: {why}", exec.argv[0]))
            }
            STEP_USER => Refusal::Invalid(format!(
                "commands cannot run as `{}` here: {error}",
                exec.user.as_deref().unwrap_or("root")
            )),
            _ => Refusal::Failed(format!("the streams of the process could not be set up: {error}")),
        }
    }
}

fn pipes(stdin: bool, user: Option<&User>) -> io::Result<Streams> {
    let mut engine = Vec::with_capacity(3);
    let (out, out_child) = sys::pipe()?;
    let (err, err_child) = sys::pipe()?;
    engine.push(out);
    engine.push(err);
    let input = if stdin {
        let (read, write) = sys::pipe()?;
        engine.push(write);
        read
    } else {
        sys::open("/dev/null", OFlags::RDWR)?
    };
    if let Some(user) = user {
        for stream in [&out_child, &err_child] {
            own(stream, user);
        }
        if stdin {
            own(&input, user);
        }
    }
    Ok(Streams {
        child: [input, out_child, err_child],
        engine,
        terminal: None,
    })
}

fn terminal(cols: u16, rows: u16, user: Option<&User>) -> io::Result<Streams> {
    let master = sys::open("/dev/ptmx", OFlags::RDWR | OFlags::NOCTTY)?;
    unlockpt(&master)?;
    let name = ptsname(&master, Vec::new())?;
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let slave = rustix::fs::open(name, flags, Mode::empty())?;
    resize(&master, cols, rows)?;
    if let Some(user) = user {
        own(&slave, user);
    }
    Ok(Streams {
        child: [slave.try_clone()?, slave.try_clone()?, slave],
        engine: vec![master.try_clone()?],
        terminal: Some(master),
    })
}

/// Sets the size of a terminal.
pub fn resize(master: &OwnedFd, cols: u16, rows: u16) -> io::Result<()> {
    let size = Winsize {
        ws_row: rows,
        ws_col: cols,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    Ok(tcsetwinsize(master, size)?)
}

/// So that the process can open its own streams again by name. Not vital.
fn own(stream: &OwnedFd, user: &User) {
    let _ = fchown(stream, Some(user.uid), Some(user.gid));
}

fn no_room(error: io::Error) -> Refusal {
    Refusal::Exhausted(format!("the machine has no room for another process: {error}"))
}
