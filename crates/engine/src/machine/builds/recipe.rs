//! What a Dockerfile wants of a build, as steps of one. Everything that is wrong is found before the first of them runs.

use std::collections::{BTreeMap, BTreeSet};

use nullspace_wire::template::CreateTemplateRequest;
use nullspace_wire::Envs;

use super::base::Credentials;
use super::definition::{is_in, Entry};
use super::glob;
use super::secrets::Secrets;
use super::step::{check_user, Action, Copy, CopyFrom, Run, SecretMount, Step, Who};
use crate::dockerfile::{self, Base, Built, Fault, Plan};
use crate::images::{Auth, ImageConfig, Platform, Reference};
use crate::machine::ground::{Error, Result};
use crate::machine::templates::{is_local_reference, WORKSPACE};
use crate::machine::validate;

/// A Dockerfile that was read, and what opens the registries of its images.
#[derive(Debug)]
pub struct Recipe {
    /// Its stages.
    pub plan: Plan,
    /// As it came: for digests.
    pub text: String,
    credentials: Credentials,
}

/// What a stage can begin with by name.
pub enum Named {
    /// A template.
    Template(String),
    /// An image, and what opens its registry.
    Image(Reference, Option<Auth>),
}

/// The error of a fault.
pub fn wrong(fault: &Fault) -> Error {
    Error::invalid("dockerfile", format_args!("cannot be built: {fault}"))
        .with_details(serde_json::json!({ "field": "dockerfile", "line": fault.line }))
}

fn fault(line: usize, word: &str, message: impl Into<String>) -> Error {
    wrong(&Fault {
        line,
        word: word.to_owned(),
        message: message.into(),
    })
}

impl Recipe {
    /// Checks the Dockerfile of a request as far as that needs no image.
    pub fn check(request: &CreateTemplateRequest, warnings: &mut Vec<String>) -> Result<Self> {
        let text = request.dockerfile.clone().unwrap_or_default();
        let args = request.build_args.clone().unwrap_or_default();
        let mut plan = dockerfile::plan(&text, &args, &Platform::host()).map_err(|fault| wrong(&fault))?;
        if let Some(target) = &request.build_target {
            if !plan.aim(target) {
                return Err(Error::invalid(
                    "build_target",
                    format_args!("is {target:?}: give the name of a stage of the Dockerfile"),
                ));
            }
        }
        warnings.append(&mut plan.warnings);
        let recipe = Self {
            plan,
            text,
            credentials: Credentials::check(request)?,
        };
        for number in recipe.plan.needed() {
            let stage = &recipe.plan.stages[number];
            if let Base::Image(name) = &stage.base {
                recipe.named(stage.line, name)?;
            }
        }
        Ok(recipe)
    }

    /// What it begins with in the end.
    pub fn root(&self) -> String {
        match self.plan.root() {
            Base::Image(name) => name.clone(),
            Base::Stage(_) | Base::Scratch => "scratch".into(),
        }
    }

    /// Whether the build was given credentials.
    pub fn has_auth(&self) -> bool {
        self.credentials.own.is_some() || !self.credentials.registries.is_empty()
    }

    /// What a name means. Credentials for the base image are for all images of its registry.
    pub fn named(&self, line: usize, name: &str) -> Result<Named> {
        if is_local_reference(name) {
            return Ok(Named::Template(name.to_owned()));
        }
        let reference = Reference::parse(name).map_err(|error| fault(line, name, error.message))?;
        let is_of_base = match self.plan.root() {
            Base::Image(root) => {
                Reference::parse(root).is_ok_and(|root| root.registry() == reference.registry())
            }
            Base::Stage(_) | Base::Scratch => false,
        };
        let own = self.credentials.own.clone().filter(|_| is_of_base);
        let auth = own.or_else(|| self.credentials.of(&reference));
        Ok(Named::Image(reference, auth))
    }
}

/// A step of a stage, and where it runs.
pub struct Planned {
    /// Line of its instruction.
    pub line: usize,
    /// What it does.
    pub step: Step,
    /// Environment, directory and user of a program.
    pub place: Option<(Envs, String, Option<String>)>,
    /// What files come from, if not from the context.
    pub from: Option<dockerfile::CopyFrom>,
    /// Files of the context that must not be archives, which `ADD` would unpack.
    pub no_archives: Vec<String>,
}

