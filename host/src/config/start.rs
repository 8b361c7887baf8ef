//! Where in a topic to begin.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, SecondsFormat};

/// Where a new group begins (`--from`), and where `host reset --to` puts one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StartAt {
    /// At the oldest record that the topic still has.
    #[default]
    Earliest,
    /// Behind the newest record.
    Latest,
    /// At the first record of this time or later, in milliseconds since the epoch.
    Time(i64),
}

/// Whole numbers from here on are milliseconds: as seconds they would lie beyond the year 5138,
/// and as milliseconds those below lie before March 1973.
const MILLIS_FROM: i64 = 100_000_000_000;

impl FromStr for StartAt {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "earliest" => return Ok(Self::Earliest),
            "latest" => return Ok(Self::Latest),
            _ => {}
        }
        if let Ok(number) = text.parse::<i64>()
            && number >= 0
        {
            return Ok(Self::Time(if number < MILLIS_FROM { number * 1000 } else { number }));
        }
        match DateTime::parse_from_rfc3339(text) {
            Ok(time) if time.timestamp_millis() >= 0 => Ok(Self::Time(time.timestamp_millis())),
            _ => Err("expected earliest, latest, a time such as 2026-01-31T12:00:00Z, \
                      or seconds or milliseconds since the epoch"
                .to_owned()),
        }
    }
}

impl fmt::Display for StartAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Earliest => f.write_str("earliest"),
            Self::Latest => f.write_str("latest"),
            Self::Time(millis) => match DateTime::from_timestamp_millis(*millis) {
                Some(time) => f.write_str(&time.to_rfc3339_opts(SecondsFormat::AutoSi, true)),
                None => write!(f, "{millis}"),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_is_a_word_or_a_time() {
        let check = |text: &str, start: Option<StartAt>| {
            assert_eq!(text.parse().ok(), start, "{text:?}");
        };
        check("earliest", Some(StartAt::Earliest));
        check("Latest", Some(StartAt::Latest));
        check("1694479551", Some(StartAt::Time(1_694_479_551_000)));
        check("1694479551123", Some(StartAt::Time(1_694_479_551_123)));
        check("2023-09-12T00:45:51Z", Some(StartAt::Time(1_694_479_551_000)));
        check("2023-09-12T02:45:51.5+02:00", Some(StartAt::Time(1_694_479_551_500)));
        check("-5", None);
        check("yesterday", None);
        check("2023-09-12", None);
        check("", None);
    }

    #[test]
    fn a_start_is_shown_as_it_can_be_written() {
        for text in ["earliest", "latest", "2023-09-12T00:45:51Z", "2023-09-12T00:45:51.500Z"] {
            let start: StartAt = text.parse().expect("a start");
            assert_eq!(start.to_string(), text);
        }
    }
}
