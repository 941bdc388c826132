//! Copies of templates on the nodes of a cluster: one node builds and keeps them, the others have those that they were asked
//! for, or all, as copies.
//!
//! A copy replaces whatever the node had under the same id and the same names. Builds come in the order in which they were made;
//! those whose files are not here are left out, so that a reference never means one that no machine could start from.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::machine::ground::{Error, Result};
use crate::machine::templates::{Reference, Template};
use crate::machine::Engine;
use crate::store::documents::{self, Kind as Document};
use crate::store::templates::Tag;
use crate::store::{builds, templates};

/// A template with all that means it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mirror {
    /// `tmpl_...`
    pub id: String,
    /// As stored.
    document: String,
    tags: Vec<Tag>,
    /// Names that it had, and until when.
    aliases: Vec<(String, String)>,
    /// Those that machines can start from, oldest first.
    builds: Vec<Build>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Build {
    name: String,
    id: String,
    record: String,
    artifact: String,
}

/// What a node is to have.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Wanted {
    /// The template.
    pub mirror: Mirror,
    /// Only the files of this build; else those of all.
    pub build: Option<String>,
}

/// Layers of something stored that has some.
fn layers_of(stored: &str) -> Result<Vec<String>> {
    #[derive(Deserialize)]
    struct User {
        layers: Vec<String>,
    }
    serde_json::from_str::<User>(stored)
        .map(|user| user.layers)
        .map_err(|e| Error::internal("reading a template", e))
}

impl Wanted {
    /// Layers that the node needs for it.
    pub fn layers(&self) -> Result<Vec<String>> {
        let mut all = match self.mirror.builds.is_empty() {
            true => layers_of(&self.mirror.document)?,
            false => Vec::new(),
        };
        let is_wanted = |build: &&Build| self.build.as_ref().is_none_or(|id| *id == build.id);
        for build in self.mirror.builds.iter().filter(is_wanted) {
            all.extend(layers_of(&build.artifact)?);
        }
        Ok(all)
    }
}

fn read(connection: &rusqlite::Connection, id: &str) -> rusqlite::Result<Option<Mirror>> {
    let Some(document) = documents::get(connection, Document::Template, id)? else {
        return Ok(None);
    };
    let builds = builds::usable(connection, id)?.into_iter();
    Ok(Some(Mirror {
        id: id.to_owned(),
        document,
        tags: templates::tags(connection, id)?,
        aliases: templates::aliases(connection, id)?,
        builds: builds
            .map(|(name, id, record, artifact)| Build {
                name,
                id,
                record,
                artifact,
            })
            .collect(),
    }))
}

fn write(connection: &rusqlite::Connection, mirror: &Mirror, builds: &[&Build]) -> rusqlite::Result<()> {
    let Ok(template) = serde_json::from_str::<Template>(&mirror.document) else {
        return Ok(());
    };
    // Another one that has one of its names is one that is not there any more.
    let names = mirror.aliases.iter().map(|(name, _)| name);
    for name in names.chain([&template.name]) {
        while let Some(text) = templates::find(connection, name)? {
            match serde_json::from_str::<Template>(&text) {
                Ok(other) if other.id != mirror.id => remove(connection, &other.id)?,
                _ => break,
            }
        }
    }
    templates::forget(connection, &mirror.id)?;
    documents::put(
        connection,
        Document::Template,
        &mirror.id,
        &template.name,
        &mirror.document,
    )?;
    for (tag, build, at) in &mirror.tags {
        templates::set_tag(connection, &mirror.id, tag, build, at)?;
    }
    for (name, at) in &mirror.aliases {
        templates::add_alias(connection, name, &mirror.id, at)?;
    }
    for build in builds {
        builds::insert(
            connection,
            &build.id,
            &mirror.id,
            &build.name,
            "ready",
            &build.record,
        )?;
        builds::update(
            connection,
            &build.id,
            "ready",
            &build.record,
            Some(&build.artifact),
        )?;
    }
    Ok(())
}

