//! What the default pipeline makes of an input, computed a second time: from the rules' README files
//! and `pipeline.toml`, one record after the other, with plain JSON values and maps. It shares no code
//! with the host, so that a mistake there is not made here as well.
//!
//! Assumed: the shipped settings; topics with as many partitions as the input; keyed records lie where
//! murmur2 puts them (as those of `host generate` do), so that outputs keep their partition; whole
//! seconds or milliseconds in timestamps.

use std::collections::BTreeMap;
use std::net::IpAddr;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Map, Value, json};

use super::counting::{FUTURE_MAX_MS, Pieces, Results, Window};

/// A record of the input topic.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    pub offset: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    /// Milliseconds since the epoch.
    pub timestamp: i64,
}

/// A record that must come out, with what came in.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// The input's offset.
    pub offset: i64,
    pub key: Option<Vec<u8>>,
    /// The event without `processed_timestamp`; none is a tombstone.
    pub value: Option<Value>,
    pub timestamp: i64,
}

/// A record that must be set aside, as it came in.
#[derive(Clone, Debug, PartialEq)]
pub struct SetAside {
    pub input: Input,
    /// `invalid-json` or `late`.
    pub reason: &'static str,
    /// The stage, or the window.
    pub stage: &'static str,
}

/// What must come out of one input partition.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Expected {
    /// In order.
    pub outputs: Vec<Output>,
    /// In order.
    pub dead_letters: Vec<SetAside>,
    /// In order, for each window.
    pub late: Vec<SetAside>,
    /// Of each window.
    pub counted: Vec<Pieces>,
    /// The greatest event time that moved the watermark. What lies far enough behind it is closed
    /// because of the records alone; the others only when the partition falls silent.
    pub watermark: Option<i64>,
}

/// What must come out of each window over all partitions.
pub fn merge(expected: &BTreeMap<i32, Expected>, windows: &[Window]) -> Vec<Results> {
    let of = |(at, window): (usize, &Window)| {
        window.results(expected.values().map(|one| (&one.counted[at], one.watermark)))
    };
    windows.iter().enumerate().map(of).collect()
}

/// What must come out of an input: its partitions, each in the order of its offsets.
pub fn simulate(input: &BTreeMap<i32, Vec<Input>>, windows: &[Window]) -> BTreeMap<i32, Expected> {
    let simulated =
        input.iter().map(|(&partition, records)| (partition, simulate_partition(records, windows)));
    simulated.collect()
}

fn simulate_partition(records: &[Input], windows: &[Window]) -> Expected {
    let mut expected =
        Expected { counted: vec![Pieces::new(); windows.len()], ..Expected::default() };
    for record in records {
        let Some(value) = &record.value else {
            // A tombstone passes by stages and windows.
            expected.outputs.push(output(record, None));
            continue;
        };
        let Ok(event) = serde_json::from_slice::<Map<String, Value>>(value) else {
            let input = record.clone();
            expected.dead_letters.push(SetAside { input, reason: "invalid-json", stage: "decode" });
            continue;
        };
        // Before a rule can have rewritten it.
        let time = event_time(&event).unwrap_or(record.timestamp);
        let Some(processed) = process(event) else { continue };
        count(&mut expected, windows, record, time, &processed);
        expected.outputs.push(output(record, Some(Value::Object(processed))));
    }
    expected
}

fn output(record: &Input, value: Option<Value>) -> Output {
    Output { offset: record.offset, key: record.key.clone(), value, timestamp: record.timestamp }
}

/// The four stages; none if the filter drops the event.
fn process(mut event: Map<String, Value>) -> Option<Map<String, Value>> {
    let device = event.get("device_type").and_then(Value::as_str)?.to_lowercase();
    if device != "android" {
        return None;
    }
    if let Some(text) = event.get("timestamp").and_then(readable) {
        event.insert("timestamp".to_owned(), text.into());
    }
    // Nothing but android comes this far, and android is mobile.
    event.insert("device_category".to_owned(), "Mobile".into());
    let reasons = anomalies(&event);
    event.insert("anomaly".to_owned(), (!reasons.is_empty()).into());
    event.insert("anomaly_reasons".to_owned(), json!(reasons));
    Some(event)
}

