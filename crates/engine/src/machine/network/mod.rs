//! What a machine reaches, with which secrets, and who reaches its ports.

pub mod egress;
pub mod previews;
pub mod secrets;
