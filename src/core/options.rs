//! A reader of options that checks them: unknown names, types, ranges. Every error names the
//! option by its path and shows a good value. Absent and `null` are two things: `null` is refused.

use std::time::Duration;

use strsim::levenshtein;

use super::error::Error;
pub use super::value::Value;
/// Beyond this a limit is not worth a message.
pub use super::value::MAX_INTEGER;
use super::value::{join, number_text};

/// The options of one call or of one object in them.
pub struct Fields<'a> {
    path: String,
    fields: &'a [(String, Value)],
    /// Others read as absent.
    visible: Option<&'static [&'static str]>,
}

impl<'a> Fields<'a> {
    /// Reads an object whose names must be among `known`. An absent one is empty.
    pub fn new(path: &str, value: Option<&'a Value>, known: &[&[&str]]) -> Result<Self, Error> {
        let shown = if path.is_empty() { "options" } else { path };
        let fields: &[(String, Value)] = match value {
            None => &[],
            Some(Value::Object(fields)) => fields,
            Some(other) => {
                return Err(Error::option(
                    shown,
                    &format!("must be a plain object, not {}", other.kind()),
                ))
            }
        };
        for (name, _) in fields {
            if !known.iter().any(|names| names.contains(&name.as_str())) {
                let all: Vec<&str> = known.iter().flat_map(|names| names.iter().copied()).collect();
                let seconds = name.strip_suffix("Ms").filter(|stem| all.contains(stem));
                let hint = match (seconds, nearest(name, &all)) {
                    (Some(stem), _) => format!("did you mean `{}`, which is in seconds?", join(path, stem)),
                    (None, Some(nearest)) => format!("did you mean `{}`?", join(path, nearest)),
                    (None, None) => format!("known are {}", all.join(", ")),
                };
                return Err(Error::option(&join(path, name), &format!("is not known; {hint}")));
            }
        }
        Ok(Self {
            path: path.to_owned(),
            fields,
            visible: None,
        })
    }

    /// Reads fields whose names are known to be right.
    pub fn all(fields: &'a [(String, Value)]) -> Self {
        Self {
            path: String::new(),
            fields,
            visible: None,
        }
    }

