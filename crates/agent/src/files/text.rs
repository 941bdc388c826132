//! Paths as text. Linux takes any bytes for a name, JSON and SFTP as read here take text only. So a byte that belongs to no
//! UTF-8 is written as U+FFFD and two digits, `caf\u{FFFD}E9` for `caf` and the byte E9, and U+FFFD in a name likewise, as
//! its three bytes: what is shown leads back to the same name. Every other name is itself.

use std::borrow::Cow;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// What stands before the digits of a byte.
const MARK: char = char::REPLACEMENT_CHARACTER;

/// A name or path as text.
pub(super) fn shown(path: impl AsRef<OsStr>) -> String {
    let mut text = String::new();
    let escape = |text: &mut String, bytes: &[u8]| {
        for byte in bytes {
            text.push(MARK);
            text.push_str(&format!("{byte:02X}"));
        }
    };
    for chunk in path.as_ref().as_bytes().utf8_chunks() {
        for (at, part) in chunk.valid().split(MARK).enumerate() {
            if at > 0 {
                escape(&mut text, MARK.encode_utf8(&mut [0; 4]).as_bytes());
            }
            text.push_str(part);
        }
        escape(&mut text, chunk.invalid());
    }
    text
}

/// The path that a text means. U+FFFD without the digits of a byte is itself.
pub(super) fn meant(text: &str) -> Cow<'_, Path> {
    let mut parts = text.split(MARK);
    let first = parts.next().unwrap_or_default();
    if first.len() == text.len() {
        return Cow::Borrowed(Path::new(text));
    }
    let mut bytes = first.as_bytes().to_vec();
    for part in parts {
        let rest = match byte(part) {
            Some(byte) => {
                bytes.push(byte);
                &part[2..]
            }
            None => {
                bytes.extend_from_slice(MARK.encode_utf8(&mut [0; 4]).as_bytes());
                part
            }
        };
        bytes.extend_from_slice(rest.as_bytes());
    }
    Cow::Owned(PathBuf::from(OsString::from_vec(bytes)))
}

/// Whether every U+FFFD of a text stands for a byte: where text was made from bytes that are no UTF-8, it does not, and two
/// names may have become one.
pub fn is_exact(text: &str) -> bool {
    text.split(MARK).skip(1).all(|part| byte(part).is_some())
}

/// The byte whose digits come first. Those below 80 are text always: none of them is a `/` in disguise.
fn byte(text: &str) -> Option<u8> {
    let digits = text.get(..2)?;
    let is_upper = digits
        .bytes()
        .all(|d| d.is_ascii_digit() || (b'A'..=b'F').contains(&d));
    let byte = u8::from_str_radix(digits, 16).ok()?;
    (is_upper && byte >= 0x80).then_some(byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(bytes: &[u8]) -> &OsStr {
        OsStr::from_bytes(bytes)
    }

    #[test]
    fn every_name_is_shown_as_text_that_means_it() {
        for first in 1..=255 {
            for second in 1..=255 {
                for bytes in [
                    vec![first, second],
                    vec![b'a', first, b'E', b'9', second],
                    ["\u{FFFD}".as_bytes(), &[first, second]].concat(),
                    [&[0xC3, first, second], "é".as_bytes()].concat(),
                ] {
                    let text = shown(name(&bytes));
                    assert_eq!(meant(&text).as_os_str().as_bytes(), bytes, "{text}");
                    assert!(is_exact(&text), "{text}");
                }
            }
        }
    }

    #[test]
    fn only_what_is_no_text_looks_different() {
        assert_eq!(shown("/a b/ä.txt"), "/a b/ä.txt");
        assert_eq!(shown(name(b"caf\xE9.txt")), "caf\u{FFFD}E9.txt");
        assert_eq!(shown("\u{FFFD}"), "\u{FFFD}EF\u{FFFD}BF\u{FFFD}BD");
    }

    #[test]
    fn a_mark_without_digits_is_itself_and_hides_no_slash() {
        for text in [
            "\u{FFFD}",
            "a\u{FFFD}b",
            "\u{FFFD}e9",
            "\u{FFFD}2F",
            "\u{FFFD}00",
            "\u{FFFD}+9",
            "\u{FFFD}Eé",
        ] {
            assert_eq!(meant(text).as_os_str(), text);
            assert!(!is_exact(text));
        }
    }
}
