//! Templates and their builds. What a builder makes (`pkg-template/lib/template.js`) comes as the body that it is; what is asked of a
//! build beside it is checked here. Source: PROTOCOL.md section 11.

use std::time::Duration;

use nullspace_wire::answers::Answer;
use nullspace_wire::api;
use nullspace_wire::limits::{DEFAULT_MEMORY_MB, DEFAULT_VCPUS, DISK_MB, MEMORY_MB, VCPUS};

#[cfg(not(target_arch = "wasm32"))]
use super::Interface;
use super::{
    by, envs, fields, filled, flag, from, function, id, int, object, one_of, Field, Inputs, Operation,
    Request, Time, To,
};
use crate::core::error::Error;
use crate::core::machine;
use crate::core::options::{self, Value};
use crate::core::value::json;

/// HTTP time of what begins a build or reads its files. Source: PROTOCOL.md section 1, "HTTP timeouts".
const BUILD_TIME: Time = Time::Long(Duration::from_secs(300));

const REF: &[Field] = &[id("ref")];
const ID: &[Field] = &[id("id")];
const FIELDS: &[Field] = &[by("fields", fields).in_query()];
const DEFINITION: &[Field] = &[object("definition").spread()];

/// What is asked of a build. The names of the hooks and of secrets are known here; JavaScript reads them.
const BUILD: &[Field] = fields![
    /// Names of the build. @default the tag of `ref`, else the server's (`default`)
    by("tags", names).typed("readonly string[]"),
    /// Processors of the machine that builds, {range}. @default {default}
    int("vcpus", VCPUS).local().by_default(DEFAULT_VCPUS),
    /// Memory of it, MiB, {range}. @default {default}
    int("memoryMb", MEMORY_MB).local().by_default(DEFAULT_MEMORY_MB),
    /// The smallest disk of machines that start from it, MiB, {range}. @default what it needs, and some room
    int("diskMb", DISK_MB).local(),
    /// Whether steps reach the network. @default true
    flag("internetAccess").local(),
    /// Do every step again. @default false
    flag("skipCache").local(),
    /// Who builds. A Dockerfile is built by BuildKit. @default the server's choice
    one_of("buildBackend", &["native", "buildkit"]),
    /// Values of `ARG` in a Dockerfile. They are seen in the template: no place for secrets. @default none
    envs("buildArgs").typed("Readonly<Record<string, string>>"),
    /// The stage of a Dockerfile that becomes the template. @default the last
    filled("buildTarget"),
    /// More secrets, for this build alone. @default none
    by("buildSecrets", any).local().typed("readonly TemplateBuildSecret[]"),
    /// Told as files are sent: after each, and after each piece of a large one. What it throws ends the call. @default none
    function("onUploadProgress").typed("(progress: TemplateUploadProgress) => void"),
];
const LOG: &[Field] = fields![
    /// Told each line of the log; an async one is waited for. What it throws cancels the build and rejects the call. @default none
    function("onLog").typed("(entry: TemplateBuildLogEntry) => void | Promise<void>"),
];

/// What all calls take that are given a definition.
#[cfg(not(target_arch = "wasm32"))]
pub const DEFINITION_OPTIONS: Interface = Interface {
    name: "TemplateDefinitionOptions",
    parents: &["ClientOptions"],
    comment: "Options of a build in addition to its definition.",
    sets: &[BUILD],
};

/// The body of a build: a definition, a name, and what is asked beside them. Never sent by itself: files come in between.
pub static BODY: Operation = Operation::on(&api::START_TEMPLATE_BUILD)
    .args(&[object("definition").spread(), by("ref", reference).local()])
    .options(&[BUILD, LOG])
    .shown(
        "TemplateBuildOptions",
        &["TemplateDefinitionOptions"],
        "Options of {@link Template.build}.",
    )
    .rules(body);

/// Begins a build.
pub static START: Operation = Operation::on(&api::START_TEMPLATE_BUILD)
    .args(DEFINITION)
    .time(BUILD_TIME);

/// Says whether a server would take it.
pub static VALIDATE: Operation = Operation::on(&api::VALIDATE_TEMPLATE_BUILD)
    .args(DEFINITION)
    .time(BUILD_TIME);

/// Says what a server would do with it.
pub static PLAN: Operation = Operation::on(&api::PLAN_TEMPLATE_BUILD)
    .args(DEFINITION)
    .time(BUILD_TIME);

