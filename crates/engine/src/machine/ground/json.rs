//! JSON text in which equal values are equal.

/// The text of a value: object keys sorted, no spaces.
pub fn canonical(value: &serde_json::Value) -> String {
    use serde_json::Value;
    fn sorted(value: &Value) -> Value {
        match value {
            Value::Object(map) => {
                let mut entries: Vec<_> = map.iter().collect();
                entries.sort_by_key(|(key, _)| key.as_str());
                Value::Object(entries.into_iter().map(|(k, v)| (k.clone(), sorted(v))).collect())
            }
            Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
            other => other.clone(),
        }
    }
    sorted(value).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_text_ignores_the_order_of_keys_but_not_of_items() {
        let a = serde_json::json!({ "b": [2, 1], "a": { "d": null, "c": "x" } });
        let b: serde_json::Value =
            serde_json::from_str(r#"{"a": {"c": "x", "d": null}, "b": [2, 1]}"#).unwrap();
        assert_eq!(canonical(&a), r#"{"a":{"c":"x","d":null},"b":[2,1]}"#);
        assert_eq!(canonical(&a), canonical(&b));
        assert_ne!(
            canonical(&a),
            canonical(&serde_json::json!({ "b": [1, 2], "a": { "c": "x", "d": null } }))
        );
    }
}
