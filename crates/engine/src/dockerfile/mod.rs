//! Dockerfiles, as steps of a build. Source: Dockerfile reference.
//!
//! - [`plan`]: reads a text and checks all that needs no image: [`Plan`]
//! - [`Stage::resolve`]: what a stage does, once it is known what its base brings: [`Built`]
//! - `read`: instructions; `words`: variables and quotes
//!
//! What is not supported is a [`Fault`] with its line, before anything runs. Knows nothing of machines and of registries.

mod read;
mod resolve;
mod words;

use std::collections::BTreeMap;
use std::fmt;

use crate::images::{ImageConfig, Platform};
use read::{CopySource, Flags, Item, What};
use words::{expand, split, Quotes};

/// What is wrong with a Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Fault {
    /// Where, from 1.
    pub line: usize,
    /// The word that is wrong, or the instruction; may be empty.
    pub word: String,
    /// What to do about it.
    pub message: String,
}

impl Fault {
    fn new(line: usize, word: &str, message: impl Into<String>) -> Self {
        Self {
            line,
            word: word.to_owned(),
            message: message.into(),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.word.as_str() {
            "" => write!(f, "Dockerfile line {}: {}", self.line, self.message),
            word => write!(f, "Dockerfile line {}: {word:?}: {}", self.line, self.message),
        }
    }
}

/// A Dockerfile that was read.
#[derive(Debug)]
pub struct Plan {
    /// Its stages. The last one is what is built.
    pub stages: Vec<Stage>,
    /// What has no effect here: one sentence each.
    pub warnings: Vec<String>,
}

/// What begins with a `FROM`.
#[derive(Debug)]
pub struct Stage {
    /// Its name.
    pub name: Option<String>,
    /// What it begins with.
    pub base: Base,
    /// Line of its `FROM`.
    pub line: usize,
    /// Earlier stages that it copies from.
    copies: Vec<usize>,
    items: Vec<Item>,
    scope: Scope,
}

/// What a stage begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Base {
    /// An image of a registry, or whatever else the caller knows by a name.
    Image(String),
    /// What an earlier stage made.
    Stage(usize),
    /// Nothing.
    Scratch,
}

/// What instructions of a stage can refer to from outside of it.
#[derive(Debug, Clone)]
struct Scope {
    escape: char,
    /// Values that were given for the build.
    args: BTreeMap<String, String>,
    /// `ARG`s in front of the first `FROM`, and those of the platform.
    global: BTreeMap<String, Option<String>>,
    /// Names of the stages up to this one.
    names: Vec<Option<String>>,
}

/// How what is built is to be run; also what a base brings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// What an image would say of it.
    pub run: ImageConfig,
    /// Whether `CMD` or `ENTRYPOINT` is of a Dockerfile, not of its base image.
    pub has_own_command: bool,
}

impl From<ImageConfig> for Config {
    fn from(run: ImageConfig) -> Self {
        Self {
            run,
            has_own_command: false,
        }
    }
}

impl Config {
    /// `ENTRYPOINT` and `CMD` as text for a shell; `None` where the Dockerfile has neither: what its base image would run,
    /// mostly a shell, is nobody's wish.
    pub fn start_command(&self) -> Option<String> {
        let argv: Vec<&String> = self.run.entrypoint.iter().chain(&self.run.cmd).collect();
        if !self.has_own_command || argv.is_empty() {
            return None;
        }
        if let [shell, flag, text] = argv[..] {
            if shell == "/bin/sh" && flag == "-c" {
                return Some(text.clone());
            }
        }
        let words: Vec<String> = argv.into_iter().map(|word| quoted(word)).collect();
        Some(words.join(" "))
    }
}

/// A word as a shell reads it back.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=@%+,".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

/// What a stage does, and what comes of it.
#[derive(Debug)]
pub struct Built {
    /// In order.
    pub steps: Vec<Step>,
    /// How it is to be run.
    pub config: Config,
}

/// One thing that a stage does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Line of its instruction.
    pub line: usize,
    /// The instruction as written, without values of variables: for the log.
    pub text: String,
    /// What is to be done.
    pub action: Action,
}

/// What can be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Run a program, and fail unless it ends with 0.
    Run(Run),
    /// Copy files.
    Copy(Copy),
    /// Write files: absolute paths and contents. Directories on the way are made.
    Write {
        /// The files.
        files: Vec<(String, String)>,
        /// `name`, `name:group` or numbers; `None` = root.
        owner: Option<String>,
        /// `None` = 0644.
        mode: Option<u32>,
    },
    /// Make a directory if it is missing, and those above.
    MakeDirectory {
        /// Absolute.
        path: String,
        /// Of what is made; `None` = root.
        owner: Option<String>,
    },
}

