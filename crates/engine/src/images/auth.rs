//! What a registry is shown to let somebody in.

use std::fmt;

use base64::engine::general_purpose::STANDARD;
use base64::Engine as _;
use serde::{Deserialize, Deserializer};

use super::client::{Client, OnProgress};
use super::error::{Error, Kind, Result};
use super::sigv4::{Request, Signer};

/// Credentials of one registry, as `base_image_auth` and `registry_auth` of a build carry them. Source: PROTOCOL.md
/// section 11.
#[derive(Clone, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Auth {
    /// A name and a password, or a token in its place.
    Basic {
        /// The name.
        username: String,
        /// The password.
        password: String,
    },
    /// A service account of Google's Artifact Registry.
    GcpArtifactRegistry {
        /// The key file of the account, as text or as the object that it holds.
        #[serde(deserialize_with = "text_or_object")]
        service_account_json: String,
    },
    /// An access key of AWS, for its Elastic Container Registry.
    AwsEcr {
        /// Id of the key.
        access_key_id: String,
        /// The key.
        secret_access_key: String,
        /// Region of the registry, such as `eu-central-1`.
        region: String,
        /// Goes with a key that holds for a while only.
        #[serde(default)]
        session_token: Option<String>,
    },
}

fn text_or_object<'de, D: Deserializer<'de>>(deserializer: D) -> std::result::Result<String, D::Error> {
    Ok(match serde_json::Value::deserialize(deserializer)? {
        serde_json::Value::String(text) => text,
        other => other.to_string(),
    })
}

/// Which kind it is, and nothing of it.
impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Basic { .. } => "Basic",
            Self::GcpArtifactRegistry { .. } => "GcpArtifactRegistry",
            Self::AwsEcr { .. } => "AwsEcr",
        })
    }
}

/// What goes into an `Authorization: Basic` header.
#[derive(Clone)]
pub(super) struct Login {
    pub username: String,
    pub password: String,
}

impl Login {
    pub fn header(&self) -> String {
        format!(
            "Basic {}",
            STANDARD.encode(format!("{}:{}", self.username, self.password))
        )
    }
}

