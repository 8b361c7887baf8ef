//! Runs a plugin on its test cases, and holds what becomes of their events against what must.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use serde::Serialize;
use serde_json::Value;

use super::case::{Case, Event, Expected, Output, OutputValue};
use super::run::{Became, RunError, Runner};
use super::trace::Change;
use crate::chain::{Header, Record};
use crate::config::{self, Against, Draft, FILE_NAME, GivenSettings, Overrides};
use crate::pipeline::{Loader, probe};
use crate::plugin::{ConfigureError, Plugin, defaults};
use crate::shadow::field_changes;

/// A plugin that is tested: the only stage of a pipeline with the limits that ship.
pub struct Subject {
    name: String,
    loader: Loader,
    plugin: Arc<Plugin>,
}

/// Something that comes out otherwise than it must.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Failure {
    /// The line in the file of the event or settings.
    pub line: usize,
    /// The event or settings.
    pub of: String,
    /// What must become of it, in words; none if nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<String>,
    /// What became of it, in words.
    pub found: String,
    /// The fields that differ, where both are one JSON object: `old` is what must be.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
}

/// What became of a case.
pub struct Tested {
    /// What is otherwise than it must be; nothing if the case passed.
    pub failures: Vec<Failure>,
    /// What became of each event; none where the settings were not accepted.
    pub(super) became: Option<Vec<Outcome>>,
    /// What the plugin said about each of the settings that it must refuse; none if it took them.
    pub(super) said: Vec<Option<String>>,
}

/// What became of one event.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Outcome {
    pub outputs: Vec<Found>,
    pub letter: Option<(String, String)>,
}

/// A record that came out.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Found {
    pub value: Option<Vec<u8>>,
    pub key: Option<Vec<u8>>,
    pub topic: Option<String>,
    pub headers: BTreeMap<String, String>,
}

impl Subject {
    /// Loads a plugin from a file, or, with none, the one of this name that ships with the host.
    pub fn load(name: &str, file: Option<&Path>, state_dir: Option<&Path>) -> anyhow::Result<Self> {
        let loader = Loader::new(Path::new("."), state_dir)?;
        let loader = match file {
            Some(file) => loader.with_file(name, file),
            None => loader.with_defaults(),
        };
        let plugin = loader.plugin_of(name, file.is_none())?;
        Ok(Self { name: name.to_owned(), loader, plugin })
    }

    /// The plugin.
    pub fn plugin(&self) -> &Plugin {
        &self.plugin
    }

    /// Runs a case: all events as one batch, and then, since it must not matter where a batch begins
    /// and ends, each as one of its own.
    pub fn test(&self, case: &Case) -> anyhow::Result<Tested> {
        let mut failures = Vec::new();
        let mut said = Vec::new();
        for refused in &case.refused {
            let answer = self.refusal(&refused.settings)?;
            if answer.is_none() || answer != refused.says {
                let expected = refused.says.as_ref().map(|says| format!("refused: {says}"));
                let found = answer.as_ref().map(|says| format!("refused: {says}"));
                let found = found.unwrap_or_else(|| "taken".to_owned());
                let (line, of) = (refused.line, refused.settings.clone());
                failures.push(Failure { line, of, expected, found, changes: Vec::new() });
            }
            said.push(answer);
        }
        if case.events.is_empty() {
            return Ok(Tested { failures, became: None, said });
        }
        if let Some(refusal) = self.refusal(&case.settings)? {
            let (line, of) = (case.events[0].line, case.settings.clone());
            let found = format!("refused: {refusal}");
            let expected = Some("settings that the plugin takes".to_owned());
            failures.push(Failure { line, of, expected, found, changes: Vec::new() });
            return Ok(Tested { failures, became: None, said });
        }
        let together = self.run(case, case.events.len())?;
        let pairs = case.events.iter().zip(&together);
        let wrong = pairs.filter(|(event, became)| !is_as_expected(event, became));
        failures.extend(wrong.map(|(event, became)| failure(event, became)));
        if failures.is_empty() {
            let alone = self.run(case, 1)?;
            let pairs = case.events.iter().zip(together.iter().zip(&alone));
            let differ = pairs.filter(|(_, (together, alone))| together != alone);
            failures.extend(differ.map(|(event, (together, alone))| Failure {
                expected: Some(describe(event, together)),
                found: format!("alone in its batch: {}", describe(event, alone)),
                ..failure(event, alone)
            }));
        }
        failures.sort_by_key(|failure| failure.line);
        Ok(Tested { failures, became: Some(together), said })
    }

