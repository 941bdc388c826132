//! What JavaScript sees of the calls that are one request, as data: one file a resource. Each operation names its route, what
//! the caller gives (arguments, options), rules between options, what comes back, and how long it may take. [`request`] is the
//! one reader: it checks what was given and makes the request of it.
//!
//! - [`machines`], [`processes`], [`files`], [`terminals`], [`git`], [`code`], [`previews`], [`lifecycle`]: of a machine
//! - [`templates`], [`volumes`], [`snapshots`], [`pools`], [`webhooks`]: what an account has beside machines
//! - [`kinds`]: kinds of values that several of them share
//! - [`shown`]: what `index.d.ts` says of options

pub mod code;
pub mod files;
pub mod git;
pub mod kinds;
pub mod lifecycle;
pub mod machines;
pub mod pools;
pub mod previews;
pub mod processes;
mod request;
mod shown;
pub mod snapshots;
pub mod templates;
pub mod terminals;
pub mod volumes;
pub mod webhooks;

use std::ops::Deref;
use std::time::Duration;

use nullspace_wire::api::Route;
use nullspace_wire::limits::Range;

pub use request::{idempotency_key, Request, Scope};
use shown::fields;
#[cfg(not(target_arch = "wasm32"))]
pub use shown::{interfaces, Interface, Shown};

use crate::core::error::Error;
use crate::core::options::{Fields, Value};

/// A call that is one request.
pub struct Operation {
    /// Verb, path and answer.
    pub route: &'static Route,
    /// The same below a volume.
    pub volume: Option<&'static Route>,
    /// Arguments, in order.
    pub args: &'static [Field],
    /// Sets of options. Those that every call takes come on top.
    pub sets: &'static [&'static [Field]],
    /// Rules between options, and what the request gets beside them.
    pub rules: Rules,
    /// The one field of the answer that the caller gets; all of it when absent.
    pub gives: Option<&'static str>,
    /// How long it may take.
    pub time: Time,
    /// Sent with an idempotency key: the caller's, or one of its own.
    pub keyed: bool,
    /// Sent with the proof that a create gave the machine.
    pub proven: bool,
    /// What its errors become.
    pub failed: fn(Error) -> Error,
    /// The interface of its options; none where `index.d.ts` has it by hand.
    #[cfg(not(target_arch = "wasm32"))]
    pub shown: Option<Interface>,
}

/// See [`Operation::rules`].
pub type Rules = fn(&Inputs<'_>, &mut Request) -> Result<(), Error>;

/// What a caller gave: options, and arguments beside them.
pub struct Inputs<'a> {
    /// Positional arguments, by name.
    pub args: Fields<'a>,
    options: Fields<'a>,
}

impl<'a> Deref for Inputs<'a> {
    type Target = Fields<'a>;

    fn deref(&self) -> &Fields<'a> {
        &self.options
    }
}

/// HTTP time of a call that nobody gave a time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Time {
    /// The client's, or that of the call which made the handle.
    Usual,
    /// This instead: the call copies memory or disk, or moves many bytes.
    Long(Duration),
    /// At least this, for a call that waits on the other side.
    AtLeast(Duration),
}

impl Operation {
    /// A call without arguments and options that gives the whole answer.
    pub const fn on(route: &'static Route) -> Self {
        Self {
            route,
            volume: None,
            args: &[],
            sets: &[],
            rules: |_, _| Ok(()),
            gives: None,
            time: Time::Usual,
            keyed: false,
            proven: false,
            failed: |error| error,
            #[cfg(not(target_arch = "wasm32"))]
            shown: None,
        }
    }

    /// Whether it is about one machine: its id begins the path.
    pub fn is_of_machine(&self) -> bool {
        self.route.path.starts_with("/v1/machines/")
    }

    /// Also on files of volumes.
    pub const fn volume(mut self, route: &'static Route) -> Self {
        self.volume = Some(route);
        self
    }

    /// With arguments.
    pub const fn args(mut self, args: &'static [Field]) -> Self {
        self.args = args;
        self
    }

    /// With sets of options.
    pub const fn options(mut self, options: &'static [&'static [Field]]) -> Self {
        self.sets = options;
        self
    }

    /// With rules between options.
    pub const fn rules(mut self, rules: Rules) -> Self {
        self.rules = rules;
        self
    }

    /// Gives one field of the answer.
    pub const fn gives(mut self, field: &'static str) -> Self {
        self.gives = Some(field);
        self
    }

    /// With a time of its own.
    pub const fn time(mut self, time: Time) -> Self {
        self.time = time;
        self
    }

    /// Sent with an idempotency key.
    pub const fn keyed(mut self) -> Self {
        self.keyed = true;
        self
    }

    /// Sent with the proof that a create gave.
    pub const fn proven(mut self) -> Self {
        self.proven = true;
        self
    }

    /// With errors of its own.
    pub const fn failed(mut self, failed: fn(Error) -> Error) -> Self {
        self.failed = failed;
        self
    }
}

