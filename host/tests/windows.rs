//! Windows over all partitions and instances, on a real broker: one result per window and group, what
//! holds it back, and every shape and aggregate from `pipeline.toml` to the topic.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod support;

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use host::demo::generate::Spec;
use host::kafka::{HeadersArg, Mode, Producer};
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Message as _;
use rdkafka::{Offset, TopicPartitionList};
use serde_json::{Value, json};
use support::broker::Broker;
use support::feed::Feed;
use support::pipeline::{PARTITIONS, Pipeline, event, key_for};
use support::process::Process;
use support::{SOON, read_topic, read_values, unique};

/// From a start on a busy machine to everything committed.
const LIVENESS: Duration = Duration::from_secs(60);
const MINUTE: i64 = 60_000;

/// The beginning of a minute that is long over.
fn past() -> i64 {
    (Utc::now().timestamp_millis() - 30 * MINUTE).div_euclid(MINUTE) * MINUTE
}

fn rfc3339(millis: i64) -> String {
    DateTime::from_timestamp_millis(millis)
        .unwrap()
        .to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true)
}

/// With so short an `idle` that a test can wait for it.
fn impatient(text: String) -> String {
    let long = "idle = \"1h\"";
    assert!(text.contains(long));
    text.replace(long, "idle = \"1s\"")
}

fn pipeline(name: &str, change: impl FnOnce(String) -> String) -> (Pipeline, Feed) {
    let pipeline = Pipeline::with_input(name, &Broker::shared().brokers(), change);
    let feed = Feed::new(&pipeline, Spec::default());
    (pipeline, feed)
}

fn send(feed: &mut Feed, partition: i32, device: &str, time: i64) {
    let key = key_for(partition);
    feed.send_one(partition, Some(key.as_bytes()), event(device, time).as_bytes(), time);
}

/// The results of a window without their times, by start and group; each may be there once.
fn results(pipeline: &Pipeline, topic: &str) -> BTreeMap<String, Value> {
    let mut results = BTreeMap::new();
    for record in read_topic(&pipeline.settings(), topic, PARTITIONS).into_values().flatten() {
        let key = String::from_utf8(record.key.clone().unwrap()).unwrap();
        let value: Value = serde_json::from_str(&record.text()).unwrap();
        let before = results.insert(key.clone(), value);
        assert!(before.is_none(), "{key} came twice");
    }
    results
}

