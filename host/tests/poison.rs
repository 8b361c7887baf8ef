//! What must neither stop the line nor be lost: records that cannot be written, plugins that fail,
//! brokers that go away. And what must stop it, with a sentence and its exit code.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod plugin_support;
mod support;

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use chrono::Utc;
use host::demo::generate::Spec;
use host::kafka::{HeadersArg, Mode, Producer, commit_offsets, remove};
use plugin_support::{ANSWER, component, rule_core, trapping};
use support::broker::{Broker, Options};
use support::comparison::Promise;
use support::feed::Feed;
use support::pipeline::{PARTITIONS, Pipeline, event, key_for};
use support::{Read, SOON, mix, read_topic};

/// From a start on a busy machine to everything committed.
const LIVENESS: Duration = Duration::from_secs(60);

/// For tests that do the broker no harm.
fn broker() -> &'static Broker {
    static BROKER: OnceLock<Broker> = OnceLock::new();
    BROKER.get_or_init(|| Broker::start(&Options { secured: true, ..Options::default() }))
}

/// Events of the last seconds, all of them good but some.
fn events(seed: u64, count: u64) -> Spec {
    let rate = 100;
    let start_ms = Utc::now().timestamp_millis() - (count * 1_000 / u64::from(rate)) as i64;
    Spec { seed, start_ms, rate, mix: mix(), ..Spec::default() }
}

