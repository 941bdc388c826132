//! Images of OCI registries, as layers that machines can be made of.
//!
//! - [`Images`]: pulls images, keeps what it unpacked, and gives it up
//! - [`Reference`], [`Platform`]: which image
//! - [`Auth`]: credentials; `sigv4` signs for those of AWS
//! - `client`: requests, redirects, tokens, tries
//! - `manifest`: what registries say of images
//! - `archive`: a layer's archive on its way, which `unpack` makes a directory of; `finish` adds what every machine needs
//! - [`root_files`]: a directory or an archive of this computer, in place of an image
//!
//! A layer is kept under the digest of its unpacked archive, once, for all images that have it. It is put in its place
//! whole, and only after both of its digests were checked. Knows nothing of templates and of the store.

mod archive;
mod auth;
mod client;
mod error;
mod finish;
mod manifest;
mod reference;
mod root_files;
mod sigv4;
mod unpack;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use nullspace_agent::trees::Chain;
use sha2::{Digest, Sha256};

use crate::isolation::{meter, Backend, IsolationError, RootFiles};
use archive::Download;
use client::{Client, OnProgress, Repository};
use manifest::{Configuration, Descriptor, Manifest};

pub use auth::Auth;
pub use error::{Error, Kind, Result};
pub use manifest::ImageConfig;
pub use reference::{Platform, Reference};
pub use root_files::root_files;
pub use unpack::Limits;

/// Begin of the names of layers that came with images.
const PREFIX: &str = "image_";
/// Raised when layers are unpacked differently: older ones are not used any more, and go with the next
/// [`prune`](Images::prune).
const FORMAT: &str = "1";
/// Layers that are pulled at once.
const AT_ONCE: usize = 4;
/// Most bytes of a manifest and of a configuration. Registries take 4 MiB.
const LARGEST_DOCUMENT: u64 = 4 << 20;

/// How images are pulled.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// What a layer may be.
    pub limits: Limits,
    /// Where AWS is asked for a password, instead of the address of the region.
    pub ecr_endpoint: Option<String>,
    /// Wait before the second try; it doubles.
    pub first_wait: Option<Duration>,
}

/// Says whether more may be written; the text is for the person who pulls.
pub type Room = Arc<dyn Fn() -> std::result::Result<(), String> + Send + Sync>;

/// Pulls images and keeps their layers.
pub struct Images {
    client: Client,
    backend: Arc<dyn Backend>,
    room: Room,
    /// Layers of images that somebody holds, or that are being pulled.
    held: Mutex<Vec<Weak<BTreeSet<String>>>>,
    /// Written while layers are given up, read while somebody begins to hold some.
    gate: tokio::sync::RwLock<()>,
    /// One pull a layer at once.
    turns: Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>,
}

/// What to pull.
#[derive(Debug, Clone)]
pub struct Pull {
    /// Which image.
    pub reference: Reference,
    /// For its registry; `None` = as anybody.
    pub auth: Option<Auth>,
    /// For which computer.
    pub platform: Platform,
}

/// A pulled image. Its layers stay as long as it lives, and then as long as somebody says that they are used.
#[derive(Debug)]
pub struct Image {
    /// Digest of its manifest, that of the platform.
    pub digest: String,
    /// Its layers, nearest first. They are a whole root file system.
    pub layers: Vec<String>,
    /// How it is to be run.
    pub config: ImageConfig,
    /// Bytes on the disk, of which other images may use some too.
    pub size_bytes: u64,
    /// What a person should know: one sentence each.
    pub warnings: Vec<String>,
    _hold: Arc<BTreeSet<String>>,
}

/// How it goes, for a log.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Progress {
    /// The image is known.
    Resolved {
        /// As it was asked for.
        reference: String,
        /// Digest of its manifest.
        digest: String,
        /// How many layers it has.
        layers: usize,
        /// Bytes of them, packed.
        bytes: u64,
    },
    /// A layer is here already.
    Cached {
        /// Digest of its archive.
        digest: String,
    },
    /// A layer came.
    Downloaded {
        /// Digest of its archive.
        digest: String,
        /// Bytes of it.
        bytes: u64,
    },
    /// A layer is ready.
    Unpacked {
        /// Digest of its archive.
        digest: String,
        /// Bytes on the disk.
        bytes: u64,
    },
    /// Something is tried again.
    Retrying {
        /// Who was asked.
        what: String,
        /// Why once was not enough.
        why: String,
    },
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: &u64| *bytes as f64 / f64::from(1 << 20);
        let short = |digest: &str| digest.get(..19).unwrap_or(digest).to_owned();
        match self {
            Self::Resolved {
                reference,
                digest,
                layers,
                bytes,
            } => write!(
                f,
                "{reference} is {}: {layers} layers, {:.1} MiB",
                short(digest),
                mib(bytes)
            ),
            Self::Cached { digest } => write!(f, "layer {} is here already", short(digest)),
            Self::Downloaded { digest, bytes } => {
                write!(f, "layer {} came: {:.1} MiB", short(digest), mib(bytes))
            }
            Self::Unpacked { digest, bytes } => {
                write!(f, "layer {} is unpacked: {:.1} MiB", short(digest), mib(bytes))
            }
            Self::Retrying { what, why } => write!(f, "asking {what} again: {why}"),
        }
    }
}

