//! What builds and templates are called: tags, names that a template had, names that are kept for somebody, and who sees it.

use std::sync::Arc;
use std::time::Duration;

use nullspace_wire::template::{
    TemplateAliasInfo, TemplateInfo, TemplateNameClaim, TemplateNamespaceInfo, TemplateTagInfo,
    TemplateVisibility,
};
use nullspace_wire::Timestamp;
use sha2::{Digest, Sha256};

use crate::machine::ground::{clock, ids, Error, Kind, Result};
use crate::machine::templates::{check_name, check_tag, Reference, TaggedTemplate, Template, LOCAL};
use crate::machine::Engine;
use crate::store::{documents, templates};

/// How long a name is kept.
const CLAIM: Duration = Duration::from_secs(15 * 60);

fn builtin(template: &Template) -> Error {
    Error::new(
        Kind::Conflict,
        format!(
            "`{}` comes with the engine: it has no builds and keeps its name",
            template.name
        ),
    )
}

impl Engine {
    /// A template of the user's own.
    async fn own(&self, reference: &str) -> Result<TaggedTemplate> {
        let known = self.known(reference).await?;
        match known.template.is_builtin() {
            true => Err(builtin(&known.template)),
            false => Ok(known),
        }
    }

    /// Tags of a template.
    pub async fn template_tags(&self, reference: &str) -> Result<Vec<TemplateTagInfo>> {
        let known = self.own(reference).await?;
        let info = |(tag, build_id, created_at)| TemplateTagInfo {
            tag,
            build_id,
            created_at: Timestamp(created_at),
        };
        Ok(known.tags.into_iter().map(info).collect())
    }

    /// Points tags at the build that a reference means.
    pub async fn assign_tags(self: &Arc<Self>, reference: &str, tags: Vec<String>) -> Result<TemplateInfo> {
        let known = self.own(reference).await?;
        let Some(build) = known.template.build_id else {
            return Err(Error::new(
                Kind::Conflict,
                format!(
                    "template {:?} was imported, and has no builds that a tag could mean",
                    known.template.name
                ),
            ));
        };
        self.point_tags(&known.template.id, &build, tags).await
    }

    pub(super) async fn point_tags(
        self: &Arc<Self>,
        template: &str,
        build: &str,
        tags: Vec<String>,
    ) -> Result<TemplateInfo> {
        if tags.is_empty() {
            return Err(Error::invalid(
                "tags",
                "is empty: give at least one, such as \"stable\"",
            ));
        }
        for tag in &tags {
            check_tag("tags", tag)?;
        }
        let (id, build_id) = (template.to_owned(), build.to_owned());
        let set = self.store.call(move |c| {
            let transaction = c.transaction()?;
            if documents::get(&transaction, documents::Kind::Template, &id)?.is_none() {
                return Ok(false);
            }
            for tag in &tags {
                templates::set_tag(&transaction, &id, tag, &build_id, &clock::now().0)?;
            }
            transaction.commit()?;
            Ok(true)
        });
        if !set.await? {
            return Err(Error::new(
                Kind::TemplateNotFound,
                format!("template {template} was deleted meanwhile"),
            ));
        }
        self.roll_pools(template).await;
        self.template_info(&format!("{template}:{build}")).await
    }

    /// Removes a tag. The build that it meant stays for a while under its id.
    pub async fn remove_tag(self: &Arc<Self>, reference: &str, tag: &str) -> Result<()> {
        let known = self.own(reference).await?;
        let (id, wanted) = (known.template.id.clone(), tag.to_owned());
        let removed = self
            .store
            .call(move |c| templates::remove_tag(c, &id, &wanted))
            .await?;
        if !removed {
            return Err(Error::new(
                Kind::NotFound,
                format!("template {:?} has no tag {tag:?}", known.template.name),
            ));
        }
        self.roll_pools(&known.template.id).await;
        self.collect_layers().await;
        Ok(())
    }

    /// Changes who sees a template.
    pub async fn set_visibility(
        &self,
        reference: &str,
        visibility: TemplateVisibility,
    ) -> Result<TemplateInfo> {
        let known = self.own(reference).await?;
        self.change_document(&known.template.id, move |template| {
            template.visibility = visibility
        })
        .await?;
        self.template_info(reference).await
    }

    /// Changes what is stored of a template whatever its build.
    async fn change_document(
        &self,
        id: &str,
        change: impl FnOnce(&mut Template) + Send + 'static,
    ) -> Result<()> {
        let id = id.to_owned();
        let changed = self.store.call(move |c| {
            let Some(text) = documents::get(c, documents::Kind::Template, &id)? else {
                return Ok(());
            };
            let Ok(mut template) = serde_json::from_str::<Template>(&text) else {
                return Ok(());
            };
            change(&mut template);
            let json = serde_json::to_string(&template).unwrap_or(text);
            documents::put(c, documents::Kind::Template, &id, &template.name, &json)
        });
        Ok(changed.await?)
    }

