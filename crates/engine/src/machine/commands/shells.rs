//! Shells and programs for who comes by SSH: they end with the connection that started them.

use std::sync::Arc;

use nullspace_wire::Envs;

use super::exec::{environment, Streamed, Wanted};
use super::output::Sink;
use super::processes::Processes;
use super::terminals::SHELL;
use crate::isolation::{ExecSpec, PtySize};
use crate::machine::ground::Result;
use crate::machine::Engine;

/// What to start.
#[derive(Debug, Clone)]
pub struct Shell {
    /// Name inside the machine, checked before by [`is_user`].
    pub user: String,
    /// What the shell runs; `None` = it reads what the person types.
    pub line: Option<String>,
    /// Beside those of the machine.
    pub envs: Envs,
    /// In a terminal of this size.
    pub pty: Option<PtySize>,
}

/// Whether a text can be the name of a user.
pub fn is_user(name: &str) -> bool {
    let mut letters = name.chars();
    letters.next().is_some_and(|c| c.is_ascii_lowercase() || c == '_')
        && name.len() <= 32
        && letters.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c))
}

impl Engine {
    /// Starts a shell whose output the caller hears from the first byte. Whoever started it ends it.
    pub async fn open_shell(self: &Arc<Self>, id: &str, shell: Shell) -> Result<Streamed> {
        let (machine, busy) = self.ready(id).await?;
        let is_root = shell.user == "root";
        let mut own = shell.envs;
        for name in ["USER", "LOGNAME"] {
            own.insert(name.into(), shell.user.clone());
        }
        // The name was checked: nothing in it means anything to the shell.
        let home = format!("HOME=~{}; export HOME; ", shell.user);
        let argv = match &shell.line {
            Some(line) => vec![
                "/bin/sh".into(),
                "-c".into(),
                format!("{home}exec /bin/sh -c \"$1\""),
                "sh".into(),
                line.clone(),
            ],
            None => vec!["/bin/sh".into(), "-c".into(), format!("{home}{SHELL}")],
        };
        let wanted = Wanted {
            text: shell.line.unwrap_or_else(|| "ssh".into()),
            spec: ExecSpec {
                argv,
                envs: environment(&machine, own),
                cwd: machine.read(|r| r.cwd.clone()),
                user: (!is_root).then_some(shell.user),
                stdin: true,
                pty: shell.pty,
            },
            timeout: None,
        };
        let (sender, output) = Processes::channel();
        let command = self
            .start_command(&machine, wanted, Sink::Nothing, Some(sender))
            .await?;
        Ok(Streamed {
            machine,
            command,
            output,
            busy,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::is_user;

    #[test]
    fn names_that_mean_something_to_a_shell_are_no_users() {
        assert!(is_user("root") && is_user("www-data") && is_user("_apt") && is_user("u1"));
        for name in [
            "",
            "1u",
            "-x",
            "a b",
            "a;b",
            "$(id)",
            "A",
            "a/b",
            "~",
            "a\n",
            &"a".repeat(33),
        ] {
            assert!(!is_user(name), "{name:?}");
        }
    }
}
