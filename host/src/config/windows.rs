//! `[[window]]`.

use std::collections::BTreeSet;
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use super::aggregates;
use super::document::Document;
use super::table::{Table, sections};
use super::topics;
use super::types::{Emit, EventTime, TimeUnit, Window, WindowShape};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(super) fn read<'a>(document: &'a Document, root: &'a DeTable<'a>, input: &str) -> Vec<Window> {
    let mut names = BTreeSet::new();
    let mut windows = Vec::new();
    for table in sections(document, root, "window") {
        let window = read_window(&table, input);
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
fn read_window(table: &Table<'_>, input: &str) -> Option<Window> {
    if !table.has("name") {
        table.problem("name", "missing", "add `name = \"counts\"`");
    }
    let name = table.checked_text("name", "counts", check_window_name);
    let emit =
        table.choice("emit", Emit::Final, &[("final", Emit::Final), ("updates", Emit::Updates)]);
    let shape = read_shape(table, emit);
    let place = table.place()?;
    // The other keys are read, and their problems found, without a name as well.
    let named = name.is_some();
    let name = name.unwrap_or_default();
    let window = Window {
        shape,
        grace: table.duration("grace", millis(5000), millis(0)..=366 * DAY),
        by: table.texts("by", "\"/app_version\"", check_pointer),
        time: read_time(table),
        aggregates: aggregates::read(table),
        filter: table.checked_text("where", "/flag", check_pointer),
        emit,
        idle: table.duration("idle", millis(5000), millis(1000)..=366 * DAY),
        future_max: table.duration("future-max", millis(3_600_000), millis(0)..=366 * DAY),
        keys_max: table.integer("keys-max", 1_000_000, 1..=1_000_000_000) as u64,
        bytes_max: table.bytes("bytes-max", 256 << 20, 1 << 10..=64 << 30),
        results_topic: format!("{input}-{name}"),
        place,
        name,
    };
    named.then_some(window)
}

/// A hopping window is the sum of so many slices at most.
const SLICES_MAX: u128 = 1000;
/// The same where every change is written, which costs up to the square of it.
const SLICES_UPDATED_MAX: u128 = 100;

fn read_shape(table: &Table<'_>, emit: Emit) -> WindowShape {
    let length = |key, default| table.duration(key, millis(default), millis(1000)..=366 * DAY);
    if table.has("gap") {
        let gap = length("gap", 30_000);
        for key in ["size", "every"] {
            if table.has(key) {
                let help = "take it out, or `gap`: a session is as long as its events are close";
                table.problem(key, "not together with `gap`", help);
            }
        }
        // Read, so that they are no unknown keys.
        let _ = (table.value("size"), table.value("every"));
        return WindowShape::Session { gap };
    }
    if !table.has("size") {
        let help = "add `size = \"60s\"`, or `gap = \"30s\"` for sessions";
        table.problem("size", "missing", help);
    }
    let size = length("size", 60_000);
    let has_every = table.has("every");
    let every = length("every", 10_000);
    let _ = table.value("gap");
    if !has_every {
        return WindowShape::Tumbling { size };
    }
    let slices = size.as_millis() / gcd(size.as_millis(), every.as_millis()).max(1);
    let max = if emit == Emit::Updates { SLICES_UPDATED_MAX } else { SLICES_MAX };
    if every > size {
        let message = "longer than `size`: events between two windows would count in none";
        table.problem("every", message, "make it shorter, or `size` longer");
    } else if slices > max {
        let message = format!("makes {slices} slices of each window, and the most is {max}");
        table.problem("every", message, "make it a greater part of `size`, such as a tenth");
    }
    WindowShape::Hopping { size, every }
}

fn gcd(a: u128, b: u128) -> u128 {
    if b == 0 { a } else { gcd(b, a % b) }
}

fn read_time(table: &Table<'_>) -> EventTime {
    let help = "write `time = \"record\"`, `time = \"processing\"` or \
                `time = { field = \"/timestamp\", unit = \"auto\" }`";
    match table.value("time").map(|value| value.get_ref()) {
        None => EventTime::Record,
        Some(DeValue::String(text)) if text == "record" => EventTime::Record,
        Some(DeValue::String(text)) if text == "processing" => EventTime::Processing,
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
            table.problem("time", "neither \"record\", \"processing\" nor a field", help);
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
pub(super) fn check_pointer(text: &str) -> Result<(), String> {
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
