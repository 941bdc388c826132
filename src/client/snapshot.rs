//! Snapshots that outlive their machine. Source: PROTOCOL.md section 3.

use super::call::{Call, Client, DEFAULT_TIMEOUT};
use super::single::{Planned, Single};
use crate::core::options::Fields;
use crate::core::{http, snapshots};
use crate::transport::{Decoder, Transport};

const PATH: &str = "/v1/snapshots";

/// All that match.
pub fn list<T: Transport>(client: &Client<T>, fields: &Fields<'_>) -> Planned<T> {
    let path = http::with_query(PATH, &snapshots::list(fields)?);
    Ok(single(
        client,
        "listSnapshots",
        "GET",
        path,
        Decoder::SnapshotList,
    ))
}

/// Describes one.
pub fn get<T: Transport>(client: &Client<T>, id: &str) -> Single<T> {
    single(client, "getSnapshot", "GET", path(id), Decoder::SnapshotInfo)
}

/// Deletes one.
pub fn delete<T: Transport>(client: &Client<T>, id: &str) -> Single<T> {
    single(client, "deleteSnapshot", "DELETE", path(id), Decoder::Nothing)
}

fn path(id: &str) -> String {
    format!("{PATH}/{}", http::encode(id))
}

fn single<T: Transport>(
    client: &Client<T>,
    operation: &'static str,
    method: &'static str,
    path: String,
    decoder: Decoder,
) -> Single<T> {
    let call = Call::new(
        operation,
        method,
        path,
        decoder,
        client.timeout(None, DEFAULT_TIMEOUT),
    );
    Single::new(client, call)
}
