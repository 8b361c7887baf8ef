//! Reading from a real broker: batches, rebalances, seeks, committed offsets, restoring.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use host::kafka::{
    ClientSettings, Cluster, Consumer, GroupOptions, HeadersArg, KafkaError, Mode, Producer,
    Rebalance, Restored, StateReader, commit_offsets, committed_offsets, members,
};
use support::broker::Broker;
use support::{SOON, settings, topic, unique};

/// Numbered records, explicit partitions, round robin.
fn fill(settings: &ClientSettings, topic: &str, partitions: i32, each: i64) {
    let producer = Producer::new(settings, &Mode::Idempotent).unwrap();
    let handle = producer.topic(topic).unwrap();
    for number in 0..each {
        for partition in 0..partitions {
            let value = number.to_string();
            producer
                .send(
                    &handle,
                    Some(partition),
                    None,
                    Some(value.as_bytes()),
                    HeadersArg::None,
                    None,
                    0,
                )
                .unwrap();
        }
    }
    producer.flush(SOON).unwrap();
    assert_eq!(producer.failures(), []);
}

fn join(settings: &ClientSettings, group: &str, topic: &str) -> Consumer {
    Consumer::new(settings, group, topic, &GroupOptions::default()).unwrap()
}

/// A member of a group that commits what it processed when it gives a partition up.
struct Reader {
    consumer: Consumer,
    next: BTreeMap<i32, i64>,
    rebalances: usize,
}

impl Reader {
    fn new(settings: &ClientSettings, group: &str, topic: &str) -> Self {
        Reader { consumer: join(settings, group, topic), next: BTreeMap::new(), rebalances: 0 }
    }

    /// Answers what the group wants.
    fn serve(&mut self) {
        while let Some(event) = self.consumer.poll_rebalance() {
            self.rebalances += 1;
            match event {
                Rebalance::Assigned(partitions) => {
                    let committed = self.consumer.committed(&partitions, SOON).unwrap();
                    let from: Vec<(i32, i64)> =
                        committed.into_iter().map(|(p, offset)| (p, offset.unwrap_or(0))).collect();
                    self.consumer.assign(&from).unwrap();
                    self.next.extend(from);
                }
                Rebalance::Revoked(partitions) => {
                    let done: Vec<(i32, i64)> =
                        partitions.iter().map(|p| (*p, self.next[p])).collect();
                    self.consumer.commit_sync(&done, SOON).unwrap();
                    self.consumer.unassign(&partitions).unwrap();
                    self.next.retain(|partition, _| !partitions.contains(partition));
                }
                // Also a record that came in beside the batch.
                other => panic!("not expected here: {other:?}"),
            }
        }
    }

    /// Reads a batch, and returns how many records there were.
    fn read(&mut self, seen: &mut BTreeMap<i32, i64>) -> usize {
        let batch = self.consumer.fetch(150, Duration::from_millis(10));
        assert!(batch.errors().is_empty(), "{:?}", batch.errors());
        for message in batch.iter() {
            let next = self.next.get_mut(&message.partition).expect("read by its owner only");
            let expected = seen.entry(message.partition).or_default();
            assert_eq!(message.offset, *expected, "partition {}", message.partition);
            assert_eq!(message.value, Some(message.offset.to_string().as_bytes()));
            *expected += 1;
            *next = *expected;
        }
        batch.len()
    }

    /// Throws away what is queued and starts at what is processed.
    fn rewind(&mut self) {
        let offsets: Vec<(i32, i64)> = self.next.iter().map(|(p, next)| (*p, *next)).collect();
        self.consumer.seek(&offsets, SOON).unwrap();
    }
}

