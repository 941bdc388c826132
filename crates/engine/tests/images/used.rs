//! Layers that somebody uses stay, the others go.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;

use nullspace_engine::control::Order;
use nullspace_engine::images::Kind;
use nullspace_engine::isolation::Backend;
use nullspace_engine::machine::ground::clock::now_micros;
use nullspace_engine::machine::Engine;
use nullspace_engine::store::{builds, documents, Store};

use crate::archives::{gzip, Archive};
use crate::registry::{digest, Fault};
use crate::{lab, Place};

fn archive(name: &str) -> Vec<u8> {
    Archive::default().file(name, 0o644, vec![1; 100_000]).end()
}

#[tokio::test]
async fn layers_go_when_nobody_holds_or_uses_them() {
    let place = Place::real().await;
    for name in ["one", "two"] {
        place.publish_one(name, archive(name));
    }
    let one = place.pull("one").await.unwrap();
    let two = place.pull("two").await.unwrap();
    let kept = place.images.prune(&BTreeSet::new()).await.unwrap();
    assert!(kept.removed.is_empty() && kept.kept.len() == 4, "{kept:?}");
    assert!(kept.kept[&one.layers[1]] >= 100_000);
    let used: BTreeSet<String> = one.layers.iter().cloned().collect();
    let names = two.layers.clone();
    drop((one, two));
    let pruned = place.images.prune(&used).await.unwrap();
    assert_eq!(
        pruned.removed.keys().collect::<BTreeSet<_>>(),
        names.iter().collect()
    );
    assert!(pruned.removed.values().sum::<u64>() >= 100_000);
    assert_eq!(place.on_disk(), used.into_iter().collect::<Vec<_>>());
    // And come again.
    place.pull("two").await.unwrap();
}

#[tokio::test]
async fn layers_of_snapshots_are_none_of_images() {
    let place = Place::real().await;
    let fill = Box::new(|folder: &std::path::Path| {
        fs::create_dir(folder.join("root"))
            .map_err(|e| nullspace_engine::isolation::IsolationError::Failed(e.to_string()))
    });
    place
        .backend
        .make_layer("layer_of_a_machine", fill)
        .await
        .unwrap();
    let pruned = place.images.prune(&BTreeSet::new()).await.unwrap();
    assert_eq!(pruned, nullspace_engine::images::Pruned::default());
    assert_eq!(place.on_disk(), ["layer_of_a_machine"]);
}

#[tokio::test]
async fn what_a_crash_left_goes_at_the_next_start() {
    let place = Place::real().await;
    place.publish_one("app", archive("app"));
    let layers = place.folder().join("machines/layers");
    let name = format!(
        "image_1_{}",
        digest(&archive("app")).trim_start_matches("sha256:")
    );
    let half = layers.join(format!("{name}.new"));
    fs::create_dir_all(half.join("root/etc")).unwrap();
    fs::write(half.join("root/etc/half"), "").unwrap();
    assert!(!place
        .backend
        .layer_names()
        .await
        .unwrap()
        .iter()
        .any(|n| n.ends_with(".new")));
    // Whether the next start comes first or the next pull.
    let image = place.pull("app").await.unwrap();
    assert!(!place.root(&image, 0).join("etc/half").exists());
    fs::create_dir_all(half.join("root/etc")).unwrap();
    lab::backend(&place.folder().join("machines"))
        .await
        .recover()
        .await
        .unwrap();
    assert!(!half.exists() && place.root(&image, 0).join("app").exists());
}

#[tokio::test]
async fn what_is_under_way_is_held() {
    let place = Arc::new(Place::new().await);
    place.publish_one("one", archive("one"));
    let second = archive("second");
    let layers = [
        (crate::GZIP, gzip(&archive("one")), archive("one")),
        (crate::GZIP, gzip(&second), second.clone()),
    ];
    place.publish("both", &layers, serde_json::json!({}));
    drop(place.pull("one").await.unwrap());
    place.registry.fail(&digest(&gzip(&second)), [Fault::Silence]);
    let pulling = tokio::spawn({
        let place = place.clone();
        async move { place.pull("both").await.map(drop) }
    });
    while place.registry.seen(&digest(&gzip(&second))).is_empty() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let pruned = place.images.prune(&BTreeSet::new()).await.unwrap();
    assert_eq!(
        (pruned.removed.len(), pruned.kept.len()),
        (1, 1),
        "only the end of `one` goes: {pruned:?}"
    );
    pulling.abort();
    let _ = pulling.await;
    let pruned = place.images.prune(&BTreeSet::new()).await.unwrap();
    assert_eq!((pruned.removed.len(), pruned.kept.len()), (1, 0));
}

