//! Sockets whose buffers no control group counts: those of netlink. Each may hold some hundred KiB of the computer's
//! memory, and programs need few, so their number is bounded: a filter makes the calls that open one wait for PID 1.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// Netlink sockets of a machine at once. Name look-ups and `ip` hold one each while they ask.
const MOST: u64 = 128;

/// The calls that wait.
pub struct Counted {
    listener: OwnedFd,
    /// Sockets of the machine's network by protocol; held open, so that counting needs no descriptor.
    protocols: File,
    text: String,
}

impl Counted {
    /// `listener`: the descriptor of the filter.
    pub fn new(listener: OwnedFd) -> io::Result<Self> {
        Ok(Self {
            listener,
            protocols: File::open("/proc/net/protocols")?,
            text: String::new(),
        })
    }

    /// Answers one call.
    pub fn answer(&mut self) {
        // SAFETY: zero is a valid value of both, and the kernel wants the first one to be zero.
        let (mut call, mut answer): (libc::seccomp_notif, libc::seccomp_notif_resp) =
            unsafe { std::mem::zeroed() };
        // SAFETY: a live structure of the type that the request takes.
        let got = unsafe {
            libc::ioctl(
                self.listener.as_raw_fd(),
                libc::SECCOMP_IOCTL_NOTIF_RECV,
                &raw mut call,
            )
        };
        if got == -1 {
            return; // killed while it waited
        }
        answer.id = call.id;
        // Not counted is not known to be few.
        if self.open().is_ok_and(|open| open < MOST) {
            answer.flags = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32;
        } else {
            answer.error = -libc::ENOBUFS;
        }
        // SAFETY: a live structure of the type that the request takes. A caller that is gone needs no answer.
        unsafe {
            libc::ioctl(
                self.listener.as_raw_fd(),
                libc::SECCOMP_IOCTL_NOTIF_SEND,
                &raw mut answer,
            );
        }
    }

    fn open(&mut self) -> io::Result<u64> {
        self.protocols.rewind()?;
        self.text.clear();
        self.protocols.read_to_string(&mut self.text)?;
        number_of(&self.text, "NETLINK").ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}

impl AsFd for Counted {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

/// The third column of a protocol's line: name, size, sockets.
fn number_of(text: &str, protocol: &str) -> Option<u64> {
    text.lines().find_map(|line| {
        let mut columns = line.split_whitespace();
        (columns.next()? == protocol).then(|| columns.nth(1)?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::number_of;

    #[test]
    fn sockets_are_counted_by_protocol() {
        let text = "protocol  size sockets  memory press maxhdr  slab module\n\
                    UNIX-STREAM 1088     12      -1   NI       0   yes  kernel\n\
                    NETLINK   1096     10      -1   NI       0   no   kernel\n";
        assert_eq!(number_of(text, "NETLINK"), Some(10));
        assert_eq!(number_of(text, "UDP"), None);
    }
}
