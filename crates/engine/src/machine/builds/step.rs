//! One step of a build: what it does in a machine, as data.

use nullspace_wire::template::{CopyItem, StepMode, TemplateStep};
use serde::Serialize;

use super::secrets::is_id;
use crate::machine::commands::git::remote_url;
use crate::machine::commands::shells::is_user;
use crate::machine::files::permission_bits;
use crate::machine::ground::{Error, Result};

/// Where secrets of a step are unless it says otherwise. Memory of the machine, and in no layer.
pub const SECRETS: &str = "/run/secrets";

/// A step.
#[derive(Debug, Clone)]
pub struct Step {
    /// For the log.
    pub shown: String,
    /// What it does.
    pub action: Action,
}

/// What a step does. As JSON it is part of the key that its layer is kept under.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub enum Action {
    /// Runs a program.
    Run(Run),
    /// Puts files of the context in place.
    Copy(Vec<Copy>),
    /// Puts files of another stage or of an image in place.
    CopyFrom(CopyFrom),
    /// Writes files: absolute paths and contents.
    Write {
        /// The files.
        files: Vec<(String, String)>,
        /// Owner; root if none.
        owner: Option<String>,
        /// Permission bits.
        mode: Option<u32>,
    },
    /// Makes a directory, if it is missing.
    MakeDirectory {
        /// Absolute.
        path: String,
        /// Owner of what is made; root if none.
        owner: Option<String>,
    },
    /// Where the steps after it run; made if it is missing.
    Workdir(String),
    /// Who runs the steps after it.
    User(String),
    /// Take nothing from the cache from here on.
    SkipCache,
}

/// A program.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Run {
    /// It and its arguments.
    pub argv: Vec<String>,
    /// Who runs it.
    pub user: Who,
    /// Secrets that it asks for.
    pub secrets: Vec<SecretMount>,
    /// Whether it may reach what the build may.
    pub has_network: bool,
}

/// Who runs a program.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub enum Who {
    /// The user of the step before.
    Current,
    /// What only root can do, such as to install packages.
    Root,
    /// This one.
    Named(String),
}

/// Files that are put in place.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Copy {
    /// Paths of the context.
    pub sources: Vec<String>,
    /// Where to; `/` at the end = into this directory.
    pub dst: String,
    /// Owner; root if none.
    pub owner: Option<String>,
    /// Permission bits of files.
    pub mode: Option<u32>,
}

/// Files of a stage or of an image that are put in place.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct CopyFrom {
    /// What they are of: the key of its last step.
    pub key: String,
    /// Absolute paths and patterns. Of a directory its content is copied.
    pub sources: Vec<String>,
    /// Absolute; `/` at the end = into this directory.
    pub dst: String,
    /// Owner; that of each file if none.
    pub owner: Option<String>,
    /// Permission bits of files; those of each if none.
    pub mode: Option<u32>,
    /// Its layers, which the key stands for.
    #[serde(skip)]
    pub layers: Vec<String>,
    /// Whether they are a whole root file system.
    #[serde(skip)]
    pub whole_root: bool,
}

/// A secret that a program asks for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SecretMount {
    /// Which.
    pub id: String,
    /// Path of its file; `None` = below [`SECRETS`], if `env` does not say otherwise.
    pub target: Option<String>,
    /// Variable that holds it.
    pub env: Option<String>,
    /// Whether it must be there.
    pub required: bool,
    /// Permission bits of its file, if not 0400.
    pub mode: Option<u32>,
    /// Owner of its file, if not who runs the program.
    pub owner: Option<String>,
}

impl Step {
    /// Secrets that it asks for.
    pub fn secrets(&self) -> &[SecretMount] {
        match &self.action {
            Action::Run(run) => &run.secrets,
            _ => &[],
        }
    }
}

/// Checks a user: a name or a number.
pub fn check_user(field: &str, user: &str) -> Result<()> {
    let is_number = !user.is_empty() && user.len() <= 5 && user.bytes().all(|b| b.is_ascii_digit());
    if is_number || is_user(user) {
        return Ok(());
    }
    Err(Error::invalid(
        field,
        format_args!("is {user:?}: give the name of a user such as \"app\""),
    ))
}

fn text<'a>(field: &str, value: &'a str, good: &str) -> Result<&'a str> {
    if value.trim().is_empty() || value.contains('\0') {
        return Err(Error::invalid(
            field,
            format_args!("is {value:?}: give one such as {good:?}"),
        ));
    }
    Ok(value)
}