/// A program that is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// The whole environment that the Dockerfile knows of, `ARG`s too.
    pub envs: BTreeMap<String, String>,
    /// Where it starts.
    pub cwd: String,
    /// As whom: see [`ImageConfig::user`].
    pub user: String,
    /// Secrets that it may read.
    pub secrets: Vec<SecretMount>,
    /// Whether it may use the network.
    pub has_network: bool,
}

/// `RUN --mount=type=secret`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretMount {
    /// Which one.
    pub id: String,
    /// File that holds it while the program runs.
    pub target: Option<String>,
    /// Variable that holds it.
    pub env: Option<String>,
    /// Whether the build fails when it is not given.
    pub is_required: bool,
    /// Mode of the file.
    pub mode: u32,
    /// Owner of the file.
    pub uid: u32,
    /// Group of the file.
    pub gid: u32,
}

/// `COPY` and `ADD`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// Where the sources are.
    pub from: CopyFrom,
    /// Paths, with `*`, `?` and `[...]` as in Go's `filepath.Match`: relative ones of the context (`.` is all of it),
    /// absolute ones elsewhere. Of a directory its content is copied.
    pub sources: Vec<String>,
    /// Absolute. With a slash at its end it is a directory, which is made.
    pub dst: String,
    /// `name`, `name:group` or numbers; `None` = root.
    pub owner: Option<String>,
    /// `None` = as the sources.
    pub mode: Option<u32>,
    /// Unpack sources that are tar archives.
    pub unpacks: bool,
}

/// Where `COPY` takes files from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopyFrom {
    /// What the client sent along.
    Context,
    /// What an earlier stage made.
    Stage(usize),
    /// An image.
    Image(String),
}

/// Arguments that need no `ARG`. Source: Dockerfile reference, "Predefined ARGs".
const PREDEFINED: [&str; 10] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "FTP_PROXY",
    "ftp_proxy",
    "NO_PROXY",
    "no_proxy",
    "ALL_PROXY",
    "all_proxy",
];

/// Reads a Dockerfile for machines of a platform. `args` are values of `ARG`s.
pub fn plan(text: &str, args: &BTreeMap<String, String>, platform: &Platform) -> Result<Plan, Fault> {
    let (items, escape) = read::instructions(text)?;
    let mut scope = Scope {
        escape,
        args: args.clone(),
        global: platform_args(platform),
        names: Vec::new(),
    };
    let mut plan = Plan {
        stages: Vec::new(),
        warnings: Vec::new(),
    };
    for item in items {
        match (&item.what, plan.stages.last_mut()) {
            (What::From { flags, image, name }, _) => {
                let stage = scope.from(item.line, flags, image, name.as_deref(), platform)?;
                plan.stages.push(stage);
            }
            (What::Arg(text), None) => scope.global_arg(item.line, text)?,
            (_, None) => {
                return Err(Fault::new(
                    item.line,
                    "",
                    "the first instruction is to be FROM or ARG",
                ))
            }
            (_, Some(stage)) => {
                plan.warnings.extend(check(&item, stage, &scope)?);
                stage.items.push(item);
            }
        }
    }
    if plan.stages.is_empty() {
        return Err(Fault::new(
            1,
            "",
            "there is no FROM: give one such as `FROM ubuntu:24.04`",
        ));
    }
    Ok(plan)
}

fn platform_args(platform: &Platform) -> BTreeMap<String, Option<String>> {
    let mut args = BTreeMap::new();
    for side in ["TARGET", "BUILD"] {
        for (part, value) in [
            ("PLATFORM", platform.to_string()),
            ("OS", platform.os.clone()),
            ("ARCH", platform.architecture.clone()),
            ("VARIANT", platform.variant.clone().unwrap_or_default()),
        ] {
            args.insert(format!("{side}{part}"), Some(value));
        }
    }
    args
}

impl Scope {
    fn expand_global(&self, line: usize, text: &str) -> Result<String, Fault> {
        let value_of = |name: &str| self.global.get(name).cloned().flatten();
        expand(text, self.escape, Quotes::Removed, &value_of).map_err(|why| Fault::new(line, text, why))
    }

