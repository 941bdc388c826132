//! A machine from its create to its end: started, paused, copied, ended by a request, by its lease or with the engine, and
//! what is left of it after a crash.

mod create;
mod destroy;
mod fork;
pub mod lease;
mod pause;
mod recover;
mod shutdown;
pub mod snapshot;
