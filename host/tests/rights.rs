//! The least rights of a run, as the README lists them: with them it runs, and without any one of
//! them it ends with a sentence that names what is missing, and exit code 3.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod support;

use std::sync::OnceLock;
use std::time::Duration;

use chrono::Utc;
use host::demo::generate::{Mix, Spec};
use support::broker::{Broker, Options};
use support::comparison::Promise;
use support::feed::Feed;
use support::pipeline::Pipeline;
use support::process::Process;
use support::rights::{Kind, Operation, Pattern, Right, allow};

/// From a start on a busy machine to everything committed, or to giving up.
const LIVENESS: Duration = Duration::from_secs(60);
/// Enough for each kind of output, in one transaction or a few.
const EVENTS: u64 = 2_000;

fn broker() -> &'static Broker {
    static BROKER: OnceLock<Broker> = OnceLock::new();
    BROKER.get_or_init(|| Broker::start(&Options { secured: true, ..Options::default() }))
}

/// Some of them invalid, some late, over more than one window.
fn feed(pipeline: &Pipeline) {
    let mix = Mix {
        invalid: 0.01,
        late: 0.05,
        late_by: Duration::from_secs(300),
        jitter: Duration::from_secs(3),
        ..Mix::default()
    };
    let rate = 5;
    let start_ms = Utc::now().timestamp_millis() - (EVENTS * 1_000 / u64::from(rate)) as i64;
    let mut feed = Feed::new(pipeline, Spec { seed: 1, start_ms, rate, mix, ..Spec::default() });
    feed.send(EVENTS);
    feed.finish();
}

/// The topics of a pipeline that are written to, with those that are read as well last.
fn outputs(pipeline: &Pipeline) -> [String; 7] {
    let name = &pipeline.name;
    let late = format!("{name}-late");
    let [repartition, progress, state] = own(pipeline);
    let results = pipeline.results();
    [pipeline.processed(), pipeline.dead_letters(), late, results, repartition, progress, state]
}

/// The windows' own topics.
fn own(pipeline: &Pipeline) -> [String; 3] {
    [pipeline.repartition(), format!("{}-progress", pipeline.name), pipeline.state()]
}

/// What the README lists, but for what it says can be done without.
fn least(pipeline: &Pipeline) -> Vec<Right> {
    let name = &pipeline.name;
    let mut rights = vec![
        Right::new(Operation::Read, Kind::Topic, name),
        Right::new(Operation::Read, Kind::Group, name),
        Right::new(Operation::Read, Kind::Group, &format!("{name}-windows")),
    ];
    rights.extend(own(pipeline).map(|it| Right::new(Operation::Read, Kind::Topic, &it)));
    rights.extend(outputs(pipeline).map(|it| Right::new(Operation::Write, Kind::Topic, &it)));
    rights.push(identity(pipeline));
    rights
}

/// That of every worker of instance `a`.
fn identity(pipeline: &Pipeline) -> Right {
    let ids = format!("{}/a/", pipeline.name);
    let write = Right::new(Operation::Write, Kind::TransactionalId, &ids);
    Right { pattern: Pattern::Prefixed, ..write }
}

fn with_topics(name: &str) -> Pipeline {
    let pipeline = Pipeline::with_input(name, &broker().brokers(), |text| text);
    for topic in outputs(&pipeline) {
        let is_state = topic.ends_with("-progress") || topic.ends_with("-windows");
        let compacted = [("cleanup.policy", "compact")];
        pipeline.make_topic(&topic, if is_state { &compacted } else { &[] });
    }
    pipeline
}

fn start(pipeline: &Pipeline, rights: &[Right], more: &[&str]) -> Process {
    allow(&broker().brokers(), "least", rights);
    let properties = [
        "security.protocol=SASL_PLAINTEXT",
        "sasl.mechanisms=PLAIN",
        "sasl.username=least",
        "sasl.password=least-secret",
    ];
    let mut all: Vec<&str> = properties.iter().flat_map(|one| ["-X", one]).collect();
    all.extend(more);
    pipeline.start_with("a", &broker().secured(), &[], &all)
}

fn runs(pipeline: &Pipeline, rights: &[Right], more: &[&str], promise: Promise) {
    feed(pipeline);
    let mut processes = [start(pipeline, rights, more)];
    pipeline.await_end(&mut processes, LIVENESS);
    processes[0].terminate();
    pipeline.differences(promise).assert_none();
}

#[test]
fn the_least_rights_are_enough() {
    let pipeline = with_topics("least");
    runs(&pipeline, &least(&pipeline), &[], Promise::ExactlyOnce);
}

