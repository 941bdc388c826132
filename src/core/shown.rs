//! Options that need more than a row of the table, for people: their names here, and what `index.d.ts` says of them. `cargo xtask
//! declarations` reads it; the module that is shipped has the names alone.

#[cfg(not(target_arch = "wasm32"))]
use nullspace_wire::limits::Range;

#[cfg(not(target_arch = "wasm32"))]
use super::{egress, events, exec, git, lease, machine, monitor, terminals, uploads};

/// An option that may be absent.
#[cfg(not(target_arch = "wasm32"))]
pub struct Shown {
    /// Its name.
    pub name: &'static str,
    /// Its type in TypeScript.
    pub typed: &'static str,
    /// Its comment. `{range}` and `{default}` stand for its own.
    pub comment: &'static str,
    /// What a number may be.
    pub range: Option<Range>,
    /// The number that is meant when it is absent.
    pub default: Option<u64>,
}

/// An interface of options.
#[cfg(not(target_arch = "wasm32"))]
pub struct Interface {
    /// Its name.
    pub name: &'static str,
    /// What it extends.
    pub parents: &'static [&'static str],
    /// Its comment.
    pub comment: &'static str,
    /// Its options.
    pub options: &'static [Shown],
}

/// Names of options, each below its comment and beside its type, and the interface that they are in `index.d.ts`:
/// `name: "type" [range] = default;`.
macro_rules! options {
    (@optional) => { None };
    (@optional $value:expr) => { Some($value) };
    ($(
        $(#[doc = $about:literal])*
        $vis:vis const $set:ident = $interface:ident $(: $($parent:literal),+)? {
            $(
                $(#[doc = $line:literal])*
                $name:ident: $typed:literal $([$range:expr])? $(= $default:expr)?;
            )*
        }
    )*) => {$(
        $(#[doc = $about])*
        $vis const $set: [&str; [$(stringify!($name)),*].len()] = [$(stringify!($name)),*];

        $(#[doc = $about])*
        #[cfg(not(target_arch = "wasm32"))]
        #[allow(non_upper_case_globals)] // as in TypeScript
        pub const $interface: $crate::core::shown::Interface = $crate::core::shown::Interface {
            name: stringify!($interface),
            parents: &[$($($parent),+)?],
            comment: concat!($($about, "\n"),*),
            options: &[$($crate::core::shown::Shown {
                name: stringify!($name),
                typed: $typed,
                comment: concat!($($line, "\n"),*),
                range: $crate::core::shown::options!(@optional $($range)?),
                default: $crate::core::shown::options!(@optional $($default)?),
            }),*],
        };
    )*};
}
pub(crate) use options;

/// Every interface.
#[cfg(not(target_arch = "wasm32"))]
pub const INTERFACES: &[Interface] = &[
    machine::CreateOptions,
    machine::ConnectOptions,
    machine::RunOnceOptions,
    machine::ListOptions,
    machine::MachineQuery,
    machine::DesktopOptions,
    egress::NetworkOptions,
    lease::KeepAliveOptions,
    exec::CommandConnectOptions,
    exec::CommandWaitOptions,
    exec::CodeRunOptions,
    uploads::ResumeUploadOptions,
    uploads::UploadOptions,
    git::GitConfigOptions,
    terminals::PtyOptions,
    events::MachineEventStreamOptions,
    events::LifecycleStreamOptions,
    events::LifecycleSubscribeOptions,
    monitor::MonitorOptions,
];
