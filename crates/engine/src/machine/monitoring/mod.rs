//! What happens and what is used: lifecycle events, metrics of machines, looks at all of them, and what the engine counts of itself.

pub mod events;
pub mod metrics;
pub mod monitor;
pub mod readings;
