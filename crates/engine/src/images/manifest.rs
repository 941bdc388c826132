//! What registries say of images. Of each document only what is used is read: the crates that know all of it bring two
//! dozen others along.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

use super::error::{Error, Kind, Result};
use super::reference::{is_digest, Platform};

/// Most layers of an image. A machine is made of at most 490, and the steps of a build come on top.
pub const MOST_LAYERS: usize = 256;

/// Types of manifests that a registry may answer with.
pub const ACCEPTED: &str = "application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json";

/// A thing of a registry, by its content.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    #[serde(default)]
    pub media_type: String,
    pub digest: String,
    pub size: u64,
    #[serde(default)]
    platform: Option<DescribedPlatform>,
}

#[derive(Debug, Clone, Deserialize)]
struct DescribedPlatform {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    variant: Option<String>,
}

/// A manifest of either kind.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    #[serde(default)]
    schema_version: u64,
    #[serde(default)]
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Option<Vec<Descriptor>>,
    #[serde(default)]
    manifests: Option<Vec<Descriptor>>,
}

/// What a reference led to.
#[derive(Debug)]
pub enum Manifest {
    /// One image.
    Image {
        config: Descriptor,
        layers: Vec<Descriptor>,
    },
    /// Images for several platforms.
    Index(Vec<Descriptor>),
}

impl Manifest {
    /// Reads one, and checks what it names.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let document: Document = serde_json::from_slice(bytes)
            .map_err(|error| Error::refused(format!("the registry's manifest cannot be read: {error}")))?;
        if document.schema_version != 2 {
            return Err(Error::refused(
                "the manifest is of version 1, which registries gave up: push the image again with a current tool",
            ));
        }
        let manifest = match (document.manifests, document.config, document.layers) {
            (Some(manifests), None, None) => Self::Index(manifests),
            (None, Some(config), Some(layers)) => Self::Image { config, layers },
            _ => {
                return Err(Error::refused(
                    "the manifest is neither one of an image nor a list of such",
                ))
            }
        };
        let named: Vec<&Descriptor> = match &manifest {
            Self::Index(manifests) => manifests.iter().collect(),
            Self::Image { config, layers } => layers.iter().chain([config]).collect(),
        };
        for one in named {
            if !is_digest(&one.digest) {
                let text = format!(
                    "the manifest names {:?}: only sha256 digests are supported",
                    one.digest
                );
                return Err(Error::refused(text));
            }
        }
        if let Self::Image { layers, .. } = &manifest {
            if layers.len() > MOST_LAYERS {
                let text = format!(
                    "the image has {} layers, and at most {MOST_LAYERS} are taken",
                    layers.len()
                );
                return Err(Error::refused(text));
            }
            for layer in layers {
                if !is_layer_type(&layer.media_type) {
                    let text = format!(
                        "the image holds a layer of type {:?}: only tar archives, plain or with gzip or zstd, can be unpacked",
                        layer.media_type
                    );
                    return Err(Error::refused(text));
                }
            }
        }
        Ok(manifest)
    }
}

fn is_layer_type(media_type: &str) -> bool {
    let tar = [
        "application/vnd.oci.image.layer.v1.tar",
        "application/vnd.docker.image.rootfs.diff.tar",
    ];
    tar.iter()
        .filter_map(|tar| media_type.strip_prefix(tar))
        .any(|rest| matches!(rest, "" | "+gzip" | "+zstd" | ".gzip" | ".zstd"))
}

/// The image of an index for a platform.
pub fn choose<'a>(manifests: &'a [Descriptor], wanted: &Platform) -> Result<&'a Descriptor> {
    let fits = |one: &&Descriptor| {
        one.platform
            .as_ref()
            .is_some_and(|p| p.os == wanted.os && p.architecture == wanted.architecture)
    };
    let variant = |one: &Descriptor| one.platform.as_ref().and_then(|p| p.variant.clone());
    let candidates: Vec<&Descriptor> = manifests.iter().filter(fits).collect();
    let exact = candidates.iter().find(|one| variant(one) == wanted.variant);
    // What is not asked for in detail may be of any; of arm64 there is one in practice.
    let any = candidates.first().filter(|_| wanted.variant.is_none());
    if let Some(found) = exact.or(any) {
        return Ok(found);
    }
    let mut there: Vec<String> = manifests
        .iter()
        .filter_map(|one| one.platform.as_ref())
        .filter(|p| p.os != "unknown")
        .map(|p| {
            let variant = p.variant.as_ref().map(|v| format!("/{v}")).unwrap_or_default();
            format!("{}/{}{variant}", p.os, p.architecture)
        })
        .collect();
    there.dedup();
    Err(Error::new(
        Kind::NotFound,
        format!(
            "the image is not there for {wanted}; it is for: {}",
            there.join(", ")
        ),
    ))
}

