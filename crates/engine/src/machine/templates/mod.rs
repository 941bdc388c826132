//! What machines start from. `base` is built in; others were imported, or built (see [`builds`](crate::machine::builds)): then a tag, or the id of
//! a build, says which of its builds is meant.

pub mod layers;

use std::path::PathBuf;

use nullspace_wire::machine::MachineConfig;
use nullspace_wire::template::{ReadinessProbe, RuntimeDefaults, TemplateInfo, TemplateVisibility};
use nullspace_wire::{Envs, Timestamp};
use serde::{Deserialize, Serialize};

use crate::machine::commands::exec::DefaultUser;
use crate::machine::commands::start_command::StartCommand;
use crate::machine::ground::{clock, ids, Error, Kind, Result};
use crate::machine::validate::{self, CODE_INTERPRETER};
use crate::machine::Engine;
use crate::store::templates::Tag;
use crate::store::{builds, documents, templates};
use layers::Pin;

/// Directory that every template has and where commands start.
pub const WORKSPACE: &str = "/workspace";

/// Tag of a reference without one.
pub const LATEST: &str = "latest";

/// Namespace of what comes with the engine.
const SYSTEM: &str = "nullspace";
/// Namespace of everything else.
pub const LOCAL: &str = "local";

/// A template, ready to start machines.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Template {
    /// `tmpl_...`
    pub id: String,
    /// Name without namespace and tag.
    pub name: String,
    /// Layers above `base`, nearest first.
    pub layers: Vec<String>,
    /// Whether the layers replace `base`.
    pub whole_root: bool,
    /// Environment of commands.
    pub default_envs: Envs,
    /// Where commands start.
    pub default_workdir: String,
    /// What runs in each machine made from it.
    #[serde(default)]
    pub start: Option<StartCommand>,
    /// When it was imported.
    #[serde(default)]
    pub created_at: Option<Timestamp>,
    /// Bytes of its own files.
    #[serde(default)]
    pub size_bytes: u64,
    /// Who runs the commands of machines; `None` = root.
    #[serde(default)]
    pub user: Option<DefaultUser>,
    /// Size of machines that do not ask for another, of one that was built.
    #[serde(default)]
    pub config: Option<MachineConfig>,
    /// As the build asked for it.
    #[serde(default)]
    pub readiness: Option<ReadinessProbe>,
    /// Which build this is; `None` of one that was imported.
    #[serde(default)]
    pub build_id: Option<String>,
    /// Whether it has builds.
    #[serde(default)]
    pub is_built: bool,
    /// Who sees it.
    #[serde(default)]
    pub visibility: TemplateVisibility,
}

/// A template that is to be made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ImportTemplate {
    /// Name without namespace and tag.
    pub name: String,
    /// Its files.
    pub source: TemplateSource,
    /// Environment of commands, over that of a snapshot.
    pub envs: Envs,
    /// Where commands start; that of the snapshot, else `/workspace`.
    pub workdir: Option<String>,
    /// What runs in each machine made from it.
    pub start: Option<StartCommand>,
}

/// Files of a template.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TemplateSource {
    /// Those of a snapshot.
    Snapshot(String),
    /// A root file system: a directory or a tarball of this computer.
    Files(PathBuf),
}

impl Template {
    /// The built-in template: the computer's own `/usr` with a generated `/etc`.
    pub fn base() -> Self {
        Self {
            id: "tmpl_base".into(),
            name: "base".into(),
            layers: Vec::new(),
            whole_root: false,
            default_envs: Envs::new(),
            default_workdir: WORKSPACE.into(),
            start: None,
            created_at: None,
            size_bytes: 0,
            user: None,
            config: None,
            readiness: None,
            build_id: None,
            is_built: false,
            visibility: TemplateVisibility::Private,
        }
    }

    /// The same files, with more memory: what the code interpreter runs in.
    pub fn code_interpreter() -> Self {
        Self {
            id: "tmpl_code-interpreter".into(),
            name: CODE_INTERPRETER.into(),
            ..Self::base()
        }
    }

    /// Whether it comes with the engine.
    pub fn is_builtin(&self) -> bool {
        [Self::base(), Self::code_interpreter()].contains(self)
    }

