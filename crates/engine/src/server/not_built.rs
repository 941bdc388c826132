//! What the API has and this engine lacks: answered with 501 and the feature's name, not with a bare 404.
//!
//! A test compares this table and the routes with `spec/openapi.json`, so that neither can forget a path.

use std::sync::Arc;

use axum::http::Method;
use axum::routing::{on, MethodFilter};
use axum::Router;

use super::reply::Failure;
use crate::machine::{Engine, Error};

/// Feature, methods, path.
const NOT_BUILT: &[(&str, &[Method], &str)] = &[
    (
        "files of volumes",
        &[Method::GET, Method::PUT, Method::POST],
        "/v1/volumes/{id}/file",
    ),
    ("files of volumes", &[Method::GET], "/v1/volumes/{id}/files"),
    (
        "files of volumes",
        &[Method::POST],
        "/v1/volumes/{id}/files/download-url",
    ),
    (
        "files of volumes",
        &[Method::POST],
        "/v1/volumes/{id}/files/exists",
    ),
    ("files of volumes", &[Method::POST], "/v1/volumes/{id}/files/find"),
    ("files of volumes", &[Method::POST], "/v1/volumes/{id}/files/info"),
    (
        "files of volumes",
        &[Method::POST],
        "/v1/volumes/{id}/files/mkdir",
    ),
    (
        "files of volumes",
        &[Method::POST],
        "/v1/volumes/{id}/files/permissions",
    ),
    ("files of volumes", &[Method::POST], "/v1/volumes/{id}/files/read"),
    (
        "files of volumes",
        &[Method::POST],
        "/v1/volumes/{id}/files/remove",
    ),
    (
        "files of volumes",
        &[Method::POST],
        "/v1/volumes/{id}/files/rename",
    ),
    (
        "files of volumes",
        &[Method::POST],
        "/v1/volumes/{id}/files/replace",
    ),
    (
        "files of volumes",
        &[Method::POST],
        "/v1/volumes/{id}/files/search",
    ),
    (
        "files of volumes",
        &[Method::POST],
        "/v1/volumes/{id}/files/upload-url",
    ),
    (
        "files of volumes",
        &[Method::POST],
        "/v1/volumes/{id}/files/write",
    ),
    ("files of volumes", &[Method::POST], "/v1/volumes/{id}/uploads"),
    (
        "files of volumes",
        &[Method::GET, Method::DELETE],
        "/v1/volumes/{id}/uploads/{upload_id}",
    ),
    (
        "files of volumes",
        &[Method::POST],
        "/v1/volumes/{id}/uploads/{upload_id}/complete",
    ),
    (
        "files of volumes",
        &[Method::PUT],
        "/v1/volumes/{id}/uploads/{upload_id}/parts/{part_number}",
    ),
    ("files of volumes", &[Method::GET], "/v1/volumes/{id}/ws"),
    ("template builds", &[Method::POST], "/v1/templates"),
    (
        "template builds",
        &[Method::POST],
        "/v1/templates/blobs/preflight",
    ),
    ("template builds", &[Method::PUT], "/v1/templates/blobs/{blob_id}"),
    ("template builds", &[Method::POST], "/v1/templates/build"),
    ("template builds", &[Method::POST], "/v1/templates/builds"),
    (
        "template builds",
        &[Method::GET],
        "/v1/templates/builds/{build_id}",
    ),
    (
        "template builds",
        &[Method::POST],
        "/v1/templates/builds/{build_id}/cancel",
    ),
    (
        "template builds",
        &[Method::GET],
        "/v1/templates/builds/{build_id}/logs",
    ),
    (
        "template builds",
        &[Method::POST],
        "/v1/templates/builds/{build_id}/promote",
    ),
    (
        "template builds",
        &[Method::POST],
        "/v1/templates/builds/{build_id}/retry",
    ),
    ("template builds", &[Method::POST], "/v1/templates/claims"),
    (
        "template builds",
        &[Method::DELETE],
        "/v1/templates/claims/{claim_token}",
    ),
    (
        "template builds",
        &[Method::GET],
        "/v1/templates/namespaces/{slug}",
    ),
    ("template builds", &[Method::POST], "/v1/templates/plan"),
    ("template builds", &[Method::DELETE], "/v1/templates/refs/{ref}"),
    (
        "template builds",
        &[Method::GET],
        "/v1/templates/refs/{ref}/aliases",
    ),
    (
        "template builds",
        &[Method::DELETE],
        "/v1/templates/refs/{ref}/aliases/{alias}",
    ),
    (
        "template builds",
        &[Method::GET],
        "/v1/templates/refs/{ref}/builds",
    ),
    (
        "template builds",
        &[Method::POST],
        "/v1/templates/refs/{ref}/rename",
    ),
    (
        "template builds",
        &[Method::GET, Method::POST],
        "/v1/templates/refs/{ref}/tags",
    ),
    (
        "template builds",
        &[Method::DELETE],
        "/v1/templates/refs/{ref}/tags/{tag}",
    ),
    (
        "template builds",
        &[Method::PATCH],
        "/v1/templates/refs/{ref}/visibility",
    ),
    ("template builds", &[Method::POST], "/v1/templates/validate"),
    ("template builds", &[Method::DELETE], "/v1/templates/{id}"),
    ("template builds", &[Method::GET], "/v1/templates/{id}/aliases"),
    (
        "template builds",
        &[Method::DELETE],
        "/v1/templates/{id}/aliases/{alias}",
    ),
    ("template builds", &[Method::GET], "/v1/templates/{id}/builds"),
    ("template builds", &[Method::POST], "/v1/templates/{id}/rename"),
    (
        "template builds",
        &[Method::GET, Method::POST],
        "/v1/templates/{id}/tags",
    ),
    (
        "template builds",
        &[Method::DELETE],
        "/v1/templates/{id}/tags/{tag}",
    ),
    (
        "template builds",
        &[Method::PATCH],
        "/v1/templates/{id}/visibility",
    ),
];

/// Adds a route for each.
pub fn add(mut router: Router<Arc<Engine>>) -> Router<Arc<Engine>> {
    for (feature, methods, path) in NOT_BUILT {
        for method in *methods {
            // Every method of the table has a filter; one without could not be routed and the test would see it.
            if let Ok(filter) = MethodFilter::try_from(method.clone()) {
                let answer = || async { Failure(Error::not_implemented(feature)) };
                router = router.route(path, on(filter, answer));
            }
        }
    }
    router
}