impl Auth {
    /// Checks what can be checked without a registry.
    pub fn check(&self) -> Result<()> {
        let invalid = |what: &str| Err(Error::new(Kind::Invalid, what));
        match self {
            Self::Basic { username, password } => {
                if username.is_empty() || username.contains(':') {
                    return invalid("username is empty, or has a colon in it: give the one of the registry");
                }
                if password.is_empty() {
                    return invalid("password is empty: give that of the registry, or a token");
                }
            }
            Self::GcpArtifactRegistry { service_account_json } => {
                let read: Option<serde_json::Value> = serde_json::from_str(service_account_json).ok();
                let is_key = read
                    .is_some_and(|key| key["type"] == "service_account" && key["private_key"].is_string());
                if !is_key {
                    return invalid(
                        "service_account_json is no key of a service account: give the content of the key file, \
                         which has \"type\": \"service_account\" and a private_key",
                    );
                }
            }
            Self::AwsEcr {
                access_key_id,
                secret_access_key,
                region,
                ..
            } => {
                let is_plain = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic());
                if !is_plain(access_key_id) || !is_plain(secret_access_key) {
                    return invalid("access_key_id or secret_access_key is empty, or has spaces in it");
                }
                let is_region = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
                if region.is_empty() || !region.chars().all(is_region) {
                    return invalid("region is no region of AWS: give one such as \"eu-central-1\"");
                }
            }
        }
        Ok(())
    }

    /// What the registry takes. AWS is asked for it; the others need no question.
    pub(super) async fn login(&self, client: &Client, tell: OnProgress<'_>) -> Result<Login> {
        self.check()?;
        match self {
            Self::Basic { username, password } => Ok(Login {
                username: username.clone(),
                password: password.clone(),
            }),
            // Source: Artifact Registry, "Configure authentication with a service account key".
            Self::GcpArtifactRegistry { service_account_json } => Ok(Login {
                username: "_json_key".into(),
                password: service_account_json.clone(),
            }),
            Self::AwsEcr { .. } => self.ecr_login(client, tell).await,
        }
    }

    /// Exchanges an access key for a password. Source: ECR API reference, GetAuthorizationToken.
    async fn ecr_login(&self, client: &Client, tell: OnProgress<'_>) -> Result<Login> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Answer {
            authorization_data: Vec<Data>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Data {
            authorization_token: String,
        }
        let Self::AwsEcr {
            access_key_id,
            secret_access_key,
            region,
            session_token,
        } = self
        else {
            return Err(Error::new(Kind::Invalid, "these are no credentials of AWS"));
        };
        let domain = if region.starts_with("cn-") {
            "amazonaws.com.cn"
        } else {
            "amazonaws.com"
        };
        let url = match &client.options.ecr_endpoint {
            Some(endpoint) => endpoint.clone(),
            None => format!("https://api.ecr.{region}.{domain}"),
        };
        let host = url
            .split_once("://")
            .map_or(url.as_str(), |(_, host)| host)
            .to_owned();
        let mut tries = client.tries("AWS", tell);
        let answer = loop {
            let moment = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
            let mut headers = vec![
                ("content-type", "application/x-amz-json-1.1"),
                ("host", host.as_str()),
                ("x-amz-date", moment.as_str()),
            ];
            if let Some(token) = session_token {
                headers.push(("x-amz-security-token", token.as_str()));
            }
            headers.push((
                "x-amz-target",
                "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken",
            ));
            let signer = Signer {
                access_key_id,
                secret_access_key,
                region,
                service: "ecr",
            };
            let authorization = signer.authorization(&Request {
                method: "POST",
                headers: &headers,
                body: b"{}",
                moment: &moment,
            });
            headers.push(("authorization", &authorization));
            match client.post(&format!("{url}/"), &headers, "{}").await {
                Ok(answer) => break answer,
                Err(failed) => tries.again(failed).await?,
            }
        };
        let odd = || {
            Error::new(
                Kind::Unreachable,
                "AWS answered the request for a password with something else",
            )
        };
        let answer: Answer = serde_json::from_slice(&answer).map_err(|_| odd())?;
        let token = answer.authorization_data.first().ok_or_else(odd)?;
        let decoded = STANDARD.decode(&token.authorization_token).map_err(|_| odd())?;
        let decoded = String::from_utf8(decoded).map_err(|_| odd())?;
        let (username, password) = decoded.split_once(':').ok_or_else(odd)?;
        Ok(Login {
            username: username.into(),
            password: password.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = r#"{"type":"service_account","private_key":"-----BEGIN"}"#;

    #[test]
    fn the_forms_of_the_protocol_are_read_and_shown_to_nobody() {
        for (json, kind) in [
            (
                r#"{"kind":"basic","username":"u","password":"s3cret"}"#.to_owned(),
                "Basic",
            ),
            (
                format!(r#"{{"kind":"gcp_artifact_registry","service_account_json":{KEY}}}"#),
                "GcpArtifactRegistry",
            ),
            (
                format!(
                    r#"{{"kind":"gcp_artifact_registry","service_account_json":{}}}"#,
                    serde_json::json!(KEY)
                ),
                "GcpArtifactRegistry",
            ),
            (
                r#"{"kind":"aws_ecr","access_key_id":"A","secret_access_key":"s3cret","region":"eu-west-1"}"#
                    .to_owned(),
                "AwsEcr",
            ),
        ] {
            let auth: Auth = serde_json::from_str(&json).unwrap();
            auth.check().unwrap();
            assert_eq!(format!("{auth:?}"), kind);
        }
    }

    #[test]
    fn credentials_of_the_wrong_form_are_refused_by_name() {
        let basic = |username: &str, password: &str| Auth::Basic {
            username: username.into(),
            password: password.into(),
        };
        let gcp = |text: &str| Auth::GcpArtifactRegistry {
            service_account_json: text.into(),
        };
        let aws = |id: &str, secret: &str, region: &str| Auth::AwsEcr {
            access_key_id: id.into(),
            secret_access_key: secret.into(),
            region: region.into(),
            session_token: None,
        };
        for (auth, named) in [
            (basic("", "p"), "username"),
            (basic("a:b", "p"), "username"),
            (basic("a", ""), "password"),
            (gcp(""), "service_account_json"),
            (gcp("{\"type\":\"user\"}"), "service_account_json"),
            (gcp("/path/key.json"), "service_account_json"),
            (aws("", "s", "eu-west-1"), "access_key_id"),
            (aws("A", "s s", "eu-west-1"), "secret_access_key"),
            (aws("A", "s", ""), "region"),
            (aws("A", "s", "evil.test/"), "region"),
        ] {
            let error = auth.check().unwrap_err();
            assert_eq!(error.kind, Kind::Invalid);
            assert!(error.message.contains(named), "{error}");
        }
    }
}