#[test]
fn nothing_is_lost_repeated_or_reordered_by_rebalance_seek_and_revoke_with_messages_queued() {
    const EACH: i64 = 6000;
    let settings = settings(&Broker::shared().brokers());
    let topic = topic(&settings, "read", 4, &[]);
    fill(&settings, &topic, 4, EACH);
    let group = unique("group");
    let mut seen = BTreeMap::new();
    let mut first = Reader::new(&settings, &group, &topic);
    let end = Instant::now() + SOON;
    let total = |seen: &BTreeMap<i32, i64>| seen.values().sum::<i64>();

    // Alone, with seeks while the queue is full.
    for round in 0.. {
        first.serve();
        first.read(&mut seen);
        if round % 5 == 4 {
            first.rewind();
        }
        if total(&seen) > EACH {
            break;
        }
        assert!(Instant::now() < end, "{seen:?}");
    }
    // A second one takes half of it while messages are queued, and reads.
    let mut second = Reader::new(&settings, &group, &topic);
    let before = total(&seen);
    while second.next.len() < 2 || total(&seen) < before + EACH / 2 {
        first.serve();
        second.serve();
        first.read(&mut seen);
        second.read(&mut seen);
        assert!(Instant::now() < end, "{seen:?}");
    }
    assert_eq!(first.next.len(), 2);
    // It leaves, with what it processed committed, and the first one reads to the end.
    let done: Vec<(i32, i64)> = second.next.iter().map(|(p, next)| (*p, *next)).collect();
    second.consumer.commit_sync(&done, SOON).unwrap();
    assert!(second.consumer.close().wait(SOON));
    while total(&seen) < 4 * EACH {
        first.serve();
        first.read(&mut seen);
        assert!(Instant::now() < end, "{seen:?}");
    }
    assert!(first.rebalances >= 3, "{}", first.rebalances);
    assert_eq!(seen, (0..4).map(|partition| (partition, EACH)).collect());
    assert_eq!(first.read(&mut seen), 0);
}

#[test]
fn a_rebalance_at_the_end_of_a_partition_skips_nothing() {
    let settings = settings(&Broker::shared().brokers());
    let topic = topic(&settings, "at-end", 2, &[]);
    fill(&settings, &topic, 2, 3);
    let group = unique("group");
    let mut first = Reader::new(&settings, &group, &topic);
    let mut seen = BTreeMap::new();
    let mut ends = BTreeMap::new();
    let end = Instant::now() + SOON;
    while ends.len() < 2 {
        first.serve();
        let batch = first.consumer.fetch(150, Duration::from_millis(10));
        for message in batch.iter() {
            seen.insert(message.partition, message.offset + 1);
            first.next.insert(message.partition, message.offset + 1);
        }
        ends.extend(batch.ends().iter().copied());
        assert!(Instant::now() < end, "{ends:?}");
    }
    assert_eq!(ends, BTreeMap::from([(0, 3), (1, 3)]));
    let mut second = Reader::new(&settings, &group, &topic);
    while second.next.is_empty() {
        first.serve();
        second.serve();
        first.read(&mut seen);
        second.read(&mut seen);
        assert!(Instant::now() < end, "{seen:?}");
    }
    assert_eq!((first.next.len(), second.next.len()), (1, 1));
    // `Reader::read` compares every offset and value.
    let producer = Producer::new(&settings, &Mode::Idempotent).unwrap();
    let handle = producer.topic(&topic).unwrap();
    for number in 3..6 {
        for partition in 0..2 {
            let value = number.to_string();
            let value = Some(value.as_bytes());
            producer
                .send(&handle, Some(partition), None, value, HeadersArg::None, None, 0)
                .unwrap();
        }
    }
    producer.flush(SOON).unwrap();
    while seen != BTreeMap::from([(0, 6), (1, 6)]) {
        first.serve();
        second.serve();
        first.read(&mut seen);
        second.read(&mut seen);
        assert!(Instant::now() < end, "{seen:?}");
    }
}

/// The first assignment of a consumer that is alone.
fn assigned(consumer: &mut Consumer) -> Vec<i32> {
    let end = Instant::now() + SOON;
    loop {
        match consumer.poll_rebalance() {
            Some(Rebalance::Assigned(partitions)) => return partitions,
            Some(other) => panic!("not expected here: {other:?}"),
            None => {
                assert!(Instant::now() < end, "no assignment");
                consumer.fetch(1, Duration::from_millis(10));
            }
        }
    }
}

