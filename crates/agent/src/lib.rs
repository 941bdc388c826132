//! Messages between the engine and PID 1 of a machine.
