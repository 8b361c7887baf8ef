//! `[[window]]`.

use std::collections::BTreeSet;
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use super::document::Document;
use super::table::{Table, sections};
use super::topics;
use super::types::{EventTime, TimeUnit, Window};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(super) fn read<'a>(
    document: &'a Document,
    root: &'a DeTable<'a>,
    input: &str,
    pipeline: &str,
) -> Vec<Window> {
    let mut names = BTreeSet::new();
    let mut windows = Vec::new();
    for table in sections(document, root, "window") {
        let window = read_window(&table, input, pipeline);
        if let Some(window) = window {
            if names.insert(window.name.clone()) {
                windows.push(window);
            } else {
                let message = format!("there is a window {:?} already", window.name);
                table.problem("name", message, "give this one a name of its own");
            }
        }
        table.finish();
    }
    windows
}

/// None without a name.
fn read_window(table: &Table<'_>, input: &str, pipeline: &str) -> Option<Window> {
    for (key, example) in [("name", "counts"), ("size", "60s")] {
        if !table.has(key) {
            table.problem(key, "missing", format!("add `{key} = {example:?}`"));
        }
    }
    let name = table.checked_text("name", "counts", check_window_name);
    let size = table.duration("size", millis(60_000), millis(1000)..=366 * DAY);
    let place = table.place()?;
    // The other keys are read, and their problems found, without a name as well.
    let named = name.is_some();
    let name = name.unwrap_or_default();
    let window = Window {
        size,
        grace: table.duration("grace", millis(5000), millis(0)..=366 * DAY),
        by: table.texts("by", "\"/app_version\"", check_pointer),
        time: read_time(table),
        idle: table.duration("idle", millis(5000), millis(1000)..=366 * DAY),
        future_max: table.duration("future-max", millis(3_600_000), millis(0)..=366 * DAY),
        keys_max: table.integer("keys-max", 1_000_000, 1..=1_000_000_000) as u64,
        bytes_max: table.bytes("bytes-max", 256 << 20, 1 << 10..=64 << 30),
        results_topic: format!("{input}-{name}"),
        partial_topic: format!("{input}-{name}-partial"),
        state_topic: format!("{pipeline}-{name}-state"),
        place,
        name,
    };
    named.then_some(window)
}

fn read_time(table: &Table<'_>) -> EventTime {
    let help = "write `time = \"record\"` or `time = { field = \"/timestamp\", unit = \"auto\" }`";
    match table.value("time").map(|value| value.get_ref()) {
        None => EventTime::Record,
        Some(DeValue::String(text)) if text == "record" => EventTime::Record,
        Some(DeValue::Table(_)) => {
            let time = table.table("time");
            if !time.has("field") {
                time.problem("field", "missing", "add `field = \"/timestamp\"`");
            }
            let pointer = time.checked_text("field", "/timestamp", check_pointer);
            let units = [
                ("auto", TimeUnit::Auto),
                ("seconds", TimeUnit::Seconds),
                ("milliseconds", TimeUnit::Milliseconds),
                ("microseconds", TimeUnit::Microseconds),
                ("nanoseconds", TimeUnit::Nanoseconds),
                ("rfc3339", TimeUnit::Rfc3339),
            ];
            let unit = time.choice("unit", TimeUnit::Auto, &units);
            time.finish();
            EventTime::Field { pointer: pointer.unwrap_or_default(), unit }
        }
        Some(_) => {
            table.problem("time", "neither \"record\" nor a field", help);
            EventTime::Record
        }
    }
}

/// More would leave too little of a topic's name to the others that it is made of.
const WINDOW_NAME_LENGTH_MAX: usize = 64;

fn check_window_name(name: &str) -> Result<(), String> {
    if name.len() > WINDOW_NAME_LENGTH_MAX {
        return Err(format!("longer than {WINDOW_NAME_LENGTH_MAX} characters"));
    }
    topics::check_name(name)
}

/// Whether this is a JSON Pointer (RFC 6901) to something inside an event.
fn check_pointer(text: &str) -> Result<(), String> {
    if !text.starts_with('/') {
        return Err(format!("{text:?} is not a JSON Pointer: it begins with `/`"));
    }
    let mut rest = text;
    while let Some(at) = rest.find('~') {
        rest = &rest[at + 1..];
        if !rest.starts_with(['0', '1']) {
            return Err(format!("{text:?}: `~` is written `~0` in a JSON Pointer, `/` as `~1`"));
        }
    }
    Ok(())
}
