//! Brings snapshots and templates, with their layers, from another node of the cluster.

use std::io::{self, Read, Write};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{header, Method, Request};
use futures_util::Stream;
use http_body_util::BodyExt;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;

use super::client::{error_of, Client, Unanswered};
use super::messages::Source;
use crate::isolation::namespaces::{pack, unpack};
use crate::isolation::IsolationError;
use crate::machine::gateways::carried::Room;
use crate::machine::gateways::mirrors::{Mirror, Wanted};
use crate::machine::life::snapshot::Snapshot;
use crate::machine::{Engine, Error, Result};

/// A snapshot, to be read.
pub const SNAPSHOTS: &str = "/node/v1/snapshots";
/// A layer, to be read.
pub const LAYERS: &str = "/node/v1/layers";

/// Templates: the one of a reference, all, and those that are to be had.
pub const TEMPLATES: &str = "/node/v1/templates";

/// How long a node may take for a small answer, and for the next piece of a large one.
const PATIENCE: Duration = Duration::from_secs(30);
/// Pieces that wait for a slow disk.
const PIECES_AHEAD: usize = 8;

static CLIENT: LazyLock<Client> = LazyLock::new(Client::new);

type Piece = io::Result<Bytes>;

/// Brings a snapshot, unless it is here.
pub async fn snapshot(engine: &Engine, id: &str, from: &Source) -> Result<Snapshot> {
    let _turn = engine.layer_turn(id).await;
    if let Ok(here) = engine.snapshot(id).await {
        return Ok(here);
    }
    let path = format!("{SNAPSHOTS}/{id}");
    let wanted: Snapshot = ask(from, &path).await?;
    let brought = async {
        let _pin = layers(engine, &wanted.layers, from).await?;
        // It may have been deleted while its layers came.
        let wanted: Snapshot = ask(from, &path).await?;
        engine.keep_carried(&wanted).await?;
        Ok(wanted)
    };
    let brought = brought.await;
    if brought.is_err() {
        engine.drop_unused_layers().await;
    }
    brought
}

/// Brings a template, unless it is here as wanted.
pub async fn template(engine: &Arc<Engine>, wanted: Wanted, from: &Source) -> Result<()> {
    let _turn = engine.layer_turn(&wanted.mirror.id).await;
    if engine.has_template(&wanted).await? {
        return Ok(());
    }
    let brought = async {
        let _pin = layers(engine, &wanted.layers()?, from).await?;
        engine.keep_template(wanted).await
    };
    let brought = brought.await;
    if brought.is_err() {
        engine.drop_unused_layers().await;
    }
    brought
}

/// Brings all templates, and removes those that are not there any more.
pub async fn templates(engine: &Arc<Engine>, from: &Source) -> Result<()> {
    let all: Vec<Mirror> = ask(from, &format!("{TEMPLATES}/all")).await?;
    let ids = all.iter().map(|mirror| mirror.id.clone()).collect();
    for mirror in all {
        template(engine, Wanted { mirror, build: None }, from).await?;
    }
    engine.keep_only_templates(ids).await
}

/// Brings those of some layers that are not here; they stay as long as what is given.
pub async fn layers(engine: &Engine, names: &[String], from: &Source) -> Result<impl Send + use<>> {
    let pin = engine.hold_layers(names).await;
    for name in names {
        let _turn = engine.layer_turn(name).await;
        if !engine.has_layer(name) {
            layer(engine, name, from).await?;
        }
    }
    Ok(pin)
}