    fn global_arg(&mut self, line: usize, text: &str) -> Result<(), Fault> {
        for (name, default) in arg_words(line, text, self.escape)? {
            let default = default.map(|text| self.expand_global(line, text)).transpose()?;
            let value = self.args.get(&name).cloned().or(default);
            self.global.insert(name, value);
        }
        Ok(())
    }

    fn from(
        &mut self,
        line: usize,
        flags: &Flags,
        image: &str,
        name: Option<&str>,
        platform: &Platform,
    ) -> Result<Stage, Fault> {
        for (flag, value) in flags {
            let text = value.clone().unwrap_or_default();
            if flag != "platform" {
                return Err(Fault::new(line, &format!("--{flag}"), "FROM has only --platform"));
            }
            let wanted = self.expand_global(line, &text)?;
            let parsed = Platform::parse(&wanted);
            let fits = parsed.is_ok_and(|p| p.os == platform.os && p.architecture == platform.architecture);
            if !fits && !wanted.is_empty() {
                return Err(Fault::new(line, &wanted, format!("machines here are {platform}")));
            }
        }
        let expanded = self.expand_global(line, image)?;
        if expanded.trim().is_empty() {
            let message =
                "there is no name of an image: give the ARG a default, such as `ARG BASE=ubuntu:24.04`";
            return Err(Fault::new(line, image, message));
        }
        let base = match (self.stage_named(&expanded), expanded.as_str()) {
            (Some(number), _) => Base::Stage(number),
            (None, "scratch") => Base::Scratch,
            (None, _) => Base::Image(expanded),
        };
        let is_name = |name: &str| {
            name.starts_with(|c: char| c.is_ascii_alphabetic())
                && name
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c))
        };
        if let Some(name) = name {
            if !is_name(name) {
                let message = "a stage is named by letters, digits, `_`, `-` and `.`, a letter first";
                return Err(Fault::new(line, name, message));
            }
            if self.stage_named(name).is_some() {
                return Err(Fault::new(line, name, "there is a stage of this name already"));
            }
        }
        self.names.push(name.map(str::to_ascii_lowercase));
        Ok(Stage {
            name: name.map(str::to_owned),
            base,
            line,
            copies: Vec::new(),
            items: Vec::new(),
            scope: self.clone(),
        })
    }

    fn stage_named(&self, name: &str) -> Option<usize> {
        let wanted = name.to_ascii_lowercase();
        self.names.iter().position(|name| name.as_ref() == Some(&wanted))
    }
}

/// `ARG`'s words: names, and defaults as written.
fn arg_words(line: usize, text: &str, escape: char) -> Result<Vec<(String, Option<&str>)>, Fault> {
    let words = split(text, escape).into_iter().map(|word| {
        let (name, default) = match word.split_once('=') {
            Some((name, default)) => (name, Some(default)),
            None => (word, None),
        };
        match is_variable(name) {
            true => Ok((name.to_owned(), default)),
            false => Err(Fault::new(line, word, "give NAME or NAME=default")),
        }
    });
    words.collect()
}

