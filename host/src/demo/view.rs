//! Records as a person or a program wants to see them. Pure: bytes in, lines out.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::str::FromStr;

use anstyle::{AnsiColor, Effects, Style};
use chrono::DateTime;
use console::{measure_text_width, truncate_str};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::worker::headers;

/// A record of any topic.
#[derive(Clone, Debug, Default)]
pub struct Seen<'a> {
    /// The key.
    pub key: Option<&'a [u8]>,
    /// The value; none is a tombstone.
    pub value: Option<&'a [u8]>,
    /// Headers, those without a value left out.
    pub headers: Vec<(&'a str, &'a [u8])>,
    /// Milliseconds since the epoch.
    pub timestamp: Option<i64>,
}

impl Seen<'_> {
    /// The last header of this name, as text.
    fn header(&self, name: &str) -> Option<String> {
        let (_, value) = self.headers.iter().rev().find(|(found, _)| *found == name)?;
        Some(String::from_utf8_lossy(value).into_owned())
    }

    fn json(&self) -> Option<Value> {
        serde_json::from_slice(self.value?).ok()
    }
}

/// `field=value`: a member or JSON Pointer of the event, or a header, and what it must be.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    field: String,
    expected: String,
}

impl FromStr for Filter {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=') {
            Some((field, expected)) if !field.is_empty() => {
                Ok(Self { field: field.to_owned(), expected: expected.to_owned() })
            }
            _ => Err("expected field=value, such as device_category=Mobile or /client/ip=::1"),
        }
    }
}

impl Filter {
    /// Whether a record is what is asked for. A text is compared as it is, anything else as JSON.
    pub fn matches(&self, seen: &Seen<'_>) -> bool {
        let event = seen.json();
        let value = event.as_ref().and_then(|event| {
            if self.field.starts_with('/') {
                event.pointer(&self.field)
            } else {
                event.get(&self.field)
            }
        });
        match value {
            Some(Value::String(text)) => *text == self.expected,
            Some(other) => {
                serde_json::from_str::<Value>(&self.expected).is_ok_and(|value| value == *other)
            }
            None => seen.header(&self.field).is_some_and(|text| text == self.expected),
        }
    }
}

/// A record as one line of JSON: its value as it is, or, for a dead letter, an object of the reason,
/// the origin, key and value. A value that is not JSON becomes a JSON text.
pub fn json_line(seen: &Seen<'_>) -> String {
    let value = match seen.value {
        None => Cow::Borrowed("null"),
        // Members keep their order and numbers their digits. No text of valid JSON holds a line break.
        Some(bytes) if serde_json::from_slice::<&RawValue>(bytes).is_ok() => {
            one_line(&String::from_utf8_lossy(bytes)).into()
        }
        Some(bytes) => {
            Value::String(String::from_utf8_lossy(bytes).into_owned()).to_string().into()
        }
    };
    let Some(reason) = seen.header(headers::REASON) else { return value.into_owned() };
    let number = |name| seen.header(name).and_then(|text| text.parse::<i64>().ok());
    let origin = json!({
        "reason": reason,
        "message": seen.header(headers::MESSAGE),
        "stage": seen.header(headers::STAGE),
        "topic": seen.header(headers::TOPIC),
        "partition": number(headers::PARTITION),
        "offset": number(headers::OFFSET),
        "timestamp": number(headers::TIMESTAMP),
        "truncated": number(headers::TRUNCATED),
        "key": seen.key.map(String::from_utf8_lossy),
    })
    .to_string();
    format!("{},\"value\":{value}}}", origin.trim_end_matches('}'))
}

