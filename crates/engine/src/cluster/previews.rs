//! Ports of machines, by their names: the gateway knows the node, which knows the rest.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;

use super::{proxy, Cluster};
use crate::server::access::Access;
use crate::server::connections::Visitor;
use crate::server::preview_hosts::{IsPreview, Place, DOMAIN, NODE_KEY};
use crate::server::reply::{envelope, json, status};

/// Leads requests for names of previews to the nodes of their machines. All others are told where such names are, for the node
/// that answers them.
pub async fn lead(
    State((cluster, access)): State<(Arc<Cluster>, Arc<Access>)>,
    mut request: Request,
    next: Next,
) -> Response {
    for name in [DOMAIN, NODE_KEY] {
        request.headers_mut().remove(name);
    }
    let Some(domain) = access.preview_domain() else {
        return next.run(request).await;
    };
    let place = domain.place_of(&request);
    request.extensions_mut().insert(domain);
    match place {
        Some(place) => pass_on(&cluster, &place, request).await,
        None => next.run(request).await,
    }
}

async fn pass_on(cluster: &Cluster, place: &Place, mut request: Request) -> Response {
    let visitor = request.extensions().get::<Visitor>().cloned();
    request.extensions_mut().insert(IsPreview);
    let passed = match cluster.goes_to(&place.machine).await {
        Ok(node) => proxy::forward(&cluster.client, &node, request).await,
        Err(error) => Err(error),
    };
    match (passed, visitor) {
        (Ok(response), visitor) => {
            // The node let it in.
            let is_let_in = !response.status().is_client_error() && !response.status().is_server_error();
            if let Some(visitor) = visitor.filter(|_| is_let_in) {
                visitor.admit();
            }
            response
        }
        (Err(error), _) => json(status(error.kind), &envelope(&error, "preview")),
    }
}