    /// Gives a template another name. The old one goes on meaning it.
    pub async fn rename_template(self: &Arc<Self>, reference: &str, new_name: &str) -> Result<TemplateInfo> {
        check_name("new_name", new_name)?;
        let known = self.own(reference).await?;
        if [Template::base(), Template::code_interpreter()]
            .iter()
            .any(|t| t.name == new_name)
        {
            return Err(Error::new(
                Kind::Conflict,
                format!("`{new_name}` comes with the engine: give another name"),
            ));
        }
        let template = known.template;
        let (id, old, new) = (template.id.clone(), template.name, new_name.to_owned());
        let renamed = self.store.call(move |c| {
            let transaction = c.transaction()?;
            let owner = templates::find(&transaction, &new)?
                .and_then(|text| serde_json::from_str::<Template>(&text).ok());
            if owner.is_some_and(|other| other.id != id) {
                return Ok(Err("belongs to another template"));
            }
            if templates::claimed(&transaction, &new, clock::unix_seconds())?.is_some() {
                return Ok(Err("is kept for somebody"));
            }
            if old != new {
                templates::remove_alias(&transaction, &id, &new)?;
                templates::add_alias(&transaction, &old, &id, &clock::now().0)?;
            }
            if let Some(text) = documents::get(&transaction, documents::Kind::Template, &id)? {
                if let Ok(mut template) = serde_json::from_str::<Template>(&text) {
                    template.name.clone_from(&new);
                    let json = serde_json::to_string(&template).unwrap_or(text);
                    documents::put(&transaction, documents::Kind::Template, &id, &new, &json)?;
                }
            }
            transaction.commit()?;
            Ok(Ok(()))
        });
        renamed.await?.map_err(|why| {
            Error::new(Kind::Conflict, format!("the name {new_name:?} {why}"))
                .with_action("give another name")
        })?;
        self.template_info(&template.id).await
    }

    /// Names that a template had.
    pub async fn template_aliases(&self, reference: &str) -> Result<Vec<TemplateAliasInfo>> {
        let id = self.own(reference).await?.template.id;
        let rows = self.store.call(move |c| templates::aliases(c, &id)).await?;
        let info = |(name, created_at)| TemplateAliasInfo {
            alias_ref: format!("{LOCAL}/{name}"),
            created_at: Timestamp(created_at),
        };
        Ok(rows.into_iter().map(info).collect())
    }

    /// Forgets a name that a template had.
    pub async fn remove_alias(&self, reference: &str, alias: &str) -> Result<()> {
        let id = self.own(reference).await?.template.id;
        let name = Reference::parse(alias).map_or_else(|| alias.to_owned(), |parsed| parsed.subject);
        match self
            .store
            .call(move |c| templates::remove_alias(c, &id, &name))
            .await?
        {
            true => Ok(()),
            false => Err(Error::new(
                Kind::NotFound,
                format!("the template never had the name {alias:?}"),
            )),
        }
    }

    /// Keeps a name for who gets the token.
    pub async fn claim_name(&self, reference: &str) -> Result<TemplateNameClaim> {
        let name = Reference::parse(reference)
            .map(|parsed| parsed.subject)
            .unwrap_or_default();
        check_name("template_ref", &name)?;
        let token = ids::secret("tnc");
        let hash = Sha256::digest(token.as_bytes()).to_vec();
        let expires_at = clock::after(CLAIM);
        let (wanted, now) = (name.clone(), clock::unix_seconds());
        let is_builtin = [Template::base(), Template::code_interpreter()]
            .iter()
            .any(|t| t.name == name);
        let claimed = self.store.call(move |c| {
            let is_taken = is_builtin || templates::find(c, &wanted)?.is_some();
            Ok(!is_taken && templates::claim(c, &hash, &wanted, now, now + CLAIM.as_secs() as i64)?)
        });
        if !claimed.await? {
            return Err(Error::new(
                Kind::Conflict,
                format!("the name {name:?} is taken, or kept for somebody"),
            )
            .with_action("give another name"));
        }
        Ok(TemplateNameClaim {
            claim_token: token,
            canonical_ref: format!("{LOCAL}/{name}"),
            expires_at,
        })
    }

    /// Gives a kept name up.
    pub async fn release_claim(&self, token: &str) -> Result<()> {
        let hash = Sha256::digest(token.as_bytes()).to_vec();
        match self.store.call(move |c| templates::release(c, &hash)).await? {
            true => Ok(()),
            // The token is not said again: it is one.
            false => Err(Error::new(
                Kind::NotFound,
                "no name is kept for this token: it was released, used or has expired",
            )),
        }
    }
}

/// A namespace of this engine.
pub fn namespace(slug: &str) -> Result<TemplateNamespaceInfo> {
    let kind = match slug {
        LOCAL => "user",
        "nullspace" => "system",
        _ => {
            return Err(Error::new(
                Kind::NotFound,
                format!("this engine has no namespace {slug:?}: templates are in \"local\", what comes with it in \"nullspace\""),
            ));
        }
    };
    Ok(TemplateNamespaceInfo {
        slug: slug.to_owned(),
        kind: kind.into(),
        is_default: slug == LOCAL,
    })
}