/// Asks which files have to be sent.
pub static PREFLIGHT: Operation = Operation::on(&api::PREFLIGHT_TEMPLATE_BLOBS)
    .args(DEFINITION)
    .time(BUILD_TIME);

/// Sends one: its content comes from JavaScript.
pub static SEND_BLOB: Operation = Operation::on(&api::UPLOAD_TEMPLATE_BLOB)
    .args(&[id("blobId")])
    .time(BUILD_TIME);

/// All of them.
pub static LIST: Operation =
    Operation::on(&api::LIST_TEMPLATES)
        .options(&[FIELDS])
        .rules(|given, request| {
            if given.has("fields") {
                request.answer = Answer::TemplateRows;
            }
            Ok(())
        });

/// Describes one.
pub static GET: Operation = Operation::on(&api::GET_TEMPLATE_BY_REF)
    .args(REF)
    .options(&[FIELDS])
    .rules(|given, request| {
        if given.has("fields") {
            request.answer = Answer::TemplateRow;
        }
        Ok(())
    });

/// Deletes one.
pub static DELETE: Operation = Operation::on(&api::DELETE_TEMPLATE_BY_REF).args(REF);

/// Gives it another name; the old one stays as an alias.
pub static RENAME: Operation = Operation::on(&api::RENAME_TEMPLATE_BY_REF).args(&[
    id("ref"),
    Field {
        to: To::Body,
        ..id("newName")
    },
]);

/// Sets or moves tags.
pub static ASSIGN_TAGS: Operation =
    Operation::on(&api::ASSIGN_TEMPLATE_TAGS_BY_REF).args(&[id("ref"), by("tags", names).required()]);

/// Its tags.
pub static TAGS: Operation = Operation::on(&api::LIST_TEMPLATE_TAGS_BY_REF).args(REF);

/// Takes one away.
pub static REMOVE_TAG: Operation =
    Operation::on(&api::REMOVE_TEMPLATE_TAG_BY_REF).args(&[id("ref"), id("tag")]);

/// Its other names.
pub static ALIASES: Operation = Operation::on(&api::LIST_TEMPLATE_ALIASES_BY_REF).args(REF);

/// Takes one away.
pub static REMOVE_ALIAS: Operation =
    Operation::on(&api::REMOVE_TEMPLATE_ALIAS_BY_REF).args(&[id("ref"), id("alias")]);

/// Says who sees it.
pub static SET_VISIBILITY: Operation = Operation::on(&api::UPDATE_TEMPLATE_VISIBILITY_BY_REF).args(&[
    id("ref"),
    one_of("visibility", &["private", "public"]).needed("is missing: 'private' or 'public'"),
]);

/// Keeps a name.
pub static RESERVE_NAME: Operation = Operation::on(&api::RESERVE_TEMPLATE_NAME).args(&[Field {
    to: To::Body,
    ..id("ref").wire("template_ref")
}]);

/// Gives it up.
pub static RELEASE_CLAIM: Operation =
    Operation::on(&api::RELEASE_TEMPLATE_NAME_CLAIM).args(&[id("claimToken")]);

/// Describes a namespace.
pub static NAMESPACE: Operation = Operation::on(&api::GET_TEMPLATE_NAMESPACE).args(&[id("slug")]);

/// A page of its builds.
pub static BUILDS: Operation = Operation::on(&api::LIST_TEMPLATE_BUILDS_BY_REF)
    .args(REF)
    .options(&[fields![
        /// Only these. @default all
        one_of("status", &["waiting", "building", "ready", "error", "cancelled"]).in_query(),
        /// Only these. @default all
        one_of("buildBackend", &["native", "buildkit"]).wire("backend").in_query(),
        /// Only these. @default all
        one_of("sourceType", &["declarative", "dockerfile", "oci_import", "template_base"]).in_query(),
        /// Builds of a page, {range}. @default the server's
        int("limit", from(1)).in_query(),
        /// `nextCursor` of the page before. @default the first page
        filled("cursor").in_query(),
    ]])
    .shown(
        "TemplateBuildListOptions",
        &["ClientOptions"],
        "Options of {@link Template.listBuilds}.",
    );

/// Takes up a build.
pub static CONNECT: Operation = Operation::on(&api::GET_TEMPLATE_BUILD_STATUS)
    .args(ID)
    .gives("build")
    .rules(|_, request| {
        request.query.push(("offset".into(), "0".to_owned()));
        Ok(())
    });

