//! The columns of each kind of record that has some: processed events, records that were set aside,
//! and counts of windows.

use anstyle::{AnsiColor, Style};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use super::columns::{Column, DIM, PLAIN, Row};
use super::{Seen, grouped, one_line};
use crate::worker::headers;

const RED: Style = AnsiColor::Red.on_default();
const YELLOW: Style = AnsiColor::Yellow.on_default();
const CYAN: Style = AnsiColor::Cyan.on_default();

/// Cells of a column that takes all that it can get.
const ALL: usize = usize::MAX;

/// Members that make an event one of those that [`EVENTS`] is for: at least two of them.
const EVENT_MEMBERS: &[&str] =
    &["device_type", "device_category", "app_version", "user_id", "anomaly"];
/// Members of the result of a window, each of which must be there.
const COUNT_MEMBERS: &[&str] = &["window", "start", "end", "key", "partition", "count"];

/// The columns that a record belongs in; none if it is to be shown as it is.
pub(super) fn columns(seen: &Seen<'_>, event: &Value) -> Option<&'static [Column]> {
    let has = |name: &&&str| event.get(name).is_some();
    if seen.header(headers::REASON).is_some() {
        Some(SET_ASIDE)
    } else if COUNT_MEMBERS.iter().all(|name| has(&name)) {
        Some(COUNTS)
    } else if EVENT_MEMBERS.iter().filter(has).count() >= 2 {
        Some(EVENTS)
    } else {
        None
    }
}

pub(super) const EVENTS: &[Column] = &[
    Column::new("TIME", 8, 1, |row| (clock(processed(row)), DIM)),
    Column::new("DEVICE", 8, 2, |row| (member(row.event, "device_type"), PLAIN)),
    Column::new("CATEGORY", 8, 0, category),
    Column::new("LOCALE", 6, 4, |row| (member(row.event, "locale"), PLAIN)),
    Column::new("VERSION", 12, 3, |row| (member(row.event, "app_version"), PLAIN)),
    Column::new("IP", 15, 6, |row| (member(row.event, "ip"), PLAIN)),
    Column::new("USER", 8, 5, |row| (member(row.event, "user_id"), DIM)),
    Column::new("ANOMALY", 7, 0, anomaly),
];

/// Dead letters and late records.
const SET_ASIDE: &[Column] = &[
    Column::new("TIME", 8, 3, |row| (clock(original(row.seen)), DIM)),
    Column::new("SOURCE", 10, 2, |row| (source(row.seen), PLAIN)).up_to(16),
    Column::new("REASON", 12, 0, |row| (header(row, headers::REASON), RED)).up_to(16),
    Column::new("STAGE", 10, 4, |row| (header(row, headers::STAGE), PLAIN)).up_to(16),
    Column::new("MESSAGE", 16, 1, |row| (header(row, headers::MESSAGE), PLAIN)).up_to(48),
    Column::new("RECORD", 16, 0, |row| (record(row.seen), DIM)).up_to(ALL),
];

const COUNTS: &[Column] = &[
    Column::new("START–END", 28, 0, |row| (span(row.event), DIM)),
    Column::new("KEY", 16, 0, |row| (member(row.event, "key"), CYAN)).up_to(40),
    Column::new("PARTITION", 9, 2, |row| (member(row.event, "partition"), PLAIN)).number(),
    Column::new("COUNT", 9, 1, |row| (count(row.event), PLAIN)).number(),
    Column::new("WINDOW", 8, 3, |row| (member(row.event, "window"), DIM)),
];

fn member(event: &Value, name: &str) -> String {
    match event.get(name) {
        None => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

fn header(row: &Row<'_>, name: &str) -> String {
    row.seen.header(name).filter(|text| !text.is_empty()).unwrap_or_else(|| "-".to_owned())
}

/// Hours, minutes and seconds in UTC.
fn clock(time: Option<DateTime<Utc>>) -> String {
    time.map_or_else(|| "-".to_owned(), |time| time.format("%H:%M:%S").to_string())
}

/// Of the processing, else of the record.
fn processed(row: &Row<'_>) -> Option<DateTime<Utc>> {
    let processed = row.event.get("processed_timestamp").and_then(|value| match value {
        Value::String(text) => DateTime::parse_from_rfc3339(text).ok().map(|time| time.to_utc()),
        other => DateTime::from_timestamp_millis(other.as_i64()?),
    });
    processed.or_else(|| DateTime::from_timestamp_millis(row.seen.timestamp?))
}

/// Of the record that was set aside, else of the one that tells of it.
fn original(seen: &Seen<'_>) -> Option<DateTime<Utc>> {
    let original = seen.header(headers::TIMESTAMP).and_then(|text| text.parse().ok());
    DateTime::from_timestamp_millis(original.or(seen.timestamp)?)
}

/// `partition@offset`: the topic is the pipeline's input.
fn source(seen: &Seen<'_>) -> String {
    match (seen.header(headers::PARTITION), seen.header(headers::OFFSET)) {
        (Some(partition), Some(offset)) => format!("{partition}@{offset}"),
        _ => "-".to_owned(),
    }
}

fn record(seen: &Seen<'_>) -> String {
    seen.value
        .map_or_else(|| "tombstone".to_owned(), |bytes| one_line(&String::from_utf8_lossy(bytes)))
}

fn category(row: &Row<'_>) -> (String, Style) {
    let text = member(row.event, "device_category");
    let style = match text.as_str() {
        "Mobile" => CYAN,
        "Tablet" => AnsiColor::Blue.on_default(),
        "Desktop" => AnsiColor::Magenta.on_default(),
        _ => PLAIN,
    };
    (text, style)
}

fn anomaly(row: &Row<'_>) -> (String, Style) {
    let reasons = row.event.get("anomaly_reasons").and_then(Value::as_array);
    let codes: Vec<&str> = reasons.into_iter().flatten().filter_map(Value::as_str).collect();
    match row.event.get("anomaly") {
        Some(Value::Bool(true)) if codes.is_empty() => ("yes".to_owned(), YELLOW),
        Some(Value::Bool(true)) => (codes.join(", "), YELLOW),
        Some(Value::Bool(false)) => ("no".to_owned(), DIM),
        _ => (member(row.event, "anomaly"), DIM),
    }
}

fn count(event: &Value) -> String {
    event["count"].as_u64().map_or_else(|| member(event, "count"), grouped)
}

/// The end's day is left out where no window that short could end on another one.
fn span(event: &Value) -> String {
    let time = |name: &str| {
        let time = DateTime::parse_from_rfc3339(event[name].as_str()?).ok()?;
        Some(time.to_utc())
    };
    match (time("start"), time("end")) {
        (Some(start), Some(end)) if end - start <= TimeDelta::days(1) => {
            format!("{}–{}", start.format("%F %T"), end.format("%T"))
        }
        (Some(start), Some(end)) => {
            format!("{}–{}", start.format("%F %R"), end.format("%m-%d %R"))
        }
        _ => format!("{}–{}", member(event, "start"), member(event, "end")),
    }
}
