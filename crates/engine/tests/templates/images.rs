//! Builds from an image.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::archives::{gzip, with_program, Archive, Entry};
use crate::process::{holding, names, Engine};
use crate::registry::{digest, Fault, Registry, RegistryAccess, GZIP};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{json, Value};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{server::TlsStream, TlsAcceptor};

const PASSWORD: &str = "hunter2-8f0d3b61";

/// An image with a shell, a user and a directory of that user: the blobs of its layers.
fn publish(registry: &Registry) -> Vec<String> {
    let low = with_program(Archive::default(), "/bin/sh")
        .file(
            "etc/passwd",
            0o644,
            "root:x:0:0::/root:/bin/sh\napp:x:1000:1000::/srv/app:/bin/sh\n",
        )
        .file("etc/gone", 0o644, "")
        .end();
    let high = Archive::default()
        .raw(&Entry {
            path: b"srv/app/",
            kind: b'5',
            mode: 0o700,
            owner: (1000, 1000),
            ..Entry::default()
        })
        .raw(&Entry {
            path: b"srv/app/hello",
            mode: 0o600,
            owner: (1000, 1000),
            data: b"of the image\n",
            ..Entry::default()
        })
        .file("etc/.wh.gone", 0, "")
        .end();
    // More than machines are made of: the engine merges them.
    let more = (0..22).map(|number| {
        let archive = Archive::default().directory("srv/layers/", 0o755);
        archive.file(&format!("srv/layers/{number}"), 0o644, "").end()
    });
    let layers: Vec<_> = [low]
        .into_iter()
        .chain(more)
        .chain([high])
        .map(|plain| (GZIP, gzip(&plain), plain))
        .collect();
    let run = json!({
        "Env": ["GREETING=hi", "PATH=/opt/tools:/usr/bin:/bin"], "User": "app:app", "WorkingDir": "/srv/app", "Cmd": ["sh"],
    });
    registry.publish("1", &layers, run);
    layers
        .iter()
        .map(|(_, packed, _)| format!("/blobs/{}", digest(packed)))
        .collect()
}

fn body(registry: &Registry, password: &str) -> Value {
    json!({
        "name": "app", "base_image": registry.name("1"),
        "base_image_auth": { "kind": "basic", "username": "ann", "password": password },
        "build_config": { "vcpus": 1, "memory_mib": 256, "internet_access": false },
        "steps": [{
            "action": "run",
            "command": "while read -r line; do echo \"$line, built\"; done < hello > built; [ ! -e /etc/gone ] && echo \"$PATH\" >> built"
        }]
    })
}

/// The same for a registry that everybody may read.
fn public(registry: &Registry) -> Value {
    let mut body = body(registry, "");
    body.as_object_mut().unwrap().remove("base_image_auth");
    body
}

#[tokio::test]
#[cfg_attr(not_root, ignore = "needs root")]
async fn a_machine_has_what_the_image_and_the_build_say() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let engine = Engine::start(&state);
    let registry = Registry::start().await;
    registry.close_door(RegistryAccess::Token {
        username: "ann".into(),
        password: PASSWORD.into(),
    });
    publish(&registry);

    let refused = engine.over(body(&registry, "wrong-8f0d3b61")).await;
    assert_eq!(
        (&refused["build"]["status"], &refused["build"]["failure_phase"]),
        (&json!("error"), &json!("auth")),
        "{refused:#}"
    );
    assert_eq!(names(&state.join("machines/layers")), Vec::<String>::new());

    let built = engine.over(body(&registry, PASSWORD)).await;
    assert_eq!(built["build"]["status"], "ready", "{built:#}");
    let script = "while read -r line; do echo \"$line\"; done < built; echo \"$PWD $GREETING\"; [ -O hello ] && echo own; \
                  set -- /srv/layers/*; echo $#";
    let out = engine.said(script).await;
    assert_eq!(
        out["stdout"], "of the image, built\n/opt/tools:/usr/bin:/bin\n/srv/app hi\nown\n22\n",
        "{out}"
    );

    // What the build says goes over what the image says; the step is taken from the cache.
    let mut request = body(&registry, PASSWORD);
    request["runtime_config"] = json!({ "default_user": "root", "default_workdir": "/workspace", "default_envs": { "GREETING": "hello" } });
    request["start_cmd"] = json!("echo started > /run/mark");
    let built = engine.over(request).await;
    assert_eq!(
        (
            &built["build"]["status"],
            &built["build"]["cache_summary"]["layer_hits"]
        ),
        (&json!("ready"), &json!(1)),
        "{built:#}"
    );
    let script = "echo \"$PWD $GREETING\"; [ -O /workspace ] && echo root; until [ -s /run/mark ]; do :; done; echo started";
    let out = engine.said(script).await;
    assert_eq!(out["stdout"], "/workspace hello\nroot\nstarted\n", "{out}");

    for secret in [PASSWORD, "wrong-8f0d3b61"] {
        assert_eq!(
            holding(&state, secret),
            Vec::<String>::new(),
            "{secret} is on the disk"
        );
    }
}

