//! What became of a record, as lines.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::Serialize;
use serde_json::value::RawValue;

use super::run::Became;
use super::trace::Step;
use crate::chain::OutputView;

/// One line.
#[derive(Serialize)]
struct Line<'a> {
    offset: i64,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stage: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    headers: BTreeMap<&'a str, Option<Cow<'a, str>>>,
    value: Option<Shown<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace: Option<&'a [Step]>,
}

/// A value: JSON as it stands, anything else as a text.
#[derive(Serialize)]
#[serde(untagged)]
enum Shown<'a> {
    Json(&'a RawValue),
    Other(serde_json::Value),
}

/// Writes what came out, a value in each line, as it would be written; a tombstone is `null`.
pub fn write_values(out: &mut impl Write, became: &Became<'_>) -> io::Result<()> {
    for output in became.outputs() {
        out.write_all(output.value.unwrap_or(b"null"))?;
        out.write_all(b"\n")?;
    }
    Ok(())
}

/// Writes an object for each record that came out, and for one that was dropped or is a dead letter,
/// with the value as it came.
pub fn write_outcomes(out: &mut impl Write, became: &Became<'_>) -> io::Result<()> {
    for output in became.outputs() {
        let OutputView { key, value, headers, topic } = output;
        let headers = headers.iter().map(|header| (header.name, header.value.map(text)));
        let own = Line {
            topic,
            key: key.map(text),
            headers: headers.collect(),
            ..line(became, "kept", value)
        };
        write(out, &own)?;
    }
    if let Some(letter) = became.letter {
        let (reason, message) = (Some(letter.reason), Some(letter.message));
        let stage = Some(letter.stage);
        let line = line(became, "dead-letter", became.record.value);
        write(out, &Line { reason, message, stage, ..line })?;
    } else if became.is_dropped() {
        write(out, &line(became, "dropped", became.record.value))?;
    }
    Ok(())
}

/// What all lines have.
fn line<'a>(became: &Became<'a>, outcome: &'static str, value: Option<&'a [u8]>) -> Line<'a> {
    Line {
        offset: became.record.offset,
        outcome,
        reason: None,
        message: None,
        stage: None,
        topic: None,
        key: None,
        headers: BTreeMap::new(),
        value: value.map(shown),
        trace: became.trace,
    }
}

fn write(out: &mut impl Write, line: &Line<'_>) -> io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n")
}

fn shown(bytes: &[u8]) -> Shown<'_> {
    let is_one_line = memchr::memchr(b'\n', bytes).is_none();
    if is_one_line && let Ok(json) = serde_json::from_slice::<&RawValue>(bytes) {
        return Shown::Json(json);
    }
    let parsed = serde_json::from_slice(bytes);
    Shown::Other(parsed.unwrap_or_else(|_| text(bytes).into()))
}

fn text(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}