#[test]
fn a_member_knows_its_id_and_offsets_are_set_only_while_the_group_is_empty() {
    let settings = settings(&Broker::shared().brokers());
    let topic = topic(&settings, "member", 2, &[]);
    let group = unique("group");
    assert_eq!(members(&settings, &group, SOON).unwrap(), []);

    let mut consumer = join(&settings, &group, &topic);
    assert_eq!(consumer.member_id(), None);
    let partitions = assigned(&mut consumer);
    consumer.assign(&[(0, 0), (1, 0)]).unwrap();
    assert_eq!(partitions, [0, 1]);
    let id = consumer.member_id().unwrap();
    let present = members(&settings, &group, SOON).unwrap();
    assert_eq!(present.iter().map(|member| &member.id).collect::<Vec<_>>(), [&id]);

    let refused = commit_offsets(&settings, &group, &topic, &[(0, 7)], SOON).unwrap_err();
    assert!(
        matches!(&refused, KafkaError::Config(text) if text.contains("stop them first")),
        "{refused}"
    );

    assert!(consumer.close().wait(SOON));
    commit_offsets(&settings, &group, &topic, &[(0, 7), (1, 8)], SOON).unwrap();
    let committed = committed_offsets(&settings, &group, &topic, &[0, 1, 9], SOON).unwrap();
    assert_eq!(committed, [(0, Some(7)), (1, Some(8)), (9, None)]);

    let mut again = join(&settings, &group, &topic);
    assigned(&mut again);
    assert_ne!(again.member_id().unwrap(), id);
}

#[test]
fn dropping_a_consumer_whose_event_nobody_answered_ends() {
    let settings = settings(&Broker::shared().brokers());
    let topic = topic(&settings, "drop", 1, &[]);
    let mut consumer = join(&settings, &unique("group"), &topic);
    assigned(&mut consumer);
    let start = Instant::now();
    let closing = consumer.close();
    assert!(start.elapsed() < Duration::from_secs(1));
    assert!(closing.wait(SOON));
}

#[test]
fn committed_offsets_wait_for_the_transaction_that_moves_them() {
    let settings = settings(&Broker::shared().brokers());
    let topic = topic(&settings, "stable", 1, &[]);
    let group = unique("group");
    let mut consumer = join(&settings, &group, &topic);
    assigned(&mut consumer);
    consumer.assign(&[(0, 0)]).unwrap();
    let producer = transactional(&settings, &unique("tx"));
    producer.begin().unwrap();
    producer.send_offsets(&[(0, 42)], &topic, &consumer.group_metadata().unwrap(), SOON).unwrap();

    let early = consumer.committed(&[0], Duration::from_millis(300));
    assert!(matches!(early, Err(KafkaError::Recover(_))), "{early:?}");
    producer.commit(SOON).unwrap();
    assert_eq!(consumer.committed(&[0], SOON).unwrap(), [(0, Some(42))]);
}

#[test]
fn an_offset_that_is_not_there_is_an_error_and_not_a_jump() {
    let settings = settings(&Broker::shared().brokers());
    let topic = topic(&settings, "gone", 1, &[]);
    fill(&settings, &topic, 1, 3);
    let mut consumer = join(&settings, &unique("group"), &topic);
    assigned(&mut consumer);
    consumer.assign(&[(0, 1000)]).unwrap();
    let end = Instant::now() + SOON;
    loop {
        consumer.poll_rebalance();
        let batch = consumer.fetch(10, Duration::from_millis(20));
        assert_eq!(batch.len(), 0);
        if let Some((partition, error)) = batch.errors().first() {
            assert_eq!(*partition, 0);
            assert!(matches!(error, KafkaError::OffsetGone(_)), "{error}");
            break;
        }
        assert!(Instant::now() < end, "no error");
    }
    assert_eq!(consumer.watermarks(0, SOON).unwrap(), (0, 3));
    let at_start = consumer.offsets_for_time(&[0], 0, SOON).unwrap();
    assert_eq!(at_start, [(0, Some(0))]);
    let later = consumer.offsets_for_time(&[0], 4_000_000_000_000, SOON).unwrap();
    assert_eq!(later, [(0, None)]);
}

