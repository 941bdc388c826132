//! What several of these tests need.

use nullspace::client::machine::Machine;
use nullspace::client::{Client, Failure};
use nullspace::core::config::{self, Environment};
use nullspace::core::error::Error;
use nullspace::core::options::{Fields, Value};
use nullspace::core::value::parse;
use nullspace::script::{Script, BASE_URL};
use nullspace::surface::{machines, Operation, Request, Scope};
use serde::de::DeserializeOwned;
use serde::Serialize;
use serde_json::{json, Value as Json};

/// What JavaScript would hand over for this JSON.
pub fn given(json: Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(flag) => Value::Bool(flag),
        Json::Number(number) => Value::Number(number.as_f64().unwrap()),
        Json::String(text) => Value::Text(text),
        Json::Array(list) => Value::List(list.into_iter().map(given).collect()),
        Json::Object(fields) => Value::Object(
            fields
                .into_iter()
                .map(|(name, value)| (name, given(value)))
                .collect(),
        ),
    }
}

/// No environment.
pub struct Nowhere;

impl Environment for Nowhere {
    fn env(&self, _: &str) -> Option<String> {
        None
    }
    fn read(&self, _: &str) -> Option<String> {
        None
    }
    fn home(&self) -> Option<String> {
        None
    }
    fn json(text: &str) -> Option<Value> {
        parse(text)
    }
}

/// A client with a key.
pub fn client(script: &Script) -> Client<Script> {
    let options = given(json!({ "apiKey": "key-1", "baseUrl": BASE_URL }));
    let fields = Fields::new("", Some(&options), &[&config::CLIENT_OPTIONS]).unwrap();
    Client::new(config::settings(&fields, &Nowhere).unwrap(), script.clone())
}

/// The machine of a script whose first answer resumes it.
pub fn machine(script: &Script) -> Machine<Script> {
    let client = client(script);
    let answer = script
        .send(client.plan(&machines::RESUME, &args(&[json!("mch_1")]), None))
        .unwrap();
    Machine::taken_up(&client, &answer).unwrap()
}

/// The error of a call that must fail.
#[track_caller]
pub fn error<V>(result: Result<V, Failure<String>>) -> Error {
    match result {
        Err(Failure::Error(error)) => error,
        Err(Failure::Thrown(thrown)) => panic!("thrown: {thrown}"),
        Ok(_) => panic!("it worked"),
    }
}

/// The JSON that a request carried.
pub fn body(request: &nullspace::transport::Request) -> Json {
    serde_json::from_str(request.body.as_deref().unwrap_or("null")).unwrap()
}

/// A tree as the wire has it.
pub fn wire(value: &Value) -> Json {
    serde_json::from_str(&value.to_json()).unwrap()
}

/// That, which the engine's type must hold all of.
#[track_caller]
pub fn wire_as<T: DeserializeOwned + Serialize>(value: &Value) -> Json {
    let json = wire(value);
    let read: T = serde_json::from_value(json.clone()).unwrap();
    let mut sent = json.clone();
    if let Json::Object(fields) = &mut sent {
        fields.retain(|_, value| !value.is_null());
    }
    assert_eq!(serde_json::to_value(read).unwrap(), sent);
    json
}

/// Arguments of a call.
pub fn args(all: &[Json]) -> Vec<Option<Value>> {
    all.iter().cloned().map(|one| Some(given(one))).collect()
}

/// What an operation of the table sends for a machine, when it is given these arguments and options.
pub fn request(operation: &'static Operation, all: &[Json], options: Json) -> Result<Request, Error> {
    operation.request(Scope::Handle, &["mch_1"], &args(all), Some(&given(options)))
}

/// The body of that.
pub fn request_body(operation: &'static Operation, all: &[Json], options: Json) -> Result<Json, Error> {
    request(operation, all, options).map(|request| wire(&request.body))
}

/// The query of that.
pub fn request_query(
    operation: &'static Operation,
    all: &[Json],
    options: Json,
) -> Result<Vec<(String, String)>, Error> {
    let query = request(operation, all, options)?.query;
    Ok(query
        .into_iter()
        .map(|(name, value)| (name.into_owned(), value))
        .collect())
}