/// What was given up, and what stayed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Layers that were removed, with their bytes on the disk.
    pub removed: BTreeMap<String, u64>,
    /// Layers that somebody uses.
    pub kept: BTreeMap<String, u64>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Name of the layer whose unpacked archive has a digest.
fn layer_name(diff_id: &str) -> String {
    format!("{PREFIX}{FORMAT}_{}", diff_id.trim_start_matches("sha256:"))
}

/// Whether a layer came with an image: any engine makes the same one of it.
pub fn is_layer(name: &str) -> bool {
    name.starts_with(PREFIX)
}

impl Images {
    /// Images whose layers are kept by a backend.
    pub fn new(backend: Arc<dyn Backend>, room: Room, options: Options) -> Self {
        Self {
            client: Client::new(options),
            backend,
            room,
            held: Mutex::default(),
            gate: tokio::sync::RwLock::default(),
            turns: Mutex::default(),
        }
    }

    /// Pulls an image, or finds it here. When the future is dropped, what is whole stays and nothing else.
    pub async fn pull(&self, wanted: &Pull, tell: OnProgress<'_>) -> Result<Image> {
        self.check_room()?;
        let login = match &wanted.auth {
            Some(auth) => Some(auth.login(&self.client, tell).await?),
            None => None,
        };
        let repository = Repository::new(&self.client, &wanted.reference, login, tell);
        let (digest, config, archives) = resolve(&repository, wanted).await?;
        let configuration = document(&repository, "blobs", &config).await?;
        let configuration = Configuration::parse(&configuration, &wanted.platform, archives.len())?;
        tell(Progress::Resolved {
            reference: wanted.reference.to_string(),
            digest: digest.clone(),
            layers: archives.len(),
            bytes: archives.iter().map(|one| one.size).sum(),
        });

        let names = chain(&configuration.diff_ids);
        let end = end_name(&names);
        let hold = self.hold(names.iter().chain([&end]).cloned().collect()).await;
        let pairs: BTreeMap<String, Descriptor> = configuration.diff_ids.into_iter().zip(archives).collect();
        let repository = &repository;
        let layers = stream::iter(pairs)
            .map(|(diff_id, archive)| async move { self.layer(repository, &diff_id, &archive, tell).await })
            .buffer_unordered(AT_ONCE);
        let warnings: Vec<Vec<String>> = layers.try_collect().await?;
        self.end(&end, &names).await?;

        let layers: Vec<String> = [end].into_iter().chain(names).collect();
        Ok(Image {
            size_bytes: self.sizes(layers.clone()).await?.values().sum(),
            digest,
            layers,
            config: configuration.config,
            warnings: warnings.concat(),
            _hold: hold,
        })
    }

    /// An image of nothing: only what every machine needs.
    pub async fn scratch(&self) -> Result<Image> {
        self.check_room()?;
        let end = end_name(&[]);
        let hold = self.hold(BTreeSet::from([end.clone()])).await;
        self.end(&end, &[]).await?;
        Ok(Image {
            size_bytes: self.sizes(vec![end.clone()]).await?.values().sum(),
            digest: "scratch".into(),
            layers: vec![end],
            config: ImageConfig::default(),
            warnings: Vec::new(),
            _hold: hold,
        })
    }

    /// Removes layers of images that are neither in use nor held.
    pub async fn prune(&self, in_use: &BTreeSet<String>) -> Result<Pruned> {
        let _gate = self.gate.write().await;
        let held: Vec<Arc<BTreeSet<String>>> = lock(&self.held).iter().filter_map(Weak::upgrade).collect();
        let names = self.backend.layer_names().await.map_err(isolation)?;
        let names: Vec<String> = names
            .into_iter()
            .filter(|name| name.starts_with(PREFIX))
            .collect();
        let mut pruned = Pruned::default();
        for (name, bytes) in self.sizes(names).await? {
            if in_use.contains(&name) || held.iter().any(|held| held.contains(&name)) {
                pruned.kept.insert(name, bytes);
                continue;
            }
            self.backend.remove_layer(&name).await.map_err(isolation)?;
            pruned.removed.insert(name, bytes);
        }
        Ok(pruned)
    }

    /// The same as [`root_files`], as long as there is room.
    pub fn root_files(&self, source: &std::path::Path) -> crate::isolation::Result<RootFiles> {
        root_files(source, self.room.clone())
    }