fn transactional(settings: &ClientSettings, id: &str) -> Producer {
    let mode = Mode::Transactional { id: id.to_owned(), timeout: Duration::from_secs(10) };
    let producer = Producer::new(settings, &mode).unwrap();
    producer.init_transactions(SOON).unwrap();
    producer
}

fn write(producer: &Producer, topic: &str, values: &[&str]) {
    let handle = producer.topic(topic).unwrap();
    for value in values {
        let (key, value) = (Some(value.as_bytes()), Some(value.as_bytes()));
        producer.send(&handle, Some(0), key, value, HeadersArg::None, None, 0).unwrap();
    }
    producer.flush(SOON).unwrap();
}

type Answer = (Result<Restored, KafkaError>, Vec<String>);

/// Restores partition 0 in a thread of its own.
fn restore(settings: &ClientSettings, topic: &str) -> (mpsc::Receiver<Answer>, Arc<AtomicBool>) {
    let (sender, receiver) = mpsc::channel();
    let stop = Arc::new(AtomicBool::new(false));
    let (settings, topic, flag) = (settings.clone(), topic.to_owned(), stop.clone());
    thread::spawn(move || {
        let mut reader = StateReader::new(&settings, &unique("group"), &topic).unwrap();
        let mut values = Vec::new();
        let done = reader.read(0, SOON, &flag, |message| {
            values.push(String::from_utf8(message.value.unwrap().to_vec()).unwrap());
        });
        sender.send((done, values)).unwrap();
    });
    (receiver, stop)
}

#[test]
fn a_restore_waits_for_open_transactions_and_reads_past_their_markers() {
    let settings = settings(&Broker::shared().brokers());
    let topic = topic(&settings, "state", 1, &[("cleanup.policy", "compact")]);
    let (empty, _) = restore(&settings, &topic);
    let (done, values) = empty.recv_timeout(SOON).unwrap();
    assert_eq!((done.unwrap(), values.len()), (Restored::default(), 0));

    let old = transactional(&settings, &unique("tx"));
    old.begin().unwrap();
    write(&old, &topic, &["a", "b", "c"]);
    old.commit(SOON).unwrap();

    // A commit that its successor must see is not finished yet: the stable end is before it.
    let slow = transactional(&settings, &unique("tx"));
    slow.begin().unwrap();
    write(&slow, &topic, &["d", "e"]);
    let (waiting, _) = restore(&settings, &topic);
    let early = waiting.recv_timeout(Duration::from_millis(700));
    assert_eq!(early.map(|(_, values)| values), Err(RecvTimeoutError::Timeout));
    // What a restore would end with that asks for the end as a reader of committed records.
    let (_, stable) = Cluster::new(&settings).unwrap().watermarks(&topic, 0, SOON).unwrap();
    assert_eq!(stable, 4, "three records and a marker");
    slow.commit(SOON).unwrap();
    let (done, values) = waiting.recv_timeout(SOON).unwrap();
    assert_eq!(values, ["a", "b", "c", "d", "e"]);
    // Five records and two commit markers.
    assert_eq!(done.unwrap(), Restored { records: 5, bytes: 10, end: 7 });

    // What is aborted does not count; the stop flag ends the wait.
    let doomed = transactional(&settings, &unique("tx"));
    doomed.begin().unwrap();
    write(&doomed, &topic, &["x"]);
    let (stopped, stop) = restore(&settings, &topic);
    assert_eq!(stopped.recv_timeout(Duration::from_millis(300)), Err(RecvTimeoutError::Timeout));
    stop.store(true, Ordering::Relaxed);
    let (done, _) = stopped.recv_timeout(Duration::from_secs(3)).unwrap();
    assert!(matches!(done, Err(KafkaError::Stopped(_))), "{done:?}");
    doomed.abort(SOON).unwrap();
    let (after, _) = restore(&settings, &topic);
    let (done, values) = after.recv_timeout(SOON).unwrap();
    assert_eq!((values.len(), done.unwrap().end), (5, 9));
}
