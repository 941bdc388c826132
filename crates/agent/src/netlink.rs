//! Netlink requests: bytes of messages and attributes, and one exchange with the kernel.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::sockopt::{set_socket_timeout, Timeout};
use rustix::net::{
    recv, send, socket_with, AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType,
};

/// Links, routes and addresses: protocol number 0, which is the one without a number.
pub(crate) const ROUTE: Option<Protocol> = None;
/// Rules.
pub(crate) const NETFILTER: Option<Protocol> = Some(rustix::net::netlink::NETFILTER);

/// `struct nlmsghdr`.
const HEADER: usize = 16;
/// `NLMSG_ERROR` is followed by an errno, negative, or 0 as an acknowledgement.
const ERRNO: std::ops::Range<usize> = HEADER..HEADER + 4;

/// One request.
pub(crate) struct Message {
    kind: u16,
    flags: u16,
    body: Vec<u8>,
}

impl Message {
    pub(crate) fn new(kind: u16, flags: libc::c_int) -> Self {
        Self {
            kind,
            flags: (libc::NLM_F_REQUEST | flags) as u16,
            body: Vec::new(),
        }
    }

    /// Appends to the fixed part; before any attribute.
    pub(crate) fn put(&mut self, bytes: &[u8]) {
        self.body.extend_from_slice(bytes);
    }

    pub(crate) fn attribute(&mut self, kind: u16, value: &[u8]) {
        self.body.extend(attribute(kind, value));
    }

    fn encode(&self, sequence: u32, out: &mut Vec<u8>) {
        let len = (HEADER + self.body.len()) as u32;
        out.extend(len.to_ne_bytes());
        out.extend(self.kind.to_ne_bytes());
        out.extend(self.flags.to_ne_bytes());
        out.extend(sequence.to_ne_bytes());
        out.extend(0u32.to_ne_bytes()); // port: the kernel knows it
        out.extend(&self.body);
        pad(out);
    }
}

/// An attribute with its padding. Nest by passing attributes as the value.
pub(crate) fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(8 + value.len());
    out.extend((4 + value.len() as u16).to_ne_bytes());
    out.extend(kind.to_ne_bytes());
    out.extend(value);
    pad(&mut out);
    out
}

fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(4), 0);
}

/// Sends all messages at once and waits until each one with `NLM_F_ACK` is acknowledged. The first error is returned.
pub(crate) fn request(protocol: Option<Protocol>, messages: &[Message]) -> io::Result<()> {
    let mut bytes = Vec::new();
    for (at, message) in messages.iter().enumerate() {
        message.encode(at as u32 + 1, &mut bytes);
    }
    let mut waiting = messages
        .iter()
        .filter(|m| m.flags & libc::NLM_F_ACK as u16 != 0)
        .count();
    let socket = open(protocol)?;
    send(&socket, &bytes, SendFlags::empty())?;
    while waiting > 0 {
        for errno in receive(&socket)? {
            if errno != 0 {
                return Err(io::Error::from_raw_os_error(-errno));
            }
            waiting = waiting.saturating_sub(1);
        }
    }
    Ok(())
}

fn open(protocol: Option<Protocol>) -> io::Result<OwnedFd> {
    let (family, kind) = (AddressFamily::NETLINK, SocketType::RAW);
    let socket = socket_with(family, kind, SocketFlags::CLOEXEC, protocol)?;
    // The kernel answers before send() returns; the limit is for a kernel that acknowledges less than expected.
    set_socket_timeout(&socket, Timeout::Recv, Some(Duration::from_secs(2)))?;
    Ok(socket)
}

/// The error numbers of one datagram of answers.
fn receive(socket: &OwnedFd) -> io::Result<Vec<i32>> {
    let mut buffer = [0u8; 8192];
    let (len, _) = recv(socket, &mut buffer, RecvFlags::empty())?;
    let mut rest = &buffer[..len];
    let mut found = Vec::new();
    while rest.len() >= HEADER {
        let size = u32::from_ne_bytes([rest[0], rest[1], rest[2], rest[3]]) as usize;
        let kind = u16::from_ne_bytes([rest[4], rest[5]]);
        if size < HEADER || size > rest.len() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        if i32::from(kind) == libc::NLMSG_ERROR && size >= ERRNO.end {
            let errno = &rest[ERRNO];
            found.push(i32::from_ne_bytes([errno[0], errno[1], errno[2], errno[3]]));
        }
        rest = &rest[size.next_multiple_of(4).min(rest.len())..];
    }
    Ok(found)
}
