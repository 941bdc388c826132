//! Whom a connection says that it is for: the name in the first message of TLS, the host of each request of HTTP/1.
//!
//! Nothing of it is changed or answered. What is not understood well enough to know its name is refused, and so is what a
//! server could read in another way than it is read here.

use std::io;

use rustls::server::Acceptor;

use crate::isolation::Said;

/// Bytes of a first message of TLS.
const LARGEST_HELLO: usize = 64 << 10;
/// Bytes of the head of a request, and of the headers after a body.
const LARGEST_HEAD: usize = 64 << 10;
const MOST_HEADERS: usize = 256;
/// Bytes of the line before a part of a body.
const LONGEST_CHUNK_LINE: usize = 1024;
/// Characters of a method of HTTP.
const LONGEST_METHOD: usize = 32;
/// How HTTP/2 begins that was not agreed upon before: its names are compressed, and not read.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n";
const TLS_HANDSHAKE: u8 = 0x16;

/// Where a connection is in what it says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum State {
    /// Nothing is known.
    #[default]
    Start,
    /// In a request: `first` of the connection or later.
    Head { first: bool },
    /// So many bytes of a body are left.
    Body(u64),
    /// Before the line of a part of a body.
    Chunk,
    /// So many bytes of a part are left, and the end of its line.
    Part(u64),
    /// After the last part.
    Trailer,
    /// After a request for a WebSocket.
    Socket,
    /// It has said all that it will.
    Through,
}

/// What hears one connection.
#[derive(Debug, Default)]
pub(super) struct Hearing(State);

/// It may not go on.
fn refused() -> io::Error {
    io::ErrorKind::PermissionDenied.into()
}

fn unread() -> io::Error {
    io::ErrorKind::InvalidData.into()
}

impl Hearing {
    /// Whether nothing of what follows matters.
    pub(super) fn is_through(&self) -> bool {
        self.0 == State::Through
    }

    /// Hears what the machine sent and was not passed on yet: how much of it may be. `say` is told each name as it comes,
    /// and answers whether the connection may be for it. `is_all`: the machine sends no more.
    pub(super) fn hear(
        &mut self,
        bytes: &[u8],
        is_all: bool,
        say: &mut dyn FnMut(Said) -> bool,
    ) -> io::Result<usize> {
        let mut say = |said| if say(said) { Ok(()) } else { Err(refused()) };
        let mut at = 0;
        loop {
            let rest = &bytes[at..];
            let wait = |limit: usize| if rest.len() > limit { Err(unread()) } else { Ok(at) };
            if rest.is_empty() && self.0 != State::Through {
                return Ok(at);
            }
            match self.0 {
                State::Through => return Ok(bytes.len()),
                State::Start => match Kind::of(rest) {
                    Kind::Unknown if is_all => self.end_unknown(&mut say)?,
                    Kind::Unknown => return wait(LARGEST_HEAD),
                    Kind::Tls => {
                        let Some(name) = hello(rest)? else {
                            return wait(LARGEST_HELLO);
                        };
                        say(name.map_or(Said::NoName, Said::Name))?;
                        self.0 = State::Through;
                    }
                    Kind::Http => self.0 = State::Head { first: true },
                    Kind::Other => self.end_unknown(&mut say)?,
                },
                State::Head { first } => {
                    let Some(request) = request(rest, first)? else {
                        return wait(LARGEST_HEAD);
                    };
                    say(request.host)?;
                    at += request.len;
                    self.0 = request.then;
                }
                State::Body(left) => {
                    let passed = left.min(rest.len() as u64);
                    at += passed as usize;
                    self.0 = match left - passed {
                        0 => State::Head { first: false },
                        left => State::Body(left),
                    };
                }
                State::Chunk => match httparse::parse_chunk_size(rest).map_err(|_| unread())? {
                    httparse::Status::Partial => return wait(LONGEST_CHUNK_LINE),
                    httparse::Status::Complete((len, 0)) => {
                        at += len;
                        self.0 = State::Trailer;
                    }
                    httparse::Status::Complete((len, size)) => {
                        at += len;
                        self.0 = State::Part(size);
                    }
                },
                State::Part(0) => match rest {
                    [b'\r'] => return Ok(at),
                    [b'\r', b'\n', ..] => {
                        at += 2;
                        self.0 = State::Chunk;
                    }
                    _ => return Err(unread()),
                },
                State::Part(left) => {
                    let passed = left.min(rest.len() as u64);
                    at += passed as usize;
                    self.0 = State::Part(left - passed);
                }
                State::Trailer => {
                    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
                    match httparse::parse_headers(rest, &mut headers).map_err(|_| unread())? {
                        httparse::Status::Partial => return wait(LARGEST_HEAD),
                        httparse::Status::Complete((len, _)) => {
                            at += len;
                            self.0 = State::Head { first: false };
                        }
                    }
                }
                State::Socket if is_frame(rest[0]) => self.0 = State::Through,
                // The server did not agree, and the connection goes on with HTTP.
                State::Socket => self.0 = State::Head { first: false },
            }
        }
    }

