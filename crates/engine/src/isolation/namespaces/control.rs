//! The conversation with one agent: orders out, reports in, each matched to its order.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nullspace_agent::channel::{self, Received};
use nullspace_agent::message::{Order, Refusal, Report, Task};
use rustix::net::{RecvFlags, SendFlags};
use tokio::io::unix::AsyncFd;
use tokio::sync::oneshot;

use crate::isolation::{IsolationError, Result};

/// How long an agent may take: it waits for nothing but the kernel. A machine at its process limit answers at once.
const PATIENCE: Duration = Duration::from_secs(30);

/// Number of orders whose answer nobody waits for.
const UNASKED: u64 = 0;

/// What an order gives.
pub enum Answer {
    /// It was carried out.
    Done,
    /// A process runs: pid, its streams, its end (exit code).
    Started(u32, Vec<OwnedFd>, oneshot::Receiver<i32>),
    /// One descriptor.
    Descriptor(OwnedFd),
}

/// The engine's end.
pub struct Control {
    socket: Arc<AsyncFd<OwnedFd>>,
    state: Arc<Mutex<State>>,
    next: AtomicU64,
}

#[derive(Default)]
struct State {
    waiting: HashMap<u64, oneshot::Sender<Result<Answer>>>,
    running: HashMap<u32, oneshot::Sender<i32>>,
    gone: bool,
}

impl Control {
    /// Sends the set-up and waits until the machine stands; gives its two listeners as well.
    pub async fn begin(
        socket: OwnedFd,
        task: &Task,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(Self, OwnedFd, OwnedFd)> {
        let mut buffer = Vec::new();
        let (socket, descriptors, is_whole) = set_up(socket, task, descriptors, &mut buffer).await?;
        let [tcp, udp] = <[OwnedFd; 2]>::try_from(descriptors).map_err(|_| match is_whole {
            false => no_descriptors(),
            true => IsolationError::Failed("the machine's agent gave no listeners".to_owned()),
        })?;
        let control = Self {
            socket: Arc::new(socket),
            state: Arc::default(),
            next: AtomicU64::new(1),
        };
        tokio::spawn(listen(control.socket.clone(), control.state.clone(), buffer));
        Ok((control, tcp, udp))
    }

    /// Sends an order and waits for its answer.
    pub async fn order(&self, order: impl FnOnce(u64) -> Order) -> Result<Answer> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        {
            let mut state = lock(&self.state);
            if state.gone {
                return Err(IsolationError::Gone);
            }
            state.waiting.insert(id, sender);
        }
        // Forgotten again when this future is dropped or the agent is silent.
        let _forget = Forget(&self.state, id);
        match send(&self.socket, &order(id), &[]).await {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                return Err(IsolationError::Invalid(format!(
                    "command, arguments and environment are larger than {} KiB together",
                    channel::MAX_MESSAGE / 1024
                )))
            }
            Err(_) => return Err(IsolationError::Gone),
        }
        match tokio::time::timeout(PATIENCE, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(IsolationError::Gone),
            Err(_) => Err(IsolationError::Exhausted(format!(
                "the machine did not answer within {} s",
                PATIENCE.as_secs()
            ))),
        }
    }
}

/// Gives an agent its task, and waits until it is set up for it.
pub async fn perform(socket: OwnedFd, task: &Task, descriptors: &[BorrowedFd<'_>]) -> Result<()> {
    set_up(socket, task, descriptors, &mut Vec::new()).await.map(drop)
}

async fn set_up(
    socket: OwnedFd,
    task: &Task,
    descriptors: &[BorrowedFd<'_>],
    buffer: &mut Vec<u8>,
) -> Result<(AsyncFd<OwnedFd>, Vec<OwnedFd>, bool)> {
    rustix::io::ioctl_fionbio(&socket, true).map_err(|error| broken(error.into()))?;
    // SAFETY: the value owns its descriptor and always answers with the same one.
    let socket = unsafe { AsyncFd::register(socket) }.map_err(|error| broken(error.into()))?;
    send(&socket, task, descriptors).await.map_err(broken)?;
    let answered = tokio::time::timeout(PATIENCE, receive(&socket, buffer))
        .await
        .map_err(|_| IsolationError::Failed("the agent did not answer".to_owned()))?;
    let what = match answered.map_err(broken)? {
        Some(Received {
            message: Report::Ready,
            descriptors,
            is_whole,
        }) => return Ok((socket, descriptors, is_whole)),
        Some(Received {
            message: Report::Failed(reason),
            ..
        }) => {
            let what = match task {
                Task::Machine(_) => "the machine could not be set up",
                Task::Volume(_) => "the volume could not be opened",
            };
            format!("{what}: {reason}")
        }
        Some(_) => "the agent said something else".to_owned(),
        None => "the agent ended while it was set up".to_owned(),
    };
    Err(IsolationError::Failed(what))
}

struct Forget<'a>(&'a Mutex<State>, u64);

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        lock(self.0).waiting.remove(&self.1);
    }
}

