//! The thread that clones machines. It lives as long as the engine: a machine is killed when the thread that made it
//! ends, and threads of a pool do.

use std::fs;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::mpsc;

use nullspace_agent::limits::id_map;
use rustix::fs::{fcntl_add_seals, memfd_create, MemfdFlags, SealFlags, Uid};
use rustix::process::{kill_process, waitpid, Pid, Signal, WaitOptions};
use rustix::thread::{capabilities, set_capabilities, set_thread_res_uid, unshare_unsafe, UnshareFlags};
use tokio::sync::oneshot;

/// The agent, built by build.rs.
static AGENT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/nullspace-agent"));

/// A cloned machine whose agent waits for its set-up.
pub struct Child {
    /// Process id on the host.
    pub pid: u32,
    pidfd: Option<OwnedFd>,
}

impl Child {
    /// Readable when it has ended. From here on it is the caller's to end and to collect.
    pub fn into_pidfd(mut self) -> OwnedFd {
        self.pidfd.take().expect("only this takes it")
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Nobody took it over: the start was given up.
        if self.pidfd.is_some() {
            end(self.pid);
        }
    }
}

enum Work {
    Machine {
        control: OwnedFd,
        reply: oneshot::Sender<io::Result<Child>>,
    },
    UserNamespace {
        base: u32,
        count: u32,
        reply: oneshot::Sender<io::Result<OwnedFd>>,
    },
}

/// The way to the thread.
pub struct Spawner(mpsc::Sender<Work>);

impl Spawner {
    /// Starts the thread. `ids`, of an unprivileged engine: machines get a user namespace with so many at once, since nothing
    /// works without.
    pub fn start(ids: Option<u32>) -> io::Result<Self> {
        let agent = agent()?;
        let null = fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
        let (sender, work) = mpsc::channel();
        std::thread::Builder::new()
            .name("spawner".to_owned())
            .spawn(move || {
                for work in work {
                    match work {
                        Work::Machine { control, reply } => {
                            let child = clone_machine(&agent, null.as_raw_fd(), &control, ids);
                            // A start that was given up: its end of the control socket is closed, and so the agent ends.
                            let _ = reply.send(child);
                        }
                        Work::UserNamespace { base, count, reply } => {
                            let _ = reply.send(user_namespace(base, count));
                        }
                    }
                }
            })?;
        Ok(Self(sender))
    }

    /// Clones a machine. The agent gets `control` and waits.
    pub async fn machine(&self, control: OwnedFd) -> io::Result<Child> {
        self.ask(|reply| Work::Machine { control, reply }).await
    }

    /// A user namespace that maps ids from 0 to `base` and on.
    pub async fn user_namespace(&self, base: u32, count: u32) -> io::Result<OwnedFd> {
        self.ask(|reply| Work::UserNamespace { base, count, reply }).await
    }

    async fn ask<T>(&self, work: impl FnOnce(oneshot::Sender<io::Result<T>>) -> Work) -> io::Result<T> {
        let (reply, answer) = oneshot::channel();
        let gone = || io::Error::other("the spawner thread has ended");
        self.0.send(work(reply)).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

/// The agent as a file that nobody can change and that has no name.
fn agent() -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut file = fs::File::from(memfd_create("nullspace-agent", flags)?);
    file.write_all(AGENT)?;
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    fcntl_add_seals(&file, seals)?;
    Ok(file.into())
}

const CONTROL: RawFd = 3;

fn clone_machine(agent: &OwnedFd, null: RawFd, control: &OwnedFd, ids: Option<u32>) -> io::Result<Child> {
    let mut flags = libc::CLONE_NEWNS
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNET
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWCGROUP;
    if ids.is_some() {
        flags |= libc::CLONE_NEWUSER;
    }
    let (mapped, map_done) = pipe()?;
    let descriptors = crate::isolation::descriptors::inherited();
    let (pid, pidfd) = clone(flags, || {
        // SAFETY: the child of a clone without shared memory: plain system calls on live values, then the agent.
        unsafe {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0);
            libc::close(map_done.as_raw_fd());
            // An unmapped process loses its capabilities when it runs a program.
            let mut byte = 0_u8;
            if libc::read(mapped.as_raw_fd(), (&raw mut byte).cast(), 1) != 1 {
                libc::_exit(1);
            }
            for number in 0..3 {
                libc::dup2(null, number);
            }
            // The agent's file may be what number 3 is about to replace.
            let file = libc::fcntl(agent.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 4);
            // The control socket may be number 3 already; dup2 would then leave it close-on-exec.
            if control.as_raw_fd() == CONTROL {
                libc::fcntl(CONTROL, libc::F_SETFD, 0);
            } else {
                libc::dup2(control.as_raw_fd(), CONTROL);
            }
            libc::syscall(
                libc::SYS_close_range,
                4,
                libc::c_uint::MAX,
                libc::CLOSE_RANGE_CLOEXEC,
            );
            let mut none: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut none);
            libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const descriptors);
            let argv = [c"nullspace-agent".as_ptr(), std::ptr::null()];
            let envs = [std::ptr::null::<libc::c_char>()];
            libc::syscall(
                libc::SYS_execveat,
                file,
                c"".as_ptr(),
                argv.as_ptr(),
                envs.as_ptr(),
                libc::AT_EMPTY_PATH,
            );
            libc::_exit(1);
        }
    })?;
    drop(mapped);
    if let Some(ids) = ids {
        let (uid, gid) = (
            rustix::process::geteuid().as_raw(),
            rustix::process::getegid().as_raw(),
        );
        // The map of one's own id needs no rights, but groups stay as they are then: the kernel wants it so.
        let groups = match ids {
            1 => fs::write(format!("/proc/{pid}/setgroups"), "deny"),
            _ => Ok(()),
        };
        groups
            .and_then(|()| fs::write(format!("/proc/{pid}/uid_map"), id_map(uid, ids)))
            .and_then(|()| fs::write(format!("/proc/{pid}/gid_map"), id_map(gid, ids)))
            .inspect_err(|_| end(pid))?;
    }
    let mut go = fs::File::from(map_done);
    if let Err(error) = go.write_all(b"g") {
        end(pid);
        return Err(error);
    }
    Ok(Child {
        pid,
        pidfd: Some(pidfd),
    })
}