fn mode(field: &str, mode: Option<&StepMode>) -> Result<Option<u32>> {
    match mode {
        None => Ok(None),
        Some(StepMode::Text(text)) => permission_bits(field, text).map(Some),
        Some(StepMode::Number(bits)) if *bits <= 0o7777 => Ok(Some(*bits)),
        Some(StepMode::Number(bits)) => Err(Error::invalid(
            field,
            format_args!("is {bits}: give octal digits such as \"0644\""),
        )),
    }
}

fn packages(field: &str, packages: &[String], good: &str) -> Result<Vec<String>> {
    if packages.is_empty() {
        return Err(Error::invalid(
            field,
            format_args!("is empty: give some such as [{good:?}]"),
        ));
    }
    for package in packages {
        if package.starts_with('-') {
            return Err(Error::invalid(
                field,
                format_args!("has {package:?}, which is an option: give names such as {good:?}, and options in a `run` step"),
            ));
        }
        text(field, package, good)?;
    }
    Ok(packages.to_vec())
}

fn copy(field: &str, item: &CopyItem) -> Result<Copy> {
    if item.sources.is_empty() {
        return Err(Error::invalid(
            &format!("{field}.sources"),
            "is empty: name paths of `build_context.files`",
        ));
    }
    text(&format!("{field}.dst"), &item.dst, "/workspace/app.py")?;
    if let Some(user) = &item.user {
        check_user(&format!("{field}.user"), user)?;
    }
    Ok(Copy {
        sources: item.sources.clone(),
        dst: item.dst.clone(),
        owner: item.user.clone(),
        mode: mode(&format!("{field}.mode"), item.mode.as_ref())?,
    })
}

fn run(user: Who, argv: impl IntoIterator<Item = String>) -> Action {
    Action::Run(Run {
        argv: argv.into_iter().collect(),
        user,
        secrets: Vec::new(),
        has_network: true,
    })
}

/// A script that gets the words as `$@`.
fn script(user: Who, text: &str, words: Vec<String>) -> Action {
    let head = ["/bin/sh", "-c", text, "sh"].map(str::to_owned);
    run(user, head.into_iter().chain(words))
}

const APT: &str = "export DEBIAN_FRONTEND=noninteractive\n\
     apt-get update && apt-get install -y \"$@\" && rm -rf /var/lib/apt/lists/*";
/// An image of Python may have no `pip` of its own name.
const PIP: &str = "if command -v pip >/dev/null; then exec pip install --no-cache-dir \"$@\"; fi\n\
     exec python3 -m pip install --no-cache-dir \"$@\"";

