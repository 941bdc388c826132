//! What machines start from. `base` is built in; others come from the store.

use nullspace_wire::Envs;
use serde::{Deserialize, Serialize};

use super::error::{Error, Kind, Result};
use super::Engine;
use crate::store::documents;

/// Directory that every template has and where commands start.
pub const WORKSPACE: &str = "/workspace";

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
        }
    }

    /// Whether it comes with the engine.
    pub fn is_builtin(&self) -> bool {
        *self == Self::base()
    }
}

/// Name part of a reference: `name`, `name:tag`, `nullspace/name:tag` and `local/name:tag` mean the same here, since
/// a local template has one build. `None` for references that no local template can have.
fn local_name(reference: &str) -> Option<&str> {
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

    /// All templates, `base` first.
    pub async fn templates(&self) -> Result<Vec<Template>> {
        let rows = self
            .store
            .call(|c| documents::list(c, documents::Kind::Template, None));
        let mut all = vec![Template::base()];
        for row in rows.await? {
            all.push(serde_json::from_str(&row).map_err(|e| Error::internal("reading a template", e))?);
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
