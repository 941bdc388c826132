//! Git in a machine. Source: PROTOCOL.md section 7.

use std::time::Duration;

use serde_json::{json, Value as Json};

use super::call::{Failure, Outcome};
use super::machine::Machine;
use super::single::{Planned, Single};
use crate::core::error::{Error, Kind};
use crate::core::git::{self, Given};
use crate::core::http;
use crate::core::options::{self, Value};
use crate::transport::{Answer, Decoder, Transport};

/// HTTP time of what talks to a remote.
const REMOTE_TIMEOUT: Duration = Duration::from_secs(620);
/// Where git keeps credentials that were asked to stay, in the home of the machine's root.
const CREDENTIALS: &str = ".git-credentials";
/// Directory of keys, there.
const SSH: &str = ".ssh";
/// Exit code of an error that is not git's own. Source: PROTOCOL.md section 7.
const NO_EXIT_CODE: i64 = 128;

/// A path in the home of the machine's root. Put together at run time: the package is searched for the home of whoever built
/// it, which may be the same text.
fn at_home(name: &str) -> String {
    format!("/{}/{name}", std::hint::black_box("root"))
}

/// The SDK's error for whatever an operation failed with.
fn git_error(mut error: Error) -> Error {
    // What never reached the API is told as it is.
    if error.status.is_none() {
        return error;
    }
    let said = error.details.take().unwrap_or_default();
    let code = said["exit_code"].as_i64().unwrap_or(NO_EXIT_CODE);
    let stderr = said["stderr"]
        .as_str()
        .map_or_else(|| error.message.clone(), str::to_owned);
    error.kind = Kind::Git;
    error.code = "git_error".to_owned();
    error.details = Some(json!({ "exitCode": code, "stderr": stderr }));
    error
}

impl<T: Transport> Machine<T> {
    fn git(
        &self,
        operation: &'static str,
        method: &'static str,
        verb: &str,
        given: Given<'_>,
        decoder: Decoder,
    ) -> Single<T> {
        let mut under = format!("/git/{verb}");
        let body = Json::Object(given.body);
        if method == "GET" {
            let mut query = Vec::new();
            for name in ["path", "limit"] {
                match &body[name] {
                    Json::Null => {}
                    Json::String(text) => query.push((name, text.clone())),
                    other => query.push((name, other.to_string())),
                }
            }
            under = http::with_query(&under, &query);
        }
        let mut call = self.on(operation, method, &under, decoder, given.request_timeout);
        if ["clone", "pull", "push"].contains(&verb)
            && given.request_timeout.is_none()
            && !self.client.has_timeout()
        {
            call.timeout = call.timeout.max(REMOTE_TIMEOUT);
        }
        call.body = (method != "GET").then(|| body.to_string());
        call.proof = self.proof.clone();
        self.single(call).failed(git_error)
    }

    /// Clones: where it went.
    pub fn git_clone(&self, url: &Value, options: Option<&Value>) -> Planned<T> {
        let url = git::url(url)?;
        let mut given = Given::read(options, &["branch", "depth", "auth"])?;
        given.text("branch", "branch")?.count("depth", "depth")?.auth()?;
        given.put("url", url);
        Ok(self.git("gitClone", "POST", "clone", given, Decoder::GitCloneResponse))
    }

    /// What has changed.
    pub fn git_status(&self, options: Option<&Value>) -> Planned<T> {
        let given = Given::read(options, &[])?;
        Ok(self.git("gitStatus", "GET", "status", given, Decoder::GitStatus))
    }

    /// Commits.
    pub fn git_log(&self, options: Option<&Value>) -> Planned<T> {
        let mut given = Given::read(options, &["limit"])?;
        given.count("limit", "limit")?;
        let call = self.git("gitLog", "GET", "log", given, Decoder::GitLog);
        Ok(call.field("commits"))
    }

    /// Local branches.
    pub fn git_branches(&self, options: Option<&Value>) -> Planned<T> {
        let given = Given::read(options, &[])?;
        Ok(self.git("gitBranches", "GET", "branch", given, Decoder::GitBranchList))
    }

