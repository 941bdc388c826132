//! `/etc/passwd` and `/etc/group` of a machine. Whoever is root in there wrote them, or put something else in their place.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;

/// Longest user file that is believed.
const LIMIT: u64 = 1 << 20;

/// The text of a user file. A pipe is no such file: reading it would wait for whoever writes.
pub fn read(path: &str) -> io::Result<String> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut bytes = Vec::new();
    file.take(LIMIT).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{mknodat, FileType, Mode, CWD};

    #[test]
    fn what_is_no_regular_file_is_not_waited_for() {
        let path = format!("/tmp/nullspace-user-file-{}", std::process::id());
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let read = read(&path);
        std::fs::remove_file(&path).unwrap();
        assert!(read.is_err());
    }
}
