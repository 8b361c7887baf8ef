//! The failure path of a worker, as far as it needs no broker.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::frontier::SharedFrontier;
use super::purge::Merged;
use super::reader::Hop;
use super::run::{Common, Held, Worker};
use super::*;
use crate::chain::Chain;
use crate::kafka::ClientSettings;

/// Work that nobody does: nothing listens where its broker should be.
pub(super) fn job() -> Job {
    let out = |name: &str| OutTopic {
        name: name.to_owned(),
        partitions: 1,
        message_bytes_max: 1_000_000,
    };
    let none: [(&str, &str); 0] = [];
    Job {
        client: ClientSettings::new("127.0.0.1:1", none).expect("no properties"),
        group: "group".into(),
        identity: "pipeline/instance".into(),
        reset_command: "host reset --brokers b:1".into(),
        input: "input".into(),
        input_partitions: 1,
        start: Start::Latest,
        on_expired: OnExpired::Stop,
        delivery: Delivery::ExactlyOnce,
        commit_interval: Duration::from_millis(200),
        transaction_timeout: Duration::from_millis(1),
        batching: Batching { records: 1, bytes: 1, wait: Duration::ZERO },
        sink: out("sink"),
        stamp: false,
        further: Vec::new(),
        dead_letters: out("dead-letters"),
        late: out("late"),
        windows: Vec::new(),
        hops: None,
    }
}

/// A worker that has not asked its broker anything.
fn worker(job: Job, stop: &Stop) -> Worker {
    let chain = Chain::new(Vec::new(), Vec::new(), crate::chain::Limits::default());
    let (events, _) = std::sync::mpsc::channel();
    let chain = chain.expect("no stages have no problems");
    let offers = Arc::new(Offers::fixed("hash", vec![chain]));
    let common = Common {
        stop: stop.clone(),
        events,
        offers,
        pause: Pause::default(),
        frontier: SharedFrontier::default(),
        merged: Merged::default(),
    };
    Worker::new(Arc::new(job), 0, Arc::default(), common)
}

#[test]
fn being_fenced_points_to_another_process_only_while_the_transaction_is_young() {
    let mut worker = worker(job(), &Stop::default());
    let fenced = || Failure::Fenced("fenced".into());
    assert!(matches!(worker.explained(fenced()), Failure::Fenced(_)));
    worker.uncommitted_since = Instant::now().checked_sub(Duration::from_millis(1));
    assert!(worker.uncommitted_since.is_some());
    assert!(matches!(worker.explained(fenced()), Failure::Recover(_)));
}

#[test]
fn nothing_of_a_failed_transaction_is_left_and_its_partitions_are_to_be_taken_over_again() {
    let mut worker = worker(job(), &Stop::default());
    worker.uncommitted_since = Some(Instant::now());
    worker.tally.records_in = 7;
    let held = Held { next_offset: 7, end_offset: 7, is_touched: true, ..Held::default() };
    worker.held.insert(3.into(), held);
    worker.drop_uncommitted();
    assert!(worker.held.is_empty() && worker.uncommitted_since.is_none());
    assert_eq!((worker.adrift.as_slice(), worker.tally.records_in), (&[3.into()][..], 0));
}

#[test]
fn a_last_commit_that_fails_is_not_called_committed() {
    let stop = Stop::default();
    let idle = worker(job(), &stop);
    let mut busy = worker(Job { delivery: Delivery::AtLeastOnce, ..job() }, &stop);
    busy.begin().expect("it asks no broker");
    // Its partitions would be another's by now, so nothing may be committed.
    busy.held.insert(3.into(), Held { is_touched: true, ..Held::default() });
    let reader = busy.readers.join(&busy.job, Hop::First).expect("it asks no broker");
    reader.member = Some("another member".into());
    stop.raise();
    assert_eq!(idle.run().expect("it was asked to"), Left::Committed);
    assert_eq!(busy.run().expect("it was asked to"), Left::Uncommitted);
}