#[track_caller]
fn await_results(
    pipeline: &Pipeline,
    processes: &mut [Process],
    count: usize,
) -> BTreeMap<String, Value> {
    let end = Instant::now() + LIVENESS;
    loop {
        processes.iter_mut().for_each(Process::assert_runs);
        let results = results(pipeline, &pipeline.results());
        if results.len() >= count {
            return results;
        }
        let log = || processes.iter().map(Process::log_tail).collect::<Vec<_>>().join("\n---\n");
        assert!(Instant::now() < end, "only {results:?}\n{}", log());
        thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn one_result_over_all_partitions_and_instances_and_an_empty_partition_holds_nothing_up() {
    let (pipeline, mut feed) = pipeline("merged", impatient);
    let mut processes = [pipeline.start("a", &[]), pipeline.start("b", &[])];
    processes.iter_mut().for_each(|one| pipeline.await_input(one, SOON));
    let start = past();
    for count in 0..10 {
        // Nothing ever comes to the last partition.
        for partition in 0..PARTITIONS - 1 {
            send(&mut feed, partition, "android", start + count * 1_000);
        }
    }
    feed.flush();
    let results = await_results(&pipeline, &mut processes, 1);
    let key = format!("{}|2.3.0", rfc3339(start));
    let expected = json!({
        "window": "counts", "start": rfc3339(start), "end": rfc3339(start + MINUTE),
        "key": "2.3.0", "count": 30, "final": true,
    });
    assert_eq!(results, BTreeMap::from([(key, expected)]));
    processes.iter_mut().for_each(Process::terminate);
    let logged = |text: &str| pipeline.logged(&["a", "b"], text);
    assert_eq!(logged("window closed"), 1, "the instance that has the group logs it");
}

/// Records that are all filtered out say nothing about event time.
#[test]
fn a_partition_of_which_nothing_passes_the_stages_holds_nothing_up() {
    let (pipeline, mut feed) = pipeline("quiet", impatient);
    let mut processes = [pipeline.start("a", &[])];
    pipeline.await_input(&mut processes[0], SOON);
    let start = past();
    for partition in 0..PARTITIONS - 1 {
        send(&mut feed, partition, "android", start);
    }
    feed.flush();
    let end = Instant::now() + LIVENESS;
    while results(&pipeline, &pipeline.results()).is_empty() {
        assert!(Instant::now() < end, "{}", processes[0].log_tail());
        send(&mut feed, PARTITIONS - 1, "iOS", Utc::now().timestamp_millis());
        feed.flush();
        thread::sleep(Duration::from_millis(50));
    }
    processes[0].terminate();
}

/// Waits until an input partition is committed with a watermark behind this.
fn await_watermark(pipeline: &Pipeline, partition: i32, behind: i64) {
    let topic = format!("{}-progress", pipeline.name);
    let own = unique("onlooker");
    let consumer: BaseConsumer = pipeline.settings().plain(&[("group.id", &own)]).create().unwrap();
    let mut all = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        all.add_partition_offset(&topic, partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&all).unwrap();
    let end = Instant::now() + LIVENESS;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let message = consumer.poll(left).expect("no such watermark in time").unwrap();
        let value: Value = serde_json::from_slice(message.payload().unwrap()).unwrap();
        let watermark = value["windows"]["counts"]["watermark"].as_i64();
        if message.key() == Some(partition.to_string().as_bytes()) && watermark > Some(behind) {
            return;
        }
    }
}

/// A producer that commits once in a while has written what nobody may read yet: that is no silence.
#[test]
fn what_a_transaction_has_written_and_not_committed_is_waited_for() {
    let (pipeline, mut feed) = pipeline("open", impatient);
    let mut processes = [pipeline.start("a", &[])];
    pipeline.await_input(&mut processes[0], SOON);
    let (start, last) = (past(), PARTITIONS - 1);
    for partition in 0..PARTITIONS {
        send(&mut feed, partition, "android", start);
    }
    feed.flush();
    pipeline.await_committed(&mut processes[0], 1, SOON);
    let mode = Mode::Transactional { id: unique("upstream"), timeout: LIVENESS };
    let upstream = Producer::new(&pipeline.settings(), &mode).unwrap();
    upstream.init_transactions(SOON).unwrap();
    upstream.begin().unwrap();
    let (topic, value) = (upstream.topic(&pipeline.name).unwrap(), event("android", start + 1));
    let (value, time) = (Some(value.as_bytes()), Some(start + 1));
    upstream.send(&topic, Some(last), None, value, HeadersArg::None, time, 0).unwrap();
    upstream.flush(SOON).unwrap();
    // The others are past the window; in time the last one would follow them.
    for partition in 0..last {
        send(&mut feed, partition, "android", start + 2 * MINUTE);
    }
    feed.flush();
    // Once the clock has closed the first one the last one was looked at as well.
    await_watermark(&pipeline, 0, start + 2 * MINUTE);
    pipeline.await_end(&mut processes, LIVENESS);
    assert_eq!(results(&pipeline, &pipeline.results()), BTreeMap::new());
    upstream.commit(SOON).unwrap();
    let results = await_results(&pipeline, &mut processes, 1);
    assert_eq!(results[&format!("{}|2.3.0", rfc3339(start))]["count"], PARTITIONS + 1);
    processes[0].terminate();
}

fn windows(pipeline: &Pipeline, more: &[&str]) -> String {
    let mut command = Process::command();
    command.current_dir(pipeline.plugins().parent().unwrap());
    command.args(["windows", "--brokers", &pipeline.brokers]).args(more);
    let output = command.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{error}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn what_is_open_and_what_holds_it_back_is_shown() {
    let (pipeline, mut feed) = pipeline("shown", |text| text);
    let mut processes = [pipeline.start("a", &[])];
    let start = past();
    for partition in 0..PARTITIONS - 1 {
        send(&mut feed, partition, "android", start);
        send(&mut feed, partition, "android", start + 3 * MINUTE);
    }
    feed.flush();
    pipeline.await_end(&mut processes, LIVENESS);
    let shown = windows(&pipeline, &[]);
    let last = PARTITIONS - 1;
    let waiting =
        format!("nothing is final yet: no event has passed the stages in partition {last}");
    assert!(shown.contains(&waiting), "{shown}");
    let span = format!("{}/{}", rfc3339(start), rfc3339(start + MINUTE));
    let open = shown.lines().find(|line| line.contains(&span)).expect(&shown);
    assert!(open.ends_with("1  2.3.0 3"), "{open}");
    let looks: Value = serde_json::from_str(&windows(&pipeline, &["--json"])).unwrap();
    assert_eq!(looks[0]["behind"], json!([last]), "{looks}");
    assert_eq!(looks[0]["partitions"][0]["watermark"], rfc3339(start + 3 * MINUTE));
    assert_eq!(looks[0]["partitions"][0]["closed"], rfc3339(start + 2 * MINUTE));
    assert_eq!(looks[0]["open"].as_array().unwrap().len(), 2, "{looks}");
    let (_, status) = processes[0].ask("GET", "/api/v1/status");
    assert_eq!(status["windows"][0]["behind"], json!([last]), "{status}");
    assert_eq!(status["windows"][0]["open"].as_array().unwrap().len(), 2, "{status}");

    send(&mut feed, last, "android", start + 2 * MINUTE);
    feed.flush();
    pipeline.await_end(&mut processes, LIVENESS);
    let looks: Value = serde_json::from_str(&windows(&pipeline, &["--json"])).unwrap();
    assert_eq!(looks[0]["final_before"], rfc3339(start + MINUTE), "{looks}");
    processes[0].terminate();
    assert_eq!(results(&pipeline, &pipeline.results()).len(), 1);
}

#[test]
fn windows_of_a_pipeline_that_never_ran_are_asked_for_in_vain() {
    let pipeline = Pipeline::with_input("never", &Broker::shared().brokers(), |text| text);
    let mut command = Process::command();
    command.current_dir(pipeline.plugins().parent().unwrap());
    let output = command.args(["windows", "--brokers", &pipeline.brokers]).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains("has not run on these brokers"), "{error}");
}

fn add_partitions(pipeline: &Pipeline, topic: &str, count: usize) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", &pipeline.brokers).create().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let more = NewPartitions::new(topic, count);
    let added = runtime.block_on(admin.create_partitions([&more], &AdminOptions::new()));
    added.unwrap().pop().unwrap().unwrap();
}

