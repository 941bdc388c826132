//! A volume by its name. Source: PROTOCOL.md section 9.

use super::call::{Client, Failure, Outcome};
use crate::core::options::Value;
use crate::surface::volumes;
use crate::transport::Transport;

/// Takes up a volume by its exact name; makes it if there is none and `or_make` says so.
pub async fn by_name<T: Transport>(client: &Client<T>, name: &Value, or_make: bool) -> Outcome<T, T::Answer> {
    let named = [Some(name.clone())];
    let find = || client.plan(&volumes::BY_NAME, &named, None);
    match find()?.send().await {
        Err(Failure::Error(error)) if or_make && error.code == "not_found" => {
            match client.plan(&volumes::CREATE, &named, None)?.send().await {
                // Somebody else made it meanwhile.
                Err(Failure::Error(error)) if error.status == Some(409) => find()?.send().await,
                made => made,
            }
        }
        found => found,
    }
}
