//! Names: queries to any server are answered by asking the computer's own servers.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::records;
use super::tcp::{read_exact, write_all};
use super::Shared;

/// Port of name servers.
pub(super) const PORT: u16 = 53;

/// Queries of one machine at once.
const CONCURRENT: usize = 64;
/// TCP connections of one machine at once; resolvers use one for a few queries.
pub(super) const MOST_CONNECTIONS: usize = 32;
/// Limit of one query, all servers together; then the answer is SERVFAIL.
const LIMIT: Duration = Duration::from_secs(5);
/// How long one server is waited for when there is another one.
const PATIENCE: Duration = Duration::from_secs(2);
/// A TCP connection without a query for so long is closed.
const IDLE: Duration = Duration::from_secs(10);
/// Bytes of a query: a name has at most 255; the rest is for EDNS.
const LARGEST_QUERY: usize = 1500;
/// Servers asked at most, as in resolv.conf(5).
const SERVERS: usize = 3;

const HEADER: usize = 12;

// Answer codes of RFC 1035, section 4.1.1.
const NO_ERROR: u8 = 0;
const FORMAT_ERROR: u8 = 1;
const SERVER_FAILURE: u8 = 2;
const NOT_IMPLEMENTED: u8 = 4;
const REFUSED: u8 = 5;

/// Answers datagrams until dropped.
pub(super) async fn serve_udp(socket: UdpSocket, shared: Arc<Shared>) {
    let socket = Arc::new(socket);
    let slots = Arc::new(Semaphore::new(CONCURRENT));
    let mut buffer = vec![0; LARGEST_QUERY];
    loop {
        // Before reading: what does not fit waits in the kernel, then is lost there, as queries may be.
        let Ok(slot) = slots.clone().acquire_owned().await else {
            return;
        };
        let Ok((len, from)) = socket.recv_from(&mut buffer).await else {
            continue;
        };
        let (query, socket, shared) = (buffer[..len].to_vec(), socket.clone(), shared.clone());
        tokio::spawn(async move {
            let work = async {
                if let Some(answer) = answer(&query, false, &shared).await {
                    let _ = socket.send_to(&answer, from).await;
                }
            };
            shared.end.run_until_cancelled(work).await;
            drop(slot);
        });
    }
}

