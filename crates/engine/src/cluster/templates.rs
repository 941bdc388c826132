//! Templates of the cluster: one node, their home, builds and keeps them. The others get those that machines are made of there;
//! with `--copies 2` another one has all of them, and is the home when the first one is lost.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::Method;

use super::layers::LONG;
use super::nodes::Node;
use super::{proxy, Cluster, PATIENCE};
use crate::machine::gateways::mirrors::{is_everywhere, Wanted};
use crate::machine::{Error, Kind, Result};
use crate::node::carry::TEMPLATES;
use crate::node::messages::{Bring, BringTemplate, State as NodeState};
use crate::server::reply::Answer;

/// What is about templates goes to their home.
pub async fn pass_on(State(cluster): State<Arc<Cluster>>, request: Request) -> Answer {
    let home = cluster.template_home().await?;
    Ok(proxy::forward(&cluster.client, &home, request).await?)
}

/// A row of `template_nodes` that a gateway can use.
struct Place {
    node: Arc<Node>,
    is_home: bool,
    is_whole: bool,
}

impl Cluster {
    /// The node that templates are built and kept on.
    pub async fn template_home(&self) -> Result<Arc<Node>> {
        match self.known_home().await? {
            Some(home) if home.state() != NodeState::Lost => match home.is_reached() {
                true => Ok(home),
                false => Err(home.unreachable()),
            },
            was => self.move_home(was.as_deref()).await,
        }
    }

    /// The same, if there is one, whatever its state.
    pub(super) async fn known_home(&self) -> Result<Option<Arc<Node>>> {
        let connection = self.db.get().await?;
        let row = connection
            .query_opt("SELECT node FROM template_nodes WHERE is_home", &[])
            .await?;
        Ok(row.and_then(|row| self.nodes.by_tag(row.get(0))))
    }

    async fn template_places(&self) -> Result<Vec<Place>> {
        let rows = self
            .db
            .get()
            .await?
            .query(
                "SELECT node, is_home, copied_at IS NOT NULL FROM template_nodes ORDER BY node",
                &[],
            )
            .await?;
        let place = |row: &tokio_postgres::Row| {
            Some(Place {
                node: self.nodes.by_tag(row.get(0))?,
                is_home: row.get(1),
                is_whole: row.get(2),
            })
        };
        Ok(rows.iter().filter_map(place).collect())
    }

    /// Makes another node the home: one that has copies, else any that is ready.
    async fn move_home(&self, from: Option<&Node>) -> Result<Arc<Node>> {
        let places = self.template_places().await?;
        let copy = places
            .iter()
            .find(|place| !place.is_home && place.is_whole && place.node.is_reached());
        let ready = || {
            self.nodes
                .all()
                .into_iter()
                .find(|node| node.state() == NodeState::Ready)
        };
        let next = copy.map(|place| place.node.clone()).or_else(ready);
        let next = next.ok_or_else(|| {
            Error::new(
                Kind::NoCapacity,
                "no node of the cluster is ready to keep templates",
            )
            .with_action("add a node; repeat the call in a moment")
        })?;
        if let Some(from) = from {
            tracing::warn!(lost = %from.name, home = %next.name, has_copies = copy.is_some(), "templates have a new home");
        }
        self.set_home(from.map(|node| node.tag.as_str()), &next.tag)
            .await?;
        // Another gateway may have been first.
        let row = self
            .db
            .get()
            .await?
            .query_one("SELECT node FROM template_nodes WHERE is_home", &[])
            .await?;
        let home = self.nodes.by_tag(row.get(0));
        home.ok_or_else(|| Error::internal("finding the home of templates", "it is a node that nobody knows"))
    }

