//! Netlink requests: bytes of messages and attributes, and one exchange with the kernel.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

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
pub(crate) fn request(protocol: libc::c_int, messages: &[Message]) -> io::Result<()> {
    let mut bytes = Vec::new();
    for (at, message) in messages.iter().enumerate() {
        message.encode(at as u32 + 1, &mut bytes);
    }
    let mut waiting = messages
        .iter()
        .filter(|m| m.flags & libc::NLM_F_ACK as u16 != 0)
        .count();
    let socket = open(protocol)?;
    // SAFETY: pointer and length are those of `bytes`.
    if unsafe { libc::send(socket.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), 0) } < 0 {
        return Err(io::Error::last_os_error());
    }
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

fn open(protocol: libc::c_int) -> io::Result<OwnedFd> {
    // SAFETY: the descriptor is new and owned by nothing else.
    unsafe {
        let fd = libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, protocol);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        let socket = OwnedFd::from_raw_fd(fd);
        // The kernel answers before send() returns; the limit is for a kernel that acknowledges less than expected.
        let limit = libc::timeval {
            tv_sec: 2,
            tv_usec: 0,
        };
        let len = size_of_val(&limit) as libc::socklen_t;
        libc::setsockopt(
            fd,
            libc::SOL_SOCKET,
            libc::SO_RCVTIMEO,
            (&raw const limit).cast(),
            len,
        );
        Ok(socket)
    }
}

/// The error numbers of one datagram of answers.
fn receive(socket: &OwnedFd) -> io::Result<Vec<i32>> {
    let mut buffer = [0u8; 8192];
    // SAFETY: pointer and length are those of `buffer`.
    let len = unsafe { libc::recv(socket.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0) };
    let len = usize::try_from(len).map_err(|_| io::Error::last_os_error())?;
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