fn is_variable(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Checks an instruction as far as that needs no values of variables. Answers a warning if it has no effect here.
fn check(item: &Item, stage: &mut Stage, scope: &Scope) -> Result<Option<String>, Fault> {
    let warn = |text: &str| Ok(Some(format!("Dockerfile line {}: {text}", item.line)));
    match &item.what {
        What::Arg(text) => arg_words(item.line, text, scope.escape).map(|_| None),
        What::Env(text) | What::Label(text) => pairs(item.line, text, scope.escape).map(|_| None),
        What::Copy {
            flags,
            is_add,
            sources,
            ..
        } => {
            let from = copy_from(item.line, flags, *is_add, &scope.names)?;
            if let CopyFrom::Stage(number) = from {
                stage.copies.push(number);
            }
            let is_document = |source: &CopySource| matches!(source, CopySource::Document(..));
            if from != CopyFrom::Context && sources.iter().any(is_document) {
                return Err(Fault::new(
                    item.line,
                    "--from",
                    "a here-document comes from nowhere else",
                ));
            }
            Ok(None)
        }
        What::Run { flags, .. } => {
            let run = resolve::run_flags(item.line, flags)?;
            match run.caches.is_empty() {
                true => Ok(None),
                false => {
                    warn("what is in a cache mount stays in the template, and later builds do not see it")
                }
            }
        }
        What::StopSignal => warn("STOPSIGNAL has no effect: machines end all at once"),
        What::HealthCheck => warn("HEALTHCHECK has no effect: give the template a readiness check instead"),
        What::Volume(_) => {
            warn("VOLUME makes a directory like others: mount a volume when you create a machine")
        }
        What::OnBuild => Err(Fault::new(
            item.line,
            "ONBUILD",
            "is not supported: write the instructions into the Dockerfiles that need them",
        )),
        _ => Ok(None),
    }
}

/// Where a `COPY` in the last of some stages takes its files from.
fn copy_from(line: usize, flags: &Flags, is_add: bool, names: &[Option<String>]) -> Result<CopyFrom, Fault> {
    let current = names.len().saturating_sub(1);
    let Some((_, value)) = flags.iter().find(|(flag, _)| flag == "from") else {
        return Ok(CopyFrom::Context);
    };
    let value = value.as_deref().unwrap_or_default();
    let bad = |message: &str| Err(Fault::new(line, &format!("--from={value}"), message));
    if is_add {
        return bad("only COPY has it");
    }
    if value.is_empty() {
        return bad("give the name of a stage or of an image");
    }
    if value.contains('$') {
        return bad("variables are not replaced here: name a stage with `FROM image AS name`, and give that");
    }
    let wanted = value.to_ascii_lowercase();
    let number = match value.parse() {
        Ok(number) => Some(number),
        Err(_) => names.iter().position(|name| name.as_ref() == Some(&wanted)),
    };
    match number {
        Some(number) if number < current => Ok(CopyFrom::Stage(number)),
        Some(_) => bad("is no earlier stage"),
        None => Ok(CopyFrom::Image(value.to_owned())),
    }
}

/// Names and values of `ENV` and `LABEL`, as written: `name=value ...`, or the old `name value`.
fn pairs(line: usize, text: &str, escape: char) -> Result<Vec<(&str, &str)>, Fault> {
    let words = split(text, escape);
    let first = words.first().copied().unwrap_or_default();
    if !first.contains('=') {
        let text = text.trim();
        let rest = text.strip_prefix(first).unwrap_or_default().trim();
        return match rest {
            "" => Err(Fault::new(line, first, "give NAME=value")),
            rest => Ok(vec![(first, rest)]),
        };
    }
    let pair = |word: &&'_ str| word.find('=').filter(|at| *at > 0);
    words
        .iter()
        .map(|word| match pair(word) {
            Some(at) => Ok((&word[..at], &word[at + 1..])),
            None => Err(Fault::new(
                line,
                word,
                "give NAME=value; a value with spaces needs quotes",
            )),
        })
        .collect()
}

impl Plan {
    /// Builds up to a stage, by its name or number; `false` if there is none.
    pub fn aim(&mut self, target: &str) -> bool {
        let is_it = |stage: &Stage| {
            stage
                .name
                .as_ref()
                .is_some_and(|name| name.eq_ignore_ascii_case(target))
        };
        let found = self.stages.iter().position(is_it);
        let number = found.or_else(|| target.parse().ok().filter(|number| *number < self.stages.len()));
        if let Some(number) = number {
            self.stages.truncate(number + 1);
        }
        number.is_some()
    }

    /// What the last stage begins with in the end.
    pub fn root(&self) -> &Base {
        let mut base = self.stages.last().map_or(&Base::Scratch, |stage| &stage.base);
        while let Base::Stage(number) = base {
            base = &self.stages[*number].base;
        }
        base
    }

    /// Commands of the stages that are built, as written.
    pub fn commands(&self) -> Vec<String> {
        let needed = self.needed();
        let items = needed.iter().flat_map(|number| &self.stages[*number].items);
        items
            .filter(|item| matches!(item.what, What::Run { .. }))
            .map(|item| item.text.clone())
            .collect()
    }

    /// Numbers of the stages that the last one needs, itself included, each after what it needs. Others are not built, as
    /// Docker does it.
    pub fn needed(&self) -> Vec<usize> {
        let mut needed = vec![false; self.stages.len()];
        if let Some(last) = needed.last_mut() {
            *last = true;
        }
        // A stage refers to earlier ones only.
        for number in (0..self.stages.len()).rev().collect::<Vec<_>>() {
            if !needed[number] {
                continue;
            }
            let stage = &self.stages[number];
            if let Base::Stage(base) = stage.base {
                needed[base] = true;
            }
            for copied in &stage.copies {
                needed[*copied] = true;
            }
        }
        (0..needed.len()).filter(|number| needed[*number]).collect()
    }
}

#[cfg(test)]
mod tests;
