//! The table of operations against the API's own description.

use std::collections::BTreeSet;

use nullspace_wire::api::ROUTES;
use serde_json::Value;

fn operations() -> BTreeSet<(String, String, String)> {
    let document: Value = serde_json::from_str(include_str!("../../../spec/openapi.json")).unwrap();
    let mut found = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (verb, operation) in item.as_object().unwrap() {
            if let Some(id) = operation["operationId"].as_str() {
                found.insert((id.to_owned(), verb.to_uppercase(), path.clone()));
            }
        }
    }
    found
}

#[test]
fn the_table_holds_the_operations_of_the_openapi_document_and_no_other() {
    let table: BTreeSet<_> = ROUTES
        .iter()
        .map(|route| {
            (
                route.id.to_owned(),
                route.verb.as_str().to_owned(),
                route.path.to_owned(),
            )
        })
        .collect();
    assert_eq!(table, operations());
    assert_eq!(
        ROUTES.len(),
        table.len(),
        "an operation stands twice in the table"
    );
}

#[test]
fn operations_are_told_apart_by_their_names() {
    let names: BTreeSet<_> = ROUTES.iter().map(|route| route.name).collect();
    assert_eq!(names.len(), ROUTES.len());
}
