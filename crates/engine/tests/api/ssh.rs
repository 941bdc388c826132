//! SSH access, with a real client over a real port.

use std::sync::Arc;
use std::time::Duration;

use crate::support::{until, Served};
use russh::client::{self, Handle, Msg};
use russh::keys::{Algorithm, Certificate, PrivateKey, PublicKeyOrCertificate};
use russh::{Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Disconnect};
use serde_json::{json, Value};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A client that takes one host key only.
struct Known(String);

impl client::Handler for Known {
    type Error = russh::Error;

    async fn check_server_key(&mut self, key: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        let PublicKeyOrCertificate::PublicKey { key, .. } = key else {
            return Ok(false);
        };
        Ok(key.to_openssh().unwrap() == self.0)
    }
}

/// What a program left.
#[derive(Debug, Default)]
struct Ran {
    stdout: Vec<u8>,
    stderr: String,
    code: Option<u32>,
}

impl Ran {
    fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap()
    }
}

fn key() -> Arc<PrivateKey> {
    Arc::new(PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519).unwrap())
}

fn body(key: &PrivateKey, more: Value) -> Value {
    let mut body = json!({ "public_key": key.public_key().to_openssh().unwrap() });
    body.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    body
}

async fn ask(served: &Served, machine: &str, key: &PrivateKey, more: Value) -> Value {
    served
        .post(&format!("/v1/machines/{machine}/ssh-access"), body(key, more))
        .await
        .expect(200)
}

async fn connect(access: &Value) -> Handle<Known> {
    let known = Known(access["host_key"].as_str().unwrap().to_owned());
    let address = (
        access["host"].as_str().unwrap().to_owned(),
        access["port"].as_u64().unwrap() as u16,
    );
    client::connect(Arc::default(), address, known).await.unwrap()
}

fn certificate(access: &Value) -> Certificate {
    Certificate::from_openssh(access["certificate"].as_str().unwrap()).unwrap()
}

async fn enter(access: &Value, key: &Arc<PrivateKey>) -> Handle<Known> {
    let mut session = connect(access).await;
    let user = access["user"].as_str().unwrap();
    let entered = session
        .authenticate_openssh_cert(user, key.clone(), certificate(access))
        .await
        .unwrap();
    assert!(entered.success(), "{entered:?}");
    session
}

