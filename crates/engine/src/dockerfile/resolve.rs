//! What a stage does, once it is known what its base brings.

use std::collections::BTreeMap;

use super::read::{CommandForm, CopySource, Flags, Item, What};
use super::words::{expand, Quotes};
use super::{
    arg_words, copy_from, is_variable, pairs, Action, Built, Config, Copy, CopyFrom, Fault, Run, Scope,
    SecretMount, Stage, Step, PREDEFINED,
};

/// Where secrets are unless something else is said. Source: Dockerfile reference, "RUN --mount=type=secret".
const SECRETS: &str = "/run/secrets";

/// Runs a script that names its interpreter, as a file that is there meanwhile.
const WITH_FILE: &str =
    r#"trap 'rm -f "$0"' EXIT; umask 077; printf %s "$1" > "$0" && chmod 700 "$0" && "$0""#;

impl Stage {
    /// What is to be done on top of a base, whose configuration is given: that of its image or stage, or the default for
    /// `scratch`.
    pub fn resolve(&self, base: &Config) -> Result<Built, Fault> {
        if let Some(first) = base.run.on_build.first() {
            let message = format!("the image wants {first:?} to be run (ONBUILD), which is not supported");
            return Err(Fault::new(self.line, "FROM", message));
        }
        let mut building = Building {
            scope: &self.scope,
            config: base.clone(),
            args: BTreeMap::new(),
            has_own_cmd: false,
            steps: Vec::new(),
        };
        if building.config.run.workdir.is_empty() {
            building.config.run.workdir = "/".into();
        }
        for name in PREDEFINED {
            if let Some(value) = self.scope.args.get(name) {
                building.args.insert(name.into(), value.clone());
            }
        }
        for item in &self.items {
            building.item(item)?;
        }
        Ok(Built {
            steps: building.steps,
            config: building.config,
        })
    }
}

struct Building<'a> {
    scope: &'a Scope,
    config: Config,
    args: BTreeMap<String, String>,
    /// Whether this very stage has a `CMD`.
    has_own_cmd: bool,
    steps: Vec<Step>,
}

