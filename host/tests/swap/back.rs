//! Rules that turn out to be broken only once they run, and those that a person goes back from.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use crate::ground::*;
use crate::plugin_support::{ANSWER, component, rule_core, trapping};
use crate::support::SOON;
use crate::support::pipeline::{PARTITIONS, Pipeline};

#[test]
fn a_rollback_by_hand_is_a_new_generation_of_the_running_pipeline_and_of_the_next_start() {
    let pipeline = pipeline("hand", |text| text);
    let mut process = pipeline.start("a", &["--workers", "2"]);
    pipeline.await_input(&mut process, SOON);
    let before = fs::read_to_string(pipeline.plugins().join("pipeline.toml")).unwrap();
    let sent = under_load(&pipeline, Duration::from_millis(2), |_| {
        pipeline.edit(|text| replace(&text, "fallback = \"one\"", "fallback = \"two\""));
        assert_eq!(reload(&process).1["generation"], 2);
        let (code, text) = rollback(&pipeline, &process, &[]);
        let taken = "every worker runs it as generation 3 (";
        assert!(
            code == 0 && text.contains("put back 1, ") && text.contains(taken),
            "{code} {text}"
        );
        assert_eq!(fs::read_to_string(pipeline.plugins().join("pipeline.toml")).unwrap(), before);
        // What a running pipeline cannot take is refused, with the reason.
        let interval = "commit-interval = \"200ms\"";
        pipeline.edit(|text| replace(&text, interval, "commit-interval = \"1s\""));
        let (code, text) = rollback(&pipeline, &process, &["2"]);
        assert!(code == 0 && text.contains("saved what the folder held as 4"), "{code} {text}");
        let (code, text) = rollback(&pipeline, &process, &["4"]);
        assert!(code == 1 && text.contains("commit-interval needs a restart"), "{code} {text}");
        let (code, text) = rollback(&pipeline, &process, &["3"]);
        assert!(code == 0 && text.contains("as generation 5 ("), "{code} {text}");
    });
    let mut processes = [process];
    pipeline.await_end(&mut processes, LIVENESS);
    let hash = processes[0].ask("GET", "/api/v1/status").1["hash"].clone();
    processes[0].terminate();
    assert_eq!(assert_exact(&pipeline, sent).last(), Some(&5));
    let mut processes = [pipeline.start("a", &[])];
    processes[0].await_in_log("a second life", |log| log.matches("admin=").count() == 2, SOON);
    assert_eq!(processes[0].ask("GET", "/api/v1/status").1["hash"], hash);
    processes[0].terminate();
}

/// A plugin that does well with what was seen so far, and traps on what comes next.
fn goes_back(name: &str, more: &[&str]) -> (Pipeline, u64) {
    let pipeline = pipeline(name, |text| {
        text.replacen("[[stage]]", "[[stage]]\nplugin = \"own\"\n\n[[stage]]", 1)
    });
    let keeps_all = component("rule", &rule_core(ANSWER, ANSWER, "", ""));
    pipeline.add_plugin("own", &keeps_all);
    let mut numbered = Numbered::new(&pipeline);
    let arguments: Vec<&str> = ["--workers", "2"].iter().chain(more).copied().collect();
    let mut processes = [pipeline.start("a", &arguments)];
    numbered.send_many("android", 500);
    pipeline.await_end(&mut processes, LIVENESS);
    pipeline.add_plugin("own", &trapping());
    processes[0].await_log("every worker runs these rules", SOON);
    numbered.send_many("android", 500);
    pipeline.await_end(&mut processes, LIVENESS);
    numbered.send_many("iOS", 500);
    processes[0].await_log("rolled back", SOON);
    pipeline.await_end(&mut processes, LIVENESS);
    let (code, body) = reload(&processes[0]);
    assert_eq!(code, 409, "{body}");
    assert!(body["message"].as_str().unwrap().contains("these files were given up"), "{body}");
    // By hand it is refused as well, and the folder comes back to what runs.
    let (code, text) = rollback(&pipeline, &processes[0], &["2"]);
    assert!(code == 1 && text.contains("generation 2 was given up: "), "{code} {text}");
    let (code, text) = rollback(&pipeline, &processes[0], &[]);
    assert!(
        code == 0 && text.contains("put back 3, ") && text.contains("already"),
        "{code} {text}"
    );
    assert_eq!(fs::read(pipeline.plugins().join("own.wasm")).unwrap(), keeps_all);
    // Another file ends that.
    let other = component("rule", &rule_core(ANSWER, ANSWER, "", "(data (i32.const 0) \"x\")"));
    pipeline.add_plugin("own", &other);
    let (code, body) = reload(&processes[0]);
    assert_eq!(
        (code, &body["generation"], &body["taken"]),
        (200, &4.into(), &true.into()),
        "{body}"
    );
    numbered.send_many("iOS", 100);
    pipeline.await_end(&mut processes, LIVENESS);
    processes[0].terminate();
    (pipeline, numbered.next)
}

#[test]
fn a_plugin_that_traps_after_its_trial_is_gone_back_from_and_nothing_of_it_is_visible() {
    let (pipeline, sent) = goes_back("back", &[]);
    assert_eq!(assert_exact(&pipeline, sent), BTreeSet::from([1, 2, 3, 4]));
    assert_eq!(dead_letters(&pipeline), 0);
}

#[test]
fn at_least_once_nothing_of_a_broken_plugin_is_written_either() {
    let (pipeline, sent) = goes_back("back-least", &["--delivery", "at-least-once"]);
    for (partition, outs) in outputs(&pipeline) {
        let numbers: BTreeSet<u64> = outs.iter().map(|out| out.number).collect();
        assert_eq!(numbers, (0..sent).collect(), "partition {partition}");
    }
    assert_eq!(dead_letters(&pipeline), 0);
}

/// Settings under which good events pass as before, and then some that they reject. The dead letters.
fn rejecting(name: &str, environment: &[(&str, &str)]) -> usize {
    let pipeline = pipeline(name, |text| text);
    let mut numbered = Numbered::new(&pipeline);
    let brokers = broker().brokers();
    let mut processes = [pipeline.start_with("a", &brokers, environment, &["--workers", "2"])];
    numbered.send_many("android", 500);
    pipeline.await_end(&mut processes, LIVENESS);
    pipeline.edit(|text| {
        let stage = "plugin = \"timestamps\"\n";
        replace(&text, stage, &format!("{stage}[stage.settings]\nmalformed = \"reject\"\n"))
    });
    processes[0].await_log("every worker runs these rules", SOON);
    numbered.malformed = true;
    numbered.send_many("android", 50);
    pipeline.await_end(&mut processes, LIVENESS);
    processes[0].terminate();
    let letters = dead_letters(&pipeline);
    if letters == 0 {
        assert_eq!(assert_exact(&pipeline, numbered.next), BTreeSet::from([1, 3]));
        let log = processes[0].log();
        assert!(log.contains("stage \"timestamps\" failed on or rejected "), "{log}");
    }
    letters
}

#[test]
fn a_transaction_of_which_too_much_is_rejected_is_not_committed() {
    assert_eq!(rejecting("reject", &[]), 0);
}

#[test]
fn without_the_look_before_a_commit_it_would_be_visible() {
    let letters = rejecting("reject-all", &[("HOST_TEST_CONTROL", "no-probation")]);
    assert_eq!(letters, 50 * PARTITIONS as usize);
}
