//! Git in a machine. Source: PROTOCOL.md section 7.

use std::time::Duration;

use super::call::{Failure, Outcome};
use super::machine::Machine;
use crate::core::error::{Error, Kind};
use crate::core::git::{Gives, Step, Steps};
use crate::core::value::{json, Value};
use crate::surface::{files, Operation};
use crate::transport::{Answer, Transport};

/// HTTP time of a command, which has a minute.
const COMMAND_TIME: Duration = Duration::from_secs(70);

impl<T: Transport> Machine<T> {
    /// Takes the steps; gives what the last command of git printed, if the caller wants it.
    pub async fn git(&self, steps: Steps) -> Outcome<T, Option<String>> {
        let mut printed = String::new();
        for step in &steps.steps {
            match step {
                Step::Git(arguments) => printed = self.git_command(arguments, &steps).await?,
                Step::Try(arguments) => match self.git_command(arguments, &steps).await {
                    Ok(_) | Err(Failure::Error(_)) => {}
                    Err(thrown) => return Err(thrown),
                },
                Step::Directory(path) => {
                    self.on_file(&files::MKDIR, &[path]).await?;
                    self.on_file(&files::SET_PERMISSIONS, &[path, "0700"]).await?;
                }
                Step::Secret(path, text) => self.keep_secret(path, text).await?,
                Step::SecretLine(path, line) => {
                    let mut text = String::new();
                    if self.on_file(&files::EXISTENCE, &[path]).await?.flag("exists") == Some(true) {
                        let before = self.on_file(&files::READ_SMALL, &[path]).await?;
                        text = before.text("content").unwrap_or_default();
                    }
                    self.keep_secret(path, &(text + line)).await?;
                }
            }
        }
        Ok(match steps.gives {
            Gives::Nothing => None,
            Gives::Output => Some(printed),
            Gives::Trimmed => Some(printed.trim().to_owned()),
        })
    }

    /// Runs git through the machine's commands: what it printed.
    async fn git_command(&self, arguments: &[String], steps: &Steps) -> Outcome<T, String> {
        let mut body =
            json!({ "command": "git", "args": arguments.to_vec(), "timeout_secs": 60, "background": false });
        body.put_given("cwd", steps.path.as_deref());
        let done = self
            .exec(body.to_json(), steps.request_timeout, COMMAND_TIME)
            .send()
            .await?;
        let code = done.number("exitCode").unwrap_or_default() as i64;
        if code == 0 {
            return Ok(done.text("stdout").unwrap_or_default());
        }
        let stderr = done.text("stderr").unwrap_or_default();
        let what = format!(
            "git {} failed with exit code {code}: {}",
            arguments[0],
            stderr.trim()
        );
        let mut error = Error::new(Kind::Git, "git_error", what);
        error.details = Some(json!({ "exitCode": code, "stderr": stderr }));
        Err(error.into())
    }

    /// Writes a file that only root may read.
    async fn keep_secret(&self, path: &str, text: &str) -> Outcome<T, ()> {
        // Empty first: it must not be readable for a moment.
        for (operation, value) in [
            (&files::WRITE_TEXT, ""),
            (&files::SET_PERMISSIONS, "0600"),
            (&files::WRITE_TEXT, text),
        ] {
            self.on_file(operation, &[path, value]).await?;
        }
        Ok(())
    }

    async fn on_file(&self, operation: &'static Operation, args: &[&str]) -> Outcome<T, T::Answer> {
        let args: Vec<Option<Value>> = args.iter().map(|text| Some((*text).into())).collect();
        self.plan(operation, &args, None)?.send().await
    }
}
