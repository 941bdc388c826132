//! Which requests fail, and how.

use axum::http::{header, HeaderValue, StatusCode};
use axum::response::Response;
use nullspace_wire::error::ErrorResponse;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::machine::{Error, Result};
use crate::server::reply::json;

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// An error is answered.
    Status(Refusal),
    /// The answer takes longer.
    Delay {
        /// Milliseconds.
        ms: u64,
    },
    /// The connection ends within the answer.
    CutBody {
        /// So many bytes of the body are sent.
        after_bytes: u64,
    },
    /// A WebSocket ends without a goodbye.
    CutSocket {
        /// So many frames of the engine are sent on it, pings included.
        after_frames: u64,
    },
    /// The connection ends without an answer.
    Drop,
}

/// An error that is answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    /// 400 to 599.
    status: u16,
    /// Code of the envelope; that of the status when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    /// Seconds of `Retry-After`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
}

impl Refusal {
    /// The answer.
    pub fn answer(&self, request_id: Option<String>) -> Response {
        let code = self.code.clone().unwrap_or_else(|| match self.status {
            401 => "unauthorized".into(),
            403 => "permission_denied".into(),
            404 => "not_found".into(),
            409 => "conflict".into(),
            429 => "rate_limit_exceeded".into(),
            503 => "service_unavailable".into(),
            500.. => "internal_error".into(),
            _ => "invalid_request".into(),
        });
        let body = ErrorResponse {
            error: format!("a test asked for this {}", self.status),
            code,
            request_id,
            retryable: Some(self.status == 429 || self.status == 503),
            suggested_action: None,
            details: None,
            error_detail: None,
            build_id: None,
        };
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = json(status, &body);
        if let Some(seconds) = self.retry_after {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// Whether the work of the request is done before its fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// It is not done, or not yet.
    #[default]
    Before,
    /// It is done; what it answered is lost, or late.
    After,
}

/// Which requests fail, and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// `GET` and so on; any when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    method: Option<String>,
    /// Path without query; `*` stands for any text, also with slashes.
    path: String,
    fault: Fault,
    #[serde(default)]
    when: When,
    /// Requests that pass first.
    #[serde(default)]
    skip: u64,
    /// Requests that fail then.
    #[serde(default = "one")]
    times: u64,
    /// Requests that matched so far.
    #[serde(default, skip_deserializing)]
    hits: u64,
}

fn one() -> u64 {
    1
}

impl Rule {
    /// Reads a rule; `place` leads to it.
    pub fn read(place: &str, value: &Value) -> Result<Self> {
        let rule: Self = serde_path_to_error::deserialize(value).map_err(|error| {
            let path = error.path().to_string();
            let at = if path == "." { place.to_owned() } else { format!("{place}.{path}") };
            Error::invalid(
                &at,
                format_args!(
                    "is wrong: {}; a good rule is {{\"method\": \"POST\", \"path\": \"/v1/machines\", \"fault\": {{\"kind\": \"status\", \"status\": 503}}}}",
                    error.inner()
                ),
            )
        })?;
        if !rule.path.starts_with('/') && !rule.path.starts_with('*') {
            return Err(Error::invalid(
                &format!("{place}.path"),
                format_args!("is {:?}: give a path such as \"/v1/machines/*/exec\"", rule.path),
            ));
        }
        if let Fault::Status(refusal) = &rule.fault {
            if !(400..600).contains(&refusal.status) {
                return Err(Error::invalid(
                    &format!("{place}.fault.status"),
                    format_args!("is {}: give 400 to 599, such as 503", refusal.status),
                ));
            }
        }
        Ok(rule)
    }

    /// Counts a request that matches; the fault, when it is its turn.
    pub fn hit(&mut self, method: &str, path: &str) -> Option<(Fault, When)> {
        let of_method = self
            .method
            .as_ref()
            .is_none_or(|own| own.eq_ignore_ascii_case(method));
        if !of_method || !matches(&self.path, path) {
            return None;
        }
        let is_due = self.hits >= self.skip && self.hits - self.skip < self.times;
        self.hits += 1;
        is_due.then(|| (self.fault.clone(), self.when))
    }
}

/// Whether a path has the form of a pattern.
fn matches(pattern: &str, path: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = path.strip_prefix(parts.next().unwrap_or_default()) else {
        return false;
    };
    let Some(last) = parts.next_back() else {
        return rest.is_empty();
    };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.len() >= last.len() && rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, path, is_match) in [
            ("/v1/machines", "/v1/machines", true),
            ("/v1/machines", "/v1/machines/mch_1", false),
            ("/v1/machines*", "/v1/machines/mch_1", true),
            ("/v1/machines/*/exec", "/v1/machines/mch_1/exec", true),
            ("/v1/machines/*/exec", "/v1/machines/mch_1/exec/7", false),
            ("*", "/anything", true),
            ("/a*a", "/a", false),
            ("/*b*b", "/bxb", true),
            ("/*b*b", "/b", false),
        ] {
            assert_eq!(matches(pattern, path), is_match, "{pattern} {path}");
        }
    }

    #[test]
    fn a_rule_passes_some_then_fails_some() {
        let rule =
            json!({ "method": "post", "path": "/x", "fault": { "kind": "drop" }, "skip": 1, "times": 2 });
        let mut rule = Rule::read("rules[0]", &rule).unwrap();
        assert!(rule.hit("GET", "/x").is_none() && rule.hit("POST", "/y").is_none());
        let due: Vec<bool> = (0..5).map(|_| rule.hit("POST", "/x").is_some()).collect();
        assert_eq!(due, [false, true, true, false, false]);
    }

    #[test]
    fn what_is_wrong_with_a_rule_is_named() {
        for (rule, place) in [
            (json!({ "fault": { "kind": "drop" } }), "rules[0]"),
            (
                json!({ "path": "x", "fault": { "kind": "drop" } }),
                "rules[0].path",
            ),
            (
                json!({ "path": "/x", "fault": { "kind": "explode" } }),
                "rules[0].fault",
            ),
            (
                json!({ "path": "/x", "fault": { "kind": "status", "status": 200 } }),
                "rules[0].fault.status",
            ),
            (
                json!({ "path": "/x", "fault": { "kind": "delay" } }),
                "rules[0].fault",
            ),
            (
                json!({ "path": "/x", "fault": { "kind": "drop" }, "time": 2 }),
                "rules[0].time",
            ),
            (
                json!({ "path": "/x", "fault": { "kind": "drop" }, "times": -1 }),
                "rules[0].times",
            ),
        ] {
            let message = Rule::read("rules[0]", &rule).unwrap_err().message;
            assert!(message.contains(place), "{message}");
        }
    }
}
