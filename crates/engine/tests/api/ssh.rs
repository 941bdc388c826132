//! SSH access, with a real client over a real port.

use std::sync::Arc;
use std::time::Duration;

use crate::support::{until, Served};
use bytes::Bytes;
use russh::client::{self, Handle, Msg};
use russh::keys::{Algorithm, Certificate, PrivateKey, PublicKeyOrCertificate};
use russh::{Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Disconnect};
use russh_sftp::extensions::LimitsExtension;
use russh_sftp::protocol::{
    Extended, FileAttributes, Fstat, Init, Open, OpenFlags, Packet, Read, Rename, StatusCode, Write,
};
use serde_json::{json, Value};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A client that takes one host key only.
struct HostKeyCheck(String);

impl client::Handler for HostKeyCheck {
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

async fn connect(access: &Value) -> Handle<HostKeyCheck> {
    let known = HostKeyCheck(access["host_key"].as_str().unwrap().to_owned());
    let address = (
        access["host"].as_str().unwrap().to_owned(),
        access["port"].as_u64().unwrap() as u16,
    );
    client::connect(Arc::default(), address, known).await.unwrap()
}

fn certificate(access: &Value) -> Certificate {
    Certificate::from_openssh(access["certificate"].as_str().unwrap()).unwrap()
}

async fn enter(access: &Value, key: &Arc<PrivateKey>) -> Handle<HostKeyCheck> {
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

async fn run(session: &Handle<HostKeyCheck>, line: &str) -> Ran {
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
    channel.exec(true, "sleep 5; wc -c").await.unwrap();
    let size = 40 << 20;
    let (mut reader, writer) = channel.split();
    let sending = send_much(writer, size);
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(!sending.is_finished(), "somebody took 40 MiB that nobody read");
    let other = tokio::time::timeout(Duration::from_secs(3), run(&session, "echo beside")).await;
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

/// A channel that speaks SFTP, packet by packet.
struct Sftp {
    channel: Channel<Msg>,
    received: Vec<u8>,
}

impl Sftp {
    async fn start(session: &Handle<HostKeyCheck>) -> Self {
        let channel = session.channel_open_session().await.unwrap();
        channel.request_subsystem(true, "sftp").await.unwrap();
        let received = Vec::new();
        let mut sftp = Self { channel, received };
        let Packet::Version(version) = sftp.ask(Packet::Init(Init::new())).await else {
            panic!("no version");
        };
        assert_eq!(version.version, 3);
        assert!(version.extensions.contains_key("posix-rename@openssh.com"));
        sftp
    }

    async fn send(&self, bytes: &[u8]) {
        self.channel.data(bytes).await.unwrap();
    }

    /// The next answer, without its length; `None` at the end.
    async fn next(&mut self) -> Option<Packet> {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
        loop {
            if let Some((length, rest)) = self.received.split_first_chunk() {
                let length = u32::from_be_bytes(*length) as usize;
                if let Some(packet) = rest.get(..length) {
                    let mut packet = Bytes::copy_from_slice(packet);
                    self.received.drain(..4 + length);
                    return Some(Packet::try_from(&mut packet).unwrap());
                }
            }
            let message = tokio::time::timeout_at(deadline, self.channel.wait()).await;
            match message.expect("an answer in time") {
                Some(ChannelMsg::Data { data }) => self.received.extend_from_slice(&data),
                Some(ChannelMsg::Eof | ChannelMsg::Close) | None => return None,
                Some(_) => {}
            }
        }
    }

    async fn ask(&mut self, packet: Packet) -> Packet {
        self.send(&Bytes::try_from(packet).unwrap()).await;
        self.next().await.expect("an answer")
    }

    async fn open(&mut self, id: u32, filename: &str, pflags: OpenFlags) -> Packet {
        let open = Open {
            id,
            filename: filename.into(),
            pflags,
            attrs: FileAttributes::default(),
        };
        self.ask(Packet::Open(open)).await
    }
}

fn refusal(answer: Packet) -> (u32, StatusCode, String) {
    match answer {
        Packet::Status(status) => (status.id, status.status_code, status.error_message),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
#[cfg_attr(not_root, ignore = "needs root")]
async fn sftp_answers_each_request_with_its_number_and_refusals_with_the_path() {
    let served = Served::start().await;
    let machine = served.create(json!({})).await;
    let key = key();
    let session = enter(&ask(&served, &machine, &key, json!({})).await, &key).await;
    let mut sftp = Sftp::start(&session).await;
    let create = OpenFlags::WRITE | OpenFlags::CREATE;
    let Packet::Handle(file) = sftp.open(7, "f", create).await else {
        panic!("no handle");
    };
    assert_eq!(file.id, 7);
    let write = Write {
        id: 8,
        handle: file.handle.clone(),
        offset: 0,
        data: vec![b'x'; 200 << 10],
    };
    assert_eq!(refusal(sftp.ask(Packet::Write(write)).await).1, StatusCode::Ok);
    let fstat = Fstat {
        id: 9,
        handle: file.handle,
    };
    let Packet::Attrs(found) = sftp.ask(Packet::Fstat(fstat)).await else {
        panic!("no attributes");
    };
    assert_eq!((found.id, found.attrs.size), (9, Some(200 << 10)));

    let (id, code, text) = refusal(sftp.open(10, "no/such", OpenFlags::READ).await);
    assert_eq!((id, code), (10, StatusCode::NoSuchFile));
    assert!(text.contains("/workspace/no/such"), "{text}");
    let (_, code, text) = refusal(sftp.open(11, "/workspace/.nullspace/f", create).await);
    assert_eq!(code, StatusCode::PermissionDenied);
    assert!(text.contains("reserved"), "{text}");
    let read = |id, handle: &str| {
        let handle = handle.into();
        Packet::Read(Read {
            id,
            handle,
            offset: 0,
            len: 10,
        })
    };
    for handle in ["", "x", "-1", "99", "4294967296"] {
        let (_, code, _) = refusal(sftp.ask(read(12, handle)).await);
        assert_eq!(code, StatusCode::NoSuchFile, "{handle:?}");
    }
    let unknown = Extended {
        id: 13,
        request: "unknown@example.com".into(),
        data: Vec::new(),
    };
    let answer = refusal(sftp.ask(Packet::Extended(unknown)).await);
    assert_eq!((answer.0, answer.1), (13, StatusCode::OpUnsupported));

    // An old rename replaces nothing, that of OpenSSH does.
    assert!(matches!(sftp.open(14, "g", create).await, Packet::Handle(_)));
    let rename = Rename {
        id: 15,
        oldpath: "f".into(),
        newpath: "g".into(),
    };
    assert_eq!(
        refusal(sftp.ask(Packet::Rename(rename)).await).1,
        StatusCode::Failure
    );
    let both = russh_sftp::ser::to_bytes(&("f", "g")).unwrap();
    let rename = Extended {
        id: 16,
        request: "posix-rename@openssh.com".into(),
        data: both.into(),
    };
    assert_eq!(
        refusal(sftp.ask(Packet::Extended(rename)).await).1,
        StatusCode::Ok
    );

    // A name that is no UTF-8: the text that lists show, and no other that came of such a name.
    let exact = "caf\u{FFFD}E9";
    assert!(matches!(sftp.open(19, exact, create).await, Packet::Handle(_)));
    let (_, code, text) = refusal(sftp.open(20, "caf\u{FFFD}", create).await);
    assert_eq!(code, StatusCode::BadMessage);
    assert!(text.contains("no UTF-8"), "{text}");

    // What cannot be read is answered too, and the next request is as good as ever.
    sftp.send(&[0, 0, 0, 7, 3, 0, 0, 0, 17, 0, 0]).await;
    let answer = refusal(sftp.next().await.unwrap());
    assert_eq!((answer.0, answer.1), (17, StatusCode::BadMessage));
    let (_, code, _) = refusal(sftp.open(18, "f", OpenFlags::READ).await);
    assert_eq!(code, StatusCode::NoSuchFile, "it was renamed");
    // What can be no packet ends the channel, and nothing waits for the rest of it.
    sftp.send(&[0xff, 0xff, 0xff, 0xff, 3]).await;
    assert!(sftp.next().await.is_none());
    assert_eq!(run(&session, "echo beside").await.text(), "beside\n");
    served.stop().await;
}

#[tokio::test]
#[cfg_attr(not_root, ignore = "needs root")]
async fn sftp_holds_so_many_files_and_ends_with_the_machine() {
    let served = Served::start().await;
    let machine = served.create(json!({})).await;
    let key = key();
    let session = enter(&ask(&served, &machine, &key, json!({})).await, &key).await;
    let mut sftp = Sftp::start(&session).await;
    let limits = Extended {
        id: 1,
        request: "limits@openssh.com".into(),
        data: Vec::new(),
    };
    let Packet::ExtendedReply(reply) = sftp.ask(Packet::Extended(limits)).await else {
        panic!("no limits");
    };
    let mut reply = Bytes::from(reply.data);
    let limits: LimitsExtension = russh_sftp::de::from_bytes(&mut reply).unwrap();
    assert!(limits.max_write_len < limits.max_packet_len);
    let create = OpenFlags::WRITE | OpenFlags::CREATE;
    for _ in 0..limits.max_open_handles {
        assert!(matches!(sftp.open(2, "f", create).await, Packet::Handle(_)));
    }
    let (_, code, text) = refusal(sftp.open(3, "f", create).await);
    assert_eq!(code, StatusCode::Failure);
    assert!(text.contains("256 files are open"), "{text}");

    served
        .delete(&format!("/v1/machines/{machine}"))
        .await
        .expect(200);
    assert!(sftp.next().await.is_none());
    // What asks after that hears why not.
    let mut late = session.channel_open_session().await.unwrap();
    late.request_subsystem(true, "sftp").await.unwrap();
    let ran = to_end(&mut late).await;
    assert_eq!(ran.code, Some(255));
    assert!(ran.stderr.contains(&machine), "{ran:?}");
    served.stop().await;
}