async fn layer(engine: &Engine, name: &str, from: &Source) -> Result<()> {
    let broken = |error: &dyn std::fmt::Display| Unanswered::Broken(error.to_string()).into_error(&from.url);
    let request = Request::builder()
        .uri(format!("{}{LAYERS}/{name}", from.url))
        .header(header::AUTHORIZATION, format!("Bearer {}", from.key))
        .body(Body::empty())
        .map_err(|e| broken(&e))?;
    let response = tokio::time::timeout(PATIENCE, CLIENT.send(request)).await;
    let response = response
        .map_err(|e| broken(&e))?
        .map_err(|e| e.into_error(&from.url))?;
    let status = response.status();
    let mut body = response.into_body();
    if !status.is_success() {
        let bytes = body.collect().await.map_err(|e| broken(&e))?.to_bytes();
        return Err(Unanswered::Refused(status, Box::new(error_of(&bytes, status))).into_error(&from.url));
    }
    let (sender, pieces) = mpsc::channel::<Piece>(PIECES_AHEAD);
    let pump = async move {
        loop {
            let piece = match tokio::time::timeout(PATIENCE, body.frame()).await {
                Ok(None) => return None,
                Ok(Some(Ok(frame))) => match frame.into_data() {
                    Ok(bytes) => Ok(bytes),
                    Err(_) => continue,
                },
                Ok(Some(Err(error))) => Err(error.to_string()),
                Err(_) => Err("no more of it came".to_owned()),
            };
            let cause = piece.as_ref().err().cloned();
            let sent = sender.send(piece.map_err(io::Error::other)).await;
            if cause.is_some() || sent.is_err() {
                return cause;
            }
        }
    };
    // Dropped, it ends what is unpacked, too.
    let pump = async {
        tokio::select! {
            cut = pump => cut,
            () = engine.closing().cancelled() => Some("this node ends".to_owned()),
        }
    };
    let room = engine.room();
    let fill = Box::new(move |folder: &std::path::Path| take(pieces, folder, &room));
    let (cut, made) = tokio::join!(pump, engine.bring_layer(name, fill));
    match (cut, made) {
        // Who unpacks knows of a cut only that there was one.
        (Some(cause), Err(_)) => Err(broken(&cause)),
        (_, made) => made,
    }
}

fn take(
    pieces: mpsc::Receiver<Piece>,
    folder: &std::path::Path,
    room: &Room,
) -> crate::isolation::Result<()> {
    let reader = Pieces {
        pieces,
        piece: Bytes::new(),
    };
    unpack(reader, folder, &**room)
        .map_err(|error| IsolationError::Failed(format!("could not bring a layer: {error}")))
}

/// What comes, for a thread that waits for it.
struct Pieces {
    pieces: mpsc::Receiver<Piece>,
    piece: Bytes,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.pieces.blocking_recv() {
                None => return Ok(0),
                Some(piece) => self.piece = piece?,
            }
        }
        let length = buffer.len().min(self.piece.len());
        buffer[..length].copy_from_slice(&self.piece.split_to(length));
        Ok(length)
    }
}

/// A layer for another node, made while it is sent.
pub async fn packed(engine: &Engine, name: &str) -> Result<impl Stream<Item = Piece> + use<>> {
    let (folder, pin) = engine.layer_to_carry(name).await?;
    let (sender, receiver) = mpsc::channel::<Piece>(PIECES_AHEAD);
    tokio::task::spawn_blocking(move || {
        let _pin = pin;
        if let Err(error) = pack(&folder, Sending(&sender)) {
            // The answer has begun: that it ends early is all that can be told. Nobody may be there to hear it.
            let _ = sender.blocking_send(Err(error));
        }
    });
    Ok(futures_util::stream::unfold(receiver, |mut receiver| async {
        let piece = receiver.recv().await?;
        Some((piece, receiver))
    }))
}

struct Sending<'a>(&'a mpsc::Sender<Piece>);

impl Write for Sending<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = Bytes::copy_from_slice(bytes);
        let sent = self.0.blocking_send(Ok(piece));
        sent.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

async fn ask<A: DeserializeOwned>(from: &Source, path: &str) -> Result<A> {
    let url = format!("{}{path}", from.url);
    let asked = CLIENT.ask(Method::GET, &url, &from.key, None::<&()>, PATIENCE);
    asked
        .await
        .map_err(|error: Unanswered| -> Error { error.into_error(&from.url) })
}
