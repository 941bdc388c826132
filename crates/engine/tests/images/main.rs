//! Images of a registry on loopback: pulled, unpacked, shared, refused and given up.

mod archives;
mod faults;
mod hostile;
#[allow(dead_code)]
#[path = "../isolation/lab.rs"]
mod lab;
#[path = "../support/layers.rs"]
mod layers;
mod peers;
mod pull;
mod registry;
mod used;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use nullspace_engine::images::{Auth, Error, Image, Images, Options, Platform, Progress, Pull, Reference};
use nullspace_engine::isolation::{
    Backend, Capabilities, Fill, IsolationError, Layer, Result as Isolated, RootFiles, Running, StartSpec,
    VolumeFiles,
};
use registry::{Registry, CONFIG, GZIP, MANIFEST};
use serde_json::{json, Value};
use tokio_util::sync::CancellationToken;

const ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
const TAR: &str = "application/vnd.oci.image.layer.v1.tar";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// A backend that keeps layers and nothing else: a real one takes its time to begin.
struct Shelf {
    layers: PathBuf,
    capabilities: Capabilities,
}

fn nothing<T>() -> Isolated<T> {
    Err(IsolationError::Failed("there are layers only".into()))
}

#[async_trait]
impl Backend for Shelf {
    fn capabilities(&self) -> &Capabilities {
        &self.capabilities
    }

    async fn start(&self, _: StartSpec) -> Isolated<Arc<dyn Running>> {
        nothing()
    }

    async fn recover(&self) -> Isolated<()> {
        nothing()
    }

    async fn import_layer(&self, _: &str, _: RootFiles) -> Isolated<Layer> {
        nothing()
    }

    async fn merge_layers(&self, _: &str, _: &[String]) -> Isolated<Option<Layer>> {
        nothing()
    }

    async fn volume_files(&self, _: &Path, _: CancellationToken) -> Isolated<VolumeFiles> {
        nothing()
    }

    async fn make_layer(&self, name: &str, fill: Fill) -> Isolated<Layer> {
        layers::make_layer(&self.layers, name, fill, 1).await
    }

    fn layer_folder(&self, name: &str) -> Option<PathBuf> {
        Some(self.layers.join(name))
    }

    async fn layer_names(&self) -> Isolated<Vec<String>> {
        let entries = std::fs::read_dir(&self.layers).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        Ok(names.filter(|name| !name.ends_with(".new")).collect())
    }

    async fn remove_layer(&self, name: &str) -> Isolated<()> {
        std::fs::remove_dir_all(self.layers.join(name)).unwrap();
        Ok(())
    }
}

/// A registry, and images that a backend keeps.
struct Place {
    pub registry: Registry,
    pub images: Images,
    pub backend: Arc<dyn Backend>,
    pub told: Arc<Mutex<Vec<String>>>,
    folder: tempfile::TempDir,
}

impl Place {
    pub async fn new() -> Self {
        Self::with(Options::default()).await
    }

    pub async fn with(options: Options) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let layers = folder.path().join("machines/layers");
        std::fs::create_dir_all(&layers).unwrap();
        let capabilities = Capabilities::default();
        Self::on(folder, Arc::new(Shelf { layers, capabilities }), options).await
    }

    /// With the backend that machines have.
    pub async fn real() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let backend = Arc::new(lab::backend(&folder.path().join("machines")).await);
        Self::on(folder, backend, Options::default()).await
    }

    async fn on(folder: tempfile::TempDir, backend: Arc<dyn Backend>, options: Options) -> Self {
        let options = Options {
            first_wait: Some(Duration::from_millis(1)),
            ..options
        };
        let room = Arc::new(|| Ok(()));
        let images = Images::new(backend.clone(), room, options);
        Self {
            registry: Registry::start().await,
            images,
            backend,
            told: Arc::default(),
            folder,
        }
    }

    /// Publishes an image: layers are media type, archive as it is sent, and archive without compression.
    pub fn publish(&self, tag: &str, layers: &[(&str, Vec<u8>, Vec<u8>)], run: Value) -> Value {
        self.registry.publish(tag, layers, run)
    }

    /// Publishes an image of one layer, compressed with gzip.
    pub fn publish_one(&self, tag: &str, archive: Vec<u8>) -> Value {
        self.publish(tag, &[(GZIP, archives::gzip(&archive), archive)], json!({}))
    }

    pub async fn pull(&self, tag: &str) -> Result<Image, Error> {
        self.pull_as(tag, None).await
    }

    pub async fn pull_as(&self, tag: &str, auth: Option<Auth>) -> Result<Image, Error> {
        let wanted = Pull {
            reference: Reference::parse(&self.registry.name(tag)).unwrap(),
            auth,
            platform: Platform::host(),
        };
        let tell = |progress: Progress| self.told.lock().unwrap().push(progress.to_string());
        self.images.pull(&wanted, &tell).await
    }

    /// What a pull was refused with.
    pub async fn refusal(&self, tag: &str) -> Error {
        match self.pull(tag).await {
            Ok(image) => panic!("{tag} was pulled: {image:?}"),
            Err(error) => error,
        }
    }

    /// Root of a layer: 0 is the highest of the image's own.
    pub fn root(&self, image: &Image, number: usize) -> PathBuf {
        let folder = self.backend.layer_folder(&image.layers[number + 1]).unwrap();
        folder.join("root")
    }

    /// All that is in the directory of layers, also what is half-made.
    pub fn on_disk(&self) -> Vec<String> {
        let layers = self.folder.path().join("machines/layers");
        let mut names: Vec<String> = std::fs::read_dir(layers)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}
