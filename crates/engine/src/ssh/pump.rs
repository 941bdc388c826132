//! Bytes between a channel of a client and what runs behind it.
//!
//! A program that does not read must stop its client from sending, and nothing else: while the SSH library waits for one
//! channel it neither reads nor sends anything of the whole connection, and a program that prints while its own input is
//! full (`cat`) would wait for itself. So input is always taken, and the window of the channel (what the client may send) is
//! kept as good as shut while too much of it waits. See [`super::session`].

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

use russh::server::Msg;
use russh::ChannelWriteHalf;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::machine::commands::output::Stream;
use crate::machine::commands::processes::Chunk;

/// Bytes of input that may wait. As much as two windows can come on top.
const MOST_WAITING: usize = 4 << 20;
/// Pieces of output that may wait, of at most 32 KiB. Then the program waits.
const WAITING_OUTPUT: usize = 128;

/// What came for a program.
pub enum Input {
    /// Bytes.
    Data(Vec<u8>),
    /// There will be no more.
    End,
}

/// Where a connection puts what comes for one channel.
pub struct Inlet {
    input: mpsc::UnboundedSender<Input>,
    waiting: Arc<AtomicUsize>,
}

/// Where a program takes it from.
pub struct Outlet {
    input: mpsc::UnboundedReceiver<Input>,
    waiting: Arc<AtomicUsize>,
}

/// A way for input and a way for output. The task sends to the client: it ends when every sender of output is gone, and
/// all is sent.
pub fn pipes(
    writer: ChannelWriteHalf<Msg>,
) -> (
    Inlet,
    Outlet,
    mpsc::Sender<Chunk>,
    JoinHandle<ChannelWriteHalf<Msg>>,
) {
    let (input, taken) = mpsc::unbounded_channel();
    let waiting = Arc::new(AtomicUsize::new(0));
    let (output, mut sending) = mpsc::channel::<Chunk>(WAITING_OUTPUT);
    let sent = tokio::spawn(async move {
        while let Some((stream, bytes)) = sending.recv().await {
            let bytes = bytes.to_vec();
            let sent = match stream {
                Stream::Stdout => writer.data_bytes(bytes).await,
                Stream::Stderr => writer.extended_data_bytes(1, bytes).await,
            };
            if sent.is_err() {
                break; // the connection is gone
            }
        }
        writer
    });
    let inlet = Inlet {
        input,
        waiting: waiting.clone(),
    };
    let outlet = Outlet {
        input: taken,
        waiting,
    };
    (inlet, outlet, output, sent)
}

impl Inlet {
    /// Takes what came. When the program takes no input any more, it is for nobody.
    pub fn put(&self, input: Input) {
        if let Input::Data(bytes) = &input {
            self.waiting.fetch_add(bytes.len(), Ordering::AcqRel);
        }
        let _ = self.input.send(input);
    }

    /// Whether too much waits. Not when nobody will ever take it.
    pub fn is_full(&self) -> bool {
        self.waiting.load(Ordering::Acquire) > MOST_WAITING && !self.input.is_closed()
    }
}

impl Outlet {
    /// What came next; `None` when the channel is gone.
    pub async fn next(&mut self) -> Option<Input> {
        let input = self.input.recv().await?;
        if let Input::Data(bytes) = &input {
            self.waiting.fetch_sub(bytes.len(), Ordering::AcqRel);
        }
        Some(input)
    }
}