#[tokio::test]
#[cfg_attr(not_root, ignore = "needs root")]
async fn an_engine_that_is_killed_while_it_pulls_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let mut engine = Engine::start(&state);
    let registry = Registry::start().await;
    let blobs = publish(&registry);
    for blob in &blobs {
        registry.fail(blob, [Fault::Silence]);
    }
    let mut request = public(&registry);
    let started = engine.post("/v1/templates/builds", request.clone()).await;
    let begun = Instant::now();
    while blobs.iter().all(|blob| registry.seen(blob).is_empty()) {
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "no layer was asked for"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    engine.child.kill().unwrap();
    engine.child.wait().unwrap();
    drop(engine);

    let engine = Engine::start(&state);
    let path = format!("/v1/templates/builds/{}", started["build_id"].as_str().unwrap());
    let interrupted = engine.get(&path).await;
    assert_eq!(
        (
            &interrupted["build"]["status"],
            &interrupted["build"]["failure_phase"]
        ),
        (&json!("error"), &json!("interrupted"))
    );
    assert_eq!(names(&state.join("machines/layers")), Vec::<String>::new());
    assert_eq!(names(&state.join("machines/machines")), Vec::<String>::new());
    // One that answers.
    let registry = Registry::start().await;
    publish(&registry);
    request["base_image"] = json!(registry.name("1"));
    let built = engine.over(request).await;
    assert_eq!(built["build"]["status"], "ready", "{built:#}");
}

/// An address of the network of the test that is not this computer by its name.
const ELSEWHERE: &str = "192.0.2.1";

/// Certificates of one authority, made by openssl.
struct Authority(PathBuf);

impl Authority {
    fn new(folder: &Path) -> Self {
        let made = Self(folder.to_owned());
        let own = [
            "-keyout",
            "own.key",
            "-out",
            "own.pem",
            "-subj",
            "/CN=An Authority",
        ];
        made.openssl(&[&["req", "-x509", "-days", "2"], &NEW_KEY[..], &own].concat());
        made
    }

    fn file(&self) -> PathBuf {
        self.0.join("own.pem")
    }

    /// What a server needs that is called so.
    fn certify(&self, address: &str) -> TlsAcceptor {
        std::fs::write(self.0.join("names"), format!("subjectAltName=IP:{address}\n")).unwrap();
        let request = ["-keyout", "key", "-out", "request", "-subj", "/CN=registry"];
        self.openssl(&[&["req"], &NEW_KEY[..], &request].concat());
        let sign = [
            "x509",
            "-req",
            "-in",
            "request",
            "-CA",
            "own.pem",
            "-CAkey",
            "own.key",
            "-CAcreateserial",
        ];
        self.openssl(&[&sign[..], &["-days", "2", "-extfile", "names", "-out", "pem"]].concat());
        let chain = vec![CertificateDer::from_pem_file(self.0.join("pem")).unwrap()];
        let key = PrivateKeyDer::from_pem_file(self.0.join("key")).unwrap();
        let config = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(chain, key);
        Arc::new(config.unwrap()).into()
    }

    fn openssl(&self, arguments: &[&str]) {
        let output = Command::new("openssl")
            .current_dir(&self.0)
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "openssl {arguments:?}: {output:?}");
    }
}

