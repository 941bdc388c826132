//! What a build starts from: a template of this engine, or an image of a registry, which is pulled first.

use std::sync::Arc;

use nullspace_wire::template::{BuildLogKind, CreateTemplateRequest, ImageAuth};
use nullspace_wire::Envs;

use super::recipe::Recipe;
use super::step::check_user;
use super::Build;
use crate::images::{self, Auth, Image, Platform, Progress, Pull};
use crate::machine::ground::{Error, Kind, Result};
use crate::machine::templates::{is_local_reference, WORKSPACE};
use crate::machine::{validate, Engine};

/// What a build starts from.
#[derive(Debug, Clone)]
pub enum Base {
    /// A template: its reference.
    Template(String),
    /// An image.
    Image {
        /// Which.
        reference: images::Reference,
        /// Opens its registry. For this one build: never stored.
        auth: Option<Auth>,
    },
    /// What a Dockerfile says.
    Dockerfile(Arc<Recipe>),
}

impl std::fmt::Display for Base {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Template(reference) => f.write_str(reference),
            Self::Image { reference, .. } => write!(f, "{reference}"),
            Self::Dockerfile(recipe) => f.write_str(&recipe.root()),
        }
    }
}

impl Base {
    /// Checks what a request says of it.
    pub fn check(request: &CreateTemplateRequest, warnings: &mut Vec<String>) -> Result<Self> {
        let given = request
            .base_image
            .as_deref()
            .map(str::trim)
            .filter(|text| !text.is_empty());
        if request.dockerfile.is_some() {
            if given.is_some() || request.steps.is_some() {
                return Err(Error::invalid(
                    "dockerfile",
                    "excludes `base_image` and `steps`: give one of the two",
                ));
            }
            return Ok(Self::Dockerfile(Arc::new(Recipe::check(request, warnings)?)));
        }
        let Some(given) = given else {
            return Err(Error::invalid(
                "base_image",
                "is missing: name an image such as \"python:3.12-slim\", or a template such as \"nullspace/base:latest\"",
            ));
        };
        // By its form alone: what an image is called must not depend on which templates there are.
        if is_local_reference(given) {
            for (field, is_given) in [
                ("base_image_auth", request.base_image_auth.is_some()),
                ("registry_auth", request.registry_auth.is_some()),
            ] {
                if is_given {
                    return Err(Error::invalid(
                        field,
                        "is for images of a registry: leave it out with a template as `base_image`",
                    ));
                }
            }
            return Ok(Self::Template(given.to_owned()));
        }
        let reference = images::Reference::parse(given)
            .map_err(|error| Error::invalid("base_image", format_args!("cannot be used: {error}")))?;
        let credentials = Credentials::check(request)?;
        for (place, (registry, _)) in credentials.registries.iter().enumerate() {
            if !reference.is_of(registry) {
                warnings.push(format!(
                    "registry_auth[{place}] is not used: it is for {registry:?}, and the image is of {:?}",
                    reference.registry()
                ));
            }
        }
        let auth = credentials.own.clone().or_else(|| credentials.of(&reference));
        Ok(Self::Image { reference, auth })
    }

    /// Whether the build was given credentials for it.
    pub fn has_auth(&self) -> bool {
        match self {
            Self::Template(_) => false,
            Self::Image { auth, .. } => auth.is_some(),
            Self::Dockerfile(recipe) => recipe.has_auth(),
        }
    }
}

/// What opens registries. For one build: never stored.
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    /// For the image that the build starts from.
    pub own: Option<Auth>,
    /// For registries.
    pub registries: Vec<(String, Auth)>,
}

impl Credentials {
    /// Checks those of a request.
    pub fn check(request: &CreateTemplateRequest) -> Result<Self> {
        let own = request.base_image_auth.as_ref();
        let own = own.map(|auth| checked("base_image_auth", auth)).transpose()?;
        let mut registries = Vec::new();
        for (place, given) in request.registry_auth.iter().flatten().enumerate() {
            let auth = checked(&format!("registry_auth[{place}].auth"), &given.auth)?;
            registries.push((given.registry.clone(), auth));
        }
        Ok(Self { own, registries })
    }

    /// Those for the registry of an image.
    pub fn of(&self, reference: &images::Reference) -> Option<Auth> {
        let mut fitting = self
            .registries
            .iter()
            .filter(|(registry, _)| reference.is_of(registry));
        fitting.next().map(|(_, auth)| auth.clone())
    }
}