/// How what a stage made is to be run, as machines have it.
pub struct Outcome {
    /// Environment.
    pub envs: Envs,
    /// Where commands start.
    pub workdir: String,
    /// As whom; `None` = root.
    pub user: Option<String>,
}

impl Outcome {
    /// Of a stage that begins in a line.
    pub fn of(line: usize, config: &ImageConfig) -> Result<Self> {
        Ok(Self {
            envs: config.envs.clone(),
            // See `Defaults`.
            workdir: match config.workdir.as_str() {
                "" | "/" => WORKSPACE.to_owned(),
                path => {
                    validate::absolute("WORKDIR", path).map_err(|error| fault(line, path, error.message))?
                }
            },
            user: user(line, &config.user)?,
        })
    }
}

/// Who runs a program; `None` = root. Its groups are those of `/etc/group`.
fn user(line: usize, text: &str) -> Result<Option<String>> {
    let name = text.split(':').next().unwrap_or_default();
    match name {
        "" | "root" | "0" => Ok(None),
        name => {
            check_user("USER", name).map_err(|error| fault(line, text, error.message))?;
            Ok(Some(name.to_owned()))
        }
    }
}

/// The steps of a stage.
pub fn steps(built: Built, context: &BTreeMap<String, Entry>, secrets: &Secrets) -> Result<Vec<Planned>> {
    built
        .steps
        .into_iter()
        .map(|step| planned(step, context, secrets))
        .collect()
}

fn planned(step: dockerfile::Step, context: &BTreeMap<String, Entry>, secrets: &Secrets) -> Result<Planned> {
    let line = step.line;
    let (mut place, mut from, mut no_archives) = (None, None, Vec::new());
    let action = match step.action {
        dockerfile::Action::Run(run) => {
            let mut mounts = Vec::new();
            for mount in run.secrets {
                if mount.is_required && !secrets.has(&mount.id) {
                    let message = "is a secret that the build was not given: add it to `build_secrets`";
                    return Err(fault(line, &mount.id, message));
                }
                let is_usual = mount.uid == 0 && mount.gid == 0;
                mounts.push(SecretMount {
                    owner: (!is_usual).then(|| format!("{}:{}", mount.uid, mount.gid)),
                    mode: (mount.mode != 0o400).then_some(mount.mode),
                    id: mount.id,
                    target: mount.target,
                    env: mount.env,
                    required: mount.is_required,
                });
            }
            place = Some((run.envs, run.cwd, user(line, &run.user)?));
            Action::Run(Run {
                argv: run.argv,
                user: Who::Current,
                secrets: mounts,
                has_network: run.has_network,
            })
        }
        dockerfile::Action::Copy(copy) => match copy.from {
            dockerfile::CopyFrom::Context => {
                let mut sources = Vec::new();
                for pattern in &copy.sources {
                    let found = expanded(context, pattern);
                    if found.is_empty() {
                        let message = "is not among the files that came with the Dockerfile";
                        return Err(fault(line, pattern, message));
                    }
                    sources.extend(found);
                }
                if copy.unpacks {
                    let is_file = |source: &&String| matches!(context.get(*source), Some(Entry::File { .. }));
                    no_archives = sources.iter().filter(is_file).cloned().collect();
                }
                Action::Copy(vec![Copy {
                    sources,
                    dst: copy.dst,
                    owner: copy.owner,
                    mode: copy.mode,
                }])
            }
            other => {
                from = Some(other);
                Action::CopyFrom(CopyFrom {
                    sources: copy.sources,
                    dst: copy.dst,
                    owner: copy.owner,
                    mode: copy.mode,
                    ..CopyFrom::default()
                })
            }
        },
        dockerfile::Action::Write { files, owner, mode } => Action::Write { files, owner, mode },
        dockerfile::Action::MakeDirectory { path, owner } => Action::MakeDirectory { path, owner },
    };
    Ok(Planned {
        line,
        step: Step {
            shown: step.text,
            action,
        },
        place,
        from,
        no_archives,
    })
}

