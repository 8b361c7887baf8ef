//! The map of the README's architecture section, held against the imports: which room may know
//! which. A new arrow is a decision, made here and explained there.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// A room and what it may import from this crate.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("admin", &["reload", "shadow", "window", "worker"]),
    ("authoring", &["event", "plugin"]),
    (
        "bench",
        &["admin", "chain", "config", "demo", "kafka", "pipeline", "plugin", "reload", "worker"],
    ),
    ("chain", &["event"]),
    (
        "cli",
        &[
            "admin",
            "authoring",
            "bench",
            "chain",
            "config",
            "demo",
            "event",
            "kafka",
            "offline",
            "pipeline",
            "plugin",
            "reload",
            "shadow",
            "window",
            "worker",
        ],
    ),
    ("config", &[]),
    ("demo", &["chain", "kafka", "window", "worker"]),
    ("event", &[]),
    ("kafka", &[]),
    ("offline", &["chain", "config", "pipeline", "plugin", "shadow"]),
    ("pipeline", &["chain", "config", "kafka", "plugin", "shadow", "window", "worker"]),
    ("plugin", &["chain", "event"]),
    ("reload", &["chain", "config", "pipeline", "shadow", "worker"]),
    ("shadow", &["chain"]),
    ("window", &["event"]),
    ("worker", &["chain", "kafka", "shadow", "window"]),
];

/// A crate and the rooms that may know it.
const CRATE_IN: &[(&str, &[&str])] = &[
    ("wasmtime", &["plugin"]),
    ("rdkafka", &["kafka", "demo", "bench"]),
    // In `reload` for the records of the history; no event is parsed there.
    (
        "serde_json",
        &[
            "config",
            "event",
            "window",
            "demo",
            "admin",
            "cli",
            "bench",
            "plugin",
            "reload",
            "shadow",
            "offline",
            "authoring",
        ],
    ),
    ("axum", &["admin"]),
    ("notify", &["reload"]),
    // The kinds of keys are a flag as they stand.
    ("clap", &["cli", "demo"]),
];

/// Who may switch the lint against `unsafe` off: folders and files below `src`.
const MAY_BE_UNSAFE: &[&str] = &["kafka/raw/", "plugin/bindings.rs", "plugin/deserialize.rs"];

#[test]
fn imports_run_one_way() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let allowed: BTreeMap<&str, &[&str]> = MAY_IMPORT.iter().copied().collect();
    let mut wrong = BTreeSet::new();
    for room in fs::read_dir(&source).unwrap().map(Result::unwrap) {
        if !room.path().is_dir() {
            continue;
        }
        let name = room.file_name().into_string().unwrap();
        let mut files = Vec::new();
        collect(&room.path(), &mut files);
        if files.is_empty() {
            continue;
        }
        let may = allowed.get(name.as_str()).unwrap_or_else(|| panic!("room {name} is not here"));
        for (file, text) in files {
            for other in rooms_in(&text).filter(|other| *other != name) {
                if !may.contains(&other) {
                    wrong.insert(format!("{file}: {name} must not know {other}"));
                }
            }
            for (krate, rooms) in CRATE_IN {
                if text.contains(&format!("{krate}::")) && !rooms.contains(&name.as_str()) {
                    wrong.insert(format!("{file}: {name} must not know the crate {krate}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.into_iter().collect::<Vec<_>>().join("\n"));
}

#[test]
fn unsafe_code_is_in_its_places_only() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&source, &mut files);
    assert!(!files.is_empty());
    let inside = |file: &str| file.strip_prefix(source.to_str().unwrap()).unwrap()[1..].to_owned();
    // The lint finds every use; what it cannot find is another place that switches it off.
    let switches_off = |text: &str| text.contains("unsafe_code") || text.contains("unsafe {");
    let found: Vec<_> = files.iter().filter(|(_, text)| switches_off(text)).collect();
    let found: BTreeSet<_> = found.into_iter().map(|(file, _)| inside(file)).collect();
    for file in &found {
        assert!(MAY_BE_UNSAFE.iter().any(|place| file.starts_with(place)), "{file}");
    }
    for place in MAY_BE_UNSAFE {
        assert!(found.iter().any(|file| file.starts_with(place)), "{place} needs none any more");
    }
}

/// The first names behind `crate::`, braces included.
fn rooms_in(text: &str) -> impl Iterator<Item = &str> {
    text.split("crate::").skip(1).flat_map(|rest| {
        let names = match rest.strip_prefix('{') {
            Some(list) => list.split('}').next().unwrap_or_default(),
            None => {
                rest.split(|c: char| !c.is_ascii_lowercase() && c != '_').next().unwrap_or_default()
            }
        };
        let first = |name: &'_ str| -> usize {
            name.find(|c: char| !c.is_ascii_lowercase() && c != '_').unwrap_or(name.len())
        };
        names
            .split(',')
            .map(str::trim)
            .map(move |name| &name[..first(name)])
            .filter(|name| MAY_IMPORT.iter().any(|(room, _)| room == name))
    })
}

fn collect(folder: &Path, files: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        // Tests may look anywhere.
        if path.file_stem().is_some_and(|stem| stem == "tests") {
            continue;
        }
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
            let code: Vec<&str> = lines.collect();
            files.push((path.display().to_string(), code.join("\n")));
        }
    }
}

/// What the group wants may take a worker back behind the batch in its hands, so it is asked at one
/// place, where there is none.
#[test]
fn the_group_is_answered_between_batches_only() {
    let mut files = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/worker"), &mut files);
    let calls = |text: &str| -> Vec<(String, usize)> {
        let calls = files.iter().map(|(file, code)| (file.clone(), code.matches(text).count()));
        calls.filter(|(_, count)| *count > 0).collect()
    };
    for call in [".answer_rebalances(", ".poll_rebalance("] {
        let found = calls(call);
        assert!(
            matches!(&found[..], [(file, 1)] if file.ends_with("run.rs")),
            "{call} in {found:?}"
        );
    }
}

/// Calls of the crates that lose wake-ups, wait 100 ms and more, or wait for ever: delivery rules 3, 4, 6
/// and 14.
#[test]
fn what_delivery_must_not_call_is_not_called() {
    let mut files = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    let never = [
        "StreamConsumer",
        "split_partition_queue",
        "FutureProducer",
        "BaseProducer",
        "Timeout::Never",
        ".commit_transaction(",
    ];
    for (file, text) in &files {
        for call in never {
            assert!(!text.contains(call), "{file} has {call}");
        }
    }
    // Where the calls are that stand in their place.
    let has = |text: &str| files.iter().any(|(_, code)| code.contains(text));
    for call in ["ThreadedProducer", "rd_kafka_commit_transaction(", "rd_kafka_flush("] {
        assert!(has(call), "no {call} any more: is this test still of use?");
    }
}

#[test]
fn the_check_can_fail() {
    assert_eq!(rooms_in("use crate::worker::Stop;").collect::<Vec<_>>(), ["worker"]);
    assert_eq!(
        rooms_in("use crate::{kafka::Consumer, event};").collect::<Vec<_>>(),
        ["kafka", "event"]
    );
}
