//! Preview ports and SSH access as options. Source: PROTOCOL.md section 3, "Operations".

use std::time::Duration;

use serde_json::{Map, Value as Json};

use super::config;
use super::error::Error;
use super::options::{self, Fields, Value};

/// How long a signed address may live, seconds. Source: schema, `CreateSignedPreviewUrlRequest`.
const EXPIRY: (u64, u64) = (60, 86_400);
/// The longest wait for a service, seconds: an hour.
const MAX_WAIT: u64 = 3600;
/// Added to the wait for the HTTP request that waits with it.
const MARGIN: Duration = Duration::from_secs(10);

/// A port that previews can reach. SSH and VNC are refused by every server.
pub fn port(value: &Value) -> Result<u16, Error> {
    let port = options::integer("port", value, 1, 65_535)? as u16;
    if port == 22 || (5900..=5999).contains(&port) {
        return Err(Error::option(
            "port",
            &format!("must not be 22 or 5900 to 5999, which are reserved; it is {port}"),
        ));
    }
    Ok(port)
}

/// A request with a body.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// JSON.
    pub body: Json,
    /// As given.
    pub request_timeout: Option<Duration>,
    /// The least time of the HTTP request when the caller said nothing.
    pub least_request_timeout: Duration,
}

impl Request {
    fn of(fields: &Fields<'_>, body: Map<String, Json>) -> Result<Self, Error> {
        Ok(Self {
            body: Json::Object(body),
            request_timeout: fields.seconds("requestTimeout")?,
            least_request_timeout: Duration::ZERO,
        })
    }
}

/// Reads the options of `waitForPreview`: `timeout` in seconds, default 30; `intervalMs`, default 500.
pub fn wait(options: Option<&Value>) -> Result<Request, Error> {
    let fields = config::call_fields(options, &["kind", "path", "timeout", "intervalMs"])?;
    let kind = fields.choice("kind", &["tcp", "http"])?;
    let path = fields.filled("path")?;
    if path.is_some_and(|path| !path.starts_with('/')) {
        return Err(fields.wrong("path", "must begin with a slash, such as '/health'"));
    }
    // A path is asked for by HTTP only.
    let kind = match (kind, path) {
        (Some("tcp"), Some(_)) => {
            return Err(fields.wrong("path", "belongs to `kind: 'http'`"));
        }
        (None, Some(_)) => "http",
        (kind, _) => kind.unwrap_or("tcp"),
    };
    let seconds = fields.integer("timeout", 1, MAX_WAIT)?.unwrap_or(30);
    let mut body = Map::new();
    body.insert("kind".into(), kind.into());
    body.insert("timeout_secs".into(), seconds.into());
    body.insert(
        "interval_ms".into(),
        fields.integer("intervalMs", 1, 60_000)?.unwrap_or(500).into(),
    );
    if let Some(path) = path {
        body.insert("path".into(), path.into());
    }
    let mut request = Request::of(&fields, body)?;
    request.least_request_timeout = Duration::from_secs(seconds) + MARGIN;
    Ok(request)
}

/// Reads the options of `createSignedPreviewUrl`.
pub fn signed(options: Option<&Value>) -> Result<Request, Error> {
    let fields = config::call_fields(options, &["expiresInSeconds"])?;
    let mut body = Map::new();
    expiry(&fields, &mut body)?;
    Request::of(&fields, body)
}

/// Reads the options of `createPreviewProxyTarget`.
pub fn proxy_target(options: Option<&Value>) -> Result<Request, Error> {
    let fields = config::call_fields(
        options,
        &["expiresInSeconds", "transports", "includeTrafficTokenHint"],
    )?;
    let mut body = Map::new();
    expiry(&fields, &mut body)?;
    if let Some(transports) = fields.texts("transports")? {
        if transports.is_empty() {
            return Err(fields.wrong("transports", "must hold 'http', 'websocket' or both"));
        }
        for (index, name) in transports.iter().enumerate() {
            if !["http", "websocket"].contains(&name.as_str()) {
                return Err(Error::option(
                    &format!("transports[{index}]"),
                    &format!("must be 'http' or 'websocket', not '{name}'"),
                ));
            }
        }
        body.insert("transports".into(), transports.into());
    }
    if fields.flag("includeTrafficTokenHint")? == Some(false) {
        body.insert("include_traffic_token_hint".into(), false.into());
    }
    Request::of(&fields, body)
}

fn expiry(fields: &Fields<'_>, body: &mut Map<String, Json>) -> Result<(), Error> {
    if let Some(seconds) = fields.integer("expiresInSeconds", EXPIRY.0, EXPIRY.1)? {
        body.insert("expires_in_seconds".into(), seconds.into());
    }
    Ok(())
}

/// Reads the options of `createSshAccess`.
pub fn ssh(options: Option<&Value>) -> Result<Request, Error> {
    let fields = config::call_fields(
        options,
        &["publicKey", "user", "expiresInMinutes", "identityFile", "keyDir"],
    )?;
    let key = fields
        .filled("publicKey")?
        .ok_or_else(|| {
            fields.wrong(
                "publicKey",
                "is missing, such as 'ssh-ed25519 AAAA...': only Node, Deno and Bun can make a key, or read one from `identityFile`",
            )
        })?
        .trim();
    if key.contains("PRIVATE KEY") {
        return Err(fields.wrong(
            "publicKey",
            "is a private key, which must not leave its computer: give the file that ends in .pub",
        ));
    }
    if key.lines().count() != 1 || key.split(' ').count() < 2 {
        return Err(fields.wrong(
            "publicKey",
            "must be one line of OpenSSH, such as 'ssh-ed25519 AAAA...'",
        ));
    }
    for name in ["identityFile", "keyDir"] {
        if fields.get(name).is_some() {
            return Err(fields.wrong(
                name,
                "needs files, which this runtime does not have: give only `publicKey`",
            ));
        }
    }
    let mut body = Map::new();
    body.insert("public_key".into(), key.into());
    if let Some(user) = fields.filled("user")? {
        body.insert("user".into(), user.into());
    }
    if let Some(minutes) = fields.integer("expiresInMinutes", 1, 525_600)? {
        body.insert("expires_in_minutes".into(), minutes.into());
    }
    Request::of(&fields, body)
}
