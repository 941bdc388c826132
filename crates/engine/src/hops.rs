//! Headers of HTTP that are about one connection only.

use axum::http::{header, HeaderMap};

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
