//! Rules that change in a running pipeline: nothing lost, repeated or out of order, each record by
//! one generation, and what is broken gone back from.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod back;
mod ground;
mod many;
#[path = "../plugin_support/mod.rs"]
mod plugin_support;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use chrono::Utc;
use host::demo::generate::Spec;

use ground::*;
use plugin_support::{ANSWER, component, rule_core};
use support::comparison::Promise;
use support::feed::Feed;
use support::pipeline::{PARTITIONS, Pipeline};
use support::process::Process;
use support::{SOON, mix};

#[test]
fn a_saved_setting_takes_effect_in_the_running_process() {
    let pipeline = pipeline("setting", |text| {
        replace(&text, "probation-records = 10000", "probation-records = 200")
    });
    let mut process = pipeline.start("a", &["--workers", "2"]);
    pipeline.await_input(&mut process, SOON);
    let sent = under_load(&pipeline, Duration::from_millis(2), |_| {
        // The first rules have something to show for themselves.
        pipeline.await_committed(&mut process, 500, SOON);
        let saved = Instant::now();
        pipeline.edit(|text| replace(&text, "fallback = \"one\"", "fallback = \"two\""));
        process.await_log("first record processed by generation 2", SOON);
        eprintln!("from the save to the first record: {:?}", saved.elapsed());
        process.await_log("the new rules have passed their probation", SOON);
    });
    let (status, body) = process.ask("GET", "/api/v1/status");
    assert_eq!((status, &body["generation"]), (200, &2.into()), "{body}");
    assert_eq!(body["last_reload"]["message"], "categorize: settings", "{body}");
    assert_eq!(body["on_probation"], false, "{body}");
    assert_eq!(body["last_reload"]["taken"], true, "{body}");
    let workers: Vec<_> = body["workers"].as_array().unwrap().iter().collect();
    assert!(workers.iter().all(|worker| worker["generation"] == 2), "{body}");
    let mut processes = [process];
    pipeline.await_end(&mut processes, LIVENESS);
    processes[0].terminate();
    assert_eq!(assert_exact(&pipeline, sent), BTreeSet::from([1, 2]));
    assert_eq!(dead_letters(&pipeline), 0);
}

/// Generations of the same behaviour: what comes out is what a run without swaps would give, late
/// records and windows included.
#[test]
fn windows_count_on_through_every_swap() {
    let pipeline = Pipeline::with_input("windows", &broker().brokers(), |text| text);
    let start_ms = Utc::now().timestamp_millis() - 200_000;
    let spec = Spec { seed: 7, start_ms, rate: 100, mix: mix(), ..Spec::default() };
    let mut feed = Feed::new(&pipeline, spec);
    // One of them gets no partition, takes every generation all the same, and says nothing of it.
    let workers = (PARTITIONS + 1).to_string();
    let mut process = pipeline.start("a", &["--workers", &workers]);
    pipeline.await_input(&mut process, SOON);
    for swap in 0..10_u64 {
        feed.pace(swap * 2_000..(swap + 1) * 2_000, 10_000, |_| true);
        let limits = ["call = \"100ms\"", "call = \"200ms\""];
        let (from, to) = (limits[swap as usize % 2], limits[1 - swap as usize % 2]);
        pipeline.edit(|text| replace(&text, from, to));
        let (code, body) = reload(&process);
        assert_eq!((code, &body["generation"]), (200, &(swap + 2).into()), "{body}");
    }
    feed.finish();
    let mut processes = [process];
    pipeline.await_end(&mut processes, LIVENESS);
    processes[0].terminate();
    assert!(!processes[0].log().contains("offsets=[]"), "{}", processes[0].log_tail());
    pipeline.differences(Promise::ExactlyOnce).assert_none();
}

#[test]
fn what_is_broken_changes_nothing() {
    let pipeline = pipeline("broken", |text| text);
    let mut process = pipeline.start("a", &[]);
    pipeline.await_input(&mut process, SOON);
    let filter = pipeline.plugins().join("filter.wasm");
    let good = fs::read(&filter).unwrap();
    let sent = under_load(&pipeline, Duration::from_millis(2), |_| {
        // Rules are tried on records that were seen, so some must have been.
        pipeline.await_committed(&mut process, 1, SOON);
        fs::write(&filter, &good[..good.len() / 2]).unwrap();
        process.await_log("half-written", SOON);
        assert_eq!(reload(&process).0, 422);
        fs::write(&filter, &good).unwrap();
        pipeline
            .edit(|text| replace(&text, "commit-interval = \"200ms\"", "commit-interval = \"1s\""));
        process.await_log("a change of [delivery] commit-interval needs a restart", SOON);
        assert_eq!(reload(&process).0, 409);
        pipeline
            .edit(|text| replace(&text, "commit-interval = \"1s\"", "commit-interval = \"200ms\""));
        let (code, body) = reload(&process);
        assert_eq!((code, &body["outcome"]), (200, &"unchanged".into()), "{body}");
        assert_eq!(body.get("taken"), None, "{body}");
        // Every record that was seen lately makes it fail.
        let stage = "[[stage]]\nplugin = \"own\"\n\n[[stage]]";
        pipeline.edit(|text| text.replacen("[[stage]]", stage, 1));
        for (evaluate, why) in [("unreachable", "trap"), (LOOP, "no answer within")] {
            let core = rule_core(ANSWER, evaluate, "", "");
            pipeline.add_plugin("own", &component("rule", &core));
            let (code, body) = reload(&process);
            let message = body["message"].as_str().unwrap();
            assert_eq!(code, 422, "{body}");
            assert!(message.starts_with("tried on the last "), "{message}");
            assert!(message.contains("own") && message.contains(why), "{message}");
        }
    });
    let mut processes = [process];
    pipeline.await_end(&mut processes, LIVENESS);
    processes[0].terminate();
    assert_eq!(assert_exact(&pipeline, sent), BTreeSet::from([1]));
    assert_eq!(dead_letters(&pipeline), 0);
}

#[test]
fn what_a_swap_costs_can_be_measured_and_every_record_is_accounted_for() {
    let mut command = Process::command();
    command.args(["bench", "--brokers", &broker().brokers(), "--json", "--swaps", "2"]);
    let output = command.args(["--rate", "500", "--events", "100000", "--runs", "1"]).output();
    let output = output.unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{log}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["swaps"], 2, "{report}");
    let figures = ["written_ms", "committed_ms", "gap_ms", "quiet_gap_ms"];
    assert!(figures.iter().all(|name| report[name]["max"].as_f64() > Some(0.0)), "{report}");
    assert!(report["written_ms"]["p50"].as_f64() <= report["written_ms"]["p99"].as_f64());
    let rate = &report["median"]["events_per_second"];
    assert!(rate["compiled_to_none"].as_f64() > Some(0.0), "{report}");
}