async fn listen(socket: Arc<AsyncFd<OwnedFd>>, state: Arc<Mutex<State>>, mut buffer: Vec<u8>) {
    while let Ok(Some(received)) = receive(&socket, &mut buffer).await {
        match heard(&mut lock(&state), received) {
            Heard::Known => {}
            Heard::Useless(pid) => {
                // Not waited for: an agent that waits for us to hear it does not hear us.
                let socket = socket.clone();
                tokio::spawn(async move {
                    let order = Order::Signal(UNASKED, pid, libc::SIGKILL);
                    let _ = send(&socket, &order, &[]).await;
                });
            }
            Heard::Nonsense => break,
        }
    }
    // A machine that cannot be spoken to is none: its agent sees the end of the conversation and ends with it.
    let _ = rustix::net::shutdown(&*socket, rustix::net::Shutdown::Both);
    // Whoever waits learns of the end by the drop of its sender.
    let mut state = lock(&state);
    state.gone = true;
    state.waiting.clear();
    state.running.clear();
}

/// What a report was.
#[derive(Debug, PartialEq)]
enum Heard {
    Known,
    /// A process runs whose streams were lost on the way.
    Useless(u32),
    /// The conversation cannot go on.
    Nonsense,
}

fn heard(state: &mut State, received: Received<Report>) -> Heard {
    let Received {
        message,
        mut descriptors,
        is_whole,
    } = received;
    let mut heard = Heard::Known;
    let (id, answer) = match message {
        Report::Ready | Report::Failed(_) => return Heard::Nonsense,
        Report::Exited(pid, code) => {
            if let Some(sender) = state.running.remove(&pid) {
                let _ = sender.send(code);
            }
            return Heard::Known;
        }
        // What is missing concerns this order alone; others go on.
        Report::Started(id, pid) if !is_whole => {
            heard = Heard::Useless(pid);
            (id, Err(no_descriptors()))
        }
        Report::Descriptor(id) if !is_whole => (id, Err(no_descriptors())),
        Report::Started(id, pid) => {
            let (sender, end) = oneshot::channel();
            state.running.insert(pid, sender);
            (id, Ok(Answer::Started(pid, descriptors, end)))
        }
        Report::Descriptor(id) => match descriptors.pop() {
            Some(descriptor) => (id, Ok(Answer::Descriptor(descriptor))),
            None => return Heard::Nonsense,
        },
        Report::Done(id) => (id, Ok(Answer::Done)),
        Report::Refused(id, Refusal::Invalid(text)) => (id, Err(IsolationError::Invalid(text))),
        Report::Refused(id, Refusal::Directory(text)) => (id, Err(IsolationError::Directory(text))),
        Report::Refused(id, Refusal::Exhausted(text)) => (id, Err(IsolationError::Exhausted(text))),
        Report::Refused(id, Refusal::Failed(text)) => (id, Err(IsolationError::Failed(text))),
    };
    if let Some(sender) = state.waiting.remove(&id) {
        let _ = sender.send(answer);
    }
    heard
}

fn no_descriptors() -> IsolationError {
    IsolationError::Exhausted(
        "the engine has no file descriptor left for it; close connections, or start the engine with a higher limit (ulimit -n)"
            .to_owned(),
    )
}

async fn send(
    socket: &AsyncFd<OwnedFd>,
    message: &impl serde::Serialize,
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    loop {
        let mut ready = socket.writable().await?;
        let sent = ready.try_io(|socket| {
            channel::send(
                socket.get_ref().as_fd(),
                message,
                descriptors,
                SendFlags::DONTWAIT,
            )
        });
        if let Ok(result) = sent {
            return result;
        }
    }
}

async fn receive(socket: &AsyncFd<OwnedFd>, buffer: &mut Vec<u8>) -> io::Result<Option<Received<Report>>> {
    loop {
        let mut ready = socket.readable().await?;
        let got =
            ready.try_io(|socket| channel::receive(socket.get_ref().as_fd(), buffer, RecvFlags::DONTWAIT));
        if let Ok(result) = got {
            return result;
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn broken(error: io::Error) -> IsolationError {
    IsolationError::Failed(format!(
        "the conversation with the machine's agent broke: {error}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(state: &mut State, id: u64) -> oneshot::Receiver<Result<Answer>> {
        let (sender, answer) = oneshot::channel();
        state.waiting.insert(id, sender);
        answer
    }

    fn cut(message: Report) -> Received<Report> {
        Received {
            message,
            descriptors: Vec::new(),
            is_whole: false,
        }
    }

    #[test]
    fn lost_descriptors_fail_their_own_order_only() {
        let mut state = State::default();
        let mut command = waiting(&mut state, 1);
        let mut file = waiting(&mut state, 2);
        let mut other = waiting(&mut state, 3);
        assert_eq!(heard(&mut state, cut(Report::Started(1, 77))), Heard::Useless(77));
        assert_eq!(heard(&mut state, cut(Report::Descriptor(2))), Heard::Known);
        for answer in [&mut command, &mut file] {
            assert!(matches!(
                answer.try_recv().unwrap(),
                Err(IsolationError::Exhausted(_))
            ));
        }
        assert!(other.try_recv().is_err(), "still waiting");
        let done = Received {
            message: Report::Done(3),
            descriptors: Vec::new(),
            is_whole: true,
        };
        assert_eq!(heard(&mut state, done), Heard::Known);
        assert!(matches!(other.try_recv().unwrap(), Ok(Answer::Done)));
    }
}
