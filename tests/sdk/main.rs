//! The client in Rust, over a scripted transport.

mod support;

mod client;
mod events;
mod lifecycle;
mod lifecycle_options;
mod options;
mod random_options;
mod streams;