    /// The same options, of which only these are seen.
    pub fn only(&self, names: &'static [&'static str]) -> Fields<'a> {
        Fields {
            path: self.path.clone(),
            fields: self.fields,
            visible: Some(names),
        }
    }

    /// Full name of an option, for messages.
    pub fn path(&self, name: &str) -> String {
        join(&self.path, name)
    }

    /// The value, if there is one.
    pub fn get(&self, name: &str) -> Option<&'a Value> {
        if self.visible.is_some_and(|names| !names.contains(&name)) {
            return None;
        }
        self.fields
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value)
    }

    /// Whether it was given.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Error about one option.
    pub fn wrong(&self, name: &str, what: &str) -> Error {
        Error::option(&self.path(name), what)
    }

    fn typed<T>(
        &self,
        name: &str,
        wanted: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, Error> {
        match self.get(name) {
            None => Ok(None),
            Some(value) => read(value)
                .map(Some)
                .ok_or_else(|| self.wrong(name, &format!("must be {wanted}, not {}", value.kind()))),
        }
    }

    /// Text, possibly empty.
    pub fn text(&self, name: &str) -> Result<Option<&'a str>, Error> {
        self.typed(name, "a string", |value| match value {
            Value::Text(text) => Some(text.as_str()),
            _ => None,
        })
    }

    /// Text with something in it.
    pub fn filled(&self, name: &str) -> Result<Option<&'a str>, Error> {
        self.get(name)
            .map(|value| filled(&self.path(name), value))
            .transpose()
    }

    /// `true` or `false`.
    pub fn flag(&self, name: &str) -> Result<Option<bool>, Error> {
        self.typed(name, "true or false", |value| match value {
            Value::Bool(flag) => Some(*flag),
            _ => None,
        })
    }

    /// A whole number from `min` to `max`.
    pub fn integer(&self, name: &str, min: u64, max: u64) -> Result<Option<u64>, Error> {
        self.get(name)
            .map(|value| integer(&self.path(name), value, min, max))
            .transpose()
    }

    /// Seconds, more than 0.
    pub fn seconds(&self, name: &str) -> Result<Option<Duration>, Error> {
        self.get(name)
            .map(|value| seconds(&self.path(name), value))
            .transpose()
    }

    /// One of some texts.
    pub fn choice(&self, name: &str, choices: &[&str]) -> Result<Option<&'a str>, Error> {
        match self.text(name)? {
            Some(text) if !choices.contains(&text) => {
                let shown: Vec<String> = choices.iter().map(|choice| format!("'{choice}'")).collect();
                Err(self.wrong(
                    name,
                    &format!("must be one of {}, not '{text}'", shown.join(", ")),
                ))
            }
            text => Ok(text),
        }
    }

    /// An object with the names known.
    pub fn object(&self, name: &str, known: &[&str]) -> Result<Option<Fields<'a>>, Error> {
        match self.get(name) {
            None => Ok(None),
            value => Fields::new(&self.path(name), value, &[known]).map(Some),
        }
    }

    /// An array.
    pub fn list(&self, name: &str) -> Result<Option<&'a [Value]>, Error> {
        self.typed(name, "an array", |value| match value {
            Value::List(list) => Some(list.as_slice()),
            _ => None,
        })
    }

    /// An array of texts.
    pub fn texts(&self, name: &str) -> Result<Option<Vec<String>>, Error> {
        self.get(name)
            .map(|value| texts(&self.path(name), value))
            .transpose()
    }

    /// An object of texts: names and values.
    pub fn dictionary(&self, name: &str) -> Result<Option<Vec<(&'a str, &'a str)>>, Error> {
        let Some(fields) = self.typed(name, "an object of strings", Value::as_object)? else {
            return Ok(None);
        };
        let mut pairs = Vec::with_capacity(fields.len());
        for (key, value) in fields {
            let no_text = || no_text(&join(&self.path(name), key), value);
            pairs.push((key.as_str(), value.as_str().ok_or_else(no_text)?));
        }
        Ok(Some(pairs))
    }

    /// Environment variables. Names are not empty and hold no `=`; values are never shown.
    pub fn environment(&self, name: &str) -> Result<Option<&'a Value>, Error> {
        for (key, value) in self.dictionary(name)?.into_iter().flatten() {
            let what = if key.is_empty() || key.contains('=') {
                "must be a name without `=`, such as PATH"
            } else if key.contains('\0') || value.contains('\0') {
                "must not hold a NUL character"
            } else {
                continue;
            };
            return Err(Error::option(&join(&self.path(name), key), what));
        }
        Ok(self.get(name))
    }

    /// An object, passed on verbatim.
    pub fn json_object(&self, name: &str) -> Result<Option<&'a Value>, Error> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        if value.as_object().is_none() {
            return Err(self.wrong(name, &format!("must be a plain object, not {}", value.kind())));
        }
        value.check_json(&self.path(name))?;
        Ok(Some(value))
    }
}

/// An array of texts. `path`: its name in messages.
pub fn texts(path: &str, value: &Value) -> Result<Vec<String>, Error> {
    let Value::List(list) = value else {
        return Err(Error::option(
            path,
            &format!("must be an array, not {}", value.kind()),
        ));
    };
    list.iter()
        .enumerate()
        .map(|(index, item)| {
            let no_text = || no_text(&format!("{path}[{index}]"), item);
            item.as_str().map(str::to_owned).ok_or_else(no_text)
        })
        .collect()
}

/// An id. `.` and `..` are refused: as a segment of a path, also percent-encoded, they would be taken out of the URL, and a
/// delete would go to another address. `path`: its name in messages.
pub fn id(path: &str, value: &Value) -> Result<String, Error> {
    match text(path, value)?.trim() {
        "" => Err(Error::option(path, "must not be empty")),
        text @ ("." | "..") => Err(Error::option(path, &format!("must be an id, not '{text}'"))),
        text => Ok(text.to_owned()),
    }
}

