//! The one rule for sizes: what was asked for and this computer cannot enforce is refused, unless the engine may do its best.

use nullspace_wire::limits::{DEFAULT_MEMORY_LARGE_MB, DEFAULT_MEMORY_MB, DEFAULT_VCPUS};
use nullspace_wire::machine::MachineConfig;

use super::{default_memory_mb, is_large};
use crate::isolation::{Capabilities, Limit};
use crate::machine::ground::{Error, Kind, Result};

/// Processors of a machine when nobody says how many. Source: schema, `vcpus`.
pub(in crate::machine) const UNSAID_VCPUS: u32 = 1;

/// Sizes that somebody asked for. Clients send their defaults with each request; those are nobody's wish.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(in crate::machine) struct Asked {
    vcpus: Option<u32>,
    memory_mb: Option<u32>,
    disk_mb: Option<u32>,
}

impl Asked {
    /// Of a request for machines of a template.
    pub fn for_template(
        template: &str,
        vcpus: Option<u32>,
        memory_mb: Option<u32>,
        disk_mb: Option<u32>,
    ) -> Self {
        let is_default =
            |mb: u64| mb == DEFAULT_MEMORY_MB || (mb == DEFAULT_MEMORY_LARGE_MB && is_large(template));
        Self {
            vcpus: vcpus.filter(|count| u64::from(*count) != DEFAULT_VCPUS),
            memory_mb: memory_mb.filter(|mb| !is_default((*mb).into())),
            disk_mb,
        }
    }

    /// Of what is about to start, however it came to its sizes: a pool, a snapshot or a template may be of an engine that
    /// had more rights. Whatever is the default of somebody may be one.
    pub fn in_start(vcpus: u32, memory_mb: u32, disk_mb: Option<u32>) -> Self {
        let defaults = [
            default_memory_mb("").into(),
            DEFAULT_MEMORY_MB,
            DEFAULT_MEMORY_LARGE_MB,
        ];
        Self {
            vcpus: Some(vcpus)
                .filter(|count| ![UNSAID_VCPUS.into(), DEFAULT_VCPUS].contains(&u64::from(*count))),
            memory_mb: Some(memory_mb).filter(|mb| !defaults.contains(&u64::from(*mb))),
            disk_mb,
        }
    }

    /// Of a build, whose defaults are those of a template like any other.
    pub fn in_build(config: &MachineConfig) -> Self {
        Self::for_template("", Some(config.vcpus), Some(config.memory_mb), config.disk_mb)
    }

    /// Refuses the first of them that does not hold here.
    pub fn check(&self, here: &Capabilities) -> Result<()> {
        if here.best_effort {
            return Ok(());
        }
        let sizes = [
            (Limit::Memory, "memoryMb", self.memory_mb),
            (Limit::Cpu, "vcpus", self.vcpus),
            (Limit::Disk, "diskMb", self.disk_mb),
        ];
        let refused = sizes
            .into_iter()
            .find_map(|(limit, option, size)| Some((here.gap(limit)?, option, size?)));
        match refused {
            None => Ok(()),
            Some((gap, option, size)) => Err(Error::new(
                Kind::FeatureUnavailable,
                format!(
                    "{} {size} cannot be enforced on this computer: {}",
                    gap.limit.name(),
                    gap.reason
                ),
            )
            .with_action(format!(
                "leave out `{option}`; or {}; or start it with --best-effort, which makes this a warning. \
                 `nullspace engine doctor` says what holds here",
                gap.mend
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isolation::Gap;

    fn here(limits: &[Limit]) -> Capabilities {
        let gaps = limits.iter().map(|limit| Gap {
            limit: *limit,
            reason: "it has no control groups".into(),
            mend: "start the engine as root".into(),
        });
        Capabilities {
            gaps: gaps.collect(),
            ..Capabilities::default()
        }
    }

    /// What of `vcpus`, `memory_mb` and `disk_mb` is refused where nothing can be enforced.
    fn refused(asked: &Asked) -> Option<&'static str> {
        let nothing = here(&[Limit::Memory, Limit::Cpu, Limit::Disk]);
        let error = asked.check(&nothing).err()?;
        assert_eq!(error.kind, Kind::FeatureUnavailable);
        ["vcpus", "memory_mb", "disk_mb"]
            .into_iter()
            .find(|name| error.message.starts_with(name))
    }

    #[test]
    fn only_what_is_no_default_is_asked_for() {
        let table = [
            (("base", None, None, None), None),
            (("base", Some(2), Some(512), None), None),
            (("base", Some(1), Some(512), None), Some("vcpus")),
            (("base", Some(3), None, None), Some("vcpus")),
            (("base", None, Some(256), None), Some("memory_mb")),
            (("base", Some(2), Some(2048), None), Some("memory_mb")),
            (("code-interpreter", Some(2), Some(2048), None), None),
            (("code-interpreter", Some(2), Some(512), None), None),
            (("code-interpreter", Some(2), Some(4096), None), Some("memory_mb")),
            (("desktop", Some(2), Some(2048), None), None),
            (("base", Some(2), Some(512), Some(512)), Some("disk_mb")),
            // The first is enough: a person mends one after the other.
            (("base", Some(8), Some(64), Some(512)), Some("memory_mb")),
        ];
        for ((template, vcpus, memory_mb, disk_mb), expected) in table {
            let asked = Asked::for_template(template, vcpus, memory_mb, disk_mb);
            assert_eq!(
                refused(&asked),
                expected,
                "{template} {vcpus:?} {memory_mb:?} {disk_mb:?}"
            );
        }
        for ((vcpus, memory_mb, disk_mb), expected) in [
            ((1, 256, None), None),
            ((2, 512, None), None),
            ((2, 2048, None), None),
            ((2, 64, None), Some("memory_mb")),
            ((4, 512, None), Some("vcpus")),
            ((1, 256, Some(1024)), Some("disk_mb")),
        ] {
            assert_eq!(refused(&Asked::in_start(vcpus, memory_mb, disk_mb)), expected);
        }
    }

    #[test]
    fn what_holds_is_not_refused_and_a_refusal_says_how_to_mend_it() {
        let asked = Asked::for_template("base", Some(4), Some(64), Some(1024));
        assert!(asked.check(&here(&[])).is_ok());
        assert!(asked.check(&here(&[Limit::Pids])).is_ok());
        let error = asked.check(&here(&[Limit::Cpu])).unwrap_err();
        assert_eq!(
            error.message,
            "vcpus 4 cannot be enforced on this computer: it has no control groups"
        );
        let action = error.suggested_action.unwrap().to_string();
        for part in ["`vcpus`", "start the engine as root", "--best-effort", "doctor"] {
            assert!(action.contains(part), "{action}");
        }
        let best_effort = Capabilities {
            best_effort: true,
            ..here(&[Limit::Memory, Limit::Cpu, Limit::Disk])
        };
        assert!(asked.check(&best_effort).is_ok());
    }
}