async fn to_end(channel: &mut Channel<Msg>) -> Ran {
    let mut ran = Ran::default();
    let all = async {
        while let Some(message) = channel.wait().await {
            match message {
                ChannelMsg::Data { data } => ran.stdout.extend_from_slice(&data),
                ChannelMsg::ExtendedData { data, .. } => {
                    ran.stderr.push_str(std::str::from_utf8(&data).unwrap())
                }
                ChannelMsg::ExitStatus { exit_status } => ran.code = Some(exit_status),
                _ => {}
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), all)
        .await
        .expect("it ends");
    ran
}

async fn run(session: &Handle<Known>, line: &str) -> Ran {
    let mut channel = session.channel_open_session().await.unwrap();
    channel.exec(true, line).await.unwrap();
    to_end(&mut channel).await
}

/// Sends so many bytes, as fast as they are taken, and then the end.
fn send_much(writer: ChannelWriteHalf<Msg>, size: usize) -> tokio::task::JoinHandle<()> {
    tokio::spawn(async move {
        let piece = vec![b'x'; 1 << 20];
        for _ in 0..size >> 20 {
            writer.data(&piece[..]).await.unwrap();
        }
        writer.eof().await.unwrap();
    })
}

/// All that comes, to its end.
async fn receive(reader: &mut ChannelReadHalf) -> Vec<u8> {
    let mut all = Vec::new();
    let reading = async {
        while let Some(message) = reader.wait().await {
            if let ChannelMsg::Data { data } = message {
                all.extend_from_slice(&data);
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), reading)
        .await
        .expect("it ends");
    all
}

#[tokio::test]
async fn programs_run_with_their_streams_their_variables_and_their_exit_code() {
    let served = Served::start().await;
    let machine = served.create(json!({ "envs": { "ONE": "1" } })).await;
    let key = key();
    let access = ask(&served, &machine, &key, json!({})).await;
    assert_eq!(
        (access["user"].as_str(), access["host"].as_str()),
        (Some("root"), Some("127.0.0.1"))
    );
    assert!(access["access_id"].as_str().unwrap().starts_with("ssh_"));
    let wanted = format!("ssh -p {} root@127.0.0.1", access["port"]);
    assert_eq!(access["command"], wanted);

    let session = enter(&access, &key).await;
    let ran = run(&session, "echo out-$ONE; echo err >&2; exit 7").await;
    assert_eq!(
        (ran.text(), ran.stderr.as_str(), ran.code),
        ("out-1\n", "err\n", Some(7))
    );

    let mut channel = session.channel_open_session().await.unwrap();
    channel.set_env(true, "TWO", "2").await.unwrap();
    channel
        .exec(true, "read line; echo $line $TWO; cat")
        .await
        .unwrap();
    channel.data(&b"hello\nrest"[..]).await.unwrap();
    channel.eof().await.unwrap();
    let ran = to_end(&mut channel).await;
    assert_eq!((ran.text(), ran.code), ("hello 2\nrest", Some(0)));

    // A shell reads what it is to do.
    let mut channel = session.channel_open_session().await.unwrap();
    channel.request_shell(true).await.unwrap();
    channel.data(&b"echo typed\nexit 3\n"[..]).await.unwrap();
    let ran = to_end(&mut channel).await;
    assert_eq!((ran.text().trim(), ran.code), ("typed", Some(3)));
    served.stop().await;
}

#[tokio::test]
async fn a_program_that_gives_back_what_it_gets_does_not_wait_for_itself() {
    let served = Served::start().await;
    let machine = served.create(json!({})).await;
    let key = key();
    let session = enter(&ask(&served, &machine, &key, json!({})).await, &key).await;
    let channel = session.channel_open_session().await.unwrap();
    channel.exec(true, "cat").await.unwrap();
    // Much more than any buffer between holds, and nobody reads until all of it is sent but what they hold.
    let size = 48 << 20;
    let (mut reader, writer) = channel.split();
    let sending = send_much(writer, size);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(receive(&mut reader).await.len(), size);
    sending.await.unwrap();
    drop(session);
    served.stop().await;
}

#[tokio::test]
async fn a_program_that_does_not_read_holds_up_its_own_client_alone() {
    let served = Served::start().await;
    let machine = served.create(json!({})).await;
    let key = key();
    let session = enter(&ask(&served, &machine, &key, json!({})).await, &key).await;
    let channel = session.channel_open_session().await.unwrap();
    channel.exec(true, "sleep 2; wc -c").await.unwrap();
    let size = 40 << 20;
    let (mut reader, writer) = channel.split();
    let sending = send_much(writer, size);
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(!sending.is_finished(), "somebody took 40 MiB that nobody read");
    let other = tokio::time::timeout(Duration::from_secs(1), run(&session, "echo beside")).await;
    assert_eq!(other.expect("others go on").text(), "beside\n");
    let printed = receive(&mut reader).await;
    assert_eq!(String::from_utf8(printed).unwrap().trim(), size.to_string());
    sending.await.unwrap();
    served.stop().await;
}

#[tokio::test]
async fn only_the_holder_of_key_and_certificate_enters_and_only_as_whom_it_says() {
    let served = Served::start().await;
    let machine = served.create(json!({})).await;
    let (mine, other) = (key(), key());
    let access = ask(&served, &machine, &mine, json!({})).await;
    let refused = async |user: &str, key: &Arc<PrivateKey>| {
        let mut session = connect(&access).await;
        let tried = session
            .authenticate_openssh_cert(user, key.clone(), certificate(&access))
            .await;
        // Refused, or a client that sees itself that the two do not belong together.
        !tried.is_ok_and(|result| result.success())
    };
    assert!(refused("root", &other).await, "a certificate without its key");
    assert!(refused("nobody", &mine).await, "another user");
    let mut session = connect(&access).await;
    let bare = russh::keys::PrivateKeyWithHashAlg::new(mine.clone(), None);
    let tried = session.authenticate_publickey("root", bare).await.unwrap();
    assert!(!tried.success(), "a key without certificate");
    let tried = session.authenticate_none("root").await.unwrap();
    assert!(!tried.success(), "nothing at all");
    assert!(session.channel_open_session().await.is_err());

    // The same port serves all machines; the certificate says which.
    let second = served.create(json!({ "envs": { "NAME": "second" } })).await;
    let access = ask(&served, &second, &other, json!({})).await;
    let session = enter(&access, &other).await;
    assert_eq!(run(&session, "echo $NAME").await.text(), "second\n");
    served.stop().await;
}

#[tokio::test]
async fn a_certificate_ends() {
    let served = Served::start().await;
    let machine = served.create(json!({})).await;
    let key = key();
    let access = ask(&served, &machine, &key, json!({ "ttl_seconds": 2 })).await;
    let before = enter(&access, &key).await;
    tokio::time::sleep(Duration::from_millis(3100)).await;
    let mut session = connect(&access).await;
    let tried = session
        .authenticate_openssh_cert("root", key.clone(), certificate(&access))
        .await
        .unwrap();
    assert!(!tried.success());
    // Who is in may stay.
    assert_eq!(run(&before, "echo in").await.text(), "in\n");
    served.stop().await;
}

#[tokio::test]
async fn what_a_client_started_ends_with_its_connection_and_with_the_machine() {
    let served = Served::start().await;
    let machine = served.create(json!({})).await;
    let key = key();
    let access = ask(&served, &machine, &key, json!({})).await;
    let processes = format!("/v1/machines/{machine}/processes");
    let running = async || {
        let all = served.get(&processes).await.expect(200);
        all.as_array()
            .unwrap()
            .iter()
            .filter(|p| p["running"] == true)
            .count()
    };

    let session = enter(&access, &key).await;
    let channel = session.channel_open_session().await.unwrap();
    channel.exec(true, "exec sleep 1000").await.unwrap();
    until("it runs", async || running().await == 1).await;
    session
        .disconnect(Disconnect::ByApplication, "", "en")
        .await
        .unwrap();
    until("it was killed", async || running().await == 0).await;

    let session = enter(&access, &key).await;
    let mut channel = session.channel_open_session().await.unwrap();
    channel.exec(true, "exec sleep 1000").await.unwrap();
    until("it runs", async || running().await == 1).await;
    served
        .delete(&format!("/v1/machines/{machine}"))
        .await
        .expect(200);
    assert_eq!(to_end(&mut channel).await.code, Some(137));
    // The connection still stands; what it asks for is refused in words.
    let ran = run(&session, "true").await;
    assert_eq!(ran.code, Some(255));
    assert!(
        ran.stderr.contains("nullspace:") && ran.stderr.contains(&machine),
        "{ran:?}"
    );
    served.stop().await;
}

#[tokio::test]
async fn ports_of_the_machine_are_forwarded_and_no_others() {
    let served = Served::start().await;
    let machine = served.create(json!({})).await;
    let key = key();
    let session = enter(&ask(&served, &machine, &key, json!({})).await, &key).await;
    let service = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = service.local_addr().unwrap().port();
    let echo = tokio::spawn(async move {
        let (mut stream, _) = service.accept().await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        stream.write_all(text.to_uppercase().as_bytes()).await.unwrap();
    });
    let mut channel = session
        .channel_open_direct_tcpip("localhost", u32::from(port), "127.0.0.1", 1)
        .await
        .unwrap();
    channel.data(&b"hello"[..]).await.unwrap();
    channel.eof().await.unwrap();
    assert_eq!(to_end(&mut channel).await.text(), "HELLO");
    echo.await.unwrap();
    for (host, port) in [
        ("10.0.0.1", 80),
        ("example.com", 80),
        ("localhost", 0),
        ("localhost", 70_000),
    ] {
        let tried = session
            .channel_open_direct_tcpip(host, port, "127.0.0.1", 1)
            .await;
        assert!(tried.is_err(), "{host}:{port}");
    }
    // Nothing may listen for a client.
    assert!(session.tcpip_forward("127.0.0.1", 0).await.is_err());
    served.stop().await;
}

#[tokio::test]
async fn bad_requests_are_refused_by_name() {
    let served = Served::start().await;
    let machine = served.create(json!({})).await;
    let path = format!("/v1/machines/{machine}/ssh-access");
    let key = key();
    for (more, field) in [
        (json!({ "public_key": "ssh-ed25519" }), "public_key"),
        (
            json!({ "public_key": "-----BEGIN PRIVATE KEY-----" }),
            "public_key",
        ),
        (json!({ "user": "a;b" }), "user"),
        (json!({ "user": "nobody-of-that-name" }), "user"),
        (json!({ "expires_in_minutes": 0 }), "expires_in_minutes"),
        (json!({ "expires_in_minutes": 1441 }), "expires_in_minutes"),
        (json!({ "ttl_seconds": 86_401 }), "ttl_seconds"),
        (
            json!({ "ttl_seconds": 60, "expires_in_minutes": 1 }),
            "ttl_seconds",
        ),
    ] {
        let shown = more.to_string();
        let message = served
            .post(&path, body(&key, more))
            .await
            .refused(400, "invalid_request");
        assert!(message.contains(field), "{shown}: {message}");
    }
    served
        .post("/v1/machines/mch_none/ssh-access", body(&key, json!({})))
        .await
        .refused(404, "machine_not_found");
    // Nothing was asked for rightly: nothing listens.
    assert!(!served.state.path().join("ssh").exists());
    served.stop().await;
}

#[tokio::test]
async fn a_restart_changes_neither_port_nor_host_key() {
    let served = Served::start().await;
    let machine = served.create(json!({})).await;
    let key = key();
    let before = ask(&served, &machine, &key, json!({})).await;
    let (backend, state) = served.stop().await;
    let served = Served::start_with(backend, state).await;
    served.get("/healthz").await.expect(200);
    // The door is open again before anybody asks: an old certificate reaches it, and hears that the machine is gone.
    let session = enter(&before, &key).await;
    assert_eq!(run(&session, "true").await.code, Some(255));
    let machine = served.create(json!({})).await;
    let after = ask(&served, &machine, &key, json!({})).await;
    assert_eq!(
        (&before["port"], &before["host_key"]),
        (&after["port"], &after["host_key"])
    );
    drop(session);
    served.stop().await;
}
