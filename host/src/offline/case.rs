//! A test case of a plugin: one TOML file with settings, events, and what becomes of each.
//!
//! One file, with what becomes of an event right below it, because that is what a person compares; in
//! files of lines of their own one counts lines, and an event that is dropped has none. TOML, because
//! settings then read as they do in `pipeline.toml`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

/// The time of processing where a case says none: 2023-11-14T22:13:20.123Z.
pub const CASE_NOW: i64 = 1_700_000_000_123;

/// Why a file is no test case.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", path.display())]
pub struct CaseError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong, with the place where it has one.
    pub problem: String,
}

/// A test case.
#[derive(Debug)]
pub struct Case {
    /// Its file.
    pub path: PathBuf,
    /// The file's text.
    pub text: String,
    /// The time of processing, milliseconds since the epoch.
    pub now: i64,
    /// The settings as a JSON object.
    pub settings: String,
    /// Records, in order.
    pub events: Vec<Event>,
    /// Settings that the plugin must not accept.
    pub refused: Vec<Refused>,
}

/// A record, and what must become of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// The line of its value in the file, from 1.
    pub line: usize,
    /// The value.
    pub value: String,
    /// The key, if it has one.
    pub key: Option<String>,
    /// The headers, by name.
    pub headers: BTreeMap<String, String>,
    /// Milliseconds since the epoch; the time of processing where the file says none.
    pub timestamp: i64,
    /// What must become of it; none as long as nobody said so.
    pub expected: Option<Expected>,
}

/// What must become of a record.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Expected {
    /// What comes out; none if it was dropped, or is a dead letter only.
    pub outputs: Vec<Output>,
    /// The reason of its dead letter, `rejected`, and its message if that matters.
    pub letter: Option<(String, Option<String>)>,
}

/// A record that must come out. What it does not say may be anything, but for the value.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// The value; JSON is compared by what it says, not how it is written.
    pub value: OutputValue,
    /// The key.
    pub key: Option<String>,
    /// The topic, where it is not the sink's.
    pub topic: Option<String>,
    /// Headers that it must have.
    pub headers: BTreeMap<String, String>,
}

/// The value of a record that must come out.
#[derive(Clone, Debug, PartialEq)]
pub enum OutputValue {
    /// As it came, byte for byte.
    Same,
    /// This one.
    Text(String),
    /// None.
    Tombstone,
}