const NEW_KEY: [&str; 5] = [
    "-newkey",
    "ec",
    "-pkeyopt",
    "ec_paramgen_curve:prime256v1",
    "-nodes",
];

/// Connections whose handshake succeeded.
struct Secure(TcpListener, TlsAcceptor);

impl axum::serve::Listener for Secure {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, from) = self.0.accept().await.unwrap();
            if let Ok(stream) = self.1.accept(stream).await {
                return (stream, from);
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.0.local_addr()
    }
}

/// A registry elsewhere: with a certificate, or without encryption.
async fn elsewhere(certificate: Option<TlsAcceptor>) -> Registry {
    let listener = TcpListener::bind((ELSEWHERE, 0)).await.unwrap();
    let registry = match certificate {
        Some(certificate) => Registry::on(Secure(listener, certificate)).await,
        None => Registry::on(listener).await,
    };
    publish(&registry);
    registry
}

fn in_a_network(test: impl Future<Output = ()> + Send + 'static) {
    let network = crate::netns::Network::new();
    network.ip("link set lo up");
    network.ip(&format!("addr add {ELSEWHERE}/32 dev lo"));
    network.run(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.unwrap().block_on(test);
    });
}

/// Why a build on the image of a registry failed: the reason, and what a person reads.
async fn why(engine: &Engine, registry: &Registry) -> (String, String) {
    let failed = engine.over(public(registry)).await;
    let detail = &failed["build"]["error_detail"];
    assert_eq!(
        (&detail["phase"], &detail["retryable"]),
        (&json!("prepare"), &json!(false)),
        "{failed:#}"
    );
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (text(&detail["details"]["reason"]), text(&detail["message"]))
}

#[test]
#[cfg_attr(not_root, ignore = "needs root")]
fn a_registry_is_trusted_when_its_authority_is() {
    in_a_network(async {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new(folder.path());
        let registry = elsewhere(Some(authority.certify(ELSEWHERE))).await;

        let engine = Engine::start(&folder.path().join("wary"));
        let (reason, error) = why(&engine, &registry).await;
        assert_eq!(reason, "registry_untrusted");
        for part in [ELSEWHERE, "does not trust", "SSL_CERT_FILE"] {
            assert!(error.contains(part), "{part:?} is not in {error}");
        }
        assert!(registry.seen("/").is_empty(), "{:?}", registry.seen("/"));
        drop(engine);

        let engine = Engine::trusting(&folder.path().join("state"), Some(&authority.file()));
        let built = engine.over(public(&registry)).await;
        assert_eq!(built["build"]["status"], "ready", "{built:#}");
        let out = engine.said("read -r line < hello; echo \"$line\"").await;
        assert_eq!(out["stdout"], "of the image\n", "{out}");

        let other = elsewhere(Some(authority.certify("192.0.2.2"))).await;
        let (reason, error) = why(&engine, &other).await;
        assert_eq!(reason, "registry_untrusted");
        assert!(
            error.contains("does not hold") && error.contains("192.0.2.2"),
            "{error}"
        );
        assert!(other.seen("/").is_empty());
    });
}

#[test]
#[cfg_attr(not_root, ignore = "needs root")]
fn no_registry_elsewhere_is_spoken_to_without_encryption() {
    in_a_network(async {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new(folder.path());
        let engine = Engine::trusting(&folder.path().join("state"), Some(&authority.file()));

        let plain = elsewhere(None).await;
        let (reason, error) = why(&engine, &plain).await;
        assert_eq!(reason, "registry_untrusted");
        assert!(error.contains("does not speak TLS"), "{error}");
        assert!(plain.seen("/").is_empty());

        // Nor where one that does sends it.
        let here = Registry::start().await;
        let blob = publish(&here).remove(0);
        let secure = elsewhere(Some(authority.certify(ELSEWHERE))).await;
        secure.fail(
            &blob,
            [Fault::Redirect(format!("http://{}/v2/app{blob}", here.address))],
        );
        let (_, error) = why(&engine, &secure).await;
        assert!(
            error.contains("without encryption, which is not followed"),
            "{error}"
        );
        assert!(here.seen("/").is_empty());
    });
}