    /// Refuses a disk that is larger than the one that it was built with. Source: PROTOCOL.md section 3, "Server rules".
    pub(super) fn check_disk(&self, disk_mb: Option<u32>) -> Result<()> {
        let own = self.config.as_ref().and_then(|config| config.disk_mb);
        match (own, disk_mb) {
            (Some(own), Some(asked)) if asked > own => Err(Error::invalid(
                "disk_mb",
                format_args!(
                    "is {asked}, more than the {own} MiB that template {:?} was built with: leave it out, or build it with more",
                    self.name
                ),
            )),
            _ => Ok(()),
        }
    }

    /// What a build of it is called in full.
    pub(super) fn full_name(&self) -> String {
        let namespace = if self.is_builtin() { SYSTEM } else { LOCAL };
        format!("{namespace}/{}", self.name)
    }

    /// Defaults of its machines: names of variables only, never values. Source: schema, TemplateRuntimeDefaults.
    pub fn runtime_defaults(&self) -> RuntimeDefaults {
        RuntimeDefaults {
            default_env_keys: Some(self.default_envs.keys().cloned().collect()),
            start_cmd: self
                .start
                .as_ref()
                .map(|s| s.command.clone())
                .filter(|text| !text.is_empty()),
            default_user: self.user.as_ref().map(|user| user.name.clone()),
            default_workdir: Some(self.default_workdir.clone()),
            readiness: self.readiness.clone(),
        }
    }
}

/// Checks the name of a template.
pub(super) fn check_name(field: &str, name: &str) -> Result<()> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let is_good = (1..=64).contains(&name.len()) && name.chars().all(is_plain) && !name.starts_with("tmpl_");
    if is_good && name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return Ok(());
    }
    Err(Error::invalid(
        field,
        format_args!("is {name:?}: give 1 to 64 letters, digits, `.`, `_` and `-`, such as \"web\""),
    ))
}

/// Checks a tag.
pub(super) fn check_tag(field: &str, tag: &str) -> Result<()> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let is_good = (1..=128).contains(&tag.len()) && tag.chars().all(is_plain) && !tag.starts_with("tb_");
    if is_good && !tag.starts_with(['.', '-']) {
        return Ok(());
    }
    Err(Error::invalid(
        field,
        format_args!("has {tag:?}: give letters, digits, `.`, `_` and `-`, such as \"stable\" (`tb_...` means a build)"),
    ))
}

/// A reference, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reference {
    /// `tmpl_...`, or a name.
    pub subject: String,
    /// A tag, or the id of a build.
    pub qualifier: Option<String>,
}

impl Reference {
    /// `name[:tag]`, `name:tb_...`, `tmpl_...`; `nullspace/` and `local/` in front of a name mean the same here. `None` for what no
    /// template of this engine can be called.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let bare = [SYSTEM, LOCAL]
            .iter()
            .find_map(|namespace| text.strip_prefix(namespace)?.strip_prefix('/'))
            .unwrap_or(text);
        let (subject, qualifier) = match bare.split_once(':') {
            Some((subject, qualifier)) => (subject, Some(qualifier)),
            None => (bare, None),
        };
        let is_plain = |part: &str| !part.is_empty() && !part.contains(['/', ':']);
        if !is_plain(subject) || !qualifier.is_none_or(is_plain) {
            return None;
        }
        Some(Self {
            subject: subject.to_owned(),
            qualifier: qualifier.map(str::to_owned),
        })
    }

    /// Whether it means the newest build where no tag says otherwise.
    fn is_newest(&self) -> bool {
        matches!(self.qualifier.as_deref(), None | Some(LATEST | "default"))
    }
}

/// Whether a `base_image` means a template, and not an image of a registry.
pub(super) fn is_local_reference(text: &str) -> bool {
    let is_ours = [SYSTEM, LOCAL]
        .iter()
        .any(|n| text.strip_prefix(n).is_some_and(|rest| rest.starts_with('/')));
    is_ours || text.starts_with("tmpl_") || text.contains(":tb_")
}

/// A template and what means its builds.
#[derive(Debug, Clone)]
pub(super) struct TaggedTemplate {
    /// As the reference means it.
    pub template: Template,
    /// Its tags.
    pub tags: Vec<Tag>,
}