/// An argument or an option.
pub struct Field {
    /// Name in JavaScript; on the wire it is the same in snake_case.
    pub js: &'static str,
    /// Name on the wire when it is another one.
    pub wire: &'static str,
    /// Where it goes.
    pub to: To,
    /// What it must be.
    pub kind: Kind,
    /// It must be given; the text says what is missing, with a good value.
    pub needed: Option<&'static str>,
    /// What people read of it.
    #[cfg(not(target_arch = "wasm32"))]
    pub shown: Shown,
}

/// Where a value goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum To {
    /// Into the next `{name}` of the path.
    Path,
    /// Into the query.
    Query,
    /// Into the body.
    Body,
    /// Its fields into the body.
    Spread,
    /// Nowhere: rules or the runtime look at it.
    Local,
}

/// What a value must be.
#[derive(Clone, Copy)]
pub enum Kind {
    /// Text, possibly empty.
    Text,
    /// Text with something in it.
    Filled,
    /// The same, of which blanks around it do not count.
    Trimmed,
    /// An id or another text that names one thing in a path.
    Id,
    /// `true` or `false`.
    Flag,
    /// A whole number in this range.
    Int(Range),
    /// One of these texts.
    OneOf(&'static [&'static str]),
    /// An array of texts.
    Texts,
    /// Environment variables.
    Envs,
    /// An object, passed on verbatim.
    Object,
    /// A function.
    Function,
    /// What this reads. It gets the name of the value for messages.
    By(fn(&str, &Value) -> Result<Value, Error>),
}

impl Field {
    const fn new(js: &'static str, kind: Kind) -> Self {
        Self {
            js,
            wire: "",
            to: To::Body,
            kind,
            needed: None,
            #[cfg(not(target_arch = "wasm32"))]
            shown: Shown {
                comment: "",
                typed: None,
                default: None,
                made: false,
            },
        }
    }

    /// Under another name on the wire.
    pub const fn wire(mut self, name: &'static str) -> Self {
        self.wire = name;
        self
    }

    /// Part of the path.
    pub const fn in_path(mut self) -> Self {
        self.to = To::Path;
        self
    }

    /// Part of the query.
    pub const fn in_query(mut self) -> Self {
        self.to = To::Query;
        self
    }

    /// An object whose fields are those of the body.
    pub const fn spread(mut self) -> Self {
        self.to = To::Spread;
        self
    }

    /// Not sent by itself.
    pub const fn local(mut self) -> Self {
        self.to = To::Local;
        self
    }

    /// Must be given; `what` says what is missing, with a good value.
    pub const fn needed(mut self, what: &'static str) -> Self {
        self.needed = Some(what);
        self
    }

    /// An argument that must be given.
    pub const fn required(self) -> Self {
        self.needed("is missing")
    }
}

/// See [`Kind::Text`].
pub const fn text(js: &'static str) -> Field {
    Field::new(js, Kind::Text)
}

/// See [`Kind::Filled`].
pub const fn filled(js: &'static str) -> Field {
    Field::new(js, Kind::Filled)
}

/// See [`Kind::Trimmed`].
pub const fn trimmed(js: &'static str) -> Field {
    Field::new(js, Kind::Trimmed)
}

/// See [`Kind::Id`]. It goes into the path.
pub const fn id(js: &'static str) -> Field {
    Field::new(js, Kind::Id).in_path().required()
}

/// See [`Kind::Flag`].
pub const fn flag(js: &'static str) -> Field {
    Field::new(js, Kind::Flag)
}

/// See [`Kind::Int`].
pub const fn int(js: &'static str, range: Range) -> Field {
    Field::new(js, Kind::Int(range))
}