    fn check_room(&self) -> Result<()> {
        (self.room)().map_err(|text| Error::new(Kind::NoRoom, text))
    }

    async fn hold(&self, names: BTreeSet<String>) -> Arc<BTreeSet<String>> {
        let _gate = self.gate.read().await;
        let hold = Arc::new(names);
        let mut held = lock(&self.held);
        held.retain(|one| one.strong_count() > 0);
        held.push(Arc::downgrade(&hold));
        hold
    }

    /// The turn to make a layer, by whatever way.
    pub async fn turn(&self, name: &str) -> tokio::sync::OwnedMutexGuard<()> {
        let turn = {
            let mut turns = lock(&self.turns);
            turns.retain(|_, turn| turn.strong_count() > 0);
            let turn = turns.get(name).and_then(Weak::upgrade).unwrap_or_default();
            turns.insert(name.to_owned(), Arc::downgrade(&turn));
            turn
        };
        turn.lock_owned().await
    }

    /// Brings one layer, unless it is here.
    async fn layer(
        &self,
        repository: &Repository<'_>,
        diff_id: &str,
        archive: &Descriptor,
        tell: OnProgress<'_>,
    ) -> Result<Vec<String>> {
        let name = layer_name(diff_id);
        let place = || format!("layer {}", archive.digest);
        let turn = self.turn(&name).await;
        if self.is_here(&name) {
            tell(Progress::Cached {
                digest: archive.digest.clone(),
            });
            return Ok(Vec::new());
        }
        let (download, mut packed) = Download::new(repository, archive);
        let (limits, size, expected) = (self.client.options.limits, archive.size, diff_id.to_owned());
        let room = self.room.clone();
        let unpack = move |root: &std::path::Path| {
            let room = || room().map_err(|text| Error::new(Kind::NoRoom, text));
            let unpacked = unpack::layer(&mut packed, size, root, &limits, &room)
                .and_then(|unpacked| unpacked.check(&expected));
            if !matches!(&unpacked, Err(error) if error.kind != Kind::Refused) {
                // To its end: whether it is what was asked for counts more than what is in it.
                std::io::copy(&mut packed, &mut std::io::sink()).map_err(unpack::broken)?;
            }
            unpacked
        };
        let download = async {
            if download.run().await? {
                tell(Progress::Downloaded {
                    digest: archive.digest.clone(),
                    bytes: archive.size,
                });
            }
            Ok(())
        };
        let (downloaded, made) = tokio::join!(download, self.make(name, turn, unpack));
        // Who unpacks knows of a failed download only that there is one.
        let (unpacked, bytes) = downloaded.and(made).map_err(|e| e.at(place()))?;
        tell(Progress::Unpacked {
            digest: archive.digest.clone(),
            bytes,
        });
        let mut warnings = Vec::new();
        if unpacked.devices > 0 {
            warnings.push(format!(
                "{}: {} devices were left out; machines have their own in /dev",
                place(),
                unpacked.devices
            ));
        }
        if unpacked.strangers > 0 {
            warnings.push(format!(
                "{}: {} files belong to `nobody` now; their owners have numbers over 65535, which machines do not have",
                place(),
                unpacked.strangers
            ));
        }
        Ok(warnings)
    }

    /// The layer above all of an image.
    async fn end(&self, end: &str, names: &[String]) -> Result<()> {
        let turn = self.turn(end).await;
        if self.is_here(end) {
            return Ok(());
        }
        let below: Vec<PathBuf> = names
            .iter()
            .filter_map(|name| self.backend.layer_folder(name))
            .collect();
        let fill = move |root: &std::path::Path| {
            finish::fill(root, &below)
                .map_err(|error| Error::new(Kind::Failed, format!("the image cannot be completed: {error}")))
        };
        self.make(end.to_owned(), turn, fill).await.map(drop)
    }

