//! Durations and sizes as people write them.

use std::fmt;
use std::time::Duration;

/// A duration such as `200ms`, `60s`, `1h 30m`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| {
        format!(
            "{text:?} is not a duration: write a number and a unit, such as \"200ms\" or \"1m 30s\""
        )
    })
}

/// A number of bytes such as `4096`, `64KiB`, `1.5 MiB`, `10MB`.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let wrong = || {
        format!("{text:?} is not a size: write bytes, or a number and a unit, such as \"64MiB\"")
    };
    let text_trimmed = text.trim();
    let digits = text_trimmed
        .find(|c: char| !c.is_ascii_digit() && c != '.' && c != '_')
        .unwrap_or(text_trimmed.len());
    let (number, unit) = text_trimmed.split_at(digits);
    let unit: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kib" | "k" => 1 << 10,
        "mib" | "m" => 1 << 20,
        "gib" | "g" => 1 << 30,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        _ => return Err(wrong()),
    };
    let number = number.replace('_', "");
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(unit).ok_or_else(wrong);
    }
    let bytes = number.parse::<f64>().map_err(|_| wrong())? * unit as f64;
    // Beyond 2^53 a float no longer says which byte is meant.
    if bytes.fract() == 0.0 && bytes < 9e15 { Ok(bytes as u64) } else { Err(wrong()) }
}

/// Bytes in the largest unit that shows them whole.
pub(super) struct Bytes(pub(super) u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
        match units.iter().find(|&&(unit, _)| self.0 >= unit && self.0.is_multiple_of(unit)) {
            Some((unit, name)) => write!(f, "{}{name}", self.0 / unit),
            None => write!(f, "{} bytes", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_their_units() {
        let check = |text: &str, bytes: Option<u64>| {
            assert_eq!(parse_bytes(text).ok(), bytes, "{text:?}");
        };
        check("0", Some(0));
        check("4096", Some(4096));
        check("1_000", Some(1000));
        check("64MiB", Some(64 << 20));
        check("64 mib", Some(64 << 20));
        check("1.5KiB", Some(1536));
        check("10MB", Some(10_000_000));
        check("2g", Some(2 << 30));
        check("1.0001KiB", None);
        check("", None);
        check("MiB", None);
        check("-1", None);
        check("1.2.3", None);
        check("64 pounds", None);
        check("99999999999999999999", None);
        check("18446744073709551615GiB", None);
    }

    #[test]
    fn durations_are_read_with_their_units() {
        assert_eq!(parse_duration("200ms"), Ok(Duration::from_millis(200)));
        assert_eq!(parse_duration("1m 30s"), Ok(Duration::from_secs(90)));
        assert!(
            parse_duration("soon").expect_err("no duration").contains("\"soon\" is not a duration")
        );
        assert!(parse_duration("5").is_err(), "a number without a unit says nothing");
    }

    #[test]
    fn sizes_are_shown_in_whole_units() {
        assert_eq!(Bytes(64 << 20).to_string(), "64MiB");
        assert_eq!(Bytes(1536).to_string(), "1536 bytes");
        assert_eq!(Bytes(3 << 10).to_string(), "3KiB");
    }
}