    fn end_unknown(&mut self, say: &mut impl FnMut(Said) -> io::Result<()>) -> io::Result<()> {
        say(Said::NoName)?;
        self.0 = State::Through;
        Ok(())
    }
}

/// Whether a frame of a WebSocket may begin with a byte, which no request does: RFC 6455, section 5.2. Its letters are
/// fragments of compressed messages, with which a conversation hardly begins; they count as requests.
fn is_frame(byte: u8) -> bool {
    let (is_last, reserved, kind) = (byte & 0x80 != 0, byte & 0x30, byte & 0x0f);
    reserved == 0 && (is_last && [1, 2, 8, 9, 10].contains(&kind) || [0x01, 0x02].contains(&byte))
}

/// What a connection is of.
#[derive(Debug, PartialEq, Eq)]
enum Kind {
    /// It could still be HTTP.
    Unknown,
    Tls,
    Http,
    Other,
}

impl Kind {
    fn of(bytes: &[u8]) -> Self {
        if bytes[0] == TLS_HANDSHAKE {
            return Self::Tls;
        }
        // Servers leave out empty lines before a request: RFC 9112, section 2.2.
        let empty = bytes.iter().take_while(|byte| b"\r\n".contains(byte)).count();
        let bytes = &bytes[empty..];
        if bytes.len() < PREFACE.len() && PREFACE.starts_with(bytes) {
            return Self::Unknown;
        }
        if bytes.starts_with(PREFACE) {
            return Self::Other;
        }
        let letters = bytes.iter().take_while(|byte| is_token(**byte)).count();
        if letters > LONGEST_METHOD {
            return Self::Other;
        }
        match bytes.get(letters) {
            None => Self::Unknown,
            Some(b' ' | b'\t') if letters > 0 => match bytes.iter().position(|byte| *byte == b'\n') {
                // Words may begin the lines of any protocol.
                Some(end) if has_version(&bytes[..end]) => Self::Http,
                Some(_) => Self::Other,
                None => Self::Unknown,
            },
            Some(_) => Self::Other,
        }
    }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Whether a line could be one of HTTP, also to a server that reads more than it has to.
fn has_version(line: &[u8]) -> bool {
    line.windows(5).any(|part| part.eq_ignore_ascii_case(b"http/"))
}

/// The name in a first message of TLS: `None` when it is not whole yet, `Some(None)` when it says none.
fn hello(mut bytes: &[u8]) -> io::Result<Option<Option<String>>> {
    let mut acceptor = Acceptor::default();
    while !bytes.is_empty() {
        acceptor.read_tls(&mut bytes).map_err(|_| unread())?;
        if let Some(accepted) = acceptor.accept().map_err(|_| unread())? {
            let name = accepted.client_hello().server_name().map(plain);
            return Ok(Some(name));
        }
    }
    Ok(None)
}

fn plain(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

/// A request of HTTP/1.
struct Request {
    host: Said,
    /// Bytes of its head.
    len: usize,
    then: State,
}

/// The request that bytes begin with; `None` when its head is not whole yet. Source: RFC 9112, sections 3 and 6.
fn request(bytes: &[u8], first: bool) -> io::Result<Option<Request>> {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(len) = parsed.parse(bytes).map_err(|_| unread())? else {
        return Ok(None);
    };
    // A line that ends without CR is read by some servers and not by others.
    if bytes[..len]
        .windows(2)
        .any(|pair| pair[1] == b'\n' && pair[0] != b'\r')
    {
        return Err(unread());
    }
    let (method, target) = (parsed.method.unwrap_or_default(), parsed.path.unwrap_or_default());
    let all = |name: &str| -> Vec<&[u8]> {
        let own = parsed
            .headers
            .iter()
            .filter(|header| header.name.eq_ignore_ascii_case(name));
        own.map(|header| header.value).collect()
    };
    let said = match all("host")[..] {
        [] => Said::NoName,
        [one] => authority(one)?,
        _ => return Err(unread()),
    };
    let of_target = of_target(method, target)?;
    let host = match (of_target, said) {
        (None, said) => said,
        (Some(target), said) if said == target => target,
        // HTTP/1.0 may leave the header out.
        (Some(target), Said::NoName) if all("host").is_empty() => target,
        _ => return Err(refused()),
    };
    let body = match (&all("transfer-encoding")[..], &all("content-length")[..]) {
        ([], []) => State::Head { first: false },
        ([], [digits]) => match decimal(digits)? {
            0 => State::Head { first: false },
            length => State::Body(length),
        },
        ([coding], [])
            if parsed.version == Some(1) && coding.trim_ascii().eq_ignore_ascii_case(b"chunked") =>
        {
            State::Chunk
        }
        _ => return Err(unread()),
    };
    let is_socket = all("upgrade")
        .iter()
        .any(|value| value.eq_ignore_ascii_case(b"websocket"));
    let has_body = body != State::Head { first: false };
    let then = match method {
        // What goes through a proxy begins anew.
        "CONNECT" if has_body => return Err(unread()),
        "CONNECT" => State::Start,
        // Only as the first request, since a server's answer to an earlier one is not awaited.
        _ if is_socket && first && !has_body => State::Socket,
        _ => body,
    };
    Ok(Some(Request { host, len, then }))
}

fn decimal(digits: &[u8]) -> io::Result<u64> {
    let text = std::str::from_utf8(digits).map_err(|_| unread())?.trim_ascii();
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number).ok_or_else(unread)
}

/// What a target says; `None` = only a path.
fn of_target(method: &str, target: &str) -> io::Result<Option<Said>> {
    if method == "CONNECT" {
        return authority(target.as_bytes()).map(Some);
    }
    if target.starts_with('/') || target == "*" {
        return Ok(None);
    }
    let rest = ["http://", "https://"].into_iter().find_map(|scheme| {
        let (start, rest) = target.split_at_checked(scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then_some(rest)
    });
    let rest = rest.ok_or_else(unread)?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    authority(&rest.as_bytes()[..end]).map(Some)
}

/// What `host` or `host:port` says.
fn authority(bytes: &[u8]) -> io::Result<Said> {
    let text = std::str::from_utf8(bytes).map_err(|_| unread())?.trim_ascii();
    if let Some(rest) = text.strip_prefix('[') {
        let (address, port) = rest.split_once(']').ok_or_else(unread)?;
        let is_port = port.is_empty() || port.strip_prefix(':').is_some_and(is_digits);
        let is_address = address.parse::<std::net::Ipv6Addr>().is_ok();
        return (is_port && is_address).then_some(Said::NoName).ok_or_else(unread);
    }
    let (host, port) = text.split_once(':').unwrap_or((text, ""));
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if !is_digits(port) || !host.bytes().all(is_plain) {
        return Err(unread());
    }
    if host.is_empty() || host.parse::<std::net::Ipv4Addr>().is_ok() {
        return Ok(Said::NoName);
    }
    Ok(Said::Name(plain(host)))
}

fn is_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said, and how much is let through, when bytes come one at a time; `None` = refused.
    fn heard(bytes: &[u8]) -> (Vec<String>, Option<usize>) {
        heard_by(bytes, &mut |_| true)
    }

    fn heard_by(bytes: &[u8], allows: &mut dyn FnMut(&str) -> bool) -> (Vec<String>, Option<usize>) {
        let mut names = Vec::new();
        let mut say = |said| {
            names.push(match said {
                Said::Name(name) => name,
                _ => "-".to_owned(),
            });
            allows(names.last().unwrap())
        };
        let (mut hearing, mut passed) = (Hearing::default(), 0);
        for end in 1..=bytes.len() {
            match hearing.hear(&bytes[passed..end], end == bytes.len(), &mut say) {
                Ok(len) => passed += len,
                Err(_) => return (names, None),
            }
        }
        (names, Some(passed))
    }

    fn says(bytes: &[u8], names: &[&str]) {
        let text = String::from_utf8_lossy(bytes);
        let owned: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(heard(bytes), (owned.clone(), Some(bytes.len())), "{text}");
        // All at once it is the same.
        let mut at_once = Vec::new();
        let passed = Hearing::default().hear(bytes, true, &mut |said| {
            at_once.push(match said {
                Said::Name(name) => name,
                _ => "-".to_owned(),
            });
            true
        });
        assert_eq!((at_once, passed.unwrap()), (owned, bytes.len()), "{text}");
    }

    #[test]
    fn each_request_of_a_connection_says_its_host() {
        says(b"GET / HTTP/1.1\r\nHost: A.Test.\r\n\r\n", &["a.test"]);
        says(b"\r\nGET / HTTP/1.1\r\nhost:\ta.test:8080 \r\n\r\n", &["a.test"]);
        says(
            b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\nGET / HTTP/1.1\r\nHost: b.test\r\n\r\n",
            &["a.test", "b.test"],
        );
        says(
            b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nGET /PUT / HTTP/1.1\r\nHost: b.test\r\n\r\n",
            &["a.test", "b.test"],
        );
        says(
            b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n4;x=y\r\nGET \r\n0\r\nX: y\r\n\r\n\
              GET / HTTP/1.1\r\nHost: b.test\r\n\r\n",
            &["a.test", "b.test"],
        );
        says(
            b"GET http://a.test/x HTTP/1.1\r\nHost: a.test\r\n\r\n",
            &["a.test"],
        );
        says(b"GET HTTP://A.test?x HTTP/1.0\r\n\r\n", &["a.test"]);
        says(b"GET / HTTP/1.0\r\n\r\n", &["-"]);
        says(b"GET / HTTP/1.1\r\nHost: 10.0.0.1:80\r\n\r\n", &["-"]);
        says(b"GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", &["-"]);
    }

    #[test]
    fn what_goes_through_a_proxy_is_heard_too() {
        says(
            b"CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\nGET / HTTP/1.1\r\nHost: b.test\r\n\r\n",
            &["a.test", "b.test"],
        );
    }

    #[test]
    fn a_web_socket_is_through_once_a_frame_has_come() {
        let ask = b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
        let after = |bytes: &[u8]| [ask, bytes].concat();
        says(
            &after(b"\x81\x80\0\0\0\0GET / HTTP/1.1\r\nHost: b.test\r\n\r\n"),
            &["a.test"],
        );
        // The server did not agree.
        says(
            &after(b"GET / HTTP/1.1\r\nHost: b.test\r\n\r\n"),
            &["a.test", "b.test"],
        );
        assert_eq!(heard(&after(b" GET / HTTP/1.1\r\nHost: b.test\r\n\r\n")).1, None);
        says(
            &after(b"\r\nGET / HTTP/1.1\r\nHost: b.test\r\n\r\n"),
            &["a.test", "b.test"],
        );
        // Behind another request nobody knows which answer is its.
        let late = [
            b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n",
            &ask[..],
            b"\x81\x80\0\0\0\0",
        ]
        .concat();
        assert_eq!(heard(&late).1, None);
    }

    #[test]
    fn other_protocols_say_no_name() {
        for bytes in [
            &b"SSH-2.0-OpenSSH_9.2\r\n"[..],
            b"EHLO mail.example\r\nMAIL FROM:<a@b>\r\n",
            b"*1\r\n$4\r\nPING\r\n",
            b"\x00\x00\x00\x08\x04\xd2\x16\x2f",
            b"a1 LOGIN u p\r\n",
            b"OPTIONS rtsp://a.test RTSP/1.0\r\n\r\n",
            b"GET /\r\n",
            b"ping",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"PRI",
            b"\r\n",
        ] {
            says(bytes, &["-"]);
        }
    }

    #[test]
    fn what_two_servers_could_read_in_two_ways_is_refused() {
        for rest in [
            "Host: a.test\r\nHost: b.test\r\n\r\n",
            "Host: a.test, b.test\r\n\r\n",
            "Host: a.test@b.test\r\n\r\n",
            "Host: a.test/b\r\n\r\n",
            "Host: b\u{fc}cher.test\r\n\r\n",
            "Host : a.test\r\n\r\n",
            "Host: a.test\r\n Host: b.test\r\n\r\n",
            "Host: a.test\nX: y\r\n\r\n",
            "Host: a.test\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "Host: a.test\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            "Host: a.test\r\nContent-Length: +1\r\n\r\n",
            "Host: a.test\r\nContent-Length: 99999999999999999999\r\n\r\n",
            "Host: a.test\r\nTransfer-Encoding: xchunked\r\n\r\n",
            "Host: a.test\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            "Host: a.test\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n",
            "Host: a.test\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
        ] {
            let text = format!("GET / HTTP/1.1\r\n{rest}");
            assert_eq!(heard(text.as_bytes()).1, None, "{text}");
        }
        for line in [
            "GET a.test HTTP/1.1",
            "GET ftp://a.test/ HTTP/1.1",
            "GET / HTTP/3.0",
            "GET\t/ HTTP/1.1",
            "GET / x HTTP/1.1",
            "GET http://b.test/ HTTP/1.1",
            "CONNECT b.test:443 HTTP/1.1",
        ] {
            let text = format!("{line}\r\nHost: a.test\r\n\r\n");
            assert_eq!(heard(text.as_bytes()).1, None, "{text}");
        }
        let old = b"POST / HTTP/1.0\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(heard(old).1, None);
    }

    #[test]
    fn a_name_that_may_not_be_stops_it_before_anything_of_the_request_is_passed_on() {
        let bytes = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\nGET / HTTP/1.1\r\nHost: b.test\r\n\r\n";
        let (names, passed) = heard_by(bytes, &mut |name| name == "a.test");
        assert_eq!(
            (names, passed),
            (vec!["a.test".to_owned(), "b.test".to_owned()], None)
        );
        let mut hearing = Hearing::default();
        let first = hearing.hear(&bytes[..40], false, &mut |_| true).unwrap();
        assert_eq!(first, 32);
    }

    #[test]
    fn too_much_without_an_end_is_refused() {
        let head = [&b"GET / HTTP/1.1\r\nHost: a.test\r\nX: "[..], &vec![b'x'; 70_000]].concat();
        assert!(Hearing::default().hear(&head, false, &mut |_| true).is_err());
        let line = [&b"GET "[..], &vec![b'x'; 70_000]].concat();
        assert!(Hearing::default().hear(&line, false, &mut |_| true).is_err());
        let hello = [&b"\x16\x03\x01\xff\xff"[..], &vec![0; 70_000]].concat();
        assert!(Hearing::default().hear(&hello, false, &mut |_| true).is_err());
    }

    /// The first message of a client of rustls.
    fn client_hello(name: &str) -> Vec<u8> {
        let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        let name = rustls::pki_types::ServerName::try_from(name.to_owned()).unwrap();
        let mut client = rustls::ClientConnection::new(std::sync::Arc::new(config), name).unwrap();
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn tls_says_the_name_of_its_first_message() {
        says(&[client_hello("A.test"), vec![1, 2, 3]].concat(), &["a.test"]);
        says(&client_hello("10.0.0.1"), &["-"]);
        let cut = client_hello("a.test");
        assert_eq!(heard(&cut[..cut.len() - 1]), (vec![], Some(0)));
        assert_eq!(
            heard(b"\x16\x03\x01\x00\x05\x02\x00\x00\x01\x00").1,
            None,
            "another message"
        );
    }

    proptest::proptest! {
        #[test]
        fn fuzz_any_bytes_are_heard_or_refused(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300), text in "(GET|PUT|CONNECT|\\x16)[ -~\r\n]{0,200}") {
            heard(&bytes);
            heard(text.as_bytes());
        }
    }
}
