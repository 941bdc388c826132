//! Ports of a machine that can be reached from outside, and SSH. Source: PROTOCOL.md section 3, "Operations".

use std::time::Duration;

use nullspace_wire::api;
use nullspace_wire::limits::{
    DEFAULT_PREVIEW_INTERVAL_MS, DEFAULT_PREVIEW_WAIT_SECS, PREVIEW_INTERVAL_MS, PREVIEW_WAIT_SECS,
    SIGNED_URL_SECS, SSH_ACCESS_MINUTES,
};

use super::kinds::port;
use super::{by, fields, filled, flag, id, int, one_of, Field, Inputs, Operation, Request};
use crate::core::error::Error;
use crate::core::options::{self, Value};

/// Added to the wait for the HTTP request that waits with it.
const MARGIN: Duration = Duration::from_secs(10);

const NO_KEY: &str =
    "is missing, such as 'ssh-ed25519 AAAA...': only Node, Deno and Bun can make a key, or read one from `identityFile`";
const PORT: Field = by("port", port).in_path().required();
const EXPIRY: &[Field] = fields![
    /// Seconds, {range}. @default the server's, 3600
    int("expiresInSeconds", SIGNED_URL_SECS),
];

/// URLs of a port with a token in them.
pub static PREVIEW_URL: Operation = Operation::on(&api::GET_PREVIEW_URL).args(&[PORT]);

/// The same, for as long as the caller says.
pub static SIGNED: Operation = Operation::on(&api::CREATE_SIGNED_PREVIEW_URL)
    .args(&[PORT])
    .options(&[EXPIRY])
    .shown(
        "SignedPreviewUrlOptions",
        &["CallOptions"],
        "Options of {@link Machine.createSignedPreviewUrl}.",
    );

/// What a reverse proxy of the caller needs: the tokens go into headers.
pub static PROXY_TARGET: Operation = Operation::on(&api::CREATE_PREVIEW_PROXY_TARGET)
    .args(&[PORT])
    .options(&[
        EXPIRY,
        fields![
            /// What the proxy passes on. @default both
            by("transports", transports).typed("readonly ('http' | 'websocket')[]"),
            /// Whether to say that the machine's traffic token is needed too. @default true
            flag("includeTrafficTokenHint").local(),
        ],
    ])
    .shown(
        "PreviewProxyTargetOptions",
        &["SignedPreviewUrlOptions"],
        "Options of {@link Machine.createPreviewProxyTarget}.",
    )
    .rules(|fields, request| {
        if fields.flag("includeTrafficTokenHint")? == Some(false) {
            request.put("include_traffic_token_hint", false);
        }
        Ok(())
    });

/// Lets the server look until a service answers: one request, however long it takes. That it never does is no error.
pub static WAIT: Operation = Operation::on(&api::CHECK_PREVIEW_READINESS)
    .args(&[PORT])
    .options(&[fields![
        /// `tcp`: the port accepts; `http`: it answers. @default `http` with a `path`, else `tcp`
        one_of("kind", &["tcp", "http"]),
        /// What to ask for. @default `/`
        filled("path"),
        /// Seconds to wait, {range}. @default {default}
        int("timeout", PREVIEW_WAIT_SECS).wire("timeout_secs").by_default(DEFAULT_PREVIEW_WAIT_SECS),
        /// Milliseconds between two looks, {range}. @default {default}
        int("intervalMs", PREVIEW_INTERVAL_MS).by_default(DEFAULT_PREVIEW_INTERVAL_MS),
    ]])
    .shown(
        "WaitForPreviewOptions",
        &["CallOptions"],
        "Options of {@link Machine.waitForPreview}.",
    )
    .rules(wait);

/// What was given out, of one port or of all.
pub static LIST: Operation = Operation::on(&api::LIST_PREVIEW_URLS)
    .options(&[fields![
        /// Only those of this port. @default all
        by("port", port).in_query().typed("number"),
    ]])
    .shown(
        "ListPreviewUrlsOptions",
        &["CallOptions"],
        "Options of {@link Machine.listPreviewUrls}.",
    );

/// Takes it back.
pub static REVOKE: Operation = Operation::on(&api::REVOKE_PREVIEW_URL).args(&[id("grantId")]);

/// Where a port can be reached.
pub static HOST: Operation = Operation::on(&api::GET_HOST).args(&[by("port", port).required()]);

/// Grants SSH access to the holder of a key until the certificate expires.
pub static SSH_ACCESS: Operation = Operation::on(&api::CREATE_SSH_ACCESS)
    .options(&[fields![
        /// One line of OpenSSH. @default that of `identityFile`
        by("publicKey", public_key).typed("string").made().needed(NO_KEY),
        /// File of the private key, which stays where it is; made if it is missing. @default `nullspace_ssh_ed25519` in `keyDir`
        by("identityFile", no_files).typed("string"),
        /// Directory of the key that is made. @default `~/.nullspace/ssh`
        by("keyDir", no_files).typed("string"),
        /// User inside the machine. @default root
        filled("user"),
        /// Minutes until the certificate ends, {range}; servers may take less. @default the server's, 60 on the local engine
        int("expiresInMinutes", SSH_ACCESS_MINUTES),
    ]])
    .shown(
        "SshAccessOptions",
        &["CallOptions"],
        "Options of {@link Machine.createSshAccess}.",
    );

fn wait(fields: &Inputs<'_>, request: &mut Request) -> Result<(), Error> {
    let path = fields.filled("path")?;
    if path.is_some_and(|path| !path.starts_with('/')) {
        return Err(fields.wrong("path", "must begin with a slash, such as '/health'"));
    }
    // A path is asked for by HTTP only.
    let kind = match (fields.text("kind")?, path) {
        (Some("tcp"), Some(_)) => return Err(fields.wrong("path", "belongs to `kind: 'http'`")),
        (None, Some(_)) => "http",
        (kind, _) => kind.unwrap_or("tcp"),
    };
    let seconds = request
        .body
        .get("timeout_secs")
        .and_then(Value::as_u64)
        .unwrap_or(DEFAULT_PREVIEW_WAIT_SECS);
    request.put("kind", kind);
    request.put("timeout_secs", seconds);
    if !fields.has("intervalMs") {
        request.put("interval_ms", DEFAULT_PREVIEW_INTERVAL_MS);
    }
    request.least = Duration::from_secs(seconds) + MARGIN;
    Ok(())
}

fn transports(name: &str, value: &Value) -> Result<Value, Error> {
    let transports = options::texts(name, value)?;
    if transports.is_empty() {
        return Err(Error::option(name, "must hold 'http', 'websocket' or both"));
    }
    for (index, one) in transports.iter().enumerate() {
        if !["http", "websocket"].contains(&one.as_str()) {
            return Err(Error::option(
                &format!("{name}[{index}]"),
                &format!("must be 'http' or 'websocket', not '{one}'"),
            ));
        }
    }
    Ok(transports.into())
}

fn public_key(name: &str, value: &Value) -> Result<Value, Error> {
    let key = options::filled(name, value)?.trim();
    if key.contains("PRIVATE KEY") {
        return Err(Error::option(
            name,
            "is a private key, which must not leave its computer: give the file that ends in .pub",
        ));
    }
    if key.lines().count() != 1 || key.split(' ').count() < 2 {
        return Err(Error::option(
            name,
            "must be one line of OpenSSH, such as 'ssh-ed25519 AAAA...'",
        ));
    }
    Ok(key.into())
}

fn no_files(name: &str, _: &Value) -> Result<Value, Error> {
    Err(Error::option(
        name,
        "needs files, which this runtime does not have: give only `publicKey`",
    ))
}