/// Checks a step and says what it does.
pub fn plan(step: &TemplateStep, place: usize) -> Result<Step> {
    let field = |name: &str| format!("steps[{place}].{name}");
    let flag = |flag: Option<bool>| flag.unwrap_or(false);
    let (shown, action) = match step {
        TemplateStep::AptInstall { packages: names } => {
            let names = packages(&field("packages"), names, "curl")?;
            (
                format!("apt install {}", names.join(" ")),
                script(Who::Root, APT, names),
            )
        }
        TemplateStep::PipInstall { packages: names, g } => {
            let names = packages(&field("packages"), names, "requests")?;
            let shown = format!("pip install {}", names.join(" "));
            match g {
                Some(false) => {
                    let words = ["--user".to_owned()].into_iter().chain(names).collect();
                    (shown, script(Who::Current, PIP, words))
                }
                _ => (shown, script(Who::Root, PIP, names)),
            }
        }
        TemplateStep::NpmInstall { packages: names, g } => {
            let names = packages(&field("packages"), names, "zod")?;
            let shown = format!("npm install {}", names.join(" "));
            let (user, head) = match flag(*g) {
                true => (Who::Root, vec!["npm", "install", "-g"]),
                false => (Who::Current, vec!["npm", "install"]),
            };
            (shown, run(user, head.into_iter().map(str::to_owned).chain(names)))
        }
        TemplateStep::BunInstall { packages: names, g } => {
            let names = packages(&field("packages"), names, "zod")?;
            let shown = format!("bun add {}", names.join(" "));
            let (user, head) = match flag(*g) {
                true => (Who::Root, vec!["bun", "add", "--global"]),
                false => (Who::Current, vec!["bun", "add"]),
            };
            (shown, run(user, head.into_iter().map(str::to_owned).chain(names)))
        }
        TemplateStep::Run { command, user } => {
            let (secrets, rest) = mounts(&field("command"), command)?;
            text(&field("command"), rest, "npm ci")?;
            let user = match user {
                Some(user) => {
                    check_user(&field("user"), user)?;
                    Who::Named(user.clone())
                }
                None => Who::Current,
            };
            let argv = ["/bin/sh", "-c", rest].map(str::to_owned).to_vec();
            (
                format!("run {command}"),
                Action::Run(Run {
                    argv,
                    user,
                    secrets,
                    has_network: true,
                }),
            )
        }
        TemplateStep::Copy(item) => (
            format!("copy {} {}", item.sources.join(" "), item.dst),
            Action::Copy(vec![copy(&format!("steps[{place}]"), item)?]),
        ),
        TemplateStep::CopyItems { items } => {
            if items.is_empty() {
                return Err(Error::invalid(&field("items"), "is empty: give at least one"));
            }
            let copies = items
                .iter()
                .enumerate()
                .map(|(at, item)| copy(&format!("steps[{place}].items[{at}]"), item));
            (
                format!("copy {} items", items.len()),
                Action::Copy(copies.collect::<Result<_>>()?),
            )
        }
        TemplateStep::GitClone {
            url,
            path,
            branch,
            depth,
        } => {
            text(&field("url"), url, "https://example.com/team/app.git")?;
            let path = path.as_deref().unwrap_or("/workspace");
            let mut argv = vec!["git".to_owned(), "clone".to_owned()];
            if let Some(branch) = branch {
                text(&field("branch"), branch, "main")?;
                argv.push(format!("--branch={branch}"));
            }
            if let Some(depth) = depth {
                if *depth == 0 {
                    return Err(Error::invalid(&field("depth"), "is 0: give 1 or more"));
                }
                argv.push(format!("--depth={depth}"));
            }
            if remote_url(url).is_err() {
                return Err(Error::invalid(
                    &field("url"),
                    "begins with a dash or holds a password, which the template and its log would keep: use a `run` step with a secret",
                ));
            }
            argv.extend([
                "--".to_owned(),
                url.clone(),
                text(&field("path"), path, "/workspace/app")?.to_owned(),
            ]);
            (format!("git clone {url} {path}"), run(Who::Current, argv))
        }
        TemplateStep::Workdir { path } => {
            text(&field("path"), path, "/workspace/app")?;
            (format!("workdir {path}"), Action::Workdir(path.clone()))
        }
        TemplateStep::User { user } => {
            check_user(&field("user"), user)?;
            (format!("user {user}"), Action::User(user.clone()))
        }
        TemplateStep::Remove {
            path,
            recursive,
            force,
        } => {
            text(&field("path"), path, "/tmp/cache")?;
            let flags = format!(
                "-{}{}",
                if flag(*recursive) { "r" } else { "" },
                if flag(*force) { "f" } else { "" }
            );
            let argv = ["rm", &flags, "--", path].into_iter().filter(|word| *word != "-");
            (
                format!("remove {path}"),
                run(Who::Current, argv.map(str::to_owned)),
            )
        }
        TemplateStep::Rename { src, dst, force } => {
            text(&field("src"), src, "/workspace/a")?;
            text(&field("dst"), dst, "/workspace/b")?;
            // `-n` alone would leave the old one in place and call that a success.
            const CAREFUL: &str =
                "if [ -e \"$2\" ] && [ ! -d \"$2\" ]; then echo \"$2 is there already\" >&2; exit 1; fi\n\
                 exec mv -- \"$1\" \"$2\"";
            let action = match flag(*force) {
                true => run(Who::Current, ["mv", "-f", "--", src, dst].map(str::to_owned)),
                false => script(Who::Current, CAREFUL, vec![src.clone(), dst.clone()]),
            };
            (format!("rename {src} {dst}"), action)
        }
        TemplateStep::MakeDir { path, mode: bits } => {
            text(&field("path"), path, "/workspace/data")?;
            let action = match mode(&field("mode"), bits.as_ref())? {
                Some(bits) => script(
                    Who::Current,
                    "mkdir -p -- \"$1\" && chmod \"$2\" -- \"$1\"",
                    vec![path.clone(), format!("{bits:04o}")],
                ),
                None => run(Who::Current, ["mkdir", "-p", "--", path].map(str::to_owned)),
            };
            (format!("make directory {path}"), action)
        }
        TemplateStep::MakeSymlink { target, path } => {
            text(&field("target"), target, "/workspace/app")?;
            text(&field("path"), path, "/srv/app")?;
            let argv = ["ln", "-s", "--", target, path].map(str::to_owned);
            (
                format!("make symlink {path} -> {target}"),
                run(Who::Current, argv),
            )
        }
        TemplateStep::SkipCache => ("skip the cache".to_owned(), Action::SkipCache),
    };
    Ok(Step { shown, action })
}

