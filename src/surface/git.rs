//! Git in a machine. What the API has no operation for goes through the machine's commands: see `client::git`.
//! Source: PROTOCOL.md section 7.

use std::time::Duration;

use nullspace_wire::api;

use super::{by, count, fields, filled, flag, int, texts, Field, Inputs, Operation, Request, Time};
use crate::core::error::{Error, Kind};
use crate::core::git::{self, DEFAULT_PATH};
use crate::core::options::Value;
use crate::core::value::json;

/// HTTP time of what talks to a remote, at least.
const REMOTE: Time = Time::AtLeast(Duration::from_secs(620));
/// Exit code of an error that is not git's own. Source: PROTOCOL.md section 7.
const NO_EXIT_CODE: f64 = 128.0;

const PATH: &[Field] = fields![
    /// The repository. @default '/workspace'
    filled("path"),
];
const PATH_IN_QUERY: &[Field] = &[filled("path").in_query()];
const AUTH: &[Field] = fields![
    /// Credentials for this call. @default none
    by("auth", git::auth).typed("GitAuth"),
];
const REMOTE_BRANCH: &[Field] = fields![
    /// Name of the remote. @default 'origin'
    filled("remote"),
    /// Branch. @default the current one
    filled("branch"),
];

/// Clones: where it went.
pub static CLONE: Operation = on(Operation::on(&api::GIT_CLONE))
    .args(&[by("url", url).required()])
    .options(&[
        fields![
            /// Branch or tag. @default the remote's own
            filled("branch"),
            /// Commits of history, {range}. @default all
            int("depth", count(1)),
        ],
        AUTH,
        PATH,
    ])
    .shown(
        "GitCloneOptions",
        &["GitOptions"],
        "Options of {@link Git.clone}.",
    )
    .time(REMOTE);

/// What has changed.
pub static STATUS: Operation = read(Operation::on(&api::GIT_STATUS));

/// Commits, newest first.
pub static LOG: Operation = read(Operation::on(&api::GIT_LOG))
    .options(&[
        PATH_IN_QUERY,
        fields![
            /// Most commits, {range}. @default 50
            int("limit", count(1)).in_query(),
        ],
    ])
    .shown("GitLogOptions", &["GitOptions"], "Options of {@link Git.log}.")
    .gives("commits");

/// Local branches.
pub static BRANCHES: Operation = read(Operation::on(&api::GIT_BRANCH_LIST));

/// Makes a branch.
pub static CREATE_BRANCH: Operation = on(Operation::on(&api::GIT_BRANCH))
    .args(&[filled("name").required()])
    .rules(|given, request| {
        request.put("action", "create");
        path(given, request)
    });

/// Deletes a branch.
pub static DELETE_BRANCH: Operation = on(Operation::on(&api::GIT_BRANCH))
    .args(&[filled("name").required()])
    .options(&[
        fields![
            /// Delete what is not merged too. @default false
            flag("force"),
        ],
        PATH,
    ])
    .shown(
        "GitDeleteBranchOptions",
        &["GitOptions"],
        "Options of {@link Git.deleteBranch}.",
    )
    .rules(|given, request| {
        request.put("action", "delete");
        path(given, request)
    });

/// Changes to a branch, tag or commit.
pub static CHECKOUT: Operation = on(Operation::on(&api::GIT_CHECKOUT))
    .args(&[filled("ref").required()])
    .options(&[
        fields![
            /// Make the branch first. @default false
            flag("create"),
        ],
        PATH,
    ])
    .shown(
        "GitCheckoutOptions",
        &["GitOptions"],
        "Options of {@link Git.checkout}.",
    )
    .rules(|given, request| {
        default(given, request, "create", "create", false);
        path(given, request)
    });

/// Adds files; everything when none are named.
pub static ADD: Operation = on(Operation::on(&api::GIT_ADD))
    .options(&[
        fields![
            /// Paths in the repository. @default everything
            texts("files"),
        ],
        PATH,
    ])
    .shown("GitAddOptions", &["GitOptions"], "Options of {@link Git.add}.")
    .rules(|given, request| {
        default(given, request, "files", "files", json!([]));
        path(given, request)
    });

/// Commits what is named, else everything: the commit.
pub static COMMIT: Operation = on(Operation::on(&api::GIT_COMMIT))
    .args(&[filled("message").required()])
    .options(&[
        fields![
            /// Files to add first; `[]` commits what was added before. @default everything
            texts("files"),
            /// Author and committer. @default what git is configured to
            by("author", git::author).spread().typed("{ name: string; email: string }"),
        ],
        PATH,
    ])
    .shown(
        "GitCommitOptions",
        &["GitOptions"],
        "Options of {@link Git.commit}.",
    )
    .rules(|given, request| {
        request.put("add_all", !given.has("files"));
        path(given, request)
    })
    .gives("sha");

/// Pulls: what git said.
pub static PULL: Operation = on(Operation::on(&api::GIT_PULL))
    .options(&[REMOTE_BRANCH, AUTH, PATH])
    .shown("GitPullOptions", &["GitOptions"], "Options of {@link Git.pull}.")
    .rules(|given, request| {
        default(given, request, "remote", "remote", "origin");
        path(given, request)
    })
    .gives("summary")
    .time(REMOTE);

/// Pushes: what git said.
pub static PUSH: Operation = on(Operation::on(&api::GIT_PUSH))
    .options(&[
        REMOTE_BRANCH,
        AUTH,
        fields![
            /// Remember the remote branch. @default false
            flag("setUpstream"),
        ],
        PATH,
    ])
    .shown(
        "GitPushOptions",
        &["GitPullOptions"],
        "Options of {@link Git.push}.",
    )
    .rules(|given, request| {
        default(given, request, "remote", "remote", "origin");
        default(given, request, "setUpstream", "set_upstream", false);
        path(given, request)
    })
    .gives("summary")
    .time(REMOTE);

const fn on(operation: Operation) -> Operation {
    operation
        .options(&[PATH])
        .shown(
            "GitOptions",
            &["CallOptions"],
            "What every call on a repository takes.",
        )
        .rules(path)
        .proven()
        .failed(git_error)
}

const fn read(operation: Operation) -> Operation {
    operation
        .options(&[PATH_IN_QUERY])
        .rules(|given, request| {
            if !given.has("path") {
                request.query.insert(0, ("path".into(), DEFAULT_PATH.to_owned()));
            }
            Ok(())
        })
        .proven()
        .failed(git_error)
}

fn path(given: &Inputs<'_>, request: &mut Request) -> Result<(), Error> {
    default(given, request, "path", "path", DEFAULT_PATH);
    Ok(())
}

fn default(given: &Inputs<'_>, request: &mut Request, option: &str, field: &str, value: impl Into<Value>) {
    if !given.has(option) {
        request.put(field, value);
    }
}

fn url(_: &str, value: &Value) -> Result<Value, Error> {
    git::url(value).map(Value::from)
}

/// The SDK's error for whatever an operation failed with.
pub fn git_error(mut error: Error) -> Error {
    // What never reached the API is told as it is.
    if error.status.is_none() {
        return error;
    }
    let said = error.details.take();
    let field = |name| said.as_ref().and_then(|said| said.get(name));
    let code = field("exit_code").and_then(Value::as_f64).unwrap_or(NO_EXIT_CODE);
    let stderr = field("stderr").and_then(Value::as_str);
    let stderr = stderr.map_or_else(|| error.message.clone(), str::to_owned);
    error.kind = Kind::Git;
    error.code = "git_error".to_owned();
    error.details = Some(json!({ "exitCode": code, "stderr": stderr }));
    error
}