fn remove(connection: &rusqlite::Connection, id: &str) -> rusqlite::Result<()> {
    documents::delete(connection, Document::Template, id)?;
    templates::forget(connection, id)
}

impl Engine {
    /// The template that a reference means, for another node; `None` if every node has it anyway.
    pub async fn template_to_carry(&self, reference: &str) -> Result<Option<Wanted>> {
        let template = self.template(reference).await?;
        if template.is_builtin() {
            return Ok(None);
        }
        let (id, build) = (template.id, template.build_id);
        let mirror = self.store.call(move |c| read(c, &id)).await?;
        Ok(mirror.map(|mirror| Wanted { mirror, build }))
    }

    /// All templates of the user's own.
    pub async fn templates_to_carry(&self) -> Result<Vec<Mirror>> {
        let all = self.store.call(|c| {
            let mut all = Vec::new();
            for text in documents::list(c, Document::Template, None)? {
                if let Ok(template) = serde_json::from_str::<Template>(&text) {
                    all.extend(read(c, &template.id)?);
                }
            }
            Ok(all)
        });
        Ok(all.await?)
    }

    /// Whether a template is here as wanted.
    pub async fn has_template(&self, wanted: &Wanted) -> Result<bool> {
        let id = wanted.mirror.id.clone();
        let here = self.store.call(move |c| read(c, &id)).await?;
        let Some(here) = here else { return Ok(false) };
        let missing = |build: &Build| !here.builds.contains(build);
        let is_wanted = |build: &&Build| wanted.build.as_ref().is_none_or(|id| *id == build.id);
        let mirror = &wanted.mirror;
        Ok(here.document == mirror.document
            && here.tags == mirror.tags
            && here.aliases == mirror.aliases
            // None that is gone there.
            && here.builds.iter().all(|build| mirror.builds.contains(build))
            && !mirror.builds.iter().filter(is_wanted).any(missing))
    }

    /// Stores a template whose wanted layers are here and held.
    pub async fn keep_template(self: &Arc<Self>, wanted: Wanted) -> Result<()> {
        let mirror = wanted.mirror;
        // Files of other builds may be here by now, or still; they must stay until it is known who uses them.
        let mut every = Vec::new();
        for build in &mirror.builds {
            every.extend(layers_of(&build.artifact)?);
        }
        let pin = self.hold_layers(&every).await;
        let mut here = Vec::new();
        for (place, build) in mirror.builds.iter().enumerate() {
            if layers_of(&build.artifact)?
                .iter()
                .all(|layer| self.has_layer(layer))
            {
                here.push(place);
            }
        }
        let id = mirror.id.clone();
        let put = self.store.call(move |c| {
            let transaction = c.transaction()?;
            let builds: Vec<&Build> = here.iter().map(|place| &mirror.builds[*place]).collect();
            write(&transaction, &mirror, &builds)?;
            transaction.commit()
        });
        put.await?;
        drop(pin);
        self.collect_layers().await;
        self.roll_pools(&id).await;
        Ok(())
    }

    /// Removes templates that are not among these: they were deleted where they are kept.
    pub async fn keep_only_templates(&self, ids: Vec<String>) -> Result<()> {
        let removed = self.store.call(move |c| {
            let transaction = c.transaction()?;
            let mut removed = 0;
            for text in documents::list(&transaction, Document::Template, None)? {
                match serde_json::from_str::<Template>(&text) {
                    Ok(template) if !ids.contains(&template.id) => {
                        remove(&transaction, &template.id)?;
                        removed += 1;
                    }
                    _ => {}
                }
            }
            transaction.commit()?;
            Ok(removed)
        });
        if removed.await? > 0 {
            self.collect_layers().await;
        }
        Ok(())
    }
}

/// Whether every node has what a reference means, whatever templates there are.
pub fn is_everywhere(reference: &str) -> bool {
    Reference::parse(reference).is_some_and(|parsed| {
        let base = Template::base();
        parsed.subject == base.name || parsed.subject == base.id
    })
}
