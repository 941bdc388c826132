//! Bytes between a channel of a client and what runs behind it.
//!
//! The SSH library tells a connection's bytes one after the other, and while it waits for one channel it neither reads
//! nor sends anything else of the connection. So both directions are buffered here: a program that prints while its own
//! input is full (`cat`) would otherwise wait for itself. A client that makes both buffers fill is cut off.

use std::time::Duration;

use russh::server::Msg;
use russh::ChannelWriteHalf;
use tokio::sync::mpsc;

use crate::machine::output::Stream;
use crate::machine::processes::Chunk;

/// Pieces of input that may wait. A piece is at most 32 KiB, so this is 16 MiB.
const WAITING_INPUT: usize = 512;
/// Pieces of output that may wait: 64 MiB.
const WAITING_OUTPUT: usize = 2048;
/// How long both may be full.
const STUCK_PATIENCE: Duration = Duration::from_secs(10);

/// What came for a program.
pub enum Input {
    /// Bytes.
    Data(Vec<u8>),
    /// There will be no more.
    End,
}

/// Where a connection puts what comes for one channel.
pub struct Inlet {
    input: mpsc::Sender<Input>,
    /// Only looked at: it must not keep the output from ending.
    output: mpsc::WeakSender<Chunk>,
}

/// The other ends.
pub struct Outlets {
    /// Input of the program.
    pub input: mpsc::Receiver<Input>,
    /// Where its output goes.
    pub output: mpsc::Sender<Chunk>,
}

/// The channel cannot go on: nobody reads, in either direction.
pub struct Stuck;

impl Inlet {
    /// An inlet, and the task that sends to the client: it ends when every sender of output is gone, and all is sent.
    pub fn new(
        writer: ChannelWriteHalf<Msg>,
    ) -> (Self, Outlets, tokio::task::JoinHandle<ChannelWriteHalf<Msg>>) {
        let (input, waiting) = mpsc::channel(WAITING_INPUT);
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
        let inlet = Self {
            input,
            output: output.downgrade(),
        };
        let outlets = Outlets {
            input: waiting,
            output,
        };
        (inlet, outlets, sent)
    }

    /// Hands over what came. Waits for a program that does not read, as long as its own output goes somewhere.
    pub async fn put(&self, input: Input) -> Result<(), Stuck> {
        loop {
            match tokio::time::timeout(STUCK_PATIENCE, self.input.reserve()).await {
                Ok(Ok(place)) => {
                    place.send(input);
                    return Ok(());
                }
                // The program takes no input any more: what came is for nobody.
                Ok(Err(_)) => return Ok(()),
                Err(_) if self.output_is_full() => return Err(Stuck),
                Err(_) => {}
            }
        }
    }

    fn output_is_full(&self) -> bool {
        self.output.upgrade().is_some_and(|output| output.capacity() == 0)
    }
}
