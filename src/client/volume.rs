//! Volumes, and those of a machine. Source: PROTOCOL.md section 9.

use std::time::Duration;

use serde_json::json;

use super::call::{self, Call, Client, Failure, Outcome, DEFAULT_TIMEOUT};
use super::machine::Machine;
use super::single::{Planned, Single};
use crate::core::error::Error;
use crate::core::http;
use crate::core::options::Value;
use crate::core::volumes;
use crate::transport::{Answer, Decoder, Transport};

const PATH: &str = "/v1/volumes";

/// A volume, taken up.
#[derive(Clone)]
pub struct Volume<T> {
    client: Client<T>,
    /// `vol_...`
    pub id: String,
    /// Unique in an account.
    pub name: String,
}

impl<T: Transport> Volume<T> {
    /// What makes a volume.
    pub fn creation(client: &Client<T>, name: &str) -> Single<T> {
        let mut call = on_volumes(
            client,
            "createVolume",
            "POST",
            PATH.to_owned(),
            Decoder::VolumeInfo,
            None,
        );
        call.body = Some(json!({ "name": name }).to_string());
        Single::new(client, call)
    }

    /// What takes up a volume by its id.
    pub fn reading(client: &Client<T>, id: &str, timeout: Option<Duration>) -> Single<T> {
        let call = on_volumes(client, "getVolume", "GET", path(id), Decoder::VolumeInfo, timeout);
        Single::new(client, call)
    }

    /// Takes up a volume by its exact name; makes it if there is none and `or_make` says so.
    pub async fn by_name(client: &Client<T>, name: &str, or_make: bool) -> Outcome<T, Self> {
        let path = format!("{PATH}/by-name/{}", http::encode(name));
        let call = on_volumes(client, "getVolumeByName", "GET", path, Decoder::VolumeInfo, None);
        match client.call(&call).await {
            Ok(answer) => Ok(Self::of(client, &answer)?),
            Err(Failure::Error(error)) if or_make && error.code == "not_found" => {
                match Self::creation(client, name).send().await {
                    // Somebody else made it meanwhile.
                    Err(Failure::Error(error)) if error.status == Some(409) => {
                        Ok(Self::of(client, &client.call(&call).await?)?)
                    }
                    made => Ok(Self::of(client, &made?)?),
                }
            }
            Err(failure) => Err(failure),
        }
    }

    /// All volumes.
    pub fn list(client: &Client<T>) -> Single<T> {
        let call = on_volumes(
            client,
            "listVolumes",
            "GET",
            PATH.to_owned(),
            Decoder::VolumeList,
            None,
        );
        Single::new(client, call)
    }

    /// The volume that an answer is about.
    pub fn of(client: &Client<T>, answer: &T::Answer) -> Result<Self, Error> {
        let text = |field: &str| {
            let missing = || Error::invalid_response(format!("the volume has no {field}"));
            answer.text(field).ok_or_else(missing)
        };
        Ok(Self {
            client: client.clone(),
            id: text("id")?,
            name: text("name")?,
        })
    }

    /// The transport of its client.
    pub fn transport(&self) -> &T {
        self.client.transport()
    }

    /// Describes it.
    pub fn info(&self, timeout: Option<Duration>) -> Single<T> {
        Self::reading(&self.client, &self.id, timeout)
    }

    /// Machines that have it mounted.
    pub fn attachments(&self, timeout: Option<Duration>) -> Single<T> {
        let path = format!("{}/attachments", path(&self.id));
        let decoder = Decoder::VolumeAttachmentList;
        let call = on_volumes(
            &self.client,
            "listVolumeAttachments",
            "GET",
            path,
            decoder,
            timeout,
        );
        Single::new(&self.client, call)
    }

    /// Deletes it and its files.
    pub fn delete(&self, timeout: Option<Duration>) -> Single<T> {
        let path = path(&self.id);
        let call = on_volumes(
            &self.client,
            "deleteVolume",
            "DELETE",
            path,
            Decoder::Nothing,
            timeout,
        );
        Single::new(&self.client, call)
    }
}

impl<T: Transport> Machine<T> {
    /// Its volumes.
    pub fn volumes(&self, timeout: Option<Duration>) -> Single<T> {
        let decoder = Decoder::VolumeAttachmentList;
        let call = self.on("listMachineVolumes", "GET", "/volumes", decoder, timeout);
        self.single(call)
    }

    /// Mounts a volume.
    pub fn attach_volume(&self, volume: &Value, options: Option<&Value>) -> Planned<T> {
        let (mount, timeout) = volumes::attach(volume, options)?;
        let decoder = Decoder::VolumeAttachment;
        let mut call = self.on("attachMachineVolume", "POST", "/volumes", decoder, timeout);
        call.body = Some(call::json(&mount)?);
        Ok(self.single(call))
    }

    /// `DELETE`, `GET .../health` or `POST .../remount` of an attachment.
    pub fn on_attachment(
        &self,
        operation: &'static str,
        method: &'static str,
        id: &str,
        verb: &str,
        timeout: Option<Duration>,
    ) -> Single<T> {
        let under = format!("/volumes/{}{verb}", http::encode(id));
        let call = self.on(operation, method, &under, Decoder::VolumeAttachment, timeout);
        self.single(call)
    }
}

fn path(id: &str) -> String {
    format!("{PATH}/{}", http::encode(id))
}

fn on_volumes<T: Transport>(
    client: &Client<T>,
    operation: &'static str,
    method: &'static str,
    path: String,
    decoder: Decoder,
    timeout: Option<Duration>,
) -> Call {
    Call::new(
        operation,
        method,
        path,
        decoder,
        client.timeout(timeout, DEFAULT_TIMEOUT),
    )
}