impl Building<'_> {
    fn expand(&self, line: usize, text: &str) -> Result<String, Fault> {
        self.expand_in(line, text, Quotes::Removed)
    }

    fn expand_in(&self, line: usize, text: &str, quotes: Quotes) -> Result<String, Fault> {
        let value_of = |name: &str| {
            let env = self.config.run.envs.get(name);
            env.or_else(|| self.args.get(name)).cloned()
        };
        expand(text, self.scope.escape, quotes, &value_of)
            .map_err(|why| Fault::new(line, text.lines().next().unwrap_or_default(), why))
    }

    fn step(&mut self, item: &Item, action: Action) {
        self.steps.push(Step {
            line: item.line,
            text: item.text.clone(),
            action,
        });
    }

    fn item(&mut self, item: &Item) -> Result<(), Fault> {
        let line = item.line;
        match &item.what {
            What::Arg(text) => self.arg(line, text)?,
            What::Env(text) => {
                // All values are those from before the instruction.
                let pairs = self.pairs(line, text)?;
                if let Some((name, _)) = pairs
                    .iter()
                    .find(|(name, _)| name.is_empty() || name.contains(['=', '\0']))
                {
                    return Err(Fault::new(line, name, "is no name of a variable"));
                }
                self.config.run.envs.extend(pairs);
            }
            What::Label(text) => {
                let pairs = self.pairs(line, text)?;
                self.config.run.labels.extend(pairs);
            }
            What::Run { flags, command } => self.run(item, flags, command)?,
            What::Copy {
                is_add,
                flags,
                sources,
                dst,
            } => self.copy(item, flags, *is_add, sources, dst)?,
            What::Workdir(text) => {
                let path = self.expand(line, text)?;
                if path.trim().is_empty() {
                    return Err(Fault::new(
                        line,
                        text,
                        "there is no path: give one such as `WORKDIR /app`",
                    ));
                }
                self.config.run.workdir = joined(&self.config.run.workdir, &path);
                let path = self.config.run.workdir.clone();
                let owner = Some(self.config.run.user.clone()).filter(|user| !user.is_empty());
                self.step(item, Action::MakeDirectory { path, owner });
            }
            What::User(text) => {
                let user = self.expand(line, text)?;
                let parts: Vec<&str> = user.split(':').collect();
                let is_part = |part: &&str| !part.is_empty() && !part.contains(char::is_whitespace);
                if parts.len() > 2 || !parts.iter().all(is_part) {
                    return Err(Fault::new(
                        line,
                        text,
                        "is no user: give `name`, `name:group` or numbers",
                    ));
                }
                self.config.run.user = user;
            }
            What::Shell(words) => self.config.run.shell.clone_from(words),
            What::Cmd(command) => {
                self.config.run.cmd = self.argv(command);
                self.config.has_own_command = true;
                self.has_own_cmd = true;
            }
            What::Entrypoint(command) => {
                self.config.run.entrypoint = self.argv(command);
                self.config.has_own_command = true;
                // Arguments for the base's program are none for this one.
                if !self.has_own_cmd {
                    self.config.run.cmd.clear();
                }
            }
            What::Expose(words) => {
                for word in words {
                    let port = self.expand(line, word)?;
                    let is_port = |text: &str| text.parse::<u16>().is_ok_and(|port| port > 0);
                    let (ports, protocol) = port.split_once('/').unwrap_or((&port, "tcp"));
                    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
                    let is_known = matches!(protocol.to_ascii_lowercase().as_str(), "tcp" | "udp" | "sctp");
                    if !is_port(first) || !is_port(last) || !is_known {
                        return Err(Fault::new(
                            line,
                            word,
                            "is no port: give one such as 8080 or 8080/tcp",
                        ));
                    }
                }
            }
            What::Volume(words) => {
                for word in words {
                    let path = self.expand(line, word)?;
                    let path = joined("/", &path);
                    self.step(item, Action::MakeDirectory { path, owner: None });
                }
            }
            What::Maintainer(name) => {
                self.config.run.labels.insert("maintainer".into(), name.clone());
            }
            What::From { .. } | What::StopSignal | What::HealthCheck | What::OnBuild => {}
        }
        Ok(())
    }

    fn arg(&mut self, line: usize, text: &str) -> Result<(), Fault> {
        for (name, default) in arg_words(line, text, self.scope.escape)? {
            let default = default.map(|text| self.expand(line, text)).transpose()?;
            let given = self.scope.args.get(&name).cloned();
            let global = self.scope.global.get(&name).cloned().flatten();
            let value = given.or_else(|| default.or(global));
            match value {
                Some(value) => self.args.insert(name, value),
                None => self.args.remove(&name),
            };
        }
        Ok(())
    }

    fn pairs(&self, line: usize, text: &str) -> Result<Vec<(String, String)>, Fault> {
        let pairs = pairs(line, text, self.scope.escape)?;
        let expanded = pairs
            .into_iter()
            .map(|(name, value)| Ok((self.expand(line, name)?, self.expand(line, value)?)));
        expanded.collect()
    }

    fn argv(&self, command: &CommandForm) -> Vec<String> {
        let text = match command {
            CommandForm::Exec(argv) => return argv.clone(),
            CommandForm::Shell(text) | CommandForm::Script(text) => text,
        };
        let mut argv = match self.config.run.shell.is_empty() {
            true => vec!["/bin/sh".to_owned(), "-c".to_owned()],
            false => self.config.run.shell.clone(),
        };
        argv.push(text.clone());
        argv
    }

    fn run(&mut self, item: &Item, flags: &Flags, command: &CommandForm) -> Result<(), Fault> {
        let RunFlags {
            secrets,
            caches,
            has_network,
        } = run_flags(item.line, flags)?;
        for path in caches {
            let path = joined(&self.config.run.workdir, &path);
            self.step(item, Action::MakeDirectory { path, owner: None });
        }
        let argv = match command {
            CommandForm::Script(text) if text.starts_with("#!") => {
                let path = format!("/tmp/.dockerfile-line-{}", item.line);
                vec![
                    "/bin/sh".into(),
                    "-c".into(),
                    WITH_FILE.into(),
                    path,
                    text.clone(),
                ]
            }
            command => self.argv(command),
        };
        if argv.first().is_none_or(|program| program.trim().is_empty()) {
            return Err(Fault::new(item.line, "RUN", "there is no command"));
        }
        let mut envs = self.args.clone();
        envs.extend(self.config.run.envs.clone());
        let run = Run {
            argv,
            envs,
            cwd: self.config.run.workdir.clone(),
            user: self.config.run.user.clone(),
            secrets,
            has_network,
        };
        self.step(item, Action::Run(run));
        Ok(())
    }

    fn copy(
        &mut self,
        item: &Item,
        flags: &Flags,
        is_add: bool,
        sources: &[CopySource],
        dst: &str,
    ) -> Result<(), Fault> {
        let line = item.line;
        let from = copy_from(line, flags, is_add, &self.scope.names)?;
        let (mut owner, mut mode) = (None, None);
        for (flag, value) in flags {
            let text = value.as_deref().unwrap_or_default();
            let word = format!("--{flag}={text}");
            match flag.as_str() {
                "from" => {}
                // Layers are made in their order here, so that it changes nothing.
                "link" if matches!(text, "" | "true" | "false") => {}
                "chown" => {
                    let name = self.expand(line, text)?;
                    if name.is_empty() || name.contains(char::is_whitespace) {
                        return Err(Fault::new(line, &word, "give `name`, `name:group` or numbers"));
                    }
                    owner = Some(name);
                }
                "chmod" => {
                    let digits = self.expand(line, text)?;
                    let parsed = u32::from_str_radix(&digits, 8)
                        .ok()
                        .filter(|mode| *mode <= 0o7777);
                    mode = Some(
                        parsed.ok_or_else(|| Fault::new(line, &word, "give an octal mode such as 0755"))?,
                    );
                }
                _ => {
                    return Err(Fault::new(
                        line,
                        &word,
                        "is not supported: --from, --chown and --chmod are",
                    ))
                }
            }
        }
        let wanted = self.expand(line, dst)?;
        if wanted.is_empty() {
            return Err(Fault::new(line, dst, "there is no destination"));
        }
        let is_directory = wanted.ends_with('/') || matches!(wanted.rsplit('/').next(), Some("." | ".."));
        let mut target = joined(&self.config.run.workdir, &wanted);
        if is_directory && target != "/" {
            target.push('/');
        }
        let has_many = sources.len() > 1;
        if has_many && !target.ends_with('/') {
            return Err(Fault::new(
                line,
                dst,
                "is no directory: with several sources it must end with a slash",
            ));
        }
        let (mut paths, mut files) = (Vec::new(), Vec::new());
        for source in sources {
            match source {
                CopySource::Path(text) => paths.push(self.source(line, text, &from, is_add)?),
                CopySource::Document(name, content, expands) => {
                    let content = match expands {
                        true => self.expand_in(line, content, Quotes::Kept)?,
                        false => content.clone(),
                    };
                    let path = if target.ends_with('/') {
                        format!("{target}{name}")
                    } else {
                        target.clone()
                    };
                    files.push((path, content));
                }
            }
        }
        if !files.is_empty() {
            let owner = owner.clone();
            self.step(item, Action::Write { files, owner, mode });
        }
        if !paths.is_empty() {
            let copy = Copy {
                from,
                sources: paths,
                dst: target,
                owner,
                mode,
                unpacks: is_add,
            };
            self.step(item, Action::Copy(copy));
        }
        Ok(())
    }

    fn source(&self, line: usize, text: &str, from: &CopyFrom, is_add: bool) -> Result<String, Fault> {
        let path = self.expand(line, text)?;
        let is_remote = path.contains("://") || path.starts_with("git@");
        if is_add && is_remote {
            let message =
                "ADD of an address is not supported: use `RUN curl -fsSLO ...` or `RUN git clone ...`";
            return Err(Fault::new(line, text, message));
        }
        if path.is_empty() {
            return Err(Fault::new(line, text, "is empty once its variables are replaced"));
        }
        if path.split('/').any(|part| part == "..") {
            return Err(Fault::new(line, text, "leads out of where files are copied from"));
        }
        let parts: Vec<&str> = path
            .split('/')
            .filter(|part| !matches!(*part, "" | "."))
            .collect();
        Ok(match (from, parts.is_empty()) {
            (CopyFrom::Context, true) => ".".into(),
            (CopyFrom::Context, false) => parts.join("/"),
            (_, _) => format!("/{}", parts.join("/")),
        })
    }
}