fn checked(field: &str, auth: &ImageAuth) -> Result<Auth> {
    let auth = match auth.clone() {
        ImageAuth::Basic { username, password } => Auth::Basic { username, password },
        ImageAuth::GcpArtifactRegistry { service_account_json } => Auth::GcpArtifactRegistry {
            service_account_json: match service_account_json {
                serde_json::Value::String(text) => text,
                other => other.to_string(),
            },
        },
        ImageAuth::AwsEcr {
            access_key_id,
            secret_access_key,
            region,
            session_token,
        } => Auth::AwsEcr {
            access_key_id,
            secret_access_key,
            region,
            session_token,
        },
    };
    auth.check()
        .map_err(|error| Error::invalid(field, format_args!("cannot be used: {error}")))?;
    Ok(auth)
}

/// What an image says of how it is to be run, as machines have it.
#[derive(Debug, PartialEq)]
pub struct Defaults {
    /// Environment.
    pub envs: Envs,
    /// Where commands start.
    pub workdir: String,
    /// As whom; `None` = root.
    pub user: Option<String>,
}

impl Defaults {
    /// Of an image. `say` hears what is not taken over.
    pub fn of(config: &images::ImageConfig, mut say: impl FnMut(BuildLogKind, String)) -> Result<Self> {
        validate::check_envs("the image's environment", &config.envs)?;
        // An image that names no directory means `/`, where nobody keeps a project: machines have one for that.
        let workdir = match config.workdir.as_str() {
            "/" => WORKSPACE.to_owned(),
            path => validate::absolute("the image's working directory", path)?,
        };
        let (user, group) = match config.user.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (config.user.as_str(), None),
        };
        let user = match user {
            "" | "root" | "0" => None,
            user => {
                check_user("the image's user", user)?;
                Some(user.to_owned())
            }
        };
        if let Some(group) = group.filter(|group| user.as_deref() != Some(group)) {
            let text = format!(
                "the image names the group {group:?}: in machines its user has the groups of /etc/group"
            );
            say(BuildLogKind::Warning, text);
        }
        let command: Vec<&str> = config
            .entrypoint
            .iter()
            .chain(&config.cmd)
            .map(String::as_str)
            .collect();
        if !command.is_empty() {
            // Mostly a shell or an interpreter, which ends at once where nobody types.
            let text = format!(
                "the image would run {}, machines do not: give `start_cmd` if they are to run something",
                serde_json::json!(command)
            );
            say(BuildLogKind::Message, text);
        }
        Ok(Self {
            envs: config.envs.clone(),
            workdir,
            user,
        })
    }
}

impl Engine {
    /// Pulls an image, and says in the log how it goes. When the future is dropped, what is whole stays and nothing else.
    pub(super) async fn pull_base(
        &self,
        build: &Build,
        reference: &images::Reference,
        auth: Option<&Auth>,
    ) -> images::Result<Image> {
        let tell = |progress: Progress| {
            let kind = match progress {
                Progress::Retrying { .. } => BuildLogKind::Retry,
                _ => BuildLogKind::Message,
            };
            build.log.add(kind, &progress.to_string(), |entry| {
                entry.phase = Some("prepare".into());
            });
        };
        let wanted = Pull {
            reference: reference.clone(),
            auth: auth.cloned(),
            platform: Platform::host(),
        };
        self.images.pull(&wanted, &tell).await
    }
}

