//! Patterns of names. One that nothing can match is an error: an empty answer would be taken for the truth.

use std::ffi::OsStr;
use std::fs::FileType;
use std::path::Path;

use super::text::shown;
use super::{Fault, Result};

/// Patterns that braces may stand for.
const MOST_ALTERNATIVES: usize = 256;
/// Bytes of a pattern: `PATH_MAX`.
const LONGEST: usize = 4096;
const OPTIONS: glob::MatchOptions = glob::MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: false,
};

/// One pattern without braces.
pub(super) struct Pattern {
    glob: glob::Pattern,
    /// Of the path below the searched directory, not of the name alone.
    of_path: bool,
    /// It ended with a slash.
    directories_only: bool,
}

impl Pattern {
    /// What a text stands for when `root` is searched.
    pub(super) fn all(root: &Path, text: &str) -> Result<Vec<Self>> {
        let wrong = |why: &str| {
            let text = format!("{text:?} is no pattern: {why}; good ones are *.py and src/**/*.{{ts,tsx}}");
            Fault::new(libc::EINVAL, text)
        };
        if text.len() > LONGEST {
            return Err(wrong("it is longer than any path"));
        }
        let mut alternatives = Vec::new();
        expand(text, &mut alternatives).map_err(wrong)?;
        let one = |text: &String| Self::one(root, text).map_err(|why| wrong(&why));
        alternatives.iter().map(one).collect()
    }

    fn one(root: &Path, text: &str) -> std::result::Result<Self, String> {
        if text.contains('\0') {
            return Err("it has a NUL character, which no name has".into());
        }
        // `/workspace/src/*.ts` and `/src/*.ts` mean the same where /workspace is searched.
        let below = Path::new(text)
            .strip_prefix(shown(root))
            .ok()
            .and_then(Path::to_str);
        let mut parts = Vec::new();
        for part in below.unwrap_or(text).split('/') {
            match part {
                "" | "." => {}
                ".." => return Err("it leads out of the searched directory with `..`".into()),
                part => parts.push(part),
            }
        }
        if parts.is_empty() {
            return Err("it names nothing".into());
        }
        let glob = glob::Pattern::new(&parts.join("/")).map_err(|error| error.to_string())?;
        Ok(Self {
            glob,
            of_path: text.trim_end_matches('/').contains('/'),
            directories_only: text.ends_with('/'),
        })
    }

    /// Whether it means an entry somewhere below `root`.
    pub(super) fn matches(&self, root: &Path, entry: &Path, kind: FileType) -> bool {
        let subject = match self.of_path {
            true => entry.strip_prefix(root).unwrap_or(entry).as_os_str(),
            false => entry.file_name().unwrap_or(OsStr::new("")),
        };
        (kind.is_dir() || !self.directories_only) && self.glob.matches_with(&shown(subject), OPTIONS)
    }
}

/// Writes the first `{a,b}` out, and what comes of that in the same way. Braces without a comma stand for themselves,
/// as in a shell.
fn expand(text: &str, into: &mut Vec<String>) -> std::result::Result<(), &'static str> {
    let mut begun = None;
    let (mut depth, mut commas) = (0, Vec::new());
    let mut at = 0;
    while let Some(byte) = text.as_bytes().get(at) {
        match byte {
            b'[' => at = end_of_class(text, at),
            b'{' => {
                if depth == 0 {
                    (begun, commas) = (Some(at), Vec::new());
                }
                depth += 1;
            }
            b',' if depth == 1 => commas.push(at),
            b'}' if depth > 0 => {
                depth -= 1;
                if let (0, Some(open), true) = (depth, begun, commas.is_empty()) {
                    // It stands for itself; there may be others within.
                    at = open;
                } else if let (0, Some(open)) = (depth, begun) {
                    commas.push(at);
                    let mut from = open + 1;
                    for to in commas {
                        let one = [&text[..open], &text[from..to], &text[at + 1..]].concat();
                        expand(&one, into)?;
                        from = to + 1;
                    }
                    return Ok(());
                }
            }
            _ => {}
        }
        at += 1;
    }
    if depth > 0 {
        return Err("a `{` is not closed (write [{] for the character)");
    }
    if into.len() == MOST_ALTERNATIVES {
        return Err("its braces stand for more than 256 patterns");
    }
    into.push(text.to_owned());
    Ok(())
}

/// Where the `[...]` ends that begins at `at`; `at` if it does not.
fn end_of_class(text: &str, at: usize) -> usize {
    let inside = text[at + 1..].trim_start_matches('!');
    // The first character of a class may be the closing bracket itself.
    let skipped = text.len() - inside.len() + usize::from(inside.starts_with(']'));
    text[skipped..].find(']').map_or(at, |end| skipped + end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(text: &str) -> Vec<String> {
        let mut all = Vec::new();
        expand(text, &mut all).unwrap();
        all
    }

    #[test]
    fn braces_stand_for_each_of_their_alternatives() {
        assert_eq!(expanded("*.{ts,tsx}"), ["*.ts", "*.tsx"]);
        assert_eq!(
            expanded("{a,b{c,d}}/{e,}"),
            ["a/e", "a/", "bc/e", "bc/", "bd/e", "bd/"]
        );
        assert_eq!(expanded("[{,]{a,b}"), ["[{,]a", "[{,]b"]);
        assert_eq!(expanded("{id}.ts"), ["{id}.ts"]);
        assert_eq!(expanded("{id}.{ts,js}"), ["{id}.ts", "{id}.js"]);
        assert_eq!(expanded("{a{b,c}}"), ["{ab}", "{ac}"]);
        assert_eq!(expanded("a}b"), ["a}b"]);
    }

    #[test]
    fn a_pattern_that_nothing_can_match_is_refused() {
        let (many, long) = ("{a,b}".repeat(9), "{".repeat(5000));
        for text in [
            "",
            "/",
            "./",
            "[",
            "a/../b",
            "..",
            "*.{ts,tsx",
            "a**b",
            "a\0",
            &many,
            &long,
        ] {
            let refused = Pattern::all(Path::new("/workspace"), text).err();
            assert_eq!(refused.map(|fault| fault.errno), Some(libc::EINVAL), "{text:?}");
        }
    }
}
