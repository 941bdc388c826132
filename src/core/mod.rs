//! Decisions without I/O, clock or JavaScript.
//!
//! - [`value`]: JSON and options as a plain tree
//! - [`options`]: a reader of options, and its checks
//! - [`config`]: where the key and the address come from
//! - [`answer`]: what came of a request
//! - [`error`]: errors, and how a server's answer says them
//! - [`retry`]: what is sent again, and when
//! - [`http`]: paths, queries, headers, what may be shown of them
//! - [`machine`], [`lease`], [`events`], [`terminals`], [`volumes`], [`egress`], [`exec`], [`files`], [`uploads`], [`git`], [`warm_pool`]: options that need more than a row of the table
//! - [`shown`]: what `index.d.ts` says of them

pub mod answer;
pub mod config;
pub mod egress;
pub mod error;
pub mod events;
pub mod exec;
pub mod files;
pub mod frames;
pub mod git;
pub mod http;
pub mod lease;
pub mod machine;
pub mod monitor;
pub mod options;
pub mod retry;
pub mod shown;
pub mod terminals;
pub mod uploads;
pub mod value;
pub mod volumes;
pub mod warm_pool;
