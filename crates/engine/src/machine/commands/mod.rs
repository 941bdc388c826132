//! What runs in a machine because somebody asked for it: commands with their output, terminals, shells, git, and the start
//! command of a template.

pub mod exec;
pub mod git;
pub mod output;
pub mod processes;
pub mod shells;
pub mod start_command;
pub mod terminals;
