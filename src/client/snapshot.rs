//! Snapshots that outlive their machine. Source: PROTOCOL.md section 3.

use super::call::{Call, Client, Outcome, DEFAULT_TIMEOUT};
use crate::core::options::Fields;
use crate::core::{http, snapshots};
use crate::transport::{Decoder, Transport};

const PATH: &str = "/v1/snapshots";

/// All that match.
pub async fn list<T: Transport>(client: &Client<T>, fields: &Fields<'_>) -> Outcome<T, T::Answer> {
    let path = http::with_query(PATH, &snapshots::list(fields)?);
    send(client, "listSnapshots", "GET", path, Decoder::SnapshotList).await
}

/// Describes one.
pub async fn get<T: Transport>(client: &Client<T>, id: &str) -> Outcome<T, T::Answer> {
    send(client, "getSnapshot", "GET", path(id), Decoder::SnapshotInfo).await
}

/// Deletes one.
pub async fn delete<T: Transport>(client: &Client<T>, id: &str) -> Outcome<T, ()> {
    send(client, "deleteSnapshot", "DELETE", path(id), Decoder::Nothing)
        .await
        .map(drop)
}

fn path(id: &str) -> String {
    format!("{PATH}/{}", http::encode(id))
}

async fn send<T: Transport>(
    client: &Client<T>,
    operation: &'static str,
    method: &'static str,
    path: String,
    decoder: Decoder,
) -> Outcome<T, T::Answer> {
    let call = Call::new(
        operation,
        method,
        path,
        decoder,
        client.timeout(None, DEFAULT_TIMEOUT),
    );
    Ok(client.call(&call).await?.answer)
}