/// A path seen from a directory, without `.` and `..`.
fn joined(directory: &str, path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    let all = if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("{directory}/{path}")
    };
    for part in all.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// What flags of `RUN` say.
#[derive(Debug)]
pub struct RunFlags {
    pub secrets: Vec<SecretMount>,
    /// Directories of cache mounts.
    pub caches: Vec<String>,
    pub has_network: bool,
}

/// Reads flags of `RUN`. Variables are not replaced in them.
pub fn run_flags(line: usize, flags: &Flags) -> Result<RunFlags, Fault> {
    let mut run = RunFlags {
        secrets: Vec::new(),
        caches: Vec::new(),
        has_network: true,
    };
    for (flag, value) in flags {
        let value = value.as_deref().unwrap_or_default();
        let word = format!("--{flag}={value}");
        match (flag.as_str(), value) {
            ("network", "default") | ("security", "sandbox") => {}
            ("network", "none") => run.has_network = false,
            ("mount", value) => mount(line, &word, value, &mut run)?,
            _ => {
                return Err(Fault::new(
                    line,
                    &word,
                    "is not supported: --mount and --network=none are",
                ))
            }
        }
    }
    Ok(run)
}

fn mount(line: usize, word: &str, value: &str, run: &mut RunFlags) -> Result<(), Fault> {
    let fault = |message: &str| Fault::new(line, word, message);
    let mut fields: BTreeMap<&str, &str> = BTreeMap::new();
    for field in value.split(',') {
        let (name, value) = field.split_once('=').unwrap_or((field, "true"));
        let value = value.trim_matches('"');
        if value.contains('$') {
            return Err(fault("variables are not replaced here"));
        }
        fields.insert(name, value);
    }
    let target = ["target", "dst", "destination"]
        .iter()
        .find_map(|name| fields.get(name));
    match fields.get("type").copied().unwrap_or("bind") {
        "cache" => {
            let target =
                target.ok_or_else(|| fault("a cache mount needs target=, such as target=/root/.cache"))?;
            run.caches.push((*target).to_owned());
            Ok(())
        }
        "secret" => {
            let id = match (fields.get("id"), target) {
                (Some(id), _) => (*id).to_owned(),
                (None, Some(target)) => target.rsplit('/').next().unwrap_or_default().to_owned(),
                (None, None) => String::new(),
            };
            let is_id = !id.is_empty() && id.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
            if !is_id {
                return Err(fault(
                    "a secret mount needs id=, of letters, digits, `.`, `_` and `-`",
                ));
            }
            let env = fields.get("env").map(|name| (*name).to_owned());
            if env.as_ref().is_some_and(|name| !is_variable(name)) {
                return Err(fault("env= is no name of a variable"));
            }
            let target = match (target, &env) {
                (Some(target), _) => Some(joined("/", target)),
                (None, None) => Some(format!("{SECRETS}/{id}")),
                (None, Some(_)) => None,
            };
            let number = |name: &str, radix: u32, default: u32| match fields.get(name) {
                None => Ok(default),
                Some(text) => {
                    u32::from_str_radix(text, radix).map_err(|_| fault(&format!("{name}= is no number")))
                }
            };
            let is_required = match fields.get("required") {
                None | Some(&"false") => false,
                Some(&"true") => true,
                Some(_) => return Err(fault("required= is true or false")),
            };
            run.secrets.push(SecretMount {
                mode: number("mode", 8, 0o400)?,
                uid: number("uid", 10, 0)?,
                gid: number("gid", 10, 0)?,
                id,
                target,
                env,
                is_required,
            });
            Ok(())
        }
        _ => Err(fault(
            "is not supported: type=secret and type=cache are; COPY brings files",
        )),
    }
}