/// A user namespace kept alive by its descriptor: made by a process that is gone when this returns.
///
/// It belongs to the first id of the block: the kernel counts inotify instances, pending signals and more for the
/// owner of a namespace, and all machines would be counted together with the root of the computer.
fn user_namespace(base: u32, count: u32) -> io::Result<OwnedFd> {
    let (made, is_made) = pipe()?;
    let (pid, _pidfd) = clone(0, || {
        // SAFETY: plain system calls on live values; it waits to be killed, also when the engine dies first.
        unsafe {
            libc::close(made.as_raw_fd());
            // The limits of the maker hold for all that is counted in the namespace.
            let byte = match nullspace_agent::limits::lower().and_then(|()| own_namespace(base)) {
                Ok(()) => 0,
                Err(error) => error.raw_os_error().unwrap_or(libc::EIO) as u8,
            };
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0);
            // Fails when the engine was gone before the line above.
            if libc::write(is_made.as_raw_fd(), (&raw const byte).cast(), 1) != 1 {
                libc::_exit(1);
            }
            loop {
                libc::pause();
            }
        }
    })?;
    drop(is_made);
    let mut byte = [0];
    let failed = match io::Read::read_exact(&mut fs::File::from(made), &mut byte) {
        Ok(()) if byte[0] == 0 => None,
        Ok(()) => Some(io::Error::from_raw_os_error(byte[0].into())),
        Err(error) => Some(error),
    };
    if let Some(error) = failed {
        end(pid);
        return Err(error);
    }
    let map = format!("0 {base} {count}");
    let namespace = fs::write(format!("/proc/{pid}/uid_map"), &map)
        .and_then(|()| fs::write(format!("/proc/{pid}/gid_map"), &map))
        .and_then(|()| fs::File::open(format!("/proc/{pid}/ns/user")));
    end(pid);
    namespace.map(Into::into)
}

/// Makes a user namespace that belongs to `owner`. In a fork, where threads that the C library would speak to are not:
/// these calls concern one thread.
fn own_namespace(owner: u32) -> io::Result<()> {
    set_thread_res_uid(None, Uid::from_raw(owner), None)?;
    // The change took the rights out of effect; some kernels want them for what follows.
    let mut sets = capabilities(None)?;
    sets.effective = sets.permitted;
    set_capabilities(None, sets)?;
    // SAFETY: descriptors stay shared.
    unsafe { unshare_unsafe(UnshareFlags::NEWUSER) }.map_err(Into::into)
}

/// Kills and collects a child of ours, which was not collected: the number is still its own.
fn end(pid: u32) {
    if let Some(pid) = Pid::from_raw(pid as i32) {
        let _ = kill_process(pid, Signal::KILL);
        let _ = waitpid(Some(pid), WaitOptions::empty());
    }
}

/// `clone3` with new namespaces and a pid descriptor; `child` runs in the child and must not return.
fn clone(flags: libc::c_int, child: impl FnOnce()) -> io::Result<(u32, OwnedFd)> {
    let mut pidfd: RawFd = -1;
    // SAFETY: zero is a valid `clone_args`.
    let mut args: libc::clone_args = unsafe { std::mem::zeroed() };
    args.flags = flags as u32 as u64 | libc::CLONE_PIDFD as u64;
    args.pidfd = (&raw mut pidfd) as u64;
    args.exit_signal = libc::SIGCHLD as u64;
    // SAFETY: without shared memory the child has a copy of this thread alone; `child` makes system calls only.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw const args, std::mem::size_of_val(&args)) };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            child();
            // SAFETY: no pointers. Nothing of the engine may go on here.
            unsafe { libc::_exit(1) }
        }
        // SAFETY: the kernel has just made the descriptor for us.
        pid => Ok((pid as u32, unsafe { OwnedFd::from_raw_fd(pidfd) })),
    }
}

fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).map_err(Into::into)
}
