//! Reads JSON bodies, and says which field is wrong when one is.

use axum::body::to_bytes;
use axum::extract::{FromRequest, Request};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::reply::Failure;
use crate::machine::{Error, Kind};

/// Most bytes of a JSON body: 8 MiB.
pub const LIMIT: usize = 8 << 20;

/// A JSON body, typed and as it came. No body reads as `{}`.
pub struct Body<T> {
    /// As the wire types read it.
    pub value: T,
    /// As it came.
    pub raw: Value,
}

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, _: &S) -> Result<Self, Failure> {
        let bytes = to_bytes(request.into_body(), LIMIT)
            .await
            .map_err(|error| unreadable(&error))?;
        let raw = match bytes.is_empty() {
            true => Value::Object(serde_json::Map::new()),
            false => serde_json::from_slice(&bytes)
                .map_err(|e| Error::new(Kind::InvalidRequest, format!("the body is not JSON: {e}")))?,
        };
        if !raw.is_object() {
            return Err(Error::new(
                Kind::InvalidRequest,
                "the body is no JSON object: send one such as {}",
            )
            .into());
        }
        let value = serde_path_to_error::deserialize(&raw).map_err(|error| wrong(&error))?;
        Ok(Self { value, raw })
    }
}

fn unreadable(error: &axum::Error) -> Error {
    // The limit is reported as an error inside the error.
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(inner) = cause {
        if inner.to_string().contains("length limit exceeded") {
            return Error::new(
                Kind::TooLarge,
                format!("the body is larger than {LIMIT} bytes, the most that a JSON call takes"),
            );
        }
        cause = inner.source();
    }
    Error::new(Kind::InvalidRequest, "the body ended early")
}

/// Fields of which an error repeats nothing.
const SECRETS: [&str; 6] = [
    "secrets",
    "build_secrets",
    "base_image_auth",
    "registry_auth",
    "auth",
    "signing_secret",
];

fn wrong(error: &serde_path_to_error::Error<serde_json::Error>) -> Error {
    let path = error.path().to_string();
    let is_secret = SECRETS
        .iter()
        .any(|name| path.split(['.', '[']).any(|part| part == *name));
    let said = match is_secret {
        true => "it is not what the API takes".to_owned(),
        false => error.inner().to_string(),
    };
    let text = said
        .replace("u64", "a whole number of 0 or more")
        .replace("u32", "a whole number of 0 or more")
        .replace("u16", "a whole number of 0 to 65535");
    if path == "." {
        return Error::new(Kind::InvalidRequest, format!("the body is wrong: {text}"));
    }
    let good = good_value(&path).map_or(String::new(), |good| format!("; a good value is {good}"));
    Error::invalid(&path, format_args!("is wrong: {text}{good}"))
}

/// An example for the fields that people get wrong.
fn good_value(path: &str) -> Option<&'static str> {
    let field = path.split(['.', '[']).next().unwrap_or(path);
    let last = path.rsplit('.').next().unwrap_or(path);
    Some(match last.split('[').next().unwrap_or(last) {
        "template" => "\"base\"",
        "vcpus" => "2",
        "memory_mb" => "512",
        "disk_mb" => "2048",
        "timeout_ms" => "300000",
        "timeout_action" => "\"destroy\" or \"hibernate\"",
        "ephemeral" | "auto_resume" | "internet_access" | "shell" | "background" | "allow_public_traffic" => {
            "true or false"
        }
        "on_timeout" => "\"destroy\" or \"pause\"",
        "mode" if field == "warm_pool" => "\"prefer\", \"require\" or \"bypass\"",
        "mode" => "\"allow_all\", \"deny_all\", \"custom\" or \"domains\"",
        "checkout_policy" => "\"prefer\", \"require\" or \"bypass\"",
        "version_policy" => "\"pinned_build\" or \"track_tag\"",
        "wait_ms" => "1000",
        milliseconds if milliseconds.ends_with("_ms") => "60000",
        "allow_cidrs" | "deny_cidrs" | "allow_out" | "deny_out" => "[\"10.0.0.0/8\"]",
        "allow_domains" | "deny_domains" => "[\"api.example.com\", \"*.npmjs.org\"]",
        "kbit_per_sec" | "pps" => "1000",
        "metadata" | "labels" => "{\"project\": \"docs\"}",
        "cwd" => "\"/workspace\"",
        "command" => "\"echo\"",
        "args" => "[\"-l\"]",
        "timeout_secs" => "30",
        "min_ready" | "max_ready" => "1",
        "resources" => "{\"vcpus\": 2, \"memory_mb\": 512}",
        "url" => "\"http://127.0.0.1:8080/hook\"",
        "operations" => "[\"create\", \"destroy\"]",
        "signing_secret" => "32 random characters",
        "enabled" => "true or false",
        "volumes" => "[{\"ref\": \"data\", \"mount_path\": \"/data\"}]",
        _ if field == "envs" => "{\"NAME\": \"value\"}",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use nullspace_wire::machine::CreateMachineRequest;
    use serde_json::json;

    fn message(body: Value) -> String {
        let read: Result<CreateMachineRequest, _> = serde_path_to_error::deserialize(&body);
        wrong(&read.unwrap_err()).message
    }

    #[test]
    fn what_may_be_a_secret_is_not_repeated() {
        use nullspace_wire::template::CreateTemplateRequest;
        for (body, start) in [
            (
                json!({ "build_secrets": [{ "id": "a", "value": 8675309 }] }),
                "`build_secrets[0].value`",
            ),
            (
                json!({ "base_image_auth": { "kind": "8675309" } }),
                "`base_image_auth",
            ),
        ] {
            let read: Result<CreateTemplateRequest, _> = serde_path_to_error::deserialize(&body);
            let message = wrong(&read.unwrap_err()).message;
            assert!(
                message.starts_with(start) && !message.contains("8675309"),
                "{message}"
            );
        }
    }

    #[test]
    fn a_wrong_type_names_its_field_and_shows_a_good_value() {
        let cases = [
            (json!({ "vcpus": "two" }), "`vcpus` is wrong", "a good value is 2"),
            (
                json!({ "memory_mb": -1 }),
                "`memory_mb` is wrong",
                "a whole number of 0 or more; a good value is 512",
            ),
            (json!({ "timeout_ms": 1.5 }), "`timeout_ms` is wrong", "300000"),
            (
                json!({ "envs": { "A": 1 } }),
                "`envs.A` is wrong",
                "{\"NAME\": \"value\"}",
            ),
            (
                json!({ "metadata": [] }),
                "`metadata` is wrong",
                "{\"project\": \"docs\"}",
            ),
            (
                json!({ "timeout_action": "stop" }),
                "`timeout_action` is wrong",
                "\"hibernate\"",
            ),
            (
                json!({ "network": { "egress": { "mode": "open" } } }),
                "`network.egress.mode` is wrong",
                "\"deny_all\"",
            ),
            (
                json!({ "network": { "egress": { "mode": "custom", "allow_cidrs": [1] } } }),
                "`network.egress.allow_cidrs[0]` is wrong",
                "10.0.0.0/8",
            ),
            (
                json!({ "warm_pool": { "mode": "maybe" } }),
                "`warm_pool.mode` is wrong",
                "\"bypass\"",
            ),
        ];
        for (body, start, good) in cases {
            let message = message(body);
            assert!(message.starts_with(start) && message.contains(good), "{message}");
        }
    }
}
