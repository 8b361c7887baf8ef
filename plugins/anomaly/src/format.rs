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

fn is_uuid(text: &[u8]) -> bool {
    const HYPHENS: [usize; 4] = [8, 13, 18, 23];
    text.len() == 36
        && text.iter().enumerate().all(|(place, byte)| match HYPHENS.contains(&place) {
            true => *byte == b'-',
            false => byte.is_ascii_hexdigit(),
        })
}
