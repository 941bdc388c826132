//! Options of TLS: what a part of a cluster shows, and whom it trusts.

use std::path::PathBuf;

use clap::Args;
use tokio_rustls::TlsAcceptor;

use super::Outcome;
use crate::tls;

/// What is shown to whoever connects.
#[derive(Args)]
pub struct Shown {
    /// Serve over TLS with this certificate chain (PEM). The files are read again when they change.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,

    /// The private key of --tls-cert (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
}

impl Shown {
    /// Reads the files, if there are some.
    pub fn acceptor(&self) -> Outcome<Option<TlsAcceptor>> {
        match (&self.tls_cert, &self.tls_key) {
            (Some(certificate), Some(key)) => tls::acceptor(certificate, key).map(Some),
            _ => Ok(None),
        }
    }

    /// Whether there are some.
    pub fn is_given(&self) -> bool {
        self.tls_cert.is_some()
    }
}

/// Whom this part trusts.
#[derive(Args)]
pub struct Trusted {
    /// Trust the authorities of this file (PEM), too, for gateways, nodes and the database.
    #[arg(long, value_name = "FILE")]
    cluster_ca: Option<PathBuf>,
}

impl Trusted {
    /// Trusts them from now on.
    pub fn trust(&self) -> Outcome<()> {
        self.cluster_ca.as_deref().map_or(Ok(()), tls::trust)
    }
}