    /// Makes a layer. It is made to its end, or cleaned up, also when nobody waits any more: so its turn goes along.
    async fn make<T: Send + 'static>(
        &self,
        name: String,
        turn: tokio::sync::OwnedMutexGuard<()>,
        fill: impl FnOnce(&std::path::Path) -> Result<T> + Send + 'static,
    ) -> Result<(T, u64)> {
        let backend = self.backend.clone();
        let made = tokio::spawn(async move {
            let _turn = turn;
            let outcome = Arc::new(Mutex::new(None));
            let out = outcome.clone();
            let fill = Box::new(move |folder: &std::path::Path| {
                let root = folder.join("root");
                let filled = new_root(&root).and_then(|()| fill(&root));
                let told = filled
                    .as_ref()
                    .map(drop)
                    .map_err(|error| IsolationError::Failed(error.to_string()));
                *lock(&out) = Some(filled);
                told
            });
            let layer = backend.make_layer(&name, fill).await;
            let outcome = lock(&outcome).take();
            match (layer, outcome) {
                (Ok(layer), Some(Ok(done))) => Ok((done, layer.size_bytes)),
                (_, Some(Err(error))) => Err(error),
                (Err(error), _) => Err(isolation(error)),
                (Ok(_), None) => Err(Error::new(Kind::Failed, "a layer was made of nothing")),
            }
        });
        made.await
            .unwrap_or_else(|error| Err(Error::new(Kind::Failed, format!("unpacking ended: {error}"))))
    }

    fn is_here(&self, name: &str) -> bool {
        self.backend
            .layer_folder(name)
            .is_some_and(|folder| folder.is_dir())
    }

    async fn sizes(&self, names: Vec<String>) -> Result<BTreeMap<String, u64>> {
        let folders: Vec<(String, Option<PathBuf>)> = names
            .into_iter()
            .map(|name| (name.clone(), self.backend.layer_folder(&name)))
            .collect();
        let count = move || {
            let size = |folder: Option<PathBuf>| {
                let top = folder.and_then(|folder| Chain::open(&folder).ok());
                top.map_or(0, |top| meter::count_whole(top).disk_bytes)
            };
            folders
                .into_iter()
                .map(|(name, folder)| (name, size(folder)))
                .collect()
        };
        let counted = tokio::task::spawn_blocking(count).await;
        counted.map_err(|error| Error::new(Kind::Failed, format!("counting ended: {error}")))
    }
}

fn isolation(error: IsolationError) -> Error {
    Error::new(Kind::Failed, error.to_string())
}

fn new_root(root: &std::path::Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::create_dir(root)
        .and_then(|()| std::fs::set_permissions(root, std::fs::Permissions::from_mode(0o755)))
        .map_err(|error| Error::new(Kind::Failed, format!("a layer cannot be made: {error}")))
}

/// Names of an image's layers, nearest first. One that is there twice counts where it is nearest: all that it holds is
/// there anyway, and overlay takes no directory twice.
fn chain(diff_ids: &[String]) -> Vec<String> {
    let mut names: Vec<String> = Vec::with_capacity(diff_ids.len());
    for name in diff_ids.iter().rev().map(|id| layer_name(id)) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// Name of the layer above all others: what is in it depends on them.
fn end_name(names: &[String]) -> String {
    let digest = Sha256::digest(names.join("\n"));
    format!("{PREFIX}{FORMAT}_end_{}", hex::encode(digest))
}

/// The manifest of an image for a platform: its digest, its configuration and the archives of its layers.
async fn resolve(
    repository: &Repository<'_>,
    wanted: &Pull,
) -> Result<(String, Descriptor, Vec<Descriptor>)> {
    let path = format!("manifests/{}", wanted.reference.version());
    let bytes = repository
        .document(&path, manifest::ACCEPTED, LARGEST_DOCUMENT as usize)
        .await?;
    let mut digest = digest_of(&bytes);
    if let Some(expected) = wanted.reference.digest() {
        check_digest("the manifest", expected, &digest)?;
    }
    let chosen = match Manifest::parse(&bytes)? {
        Manifest::Image { config, layers } => return Ok((digest, config, layers)),
        Manifest::Index(manifests) => manifest::choose(&manifests, &wanted.platform)?.clone(),
    };
    let bytes = document(repository, "manifests", &chosen).await?;
    digest.clone_from(&chosen.digest);
    match Manifest::parse(&bytes)? {
        Manifest::Image { config, layers } => Ok((digest, config, layers)),
        Manifest::Index(_) => Err(Error::refused("the image is a list of images in a list")),
    }
}

/// Something small that a descriptor names, checked.
async fn document(repository: &Repository<'_>, kind: &str, named: &Descriptor) -> Result<Vec<u8>> {
    if named.size > LARGEST_DOCUMENT {
        let text = format!(
            "the image names a document of {} bytes; at most {LARGEST_DOCUMENT} are read",
            named.size
        );
        return Err(Error::refused(text));
    }
    let path = format!("{kind}/{}", named.digest);
    let bytes = repository
        .document(&path, manifest::ACCEPTED, named.size as usize)
        .await?;
    if bytes.len() as u64 != named.size {
        let text = format!(
            "{} has {} bytes, and should have {}",
            named.digest,
            bytes.len(),
            named.size
        );
        return Err(Error::refused(text));
    }
    check_digest("a document", &named.digest, &digest_of(&bytes))?;
    Ok(bytes.into())
}

fn digest_of(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

fn check_digest(what: &str, expected: &str, found: &str) -> Result<()> {
    if expected == found {
        return Ok(());
    }
    let text = format!(
        "{what} that the registry sent is {found}, and {expected} was asked for: it lies, or is broken"
    );
    Err(Error::refused(text))
}
