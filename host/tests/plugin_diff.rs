//! `host plugin diff` as a user calls it: a file or a topic, a report, an exit code.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod support;

use std::fs;
use std::path::Path;
use std::process::Output;

use chrono::Utc;
use host::demo::generate::Spec;
use host::plugin::defaults::{DEFAULTS, PIPELINE_TOML};
use serde_json::Value;
use support::broker::{Broker, Options};
use support::feed::Feed;
use support::pipeline::Pipeline;
use support::process::Process;
use tempfile::TempDir;

const EVENTS: &str = r#"{"device_type":"android","locale":"DE"}
{"device_type":"ios","locale":"DE"}
{"device_type":"ANDROID","locale":"US"}

not JSON
"#;

/// The default plugins and pipeline, and a file of events.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, component) in DEFAULTS {
        fs::write(folder.path().join(format!("{name}.wasm")), component).unwrap();
    }
    fs::write(folder.path().join("pipeline.toml"), PIPELINE_TOML).unwrap();
    fs::write(folder.path().join("events.jsonl"), EVENTS).unwrap();
    folder
}

fn diff(folder: &Path, args: &[&str]) -> Output {
    let mut command = Process::command();
    command.current_dir(folder).args(["plugin", "diff"]).args(args);
    command.args(["--plugins", "."]).output().unwrap()
}

#[track_caller]
fn check(folder: &Path, args: &[&str], code: i32, out: &[&str], error: &str) {
    let output = diff(folder, args);
    let (stdout, stderr) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(code), "{stdout}{stderr}");
    for text in out {
        assert!(stdout.contains(text), "no {text:?} in\n{stdout}{stderr}");
    }
    assert!(stderr.contains(error), "no {error:?} in\n{stderr}");
}

#[test]
fn what_differs_is_told_and_decides_the_exit_code() {
    let folder = folder();
    let folder = folder.path();
    let input = ["--input", "events.jsonl"];
    let with = |args: &[&'static str]| [args, &input[..]].concat();
    check(folder, &with(&["filter", "filter.wasm"]), 0, &["stage filter), 4 records", "same"], "");
    check(folder, &with(&[".", "."]), 0, &["all stages of . against ., 4 records"], "");

    // Behind the filter, and with the settings that the stage has.
    let settings = r#"{"map": {"android": "Phone"}}"#;
    let out = [
        "stage categorize), 2 records",
        "/device_category 2",
        "- /device_category \"Mobile\"",
        "+ /device_category \"Phone\"",
    ];
    let args = with(&["categorize", "categorize", "--new-settings", settings]);
    check(folder, &args, 1, &out, "2 of 2 records come out differently");

    let settings = r#"{"conditions": [{"field": "/locale", "equals": "DE"}]}"#;
    let args = with(&["filter", "filter", "--new-settings", settings, "--json"]);
    let report: Value = serde_json::from_slice(&diff(folder, &args).stdout).unwrap();
    assert_eq!(report["differ"], serde_json::json!({ "kept": 1, "dropped": 1 }), "{report}");
    assert_eq!(report["samples"][0]["offset"], 1, "{report}");
}

#[test]
fn what_is_wrong_with_the_call_is_told() {
    let folder = folder();
    let folder = folder.path();
    check(folder, &["filter", "nope"], 2, &[], "there is neither nope nor ./nope.wasm");
    check(folder, &["filter", "filter"], 2, &[], "give --brokers HOST:PORT, or --input FILE");
    let args = ["filter", "filter", "--input", "missing.jsonl"];
    check(folder, &args, 2, &[], "reading missing.jsonl");
    let args = ["filter", "filter", "--stage", "fliter", "--input", "events.jsonl"];
    check(folder, &args, 2, &[], "there is no stage \"fliter\"; there are filter, timestamps");
    let args = ["filter", "filter", "--settings", "{\"conditons\": 1}", "--input", "events.jsonl"];
    check(folder, &args, 2, &[], "--settings: stage \"filter\" settings.conditons: unknown key");
    check(folder, &args, 2, &[], "error: 2 problems found");
    let wrong = r#"{"keep": "some", "conditions": [{"field": "x", "equals": 1}]}"#;
    let args = ["filter", "filter", "--new-settings", wrong, "--input", "events.jsonl"];
    check(folder, &args, 2, &[], "--new-settings: stage \"filter\" settings.conditions[0].field");
    fs::write(folder.join("broken.wasm"), "not wasm").unwrap();
    check(folder, &["filter", "broken", "--input", "events.jsonl"], 2, &[], "broken.wasm");
}

#[test]
fn the_last_records_of_a_topic_are_compared() {
    let broker = Broker::start(&Options::default());
    let pipeline = Pipeline::with_input("diff", &broker.brokers(), |text| text);
    let start_ms = Utc::now().timestamp_millis();
    let mut feed = Feed::new(&pipeline, Spec { start_ms, ..Spec::default() });
    feed.send(5_000);
    feed.flush();
    let (folder, brokers) = (folder(), broker.brokers());
    let with = |last, topic: &str| {
        let args = ["filter", "filter", "--brokers", &brokers, "--topic", topic, "--last", last];
        diff(folder.path(), &[&args[..], &["--json"]].concat())
    };
    let records = |output: Output| {
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()["records"].as_u64().unwrap()
    };
    assert_eq!(records(with("1000", &pipeline.name)), 1_000);
    assert_eq!(records(with("100000", &pipeline.name)), 5_000);
    assert_eq!(with("1", "no-such-topic").status.code(), Some(2));
}
