//! Images that other programs made, from a registry that others use: those of Debian, where they are installed.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nullspace_engine::images::{Auth, Kind, Platform, Pull, Reference};

use crate::Place;

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
}

/// A port that was free a moment ago: the registry takes none of its own choice.
fn port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

#[tokio::test]
async fn an_image_of_umoci_comes_from_docker_registry() {
    for program in ["docker-registry", "skopeo", "umoci"] {
        let found = Command::new(program).arg("--version").output();
        if !found.is_ok_and(|output| output.status.success()) {
            eprintln!("skipped: {program} is not installed");
            return;
        }
    }
    let place = Place::new().await;
    let work = place.folder().join("peers");
    std::fs::create_dir_all(work.join("tree/etc")).unwrap();
    std::fs::write(work.join("tree/etc/made"), "by umoci").unwrap();
    let at = |name: &str| work.join(name).display().to_string();
    let image = format!("{}:v1", at("layout"));
    run("umoci", &["init", "--layout", &at("layout")]);
    run("umoci", &["new", "--image", &image]);
    run("umoci", &["insert", "--image", &image, &at("tree"), "/"]);
    run(
        "umoci",
        &["insert", "--image", &image, "--whiteout", "/etc/other"],
    );
    let platform = Platform::host();
    run(
        "umoci",
        &[
            "config",
            "--image",
            &image,
            "--config.env",
            "A=b",
            "--config.workingdir",
            "/etc",
            "--architecture",
            &platform.architecture,
            "--os",
            "linux",
        ],
    );
    let port = port();
    let config = format!(
        "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:{port}\n",
        at("storage")
    );
    std::fs::write(work.join("config.yml"), config).unwrap();
    let server = Command::new("docker-registry")
        .args(["serve", &at("config.yml")])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let _server = Server(server.unwrap());
    let address = format!("127.0.0.1:{port}");
    for _ in 0..200 {
        if tokio::net::TcpStream::connect(&address).await.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let target = format!("docker://{address}/team/app:v1");
    run(
        "skopeo",
        &[
            "--insecure-policy",
            "copy",
            "--dest-tls-verify=false",
            &format!("oci:{image}"),
            &target,
        ],
    );
    let pull = |name: &str, auth: Option<Auth>| Pull {
        reference: Reference::parse(&format!("{address}/{name}")).unwrap(),
        auth,
        platform: Platform::host(),
    };
    let image = place
        .images
        .pull(&pull("team/app:v1", None), &|_| {})
        .await
        .unwrap();
    assert_eq!(image.config.envs["A"], "b");
    assert_eq!(image.config.workdir, "/etc");
    let lowest = place.root(&image, image.layers.len() - 2);
    assert_eq!(
        std::fs::read_to_string(lowest.join("etc/made")).unwrap(),
        "by umoci"
    );
    let missing = place
        .images
        .pull(&pull("team/app:v2", None), &|_| {})
        .await
        .unwrap_err();
    assert_eq!(missing.kind, Kind::NotFound);
}