/// Secrets that a command asks for as in a Dockerfile, `--mount=type=secret,id=token,env=TOKEN npm ci`, and the rest of it.
fn mounts<'a>(field: &str, command: &'a str) -> Result<(Vec<SecretMount>, &'a str)> {
    let mut found = Vec::new();
    let mut rest = command.trim_start();
    while let Some(options) = rest.strip_prefix("--mount=") {
        let (options, after) = options.split_once(char::is_whitespace).unwrap_or((options, ""));
        rest = after.trim_start();
        let wrong = |what: &str| {
            Error::invalid(
                field,
                format_args!(
                    "has `--mount={options}`, {what}: give one such as `--mount=type=secret,id=token npm ci`"
                ),
            )
        };
        let mut mount = SecretMount {
            id: String::new(),
            target: None,
            env: None,
            required: true,
            mode: None,
            owner: None,
        };
        let mut is_secret = false;
        for option in options.split(',') {
            match option.split_once('=').unwrap_or((option, "true")) {
                ("type", "secret") => is_secret = true,
                ("id", id) if is_id(id) => mount.id = id.to_owned(),
                ("target" | "dst" | "destination", path) if path.starts_with('/') => {
                    mount.target = Some(path.to_owned())
                }
                ("env", name) if !name.is_empty() => mount.env = Some(name.to_owned()),
                ("required", value @ ("true" | "false")) => mount.required = value == "true",
                _ => return Err(wrong(&format!("of which `{option}` is not understood"))),
            }
        }
        if !is_secret || mount.id.is_empty() {
            return Err(wrong("which is no secret with an id"));
        }
        found.push(mount);
    }
    Ok((found, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn planned(step: serde_json::Value) -> Result<Step> {
        plan(&serde_json::from_value(step).unwrap(), 3)
    }

    fn argv(step: serde_json::Value) -> Vec<String> {
        match planned(step).unwrap().action {
            Action::Run(run) => run.argv,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn words_of_a_step_are_no_shell_text() {
        let argv = argv(json!({ "action": "pip_install", "packages": ["a; rm -rf /"] }));
        assert_eq!(argv.last().unwrap(), "a; rm -rf /");
        assert!(!argv[2].contains("rm -rf"));
    }

    #[test]
    fn steps_become_the_commands_of_the_protocol() {
        for (step, words) in [
            (
                json!({ "action": "npm_install", "packages": ["zod"], "g": true }),
                "npm install -g zod",
            ),
            (
                json!({ "action": "bun_install", "packages": ["zod"] }),
                "bun add zod",
            ),
            (
                json!({ "action": "remove", "path": "/a", "recursive": true, "force": true }),
                "rm -rf -- /a",
            ),
            (
                json!({ "action": "remove", "path": "/a", "recursive": false, "force": false }),
                "rm -- /a",
            ),
            (
                json!({ "action": "rename", "src": "a", "dst": "b", "force": true }),
                "mv -f -- a b",
            ),
            (
                json!({ "action": "make_symlink", "target": "/t", "path": "/p" }),
                "ln -s -- /t /p",
            ),
            (
                json!({ "action": "git_clone", "url": "https://e.com/a.git", "branch": "main", "depth": 1 }),
                "git clone --branch=main --depth=1 -- https://e.com/a.git /workspace",
            ),
        ] {
            assert_eq!(argv(step).join(" "), words);
        }
    }

    #[test]
    fn a_wrong_step_is_named() {
        for (step, part) in [
            (
                json!({ "action": "apt_install", "packages": [] }),
                "`steps[3].packages` is empty",
            ),
            (
                json!({ "action": "apt_install", "packages": ["--reinstall"] }),
                "is an option",
            ),
            (json!({ "action": "run", "command": "  " }), "`steps[3].command`"),
            (
                json!({ "action": "copy", "sources": ["a"], "dst": "/b", "mode": "9" }),
                "`steps[3].mode`",
            ),
            (json!({ "action": "user", "user": "a b" }), "`steps[3].user`"),
            (
                json!({ "action": "git_clone", "url": "https://u:p@e.com/a.git" }),
                "holds a password",
            ),
            (
                json!({ "action": "run", "command": "--mount=type=cache,target=/x make" }),
                "not understood",
            ),
        ] {
            let message = planned(step).unwrap_err().message;
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn a_command_asks_for_secrets_as_in_a_dockerfile() {
        let step = planned(json!({
            "action": "run",
            "command": "--mount=type=secret,id=a --mount=type=secret,id=b,env=B,required=false npm ci"
        }))
        .unwrap();
        let Action::Run(run) = &step.action else { panic!() };
        assert_eq!(run.argv[2], "npm ci");
        assert_eq!((run.secrets[0].id.as_str(), run.secrets[0].required), ("a", true));
        assert_eq!(
            (run.secrets[1].env.as_deref(), run.secrets[1].required),
            (Some("B"), false)
        );
    }
}