    /// Makes or deletes a branch: `action`.
    pub fn git_branch(&self, action: &str, name: &Value, options: Option<&Value>) -> Planned<T> {
        let name = options::filled("name", name)?.to_owned();
        let mut given = Given::read(options, if action == "delete" { &["force"] } else { &[] })?;
        given.flag("force", "force")?;
        given.put("name", name);
        given.put("action", action);
        Ok(self.git("gitBranch", "POST", "branch", given, Decoder::Nothing))
    }

    /// Changes to a branch, tag or commit.
    pub fn git_checkout(&self, reference: &Value, options: Option<&Value>) -> Planned<T> {
        let reference = options::filled("ref", reference)?.to_owned();
        let mut given = Given::read(options, &["create"])?;
        given.put("create", false);
        given.flag("create", "create")?;
        given.put("ref", reference);
        Ok(self.git("gitCheckout", "POST", "checkout", given, Decoder::Nothing))
    }

    /// Adds files; everything when none are named.
    pub fn git_add(&self, options: Option<&Value>) -> Planned<T> {
        let mut given = Given::read(options, &["files"])?;
        if !given.files()? {
            given.put("files", Vec::<String>::new());
        }
        Ok(self.git("gitAdd", "POST", "add", given, Decoder::Nothing))
    }

    /// Commits what is named, else everything.
    pub fn git_commit(&self, message: &Value, options: Option<&Value>) -> Planned<T> {
        let message = options::filled("message", message)?.to_owned();
        let mut given = Given::read(options, &["files", "author"])?;
        let named = given.files()?;
        given.author()?;
        given.put("add_all", !named);
        given.put("message", message);
        Ok(self
            .git("gitCommit", "POST", "commit", given, Decoder::GitCommitResponse)
            .field("sha"))
    }

    /// Pulls or pushes: what git said.
    pub fn git_sync(&self, verb: &str, options: Option<&Value>) -> Planned<T> {
        let more: &[&str] = match verb {
            "push" => &["remote", "branch", "auth", "setUpstream"],
            _ => &["remote", "branch", "auth"],
        };
        let mut given = Given::read(options, more)?;
        given.put("remote", "origin");
        given.text("remote", "remote")?.text("branch", "branch")?.auth()?;
        if verb == "push" {
            given.put("set_upstream", false);
            given.flag("setUpstream", "set_upstream")?;
        }
        let operation = if verb == "push" { "gitPush" } else { "gitPull" };
        let call = self.git(operation, "POST", verb, given, Decoder::GitSyncResponse);
        Ok(call.field("summary"))
    }

    /// Runs git through the machine's commands: what it printed.
    async fn git_run(
        &self,
        args: &[&str],
        path: Option<&str>,
        timeout: Option<Duration>,
    ) -> Outcome<T, String> {
        let mut body = json!({ "command": "git", "args": args, "timeout_secs": 60, "background": false });
        if let Some(path) = path {
            body["cwd"] = json!(path);
        }
        let done = self
            .exec(body.to_string(), timeout, Duration::from_secs(70))
            .send()
            .await?;
        let code = done.number("exitCode").unwrap_or_default() as i64;
        if code == 0 {
            return Ok(done.text("stdout").unwrap_or_default());
        }
        let stderr = done.text("stderr").unwrap_or_default();
        let what = format!("git {} failed with exit code {code}: {}", args[0], stderr.trim());
        let mut error = Error::new(Kind::Git, "git_error", what);
        error.details = Some(json!({ "exitCode": code, "stderr": stderr }));
        Err(error.into())
    }

    /// What is not added yet, as a patch.
    pub async fn git_diff(&self, options: Option<&Value>) -> Outcome<T, String> {
        let given = Given::read(options, &[])?;
        let path = given.body["path"].as_str();
        self.git_run(&["diff"], path, given.request_timeout).await
    }

