//! Headers of HTTP that are about one connection only.

use axum::http::{header, HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;

/// Source: RFC 9110 section 7.6.1, and what proxies ask of each other.
const HOP_BY_HOP: [&str; 8] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
];

/// Whether a header is about one connection only.
pub fn is_of_hop(name: &str) -> bool {
    HOP_BY_HOP.contains(&name)
}

/// Removes them, and those that `Connection` names.
pub fn end_hop(headers: &mut HeaderMap) {
    let named: Vec<String> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .collect();
    for name in named.iter().map(String::as_str).chain(HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// The same of a request that is passed on, which may ask to change the protocol.
pub fn pass_request(headers: &mut HeaderMap) {
    let protocol = headers.get(header::UPGRADE).cloned();
    pass(headers, protocol);
}

/// The same of an answer, which may have changed it.
pub fn pass_response(response: &mut Response) {
    let has_changed = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    let protocol = response
        .headers()
        .get(header::UPGRADE)
        .filter(|_| has_changed)
        .cloned();
    pass(response.headers_mut(), protocol);
}

/// `protocol`: what the next connection changes to.
fn pass(headers: &mut HeaderMap, protocol: Option<HeaderValue>) {
    end_hop(headers);
    if let Some(protocol) = protocol {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, protocol);
    }
}