/// An android event of partition 0 with one more member, and so of any size.
fn large(note: &str, bytes: usize) -> String {
    let event = event("android", Utc::now().timestamp_millis());
    let filler = "x".repeat(bytes);
    format!(r#"{{"note":"{note}","filler":"{filler}",{}"#, &event[1..])
}

fn notes(records: &[Read]) -> Vec<String> {
    let note = |record: &Read| {
        let event: serde_json::Value = serde_json::from_str(&record.text()).unwrap();
        event["note"].as_str().unwrap_or_default().to_owned()
    };
    records.iter().map(note).collect()
}

fn header(record: &Read, name: &str) -> Option<String> {
    let found = record.headers.iter().find(|(found, _)| found == name);
    found.map(|(_, value)| String::from_utf8_lossy(value.as_deref().unwrap()).into_owned())
}

fn all(pipeline: &Pipeline, topic: &str) -> Vec<Read> {
    read_topic(&pipeline.settings(), topic, PARTITIONS).into_values().flatten().collect()
}

#[test]
fn what_does_not_fit_into_the_output_becomes_a_dead_letter_and_the_others_come_out() {
    let pipeline = Pipeline::with_input("large", &broker().brokers(), |text| text);
    pipeline.make_topic(&pipeline.processed(), &[("max.message.bytes", "3000")]);
    let mut feed = Feed::new(&pipeline, events(1, 0));
    let key = key_for(0);
    let now = Utc::now().timestamp_millis();
    let mut expected = Vec::new();
    for number in 0..50 {
        // Two of them next to each other, one far behind.
        let is_large = matches!(number, 10 | 11 | 40);
        let note = number.to_string();
        let value = large(&note, if is_large { 5_000 } else { 100 });
        feed.send_one(0, Some(key.as_bytes()), value.as_bytes(), now);
        if !is_large {
            expected.push(note);
        }
    }
    feed.flush();
    let mut processes = [pipeline.start("a", &[])];
    pipeline.await_end(&mut processes, LIVENESS);
    processes[0].terminate();
    assert_eq!(notes(&all(&pipeline, &pipeline.processed())), expected);
    let letters = all(&pipeline, &pipeline.dead_letters());
    assert_eq!(notes(&letters), ["10", "11", "40"]);
    for letter in &letters {
        assert_eq!(header(letter, "dead-letter-reason").as_deref(), Some("record-too-large"));
        assert_eq!(header(letter, "dead-letter-truncated"), None);
        assert_eq!(letter.key.as_deref(), Some(key.as_bytes()));
    }
}

#[test]
fn a_dead_letter_that_does_not_fit_either_is_cut() {
    let pipeline = Pipeline::with_input("cut", &broker().brokers(), |text| text);
    pipeline.make_topic(&pipeline.processed(), &[("max.message.bytes", "3000")]);
    pipeline.make_topic(&pipeline.dead_letters(), &[("max.message.bytes", "80000")]);
    let mut feed = Feed::new(&pipeline, events(1, 0));
    let key = key_for(0);
    let now = Utc::now().timestamp_millis();
    let (event, invalid) = (large("event", 200_000), "no json ".repeat(20_000));
    for value in [&large("before", 10), &event, &invalid, &large("after", 10)] {
        feed.send_one(0, Some(key.as_bytes()), value.as_bytes(), now);
    }
    feed.flush();
    let mut processes = [pipeline.start("a", &[])];
    pipeline.await_end(&mut processes, LIVENESS);
    processes[0].terminate();
    assert_eq!(notes(&all(&pipeline, &pipeline.processed())), ["before", "after"]);
    let letters = all(&pipeline, &pipeline.dead_letters());
    let seen: Vec<_> = letters.iter().map(|letter| header(letter, "dead-letter-reason")).collect();
    let reasons = ["record-too-large", "invalid-json"].map(|reason| Some(reason.to_owned()));
    assert_eq!(seen, reasons);
    for (letter, original) in letters.iter().zip([&event, &invalid]) {
        assert_eq!(letter.text(), original[..64 * 1024]);
        let truncated = header(letter, "dead-letter-truncated");
        assert_eq!(truncated, Some(original.len().to_string()));
        assert_eq!(header(letter, "dead-letter-partition").as_deref(), Some("0"));
    }
}

/// The brokers refuse it, not the client: other topics take larger records.
#[test]
fn state_that_does_not_fit_its_topic_stops_the_pipeline_and_says_how_to_mend_it() {
    let pipeline = Pipeline::with_input("state", &broker().brokers(), |text| text);
    let small = [("cleanup.policy", "compact"), ("max.message.bytes", "2000")];
    pipeline.make_topic(&pipeline.state(), &small);
    let mut feed = Feed::new(&pipeline, events(9, 0));
    let now = Utc::now().timestamp_millis();
    let long = event("android", now).replace("2.3.0", &"2.3.0".repeat(600));
    feed.send_one(0, Some(key_for(0).as_bytes()), long.as_bytes(), now);
    feed.flush();
    let mut process = pipeline.start("a", &[]);
    process.assert_ends(LIVENESS, 2, &[&pipeline.state(), "raise its max.message.bytes"]);
}

#[test]
fn a_stage_that_loops_on_every_record_stops_the_pipeline_and_nothing_is_committed() {
    let pipeline = Pipeline::with_input("loop", &broker().brokers(), |text| {
        text.replacen("[[stage]]", "[[stage]]\nplugin = \"looping\"\n\n[[stage]]", 1)
    });
    let core = rule_core(ANSWER, &format!("(loop (br 0)) {ANSWER}"), "", "");
    pipeline.add_plugin("looping", &component("rule", &core));
    let mut feed = Feed::new(&pipeline, events(2, 1_000));
    feed.send(1_000);
    feed.flush();
    let mut process = pipeline.start("a", &[]);
    process.assert_ends(LIVENESS, 1, &["stage \"looping\" is broken", "faults-per-transaction"]);
    let progress = pipeline.progress().unwrap();
    assert!(progress.values().all(|(committed, _)| *committed == 0), "{progress:?}");
    assert_eq!(all(&pipeline, &pipeline.processed()), []);
    assert_eq!(all(&pipeline, &pipeline.dead_letters()), []);
}

#[test]
fn a_stage_that_fails_now_and_then_does_not_stop_the_pipeline_however_many_records_a_commit_has() {
    let pipeline = Pipeline::with_input("often", &broker().brokers(), |text| {
        text.replacen("[[stage]]", "[[stage]]\nplugin = \"trapping\"\n\n[[stage]]", 1)
            .replace("commit-interval = \"200ms\"", "commit-interval = \"4s\"")
            .replace("batch-records = 2000", "batch-records = 500")
    });
    pipeline.add_plugin("trapping", &trapping());
    let mut feed = Feed::new(&pipeline, events(12, 0));
    let now = Utc::now().timestamp_millis();
    let key = key_for(1);
    for number in 0..10_000 {
        let device = if number % 250 == 0 { "iOS" } else { "android" };
        feed.send_one(1, Some(key.as_bytes()), event(device, now).as_bytes(), now);
    }
    feed.flush();
    let mut processes = [pipeline.start("a", &[])];
    pipeline.await_end(&mut processes, LIVENESS);
    processes[0].terminate();
    assert_eq!(all(&pipeline, &pipeline.processed()).len(), 9_960);
    assert_eq!(all(&pipeline, &pipeline.dead_letters()).len(), 40);
}

/// Runs ten events, every other one of them from iOS, through the trapping stage, before the filter
/// or behind it; the reasons of the dead letters.
fn reasons_of_traps(name: &str, is_first: bool) -> Vec<Option<String>> {
    const STAGE: &str = "[[stage]]\nplugin = \"trapping\"\n\n[[stage]]";
    let pipeline = Pipeline::with_input(name, &broker().brokers(), |text| {
        if is_first {
            return text.replacen("[[stage]]", STAGE, 1);
        }
        let behind = "[[stage]]\nplugin = \"timestamps\"";
        assert!(text.contains(behind));
        text.replacen(behind, &format!("{STAGE}\nplugin = \"timestamps\""), 1)
    });
    pipeline.add_plugin("trapping", &trapping());
    let mut feed = Feed::new(&pipeline, events(3, 0));
    let now = Utc::now().timestamp_millis();
    let key = key_for(1);
    for number in 0..10 {
        let device = if number % 2 == 0 { "android" } else { "iOS" };
        feed.send_one(1, Some(key.as_bytes()), event(device, now).as_bytes(), now);
    }
    feed.flush();
    let mut processes = [pipeline.start("a", &[])];
    pipeline.await_end(&mut processes, LIVENESS);
    processes[0].terminate();
    assert_eq!(all(&pipeline, &pipeline.processed()).len(), 5);
    let letters = all(&pipeline, &pipeline.dead_letters());
    letters.iter().map(|letter| header(letter, "dead-letter-reason")).collect()
}

#[test]
fn a_value_that_was_dropped_does_not_come_to_the_next_stage() {
    assert_eq!(reasons_of_traps("dropped", false), []);
    assert_eq!(reasons_of_traps("trapped", true), vec![Some("trap".to_owned()); 5]);
}

#[test]
fn a_broker_that_goes_away_for_a_minute_is_waited_for() {
    let broker = Broker::start(&Options::default());
    let pipeline = Pipeline::with_input("away", &broker.brokers(), |text| text);
    let mut feed = Feed::new(&pipeline, events(4, 20_000));
    let mut processes = [pipeline.start("a", &[])];
    pipeline.await_input(&mut processes[0], SOON);
    feed.pace(0..10_000, 5_000, |_| true);
    broker.kill(0);
    // A minute: longer than any call of the host waits, so that it has to go back to what is
    // committed, again and again.
    feed.pace(10_000..20_000, 10_000 / 60, |_| true);
    broker.restart(0);
    feed.finish();
    pipeline.await_end(&mut processes, LIVENESS);
    processes[0].terminate();
    pipeline.differences(Promise::ExactlyOnce).assert_none();
}

/// Deletes a topic of a running pipeline, sends more, and waits until it has had enough.
fn stops_without(name: &str, deleted: impl FnOnce(&Pipeline) -> String) {
    let pipeline = Pipeline::with_input(name, &broker().brokers(), |text| text);
    let mut feed = Feed::new(&pipeline, events(11, 2_000));
    feed.send(1_000);
    feed.flush();
    let mut processes = [pipeline.start("a", &[])];
    pipeline.await_end(&mut processes, LIVENESS);
    let deleted = deleted(&pipeline);
    remove(&pipeline.settings(), std::slice::from_ref(&deleted), &[], SOON).unwrap();
    if deleted != pipeline.name {
        feed.send(1_000);
        feed.flush();
    }
    let sentence = format!("topic {deleted} does not exist any more");
    processes[0].assert_ends(2 * LIVENESS, 2, &[&sentence, "start the pipeline again"]);
}

#[test]
fn an_output_topic_that_is_deleted_is_waited_for_but_not_for_ever() {
    stops_without("no-output", Pipeline::processed);
}

#[test]
fn an_input_topic_that_is_deleted_is_waited_for_but_not_for_ever() {
    stops_without("no-input", |pipeline| pipeline.name.clone());
}

#[test]
fn sigterm_ends_the_process_also_when_the_broker_is_gone() {
    let broker = Broker::start(&Options::default());
    let pipeline = Pipeline::with_input("gone", &broker.brokers(), |text| text);
    let mut feed = Feed::new(&pipeline, events(5, 20_000));
    let mut process = pipeline.start("a", &[]);
    pipeline.await_input(&mut process, SOON);
    feed.pace(0..10_000, 5_000, |_| true);
    broker.kill(0);
    process.terminate();
    broker.restart(0);
    let mut processes = [pipeline.start("a", &[])];
    feed.send(10_000);
    feed.finish();
    pipeline.await_end(&mut processes, LIVENESS);
    processes[0].terminate();
    pipeline.differences(Promise::ExactlyOnce).assert_none();
}

#[test]
fn at_least_once_loses_nothing() {
    let at_least_once = ["--delivery", "at-least-once"];
    let pipeline = Pipeline::with_input("least", &broker().brokers(), |text| text);
    let mut feed = Feed::new(&pipeline, events(6, 40_000));
    let mut process = pipeline.start("a", &at_least_once);
    for _ in 0..3 {
        pipeline.await_input(&mut process, SOON);
        feed.pace(0..10_000, 5_000, |_| true);
        process.kill();
        process = pipeline.start("a", &at_least_once);
    }
    feed.pace(0..10_000, 5_000, |_| true);
    feed.finish();
    let mut processes = [process];
    pipeline.await_end(&mut processes, LIVENESS);
    processes[0].terminate();
    pipeline.differences(Promise::AtLeastOnceCrashed).assert_none();
}

/// What a crash leaves that falls between what the windows have counted and the offset.
#[test]
fn at_least_once_counts_no_record_again_that_the_progress_says_is_counted() {
    let pipeline = Pipeline::with_input("uneven", &broker().brokers(), |text| text);
    let settings = pipeline.settings();
    let progress = format!("{}-progress", pipeline.name);
    pipeline.make_topic(&progress, &[("cleanup.policy", "compact")]);
    let producer = Producer::new(&settings, &Mode::Idempotent).unwrap();
    let value = format!(r#"{{"format":1,"next_offset":2,"began":{PARTITIONS},"windows":{{}}}}"#);
    let (handle, headers) = (producer.topic(&progress).unwrap(), HeadersArg::None);
    let (key, value) = (Some(&b"0"[..]), Some(value.as_bytes()));
    producer.send(&handle, Some(0), key, value, headers, None, 0).unwrap();
    producer.flush(SOON).unwrap();
    commit_offsets(&settings, &pipeline.name, &pipeline.name, &[(0, 1)], SOON).unwrap();
    let mut feed = Feed::new(&pipeline, events(10, 0));
    let now = Utc::now().timestamp_millis();
    for _ in 0..4 {
        feed.send_one(0, Some(key_for(0).as_bytes()), event("android", now).as_bytes(), now);
    }
    feed.flush();
    let mut processes = [pipeline.start("a", &["--delivery", "at-least-once"])];
    pipeline.await_end(&mut processes, LIVENESS);
    processes[0].terminate();
    // From the offset on, and of these what the windows did not hold.
    assert_eq!(all(&pipeline, &pipeline.processed()).len(), 3);
    let state = read_topic(&settings, &pipeline.state(), PARTITIONS);
    let counts = state.values().flatten().filter(|record| record.text().contains("\"value\""));
    assert_eq!(counts.map(Read::text).collect::<Vec<_>>().last().unwrap(), r#"{"value":2}"#);
}

/// What is on its way at a crash arrives in any order. So a window's state must not be deleted, nor
/// an offset noted in it, before the results are written: here they cannot be.
#[test]
fn at_least_once_keeps_the_state_of_a_window_until_its_result_is_written() {
    let pipeline = Pipeline::with_input("results", &broker().brokers(), |text| text);
    let results = pipeline.results();
    pipeline.make_topic(&results, &[("max.message.bytes", "100")]);
    let mut feed = Feed::new(&pipeline, events(9, 4_000));
    feed.send(4_000);
    feed.finish();
    let at_least_once = ["--delivery", "at-least-once"];
    let mut process = pipeline.start("a", &at_least_once);
    process.assert_ends(LIVENESS, 2, &[&results, "max.message.bytes"]);
    pipeline.configure_topic(&results, &[]);
    let mut processes = [pipeline.start("a", &at_least_once)];
    pipeline.await_end(&mut processes, LIVENESS);
    processes[0].terminate();
    // It ended in the middle of writing what the windows hold.
    pipeline.differences(Promise::AtLeastOnceCrashed).assert_none();
}

/// One event for each partition, with its note and time.
fn send_round(feed: &mut Feed, note: &str, time: i64) {
    for partition in 0..PARTITIONS {
        let event = event("android", time);
        let value = format!(r#"{{"note":"{note}",{}"#, &event[1..]);
        feed.send_one(partition, Some(key_for(partition).as_bytes()), value.as_bytes(), time);
    }
    feed.flush();
}

fn count_notes(pipeline: &Pipeline) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for note in notes(&all(pipeline, &pipeline.processed())) {
        *counts.entry(note).or_default() += 1;
    }
    counts
}

#[test]
fn a_new_group_begins_where_it_was_told_and_later_where_it_was() {
    let now = Utc::now().timestamp_millis();
    let new = |name: &str| {
        let pipeline = Pipeline::with_input(name, &broker().brokers(), |text| text);
        let mut feed = Feed::new(&pipeline, events(7, 0));
        send_round(&mut feed, "early", now - 20_000);
        send_round(&mut feed, "middle", now - 10_000);
        (pipeline, feed)
    };
    let expect = |notes: &[&str]| -> BTreeMap<String, usize> {
        notes.iter().map(|note| ((*note).to_owned(), PARTITIONS as usize)).collect()
    };

    let (pipeline, mut feed) = new("latest");
    let mut processes = [pipeline.start("a", &["--from", "latest"])];
    pipeline.await_input(&mut processes[0], SOON);
    send_round(&mut feed, "last", now);
    pipeline.await_end(&mut processes, LIVENESS);
    processes[0].terminate();
    assert_eq!(count_notes(&pipeline), expect(&["last"]));
    send_round(&mut feed, "while it was away", now);
    processes = [pipeline.start("a", &["--from", "latest"])];
    pipeline.await_end(&mut processes, LIVENESS);
    processes[0].terminate();
    assert_eq!(count_notes(&pipeline), expect(&["last", "while it was away"]));

    let (pipeline, mut feed) = new("time");
    send_round(&mut feed, "last", now);
    let mut processes = [pipeline.start("a", &["--from", &(now - 10_000).to_string()])];
    pipeline.await_end(&mut processes, LIVENESS);
    processes[0].terminate();
    assert_eq!(count_notes(&pipeline), expect(&["middle", "last"]));
}

/// "Latest" is where the group began, not where the newest record is after a failure.
#[test]
fn what_comes_after_the_beginning_is_not_skipped_by_a_first_transaction_that_fails() {
    let now = Utc::now().timestamp_millis();
    let pipeline = Pipeline::with_input("begins", &broker().brokers(), |text| text);
    let mut feed = Feed::new(&pipeline, events(8, 0));
    send_round(&mut feed, "early", now - 20_000);
    let mut processes = [pipeline.start("a", &["--from", "latest"])];
    pipeline.await_input(&mut processes[0], SOON);
    pipeline.fence("a");
    send_round(&mut feed, "in it", now - 10_000);
    processes[0].await_log("rewound to what is committed", SOON);
    send_round(&mut feed, "behind it", now);
    pipeline.await_end(&mut processes, LIVENESS);
    processes[0].terminate();
    let expected = ["in it", "behind it"].map(|note| (note.to_owned(), PARTITIONS as usize));
    assert_eq!(count_notes(&pipeline), BTreeMap::from(expected));
}

#[test]
fn a_wrong_password_and_a_missing_right_are_the_environments_fault() {
    let refused = |name: &str, user: &str, password: &str, sentences: &[&str]| {
        let pipeline = Pipeline::new(name, &broker().brokers(), |text| text);
        let user = format!("sasl.username={user}");
        let password = format!("sasl.password={password}");
        let properties =
            ["security.protocol=SASL_PLAINTEXT", "sasl.mechanisms=PLAIN", &user, &password];
        let more: Vec<&str> = properties.iter().flat_map(|one| ["-X", one]).collect();
        let mut process = pipeline.start_with("a", &broker().secured(), &[], &more);
        process.assert_ends(LIVENESS, 3, sentences);
        assert!(!process.log().contains(&password["sasl.password=".len()..]), "{}", process.log());
    };
    refused("password", "admin", "wrong-secret", &["uthentication"]);
    refused("rights", "nobody", "nobody-secret", &["uthoriz"]);
}

#[test]
fn a_broker_that_is_not_there_is_the_environments_fault() {
    let free = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    let pipeline = Pipeline::new("nowhere", &address, |text| text);
    let started = Instant::now();
    let mut process = pipeline.start("a", &[]);
    process.assert_ends(LIVENESS, 3, &[&address]);
    assert!(started.elapsed() < Duration::from_secs(40));
}
