//! The states of a machine as rules.

use nullspace_wire::machine::MachineStatus;

/// Wire name of a status.
pub fn name(status: MachineStatus) -> &'static str {
    match status {
        MachineStatus::Creating => "creating",
        MachineStatus::Running => "running",
        MachineStatus::Paused => "paused",
        MachineStatus::Destroyed => "destroyed",
        MachineStatus::Error => "error",
    }
}

/// Status of a wire name.
pub fn from_name(text: &str) -> Option<MachineStatus> {
    const ALL: [MachineStatus; 5] = [
        MachineStatus::Creating,
        MachineStatus::Running,
        MachineStatus::Paused,
        MachineStatus::Destroyed,
        MachineStatus::Error,
    ];
    ALL.into_iter().find(|status| name(*status) == text)
}

/// What a state allows.
pub trait Rules {
    /// Commands can be started.
    fn can_exec(self) -> bool;
    /// Can be frozen.
    fn can_pause(self) -> bool;
    /// Can be thawed.
    fn can_resume(self) -> bool;
    /// Its files can be copied: into a snapshot or a fork.
    fn can_copy(self) -> bool;
    /// Its network policy can be replaced.
    fn can_change_egress(self) -> bool;
    /// It has, or will have, processes, and so a lease.
    fn has_lease(self) -> bool;
}

impl Rules for MachineStatus {
    fn can_exec(self) -> bool {
        self == MachineStatus::Running
    }

    fn can_pause(self) -> bool {
        self == MachineStatus::Running
    }

    fn can_resume(self) -> bool {
        self == MachineStatus::Paused
    }

    fn can_copy(self) -> bool {
        matches!(self, MachineStatus::Running | MachineStatus::Paused)
    }

    fn can_change_egress(self) -> bool {
        matches!(self, MachineStatus::Running | MachineStatus::Paused)
    }

    fn has_lease(self) -> bool {
        matches!(
            self,
            MachineStatus::Creating | MachineStatus::Running | MachineStatus::Paused
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_states_are_one_to_one() {
        for text in ["creating", "running", "paused", "destroyed", "error"] {
            assert_eq!(name(from_name(text).unwrap()), text);
        }
        assert_eq!(from_name("Running"), None);
    }

    #[test]
    fn a_dead_machine_allows_nothing() {
        for status in [MachineStatus::Error, MachineStatus::Destroyed] {
            let allowed = [
                status.can_exec(),
                status.can_pause(),
                status.can_resume(),
                status.can_copy(),
                status.can_change_egress(),
                status.has_lease(),
            ];
            assert_eq!(allowed, [false; 6]);
        }
    }
}
