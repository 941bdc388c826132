//! Client for Nullspace machines.
