//! The table for people: comments of options, and the interfaces of `index.d.ts` that hold them. `cargo xtask declarations` reads
//! them; the module that is shipped has none of this.

#[cfg(not(target_arch = "wasm32"))]
use super::{templates, volumes, ALL};
use super::{Field, Operation};

/// An option for people.
#[cfg(not(target_arch = "wasm32"))]
#[derive(Clone, Copy, Default)]
pub struct Shown {
    /// Its comment. `{range}` and `{default}` stand for its own.
    pub comment: &'static str,
    /// Its type, where its kind is not enough.
    pub typed: Option<&'static str>,
    /// The number that rules put in its place when it is absent.
    pub default: Option<u64>,
    /// Whether the runtime makes it when it is absent, though the request needs it.
    pub made: bool,
}

/// An interface of options.
#[cfg(not(target_arch = "wasm32"))]
#[derive(Clone, Copy)]
pub struct Interface {
    /// Its name.
    pub name: &'static str,
    /// What it extends: their options are not told again.
    pub parents: &'static [&'static str],
    /// Its comment.
    pub comment: &'static str,
    /// Its options, and those of parents.
    pub sets: &'static [&'static [Field]],
}

/// Options, each below its comment.
macro_rules! fields {
    ($(
        $(#[doc = $line:literal])*
        $name:ident $(($($given:tt)*))? $(.$with:ident($($what:tt)*))*
    ),* $(,)?) => {
        &[$($name $(($($given)*))? $(.$with($($what)*))* .comment(concat!($($line, "\n"),*))),*]
    };
}
pub(super) use fields;

#[cfg(not(target_arch = "wasm32"))]
impl Field {
    /// With its comment, which [`fields!`] takes from above it.
    pub const fn comment(mut self, comment: &'static str) -> Self {
        self.shown.comment = comment;
        self
    }

    /// With its type in TypeScript.
    pub const fn typed(mut self, typed: &'static str) -> Self {
        self.shown.typed = Some(typed);
        self
    }

    /// With the number that rules put in its place when it is absent.
    pub const fn by_default(mut self, number: u64) -> Self {
        self.shown.default = Some(number);
        self
    }

    /// Made by the runtime when it is absent.
    pub const fn made(mut self) -> Self {
        self.shown.made = true;
        self
    }
}

#[cfg(target_arch = "wasm32")]
#[allow(missing_docs)] // as above
impl Field {
    pub const fn comment(self, _: &'static str) -> Self {
        self
    }

    pub const fn typed(self, _: &'static str) -> Self {
        self
    }

    pub const fn by_default(self, _: u64) -> Self {
        self
    }

    pub const fn made(self) -> Self {
        self
    }
}

impl Operation {
    /// With the interface that holds its options, which come first.
    #[cfg(not(target_arch = "wasm32"))]
    pub const fn shown(
        mut self,
        name: &'static str,
        parents: &'static [&'static str],
        comment: &'static str,
    ) -> Self {
        self.shown = Some(Interface {
            name,
            parents,
            comment,
            sets: self.sets,
        });
        self
    }

    #[cfg(target_arch = "wasm32")]
    #[allow(missing_docs)] // as above
    pub const fn shown(self, _: &'static str, _: &'static [&'static str], _: &'static str) -> Self {
        self
    }
}

/// Every interface: those that several calls share, and those of the operations.
#[cfg(not(target_arch = "wasm32"))]
pub fn interfaces() -> impl Iterator<Item = Interface> {
    [volumes::MOUNT_OPTIONS, templates::DEFINITION_OPTIONS]
        .into_iter()
        .chain(ALL.iter().filter_map(|operation| operation.shown))
}