/// Looks for new partitions each second.
const ATTENTIVE: [&str; 2] = ["-X", "topic.metadata.refresh.interval.ms=1000"];

#[test]
fn an_input_that_gets_more_partitions_stops_the_pipeline_and_the_next_start_takes_them_in() {
    let (pipeline, mut feed) = pipeline("grown", impatient);
    let mut process = pipeline.start("a", &ATTENTIVE);
    let start = past();
    for partition in 0..PARTITIONS {
        send(&mut feed, partition, "android", start);
        send(&mut feed, partition, "android", start + 2 * MINUTE);
    }
    feed.flush();
    pipeline.await_end(std::slice::from_mut(&mut process), LIVENESS);
    await_results(&pipeline, std::slice::from_mut(&mut process), 1);
    let new = PARTITIONS;
    add_partitions(&pipeline, &pipeline.name, new as usize + 1);
    let sentences = [&*format!("has partition {new} now"), "stop all instances"];
    process.assert_ends(LIVENESS, 2, &sentences);

    // Its client has to see the new partition.
    let mut feed = Feed::new(&pipeline, Spec::default());
    // The first minutes are final, so what comes to them now is late.
    let value = |time: i64| event("android", time).into_bytes();
    feed.send_one(new, Some(b"k"), &value(start), start);
    feed.send_one(new, Some(b"k"), &value(start + 9 * MINUTE), start + 9 * MINUTE);
    feed.flush();
    // It has begun long ago, so that nothing that is there now is too old for it.
    let mut processes = [pipeline.start("a", &["--from", "latest"])];
    let results = await_results(&pipeline, &mut processes, 3);
    let counts: Vec<_> = results.values().map(|result| result["count"].clone()).collect();
    assert_eq!(counts, [json!(PARTITIONS), json!(PARTITIONS), json!(1)], "{results:?}");
    let late = read_values(&pipeline.settings(), &format!("{}-late", pipeline.name), PARTITIONS);
    assert_eq!(late.len(), 1, "{late:?}");
    processes[0].terminate();
}

