//! Query parameters. Unknown ones are ignored; a parameter without text counts as absent.

use std::convert::Infallible;
use std::str::FromStr;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use nullspace_wire::JsonObject;
use serde::{Deserialize, Serialize};
use serde_aux::serde_introspection::serde_introspect;
use serde_json::Value;

use crate::machine::{Error, Kind, Result};

/// The query of a request.
pub struct Params(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> std::result::Result<Self, Infallible> {
        Ok(Self::parse(parts.uri.query().unwrap_or_default()))
    }
}

impl Params {
    fn parse(query: &str) -> Self {
        let pairs = form_urlencoded::parse(query.as_bytes());
        Self(
            pairs
                .filter(|(_, v)| !v.is_empty())
                .map(|(k, v)| (k.into_owned(), v.into_owned()))
                .collect(),
        )
    }

    /// The first value.
    pub fn text(&self, name: &str) -> Option<String> {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.clone())
    }

    /// All values.
    pub fn all(&self, name: &str) -> Vec<String> {
        self.0
            .iter()
            .filter(|(key, _)| key == name)
            .map(|(_, value)| value.clone())
            .collect()
    }

    /// A number, or another type that text can be.
    pub fn parsed<T: FromStr>(&self, name: &str, good: &str) -> Result<Option<T>> {
        self.text(name)
            .map(|text| {
                text.parse()
                    .map_err(|_| Error::invalid(name, format_args!("is {text:?}: give one such as {good}")))
            })
            .transpose()
    }

    /// A JSON object.
    pub fn object(&self, name: &str) -> Result<JsonObject> {
        let Some(text) = self.text(name) else {
            return Ok(JsonObject::new());
        };
        match serde_json::from_str(&text) {
            Ok(Value::Object(object)) => Ok(object),
            _ => Err(Error::invalid(
                name,
                "is no JSON object: give one such as {\"project\": \"docs\"}",
            )),
        }
    }

    /// The names of `fields`, comma-joined, each once; `None` = all. Known are the fields of what is shown.
    pub fn fields<'de, Shown: Deserialize<'de>>(&self) -> Result<Option<Vec<String>>> {
        let known = serde_introspect::<Shown>();
        let Some(text) = self.text("fields") else {
            return Ok(None);
        };
        let mut names: Vec<String> = Vec::new();
        for name in text.split(',').map(str::trim).filter(|n| !n.is_empty()) {
            if !known.contains(&name) {
                return Err(Error::new(
                    Kind::InvalidFields,
                    format!(
                        "`fields` has {name:?}, which is unknown: known are {}",
                        known.join(", ")
                    ),
                ));
            }
            if !names.iter().any(|n| n == name) {
                names.push(name.to_owned());
            }
        }
        if names.is_empty() {
            return Err(Error::new(
                Kind::InvalidFields,
                "`fields` names nothing: give some such as id,status",
            ));
        }
        Ok(Some(names))
    }
}

/// The named fields of a value, in the order asked for; those that it does not have are left out.
pub fn project<T: Serialize>(value: &T, fields: &[String]) -> Value {
    let Ok(Value::Object(mut all)) = serde_json::to_value(value) else {
        return Value::Null;
    };
    Value::Object(
        fields
            .iter()
            .filter_map(|name| Some((name.clone(), all.remove(name)?)))
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_encoded_and_empty_parameters_are_read() {
        let params = Params::parse("label=team%3Da&label=x%3Dy&limit=&metadata=%7B%22a%22%3A+1%7D");
        assert_eq!(params.all("label"), ["team=a", "x=y"]);
        assert_eq!(params.text("limit"), None);
        assert_eq!(params.object("metadata").unwrap()["a"], 1);
    }

    #[test]
    fn fields_are_trimmed_and_unknown_ones_are_named() {
        #[derive(Deserialize)]
        #[expect(dead_code, reason = "only its names are read")]
        struct Shown {
            id: String,
            status: String,
        }
        let fields = |query: &str| Params::parse(query).fields::<Shown>();
        assert_eq!(
            fields("fields=status,+id,status").unwrap().unwrap(),
            ["status", "id"]
        );
        assert_eq!(fields("").unwrap(), None);
        assert!(fields("fields=,").unwrap_err().message.contains("id,status"));
        let error = fields("fields=id,name").unwrap_err();
        assert_eq!(error.kind, Kind::InvalidFields);
        assert!(error.message.contains("\"name\""));
    }
}