#[test]
fn topics_that_are_missing_need_create_and_sizes_describe_configs() {
    let pipeline = Pipeline::with_input("create", &broker().brokers(), |text| text);
    let mut rights = least(&pipeline);
    for topic in outputs(&pipeline) {
        rights.push(Right::new(Operation::Create, Kind::Topic, &topic));
        rights.push(Right::new(Operation::DescribeConfigs, Kind::Topic, &topic));
    }
    runs(&pipeline, &rights, &[], Promise::ExactlyOnce);
}

#[test]
fn at_least_once_needs_no_transactional_id() {
    let pipeline = with_topics("simple");
    let mut rights = least(&pipeline);
    rights.retain(|right| right.kind != Kind::TransactionalId);
    runs(&pipeline, &rights, &["--delivery", "at-least-once"], Promise::AtLeastOnce);
}

const DELIVERIES: [&str; 2] = ["exactly-once", "at-least-once"];

/// Takes one right away, and leaves `instead` of it: the log must end with a sentence that says what
/// could not be done with the resource.
#[track_caller]
fn check_missing(taken: &Right, pipeline: &Pipeline, instead: &[Operation], delivery: &str) {
    let mut rights = least(pipeline);
    let at = rights.iter().position(|right| right == taken).expect("it is one of the least");
    rights.remove(at);
    rights.extend(instead.iter().map(|it| Right { operation: *it, ..taken.clone() }));
    let mut process = start(pipeline, &rights, &["--delivery", delivery]);
    process.assert_ends(LIVENESS, 3, &[]);
    let log = process.log();
    let sentence = log.lines().rfind(|line| line.starts_with("error: ")).unwrap_or_default();
    let kinds: &[&str] = match taken.kind {
        Kind::Topic => &["topic", "writing to"],
        Kind::Group => &["group"],
        Kind::TransactionalId => &["transactional id"],
    };
    let is_named = kinds.iter().any(|kind| sentence.contains(&format!("{kind} {}", taken.name)));
    assert!(is_named, "{taken:?} is not named: {log}");
    assert!(sentence.to_lowercase().contains("authorization failed"), "{log}");
}

#[test]
fn a_missing_right_on_the_source_is_named() {
    for (instead, delivery) in [(&[][..], DELIVERIES[0]), (&[Operation::Describe], DELIVERIES[1])] {
        let pipeline = with_topics("source");
        let read = Right::new(Operation::Read, Kind::Topic, &pipeline.name);
        check_missing(&read, &pipeline, instead, delivery);
    }
}

#[test]
fn a_missing_right_on_the_group_is_named() {
    for (instead, delivery) in [(&[][..], DELIVERIES[0]), (&[Operation::Describe], DELIVERIES[1])] {
        let pipeline = with_topics("group");
        let read = Right::new(Operation::Read, Kind::Group, &pipeline.name);
        check_missing(&read, &pipeline, instead, delivery);
    }
}

#[test]
fn a_missing_right_on_the_transactional_id_is_named() {
    for instead in [&[][..], &[Operation::Describe]] {
        let pipeline = with_topics("identity");
        check_missing(&identity(&pipeline), &pipeline, instead, DELIVERIES[0]);
    }
}

#[test]
fn a_missing_right_on_an_output_is_named() {
    // The state may be read, and so described.
    for place in 0..5 {
        let pipeline = with_topics("output");
        feed(&pipeline);
        let write = Right::new(Operation::Write, Kind::Topic, &outputs(&pipeline)[place]);
        check_missing(&write, &pipeline, &[Operation::Describe], DELIVERIES[0]);
    }
}

#[test]
fn at_least_once_names_a_missing_right_on_an_output_as_well() {
    let pipeline = with_topics("written");
    feed(&pipeline);
    let write = Right::new(Operation::Write, Kind::Topic, &pipeline.processed());
    check_missing(&write, &pipeline, &[Operation::Describe], DELIVERIES[1]);
}

/// It is read when there is some: at the next start.
#[test]
fn a_missing_right_on_the_state_is_named() {
    let pipeline = with_topics("state");
    feed(&pipeline);
    let mut processes = [pipeline.start("a", &[])];
    pipeline.await_end(&mut processes, LIVENESS);
    processes[0].terminate();
    let read = Right::new(Operation::Read, Kind::Topic, &pipeline.state());
    check_missing(&read, &pipeline, &[Operation::Describe], DELIVERIES[0]);
}
