//! Paths, queries and headers: what is valid, and what may be shown.

use percent_encoding::{utf8_percent_encode, AsciiSet, NON_ALPHANUMERIC};

use super::error::Error;
use super::options::Fields;

/// Header of an answer: the server's name for the request.
pub const REQUEST_ID: &str = "x-request-id";
/// Header of an answer: seconds until the request may be sent again.
pub const RETRY_AFTER: &str = "retry-after";
/// Header of a created machine's answer, repeated by its later calls.
pub const DISPATCH_PROOF: &str = "x-nullspace-dispatch-proof";

/// All but RFC 3986's unreserved characters.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Percent-encodes one path segment or query value.
pub fn encode(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).collect()
}

/// A path of the API with ids in place of its `{names}`.
pub fn fill(path: &str, ids: &[impl AsRef<str>]) -> String {
    let mut ids = ids.iter();
    let mut filled = String::with_capacity(path.len() + 24);
    for segment in path.split('/').skip(1) {
        filled.push('/');
        match segment.strip_prefix('{').and_then(|_| ids.next()) {
            Some(id) => filled.extend(utf8_percent_encode(id.as_ref(), RESERVED)),
            None => filled.push_str(segment),
        }
    }
    filled
}

/// `path?name=value&...`; nothing is added when there is nothing.
pub fn with_query(path: impl Into<String>, query: &[(impl AsRef<str>, String)]) -> String {
    let mut url = path.into();
    for (index, (name, value)) in query.iter().enumerate() {
        url.push(if index == 0 { '?' } else { '&' });
        url.push_str(name.as_ref());
        url.push('=');
        url.extend(utf8_percent_encode(value, RESERVED));
    }
    url
}

/// Checks a base URL and takes its trailing slashes off. `source`: where it comes from, for messages.
pub fn check_base_url(source: &str, text: &str) -> Result<String, Error> {
    let wrong = |what: &str| {
        Error::invalid_request(format!(
            "{source} {what}; a good value is https://api.example.com"
        ))
    };
    let lower = text.get(..8).unwrap_or(text).to_ascii_lowercase();
    let rest = if lower.starts_with("https://") {
        &text[8..]
    } else if lower.starts_with("http://") {
        &text[7..]
    } else {
        return Err(wrong("must begin with http:// or https://"));
    };
    if text
        .chars()
        .any(|letter| letter.is_whitespace() || letter.is_control() || "\\\"<>^`{|}".contains(letter))
    {
        return Err(wrong("has characters that no URL has"));
    }
    if rest.contains(['?', '#']) {
        return Err(wrong("must have no query and no fragment"));
    }
    let authority = rest.split('/').next().unwrap_or_default();
    if authority.contains('@') {
        return Err(wrong(
            "must hold no user or password: the key belongs into `apiKey`",
        ));
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    if host.is_empty() || port.is_some_and(|port| port.starts_with('+') || port.parse::<u16>().is_err()) {
        return Err(wrong("has no valid host"));
    }
    let plain = text.trim_end_matches('/');
    if plain.ends_with("/v1") {
        return Err(wrong(
            "must not end with /v1, which every path of the API begins with",
        ));
    }
    Ok(plain.to_owned())
}

/// Checks the option `headers`.
pub fn check_headers(fields: &Fields<'_>) -> Result<Vec<(String, String)>, Error> {
    const OWN: [&str; 9] = [
        "authorization",
        "connection",
        "content-type",
        "content-length",
        "host",
        "idempotency-key",
        "transfer-encoding",
        "upgrade",
        DISPATCH_PROOF,
    ];
    let mut headers = Vec::new();
    for (name, value) in fields.dictionary("headers")?.into_iter().flatten() {
        let path = format!("headers.{name}");
        let token = !name.is_empty()
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte));
        if !token {
            return Err(Error::option(&path, "is no header name"));
        }
        if OWN.contains(&name.to_ascii_lowercase().as_str()) {
            return Err(Error::option(
                &path,
                "cannot be set: the SDK sets it by itself (`apiKey`, `idempotencyKey`)",
            ));
        }
        let value = value.trim();
        check_header(&path, name, value)?;
        headers.push((name.to_owned(), value.to_owned()));
    }
    Ok(headers)
}

/// Checks a header's value: visible characters, spaces and tabs. Others are refused by some runtimes with a panic, and
/// a line break would begin another header.
pub fn check_header(option: &str, name: &str, value: &str) -> Result<(), Error> {
    if value
        .chars()
        .all(|letter| letter == '\t' || (' '..='~').contains(&letter))
    {
        Ok(())
    } else {
        Err(Error::option(
            option,
            &format!("has characters that the header {name} cannot hold"),
        ))
    }
}

/// A header as hooks and logs may see it.
pub fn shown_header<'a>(name: &str, value: &'a str) -> &'a str {
    let name = name.to_ascii_lowercase();
    let secret = ["auth", "cookie", "token", "secret", "key", "proof", "password"]
        .iter()
        .any(|word| name.contains(word));
    if secret && name != "idempotency-key" {
        "[redacted]"
    } else {
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_cannot_leave_its_place() {
        assert_eq!(encode("../a b?c#d"), "..%2Fa%20b%3Fc%23d");
        assert_eq!(encode("mch_1-x.~"), "mch_1-x.~");
        assert_eq!(encode("é"), "%C3%A9");
    }

    #[test]
    fn a_base_url_keeps_its_path_and_loses_slashes() {
        assert_eq!(
            check_base_url("", "https://a.example/p//").unwrap(),
            "https://a.example/p"
        );
        assert_eq!(
            check_base_url("", "http://[::1]:3000").unwrap(),
            "http://[::1]:3000"
        );
        for bad in [
            "ftp://a",
            "a.example",
            "http://",
            "http://u:p@a",
            "http://a?b",
            "http://a:99999",
            "http://a b",
        ] {
            assert!(check_base_url("", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        assert_eq!(shown_header("Authorization", "Bearer k"), "[redacted]");
        assert_eq!(shown_header("X-Nullspace-Dispatch-Proof", "p"), "[redacted]");
        assert_eq!(shown_header("Idempotency-Key", "i"), "i");
        assert_eq!(shown_header("x-team", "a"), "a");
    }
}
