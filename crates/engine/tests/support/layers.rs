//! Layers of backends that only tests have.

use std::path::Path;

use nullspace_engine::isolation::{Fill, Layer, Result};

/// Makes a layer in a directory of layers: whole, or not at all.
pub async fn make_layer(layers: &Path, name: &str, fill: Fill, size_bytes: u64) -> Result<Layer> {
    let (fresh, whole) = (layers.join(format!("{name}.new")), layers.join(name));
    std::fs::create_dir_all(&fresh).unwrap();
    let filled = tokio::task::spawn_blocking({
        let fresh = fresh.clone();
        move || fill(&fresh)
    });
    if let Err(error) = filled.await.unwrap() {
        std::fs::remove_dir_all(&fresh).unwrap();
        return Err(error);
    }
    std::fs::rename(fresh, whole).unwrap();
    Ok(Layer {
        name: name.into(),
        size_bytes,
    })
}
