//! The formats that a text can be checked against.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::Deserialize;

/// A format; each is checked strictly, with no space around it.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// IPv4 or IPv6.
    Ip,
    /// Four decimal numbers without leading zeros: `192.0.2.1`.
    Ipv4,
    /// As RFC 4291 writes it, without zone and brackets: `2001:db8::1`.
    Ipv6,
    /// Five groups of hexadecimal digits, of any case and version.
    Uuid,
    /// Semantic Versioning 2.0.0: `2.3.0`, `1.0.0-rc.1+build`.
    Semver,
}

impl Format {
    /// Whether the text has this format.
    pub fn matches(self, text: &str) -> bool {
        match self {
            Format::Ip => text.parse::<IpAddr>().is_ok(),
            Format::Ipv4 => text.parse::<Ipv4Addr>().is_ok(),
            Format::Ipv6 => text.parse::<Ipv6Addr>().is_ok(),
            Format::Uuid => is_uuid(text.as_bytes()),
            Format::Semver => semver::Version::parse(text).is_ok(),
        }
    }
}

/// By eight bytes at once: nearly every value of such a field is another one, and byte by byte this
/// would be the most of what the rule takes.
fn is_uuid(text: &[u8]) -> bool {
    const HYPHEN: u64 = repeat(b'-');
    // Where each word begins, and which of its bytes must be hyphens.
    const WORDS: [(usize, u64); 5] =
        [(0, 0), (8, 0x0000_ff00_0000_00ff), (16, 0xff00_0000_00ff_0000), (24, 0), (28, 0)];
    text.len() == 36
        && WORDS.iter().all(|&(start, hyphens)| {
            let word = text[start..].first_chunk().map_or(0, |word| u64::from_le_bytes(*word));
            let digits = (word & !hyphens) | (repeat(b'0') & hyphens);
            (word ^ HYPHEN) & hyphens == 0 && are_hexadecimal(digits)
        })
}

const fn repeat(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

/// Whether all eight bytes are hexadecimal digits.
fn are_hexadecimal(word: u64) -> bool {
    const HIGH: u64 = repeat(0x80);
    // In each byte below 0x80 the sums set the high bit from `first` on, and from behind `last` on;
    // none carries into the next.
    let within = |word: u64, first: u8, last: u8| {
        (word + repeat(0x80 - first)) & !(word + repeat(0x7f - last)) & HIGH
    };
    word & HIGH == 0 && within(word, b'0', b'9') | within(word | repeat(b' '), b'a', b'f') == HIGH
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each byte at each place against the definition, byte by byte.
    #[test]
    fn a_uuid_has_hexadecimal_digits_and_hyphens_in_their_places() {
        let good = *b"424CDD21-063a-43a7-b91b-7ca1a833afaE";
        assert!(is_uuid(&good));
        for place in 0..good.len() {
            for byte in 0..=u8::MAX {
                let mut text = good;
                text[place] = byte;
                let expected = match [8, 13, 18, 23].contains(&place) {
                    true => byte == b'-',
                    false => byte.is_ascii_hexdigit(),
                };
                assert_eq!(is_uuid(&text), expected, "{byte:#x} at {place}");
            }
        }
        assert!(!is_uuid(&good[1..]) && !is_uuid(&[&good[..], b"0"].concat()));
    }
}