/// Paths of the context that a source of `COPY` means; `""` is all of it.
fn expanded(context: &BTreeMap<String, Entry>, pattern: &str) -> Vec<String> {
    if pattern == "." {
        return vec![String::new()];
    }
    if !glob::is_pattern(pattern) {
        return is_in(context, pattern)
            .then(|| pattern.to_owned())
            .into_iter()
            .collect();
    }
    // Directories may be known by what is in them only.
    let mut all = BTreeSet::new();
    for path in context.keys() {
        all.extend(path.match_indices('/').map(|(at, _)| &path[..at]));
        all.insert(path.as_str());
    }
    all.into_iter()
        .filter(|path| glob::matches_path(pattern, path))
        .map(str::to_owned)
        .collect()
}

/// Whether the first bytes of a file are those of an archive that `ADD` would unpack.
pub fn is_archive(head: &[u8]) -> bool {
    let packed: [&[u8]; 4] = [
        &[0x1f, 0x8b],
        b"BZh",
        &[0xfd, b'7', b'z', b'X', b'Z'],
        &[0x28, 0xb5, 0x2f, 0xfd],
    ];
    packed.iter().any(|magic| head.starts_with(magic)) || head.get(257..262) == Some(b"ustar")
}

/// The error of an `ADD` of an archive.
pub fn archive(line: usize, path: &str) -> Error {
    let message =
        "is an archive, which ADD would unpack, and that is not supported: COPY it and unpack it with RUN";
    fault(line, path, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn recipe(body: serde_json::Value) -> Result<Recipe> {
        Recipe::check(&serde_json::from_value(body).unwrap(), &mut Vec::new())
    }

    #[test]
    fn sources_of_copy_are_paths_of_the_context() {
        let context: BTreeMap<String, Entry> = ["src/a.py", "src/b.txt", "src/in/c.py", "top"]
            .map(|path| (path.to_owned(), Entry::Dir(None)))
            .into();
        for (pattern, found) in [
            (".", vec![""]),
            ("top", vec!["top"]),
            ("src", vec!["src"]),
            ("src/*.py", vec!["src/a.py"]),
            ("s*", vec!["src"]),
            ("src/*/*.py", vec!["src/in/c.py"]),
            ("gone", vec![]),
            ("*.md", vec![]),
        ] {
            assert_eq!(expanded(&context, pattern), found, "{pattern}");
        }
    }

    #[test]
    fn credentials_for_the_base_are_for_its_registry_only() {
        let basic = |name: &str| json!({ "kind": "basic", "username": name, "password": "hunter2-x" });
        let recipe = recipe(json!({
            "dockerfile": "FROM python AS a\nFROM ghcr.io/me/base AS b\nCOPY --from=a /x /x\nFROM b",
            "base_image_auth": basic("base"),
            "registry_auth": [{ "registry": "docker.io", "auth": basic("docker") }],
        }))
        .unwrap();
        assert_eq!(recipe.root(), "ghcr.io/me/base");
        let user = |name: &str| match recipe.named(1, name).unwrap() {
            Named::Image(_, Some(Auth::Basic { username, .. })) => Some(username),
            _ => None,
        };
        assert_eq!(user("ghcr.io/me/other").as_deref(), Some("base"));
        assert_eq!(user("python").as_deref(), Some("docker"));
        assert_eq!(user("quay.io/a/b"), None);
        assert_eq!(user("nullspace/base"), None);
        assert!(!format!("{recipe:?}").contains("hunter2"));
    }

    #[test]
    fn only_what_is_an_archive_is_one() {
        let mut tar = vec![0; 512];
        tar[257..262].copy_from_slice(b"ustar");
        assert!(is_archive(&tar) && is_archive(&[0x1f, 0x8b, 8]) && is_archive(b"BZh9"));
        assert!(!is_archive(b"") && !is_archive(b"hello") && !is_archive(&[0; 512]));
    }

    #[test]
    fn a_reserved_directory_is_refused_with_its_line() {
        let config = ImageConfig {
            workdir: "/workspace/.nullspace".into(),
            ..Default::default()
        };
        let message = Outcome::of(4, &config).err().unwrap().message;
        assert!(
            message.contains("line 4") && message.contains("reserved"),
            "{message}"
        );
    }
}
