//! What machines start from. `base` is built in; others come from the store.

use std::path::PathBuf;

use nullspace_wire::{Envs, Timestamp};
use serde::{Deserialize, Serialize};

use super::error::{Error, Kind, Result};
use super::layers::Pin;
use super::start_command::StartCommand;
use super::{clock, ids, validate, Engine};
use crate::store::documents;

/// Directory that every template has and where commands start.
pub const WORKSPACE: &str = "/workspace";

/// Name of the template that the code interpreter needs. Source: PROTOCOL.md section 8.
pub const CODE_INTERPRETER: &str = "code-interpreter";

/// Reserved for the agent. Refused as working directory, mount path and file path.
pub const RESERVED: &str = "/workspace/.nullspace";

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
}

fn check_name(name: &str) -> Result<()> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let is_good = (1..=64).contains(&name.len()) && name.chars().all(is_plain) && !name.starts_with("tmpl_");
    if is_good && name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return Ok(());
    }
    Err(Error::invalid(
        "name",
        format_args!("is {name:?}: give 1 to 64 letters, digits, `.`, `_` and `-`, such as \"web\""),
    ))
}

/// Name part of a reference: `name`, `name:tag`, `nullspace/name:tag` and `local/name:tag` mean the same here, since
/// a local template has one build. `None` for references that no local template can have.
pub(super) fn local_name(reference: &str) -> Option<&str> {
    let bare = reference
        .strip_prefix("nullspace/")
        .or_else(|| reference.strip_prefix("local/"))
        .unwrap_or(reference);
    let (name, tag) = bare.split_once(':').unwrap_or((bare, "latest"));
    let is_plain = !name.is_empty() && !name.contains('/');
    (is_plain && matches!(tag, "latest" | "default" | "stable")).then_some(name)
}

impl Engine {
    /// The template that a reference means.
    pub async fn template(&self, reference: &str) -> Result<Template> {
        let all = self.templates().await?;
        let found = all.iter().find(|t| t.id == reference).or_else(|| {
            let name = local_name(reference)?;
            all.iter().find(|t| t.name == name)
        });
        found.cloned().ok_or_else(|| {
            let names: Vec<&str> = all.iter().map(|t| t.name.as_str()).collect();
            Error::new(
                Kind::TemplateNotFound,
                format!(
                    "this engine has no template {reference:?}; it has: {}",
                    names.join(", ")
                ),
            )
            .with_action("use template \"base\"")
        })
    }

    /// Makes a template. Its files are copied, or those of the snapshot kept.
    pub async fn import_template(&self, wanted: ImportTemplate) -> Result<Template> {
        check_name(&wanted.name)?;
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
                template.size_bytes = snapshot.size_bytes;
                pin
            }
            TemplateSource::Files(path) => {
                self.refuse_without_room().await?;
                let (name, pin) = self.new_layer().await?;
                let layer = match self.backend.import_layer(&name, &path).await {
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
        let id = template.id.clone();
        let deleted = self
            .store
            .call(move |c| documents::delete(c, documents::Kind::Template, &id));
        deleted.await?;
        self.collect_layers().await;
        Ok(template)
    }

    /// All templates, those that come with the engine first. One of the user's own may stand in for the second of them.
    pub async fn templates(&self) -> Result<Vec<Template>> {
        let rows = self
            .store
            .call(|c| documents::list(c, documents::Kind::Template, None));
        let mut all = vec![Template::base()];
        for row in rows.await? {
            all.push(serde_json::from_str(&row).map_err(|e| Error::internal("reading a template", e))?);
        }
        if !all.iter().any(|template| template.name == CODE_INTERPRETER) {
            all.insert(1, Template::code_interpreter());
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_to_local_templates_have_several_spellings() {
        for text in [
            "base",
            "base:latest",
            "nullspace/base",
            "nullspace/base:default",
            "local/base",
        ] {
            assert_eq!(local_name(text), Some("base"), "{text}");
        }
        for text in ["", ":latest", "team/base", "nullspace/a/b", "base:tb_1"] {
            assert_eq!(local_name(text), None, "{text}");
        }
    }
}
