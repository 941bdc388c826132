//! Secrets of one build: in memory, and in a file in memory of the step that asked for them. Never in a layer, a log, an error, a
//! key of the cache or the database.

use std::collections::BTreeMap;

use nullspace_wire::template::BuildSecret;

use crate::machine::ground::{Error, Result};

/// Shown in the place of a secret.
const HIDDEN: &str = "***";
/// Shorter pieces of a secret are not looked for: they would hide what is none.
const SHORTEST: usize = 4;
/// Bytes of a secret at most. Source: BuildKit.
const LARGEST: usize = 500 << 10;

/// Values by id.
#[derive(Clone, Default)]
pub struct Secrets {
    values: BTreeMap<String, String>,
    /// What is hidden in output, longest first.
    hidden: Vec<String>,
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.values.keys()).finish()
    }
}

/// Whether a text can be the id of a secret.
pub fn is_id(id: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    (1..=128).contains(&id.len()) && id.chars().all(is_plain) && id.chars().any(|c| c != '.')
}

impl Secrets {
    /// Checks what a request brings.
    pub fn check(given: Vec<BuildSecret>) -> Result<Self> {
        let mut secrets = Self::default();
        for (place, secret) in given.into_iter().enumerate() {
            let field = |name: &str| format!("build_secrets[{place}].{name}");
            if !is_id(&secret.id) {
                return Err(Error::invalid(
                    &field("id"),
                    "has other characters than letters, digits, `.`, `_` and `-`: give one such as \"token\"",
                ));
            }
            if secret.value.len() > LARGEST {
                return Err(Error::invalid(
                    &field("value"),
                    format_args!("is longer than {LARGEST} bytes"),
                ));
            }
            secrets.hidden.push(secret.value.clone());
            secrets
                .hidden
                .extend(secret.value.lines().map(|line| line.trim().to_owned()));
            if secrets.values.insert(secret.id.clone(), secret.value).is_some() {
                return Err(Error::invalid(
                    &field("id"),
                    format_args!("is {:?}, which is there twice", secret.id),
                ));
            }
        }
        secrets.hidden.retain(|text| text.len() >= SHORTEST);
        secrets
            .hidden
            .sort_unstable_by_key(|text| std::cmp::Reverse(text.len()));
        secrets.hidden.dedup();
        Ok(secrets)
    }

    /// Whether there is one of this id.
    pub fn has(&self, id: &str) -> bool {
        self.values.contains_key(id)
    }

    /// All ids.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    /// A value.
    pub fn value(&self, id: &str) -> Option<&str> {
        self.values.get(id).map(String::as_str)
    }

    /// Bytes of the longest text that is hidden.
    pub fn longest(&self) -> usize {
        self.hidden.first().map_or(0, String::len)
    }

    /// The text without them, of one whose end is missing: what may be the beginning of a secret there goes too.
    pub fn hide_cut(&self, text: &str) -> String {
        let mut shown = self.hide(text);
        let begins = |secret: &String| {
            let lengths = (1..secret.len())
                .rev()
                .filter(|length| secret.is_char_boundary(*length));
            let mut ends = lengths.filter(|length| shown.ends_with(&secret[..*length]));
            ends.next().unwrap_or(0)
        };
        let partial = self.hidden.iter().map(begins).max().unwrap_or(0);
        shown.truncate(shown.len() - partial);
        shown
    }

    /// The text without them.
    pub fn hide(&self, text: &str) -> String {
        let mut shown = text.to_owned();
        for secret in &self.hidden {
            if shown.contains(secret.as_str()) {
                shown = shown.replace(secret.as_str(), HIDDEN);
            }
        }
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(values: &[(&str, &str)]) -> Result<Secrets> {
        let given = values.iter().map(|(id, value)| BuildSecret {
            id: (*id).into(),
            value: (*value).into(),
            source: None,
        });
        Secrets::check(given.collect())
    }

    #[test]
    fn output_is_shown_without_secrets_and_without_lines_of_them() {
        let secrets = secrets(&[
            ("a", "hunter2hunter2"),
            ("key", "-----BEGIN\nMIIEabcdef\n-----END"),
        ])
        .unwrap();
        assert_eq!(secrets.hide("token=hunter2hunter2!"), "token=***!");
        assert_eq!(secrets.hide("MIIEabcdef"), "***");
        assert_eq!(secrets.hide("nothing"), "nothing");
        assert!(!format!("{secrets:?}").contains("hunter2"));
    }

    #[test]
    fn the_beginning_of_a_secret_at_the_end_of_a_cut_line_is_not_shown() {
        let secrets = secrets(&[("a", "hunter2hunter2")]).unwrap();
        assert_eq!(secrets.longest(), 14);
        assert_eq!(secrets.hide_cut("x hunter2hunter2 hunter2hun"), "x *** ");
        assert_eq!(secrets.hide_cut("x hunter2hunter2"), "x ***");
        assert_eq!(secrets.hide_cut("nothing"), "nothing");
    }

    #[test]
    fn ids_are_plain_and_each_is_there_once() {
        assert!(secrets(&[("..", "x")]).is_err());
        assert!(secrets(&[("a/b", "x")]).is_err());
        let error = secrets(&[("a", "valuevalue"), ("a", "y")]).unwrap_err();
        assert!(
            error.message.contains("twice") && !error.message.contains("valuevalue"),
            "{error}"
        );
    }
}
