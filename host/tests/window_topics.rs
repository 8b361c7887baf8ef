//! The topics between and behind the windows' two hops: made with what they need, and refused where they
//! would lose counts.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod support;

use std::time::Duration;

use host::demo::generate::Spec;
use host::kafka::{HeadersArg, Mode, Producer, TopicSpec, ensure, remove_records};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use support::SOON;
use support::broker::Broker;
use support::feed::Feed;
use support::pipeline::{PARTITIONS, Pipeline};

/// From a start on a busy machine to everything committed.
const LIVENESS: Duration = Duration::from_secs(60);
const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

fn pipeline(name: &str, change: impl FnOnce(String) -> String) -> Pipeline {
    Pipeline::with_input(name, &Broker::shared().brokers(), change)
}

#[test]
fn they_are_made_with_what_they_need() {
    let pipeline = pipeline("made", |text| text);
    let mut process = pipeline.start("a", &[]);
    pipeline.await_input(&mut process, SOON);
    process.terminate();
    let topic = |name: String| TopicSpec { name, partitions: 1, replication: -1, configs: vec![] };
    let progress = format!("{}-progress", pipeline.name);
    let names = [pipeline.repartition(), pipeline.state(), progress].map(topic);
    let states = ensure(&pipeline.settings(), &names, SOON).unwrap();
    assert!(states.iter().all(|state| state.partitions == PARTITIONS && !state.created));
    let (repartition, compacted) = states.split_first().unwrap();
    assert_eq!(repartition.setting("cleanup.policy"), Some("delete"));
    assert_eq!(repartition.number("retention.ms"), Some(7 * DAY_MS));
    assert_eq!(repartition.number("retention.bytes"), Some(-1));
    for state in compacted {
        assert_eq!(state.setting("cleanup.policy"), Some("compact"), "{}", state.name);
        // Or a restore reads what was final a day ago.
        assert_eq!(state.number("delete.retention.ms"), Some(600_000));
        assert_eq!(state.number("segment.ms"), Some(600_000));
        assert_eq!(state.number("segment.bytes"), Some(16 << 20));
        assert_eq!(state.setting("min.cleanable.dirty.ratio"), Some("0.1"));
    }
}

#[test]
fn a_repartition_topic_that_would_lose_counts_is_refused() {
    for (key, value, mended) in [
        ("cleanup.policy", "compact", "cleanup.policy=delete"),
        ("retention.ms", "3600000", "retention.ms=604800000"),
        ("retention.bytes", "1000000", "retention.bytes=-1"),
    ] {
        let pipeline = pipeline("lossy", |text| text);
        pipeline.make_topic(&pipeline.repartition(), &[(key, value)]);
        let mut process = pipeline.start("a", &[]);
        let found = format!("has {key}={value}");
        let mend = format!("--add-config {mended}");
        process.assert_ends(LIVENESS, 2, &[&found, "would lose counts", &mend]);
    }
}

/// What may be skipped of the input says nothing of counts: a window would be final, and too low.
#[test]
fn counts_that_are_gone_before_they_were_merged_stop_the_pipeline() {
    let pipeline =
        pipeline("gone", |text| text.replace("on-expired = \"stop\"", "on-expired = \"skip\""));
    let mut feed = Feed::new(&pipeline, Spec::default());
    feed.send(1_000);
    feed.flush();
    let mut processes = [pipeline.start("a", &[])];
    pipeline.await_end(&mut processes, LIVENESS);
    processes[0].terminate();
    // One more than is merged, which goes as retention would let it.
    let settings = pipeline.settings();
    let producer = Producer::new(&settings, &Mode::Idempotent).unwrap();
    let topic = producer.topic(&pipeline.repartition()).unwrap();
    producer.send(&topic, Some(0), None, Some(b"{}"), HeadersArg::None, None, 0).unwrap();
    producer.flush(SOON).unwrap();
    let client: BaseConsumer = settings.plain(&[]).create().unwrap();
    let (_, end) = client.fetch_watermarks(&pipeline.repartition(), 0, SOON).unwrap();
    remove_records(&settings, &pipeline.repartition(), &[(0, end)], SOON).unwrap();
    let mut again = pipeline.start("a", &[]);
    again.assert_ends(LIVENESS, 1, &["counts are lost with them", "host reset"]);
}
