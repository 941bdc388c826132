//! `--metrics`: where numbers are told.

use std::future::Future;

use clap::Args;
use tokio::net::TcpListener;

use super::Outcome;
use crate::metrics::Reading;
use crate::server::scrape;

/// Where numbers are told.
#[derive(Args)]
pub struct Metrics {
    /// Tell numbers to Prometheus on http://ADDRESS:PORT/metrics, without a key [default: nowhere].
    #[arg(long, value_name = "ADDRESS:PORT")]
    metrics: Option<String>,
}

impl Metrics {
    /// Tells them from now on.
    pub async fn serve<F>(&self, read: impl Fn() -> F + Clone + Send + Sync + 'static) -> Outcome<()>
    where
        F: Future<Output = Vec<Reading>> + Send + 'static,
    {
        let Some(address) = &self.metrics else {
            return Ok(());
        };
        let listener = TcpListener::bind(address).await.map_err(|e| {
            format!("--metrics {address}: {e}; give an address and a free port such as 127.0.0.1:9100")
        })?;
        if let Ok(address) = listener.local_addr() {
            tracing::info!("metrics are told on http://{address}/metrics");
        }
        tokio::spawn(scrape::serve(listener, read));
        Ok(())
    }
}
