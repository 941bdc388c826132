//! Orders of the engine, ends of children and sockets to be counted, in one loop. The machine ends with it.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nullspace_agent::channel;
use nullspace_agent::message::{Order, Refusal, Report};

use crate::sockets::Counted;
use crate::spawn;
use crate::sys::check;

/// Serves until the engine's end of the socket is closed.
pub fn serve(control: &OwnedFd, mut buffer: Vec<u8>, mut sockets: Counted) {
    let Ok(children) = child_signals() else { return };
    let mut agent = Agent {
        control: control.as_fd(),
        started: HashMap::new(),
    };
    loop {
        let mut waiting = [
            libc::pollfd {
                fd: control.as_raw_fd(),
                events: libc::POLLIN,
                revents: 0,
            },
            libc::pollfd {
                fd: children.as_raw_fd(),
                events: libc::POLLIN,
                revents: 0,
            },
            libc::pollfd {
                fd: sockets.as_raw_fd(),
                events: libc::POLLIN,
                revents: 0,
            },
        ];
        // SAFETY: live entries, as many as are named.
        let ready = unsafe { libc::poll(waiting.as_mut_ptr(), waiting.len() as libc::nfds_t, -1) };
        if ready == -1 {
            continue;
        }
        if waiting[1].revents != 0 {
            let mut info = [0_u8; 128 * 8];
            // SAFETY: a live buffer. What it says does not matter: every ended child is collected below.
            unsafe { libc::read(children.as_raw_fd(), info.as_mut_ptr().cast(), info.len()) };
        }
        // Before orders too: a signal to a pid must not meet a process that took the number over.
        if agent.collect().is_err() {
            return;
        }
        if waiting[2].revents & libc::POLLIN != 0 {
            sockets.answer();
        }
        if waiting[0].revents != 0 {
            match channel::receive::<Order>(control.as_fd(), &mut buffer, libc::MSG_DONTWAIT) {
                Ok(Some(received)) => {
                    if agent.obey(received.message).is_err() {
                        return;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(None) | Err(_) => return,
            }
        }
    }
}

struct Agent<'a> {
    control: BorrowedFd<'a>,
    /// Processes that were started and have not ended, with their terminals.
    started: HashMap<u32, Option<OwnedFd>>,
}

impl Agent<'_> {
    /// An error means that the engine is gone.
    fn obey(&mut self, order: Order) -> io::Result<()> {
        match order {
            Order::Exec(id, exec) => match spawn::start(&exec) {
                Ok(started) => {
                    self.started.insert(started.pid, started.terminal);
                    let ends: Vec<_> = started.descriptors.iter().map(AsFd::as_fd).collect();
                    self.say(&Report::Started(id, started.pid), &ends)
                }
                Err(refusal) => self.say(&Report::Refused(id, refusal), &[]),
            },
            Order::Signal(id, pid, signal) => {
                let result = if self.started.contains_key(&pid) {
                    // SAFETY: no pointers.
                    check(unsafe { libc::kill(-(pid as i32), signal) }.into()).map(drop)
                } else {
                    Err(io::Error::from_raw_os_error(libc::ESRCH))
                };
                self.answer(id, result, &format!("no running process {pid}"))
            }
            Order::Resize(id, pid, cols, rows) => {
                let result = match self.started.get(&pid) {
                    Some(Some(terminal)) => spawn::resize(terminal, cols, rows),
                    _ => Err(io::Error::from_raw_os_error(libc::ESRCH)),
                };
                self.answer(id, result, &format!("no running process {pid} with a terminal"))
            }
            Order::Dial(id, port) => match dial(port) {
                Ok(socket) => self.say(&Report::Descriptor(id), &[socket.as_fd()]),
                Err(error) => self.say(
                    &Report::Refused(id, Refusal::Invalid(format!("port {port}: {error}"))),
                    &[],
                ),
            },
            Order::Files(id, user) => match spawn::files(user.as_deref()) {
                Ok(socket) => self.say(&Report::Descriptor(id), &[socket.as_fd()]),
                Err(refusal) => self.say(&Report::Refused(id, refusal), &[]),
            },
            Order::Halt(id, stop) => {
                let signal = if stop { libc::SIGSTOP } else { libc::SIGCONT };
                // SAFETY: no pointers. All but this process; nobody there is no error.
                unsafe { libc::kill(-1, signal) };
                self.say(&Report::Done(id), &[])
            }
        }
    }

    fn answer(&self, id: u64, result: io::Result<()>, missing: &str) -> io::Result<()> {
        let report = match result {
            Ok(()) => Report::Done(id),
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {
                Report::Refused(id, Refusal::Invalid(missing.to_owned()))
            }
            Err(error) => Report::Refused(id, Refusal::Failed(error.to_string())),
        };
        self.say(&report, &[])
    }

    /// Collects every child that has ended, its own and those that lost their parents.
    fn collect(&mut self) -> io::Result<()> {
        loop {
            let mut status = 0;
            // SAFETY: a live integer.
            let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
            if pid <= 0 {
                return Ok(());
            }
            if self.started.remove(&(pid as u32)).is_some() {
                let code = if libc::WIFSIGNALED(status) {
                    128 + libc::WTERMSIG(status)
                } else {
                    libc::WEXITSTATUS(status)
                };
                self.say(&Report::Exited(pid as u32, code), &[])?;
            }
        }
    }

    fn say(&self, report: &Report, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        channel::send(self.control, report, descriptors, 0)
    }
}

/// A connection to the machine's loopback that may not stand yet: waiting here would hold up everybody.
fn dial(port: u16) -> io::Result<OwnedFd> {
    // SAFETY: a new descriptor; a live address of the length given.
    unsafe {
        let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        let socket = OwnedFd::from_raw_fd(check(libc::socket(libc::AF_INET, kind, 0).into())? as i32);
        let mut address: libc::sockaddr_in = std::mem::zeroed();
        address.sin_family = libc::AF_INET as u16;
        address.sin_port = port.to_be();
        address.sin_addr.s_addr = u32::from_ne_bytes([127, 0, 0, 1]);
        let length = std::mem::size_of_val(&address) as u32;
        match check(libc::connect(socket.as_raw_fd(), (&raw const address).cast(), length).into()) {
            Ok(_) => Ok(socket),
            Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => Ok(socket),
            Err(error) => Err(error),
        }
    }
}

/// A descriptor that is readable when a child has ended.
fn child_signals() -> io::Result<OwnedFd> {
    // SAFETY: a live set; a new descriptor.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGCHLD);
        check(libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()).into())?;
        let fd = check(libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK).into())?;
        Ok(OwnedFd::from_raw_fd(fd as i32))
    }
}
