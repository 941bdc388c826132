//! Git in a machine. Source: PROTOCOL.md section 7.

use std::time::Duration;

use super::call::{Failure, Outcome};
use super::machine::Machine;
use crate::core::config;
use crate::core::error::{Error, Kind};
use crate::core::git::{self, DEFAULT_PATH};
use crate::core::options::{self, Value};
use crate::core::value::json;
use crate::surface::{files, kinds, Operation};
use crate::transport::{Answer, Transport};

/// Where git keeps credentials that were asked to stay, in the home of the machine's root.
const CREDENTIALS: &str = ".git-credentials";
/// Directory of keys, there.
const SSH: &str = ".ssh";

/// A path in the home of the machine's root. Put together at run time: the package is searched for the home of whoever built
/// it, which may be the same text.
fn at_home(name: &str) -> String {
    format!("/{}/{name}", std::hint::black_box("root"))
}

impl<T: Transport> Machine<T> {
    /// Runs git through the machine's commands: what it printed.
    async fn git_run(
        &self,
        args: &[&str],
        path: Option<&str>,
        timeout: Option<Duration>,
    ) -> Outcome<T, String> {
        let mut body = json!({ "command": "git", "args": args, "timeout_secs": 60, "background": false });
        if let Some(path) = path {
            body.put("cwd", path.into());
        }
        let done = self
            .exec(body.to_json(), timeout, Duration::from_secs(70))
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
        let fields = config::call_fields(options, &["path"])?;
        let path = fields.filled("path")?.unwrap_or(DEFAULT_PATH);
        self.git_run(&["diff"], Some(path), fields.seconds("requestTimeout")?)
            .await
    }

    /// Names a remote.
    pub async fn git_remote_add(&self, name: &Value, url: &Value, options: Option<&Value>) -> Outcome<T, ()> {
        let (name, url) = (options::filled("name", name)?, git::url(url)?);
        let fields = config::call_fields(options, &["fetch", "overwrite", "path"])?;
        let path = Some(fields.filled("path")?.unwrap_or(DEFAULT_PATH));
        let (fetch, overwrite) = (fields.flag("fetch")?, fields.flag("overwrite")?);
        let timeout = fields.seconds("requestTimeout")?;
        if overwrite == Some(true) {
            match self
                .git_run(&["remote", "remove", "--", name], path, timeout)
                .await
            {
                // There was none to overwrite.
                Ok(_) | Err(Failure::Error(_)) => {}
                Err(thrown) => return Err(thrown),
            }
        }
        let args: &[&str] = match fetch {
            Some(true) => &["remote", "add", "-f", "--", name, &url],
            _ => &["remote", "add", "--", name, &url],
        };
        self.git_run(args, path, timeout).await.map(drop)
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
            kinds::any_text("value", value)?
                .as_str()
                .unwrap_or_default()
                .to_owned(),
        );
        let scope = git::scope(options)?;
        let args = ["config", scope.flag, "--", key, &value];
        self.git_run(&args, scope.path.as_deref(), scope.request_timeout)
            .await
            .map(drop)
    }

    /// Name and address of who commits.
    pub async fn git_configure_user(
        &self,
        name: &Value,
        email: &Value,
        options: Option<&Value>,
    ) -> Outcome<T, ()> {
        for (key, value) in [("user.name", name), ("user.email", email)] {
            self.git_set_config(&Value::Text(key.to_owned()), value, options)
                .await?;
        }
        Ok(())
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
        let fields = config::call_fields(options, &["username", "password", "host", "protocol"])?;
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
        config::call_fields(options, &[])?;
        let key = options::filled("privateKey", key)?;
        let home = at_home(SSH);
        let directory = Value::Text(home.clone());
        self.on_file(&files::MKDIR, &[&directory]).await?;
        self.on_file(
            &files::SET_PERMISSIONS,
            &[&directory, &Value::Text("0700".to_owned())],
        )
        .await?;
        let text = format!("{}\n", key.trim_end());
        self.keep_secret(&format!("{home}/id_rsa"), &text).await?;
        self.keep_secret(
            &format!("{home}/config"),
            "Host *\n  StrictHostKeyChecking accept-new\n",
        )
        .await
    }

    /// Adds a line to a file that only root may read.
    async fn append_secret(&self, path: &str, line: &str) -> Outcome<T, ()> {
        let at = Value::Text(path.to_owned());
        let mut text = String::new();
        let found = self.on_file(&files::EXISTENCE, &[&at]).await?;
        if found.flag("exists") == Some(true) {
            let before = self.on_file(&files::READ_SMALL, &[&at]).await?;
            text.push_str(&before.text("content").unwrap_or_default());
        }
        text.push_str(line);
        self.keep_secret(path, &text).await
    }

    /// Writes a file that only root may read.
    async fn keep_secret(&self, path: &str, text: &str) -> Outcome<T, ()> {
        let path = Value::Text(path.to_owned());
        let write = |text: &str| Value::Text(text.to_owned());
        // Empty first: it must not be readable for a moment.
        self.on_file(&files::WRITE_TEXT, &[&path, &write("")]).await?;
        self.on_file(&files::SET_PERMISSIONS, &[&path, &write("0600")])
            .await?;
        self.on_file(&files::WRITE_TEXT, &[&path, &write(text)])
            .await
            .map(drop)
    }

    async fn on_file(&self, operation: &'static Operation, args: &[&Value]) -> Outcome<T, T::Answer> {
        let args: Vec<Option<Value>> = args.iter().map(|value| Some((*value).clone())).collect();
        self.plan(operation, &args, None)?.send().await
    }
}