    /// Names a remote.
    pub async fn git_remote_add(&self, name: &Value, url: &Value, options: Option<&Value>) -> Outcome<T, ()> {
        let (name, url) = (options::filled("name", name)?, git::url(url)?);
        let mut given = Given::read(options, &["fetch", "overwrite"])?;
        given.flag("fetch", "fetch")?.flag("overwrite", "overwrite")?;
        let path = given.body["path"].as_str();
        let is = |name: &str| given.body.get(name) == Some(&json!(true));
        if is("overwrite") {
            match self
                .git_run(&["remote", "remove", "--", name], path, given.request_timeout)
                .await
            {
                // There was none to overwrite.
                Ok(_) | Err(Failure::Error(_)) => {}
                Err(thrown) => return Err(thrown),
            }
        }
        let args: &[&str] = match is("fetch") {
            true => &["remote", "add", "-f", "--", name, &url],
            false => &["remote", "add", "--", name, &url],
        };
        self.git_run(args, path, given.request_timeout).await.map(drop)
    }

    /// Keeps a setting.
    pub async fn git_set_config(
        &self,
        key: &Value,
        value: &Value,
        options: Option<&Value>,
    ) -> Outcome<T, ()> {
        let (key, value) = (
            options::filled("key", key)?,
            crate::core::files::text("value", value, true)?,
        );
        let scope = git::scope(options)?;
        let args = ["config", scope.flag, "--", key, &value];
        self.git_run(&args, scope.path.as_deref(), scope.request_timeout)
            .await
            .map(drop)
    }

    /// A setting.
    pub async fn git_get_config(&self, key: &Value, options: Option<&Value>) -> Outcome<T, String> {
        let key = options::filled("key", key)?;
        let scope = git::scope(options)?;
        let args = ["config", scope.flag, "--get", "--", key];
        let value = self
            .git_run(&args, scope.path.as_deref(), scope.request_timeout)
            .await?;
        Ok(value.trim().to_owned())
    }

    /// Keeps credentials in the machine, for every later operation there.
    pub async fn git_store_credentials(&self, options: Option<&Value>) -> Outcome<T, ()> {
        let fields =
            crate::core::config::call_fields(options, &["username", "password", "host", "protocol"])?;
        let needed = |name: &str| {
            fields
                .filled(name)?
                .ok_or_else(|| fields.wrong(name, "is missing: give { username, password }"))
        };
        let line = git::credential_line(
            fields.choice("protocol", &["https", "http"])?.unwrap_or("https"),
            needed("username")?,
            needed("password")?,
            fields.filled("host")?.unwrap_or("github.com"),
        );
        let timeout = fields.seconds("requestTimeout")?;
        let file = at_home(CREDENTIALS);
        let helper = format!("store --file {file}");
        self.git_run(
            &["config", "--global", "credential.helper", &helper],
            None,
            timeout,
        )
        .await?;
        self.append_secret(&file, &line).await
    }

    /// Keeps a private key in the machine, for every later operation there.
    pub async fn git_add_ssh_key(&self, key: &Value, options: Option<&Value>) -> Outcome<T, ()> {
        crate::core::config::call_fields(options, &[])?;
        let key = options::filled("privateKey", key)?;
        let home = at_home(SSH);
        let directory = Value::Text(home.clone());
        self.at_path("makeDirectory", "mkdir", &directory, None)?
            .send()
            .await?;
        self.set_file_permissions(&directory, &Value::Text("0700".to_owned()), None)?
            .send()
            .await?;
        let text = format!("{}\n", key.trim_end());
        self.keep_secret(&format!("{home}/id_rsa"), &text).await?;
        self.keep_secret(
            &format!("{home}/config"),
            "Host *\n  StrictHostKeyChecking accept-new\n",
        )
        .await
    }

    async fn append_secret(&self, path: &str, line: &str) -> Outcome<T, ()> {
        let at = Value::Text(path.to_owned());
        let mut text = String::new();
        if self.is_there(&at).await? {
            let before = self.read_small(&at).await?;
            text.push_str(&before);
        }
        text.push_str(line);
        self.keep_secret(path, &text).await
    }

    /// Writes a file that only root reads.
    async fn keep_secret(&self, path: &str, text: &str) -> Outcome<T, ()> {
        let path = Value::Text(path.to_owned());
        // Empty first: it must not be readable for a moment.
        self.write_text(&path, "", None)?.send().await?;
        self.set_file_permissions(&path, &Value::Text("0600".to_owned()), None)?
            .send()
            .await?;
        self.write_text(&path, text, None)?.send().await.map(drop)
    }
}
