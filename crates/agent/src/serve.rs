//! Orders of the engine, ends of children and sockets to be counted, in one loop. The machine ends with it.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nullspace_agent::channel;
use nullspace_agent::message::{Order, Refusal, Report};

use crate::sockets::Counted;
use crate::spawn;
use crate::supervise;
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
    /// Processes that were started and have not ended.
    started: HashMap<u32, Running>,
}

struct Running {
    terminal: Option<OwnedFd>,
    /// `None` once it is gone.
    supervisor: Option<u32>,
}

impl Agent<'_> {
    /// An error means that the engine is gone.
    fn obey(&mut self, order: Order) -> io::Result<()> {
        match order {
            Order::Exec(id, exec) => match spawn::start(&exec) {
                Ok(started) => {
                    let running = Running {
                        terminal: started.terminal,
                        supervisor: Some(started.supervisor),
                    };
                    self.started.insert(started.pid, running);
                    let ends: Vec<_> = started.descriptors.iter().map(AsFd::as_fd).collect();
                    self.say(&Report::Started(id, started.pid), &ends)
                }
                Err(refusal) => self.say(&Report::Refused(id, refusal), &[]),
            },
            Order::Signal(id, pid, signal) => {
                let result = match self.started.get(&pid) {
                    // SAFETY: no pointers.
                    Some(_) => check(unsafe { libc::kill(-(pid as i32), signal) }).map(drop),
                    None => Err(io::Error::from_raw_os_error(libc::ESRCH)),
                };
                self.answer(id, result, &format!("no running process {pid}"))
            }
            Order::End(id, pid) => {
                let result = match self.started.get(&pid) {
                    Some(running) => end(pid, running),
                    None => Err(io::Error::from_raw_os_error(libc::ESRCH)),
                };
                self.answer(id, result, &format!("no running process {pid}"))
            }
            Order::Resize(id, pid, cols, rows) => {
                let result = match self.started.get(&pid) {
                    Some(Running {
                        terminal: Some(terminal),
                        ..
                    }) => spawn::resize(terminal, cols, rows),
                    _ => Err(io::Error::from_raw_os_error(libc::ESRCH)),
                };
                self.answer(id, result, &format!("no running process {pid} with a terminal"))
            }
            Order::Dial(id, port, is_v6) => match dial(port, is_v6) {
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
                continue;
            }
            // Its number may be given to another process from now on.
            for running in self.started.values_mut() {
                if running.supervisor == Some(pid as u32) {
                    running.supervisor = None;
                }
            }
        }
    }

    fn say(&self, report: &Report, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        channel::send(self.control, report, descriptors, 0)
    }
}

/// Ends a process and everything that it started.
fn end(pid: u32, running: &Running) -> io::Result<()> {
    // SAFETY: no pointers.
    let send = |to: i32, signal: i32| check(unsafe { libc::kill(to, signal) }).map(drop);
    // Before anything of the command ends, so that its supervisor does not take that for the whole end.
    if let Some(supervisor) = running.supervisor {
        send(supervisor as i32, supervise::END)?;
        // Somebody in the machine may have stopped it.
        send(supervisor as i32, libc::SIGCONT)?;
    }
    send(-(pid as i32), libc::SIGKILL)
}

/// A connection to the machine's loopback that may not stand yet: waiting here would hold up everybody.
fn dial(port: u16, is_v6: bool) -> io::Result<OwnedFd> {
    if is_v6 {
        // SAFETY: zero is valid for all fields.
        let mut address: libc::sockaddr_in6 = unsafe { std::mem::zeroed() };
        address.sin6_family = libc::AF_INET6 as u16;
        address.sin6_port = port.to_be();
        address.sin6_addr.s6_addr = std::net::Ipv6Addr::LOCALHOST.octets();
        return connect(libc::AF_INET6, &address);
    }
    // SAFETY: zero is valid for all fields.
    let mut address: libc::sockaddr_in = unsafe { std::mem::zeroed() };
    address.sin_family = libc::AF_INET as u16;
    address.sin_port = port.to_be();
    address.sin_addr.s_addr = u32::from_ne_bytes([127, 0, 0, 1]);
    connect(libc::AF_INET, &address)
}

fn connect<A>(family: libc::c_int, address: &A) -> io::Result<OwnedFd> {
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: a new descriptor; a live address of the length given.
    unsafe {
        let socket = OwnedFd::from_raw_fd(check(libc::socket(family, kind, 0))? as i32);
        let length = std::mem::size_of::<A>() as u32;
        match check(libc::connect(
            socket.as_raw_fd(),
            std::ptr::from_ref(address).cast(),
            length,
        )) {
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
        check(libc::sigprocmask(
            libc::SIG_BLOCK,
            &raw const set,
            std::ptr::null_mut(),
        ))?;
        let fd = check(libc::signalfd(
            -1,
            &raw const set,
            libc::SFD_CLOEXEC | libc::SFD_NONBLOCK,
        ))?;
        Ok(OwnedFd::from_raw_fd(fd as i32))
    }
}