/// The same text without its line breaks and what indents the lines.
fn one_line(text: &str) -> String {
    text.split(['\n', '\r'])
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

/// A column of the terminal view.
struct Column {
    title: &'static str,
    width: usize,
    /// Columns of a high rank go first where the terminal is narrow.
    rank: u8,
    show: fn(&Value, &Seen<'_>) -> (String, Style),
}

const PLAIN: Style = Style::new();
const DIM: Style = Style::new().effects(Effects::DIMMED);
const RED: Style = AnsiColor::Red.on_default();
const YELLOW: Style = AnsiColor::Yellow.on_default();

const COLUMNS: &[Column] = &[
    Column { title: "TIME", width: 8, rank: 1, show: time },
    Column {
        title: "DEVICE",
        width: 8,
        rank: 2,
        show: |event, _| (member(event, "device_type"), PLAIN),
    },
    Column { title: "CATEGORY", width: 8, rank: 0, show: category },
    Column {
        title: "LOCALE",
        width: 6,
        rank: 4,
        show: |event, _| (member(event, "locale"), PLAIN),
    },
    Column {
        title: "VERSION",
        width: 12,
        rank: 3,
        show: |event, _| (member(event, "app_version"), PLAIN),
    },
    Column { title: "IP", width: 15, rank: 6, show: |event, _| (member(event, "ip"), PLAIN) },
    Column { title: "USER", width: 8, rank: 5, show: |event, _| (member(event, "user_id"), DIM) },
    Column { title: "ANOMALY", width: 7, rank: 0, show: anomaly },
];

/// Members that make an event one of those that the columns are for: at least two of them.
const KNOWN: &[&str] = &["device_type", "device_category", "app_version", "user_id", "anomaly"];

/// The line of titles, for a terminal of this width.
pub fn title_line(width: usize) -> String {
    let titles = columns(width).map(|column| (column.title.to_owned(), DIM));
    line(titles.zip(columns(width)), width)
}

/// A record as one line of at most `width` cells, with colours.
pub fn terminal_line(seen: &Seen<'_>, width: usize) -> String {
    if let Some(reason) = seen.header(headers::REASON) {
        return dead_letter(seen, &reason, width);
    }
    let Some(bytes) = seen.value else {
        let key = seen.key.map(String::from_utf8_lossy).unwrap_or_default();
        return cut(&paint(&format!("tombstone {}", harmless(&key)), DIM), width);
    };
    match seen.json() {
        Some(event) if KNOWN.iter().filter(|name| event.get(name).is_some()).count() >= 2 => {
            let cells = columns(width).map(|column| (column.show)(&event, seen));
            line(cells.zip(columns(width)), width)
        }
        _ => cut(&harmless(&one_line(&String::from_utf8_lossy(bytes))), width),
    }
}

fn dead_letter(seen: &Seen<'_>, reason: &str, width: usize) -> String {
    let mut text = harmless(reason);
    if let Some(stage) = seen.header(headers::STAGE) {
        // Writing to a text cannot fail.
        let _ = write!(text, " in {}", harmless(&stage));
    }
    if let (Some(topic), Some(partition), Some(offset)) =
        (seen.header(headers::TOPIC), seen.header(headers::PARTITION), seen.header(headers::OFFSET))
    {
        let _ = write!(text, " {}", harmless(&format!("{topic}[{partition}]@{offset}")));
    }
    let mut line = paint(&text, RED);
    if let Some(message) = seen.header(headers::MESSAGE) {
        let _ = write!(line, " {}", harmless(&message));
    }
    let value = seen.value.map_or_else(|| "tombstone".into(), String::from_utf8_lossy);
    let _ = write!(line, " {}", paint(&harmless(&value), DIM));
    cut(&line, width)
}

/// The columns that fit.
fn columns(width: usize) -> impl Iterator<Item = &'static Column> + Clone {
    let fits = |rank: u8| {
        COLUMNS
            .iter()
            .filter(|column| column.rank <= rank)
            .map(|column| column.width + 1)
            .sum::<usize>()
            <= width
    };
    let ranks = (0..=6).rev().find(|&rank| fits(rank)).unwrap_or(0);
    COLUMNS.iter().filter(move |column| column.rank <= ranks)
}

fn line(cells: impl Iterator<Item = ((String, Style), &'static Column)>, width: usize) -> String {
    let mut line = String::new();
    let mut cells = cells.peekable();
    while let Some(((text, style), column)) = cells.next() {
        let text = harmless(&text);
        if cells.peek().is_none() {
            // The last column may take all that is left.
            line.push_str(&paint(&text, style));
        } else {
            let text = truncate_str(&text, column.width, "…");
            let pad = column.width.saturating_sub(measure_text_width(&text)) + 1;
            line.push_str(&paint(&text, style));
            line.extend(std::iter::repeat_n(' ', pad));
        }
    }
    cut(line.trim_end(), width)
}

fn member(event: &Value, name: &str) -> String {
    match event.get(name) {
        None => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// Of the processing, else of the record: hours, minutes and seconds in UTC.
fn time(event: &Value, seen: &Seen<'_>) -> (String, Style) {
    let processed = event.get("processed_timestamp").and_then(|value| match value {
        Value::String(text) => DateTime::parse_from_rfc3339(text).ok().map(|time| time.to_utc()),
        other => DateTime::from_timestamp_millis(other.as_i64()?),
    });
    let time = processed.or_else(|| DateTime::from_timestamp_millis(seen.timestamp?));
    (time.map_or_else(|| "-".to_owned(), |time| time.format("%H:%M:%S").to_string()), DIM)
}

fn category(event: &Value, _: &Seen<'_>) -> (String, Style) {
    let text = member(event, "device_category");
    let style = match text.as_str() {
        "Mobile" => AnsiColor::Cyan.on_default(),
        "Tablet" => AnsiColor::Blue.on_default(),
        "Desktop" => AnsiColor::Magenta.on_default(),
        _ => PLAIN,
    };
    (text, style)
}

fn anomaly(event: &Value, _: &Seen<'_>) -> (String, Style) {
    let reasons = event.get("anomaly_reasons").and_then(Value::as_array);
    let codes: Vec<&str> = reasons.into_iter().flatten().filter_map(Value::as_str).collect();
    match event.get("anomaly") {
        Some(Value::Bool(true)) if codes.is_empty() => ("yes".to_owned(), YELLOW),
        Some(Value::Bool(true)) => (codes.join(", "), YELLOW),
        Some(Value::Bool(false)) => ("no".to_owned(), DIM),
        _ => (member(event, "anomaly"), DIM),
    }
}

/// Text that can do nothing to a terminal: control characters are shown, not carried out.
pub fn harmless(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn paint(text: &str, style: Style) -> String {
    if style == PLAIN { text.to_owned() } else { format!("{style}{text}{style:#}") }
}

fn cut(line: &str, width: usize) -> String {
    truncate_str(line, width, "…").into_owned()
}

#[cfg(test)]
mod tests;