impl TaggedTemplate {
    /// What answers show.
    pub fn info(&self) -> TemplateInfo {
        let template = &self.template;
        let mut tags: Vec<String> = self.tags.iter().map(|tag| tag.0.clone()).collect();
        if tags.is_empty() && !template.is_built {
            tags.push(LATEST.to_owned());
        }
        let default_tag = match tags.iter().any(|tag| tag == LATEST) {
            true => Some(LATEST.to_owned()),
            // The one that was set last.
            false => self
                .tags
                .iter()
                .max_by(|a, b| a.2.cmp(&b.2))
                .map(|tag| tag.0.clone()),
        };
        let full_name = template.full_name();
        let canonical_ref = match (&default_tag, &template.build_id) {
            (Some(tag), _) => format!("{full_name}:{tag}"),
            (None, Some(build)) => format!("{full_name}:{build}"),
            (None, None) => full_name,
        };
        let is_builtin = template.is_builtin();
        TemplateInfo {
            id: template.id.clone(),
            name: template.name.clone(),
            description: match is_builtin {
                true => "This computer's /usr, read-only, with a generated /etc".into(),
                false => String::new(),
            },
            builtin: is_builtin,
            canonical_ref,
            namespace_slug: if is_builtin { SYSTEM.into() } else { LOCAL.into() },
            visibility: template.visibility,
            tags: Some(tags),
            default_tag,
            runtime_defaults: Some(template.runtime_defaults()),
        }
    }
}

/// What the store knows of a reference.
enum Stored {
    Nothing,
    /// There is the template, and no such build of it.
    NoBuild(String, Vec<Tag>),
    Found {
        document: String,
        artifact: Option<String>,
        tags: Vec<Tag>,
    },
}

fn look_up(connection: &rusqlite::Connection, reference: &Reference) -> rusqlite::Result<Stored> {
    let Some(document) = templates::find(connection, &reference.subject)? else {
        return Ok(Stored::Nothing);
    };
    let Ok(template) = serde_json::from_str::<Template>(&document) else {
        return Ok(Stored::Found {
            document,
            artifact: None,
            tags: Vec::new(),
        });
    };
    let tags = templates::tags(connection, &template.id)?;
    if !template.is_built {
        // Its one build is what all usual tags mean.
        let is_it = reference.is_newest() || reference.qualifier.as_deref() == Some("stable");
        return Ok(match is_it {
            true => Stored::Found {
                document,
                artifact: None,
                tags,
            },
            false => Stored::NoBuild(template.name, tags),
        });
    }
    let wanted = reference.qualifier.as_deref().unwrap_or(LATEST);
    let tagged = tags.iter().find(|tag| tag.0 == wanted).map(|tag| tag.1.as_str());
    let row = match tagged {
        Some(build) => builds::get(connection, build)?,
        None if wanted.starts_with("tb_") => builds::list(connection, &template.id)?
            .into_iter()
            .find(|row| row.id == wanted),
        None if reference.is_newest() => builds::newest(connection, &template.id)?,
        None => None,
    };
    Ok(match row.and_then(|row| row.artifact) {
        Some(artifact) => Stored::Found {
            document,
            artifact: Some(artifact),
            tags,
        },
        None => Stored::NoBuild(template.name, tags),
    })
}

/// The template of a document, with what a build of it made.
pub(super) fn assemble(document: &str, artifact: Option<&str>) -> Result<Template> {
    let read = |text: &str| {
        serde_json::from_str::<Template>(text).map_err(|e| Error::internal("reading a template", e))
    };
    let identity = read(document)?;
    match artifact {
        Some(artifact) => Ok(Template {
            id: identity.id,
            name: identity.name,
            created_at: identity.created_at,
            visibility: identity.visibility,
            is_built: true,
            ..read(artifact)?
        }),
        None => Ok(identity),
    }
}

impl Engine {
    /// The template that a reference means.
    pub async fn template(&self, reference: &str) -> Result<Template> {
        Ok(self.known(reference).await?.template)
    }

    /// The template that a reference means, with files that stay as long as the pin.
    pub(super) async fn pinned_template(&self, reference: &str) -> Result<(Template, Pin)> {
        let _collector = self.layers.collector().await;
        let template = self.template(reference).await?;
        let pin = self.layers.pin(&template.layers);
        Ok((template, pin))
    }

