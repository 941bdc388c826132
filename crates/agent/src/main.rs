//! PID 1 of a machine, or of a process that works on the files of a volume. As the former it puts the machine's file tree together, gives up every right over it, and then starts
//! processes on the engine's orders. It opens things and hands the descriptors out: no byte of a stream passes here.
//!
//! - `tree`: mounts; `sizes`: what programs read of memory and processors
//! - `confine`: user namespace, capabilities, system call filter
//! - `serve`: orders, children; `sockets`: those that are counted here
//! - `spawn`: one process; `supervise`: what ends it whole; `users`: who it runs as
//! - `volume`: the other task
//!
//! One thread, since namespaces and credentials belong to threads.

mod confine;
mod serve;
mod sizes;
mod sockets;
mod spawn;
mod supervise;
mod sys;
mod tree;
mod users;
mod volume;

use std::io::Write;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};

use nullspace_agent::message::{Report, Setup, Task};
use nullspace_agent::{channel, limits, net};
use rustix::net::{RecvFlags, SendFlags};
use rustix::system::sethostname;

/// The engine puts the control socket here.
const CONTROL: i32 = 3;

fn main() {
    // SAFETY: the engine made this descriptor for us, and nobody else uses it.
    let control = unsafe { OwnedFd::from_raw_fd(CONTROL) };
    // An end of the engine that came before PDEATHSIG was set shows as the end of the socket.
    let _ = sys::die_with_parent();
    let mut buffer = Vec::new();
    let Ok(Some(received)) = channel::receive::<Task>(control.as_fd(), &mut buffer, RecvFlags::empty())
    else {
        return;
    };
    if !received.is_whole {
        return;
    }
    match received.message {
        Task::Machine(setup) => be_machine(control, buffer, &setup, received.descriptors),
        Task::Volume(task) => volume::run(control, &task, received.descriptors),
    }
}

fn be_machine(control: OwnedFd, buffer: Vec<u8>, setup: &Setup, descriptors: Vec<OwnedFd>) {
    match prepare(setup, descriptors) {
        Ok(kept) => {
            let listeners = [kept.net.tcp.as_fd(), kept.net.udp.as_fd()];
            if channel::send(control.as_fd(), &Report::Ready, &listeners, SendFlags::empty()).is_err() {
                return;
            }
            let Kept { net, lock, sockets } = kept;
            drop(net);
            serve::serve(&control, buffer, sockets);
            // Free only when nothing of the machine is left to start anything.
            drop(lock);
        }
        Err(error) => {
            let failed = Report::Failed(error.to_string());
            let _ = channel::send(control.as_fd(), &failed, &[], SendFlags::empty());
        }
    }
}

struct Kept {
    net: net::NetListeners,
    /// Held as long as this process lives: how an engine after a crash sees that it does.
    lock: Option<OwnedFd>,
    sockets: sockets::Counted,
}

fn prepare(setup: &Setup, descriptors: Vec<OwnedFd>) -> std::io::Result<Kept> {
    let mut descriptors = descriptors.into_iter();
    let lock = descriptors.next();
    let user_namespace = descriptors.next();
    sys::step("set the host name", sethostname(setup.hostname.as_bytes()))?;
    limits::bound_ipc(setup.shm_bytes);
    limits::keep_in_want_of_memory();
    sys::step("lower the limits", limits::lower())?;
    let net = net::set_up()?;
    let points = tree::build(setup, user_namespace.as_ref())?;
    tree::enter(points, setup.id_base)?;
    let sockets = confine::confine(setup, user_namespace.as_ref())?;
    name_machine(&setup.hostname);
    Ok(Kept { net, lock, sockets })
}

/// Writes the machine's name where programs look for it. As the machine's own root, so that links in its image lead
/// nowhere else; an image that does not want it goes without.
fn name_machine(name: &str) {
    let hosts =
        format!("127.0.0.1\tlocalhost\n127.0.1.1\t{name}\n::1\tlocalhost ip6-localhost ip6-loopback\n");
    for (path, text) in [("/etc/hostname", format!("{name}\n")), ("/etc/hosts", hosts)] {
        let _ = std::fs::remove_file(path);
        let _ = std::fs::File::create_new(path).and_then(|mut file| file.write_all(text.as_bytes()));
    }
}