/// How far the build is, and what it said from an offset on.
pub static STATUS: Operation = Operation::on(&api::GET_TEMPLATE_BUILD_STATUS)
    .options(&[&[int("offset", from(0)).in_query()]])
    .rules(|given, request| {
        if !given.has("offset") {
            request.query.push(("offset".into(), "0".to_owned()));
        }
        Ok(())
    });

/// What it says from an offset on, to its end. JavaScript reads the events.
pub static LOGS: Operation = Operation::on(&api::STREAM_TEMPLATE_BUILD_LOGS)
    .options(&[fields![
        /// Whether to follow to the end of the build, or to stop at what is there now. @default true
        flag("follow").in_query(),
        /// The first entry, {range}. @default 0
        int("offset", from(0)).in_query(),
    ]])
    .shown(
        "TemplateBuildLogsOptions",
        &["CallOptions"],
        "Options of {@link TemplateBuild.logs}.",
    )
    .time(BUILD_TIME);

/// Ends it.
pub static CANCEL: Operation = Operation::on(&api::CANCEL_TEMPLATE_BUILD)
    .options(&[&[filled("reason")]])
    .gives("build");

/// Does it again. JavaScript made what is secret in it.
pub static RETRY: Operation = Operation::on(&api::RETRY_TEMPLATE_BUILD)
    .options(&[&[
        by("tags", names),
        object("baseImageAuth"),
        by("registryAuth", any),
        by("buildSecrets", any),
    ]])
    .time(BUILD_TIME);

/// Gives it a tag.
pub static PROMOTE: Operation = Operation::on(&api::PROMOTE_TEMPLATE_BUILD).args(&[Field {
    to: To::Body,
    ..id("tag")
}]);

fn body(given: &Inputs<'_>, request: &mut Request) -> Result<(), Error> {
    if let Some(reference) = given.args.filled("ref")? {
        let (name, tag) = split(reference.trim());
        request.put("name", name);
        if let Some(tag) = tag {
            if given.has("tags") {
                return Err(given.wrong(
                    "tags",
                    &format!("goes with a name without a tag, and `ref` has the tag '{tag}'"),
                ));
            }
            request.put("tags", json!([tag]));
        }
    }
    if request.body.get("dockerfile").is_some() {
        if request.body.get("build_backend") == Some(&json!("native")) {
            return Err(given.wrong(
                "buildBackend",
                "'native' builds no Dockerfile: leave it out, or give 'buildkit'",
            ));
        }
    } else if given.has("buildArgs") || given.has("buildTarget") {
        let name = if given.has("buildArgs") {
            "buildArgs"
        } else {
            "buildTarget"
        };
        return Err(given.wrong(
            name,
            "is for a Dockerfile: steps take `setBuildEnvs({ NAME: 'value' })`",
        ));
    }
    let number = |name, range: nullspace_wire::limits::Range| given.integer(name, range.min, range.max);
    let vcpus = number("vcpus", VCPUS)?.unwrap_or(DEFAULT_VCPUS);
    let memory = number("memoryMb", MEMORY_MB)?.unwrap_or(DEFAULT_MEMORY_MB);
    let mut config = json!({ "vcpus": vcpus, "memory_mib": memory });
    if given.flag("internetAccess")? == Some(false) {
        config.put("internet_access", false.into());
    }
    config.put_given("disk_mb", number("diskMb", DISK_MB)?);
    request.put("build_config", config);
    if given.flag("skipCache")? == Some(true) {
        request.put("skip_cache", true);
    }
    Ok(())
}

/// Name and tag of `name:tag`. A colon before the last slash is that of a registry's port.
fn split(reference: &str) -> (&str, Option<&str>) {
    match reference.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name.trim_end(), Some(tag.trim_start())),
        _ => (reference, None),
    }
}

/// The name of what is built: `name`, `name:tag`, `namespace/name:tag`.
fn reference(name: &str, value: &Value) -> Result<Value, Error> {
    let given = options::filled(name, value)?.trim();
    let (title, tag) = split(given);
    let why = if given.starts_with("tmpl_") {
        "must be a name, not an id: an id stands for a template that is there already"
    } else if title.starts_with("nullspace/") {
        "must not be in the namespace 'nullspace', which is the server's own"
    } else if title.is_empty() || title.ends_with('/') || tag == Some("") {
        "must be a name such as 'app' or 'team/app:stable'"
    } else if tag.is_some_and(|tag| tag.starts_with("tb_")) {
        "must not end in the id of a build: give a tag such as 'stable'"
    } else {
        return Ok(given.into());
    };
    Err(Error::option(name, &format!("{why}; it is '{given}'")))
}

