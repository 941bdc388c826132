//! Real machines, made and ended by the backend alone.
//!
//! - `machines`: what they do, and what stays of them
//! - `confinement`: what their root may not do
//! - `counts`: what they may hold of what all share
//! - `recovery`: what a killed engine leaves
//! - `trees`: directories that they made to be in the way
//! - `volumes`: directories that outlive them; `volume_files`: files of these, without a machine
//! - `lab`: help for these

mod confinement;
mod counts;
mod lab;
mod machines;
mod recovery;
mod trees;
mod volume_files;
mod volumes;