#[test]
fn a_repartition_topic_that_gets_more_partitions_stops_the_pipeline() {
    let (pipeline, mut feed) = pipeline("split", |text| text);
    let mut process = pipeline.start("a", &ATTENTIVE);
    feed.send(100);
    feed.finish();
    pipeline.await_end(std::slice::from_mut(&mut process), LIVENESS);
    add_partitions(&pipeline, &pipeline.repartition(), PARTITIONS as usize + 1);
    process.assert_ends(LIVENESS, 2, &[&pipeline.repartition(), "by their former number"]);
    let mut again = pipeline.start("a", &[]);
    again.assert_ends(LIVENESS, 2, &[&pipeline.state(), "--delete --topic"]);
}

const ALL_KINDS: &str = r#"
[[window]]
name = "hops"
size = "60s"
every = "20s"
time = { field = "/timestamp" }
where = "/anomaly"

[[window]]
name = "visits"
gap = "30s"
by = ["/user_id", "/locale"]
time = { field = "/timestamp" }
emit = "updates"
[window.aggregates]
events = "count"
amount = { sum = "/amount" }
least = { min = "/amount" }
greatest = { max = "/amount" }
mean = { avg = "/amount" }
versions = { distinct = "/app_version" }
best = { top = "/app_version", k = 1 }

[[window]]
name = "records"
size = "60s"
time = "record"

[[window]]
name = "seen"
size = "1s"
time = "processing"

[sink]"#;

#[test]
fn every_shape_and_aggregate_comes_from_the_file_to_the_topic() {
    let (pipeline, mut feed) =
        pipeline("kinds", |text| impatient(text).replacen("\n[sink]", ALL_KINDS, 1));
    let start = past();
    let mut logins = Vec::new();
    for (second, locale, version, amount) in [
        (0, "RU", "1.0.0", 2),
        (10, "RU", "2.0.0", 5),
        (25, "RU", "2.0.0", -1),
        (58, "DE", "1.0.0", 7),
    ] {
        let text = event("android", start + second * 1_000).replace("2.3.0", version);
        let text = text.replace("\"DE\"", &format!("\"{locale}\""));
        logins.push(format!("{{\"amount\":{amount},{}", &text[1..]));
    }
    for (partition, login) in (0..).zip(&logins) {
        feed.send_one(partition, None, login.as_bytes(), start);
    }
    feed.flush();
    let mut processes = [pipeline.start("a", &[]), pipeline.start("b", &[])];
    pipeline.await_end(&mut processes, LIVENESS);
    await_results(&pipeline, &mut processes, 2);
    let of = |window: &str| format!("{}-{window}", pipeline.name);
    let (hops, visits, records, seen) = (of("hops"), of("visits"), of("records"), of("seen"));
    let last = |topic: &str| {
        let mut last: BTreeMap<Vec<u8>, Value> = BTreeMap::new();
        let records = read_topic(&pipeline.settings(), topic, PARTITIONS);
        for record in records.into_values().flatten() {
            let key = record.key.clone().unwrap();
            match record.value {
                Some(_) => _ = last.insert(key, serde_json::from_str(&record.text()).unwrap()),
                // Two updates have become one session.
                None => _ = last.remove(&key),
            }
        }
        last
    };
    let end = Instant::now() + LIVENESS;
    let count =
        |all: &BTreeMap<_, Value>| all.values().filter_map(|one| one["count"].as_u64()).sum();
    let (hops, visits, records) = loop {
        let (hops, visits, records) = (last(&hops), last(&visits), last(&records));
        let is_final = |all: &BTreeMap<_, Value>| all.values().all(|one| one["final"] == true);
        let seen: u64 = count(&last(&seen));
        if hops.len() == 4
            && visits.len() == 2
            && is_final(&visits)
            && records.len() == 1
            && seen == 4
        {
            break (hops, visits, records);
        }
        let all = format!("{hops:#?} {visits:#?} {records:#?} {seen}");
        assert!(Instant::now() < end, "{all} {}", processes[0].log_tail());
        thread::sleep(Duration::from_millis(200));
    };
    processes.iter_mut().for_each(Process::terminate);
    // All records are of one time, whatever their events say.
    let all: u64 = count(&records);
    let (_, only) = records.first_key_value().unwrap();
    assert_eq!((all, &only["start"]), (4, &json!(rfc3339(start))));
    // Those of Russia are anomalies: three of the four.
    let counts: Vec<_> =
        hops.values().map(|hop| (hop["start"].clone(), hop["count"].clone())).collect();
    let hop = |seconds: i64, count: u64| (json!(rfc3339(start + seconds * 1_000)), json!(count));
    assert_eq!(counts, [hop(-40, 2), hop(-20, 3), hop(0, 3), hop(20, 1)]);
    let visit = visits.values().find(|visit| visit["key"][1] == "RU").unwrap();
    let expected = json!({
        "window": "visits", "start": rfc3339(start), "end": rfc3339(start + 55_000),
        "key": ["424cdd21-063a-43a7-b91b-7ca1a833afae", "RU"],
        "events": 3, "amount": 6, "least": -1, "greatest": 5, "mean": 2.0,
        "versions": {"count": 2, "exact": true},
        "best": {"values": [{"value": "2.0.0", "count": 2}], "exact": true},
        "final": true,
    });
    assert_eq!(*visit, expected);
}