/// `memoryMb` -> `memory_mb`.
pub fn snake_case(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 2);
    for letter in name.chars() {
        if letter.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

fn number(path: &str, value: &Value) -> Result<f64, Error> {
    match value {
        Value::Number(number) => Ok(*number),
        other => Err(Error::option(
            path,
            &format!("must be a number, not {}", other.kind()),
        )),
    }
}

/// A whole number from `min` to `max`. `path`: its name in messages.
pub fn integer(path: &str, value: &Value, min: u64, max: u64) -> Result<u64, Error> {
    let number = number(path, value)?;
    if number.fract() != 0.0 || !(number >= min as f64 && number <= max as f64) {
        let range = if max >= MAX_INTEGER {
            format!("of at least {min}")
        } else {
            format!("from {min} to {max}")
        };
        return Err(Error::option(
            path,
            &format!("must be a whole number {range}, not {}", number_text(number)),
        ));
    }
    Ok(number as u64)
}

/// Seconds, at least a millisecond. `path`: their name in messages.
pub fn seconds(path: &str, value: &Value) -> Result<Duration, Error> {
    let number = number(path, value)?;
    if !(MIN_SECONDS..=MAX_SECONDS).contains(&number) {
        return Err(Error::option(
            path,
            &format!(
                "must be seconds, more than 0, such as 300; not {}",
                number_text(number)
            ),
        ));
    }
    Ok(Duration::from_secs_f64(number))
}

fn no_text(path: &str, value: &Value) -> Error {
    Error::option(path, &format!("must be a string, not {}", value.kind()))
}

/// Text, possibly empty. `path`: its name in messages.
pub fn text<'a>(path: &str, value: &'a Value) -> Result<&'a str, Error> {
    value.as_str().ok_or_else(|| no_text(path, value))
}

/// Text with something in it. `path`: its name in messages.
pub fn filled<'a>(path: &str, value: &'a Value) -> Result<&'a str, Error> {
    let what = match value {
        Value::Text(text) if text.trim().is_empty() => "must not be empty".to_owned(),
        // No path, name or argument of a Linux program can hold it.
        Value::Text(text) if text.contains('\0') => "must not hold a NUL character".to_owned(),
        Value::Text(text) => return Ok(text),
        other => return Err(no_text(path, other)),
    };
    Err(Error::option(path, &what))
}

/// About 68 years: more fits no wire type that counts milliseconds in 32 bits seconds.
const MAX_SECONDS: f64 = 2_147_483_647.0;
/// A millisecond: less would be sent as 0.
const MIN_SECONDS: f64 = 0.001;

/// The known name that was most likely meant.
fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let plain = |text: &str| text.to_ascii_lowercase().replace(['_', '-'], "");
    let wanted = plain(name);
    known
        .iter()
        .map(|candidate| (levenshtein(&wanted, &plain(candidate)), *candidate))
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, candidate)| *distance <= 2 || *distance * 3 <= candidate.len())
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(fields: &[(&str, Value)]) -> Value {
        Value::Object(
            fields
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.clone()))
                .collect(),
        )
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_nearest_known_one() {
        let given = object(&[("memoryMB", Value::Number(1.0))]);
        let error = Fields::new("", Some(&given), &[&["memoryMb", "metadata"]])
            .err()
            .unwrap();
        assert_eq!(
            error.message,
            "option `memoryMB` is not known; did you mean `memoryMb`?"
        );
    }

    #[test]
    fn null_is_not_absent() {
        let given = object(&[("template", Value::Null)]);
        let fields = Fields::new("", Some(&given), &[&["template"]]).unwrap();
        assert_eq!(
            fields.text("template").unwrap_err().message,
            "option `template` must be a string, not null"
        );
    }

    #[test]
    fn a_bad_item_is_named_with_its_place() {
        let given = object(&[(
            "args",
            Value::List(vec![Value::Text("a".into()), Value::Number(1.0)]),
        )]);
        let fields = Fields::new("", Some(&given), &[&["args"]]).unwrap();
        assert_eq!(
            fields.texts("args").unwrap_err().message,
            "option `args[1]` must be a string, not a number"
        );
    }
}