    /// The template that a reference means, with its tags.
    pub(super) async fn known(&self, reference: &str) -> Result<TaggedTemplate> {
        let missing =
            |what: String| Error::new(Kind::TemplateNotFound, what).with_action("use template \"base\"");
        let Some(parsed) = Reference::parse(reference) else {
            return Err(missing(format!(
                "this engine has no template {reference:?}: here they are called \"name\", \"name:tag\", \"name:tb_...\" or \"tmpl_...\""
            )));
        };
        let asked = parsed.clone();
        match self.store.call(move |c| look_up(c, &asked)).await? {
            Stored::Found {
                document,
                artifact,
                tags,
            } => Ok(TaggedTemplate {
                template: assemble(&document, artifact.as_deref())?,
                tags,
            }),
            Stored::NoBuild(name, tags) => {
                let tags: Vec<String> = tags.into_iter().map(|tag| tag.0).collect();
                let has = if tags.is_empty() {
                    "no tags".to_owned()
                } else {
                    tags.join(", ")
                };
                Err(missing(format!(
                    "template {name:?} has no build {reference:?}; its tags: {has}"
                )))
            }
            Stored::Nothing => {
                let builtin = [Template::base(), Template::code_interpreter()];
                let is_it = |t: &&Template| t.name == parsed.subject || t.id == parsed.subject;
                let takes = parsed.is_newest() || parsed.qualifier.as_deref() == Some("stable");
                if let Some(template) = builtin.iter().find(is_it).filter(|_| takes) {
                    return Ok(TaggedTemplate {
                        template: template.clone(),
                        tags: Vec::new(),
                    });
                }
                let all = self.templates().await?;
                let names: Vec<&str> = all.iter().map(|t| t.name.as_str()).collect();
                Err(missing(format!(
                    "this engine has no template {reference:?}; it has: {}",
                    names.join(", ")
                )))
            }
        }
    }

    /// Makes a template. Its files are copied, or those of the snapshot kept.
    pub async fn import_template(&self, wanted: ImportTemplate) -> Result<Template> {
        check_name("name", &wanted.name)?;
        validate::check_envs("envs", &wanted.envs)?;
        let workdir = wanted
            .workdir
            .map(|path| validate::absolute("workdir", &path))
            .transpose()?;
        if let Some(start) = &wanted.start {
            start.check()?;
        }
        if self.templates().await?.iter().any(|t| t.name == wanted.name) {
            return Err(Error::new(
                Kind::Conflict,
                format!("there is a template {:?} already", wanted.name),
            )
            .with_action("delete it first, or give another name"));
        }
        let mut template = Template {
            id: ids::template(),
            name: wanted.name,
            start: wanted.start,
            created_at: Some(clock::now()),
            ..Template::base()
        };
        // Keeps the files until the template is stored.
        let _pin: Pin = match wanted.source {
            TemplateSource::Snapshot(id) => {
                let (snapshot, pin) = self.usable_snapshot(&id).await?;
                template.layers = snapshot.layers;
                template.whole_root = snapshot.whole_root;
                template.default_envs = snapshot.envs;
                template.default_workdir = snapshot.cwd;
                template.user = snapshot.user;
                template.size_bytes = snapshot.size_bytes;
                pin
            }
            TemplateSource::Files(path) => {
                self.refuse_without_room().await?;
                let files = self.images.root_files(&path);
                let files = files.map_err(|error| Error::isolation("reading a root file system", error))?;
                let (name, pin) = self.new_layer().await?;
                let layer = match self.backend.import_layer(&name, files).await {
                    Ok(layer) => layer,
                    Err(error) => {
                        drop(pin);
                        self.collect_layers().await;
                        return Err(Error::isolation("importing a root file system", error));
                    }
                };
                template.layers = vec![layer.name];
                template.whole_root = true;
                template.size_bytes = layer.size_bytes;
                pin
            }
        };
        template.default_envs.extend(wanted.envs);
        if let Some(workdir) = workdir {
            template.default_workdir = workdir;
        }
        let json = serde_json::to_string(&template).map_err(|e| Error::internal("writing a template", e))?;
        let (id, name) = (template.id.clone(), template.name.clone());
        let put = self
            .store
            .call(move |c| documents::put(c, documents::Kind::Template, &id, &name, &json));
        put.await?;
        Ok(template)
    }

