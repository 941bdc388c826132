//! The golden answers decode into the wire types and encode back unchanged. `tests/wasm/decoders.test.mjs` runs the
//! generated JavaScript over the same files.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use nullspace_wire::answers::{Answer, Layout};
use serde_json::Value;

#[test]
fn golden_answers_decode_and_encode_back_unchanged() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    let mut shown = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let golden: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let (file, name) = (path.display().to_string(), golden["answer"].as_str().unwrap());
        let answer = Answer::TYPED
            .iter()
            .find(|answer| answer.name() == name)
            .unwrap_or_else(|| panic!("{file}: there is no answer {name}"));
        assert_eq!(
            answer.again(&golden["wire"]).as_ref(),
            Ok(&golden["wire"]),
            "{file}"
        );
        shown.insert(answer.name());
    }
    // A projected answer has the fields of a type that is shown whole.
    let missing: Vec<&str> = Answer::TYPED
        .iter()
        .filter(|answer| !matches!(answer.layout(), Some(Layout::Projected | Layout::ProjectedItems)))
        .map(|answer| answer.name())
        .filter(|name| !shown.contains(name))
        .collect();
    assert!(missing.is_empty(), "no golden answer shows {missing:?}");
}