    /// What the plugin says against settings.
    fn refusal(&self, settings: &str) -> anyhow::Result<Option<String>> {
        let draft = draft();
        let stage = draft.alone(None, &self.name, self.against(settings));
        match probe(&self.plugin, &stage, draft.topic(), &[], 0) {
            Ok(_) => Ok(None),
            Err(ConfigureError::Refused(text)) => Ok(Some(text)),
            Err(error @ ConfigureError::Failed(_)) => Ok(Some(error.to_string())),
        }
    }

    fn against(&self, settings: &str) -> Against {
        let json = serde_json::from_str(settings).expect("a case has them as a JSON object");
        let settings = Some(GivenSettings { flag: "settings", json });
        Against { plugin: self.name.clone(), settings }
    }

    fn run(&self, case: &Case, batch: usize) -> anyhow::Result<Vec<Outcome>> {
        let mut draft = draft();
        draft.leave(draft.alone(None, &self.name, self.against(&case.settings)));
        let generation = self.loader.load(draft)?;
        let mut runner = Runner::new(&generation, false)?;
        let mut all = Vec::with_capacity(case.events.len());
        for (first, events) in (0..).step_by(batch).zip(case.events.chunks(batch)) {
            let headers: Vec<Vec<Header<'_>>> = events.iter().map(headers).collect();
            let records = events.iter().zip(&headers).zip(first..);
            let records: Vec<Record<'_>> =
                records.map(|((event, headers), offset)| record(event, headers, offset)).collect();
            let ran = runner.run(&records, case.now, &mut |became| {
                all.push(owned(became));
                Ok(())
            });
            match ran {
                Ok(()) => {}
                Err(error @ (RunError::Stop(_) | RunError::Write(_))) => {
                    return Err(error).with_context(|| case.path.display().to_string());
                }
            }
        }
        Ok(all)
    }
}

/// What ships, so that a case says the same wherever it is run.
fn draft() -> Draft {
    config::parse(FILE_NAME, defaults::PIPELINE_TOML, &Overrides::default(), &|_, _| None)
}

fn headers(event: &Event) -> Vec<Header<'_>> {
    event
        .headers
        .iter()
        .map(|(name, value)| Header { name, value: Some(value.as_bytes()) })
        .collect()
}

fn record<'a>(event: &'a Event, headers: &'a [Header<'a>], offset: i64) -> Record<'a> {
    Record {
        key: event.key.as_deref().map(str::as_bytes),
        value: Some(event.value.as_bytes()),
        headers,
        timestamp: Some(event.timestamp),
        partition: 0,
        offset,
    }
}

fn owned(became: &Became<'_>) -> Outcome {
    let text =
        |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
    let found = |view: crate::chain::OutputView<'_>| Found {
        value: view.value.map(<[u8]>::to_vec),
        key: view.key.map(<[u8]>::to_vec),
        topic: view.topic.map(str::to_owned),
        headers: view.headers.iter().map(|h| (h.name.to_owned(), text(h.value))).collect(),
    };
    Outcome {
        outputs: became.outputs().map(found).collect(),
        letter: became.letter.map(|letter| (letter.reason.to_owned(), letter.message.to_owned())),
    }
}

fn is_as_expected(event: &Event, became: &Outcome) -> bool {
    let Some(Expected { outputs, letter }) = &event.expected else { return false };
    let is_letter = match (letter, &became.letter) {
        (None, None) => true,
        (Some((reason, message)), Some((found, says))) => {
            reason == found && message.as_ref().is_none_or(|message| message == says)
        }
        _ => false,
    };
    let is_output = |(output, found): (&Output, &Found)| is_output(event, output, found);
    is_letter
        && outputs.len() == became.outputs.len()
        && outputs.iter().zip(&became.outputs).all(is_output)
}