/// At least one text, and none that is empty.
fn names(name: &str, value: &Value) -> Result<Value, Error> {
    let all = options::texts(name, value)?;
    if all.is_empty() {
        return Err(Error::option(
            name,
            "must not be empty: leave it out, or give at least one",
        ));
    }
    for (index, one) in all.iter().enumerate() {
        if one.trim().is_empty() {
            return Err(Error::option(&format!("{name}[{index}]"), "must not be empty"));
        }
    }
    Ok(all.into())
}

fn fields(_: &str, value: &Value) -> Result<Value, Error> {
    machine::field_names(value).map(Value::from)
}

/// Checked by JavaScript, which also knows its secrets.
fn any(name: &str, value: &Value) -> Result<Value, Error> {
    value.check_json(name)?;
    Ok(value.clone())
}

#[cfg(test)]
mod tests {
    use serde_json::{json, Value as Json};

    use super::*;
    use crate::surface::Scope;

    fn made(definition: Json, reference: &str, options: &[(&str, Value)]) -> Result<Json, Error> {
        let Json::Object(fields) = definition else {
            panic!("no object")
        };
        let fields = fields
            .into_iter()
            .map(|(name, value)| (name, Value::Text(value.as_str().unwrap().to_owned())))
            .collect();
        let options = options
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect();
        let reference = (!reference.is_empty()).then(|| Value::Text(reference.to_owned()));
        BODY.request(
            Scope::Class,
            &[],
            &[Some(Value::Object(fields)), reference],
            Some(&Value::Object(options)),
        )
        .map(|request| serde_json::to_value(request.body).unwrap())
    }

    #[test]
    fn a_body_has_the_name_the_tag_and_the_size() {
        let options = [
            ("memoryMb", Value::Number(1024.0)),
            ("internetAccess", Value::Bool(false)),
            ("diskMb", Value::Number(4096.0)),
            ("skipCache", Value::Bool(true)),
        ];
        assert_eq!(
            made(
                json!({ "base_image": "ubuntu:22.04" }),
                "team/app:stable",
                &options
            ),
            Ok(json!({
                "base_image": "ubuntu:22.04",
                "name": "team/app",
                "tags": ["stable"],
                "build_config": { "vcpus": 2, "memory_mib": 1024, "internet_access": false, "disk_mb": 4096 },
                "skip_cache": true,
            }))
        );
        assert_eq!(
            made(json!({}), "", &[]),
            Ok(json!({ "build_config": { "vcpus": 2, "memory_mib": 512 } }))
        );
    }

    #[test]
    fn names_that_mean_something_else_are_refused() {
        for bad in [
            "tmpl_1",
            "app:tb_1",
            "nullspace/base:latest",
            "app:",
            ":stable",
            "team/",
            "team/:x",
        ] {
            let error = made(json!({}), bad, &[]).unwrap_err();
            assert!(
                error.message.starts_with("option `ref` must"),
                "{}",
                error.message
            );
        }
        let tags = Value::List(vec![Value::Text("a".to_owned())]);
        let both = made(json!({}), "app:b", &[("tags", tags.clone())]).unwrap_err();
        assert!(both.message.contains("`ref` has the tag 'b'"), "{}", both.message);
        assert_eq!(
            made(json!({}), "app", &[("tags", tags)]).unwrap()["tags"],
            json!(["a"])
        );
        let none = made(json!({}), "app", &[("tags", Value::List(Vec::new()))]).unwrap_err();
        assert!(none.message.contains("must not be empty"), "{}", none.message);
    }

    #[test]
    fn what_is_for_dockerfiles_is_refused_elsewhere_and_the_other_way_round() {
        let native = [("buildBackend", Value::Text("native".to_owned()))];
        let target = [("buildTarget", Value::Text("final".to_owned()))];
        let docker = json!({ "dockerfile": "FROM x" });
        assert!(made(docker.clone(), "app", &native).is_err());
        assert!(made(json!({}), "app", &target).is_err());
        assert_eq!(
            made(docker, "app", &target).unwrap()["build_target"],
            json!("final")
        );
    }
}
