//! All machines of the cluster as they change: one look at all nodes an interval, however many watch through this gateway.

use std::future::Future;

use axum::http::Method;
use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;

use super::{Cluster, PATIENCE};
use crate::machine::monitoring::monitor::{Look, Samplers, Watched};
use crate::machine::records::list::{ListRequest, MAX_LIMIT};
use crate::machine::Result;
use crate::node::client::Unanswered;
use crate::server::node::LOOK;

impl Watched for Cluster {
    fn closing(&self) -> &CancellationToken {
        &self.closing
    }

    fn samplers(&self) -> &Samplers {
        &self.samplers
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(task);
    }

    async fn look(&self) -> Result<Look> {
        let mut look = Look {
            machines: self.newest_machines(&ListRequest::default(), MAX_LIMIT).await?,
            ..Look::default()
        };
        let nodes = self.nodes.reached();
        let parts = join_all(nodes.iter().map(|node| async move {
            let asked: std::result::Result<Look, Unanswered> =
                self.ask(node, Method::GET, LOOK, None::<&()>, PATIENCE).await;
            // One that does not answer has nothing to tell.
            asked.unwrap_or_default()
        }));
        for part in parts.await {
            look.metrics.extend(part.metrics);
            look.processes.extend(part.processes);
        }
        Ok(look)
    }
}
