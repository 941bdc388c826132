//! A `SOCK_SEQPACKET` socket that carries messages with descriptors: one datagram a message.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use serde::de::DeserializeOwned;
use serde::Serialize;

use crate::syscall::check;

/// Longest message in bytes: what a socket buffer of the default size takes in one piece.
pub const MAX_MESSAGE: usize = 160 * 1024;
/// Most descriptors in one message.
pub const MAX_DESCRIPTORS: usize = 4;

/// Two connected ends, close-on-exec.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [0; 2];
    // SAFETY: `ends` has room for two descriptors.
    check(unsafe {
        libc::socketpair(
            libc::AF_UNIX,
            libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC,
            0,
            ends.as_mut_ptr(),
        )
    })?;
    // SAFETY: the call has just made both, and nobody else owns them.
    Ok(unsafe { (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) })
}

/// Sends one message. With `flags` `MSG_DONTWAIT` a full socket is `WouldBlock`.
pub fn send(
    socket: BorrowedFd<'_>,
    message: &impl Serialize,
    descriptors: &[BorrowedFd<'_>],
    flags: libc::c_int,
) -> io::Result<()> {
    let bytes = postcard::to_allocvec(message).map_err(io::Error::other)?;
    if bytes.len() > MAX_MESSAGE {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "the message is too long",
        ));
    }
    assert!(descriptors.len() <= MAX_DESCRIPTORS);
    let raw: Vec<RawFd> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
    let mut part = libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    let mut control = Control::default();
    // SAFETY: zero is a valid `msghdr`.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    let size = std::mem::size_of_val(raw.as_slice());
    if !raw.is_empty() {
        header.msg_control = control.0.as_mut_ptr().cast();
        // SAFETY: the macros compute sizes; the control buffer is large enough for MAX_DESCRIPTORS.
        unsafe {
            header.msg_controllen = libc::CMSG_SPACE(size as u32) as _;
            let entry = libc::CMSG_FIRSTHDR(&raw const header);
            (*entry).cmsg_level = libc::SOL_SOCKET;
            (*entry).cmsg_type = libc::SCM_RIGHTS;
            (*entry).cmsg_len = libc::CMSG_LEN(size as u32) as _;
            std::ptr::copy_nonoverlapping(raw.as_ptr().cast::<u8>(), libc::CMSG_DATA(entry), size);
        }
    }
    loop {
        // SAFETY: the header points to live buffers.
        let sent =
            unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const header, flags | libc::MSG_NOSIGNAL) };
        match check(sent) {
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// What arrived.
#[derive(Debug)]
pub struct Received<M> {
    /// What was said.
    pub message: M,
    /// What came with it.
    pub descriptors: Vec<OwnedFd>,
    /// Whether all descriptors came: those for which this process has no number left are lost.
    pub is_whole: bool,
}

/// Receives one message; `None` at the end of the other side. A message whose text is cut or unreadable is
/// `InvalidData`.
pub fn receive<M: DeserializeOwned>(
    socket: BorrowedFd<'_>,
    buffer: &mut Vec<u8>,
    flags: libc::c_int,
) -> io::Result<Option<Received<M>>> {
    buffer.resize(MAX_MESSAGE, 0);
    let mut part = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    let mut control = Control::default();
    // SAFETY: zero is a valid `msghdr`.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    header.msg_control = control.0.as_mut_ptr().cast();
    header.msg_controllen = std::mem::size_of_val(&control.0) as _;
    let length = loop {
        // SAFETY: the header points to live buffers of the lengths given.
        let got = unsafe {
            libc::recvmsg(
                socket.as_raw_fd(),
                &raw mut header,
                flags | libc::MSG_CMSG_CLOEXEC,
            )
        };
        match check(got) {
            Ok(length) => break length as usize,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    };
    let mut descriptors = Vec::new();
    // SAFETY: the kernel filled the control buffer; each entry is read within its own length.
    unsafe {
        let mut entry = libc::CMSG_FIRSTHDR(&raw const header);
        while !entry.is_null() {
            if (*entry).cmsg_level == libc::SOL_SOCKET && (*entry).cmsg_type == libc::SCM_RIGHTS {
                let bytes = (*entry).cmsg_len as usize - libc::CMSG_LEN(0) as usize;
                for index in 0..bytes / std::mem::size_of::<RawFd>() {
                    let fd = libc::CMSG_DATA(entry).cast::<RawFd>().add(index).read_unaligned();
                    descriptors.push(OwnedFd::from_raw_fd(fd));
                }
            }
            entry = libc::CMSG_NXTHDR(&raw const header, entry);
        }
    }
    if length == 0 {
        return Ok(None);
    }
    if header.msg_flags & libc::MSG_TRUNC != 0 {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the message was cut"));
    }
    let message = postcard::from_bytes(&buffer[..length])
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
    Ok(Some(Received {
        message,
        descriptors,
        is_whole: header.msg_flags & libc::MSG_CTRUNC == 0,
    }))
}

/// Room for the descriptors of one message, aligned as the kernel wants it.
#[derive(Default)]
struct Control([u64; 16]);

const _: () = assert!(std::mem::size_of::<Control>() >= 16 + MAX_DESCRIPTORS * 4 + 8);