/// Why an image could not be had: phase and reason of the failure, and the error.
pub fn not_pulled(error: images::Error) -> (&'static str, &'static str, Error) {
    use images::Kind as Why;
    let text = format!("the base image cannot be had: {}", error.message);
    let failed = |phase| Error::new(Kind::Build(phase), text.clone()).retryable(error.kind.is_retryable());
    match error.kind {
        Why::Unauthorized => (
            "auth",
            "registry_refused",
            Error::new(Kind::Unauthorized, text.clone())
                .retryable(false)
                .with_action(
                    "give `username` and `password` of the registry with the image, and check its name",
                ),
        ),
        Why::NotFound => (
            "prepare",
            "base_not_found",
            failed("prepare").with_action("check the name and the tag of the image"),
        ),
        Why::RateLimited | Why::Unreachable => (
            "prepare",
            "registry_unavailable",
            failed("prepare").with_action("build again in a while: layers that came are kept"),
        ),
        Why::Untrusted => (
            "prepare",
            "registry_untrusted",
            failed("prepare").with_action(
                "see docs/templates.md for how the engine comes to trust a registry, then build again",
            ),
        ),
        Why::NoRoom => (
            "prepare",
            "no_room",
            Error::new(Kind::CapacityExceeded, text.clone()).with_action(
                "make room: `nullspace-engine prune` removes layers of images that nothing uses, with `--cache` also the cache of builds",
            ),
        ),
        Why::Invalid | Why::Refused => (
            "prepare",
            "image_refused",
            failed("prepare").with_action("build on another image"),
        ),
        _ => ("prepare", "engine", Error::internal("pulling an image", error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const PASSWORD: &str = "hunter2-registry";

    fn checked(body: serde_json::Value) -> Result<(Base, Vec<String>)> {
        let mut warnings = Vec::new();
        let base = Base::check(&serde_json::from_value(body).unwrap(), &mut warnings)?;
        Ok((base, warnings))
    }

    fn basic(username: &str) -> serde_json::Value {
        json!({ "kind": "basic", "username": username, "password": PASSWORD })
    }

    /// Name of the user of the credentials that are taken.
    fn user(base: &Base) -> Option<&str> {
        match base {
            Base::Image {
                auth: Some(Auth::Basic { username, .. }),
                ..
            } => Some(username),
            _ => None,
        }
    }

    #[test]
    fn templates_and_images_are_told_apart_by_their_form() {
        for (text, shown, is_image) in [
            ("nullspace/base:latest", "nullspace/base:latest", false),
            ("local/app", "local/app", false),
            ("tmpl_1", "tmpl_1", false),
            ("app:tb_1", "app:tb_1", false),
            (" python:3.12-slim ", "docker.io/library/python:3.12-slim", true),
            ("ghcr.io/team/app", "ghcr.io/team/app:latest", true),
        ] {
            let (base, _) = checked(json!({ "base_image": text })).unwrap();
            assert_eq!(
                (base.to_string().as_str(), matches!(base, Base::Image { .. })),
                (shown, is_image)
            );
        }
        let message = checked(json!({ "base_image": "No Image" })).unwrap_err().message;
        assert!(
            message.starts_with("`base_image`") && message.contains("python:3.12-slim"),
            "{message}"
        );
    }

    #[test]
    fn credentials_are_those_of_the_image_or_of_its_registry() {
        let registries = json!([
            { "registry": "ghcr.io", "auth": basic("other") },
            { "registry": "https://index.docker.io/v1/", "auth": basic("docker") },
        ]);
        let (base, warnings) =
            checked(json!({ "base_image": "python", "registry_auth": registries })).unwrap();
        assert_eq!(user(&base), Some("docker"));
        assert!(
            warnings.len() == 1 && warnings[0].contains("ghcr.io"),
            "{warnings:?}"
        );
        assert!(!format!("{base:?}{warnings:?}").contains(PASSWORD));
        let both =
            json!({ "base_image": "python", "registry_auth": registries, "base_image_auth": basic("own") });
        assert_eq!(user(&checked(both).unwrap().0), Some("own"));
        let none = json!({ "base_image": "quay.io/a/b", "registry_auth": registries });
        assert!(!checked(none).unwrap().0.has_auth());

        for (body, field) in [
            (
                json!({ "base_image": "nullspace/base", "base_image_auth": basic("u") }),
                "`base_image_auth`",
            ),
            (
                json!({ "base_image": "nullspace/base", "registry_auth": registries }),
                "`registry_auth`",
            ),
            (
                json!({ "base_image": "python", "base_image_auth": basic("") }),
                "`base_image_auth`",
            ),
            (
                json!({ "base_image": "python", "registry_auth": [{ "registry": "ghcr.io", "auth": basic("a:b") }] }),
                "`registry_auth[0].auth`",
            ),
        ] {
            let message = checked(body).unwrap_err().message;
            assert!(
                message.starts_with(field) && !message.contains(PASSWORD),
                "{message}"
            );
        }
    }

    #[test]
    fn what_an_image_says_becomes_what_machines_have() {
        let mut said = Vec::new();
        let config = images::ImageConfig {
            envs: Envs::from([("A".to_owned(), "1".to_owned())]),
            workdir: "/srv/./app/".into(),
            user: "app:staff".into(),
            entrypoint: vec!["/start".into()],
            cmd: vec!["now".into()],
            ..images::ImageConfig::default()
        };
        let defaults = Defaults::of(&config, |kind, text| said.push((kind, text))).unwrap();
        assert_eq!(
            (
                defaults.workdir.as_str(),
                defaults.user.as_deref(),
                defaults.envs["A"].as_str()
            ),
            ("/srv/app", Some("app"), "1")
        );
        assert!(
            said[0].0 == BuildLogKind::Warning && said[0].1.contains("staff"),
            "{said:?}"
        );
        assert!(
            said[1].1.contains(r#"["/start","now"]"#) && said[1].1.contains("start_cmd"),
            "{said:?}"
        );

        let plain = images::ImageConfig {
            workdir: "/".into(),
            user: "0:0".into(),
            ..images::ImageConfig::default()
        };
        let defaults = Defaults::of(&plain, |_, _| ()).unwrap();
        assert_eq!((defaults.workdir.as_str(), defaults.user), (WORKSPACE, None));
        let odd = images::ImageConfig {
            user: "An User".into(),
            ..plain
        };
        let message = Defaults::of(&odd, |_, _| ()).unwrap_err().message;
        assert!(message.contains("An User"), "{message}");
    }
}