fn is_output(event: &Event, output: &Output, found: &Found) -> bool {
    let is_value = match (&output.value, &found.value) {
        (OutputValue::Same, Some(value)) => value == event.value.as_bytes(),
        (OutputValue::Text(text), Some(value)) => is_same(text.as_bytes(), value),
        (OutputValue::Tombstone, None) => true,
        _ => false,
    };
    let key = output.key.as_ref().map(String::as_bytes);
    is_value
        && key.is_none_or(|key| found.key.as_deref() == Some(key))
        && output.topic.as_ref().is_none_or(|topic| found.topic.as_ref() == Some(topic))
        && output.headers.iter().all(|(name, value)| found.headers.get(name) == Some(value))
}

/// JSON by what it says; anything else by its bytes.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    let json = |bytes| serde_json::from_slice::<Value>(bytes).ok();
    one == other || matches!((json(one), json(other)), (Some(one), Some(other)) if one == other)
}

fn failure(event: &Event, became: &Outcome) -> Failure {
    let expected = event.expected.as_ref();
    let changes = match (expected.map(|expected| &expected.outputs[..]), &became.outputs[..]) {
        (Some([output]), [found]) => {
            let must = match &output.value {
                OutputValue::Same => Some(event.value.as_str()),
                OutputValue::Text(text) => Some(text.as_str()),
                OutputValue::Tombstone => None,
            };
            field_changes(must.map(str::as_bytes), found.value.as_deref()).unwrap_or_default()
        }
        _ => Vec::new(),
    };
    let change = |change: crate::shadow::FieldChange| Change {
        field: change.field,
        old: change.live,
        new: change.candidate,
    };
    Failure {
        line: event.line,
        of: event.value.clone(),
        expected: expected.map(|expected| must(event, expected)),
        found: describe(event, became),
        changes: changes.into_iter().map(change).collect(),
    }
}

/// What must become of an event, in words.
fn must(event: &Event, expected: &Expected) -> String {
    let output = |output: &Output| {
        let Output { value, key, topic, headers } = output;
        let value = match value {
            OutputValue::Same => event.value.clone(),
            OutputValue::Text(text) => text.clone(),
            OutputValue::Tombstone => "a tombstone".to_owned(),
        };
        around(value, key.as_deref(), topic.as_deref(), headers)
    };
    let letter = expected.letter.as_ref().map(|(reason, message)| match message {
        Some(message) => format!("dead letter ({reason}): {message}"),
        None => format!("dead letter ({reason})"),
    });
    joined(expected.outputs.iter().map(output), letter)
}

/// What became of an event, in words.
pub(super) fn describe(event: &Event, became: &Outcome) -> String {
    let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
    let is_new = |found: &Found| found.headers != event.headers;
    let output = |found: &Found| {
        let value = found.value.as_ref().map_or_else(|| "a tombstone".to_owned(), text);
        let key = found.key.as_ref().map(text).filter(|key| Some(key) != event.key.as_ref());
        let headers = if is_new(found) { found.headers.clone() } else { BTreeMap::new() };
        around(value, key.as_deref(), found.topic.as_deref(), &headers)
    };
    let letter = became.letter.as_ref();
    let letter = letter.map(|(reason, message)| format!("dead letter ({reason}): {message}"));
    joined(became.outputs.iter().map(output), letter)
}

fn around(
    value: String,
    key: Option<&str>,
    topic: Option<&str>,
    headers: &BTreeMap<String, String>,
) -> String {
    let mut text = value;
    for (what, part) in [("key", key), ("topic", topic)] {
        if let Some(part) = part {
            text += &format!(", {what} {part:?}");
        }
    }
    for (name, value) in headers {
        text += &format!(", header {name} {value:?}");
    }
    text
}

fn joined(outputs: impl Iterator<Item = String>, letter: Option<String>) -> String {
    let all: Vec<String> = outputs.chain(letter).collect();
    if all.is_empty() { "dropped".to_owned() } else { all.join("\n") }
}
