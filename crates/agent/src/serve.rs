//! Orders of the engine, ends of children and sockets to be counted, in one loop. The machine ends with it.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};

use nullspace_agent::channel;
use nullspace_agent::message::{Order, Refusal, Report};
use rustix::event::{poll, PollFd, PollFlags};
use rustix::io::Errno;
use rustix::net::{connect, socket_with, AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use rustix::process::{kill_process, kill_process_group, wait, Pid, Signal, WaitOptions};

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
            PollFd::new(control, PollFlags::IN),
            PollFd::new(&children, PollFlags::IN),
            PollFd::from_borrowed_fd(sockets.as_fd(), PollFlags::IN),
        ];
        if poll(&mut waiting, None).is_err() {
            continue;
        }
        let [orders, ends, calls] = waiting.map(|one| one.revents());
        if !ends.is_empty() {
            // What it says does not matter: every ended child is collected below.
            let _ = rustix::io::read(&children, &mut [0_u8; 128 * 8]);
        }
        // Before orders too: a signal to a pid must not meet a process that took the number over.
        if agent.collect().is_err() {
            return;
        }
        if calls.contains(PollFlags::IN) {
            sockets.answer();
        }
        if !orders.is_empty() {
            match channel::receive::<Order>(control.as_fd(), &mut buffer, RecvFlags::DONTWAIT) {
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
            let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) else {
                return Ok(());
            };
            let pid = pid.as_raw_nonzero().get() as u32;
            if self.started.remove(&pid).is_some() {
                let by_signal = status.terminating_signal().map(|signal| 128 + signal);
                let code = by_signal.or(status.exit_status()).unwrap_or_default();
                self.say(&Report::Exited(pid, code), &[])?;
                continue;
            }
            // Its number may be given to another process from now on.
            for running in self.started.values_mut() {
                if running.supervisor == Some(pid) {
                    running.supervisor = None;
                }
            }
        }
    }

    fn say(&self, report: &Report, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        channel::send(self.control, report, descriptors, SendFlags::empty())
    }
}

/// Ends a process and everything that it started.
fn end(pid: u32, running: &Running) -> io::Result<()> {
    let number = |pid: u32| Pid::from_raw(pid as i32).ok_or(Errno::SRCH);
    // Before anything of the command ends, so that its supervisor does not take that for the whole end.
    if let Some(supervisor) = running.supervisor {
        kill_process(number(supervisor)?, supervise::END)?;
        // Somebody in the machine may have stopped it.
        kill_process(number(supervisor)?, Signal::CONT)?;
    }
    Ok(kill_process_group(number(pid)?, Signal::KILL)?)
}

/// A connection to the machine's loopback that may not stand yet: waiting here would hold up everybody.
fn dial(port: u16, is_v6: bool) -> io::Result<OwnedFd> {
    let (family, host) = match is_v6 {
        true => (AddressFamily::INET6, IpAddr::from(Ipv6Addr::LOCALHOST)),
        false => (AddressFamily::INET, IpAddr::from(Ipv4Addr::LOCALHOST)),
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    match connect(&socket, &SocketAddr::new(host, port)) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(error) => Err(error.into()),
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
