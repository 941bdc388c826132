//! What the gateways of a cluster ask of an engine: all that it has, and what goes to another node or comes from one.

pub mod carried;
pub mod contents;
pub mod mirrors;