/// See [`Kind::OneOf`].
pub const fn one_of(js: &'static str, choices: &'static [&'static str]) -> Field {
    Field::new(js, Kind::OneOf(choices))
}

/// See [`Kind::Texts`].
pub const fn texts(js: &'static str) -> Field {
    Field::new(js, Kind::Texts)
}

/// See [`Kind::Envs`].
pub const fn envs(js: &'static str) -> Field {
    Field::new(js, Kind::Envs)
}

/// See [`Kind::Object`].
pub const fn object(js: &'static str) -> Field {
    Field::new(js, Kind::Object)
}

/// See [`Kind::Function`].
pub const fn function(js: &'static str) -> Field {
    Field::new(js, Kind::Function).local()
}

/// See [`Kind::By`].
pub const fn by(js: &'static str, read: fn(&str, &Value) -> Result<Value, Error>) -> Field {
    Field::new(js, Kind::By(read))
}

/// The most that 32 bits hold, which many counts of the wire are.
pub const U32: u64 = u32::MAX as u64;

/// Whole numbers from `min`, beyond which a limit is not worth a message.
pub const fn from(min: u64) -> Range {
    Range {
        min,
        max: crate::core::options::MAX_INTEGER,
    }
}

/// Counts of the wire from `min`.
pub const fn count(min: u64) -> Range {
    Range { min, max: U32 }
}

/// Every operation.
#[rustfmt::skip]
pub static ALL: &[&Operation] = &[
    &machines::GET_INFO, &machines::GET_INFO_BY_ID, &machines::GET_METRICS, &machines::GET_METRICS_BY_ID, &machines::KILL, &machines::KILL_BY_ID, &machines::RESUME, &machines::SET_TIMEOUT, &machines::PAUSE, &machines::FORK, &machines::CREATE_SNAPSHOT, &machines::UPDATE_EGRESS,
    &processes::LIST, &processes::LOGS, &processes::KILL, &processes::SEND_STDIN, &processes::SEND_STDIN_BYTES,
    &files::READ, &files::ARCHIVE, &files::LIST, &files::WRITE_TEXT, &files::EXISTS, &files::EXISTENCE, &files::INFO, &files::MKDIR, &files::REMOVE, &files::RENAME, &files::SET_PERMISSIONS, &files::FIND, &files::SEARCH, &files::REPLACE, &files::DOWNLOAD_URL, &files::UPLOAD_URL, &files::READ_SMALL,
    &terminals::LIST, &terminals::GET, &terminals::KILL, &terminals::RESIZE,
    &git::CLONE, &git::STATUS, &git::LOG, &git::BRANCHES, &git::CREATE_BRANCH, &git::DELETE_BRANCH, &git::CHECKOUT, &git::ADD, &git::COMMIT, &git::PULL, &git::PUSH,
    &code::EXECUTE, &code::CREATE_RUN, &code::CREATE_CONTEXT, &code::LIST_CONTEXTS, &code::REMOVE_CONTEXT, &code::RESTART_CONTEXT, &code::INTERRUPT_CONTEXT, &code::GET_RUN, &code::CANCEL_RUN, &code::LIST_RUNS, &code::LIST_ARTIFACTS, &code::GET_ARTIFACT, &code::DOWNLOAD_ARTIFACT, &code::PREVIEW_ARTIFACT, &code::DELETE_ARTIFACT,
    &previews::PREVIEW_URL, &previews::SIGNED, &previews::PROXY_TARGET, &previews::WAIT, &previews::LIST, &previews::REVOKE, &previews::HOST, &previews::SSH_ACCESS,
    &lifecycle::LIST, &lifecycle::LIST_OF_MACHINE, &lifecycle::LIST_OF_SNAPSHOT, &lifecycle::LIST_OWN,
    &volumes::CREATE, &volumes::GET, &volumes::BY_NAME, &volumes::LIST, &volumes::GET_INFO, &volumes::ATTACHMENTS, &volumes::DELETE, &volumes::OF_MACHINE, &volumes::ATTACH, &volumes::DETACH, &volumes::HEALTH, &volumes::REMOUNT,
    &snapshots::LIST, &snapshots::GET, &snapshots::DELETE,
    &pools::CREATE, &pools::GET, &pools::LIST, &pools::GET_INFO, &pools::UPDATE, &pools::DELETE, &pools::ENABLE, &pools::DISABLE, &pools::DRAIN, &pools::RECONCILE,
    &templates::BODY, &templates::START, &templates::VALIDATE, &templates::PLAN, &templates::PREFLIGHT, &templates::LIST, &templates::GET, &templates::DELETE, &templates::RENAME, &templates::ASSIGN_TAGS, &templates::TAGS, &templates::REMOVE_TAG, &templates::ALIASES, &templates::REMOVE_ALIAS, &templates::SET_VISIBILITY, &templates::RESERVE_NAME, &templates::RELEASE_CLAIM, &templates::NAMESPACE, &templates::BUILDS, &templates::CONNECT, &templates::STATUS, &templates::LOGS, &templates::CANCEL, &templates::RETRY, &templates::PROMOTE,
    &webhooks::CREATE, &webhooks::LIST, &webhooks::GET, &webhooks::UPDATE, &webhooks::DELETE, &webhooks::DELIVERIES, &webhooks::DELIVERY,
];