/// What an image says of how it is to be run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageConfig {
    /// Environment.
    pub envs: BTreeMap<String, String>,
    /// Where commands start; `/` when the image says nothing.
    pub workdir: String,
    /// As whom: empty (root), `name`, `name:group` or numbers.
    pub user: String,
    /// What is run, in front of `cmd`.
    pub entrypoint: Vec<String>,
    /// What is run, or the arguments of `entrypoint`.
    pub cmd: Vec<String>,
    /// What `RUN` uses; empty means `/bin/sh -c`.
    pub shell: Vec<String>,
    /// Instructions for Dockerfiles that begin with it.
    pub on_build: Vec<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// The configuration of an image: what it says, and what its layers are when unpacked, the lowest first.
#[derive(Debug)]
pub struct Configuration {
    pub config: ImageConfig,
    pub diff_ids: Vec<String>,
}

/// `null` is as good as nothing: tools write both.
fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    d: D,
) -> std::result::Result<T, D::Error> {
    Ok(Option::<T>::deserialize(d)?.unwrap_or_default())
}

impl Configuration {
    /// Reads one, and checks that it is for the platform and describes as many layers as there are.
    pub fn parse(bytes: &[u8], platform: &Platform, layers: usize) -> Result<Self> {
        #[derive(Deserialize)]
        struct Root {
            #[serde(default)]
            os: String,
            #[serde(default)]
            architecture: String,
            #[serde(default, deserialize_with = "or_default")]
            config: Run,
            rootfs: RootFs,
        }
        #[derive(Deserialize)]
        struct RootFs {
            #[serde(default, deserialize_with = "or_default")]
            diff_ids: Vec<String>,
        }
        #[derive(Default, Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Run {
            #[serde(default, deserialize_with = "or_default")]
            env: Vec<String>,
            #[serde(default, deserialize_with = "or_default")]
            working_dir: String,
            #[serde(default, deserialize_with = "or_default")]
            user: String,
            #[serde(default, deserialize_with = "or_default")]
            entrypoint: Vec<String>,
            #[serde(default, deserialize_with = "or_default")]
            cmd: Vec<String>,
            #[serde(default, deserialize_with = "or_default")]
            shell: Vec<String>,
            #[serde(default, deserialize_with = "or_default")]
            on_build: Vec<String>,
            #[serde(default, deserialize_with = "or_default")]
            labels: BTreeMap<String, String>,
        }
        let root: Root = serde_json::from_slice(bytes)
            .map_err(|error| Error::refused(format!("the image's configuration cannot be read: {error}")))?;
        if root.os != platform.os || root.architecture != platform.architecture {
            let text = format!(
                "the image is for {}/{}, and machines here are {platform}",
                root.os, root.architecture
            );
            return Err(Error::new(Kind::NotFound, text));
        }
        if root.rootfs.diff_ids.len() != layers {
            let text = format!(
                "the image has {layers} layers and describes {}: it is broken",
                root.rootfs.diff_ids.len()
            );
            return Err(Error::refused(text));
        }
        if let Some(bad) = root.rootfs.diff_ids.iter().find(|id| !is_digest(id)) {
            let text = format!("the image describes a layer {bad:?}: only sha256 digests are supported");
            return Err(Error::refused(text));
        }
        let run = root.config;
        let envs = run.env.iter().filter_map(|pair| pair.split_once('='));
        let config = ImageConfig {
            envs: envs.map(|(name, value)| (name.into(), value.into())).collect(),
            workdir: if run.working_dir.is_empty() {
                "/".into()
            } else {
                run.working_dir
            },
            user: run.user,
            entrypoint: run.entrypoint,
            cmd: run.cmd,
            shell: run.shell,
            on_build: run.on_build,
            labels: run.labels,
        };
        Ok(Self {
            config,
            diff_ids: root.rootfs.diff_ids,
        })
    }
}
