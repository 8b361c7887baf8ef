//! `host try` as a part of a pipe.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod plugin_support;
mod support;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Output, Stdio};

use plugin_support::{component, transform_core};
use serde_json::{Value, json};
use support::process::Process;
use tempfile::TempDir;

const EVENTS: &str = r#"{"device_type":"android","timestamp":1694479551}
{"device_type":"ios"}

not JSON
{"device_type":"Android","locale":"RU"}
"#;

/// Nothing in it: the pipeline is the one that would be laid down.
fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn tried(folder: &Path, args: &[&str], events: &str) -> Output {
    let mut command = Process::command();
    command.current_dir(folder).arg("try").args(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let events = events.to_owned();
    // It may end without reading all.
    let writer = std::thread::spawn(move || drop(stdin.write_all(events.as_bytes())));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

#[track_caller]
fn check(folder: &Path, args: &[&str], events: &str, code: i32) -> (String, String) {
    let output = tried(folder, args, events);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    assert_eq!(output.status.code(), Some(code), "{stdout}{stderr}");
    (stdout, stderr)
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn what_passes_all_stages_comes_out_and_the_rest_is_counted() {
    let folder = folder();
    let args = ["--now", "2026-01-31T12:00:00Z"];
    let (stdout, stderr) = check(folder.path(), &args, EVENTS, 0);
    let expected = concat!(
        r#"{"device_type":"android","timestamp":"2023-09-12T00:45:51Z","#,
        r#""processed_timestamp":"2026-01-31T12:00:00Z","device_category":"Mobile","#,
    );
    let first = stdout.lines().next().unwrap();
    assert!(first.starts_with(expected), "{stdout}");
    assert_eq!(lines(&stdout)[1]["anomaly_reasons"][0], "suspicious-locale", "{stdout}");
    assert_eq!(stdout.lines().count(), 2, "{stdout}");
    let counts = "in 4 · out 2 · dropped 1 (filter 1) · dead letters 1 (invalid-json 1) in ";
    assert!(stderr.contains(counts), "{stderr}");
    assert!(stderr.contains("first invalid-json: line 4: decode: invalid JSON"), "{stderr}");
    let shipped = "plugins/pipeline.toml is not there: these are the stages that ship\n";
    assert!(stderr.starts_with(shipped), "{stderr}");

    let (_, stderr) = check(folder.path(), &["--fail", "--json"], EVENTS, 1);
    let counts: Value = serde_json::from_str(stderr.lines().next().unwrap()).unwrap();
    assert_eq!(counts["dead_letters"], json!({ "invalid-json": 1 }), "{stderr}");
    assert_eq!(counts["stages"][0]["dropped"], 1, "{stderr}");
    assert!(stderr.contains("1 of 4 events became dead letters"), "{stderr}");
    check(folder.path(), &["--fail"], "", 0);
}

#[test]
fn one_plugin_is_tried_with_settings_of_its_own() {
    let folder = folder();
    let settings = r#"{"conditions": [{"field": "/locale", "present": true}]}"#;
    let args = ["--plugin", "filter", "--settings", settings];
    let (stdout, _) = check(folder.path(), &args, EVENTS, 0);
    assert_eq!(stdout, "{\"device_type\":\"Android\",\"locale\":\"RU\"}\n");
    let (_, component) = host::plugin::defaults::DEFAULTS[2];
    fs::write(folder.path().join("mine.wasm"), component).unwrap();
    let (stdout, _) = check(folder.path(), &["--plugin", "mine.wasm"], "{}", 0);
    assert_eq!(stdout, "{\"device_category\":\"Unknown\"}\n");
}

/// Drops a value of three bytes, doubles one of four, and lets others pass.
const BY_LENGTH: &str = "
    (i32.store (i32.const 1024) (i32.const 4096)) (i32.store (i32.const 1028) (local.get $count))
    (memory.fill (i32.const 4096) (i32.const 0) (i32.mul (local.get $count) (i32.const 12)))
    (loop
      (local.set $from (i32.add (local.get $records) (i32.mul (local.get $i) (i32.const 72))))
      (local.set $at (i32.add (i32.const 4096) (i32.mul (local.get $i) (i32.const 12))))
      (if (i32.eq (i32.load offset=16 (local.get $from)) (i32.const 3))
        (then (i32.store8 (local.get $at) (i32.const 1))))
      (if (i32.eq (i32.load offset=16 (local.get $from)) (i32.const 4))
        (then
          (i32.store8 (local.get $at) (i32.const 2))
          (i32.store offset=4 (local.get $at) (i32.const 8192))
          (i32.store offset=8 (local.get $at) (i32.const 2))
          (memory.fill (i32.const 8192) (i32.const 0) (i32.const 88))
          (i32.store8 (i32.const 8204) (i32.const 1))
          (i64.store (i32.const 8208) (i64.load offset=12 (local.get $from)))
          (memory.copy (i32.const 8236) (i32.const 8192) (i32.const 44))))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if 0 (i32.lt_u (local.get $i) (local.get $count))))
    (i32.const 1024)";

#[test]
fn a_transform_makes_none_one_or_several_of_what_need_not_be_json() {
    let folder = folder();
    let transform = component("transform", &transform_core(BY_LENGTH, ""));
    fs::write(folder.path().join("own.wasm"), transform).unwrap();
    let args = ["--plugin", "own.wasm", "--trace"];
    let (stdout, stderr) = check(folder.path(), &args, "three\ntwo\nfour\n", 0);
    assert_eq!(stdout, "three\nfour\nfour\n");
    assert!(stderr.contains("1 own kept\n2 own dropped\n3 own kept as 2 records\n"), "{stderr}");
    assert!(stderr.contains("in 3 · out 3 · dropped 1 (own 1) · dead letters 0"), "{stderr}");
    let args = ["--plugin", "own.wasm", "--outcomes"];
    let (stdout, _) = check(folder.path(), &args, "two\nfour\n", 0);
    let told = lines(&stdout);
    assert_eq!(told[0], json!({ "offset": 0, "outcome": "dropped", "value": "two" }));
    assert_eq!(told[1]["value"], "four", "{stdout}");
}

#[test]
fn outcomes_and_traces_tell_what_became_of_each_event() {
    let folder = folder();
    let args = ["--outcomes", "--trace", "--now", "0"];
    let (stdout, _) = check(folder.path(), &args, EVENTS, 0);
    let told = lines(&stdout);
    let outcomes: Vec<_> = told.iter().map(|line| (&line["offset"], &line["outcome"])).collect();
    let expected = [
        (&json!(0), &json!("kept")),
        (&json!(1), &json!("dropped")),
        (&json!(3), &json!("dead-letter")),
        (&json!(4), &json!("kept")),
    ];
    assert_eq!(outcomes, expected, "{stdout}");
    let dropped = json!([{ "stage": "filter", "did": "dropped" }]);
    assert_eq!(
        (&told[1]["value"], &told[1]["trace"]),
        (&json!({ "device_type": "ios" }), &dropped)
    );
    assert_eq!(
        (&told[2]["value"], &told[2]["reason"]),
        (&json!("not JSON"), &json!("invalid-json"))
    );
    assert_eq!(told[2]["trace"][0]["stage"], "decode", "{stdout}");
    let trace = &told[0]["trace"];
    assert_eq!(trace[0], json!({ "stage": "filter", "did": "kept" }));
    let change = json!({ "field": "/timestamp", "old": 1694479551, "new": "2023-09-12T00:45:51Z" });
    assert!(trace[1]["changes"].as_array().unwrap().contains(&change), "{trace}");
    let change = json!({ "field": "/device_category", "new": "Mobile" });
    assert_eq!(trace[2]["changes"], json!([change]), "{trace}");

    let (stdout, stderr) = check(folder.path(), &["--trace", "--now", "0"], EVENTS, 0);
    assert_eq!(stdout.lines().count(), 2, "{stdout}");
    for line in [
        "1 filter kept\n",
        "  /timestamp 1694479551 → \"2023-09-12T00:45:51Z\"",
        "2 filter dropped\n",
        "4 decode rejected: invalid JSON",
    ] {
        assert!(stderr.contains(line), "no {line:?} in\n{stderr}");
    }
}

#[test]
fn what_is_wrong_is_code_2_and_what_would_stop_the_pipeline_code_1() {
    let folder = folder();
    let path = folder.path();
    let (_, stderr) = check(path, &["--plugin", "nope"], "", 2);
    assert!(stderr.contains("there is neither nope nor plugins/nope.wasm"), "{stderr}");
    fs::write(path.join("text.wasm"), "text").unwrap();
    let (_, stderr) = check(path, &["--plugin", "text.wasm"], "", 2);
    assert!(stderr.starts_with("error: it is no plugin of this host's: text.wasm: "), "{stderr}");
    let (_, stderr) = check(path, &["--plugin", "filter", "--settings", r#"{"kep":1}"#], "", 2);
    assert!(stderr.contains("did you mean `keep`?"), "{stderr}");
    let (_, stderr) = check(path, &["--settings", "{}"], "", 2);
    assert!(stderr.contains("--plugin"), "{stderr}");

    let good = "{\"device_type\":\"android\"}\n".repeat(400);
    let (stdout, stderr) = check(path, &[], &(good.clone() + &"no\n".repeat(700)), 1);
    assert!(stderr.contains("the pipeline would stop here: stage \"decode\" rejected"), "{stderr}");
    let (all, _) = check(path, &[], &good, 0);
    assert!(all.lines().count() == 400 && stdout.lines().count() <= 400);
}

#[test]
fn an_event_comes_out_while_the_next_one_is_still_to_be_written() {
    let folder = folder();
    let mut command = Process::command();
    command.current_dir(folder.path()).args(["try", "--plugin", "filter"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let (mut stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut stdout = BufReader::new(stdout);
    for number in 0..3 {
        let event = format!("{{\"device_type\":\"android\",\"n\":{number}}}\n");
        stdin.write_all(event.as_bytes()).unwrap();
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        assert_eq!(line, event);
    }
    drop(stdin);
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_reader_that_has_enough_ends_it_quietly() {
    let folder = folder();
    let mut command = Process::command();
    command.current_dir(folder.path()).args(["try", "--plugin", "filter"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    drop(child.stdout.take());
    let events = "{\"device_type\":\"android\"}\n".repeat(100_000);
    let writer = std::thread::spawn(move || drop(stdin.write_all(events.as_bytes())));
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!((child.wait().unwrap().code(), stderr.as_str()), (Some(0), ""));
    writer.join().unwrap();
}
