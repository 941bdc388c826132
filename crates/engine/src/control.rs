//! Orders of this computer's own user to a running engine, over a socket in its state directory: what the HTTP API must
//! not offer, since it reads files of the computer. Only who may enter the state directory can connect.
//!
//! A connection is one order and one answer, each a line of JSON.

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

use crate::machine::templates::{ImportTemplate, Template};
use crate::machine::{Engine, Error, Kind};

/// Name in the state directory.
const SOCKET: &str = "control.sock";
/// Most bytes of an order.
const LARGEST: u64 = 1 << 20;

/// What can be asked for.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Make a template.
    ImportTemplate(ImportTemplate),
    /// All templates.
    ListTemplates,
    /// One template.
    InspectTemplate(String),
    /// Delete one.
    DeleteTemplate(String),
    /// Remove layers of images that nothing uses, and with `cache` what only the cache of builds uses.
    Prune {
        /// The cache too.
        cache: bool,
    },
}

/// What is answered.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Reply {
    Done(Value),
    Refused(String),
}

impl Order {
    /// Carries it out.
    pub async fn run(self, engine: &Engine) -> Result<Value, Error> {
        let value = |template: Template| {
            serde_json::to_value(template).map_err(|e| Error::internal("describing a template", e))
        };
        match self {
            Order::ImportTemplate(wanted) => value(engine.import_template(wanted).await?),
            Order::ListTemplates => {
                let all = engine.templates().await?.into_iter().map(value);
                Ok(Value::Array(all.collect::<Result<_, _>>()?))
            }
            Order::InspectTemplate(name) => value(engine.template(&name).await?),
            Order::DeleteTemplate(name) => value(engine.delete_template(&name).await?),
            Order::Prune { cache } => {
                let pruned = engine.prune(cache).await?;
                serde_json::to_value(pruned).map_err(|e| Error::internal("describing what was removed", e))
            }
        }
    }
}

/// The path of the socket, short whatever the directory is called: the kernel takes 107 bytes.
struct Place(std::fs::File);

impl Place {
    fn of(directory: &Path) -> io::Result<Self> {
        std::fs::File::open(directory).map(Self)
    }

    fn path(&self) -> String {
        format!("/proc/self/fd/{}/{SOCKET}", self.0.as_raw_fd())
    }
}

/// Listens in the state directory, which this engine holds the lock of: what is there is of an earlier one.
pub fn listen(directory: &Path) -> io::Result<UnixListener> {
    let _ = std::fs::remove_file(directory.join(SOCKET));
    let place = Place::of(directory)?;
    let listener = UnixListener::bind(place.path())?;
    std::fs::set_permissions(place.path(), std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Removes the socket of an engine that has ended.
pub fn forget(directory: &Path) {
    let _ = std::fs::remove_file(directory.join(SOCKET));
}

/// Serves orders until the engine begins to end.
pub async fn serve(listener: UnixListener, engine: Arc<Engine>) {
    let closing = engine.closing().clone();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = closing.cancelled() => return,
        };
        let Ok((stream, _)) = accepted else { continue };
        let engine = engine.clone();
        tokio::spawn(async move {
            if let Err(error) = answer(stream, &engine).await {
                tracing::debug!(%error, "an order was given up");
            }
        });
    }
}

async fn answer(stream: UnixStream, engine: &Engine) -> io::Result<()> {
    let (input, mut output) = stream.into_split();
    let mut line = String::new();
    BufReader::new(input.take(LARGEST)).read_line(&mut line).await?;
    let reply = match serde_json::from_str::<Order>(&line) {
        Ok(order) => match order.run(engine).await {
            Ok(value) => Reply::Done(value),
            Err(error) => Reply::Refused(text(&error)),
        },
        Err(error) => Reply::Refused(format!("the running engine does not know this order: {error}")),
    };
    let mut line = serde_json::to_vec(&reply)?;
    line.push(b'\n');
    output.write_all(&line).await
}

/// An error for the person at the terminal.
pub fn text(error: &Error) -> String {
    // Whoever looks at a terminal has no request to look up; the log is on the other one.
    let what = match error.kind {
        Kind::Internal => error.message.replace(" under this request id", ""),
        _ => error.message.clone(),
    };
    match &error.suggested_action {
        Some(action) => format!("{what}. {action}"),
        None => what,
    }
}

/// Gives an order to the engine that runs on a state directory. `None` when none does.
pub async fn ask(directory: &Path, order: &Order) -> io::Result<Option<Result<Value, String>>> {
    let place = Place::of(directory)?;
    let mut stream = match UnixStream::connect(place.path()).await {
        Ok(stream) => stream,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    let mut line = serde_json::to_vec(order)?;
    line.push(b'\n');
    stream.write_all(&line).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(Some(match serde_json::from_str(&answer) {
        Ok(Reply::Done(value)) => Ok(value),
        Ok(Reply::Refused(why)) => Err(why),
        Err(_) => Err("the engine ended before it answered; its log says why".to_owned()),
    }))
}