#[tokio::test]
async fn an_engine_prunes_what_no_template_uses() {
    let place = Place::real().await;
    for name in ["kept", "gone"] {
        place.publish_one(name, archive(name));
    }
    let kept = place.pull("kept").await.unwrap().layers.clone();
    let gone = place.pull("gone").await.unwrap().layers.clone();
    let store = Store::open(&place.folder().join("state")).unwrap();
    let template = serde_json::json!({ "layers": kept }).to_string();
    let put = store.call(move |c| documents::put(c, documents::Kind::Template, "tmpl_x", "x", &template));
    put.await.unwrap();
    let engine = Engine::offline(store, place.backend.clone());
    let answer = Order::Prune { cache: false }.run(&engine).await.unwrap();
    let names = |part: &str| {
        answer[part]
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<BTreeSet<_>>()
    };
    assert_eq!(names("removed"), gone.into_iter().collect());
    assert_eq!(names("kept"), kept.into_iter().collect());
}

/// What a step made on an image, as the engine keeps it: the layers.
async fn cache_step(place: &Place, store: &Store, image: &str, used_at: i64) -> BTreeSet<String> {
    place.publish_one(image, archive(image));
    let base = place.pull(image).await.unwrap().layers.clone();
    let own = format!("layer_{image}");
    let fill = Box::new(|folder: &std::path::Path| {
        fs::create_dir(folder.join("root"))
            .map_err(|e| nullspace_engine::isolation::IsolationError::Failed(e.to_string()))
    });
    place.backend.make_layer(&own, fill).await.unwrap();
    let layers: Vec<String> = [own.clone()].into_iter().chain(base).collect();
    let (text, key) = (serde_json::to_string(&layers).unwrap(), image.to_owned());
    let put = store.call(move |c| {
        documents::put(c, documents::Kind::Layer, &own, "", &format!("{own:?}"))?;
        builds::cache(c, &key, &text, "", 7, used_at)
    });
    put.await.unwrap();
    layers.into_iter().collect()
}

#[tokio::test]
async fn what_only_cached_steps_use_goes_a_week_later_or_when_it_is_said() {
    const DAY: i64 = 24 * 3600 * 1_000_000;
    let place = Place::real().await;
    let store = Store::open(&place.folder().join("state")).unwrap();
    let now = now_micros();
    let old = cache_step(&place, &store, "old", now - 8 * DAY).await;
    let fresh = cache_step(&place, &store, "fresh", now - 6 * DAY).await;
    let used = cache_step(&place, &store, "used", now).await;
    let template = serde_json::json!({ "layers": used }).to_string();
    let put = store.call(move |c| documents::put(c, documents::Kind::Template, "tmpl_x", "x", &template));
    put.await.unwrap();
    let engine = Engine::offline(store, place.backend.clone());
    let names = |part: &serde_json::Value| part.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    let of_images = |layers: &BTreeSet<String>| {
        let of_images = layers.iter().filter(|name| name.starts_with("image_"));
        of_images.cloned().collect::<BTreeSet<_>>()
    };

    let answer = Order::Prune { cache: false }.run(&engine).await.unwrap();
    assert_eq!(names(&answer["removed"]), old);
    assert_eq!(names(&answer["cached"]), fresh);
    assert_eq!(names(&answer["kept"]), of_images(&used));
    assert_eq!(answer["removed"]["layer_old"], 7);
    let left = fresh.union(&used).cloned().collect::<Vec<_>>();
    assert_eq!(place.on_disk(), left);

    let answer = Order::Prune { cache: true }.run(&engine).await.unwrap();
    assert_eq!(names(&answer["removed"]), fresh);
    assert_eq!(names(&answer["cached"]), BTreeSet::new());
    assert_eq!(place.on_disk(), used.into_iter().collect::<Vec<_>>());
}

#[tokio::test]
async fn without_room_nothing_is_pulled() {
    let place = Place::new().await;
    place.publish_one("app", archive("app"));
    let room = Arc::new(|| Err("the disk is full: free some".to_owned()));
    let images = nullspace_engine::images::Images::new(place.backend.clone(), room, Default::default());
    let wanted = nullspace_engine::images::Pull {
        reference: nullspace_engine::images::Reference::parse(&place.registry.name("app")).unwrap(),
        auth: None,
        platform: nullspace_engine::images::Platform::host(),
    };
    let error = images.pull(&wanted, &|_| {}).await.unwrap_err();
    assert_eq!(error.kind, Kind::NoRoom);
    assert!(error.message.contains("free some"));
    assert!(place.registry.seen("/").is_empty());
}