/// Settings that the plugin must not accept.
#[derive(Clone, Debug, PartialEq)]
pub struct Refused {
    /// The line in the file, from 1.
    pub line: usize,
    /// As a JSON object.
    pub settings: String,
    /// All that it says about them.
    pub says: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    now: Option<String>,
    #[serde(default)]
    settings: toml::Table,
    #[serde(default)]
    event: Vec<EventTable>,
    #[serde(default)]
    refused: Vec<Spanned<RefusedTable>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct EventTable {
    r#in: Spanned<String>,
    key: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    timestamp: Option<String>,
    kept: Option<bool>,
    dropped: Option<bool>,
    out: Option<OneOrMore>,
    dead_letter: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a text, a table with `value`, or a list of these")]
enum OneOrMore {
    One(OutTable),
    More(Vec<OutTable>),
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a text, or a table with `value` or `tombstone = true`")]
enum OutTable {
    Value(String),
    Table(OutKeys),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OutKeys {
    value: Option<String>,
    #[serde(default)]
    tombstone: bool,
    key: Option<String>,
    topic: Option<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RefusedTable {
    #[serde(default)]
    settings: toml::Table,
    says: Option<String>,
}

impl Case {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, CaseError> {
        let problem = |problem: String| CaseError { path: path.to_owned(), problem };
        let text = std::fs::read_to_string(path)
            .map_err(|error| problem(format!("cannot be read: {error}")))?;
        Self::parse(path, text).map_err(problem)
    }

    /// The case that a text says. The error has the place, where it has one.
    pub fn parse(path: &Path, text: String) -> Result<Self, String> {
        let file: File = toml::from_str(&text).map_err(|error| error.to_string())?;
        let line = |at: usize| text[..at].matches('\n').count() + 1;
        let now = file.now.as_deref().map(time).transpose()?.unwrap_or(CASE_NOW);
        let event = |table: EventTable| {
            let line = line(table.r#in.span().start);
            event(table, line, now).map_err(|problem| format!("line {line}: {problem}"))
        };
        let refused = |table: Spanned<RefusedTable>| {
            let line = line(table.span().start);
            let RefusedTable { settings, says } = table.into_inner();
            Ok(Refused { line, settings: json(settings.into())?.to_string(), says })
        };
        let events: Vec<Event> = file.event.into_iter().map(event).collect::<Result<_, _>>()?;
        let refused: Vec<Refused> =
            file.refused.into_iter().map(refused).collect::<Result<_, String>>()?;
        if events.is_empty() && refused.is_empty() {
            return Err("there is neither an [[event]] nor [[refused]] settings".to_owned());
        }
        let settings = json(file.settings.into())?.to_string();
        Ok(Self { path: path.to_owned(), text, now, settings, events, refused })
    }
}

fn event(table: EventTable, line: usize, now: i64) -> Result<Event, String> {
    let EventTable { key, headers, timestamp, kept, dropped, out, dead_letter, .. } = table;
    for (name, value) in [("kept", kept), ("dropped", dropped)] {
        if value == Some(false) {
            return Err(format!("{name} can only be true: say what becomes of the event instead"));
        }
    }
    let said = [kept.is_some(), dropped.is_some(), out.is_some()].into_iter().filter(|said| *said);
    let said = said.count();
    if said > 1 || (dropped.is_some() && dead_letter.is_some()) {
        return Err("give one of kept, dropped and out, or dead-letter".to_owned());
    }
    let outputs = match (kept, out) {
        (Some(_), _) => vec![Output::of(OutputValue::Same)],
        (None, Some(OneOrMore::One(one))) => vec![output(one)?],
        (None, Some(OneOrMore::More(all))) => {
            all.into_iter().map(output).collect::<Result<_, _>>()?
        }
        (None, None) => Vec::new(),
    };
    let letter = dead_letter.as_ref().map(|text| match text.split_once(": ") {
        Some((reason, message)) => (reason.to_owned(), Some(message.to_owned())),
        None => (text.clone(), None),
    });
    let expected = (said > 0 || letter.is_some()).then_some(Expected { outputs, letter });
    let timestamp = timestamp.as_deref().map(time).transpose()?.unwrap_or(now);
    Ok(Event { line, value: table.r#in.into_inner(), key, headers, timestamp, expected })
}

fn output(table: OutTable) -> Result<Output, String> {
    let OutKeys { value, tombstone, key, topic, headers } = match table {
        OutTable::Value(value) => return Ok(Output::of(OutputValue::Text(value))),
        OutTable::Table(keys) => keys,
    };
    let value = match (value, tombstone) {
        (Some(value), false) => OutputValue::Text(value),
        (None, true) => OutputValue::Tombstone,
        _ => return Err("out: give one of value and tombstone = true".to_owned()),
    };
    Ok(Output { value, key, topic, headers })
}

impl Output {
    /// One of which only the value matters.
    pub fn of(value: OutputValue) -> Self {
        Self { value, key: None, topic: None, headers: BTreeMap::new() }
    }
}

/// Milliseconds since the epoch.
fn time(text: &str) -> Result<i64, String> {
    chrono::DateTime::parse_from_rfc3339(text)
        .map(|time| time.timestamp_millis())
        .map_err(|_| format!("{text:?} is no time: write it as \"2026-01-31T12:00:00Z\""))
}

/// Settings as a stage's are handed over.
fn json(value: toml::Value) -> Result<serde_json::Value, String> {
    Ok(match value {
        toml::Value::String(text) => text.into(),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) => match serde_json::Number::from_f64(number) {
            Some(number) => number.into(),
            None => return Err(format!("settings: JSON has no number {number}")),
        },
        toml::Value::Boolean(value) => value.into(),
        toml::Value::Datetime(time) => time.to_string().into(),
        toml::Value::Array(items) => {
            items.into_iter().map(json).collect::<Result<Vec<_>, _>>()?.into()
        }
        toml::Value::Table(members) => {
            let member = |(key, value)| Ok((key, json(value)?));
            members
                .into_iter()
                .map(member)
                .collect::<Result<serde_json::Map<_, _>, String>>()?
                .into()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Case, String> {
        Case::parse(Path::new("a.toml"), text.to_owned())
    }

    #[test]
    fn a_case_has_settings_events_and_what_becomes_of_them() {
        let case = parse(
            r#"
now = "1970-01-01T00:00:01Z"
[settings]
a = [{ b = 1.5 }, true]
[[event]]
in = '{"a":1}'
key = "k"
headers = { h = "1" }
kept = true
[[event]]
in = 'x'
dead-letter = "rejected: no: good"
[[event]]
in = '{}'
out = ['1', { tombstone = true, topic = "t" }]
[[event]]
in = '{}'
dropped = true
[[event]]
in = '{}'
[[refused]]
settings = { c = 2 }
says = "/c: no"
"#,
        )
        .expect("a case");
        assert_eq!((case.now, case.settings.as_str()), (1_000, r#"{"a":[{"b":1.5},true]}"#));
        let expected: Vec<_> = case.events.iter().map(|event| event.expected.clone()).collect();
        let of = |value| Output::of(value);
        let tombstone = Output { topic: Some("t".to_owned()), ..of(OutputValue::Tombstone) };
        let says = |outputs, letter| Some(Expected { outputs, letter });
        let letter = Some(("rejected".to_owned(), Some("no: good".to_owned())));
        assert_eq!(
            expected,
            [
                says(vec![of(OutputValue::Same)], None),
                says(vec![], letter),
                says(vec![of(OutputValue::Text("1".to_owned())), tombstone], None),
                says(vec![], None),
                None,
            ]
        );
        assert_eq!((case.events[0].line, case.events[1].line), (6, 11));
        let refused = &case.refused[0];
        assert_eq!(
            (refused.settings.as_str(), refused.says.as_deref()),
            (r#"{"c":2}"#, Some("/c: no"))
        );
    }

    #[test]
    fn what_is_no_case_is_told_with_its_line() {
        let check = |text: &str, expected: &str| {
            let error = parse(text).expect_err("no case");
            assert!(error.contains(expected), "{error}");
        };
        check("", "neither an [[event]] nor [[refused]] settings");
        check("[[event]]\nin = '1'\nkpet = true", "unknown field `kpet`");
        check("[[event]]\nin = '1'\nkept = false", "line 2: kept can only be true");
        check("[[event]]\nin = '1'\nkept = true\nout = '2'", "line 2: give one of kept, dropped");
        check("[[event]]\nkept = true", "missing field `in`");
        check("now = \"noon\"\n[[event]]\nin = '1'", "\"noon\" is no time");
        check("[[event]]\nin = '1'\nout = {}", "out: give one of value and tombstone");
    }
}
