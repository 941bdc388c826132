//! Names and addresses of DNS messages. Source: RFC 1035, section 4.1.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::answered::Address;

const HEADER: usize = 12;
const INTERNET: u16 = 1;
const A: u16 = 1;
const CNAME: u16 = 5;
/// Aliases after one another; resolvers give up earlier.
const LONGEST_CHAIN: usize = 16;

/// What an answer says about the name that was asked for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// Names that stand between it and its addresses.
    pub(super) aliases: Vec<String>,
    pub(super) addresses: Vec<Address>,
}

/// The name that a question is about, in small letters, without the dot at the end. `None` = it has a byte that names of
/// rules cannot have.
pub(super) fn name_of(question: &[u8]) -> Option<String> {
    let (name, _) = name(question, 0)?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    name.bytes().all(plain).then_some(name)
}

/// The type that a question is about.
pub(super) fn kind_of(question: &[u8]) -> Option<u16> {
    let [high, low, ..] = *question.get(question.len().checked_sub(4)?..)? else {
        return None;
    };
    Some(u16::from_be_bytes([high, low]))
}

/// What `message` says about `wanted`: records of other names count for nothing. `None` = it cannot be read.
pub(super) fn told(message: &[u8], wanted: &str) -> Option<Told> {
    let number = |at: usize| Some(u16::from_be_bytes(message.get(at..at + 2)?.try_into().ok()?));
    let mut at = HEADER;
    for _ in 0..number(4)? {
        at = name(message, at)?.1 + 4;
    }
    let mut aliases: Vec<(String, String, u32)> = Vec::new();
    let mut addresses: Vec<(String, Ipv4Addr, u32)> = Vec::new();
    for _ in 0..number(6)? {
        let (owner, end) = name(message, at)?;
        let (kind, class, len) = (number(end)?, number(end + 2)?, usize::from(number(end + 8)?));
        let ttl = u32::from_be_bytes(message.get(end + 4..end + 8)?.try_into().ok()?);
        let data = end + 10;
        let bytes = message.get(data..data + len)?;
        match (class, kind) {
            (INTERNET, A) => addresses.push((owner, Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?), ttl)),
            (INTERNET, CNAME) => aliases.push((owner, name(message, data)?.0, ttl)),
            _ => {}
        }
        at = data + len;
    }

    let mut told = Told::default();
    let (mut current, mut shortest) = (wanted.to_owned(), u32::MAX);
    while let Some((_, target, ttl)) = aliases.iter().find(|(owner, ..)| *owner == current) {
        if told.aliases.len() == LONGEST_CHAIN {
            return None;
        }
        (current, shortest) = (target.clone(), shortest.min(*ttl));
        told.aliases.push(target.clone());
    }
    let own = addresses.into_iter().filter(|(owner, ..)| *owner == current);
    told.addresses = own
        .map(|(_, address, ttl)| Address {
            address,
            holds: Duration::from_secs(ttl.min(shortest).into()),
        })
        .collect();
    Some(told)
}

/// The name at a place, and where it ends there. Bytes that a name of a rule cannot have are written as `\ddd`.
fn name(message: &[u8], start: usize) -> Option<(String, usize)> {
    let (mut text, mut at, mut end) = (String::new(), start, None);
    loop {
        match *message.get(at)? {
            0 => return Some((text, end.unwrap_or(at + 1))),
            len @ 1..64 => {
                let label = message.get(at + 1..at + 1 + usize::from(len))?;
                if !text.is_empty() {
                    text.push('.');
                }
                for byte in label {
                    match byte {
                        b'-' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                            text.push(byte.to_ascii_lowercase().into());
                        }
                        other => text.push_str(&format!("\\{other:03}")),
                    }
                }
                at += 1 + usize::from(len);
            }
            high @ 192.. => {
                let low = *message.get(at + 1)?;
                let place = usize::from(u16::from_be_bytes([high & 0x3f, low]));
                end = end.or(Some(at + 2));
                // Only backwards, or it could go round for ever.
                if place >= at {
                    return None;
                }
                at = place;
            }
            _ => return None,
        }
        if text.len() > 1024 {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `www.a.test`: an alias of `cdn.b.test`, which has two addresses; and an address of a name that was not asked for.
    const ANSWER: &[u8] =
        b"\x12\x34\x81\x80\x00\x01\x00\x04\x00\x00\x00\x00\x03www\x01a\x04test\x00\x00\x01\x00\x01\
        \xc0\x0c\x00\x05\x00\x01\x00\x00\x00\x0a\x00\x08\x03cdn\x01B\xc0\x12\
        \xc0\x28\x00\x01\x00\x01\x00\x00\x01\x00\x00\x04\x0a\x00\x00\x01\
        \xc0\x28\x00\x01\x00\x01\x00\x00\x00\x05\x00\x04\x0a\x00\x00\x02\
        \xc0\x10\x00\x01\x00\x01\x00\x00\x00\x05\x00\x04\x0a\x00\x00\x03";

    #[test]
    fn addresses_are_those_of_the_name_that_was_asked_for() {
        let told = told(ANSWER, "www.a.test").unwrap();
        assert_eq!(told.aliases, ["cdn.b.test"]);
        let address = |last, seconds| Address {
            address: [10, 0, 0, last].into(),
            holds: Duration::from_secs(seconds),
        };
        assert_eq!(told.addresses, [address(1, 10), address(2, 5)]);
    }

    #[test]
    fn a_name_is_read_without_case_and_what_no_rule_can_name_is_none() {
        let question = |name: &[u8]| [name, b"\x00\x00\x01\x00\x01"].concat();
        assert_eq!(name_of(&question(b"\x03WwW\x01a")).unwrap(), "www.a");
        assert_eq!(name_of(&question(b"\x03a.b\x01c")), None);
        assert_eq!(name_of(&question(b"\x02\xc3\xbc\x01c")), None);
        assert_eq!(kind_of(&question(b"\x01a")), Some(1));
        assert_eq!(kind_of(b"ab"), None);
    }

    #[test]
    fn messages_that_lead_in_circles_or_end_early_are_not_read() {
        for len in 0..ANSWER.len() {
            assert_eq!(told(&ANSWER[..len], "www.a.test"), None, "{len}");
        }
        let mut forward = ANSWER.to_vec();
        forward[28] = 0xc0;
        forward[29] = 28;
        assert_eq!(told(&forward, "www.a.test"), None);
        // a.test is an alias of itself.
        let circle = b"\x12\x34\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00\x01a\x00\x00\x01\x00\x01\
            \xc0\x0c\x00\x05\x00\x01\x00\x00\x00\x0a\x00\x02\xc0\x0c";
        assert_eq!(told(circle, "a"), None);
    }

    proptest::proptest! {
        #[test]
        fn fuzz_any_message_is_read_or_not(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..600)) {
            told(&bytes, "a.test");
            name_of(&bytes);
            kind_of(&bytes);
        }
    }
}
