//! Results of system calls.

use std::ffi::CString;
use std::io;

/// A negative number becomes the error that the kernel left.
pub fn check<N: PartialOrd + Default>(result: N) -> io::Result<N> {
    if result < N::default() {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// Text for C.
pub fn c(text: impl AsRef<[u8]>) -> io::Result<CString> {
    CString::new(text.as_ref())
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a zero byte in a text"))
}