    /// Deletes a template. Machines and snapshots that come from it keep its files.
    pub async fn delete_template(&self, reference: &str) -> Result<Template> {
        let template = self.template(reference).await?;
        if template.is_builtin() {
            return Err(Error::new(
                Kind::Conflict,
                format!("`{}` comes with the engine and cannot be deleted", template.name),
            ));
        }
        if let Some((id, name)) = self.pools_of_template(&template.id).await?.first() {
            return Err(Error::new(
                Kind::Conflict,
                format!(
                    "warm pool {name:?} ({id}) holds machines of template {:?}",
                    template.name
                ),
            )
            .with_action("delete the pool first"));
        }
        self.end_builds_of(&template.id).await;
        let id = template.id.clone();
        let deleted = self.store.call(move |c| {
            let transaction = c.transaction()?;
            documents::delete(&transaction, documents::Kind::Template, &id)?;
            templates::forget(&transaction, &id)?;
            transaction.commit()
        });
        deleted.await?;
        self.collect_layers().await;
        Ok(template)
    }

    /// All templates, those that come with the engine first. One of the user's own may stand in for the second of them.
    pub async fn templates(&self) -> Result<Vec<Template>> {
        Ok(self
            .all_known()
            .await?
            .into_iter()
            .map(|known| known.template)
            .collect())
    }

    /// All templates as answers show them.
    pub async fn template_infos(&self) -> Result<Vec<TemplateInfo>> {
        Ok(self.all_known().await?.iter().map(TaggedTemplate::info).collect())
    }

    /// One template as answers show it.
    pub async fn template_info(&self, reference: &str) -> Result<TemplateInfo> {
        Ok(self.known(reference).await?.info())
    }

    async fn all_known(&self) -> Result<Vec<TaggedTemplate>> {
        let rows = self.store.call(|c| {
            let mut found = Vec::new();
            for document in documents::list(c, documents::Kind::Template, None)? {
                let Ok(template) = serde_json::from_str::<Template>(&document) else {
                    found.push((document, None, Vec::new()));
                    continue;
                };
                let tags = templates::tags(c, &template.id)?;
                let latest = tags.iter().find(|tag| tag.0 == LATEST).map(|tag| tag.1.clone());
                let row = match (template.is_built, latest) {
                    (true, Some(build)) => builds::get(c, &build)?,
                    (true, None) => builds::newest(c, &template.id)?,
                    (false, _) => None,
                };
                found.push((document, row.and_then(|row| row.artifact), tags));
            }
            Ok(found)
        });
        let mut all = vec![TaggedTemplate {
            template: Template::base(),
            tags: Vec::new(),
        }];
        for (document, artifact, tags) in rows.await? {
            all.push(TaggedTemplate {
                template: assemble(&document, artifact.as_deref())?,
                tags,
            });
        }
        if !all.iter().any(|known| known.template.name == CODE_INTERPRETER) {
            all.insert(
                1,
                TaggedTemplate {
                    template: Template::code_interpreter(),
                    tags: Vec::new(),
                },
            );
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_have_several_spellings() {
        for (text, subject, qualifier) in [
            ("base", "base", None),
            ("base:latest", "base", Some("latest")),
            ("nullspace/base", "base", None),
            ("nullspace/base:stable", "base", Some("stable")),
            ("local/base:tb_1", "base", Some("tb_1")),
            ("tmpl_1", "tmpl_1", None),
        ] {
            let reference = Reference::parse(text).unwrap();
            assert_eq!(
                (reference.subject.as_str(), reference.qualifier.as_deref()),
                (subject, qualifier),
                "{text}"
            );
        }
        for text in ["", ":latest", "team/base", "nullspace/a/b", "a:", "a:b:c"] {
            assert_eq!(Reference::parse(text), None, "{text}");
        }
    }

    #[test]
    fn images_of_registries_are_told_from_templates() {
        for text in ["nullspace/base:latest", "local/app", "tmpl_1", "app:tb_1"] {
            assert!(is_local_reference(text), "{text}");
        }
        for text in [
            "python:3.12-slim",
            "ubuntu",
            "oven/bun:1",
            "ghcr.io/a/b@sha256:0",
            "nullspacex/a",
        ] {
            assert!(!is_local_reference(text), "{text}");
        }
    }
}
