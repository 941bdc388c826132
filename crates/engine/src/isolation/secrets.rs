//! Secrets that a machine uses and never sees: its gateway adds them to requests on their way out.

use std::sync::Arc;

use axum::http::{HeaderName, HeaderValue};

/// Where machines reach the gateway: on their own loopback.
pub fn gateway() -> String {
    format!("http://127.0.0.1:{}", nullspace_agent::net::TCP_PORT)
}

/// A secret of a machine. Printed, its value is not shown: it is a sensitive header.
#[derive(Debug, Clone)]
pub struct Secret {
    /// The first part of paths at the gateway.
    pub name: String,
    /// Small ASCII letters, and a port: who may learn it.
    pub hosts: Vec<(String, u16)>,
    /// The header that carries it.
    pub header: HeaderName,
    /// The whole header.
    pub value: HeaderValue,
}

/// The secrets of a machine. Cheap to clone; kept in memory only.
#[derive(Debug, Clone, Default)]
pub struct Secrets(Arc<Vec<Secret>>);

impl Secrets {
    /// Takes them up.
    pub fn new(secrets: Vec<Secret>) -> Self {
        Self(Arc::new(secrets))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One of them.
    pub fn get(&self, name: &str) -> Option<&Secret> {
        self.0.iter().find(|secret| secret.name == name)
    }
}