#[test]
fn past_a_bound_of_its_state_the_pipeline_stops_and_says_which() {
    let bounds = [
        ("keys-max = 1000000", "keys-max = 2", "2 keys"),
        ("bytes-max = \"256MiB\"", "bytes-max = \"1KiB\"", "1024 bytes"),
    ];
    for (shipped, low, said) in bounds {
        let (pipeline, mut feed) = pipeline("bounds", |text| {
            assert!(text.contains(shipped));
            text.replace("by = \"/app_version\"", "by = \"/user_id\"").replace(shipped, low)
        });
        feed.send(1_000);
        feed.flush();
        let mut process = pipeline.start("a", &[]);
        process.assert_ends(LIVENESS, 1, &["window \"counts\"", said]);
    }
}

/// One transaction would not hold them: several million would not be written in the time it has.
#[test]
fn a_large_window_is_given_out_by_several_transactions_and_a_crash_among_them_changes_nothing() {
    const GROUPS: usize = 160_000;
    let (pipeline, mut feed) = pipeline("large", |text| text);
    let mut process = pipeline.start("a", &[]);
    pipeline.await_input(&mut process, SOON);
    let (start, all) = (past(), PARTITIONS as usize);
    for number in 0..GROUPS {
        let value = event("android", start).replace("2.3.0", &format!("v{number}"));
        feed.send_one((number % all) as i32, None, value.as_bytes(), start);
    }
    for partition in 0..PARTITIONS {
        send(&mut feed, partition, "android", start + 2 * MINUTE);
    }
    feed.flush();
    let client: BaseConsumer = pipeline.settings().plain(&[]).create().unwrap();
    // A topic that was just made is not known to every client at once.
    let has_any =
        |at| client.fetch_watermarks(&pipeline.results(), at, SOON).is_ok_and(|(_, end)| end > 0);
    let has_results = || (0..PARTITIONS).any(has_any);
    let end = Instant::now() + LIVENESS;
    while !has_results() {
        assert!(Instant::now() < end, "{}", process.log_tail());
    }
    process.kill();
    let mut again = [pipeline.start("a", &[])];
    let results = await_results(&pipeline, &mut again, GROUPS);
    assert_eq!(results.len(), GROUPS);
    assert!(results.values().all(|result| result["count"] == 1 && result["final"] == true));
    again[0].terminate();
    // What ends a transaction takes an offset of its own.
    let records = read_topic(&pipeline.settings(), &pipeline.results(), 1).remove(&0).unwrap();
    let ends = records.windows(2).filter(|two| two[1].offset > two[0].offset + 1).count();
    assert!(ends > 0, "all in one transaction");
}