    /// `from`: who is the home now, as far as the caller knows. Nothing happens if that is not so.
    async fn set_home(&self, from: Option<&str>, to: &str) -> Result<()> {
        let mut connection = self.db.get().await?;
        let transaction = connection.transaction().await?;
        // One after the other: each sees what the one before did.
        transaction
            .batch_execute("LOCK TABLE template_nodes IN SHARE ROW EXCLUSIVE MODE")
            .await?;
        let now = transaction
            .query_opt("SELECT node FROM template_nodes WHERE is_home", &[])
            .await?;
        let now: Option<String> = now.map(|row| row.get(0));
        let is_known = |tag: &str| self.nodes.by_tag(tag).is_some();
        if now.as_deref().filter(|tag| is_known(tag)) != from {
            return Ok(());
        }
        transaction
            .execute("DELETE FROM template_nodes WHERE is_home", &[])
            .await?;
        transaction
            .execute(
                "INSERT INTO template_nodes (node, is_home) VALUES ($1, true) \
                 ON CONFLICT (node) DO UPDATE SET is_home = true",
                &[&to],
            )
            .await?;
        Ok(transaction.commit().await?)
    }

    /// Sees to it that a node has a template before a machine is made of it there: the build that the reference means now.
    pub async fn bring_template(&self, node: &Node, reference: &str) -> Result<()> {
        if is_everywhere(reference) {
            return Ok(());
        }
        let home = self.template_home().await?;
        if home.tag == node.tag {
            return Ok(());
        }
        let reference: String = form_urlencoded::byte_serialize(reference.as_bytes()).collect();
        let path = format!("{TEMPLATES}?reference={reference}");
        let asked: std::result::Result<Option<Wanted>, _> =
            self.ask(&home, Method::GET, &path, None::<&()>, PATIENCE).await;
        let wanted = asked.map_err(|error| error.into_error(&format!("node {}", home.name)))?;
        let Some(wanted) = wanted else { return Ok(()) };
        let bring = BringTemplate {
            from: Self::source(&home).from,
            wanted,
        };
        let asked: std::result::Result<(), _> =
            self.ask(node, Method::POST, TEMPLATES, Some(&bring), LONG).await;
        asked.map_err(|error| error.into_error(&format!("node {}", node.name)))
    }

    /// Has templates copied to as many nodes as were asked for, and away from a home that drains.
    pub async fn copy_templates(&self) -> Result<()> {
        let places = self.template_places().await?;
        let Some(home) = places.iter().find(|place| place.is_home) else {
            return Ok(());
        };
        let home = &home.node;
        if !home.is_reached() {
            // Lost, it has a successor once somebody asks for templates.
            return Ok(());
        }
        let is_draining = home.state() == NodeState::Draining;
        let wanted = match is_draining {
            true => self.copies.max(1),
            false => self.copies.saturating_sub(1),
        };
        let is_ready = |node: &Arc<Node>| node.state() == NodeState::Ready && node.tag != home.tag;
        let old = places
            .iter()
            .filter(|place| !place.is_home)
            .map(|place| place.node.clone());
        let mut targets: Vec<Arc<Node>> = old.filter(is_ready).collect();
        for node in self.nodes.all().into_iter().filter(is_ready) {
            if !targets.iter().any(|target| target.tag == node.tag) {
                targets.push(node);
            }
        }
        targets.truncate(wanted);
        for node in &targets {
            let path = format!("{TEMPLATES}/copy");
            let asked: std::result::Result<(), _> = self
                .ask::<Bring, ()>(node, Method::POST, &path, Some(&Self::source(home)), LONG)
                .await;
            if let Err(error) = asked {
                tracing::warn!(node = %node.name, %error, "templates were not copied; trying again");
                continue;
            }
            self.db
                .get()
                .await?
                .execute(
                    "INSERT INTO template_nodes (node, is_home, copied_at) VALUES ($1, false, clock_timestamp()) \
                     ON CONFLICT (node) DO UPDATE SET copied_at = clock_timestamp()",
                    &[&node.tag],
                )
                .await?;
            if is_draining {
                self.set_home(Some(&home.tag), &node.tag).await?;
                return Ok(());
            }
        }
        Ok(())
    }
}