/// A whole number of seconds or milliseconds as UTC text.
fn readable(timestamp: &Value) -> Option<String> {
    let number = timestamp.as_number()?.as_i64().expect("whole numbers only, see the module");
    let millis = if number.abs() < 100_000_000_000 { number * 1_000 } else { number };
    let time: DateTime<Utc> = DateTime::from_timestamp_millis(millis)?;
    Some(time.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}

/// The codes of what is wrong with an event, in the order of the default conditions.
fn anomalies(event: &Map<String, Value>) -> Vec<&'static str> {
    let field = |name: &str| event.get(name).filter(|value| !value.is_null());
    let malformed = |name: &str, is_right: fn(&str) -> bool| {
        field(name).is_some_and(|value| !value.as_str().is_some_and(is_right))
    };
    let locale = field("locale").and_then(Value::as_str).map(str::to_lowercase);
    let conditions = [
        ("suspicious-locale", matches!(locale.as_deref(), Some("kp" | "ru"))),
        ("missing-user-id", field("user_id").is_none()),
        ("malformed-user-id", malformed("user_id", is_uuid)),
        ("missing-ip", field("ip").is_none()),
        ("malformed-ip", malformed("ip", |text| text.parse::<IpAddr>().is_ok())),
        ("malformed-app-version", malformed("app_version", is_version)),
    ];
    conditions.into_iter().filter(|(_, found)| *found).map(|(code, _)| code).collect()
}

fn is_uuid(text: &str) -> bool {
    let groups: Vec<&str> = text.split('-').collect();
    groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
        && groups.iter().all(|group| group.chars().all(|c| c.is_ascii_hexdigit()))
}

/// Semantic Versioning 2.0.0, item 2 and 9 to 10.
fn is_version(text: &str) -> bool {
    let word = |part: &str| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    let is_number = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_digit());
    let no_leading_zero = |part: &str| !is_number(part) || part == "0" || !part.starts_with('0');
    let (text, build) = text.split_once('+').map_or((text, None), |(text, b)| (text, Some(b)));
    let (core, pre) = text.split_once('-').map_or((text, None), |(core, pre)| (core, Some(pre)));
    let core: Vec<&str> = core.split('.').collect();
    core.len() == 3
        && core.iter().all(|part| is_number(part) && no_leading_zero(part))
        && pre.is_none_or(|pre| pre.split('.').all(|part| word(part) && no_leading_zero(part)))
        && build.is_none_or(|build| build.split('.').all(word))
}

/// Milliseconds since the epoch; none where the field says no time.
fn event_time(event: &Map<String, Value>) -> Option<i64> {
    match event.get("timestamp")? {
        Value::String(text) => Some(DateTime::parse_from_rfc3339(text).ok()?.timestamp_millis()),
        Value::Number(number) => {
            let number = number.as_i64().expect("whole numbers only, see the module");
            assert!(number.abs() < 100_000_000_000_000, "micro- and nanoseconds are not simulated");
            Some(if number.abs() < 100_000_000_000 { number * 1_000 } else { number })
        }
        _ => None,
    }
}

/// Counts one event that passed the stages, or finds it late.
fn count(
    expected: &mut Expected,
    windows: &[Window],
    record: &Input,
    time: i64,
    event: &Map<String, Value>,
) {
    for (window, counted) in windows.iter().zip(&mut expected.counted) {
        if expected.watermark.is_some_and(|watermark| window.is_late(time, watermark)) {
            let (input, stage) = (record.clone(), window.name);
            expected.late.push(SetAside { input, reason: "late", stage });
        } else {
            let (start, end) = window.piece_of(time);
            *counted.entry((start, end, window.group_of(event))).or_default() += 1;
        }
    }
    let is_future = time > record.timestamp + FUTURE_MAX_MS;
    if !is_future && expected.watermark.is_none_or(|watermark| time > watermark) {
        expected.watermark = Some(time);
    }
}
