//! Records as a person or a program wants to see them. Pure: bytes in, lines out.

use std::borrow::Cow;
use std::str::FromStr;

use anstyle::Style;
use console::truncate_str;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::worker::headers;
use columns::{Column, DIM, PLAIN, Row};

mod columns;
mod tables;

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

/// What shows records on a terminal, with a line of titles where the columns change, and again after
/// so many records.
#[derive(Debug)]
pub struct TerminalView {
    titles_every: u64,
    /// Records since the last titles.
    shown: u64,
    titles: Option<&'static [Column]>,
}

impl TerminalView {
    /// One that has shown nothing yet.
    pub fn new(titles_every: u64) -> Self {
        Self { titles_every, shown: 0, titles: None }
    }

    /// A record as one line of at most `width` cells, with colours, behind a line of titles if one
    /// is due.
    pub fn lines(&mut self, seen: &Seen<'_>, width: usize) -> Vec<String> {
        let event = seen.json().unwrap_or_default();
        let Some(columns) = tables::columns(seen, &event) else {
            return vec![cut(&as_it_is(seen), width)];
        };
        let mut lines = Vec::with_capacity(2);
        let is_same = self.titles.is_some_and(|titles| std::ptr::eq(titles, columns));
        if !is_same || self.shown >= self.titles_every {
            lines.push(columns::titles(columns, width));
            (self.titles, self.shown) = (Some(columns), 0);
        }
        self.shown += 1;
        lines.push(columns::cells(columns, width, &Row { seen, event: &event }));
        lines
    }
}

/// A record that belongs in no columns.
fn as_it_is(seen: &Seen<'_>) -> String {
    match seen.value {
        Some(bytes) => harmless(&one_line(&String::from_utf8_lossy(bytes))),
        None => {
            let key = seen.key.map(String::from_utf8_lossy).unwrap_or_default();
            paint(&format!("tombstone {}", harmless(&key)), DIM)
        }
    }
}

/// Text that can do nothing to a terminal: control characters are shown, not carried out.
pub fn harmless(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn paint(text: &str, style: Style) -> String {
    if style == PLAIN { text.to_owned() } else { format!("{style}{text}{style:#}") }
}

/// A number with a comma between each three digits.
pub(super) fn grouped(number: u64) -> String {
    indicatif::HumanCount(number).to_string()
}

fn cut(line: &str, width: usize) -> String {
    truncate_str(line, width, "…").into_owned()
}

#[cfg(test)]
mod tests;
