//! Gateways over several engines, in one process: nodes over a backend that isolates nothing, and a real PostgreSQL.

#[path = "../support/mod.rs"]
mod support;

mod cluster;
mod create;
mod events;
mod layers;
mod lists;
mod loss;
mod model;
mod operate;
mod pools;
mod postgres;
mod previews;
mod quotas;
mod real;
mod routes;
mod scale;
mod webhooks;
