//! The conversation with one agent: orders out, reports in, each matched to its order.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nullspace_agent::channel;
use nullspace_agent::message::{Order, Refusal, Report, Setup};
use tokio::io::unix::AsyncFd;
use tokio::sync::oneshot;

use crate::isolation::{IsolationError, Result};

/// How long an agent may take: it waits for nothing but the kernel. A machine at its process limit answers at once.
const PATIENCE: Duration = Duration::from_secs(30);

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
        setup: &Setup,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(Self, OwnedFd, OwnedFd)> {
        rustix::io::ioctl_fionbio(&socket, true).map_err(|error| broken(error.into()))?;
        // SAFETY: the value owns its descriptor and always answers with the same one.
        let socket = unsafe { AsyncFd::register(socket) }.map_err(|error| broken(error.into()))?;
        send(&socket, setup, descriptors).await.map_err(broken)?;
        let mut buffer = Vec::new();
        let answered = tokio::time::timeout(PATIENCE, receive(&socket, &mut buffer))
            .await
            .map_err(|_| IsolationError::Failed("the machine's agent did not answer".to_owned()))?;
        let (tcp, udp) = match answered.map_err(broken)? {
            Some((Report::Ready, descriptors)) => match <[OwnedFd; 2]>::try_from(descriptors) {
                Ok([tcp, udp]) => (tcp, udp),
                Err(_) => {
                    return Err(IsolationError::Failed(
                        "the machine's agent gave no listeners".to_owned(),
                    ))
                }
            },
            Some((Report::Failed(reason), _)) => {
                return Err(IsolationError::Failed(format!(
                    "the machine could not be set up: {reason}"
                )))
            }
            Some(_) => {
                return Err(IsolationError::Failed(
                    "the machine's agent said something else".to_owned(),
                ))
            }
            None => {
                return Err(IsolationError::Failed(
                    "the machine's agent ended while it was set up".to_owned(),
                ))
            }
        };
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

struct Forget<'a>(&'a Mutex<State>, u64);

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        lock(self.0).waiting.remove(&self.1);
    }
}

async fn listen(socket: Arc<AsyncFd<OwnedFd>>, state: Arc<Mutex<State>>, mut buffer: Vec<u8>) {
    while let Ok(Some((report, descriptors))) = receive(&socket, &mut buffer).await {
        if !heard(&mut lock(&state), report, descriptors) {
            break;
        }
    }
    // Whoever waits learns of the end by the drop of its sender.
    let mut state = lock(&state);
    state.gone = true;
    state.waiting.clear();
    state.running.clear();
}

/// Whether the conversation goes on.
fn heard(state: &mut State, report: Report, mut descriptors: Vec<OwnedFd>) -> bool {
    let (id, answer) = match report {
        Report::Ready | Report::Failed(_) => return false,
        Report::Exited(pid, code) => {
            if let Some(sender) = state.running.remove(&pid) {
                let _ = sender.send(code);
            }
            return true;
        }
        Report::Started(id, pid) => {
            let (sender, end) = oneshot::channel();
            state.running.insert(pid, sender);
            (id, Ok(Answer::Started(pid, descriptors, end)))
        }
        Report::Descriptor(id) => match descriptors.pop() {
            Some(descriptor) => (id, Ok(Answer::Descriptor(descriptor))),
            None => return false,
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
    true
}

async fn send(
    socket: &AsyncFd<OwnedFd>,
    message: &impl serde::Serialize,
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    loop {
        let mut ready = socket.writable().await?;
        let sent = ready.try_io(|socket| {
            channel::send(socket.get_ref().as_fd(), message, descriptors, libc::MSG_DONTWAIT)
        });
        if let Ok(result) = sent {
            return result;
        }
    }
}

async fn receive(
    socket: &AsyncFd<OwnedFd>,
    buffer: &mut Vec<u8>,
) -> io::Result<Option<(Report, Vec<OwnedFd>)>> {
    loop {
        let mut ready = socket.readable().await?;
        let got =
            ready.try_io(|socket| channel::receive(socket.get_ref().as_fd(), buffer, libc::MSG_DONTWAIT));
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