/// Answers the queries of a TCP connection, one after the other, until it ends.
pub(super) async fn serve_tcp(socket: &TcpStream, shared: &Arc<Shared>) -> io::Result<()> {
    loop {
        let mut len = [0; 2];
        let is_there = timeout(IDLE, read_exact(socket, &mut len)).await??;
        if !is_there {
            return Ok(());
        }
        let mut query = vec![0; u16::from_be_bytes(len).into()];
        if query.len() > LARGEST_QUERY || !timeout(IDLE, read_exact(socket, &mut query)).await?? {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let Some(mut answer) = answer(&query, true, shared).await else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let len = u16::try_from(answer.len()).map_err(|_| io::ErrorKind::InvalidData)?;
        answer.splice(0..0, len.to_be_bytes());
        timeout(IDLE, write_all(socket, &answer)).await??;
    }
}

/// The answer to a query; `None` = it is not a query at all.
async fn answer(query: &[u8], over_tcp: bool, shared: &Shared) -> Option<Vec<u8>> {
    shared.sent.bucket.take_all(query.len()).await;
    shared.sent.count(query.len());
    let question = match check(query)? {
        Ok(question) => question,
        Err(code) => return Some(refusal(query, code)),
    };
    // Asking opens a descriptor or two.
    let place = shared.share.take();
    let answer = if place.is_none() {
        refusal(query, SERVER_FAILURE)
    } else {
        match may_ask(question, shared) {
            Err(code) => refusal(query, code),
            Ok(()) => match timeout(LIMIT, ask_servers(query, question, over_tcp, shared)).await {
                // The rules may have changed meanwhile.
                Ok(Some(answer)) => {
                    match may_ask(question, shared).and_then(|()| enter(&answer, question, shared)) {
                        Ok(()) => answer,
                        Err(code) => refusal(query, code),
                    }
                }
                Ok(None) | Err(_) => refusal(query, SERVER_FAILURE),
            },
        }
    };
    shared.received.bucket.take_all(answer.len()).await;
    shared.received.count(answer.len());
    Some(answer)
}

/// The addresses of a name, asked for as the machine would.
pub(super) async fn resolve(name: &str, shared: &Shared) -> io::Result<Vec<Ipv4Addr>> {
    const RECURSION_DESIRED: u8 = 1;
    let labels = name.split('.').flat_map(|label| {
        let len = u8::try_from(label.len()).unwrap_or(u8::MAX);
        [&[len], label.as_bytes()].concat()
    });
    let question: Vec<u8> = labels.chain([0, 0, 1, 0, 1]).collect();
    let query = [
        &[0, 0, RECURSION_DESIRED, 0, 0, 1, 0, 0, 0, 0, 0, 0],
        &question[..],
    ]
    .concat();
    let denied = |_| io::Error::from(io::ErrorKind::PermissionDenied);
    may_ask(&question, shared).map_err(denied)?;
    let ask = async {
        let answer = ask_servers(&query, &question, false, shared).await?;
        let is_cut_off = answer[2] & 2 != 0;
        match is_cut_off {
            true => ask_servers(&query, &question, true, shared).await,
            false => Some(answer),
        }
    };
    let answer = timeout(LIMIT, ask).await?;
    let answer = answer.ok_or_else(|| io::Error::other("no name server answered"))?;
    shared.sent.count(query.len());
    shared.received.count(answer.len());
    may_ask(&question, shared)
        .and_then(|()| enter(&answer, &question, shared))
        .map_err(denied)?;
    let told = records::told(&answer, name).unwrap_or_default();
    Ok(told.addresses.into_iter().map(|one| one.address).collect())
}

/// Whether a question may be asked, or the code to answer instead.
fn may_ask(question: &[u8], shared: &Shared) -> Result<(), u8> {
    /// What says how else a service is reached: other addresses, and keys that hide the name which TLS says (SVCB, HTTPS,
    /// and all records together). Source: RFC 9460.
    const OTHER_WAYS: [u16; 3] = [64, 65, 255];
    let table = shared.table.lock().unwrap();
    let rules = &table.rules;
    if !rules.dns {
        return Err(REFUSED);
    }
    if rules.names.is_empty() {
        return Ok(());
    }
    match records::name_of(question) {
        Some(name) if rules.names.resolves(&name) => {}
        _ => return Err(REFUSED),
    }
    match records::kind_of(question) {
        Some(kind) if OTHER_WAYS.contains(&kind) => Err(NO_ERROR),
        _ => Ok(()),
    }
}

/// Enters which addresses a name was answered with, or gives the code to answer instead.
fn enter(answer: &[u8], question: &[u8], shared: &Shared) -> Result<(), u8> {
    let Some(name) = records::name_of(question) else {
        return Ok(());
    };
    let mut table = shared.table.lock().unwrap();
    let told = match records::told(answer, &name) {
        Some(told) => told,
        None if table.rules.names.is_empty() => return Ok(()),
        None => return Err(SERVER_FAILURE),
    };
    // A name that is allowed may be an alias of one that is denied.
    if told.aliases.iter().any(|alias| table.rules.names.denies(alias)) {
        return Err(REFUSED);
    }
    table.answered.enter(&name, &told.addresses, Instant::now());
    Ok(())
}

/// Finds the question, or the code to answer instead; `None` = not to be answered.
///
/// Only standard queries of one question pass: no zone transfers, updates or notifications, and no records besides
/// those of EDNS.
fn check(query: &[u8]) -> Option<Result<&[u8], u8>> {
    const TRANSFERS: std::ops::RangeInclusive<u16> = 251..=252;
    if query.len() < HEADER || query[2] & 0x80 != 0 {
        return None; // an answer to an answer could go round for ever
    }
    let number = |at: usize| u16::from_be_bytes([query[at], query[at + 1]]);
    let (opcode, truncated) = (query[2] >> 3 & 0xf, query[2] & 2 != 0);
    if opcode != 0 {
        return Some(Err(NOT_IMPLEMENTED));
    }
    if truncated || number(4) != 1 || number(6) != 0 || number(8) != 0 || number(10) > 1 {
        return Some(Err(FORMAT_ERROR));
    }
    let Some(end) = end_of_question(query) else {
        return Some(Err(FORMAT_ERROR));
    };
    if TRANSFERS.contains(&number(end - 4)) {
        return Some(Err(REFUSED));
    }
    Some(Ok(&query[HEADER..end]))
}

/// Where the first question ends: labels, type, class. Compressed names are not for questions.
fn end_of_question(message: &[u8]) -> Option<usize> {
    let mut at = HEADER;
    loop {
        match *message.get(at)? {
            0 => break,
            len if len < 64 => at += 1 + usize::from(len),
            _ => return None,
        }
        if at - HEADER > 254 {
            return None;
        }
    }
    let end = at + 5;
    (end <= message.len()).then_some(end)
}

/// An answer without records.
fn refusal(query: &[u8], code: u8) -> Vec<u8> {
    let end = end_of_question(query).filter(|_| query[4..6] == [0, 1]);
    let mut answer = query[..end.unwrap_or(HEADER)].to_vec();
    answer[2] = 0x80 | query[2] & 0x79; // an answer; operation and "recursion desired" as asked
    answer[3] = 0x80 | code; // recursion available
    answer[4..12].fill(0);
    answer[5] = end.is_some().into();
    answer
}

async fn ask_servers(query: &[u8], question: &[u8], over_tcp: bool, shared: &Shared) -> Option<Vec<u8>> {
    let servers = match &shared.options.resolvers[..] {
        [] => of_this_computer().await,
        given => given.to_vec(),
    };
    for server in servers.into_iter().take(SERVERS) {
        match timeout(PATIENCE, ask(server, query, question, over_tcp)).await {
            Ok(Ok(answer)) => return Some(answer),
            Ok(Err(error)) => tracing::debug!(%server, %error, "relay: a name server failed"),
            Err(_) => tracing::debug!(%server, "relay: a name server did not answer"),
        }
    }
    None
}

/// The name servers of `/etc/resolv.conf`. Without any it is the one on loopback, as resolv.conf(5) says.
async fn of_this_computer() -> Vec<SocketAddr> {
    let text = tokio::fs::read_to_string("/etc/resolv.conf")
        .await
        .unwrap_or_default();
    let found = servers_of(&text);
    if found.is_empty() {
        return vec![(Ipv4Addr::LOCALHOST, PORT).into()];
    }
    found
}

fn servers_of(text: &str) -> Vec<SocketAddr> {
    let of_line = |line: &str| {
        let mut words = line.split_whitespace();
        let is_server = words.next() == Some("nameserver");
        // A zone (`fe80::1%eth0`) names an interface; such a server is left out.
        let address: Option<IpAddr> = words.next()?.parse().ok();
        address.filter(|_| is_server).map(|a| SocketAddr::new(a, PORT))
    };
    text.lines().filter_map(of_line).collect()
}

/// Asks one server under an id of our own, so that the machine cannot help anyone to guess it.
async fn ask(server: SocketAddr, query: &[u8], question: &[u8], over_tcp: bool) -> io::Result<Vec<u8>> {
    let id: [u8; 2] = rand::random();
    let mut own = query.to_vec();
    own[..2].copy_from_slice(&id);
    let mut answer = if over_tcp {
        ask_tcp(server, &own).await?
    } else {
        ask_udp(server, &own, question).await?
    };
    if !is_answer(&answer, &own, question) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    answer[..2].copy_from_slice(&query[..2]);
    Ok(answer)
}

async fn ask_udp(server: SocketAddr, query: &[u8], question: &[u8]) -> io::Result<Vec<u8>> {
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (std::net::Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?; // a new port for each query
    socket.connect(server).await?;
    socket.send(query).await?;
    let mut buffer = vec![0; u16::MAX.into()];
    loop {
        let len = socket.recv(&mut buffer).await?;
        // Anything else may be a forgery: the real answer can still come.
        if is_answer(&buffer[..len], query, question) {
            buffer.truncate(len);
            return Ok(buffer);
        }
    }
}

async fn ask_tcp(server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    let mut message = (query.len() as u16).to_be_bytes().to_vec();
    message.extend(query);
    stream.write_all(&message).await?;
    let mut answer = vec![0; stream.read_u16().await?.into()];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

/// Whether `message` answers `query`. Names are compared without case: some servers do not keep it.
fn is_answer(message: &[u8], query: &[u8], question: &[u8]) -> bool {
    message.len() >= HEADER
        && message[..2] == query[..2]
        && message[2] & 0x80 != 0
        && message
            .get(HEADER..HEADER + question.len())
            .map_or(message[4..6] == [0, 0], |q| q.eq_ignore_ascii_case(question))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `a.bc`, type A, class IN; id 0x1234, recursion desired.
    const QUERY: &[u8] = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x02bc\x00\x00\x01\x00\x01";

    fn with(at: usize, byte: u8) -> Vec<u8> {
        let mut query = QUERY.to_vec();
        query[at] = byte;
        query
    }

    #[test]
    fn a_standard_query_passes() {
        assert_eq!(check(QUERY), Some(Ok(&b"\x01a\x02bc\x00\x00\x01\x00\x01"[..])));
    }

    #[test]
    fn other_messages_are_refused() {
        assert_eq!(check(&QUERY[..11]), None);
        assert_eq!(check(&with(2, 0x81)), None, "an answer");
        assert_eq!(check(&with(2, 0x29)), Some(Err(NOT_IMPLEMENTED)), "an update");
        assert_eq!(check(&with(5, 2)), Some(Err(FORMAT_ERROR)), "two questions");
        assert_eq!(check(&with(7, 1)), Some(Err(FORMAT_ERROR)), "an answer record");
        assert_eq!(
            check(&with(11, 2)),
            Some(Err(FORMAT_ERROR)),
            "two additional records"
        );
        assert_eq!(
            check(&with(12, 0xc0)),
            Some(Err(FORMAT_ERROR)),
            "a compressed name"
        );
        assert_eq!(
            check(&with(12, 63)),
            Some(Err(FORMAT_ERROR)),
            "a label longer than the rest"
        );
        assert_eq!(
            check(&QUERY[..QUERY.len() - 1]),
            Some(Err(FORMAT_ERROR)),
            "cut off"
        );
        assert_eq!(check(&with(19, 252)), Some(Err(REFUSED)), "a zone transfer");
    }

    #[test]
    fn a_refusal_repeats_id_and_question() {
        let expected = b"\x12\x34\x81\x85\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x02bc\x00\x00\x01\x00\x01";
        assert_eq!(refusal(QUERY, REFUSED), expected);
        assert_eq!(
            refusal(&with(12, 0xff), FORMAT_ERROR),
            b"\x12\x34\x81\x81\0\0\0\0\0\0\0\0"
        );
    }

    #[test]
    fn an_answer_is_that_to_this_question() {
        let question = &QUERY[HEADER..];
        let answer = refusal(QUERY, 0);
        assert!(is_answer(&answer, QUERY, question));
        assert!(is_answer(&answer.to_ascii_uppercase(), QUERY, question));
        assert!(!is_answer(QUERY, QUERY, question), "a query");
        assert!(!is_answer(&answer, &with(1, 0x35), question), "another id");
        let mut other = answer;
        other[13] = b'x';
        assert!(!is_answer(&other, QUERY, question), "another name");
    }

    #[test]
    fn servers_are_read_as_the_resolver_reads_them() {
        let text = "# nameserver 1.1.1.1\nsearch x\nnameserver 10.0.0.2\n nameserver\t::1 \nnameserver fe80::1%eth0\n";
        let expected: [SocketAddr; 2] = ["10.0.0.2:53".parse().unwrap(), "[::1]:53".parse().unwrap()];
        assert_eq!(servers_of(text), expected);
    }

    proptest::proptest! {
        #[test]
        fn fuzz_any_datagram_is_a_question_or_refused(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..600), text in "\\PC{0,60}") {
            match check(&bytes) {
                None => {}
                Some(Ok(question)) => {
                    is_answer(&bytes, &bytes, question);
                }
                Some(Err(code)) => {
                    refusal(&bytes, code);
                }
            }
            servers_of(&text);
        }
    }
}
