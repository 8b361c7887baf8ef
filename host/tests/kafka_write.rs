//! Writing to a real broker, and what brokers refuse: transactions, records that are too large,
//! copies of headers, lost replies, topics, features, passwords.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod support;

use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use host::kafka::{
    ClientSettings, Cluster, Consumer, GroupOptions, HeadersArg, KafkaError, Mode, Pair, Producer,
    Rebalance, SendError, TopicSpec, check_state_topic, ensure, exactly_once_supported,
    may_have_retried, outside_metadata, partition_for_key, reachable, remove_records,
};
use rdkafka::mocking::MockCluster;
use rdkafka::types::RDKafkaApiKey;
use support::broker::{Broker, Options};
use support::proxy::{Fault, Proxy, api};
use support::{SOON, read_topic, read_values, settings, settings_with, topic, unique};

fn transactional(settings: &ClientSettings, id: &str) -> Producer {
    let mode = Mode::Transactional { id: id.to_owned(), timeout: Duration::from_secs(10) };
    let producer = Producer::new(settings, &mode).unwrap();
    producer.init_transactions(SOON).unwrap();
    producer
}

fn send(producer: &Producer, topic: &str, values: &[&str]) {
    let handle = producer.topic(topic).unwrap();
    for value in values {
        producer
            .send(&handle, Some(0), None, Some(value.as_bytes()), HeadersArg::None, None, 0)
            .unwrap();
    }
}

#[test]
fn committed_records_are_seen_and_aborted_ones_are_not() {
    let settings = settings(&Broker::shared().brokers());
    let topic = topic(&settings, "tx", 1, &[]);
    let id = unique("tx");
    let producer = transactional(&settings, &id);
    producer.begin().unwrap();
    send(&producer, &topic, &["a", "b"]);
    producer.commit(SOON).unwrap();
    producer.begin().unwrap();
    send(&producer, &topic, &["never"]);
    producer.flush(SOON).unwrap();
    producer.abort(SOON).unwrap();
    let producer = transactional(&settings, &id);
    producer.begin().unwrap();
    send(&producer, &topic, &["c"]);
    producer.commit(SOON).unwrap();
    assert_eq!(read_values(&settings, &topic, 1), ["a", "b", "c"]);

    // Left open by a worker that died: its successor aborts it and takes its place.
    producer.begin().unwrap();
    send(&producer, &topic, &["left open"]);
    producer.flush(SOON).unwrap();
    let successor = transactional(&settings, &id);
    successor.begin().unwrap();
    send(&successor, &topic, &["d"]);
    successor.commit(SOON).unwrap();
    let fenced = producer.commit(SOON);
    assert!(matches!(fenced, Err(KafkaError::Fenced(_))), "{fenced:?}");
    assert_eq!(read_values(&settings, &topic, 1), ["a", "b", "c", "d"]);
}

#[test]
fn a_record_that_is_too_large_is_told_by_its_tag_alone() {
    let settings = settings(&Broker::shared().brokers());
    let topic = topic(&settings, "large", 1, &[("max.message.bytes", "2000")]);
    let spec =
        TopicSpec { name: topic.clone(), partitions: 1, replication: -1, configs: Vec::new() };
    let most =
        ensure(&settings, &[spec], SOON).unwrap()[0].number("max.message.bytes").unwrap() as usize;
    assert_eq!(most, 2000);
    let producer =
        Producer::new(&settings.clone().with_topic_sizes(most, most), &Mode::Idempotent).unwrap();
    let handle = producer.topic(&topic).unwrap();
    let send = |bytes: usize, tag: u64| {
        let value = vec![b'x'; bytes];
        producer.send(&handle, Some(0), None, Some(&value), HeadersArg::None, None, tag)
    };
    // Together they are more than the topic takes; each by itself is not.
    for tag in 0..20 {
        send(300, tag).unwrap();
    }
    send(5000, 77).unwrap();
    producer.flush(SOON).unwrap();
    let failures = producer.failures();
    assert_eq!(failures.iter().map(|failure| failure.tag).collect::<Vec<_>>(), [77]);
    assert!(matches!(failures[0].error, KafkaError::TooLarge(_)), "{failures:?}");
    assert_eq!(read_values(&settings, &topic, 1).len(), 20);

    // Over the client's own limit it is not even taken.
    let refused = send(2_000_000, 78);
    assert!(matches!(refused, Err(SendError::TooLarge(_))), "{refused:?}");

    // A transaction with such a record does not commit.
    let producer = transactional(&settings, &unique("tx"));
    producer.begin().unwrap();
    let handle = producer.topic(&topic).unwrap();
    producer.send(&handle, Some(0), None, Some(&[b'x'; 5000]), HeadersArg::None, None, 79).unwrap();
    let failed = producer.commit(SOON);
    assert!(failed.is_err(), "{failed:?}");
    assert_eq!(producer.failures().iter().map(|failure| failure.tag).collect::<Vec<_>>(), [79]);
}

#[test]
fn an_output_keeps_key_headers_and_timestamp_of_its_input() {
    let settings = settings(&Broker::shared().brokers());
    let (from, to) = (topic(&settings, "from", 1, &[]), topic(&settings, "to", 1, &[]));
    let producer = Producer::new(&settings, &Mode::Idempotent).unwrap();
    let handle = producer.topic(&from).unwrap();
    let headers: [Pair<'_>; 4] =
        [("a", Some(b"1")), ("a", Some(b"2")), ("none", None), ("empty", Some(b""))];
    let (key, value): (&[u8], &[u8]) = (b"key", b"value");
    let inputs = [
        (Some(key), Some(value), HeadersArg::Pairs(&headers)),
        (None, None, HeadersArg::None),
        (Some(&b""[..]), Some(&b""[..]), HeadersArg::Pairs(&[])),
    ];
    for (number, (key, value, headers)) in inputs.into_iter().enumerate() {
        let timestamp = Some(1_694_479_551_000 + number as i64);
        producer.send(&handle, Some(0), key, value, headers, timestamp, 0).unwrap();
    }
    producer.flush(SOON).unwrap();

    let output = producer.topic(&to).unwrap();
    let mut consumer =
        Consumer::new(&settings, &unique("group"), &from, &GroupOptions::default()).unwrap();
    let end = Instant::now() + SOON;
    let mut copied = 0;
    while copied < 3 {
        if let Some(Rebalance::Assigned(_)) = consumer.poll_rebalance() {
            consumer.assign(&[(0, 0)]).unwrap();
        }
        for message in consumer.fetch(10, Duration::from_millis(50)).iter() {
            let more: [Pair<'_>; 1] = [("more", Some(b"3"))];
            for headers in
                [HeadersArg::Copy(message.headers()), HeadersArg::CopyAnd(message.headers(), &more)]
            {
                producer
                    .send(
                        &output,
                        Some(0),
                        message.key,
                        message.value,
                        headers,
                        message.timestamp,
                        0,
                    )
                    .unwrap();
            }
            copied += 1;
        }
        assert!(Instant::now() < end);
    }
    producer.flush(SOON).unwrap();
    assert_eq!(producer.failures(), []);

    let before = read_topic(&settings, &from, 1).remove(&0).unwrap();
    let after = read_topic(&settings, &to, 1).remove(&0).unwrap();
    assert_eq!(after.len(), 6);
    assert_eq!(before[0].headers.len(), 4);
    assert_eq!(before[0].headers[2], ("none".to_owned(), None));
    assert_eq!(before[0].headers[3], ("empty".to_owned(), Some(Vec::new())));
    assert_eq!((&before[1].key, &before[1].value), (&None, &None));
    assert_eq!(
        (before[2].key.as_deref(), before[2].value.as_deref()),
        (Some(&b""[..]), Some(&b""[..]))
    );
    for (number, input) in before.iter().enumerate() {
        assert_eq!(input.timestamp, Some(1_694_479_551_000 + number as i64));
        let mut expected = input.clone();
        expected.offset = 2 * number as i64;
        assert_eq!(after[2 * number], expected);
        expected.offset += 1;
        expected.headers.push(("more".to_owned(), Some(b"3".to_vec())));
        assert_eq!(after[2 * number + 1], expected);
    }
}

#[test]
fn records_lie_where_java_clients_put_them() {
    let settings = settings(&Broker::shared().brokers());
    let topic = topic(&settings, "keys", 7, &[]);
    let producer = Producer::new(&settings, &Mode::Idempotent).unwrap();
    assert_eq!(producer.partition_count(&topic, SOON).unwrap(), 7);
    let handle = producer.topic(&topic).unwrap();
    for number in 0..300 {
        let key = "k".repeat(number % 11) + &number.to_string();
        producer
            .send(&handle, None, Some(key.as_bytes()), None, HeadersArg::None, None, 0)
            .unwrap();
    }
    producer.flush(SOON).unwrap();
    let records = read_topic(&settings, &topic, 7);
    assert!(records.values().all(|records| records.len() > 10));
    for record in records.into_values().flatten() {
        assert_eq!(record.partition, partition_for_key(record.key.as_ref().unwrap(), 7));
    }
    let refused = producer.send(&handle, Some(7), None, None, HeadersArg::None, None, 0);
    assert!(matches!(refused, Err(SendError::NoPartition(_))), "{refused:?}");
    let other = Producer::new(&settings, &Mode::Idempotent).unwrap();
    let refused = other.send(&handle, None, None, None, HeadersArg::None, None, 0);
    assert!(matches!(refused, Err(SendError::Failed(_))), "{refused:?}");
}

/// A broker behind a proxy, with a listener that asks for passwords.
fn proxied() -> &'static (Broker, Proxy) {
    static PROXIED: OnceLock<(Broker, Proxy)> = OnceLock::new();
    PROXIED.get_or_init(|| {
        let proxy = Proxy::bind();
        let options = Options { proxies: vec![proxy.port()], secured: true, ..Options::default() };
        let broker = Broker::start(&options);
        proxy.forward_to(broker.proxied(0));
        (broker, proxy)
    })
}

/// Faults hit whichever connection comes first, so tests that arm them take turns.
static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());

/// A commits; of B a Produce is executed, its reply is lost, B is aborted; C has as many records as
/// B. Returns what is there afterwards.
fn lose_a_reply(fresh_producer: bool) -> Vec<String> {
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let (broker, proxy) = proxied();
    let straight = settings(&broker.brokers());
    let topic = topic(&straight, "lost-reply", 1, &[]);
    // So that the records of a transaction travel as one batch.
    let settings = settings_with(&proxy.brokers(), &[("linger.ms", "30")]);
    let id = unique("tx");
    let mut producer = transactional(&settings, &id);
    producer.begin().unwrap();
    send(&producer, &topic, &["a1", "a2", "a3"]);
    producer.commit(SOON).unwrap();

    producer.begin().unwrap();
    let armed = proxy.arm(Fault::LoseReply { api: api::PRODUCE });
    send(&producer, &topic, &["b1", "b2", "b3"]);
    armed.await_cut(SOON);
    if fresh_producer {
        drop(producer);
        producer = transactional(&settings, &id);
    } else {
        producer.abort_and_keep(SOON).unwrap();
        assert_eq!(producer.failures().len(), 1, "B is given up, and the first stands for it");
    }

    producer.begin().unwrap();
    send(&producer, &topic, &["c1", "c2", "c3"]);
    // Both answer that C is committed.
    producer.commit(SOON).unwrap();
    assert_eq!(producer.failures(), []);
    read_values(&straight, &topic, 1)
}

#[test]
fn a_producer_used_again_after_an_abort_loses_what_it_committed() {
    // The control: it shows that the harness can lose records, and why `abort` takes the producer.
    assert_eq!(lose_a_reply(false), ["a1", "a2", "a3"]);
}

#[test]
fn a_fresh_producer_after_a_lost_reply_loses_nothing() {
    assert_eq!(lose_a_reply(true), ["a1", "a2", "a3", "c1", "c2", "c3"]);
}

#[test]
fn a_commit_that_held_a_retry_is_known_by_its_time() {
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let (broker, proxy) = proxied();
    let straight = settings(&broker.brokers());
    let topic = topic(&straight, "retried", 1, &[]);
    let through = settings(&proxy.brokers());
    let mut consumer =
        Consumer::new(&straight, &unique("group"), &topic, &GroupOptions::default()).unwrap();
    let end = Instant::now() + SOON;
    while !matches!(consumer.poll_rebalance(), Some(Rebalance::Assigned(_))) {
        consumer.fetch(1, Duration::from_millis(10));
        assert!(Instant::now() < end);
    }
    consumer.assign(&[(0, 0)]).unwrap();
    let group = consumer.group_metadata().unwrap();
    let producer = transactional(&through, &unique("tx"));
    for lost in [api::END_TXN, api::TXN_OFFSET_COMMIT] {
        producer.begin().unwrap();
        send(&producer, &topic, &["x"]);
        let armed = proxy.arm(Fault::LoseReply { api: lost });
        let offsets = producer.send_offsets(&[(0, 1)], &topic, &group, SOON).unwrap();
        let commit = producer.commit(SOON).unwrap();
        armed.await_cut(SOON);
        let slow = if lost == api::END_TXN { commit } else { offsets };
        assert!(may_have_retried(slow), "request {lost}: {slow:?}");
    }
    assert_eq!(read_values(&straight, &topic, 1), ["x", "x"]);
}

/// librdkafka itself would wait longer: until the connection is given up, or the group's coordinator
/// is back.
#[test]
fn offsets_without_an_answer_take_no_longer_than_they_may() {
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let (broker, _) = proxied();
    let settings = settings(&broker.brokers());
    let topic = topic(&settings, "unanswered", 1, &[]);
    let group = outside_metadata(&settings, &unique("group")).unwrap();
    let producer = transactional(&settings, &unique("tx"));
    producer.begin().unwrap();
    send(&producer, &topic, &["x"]);
    producer.flush(SOON).unwrap();
    broker.pause(0);
    let started = Instant::now();
    let sent = producer.send_offsets(&[(0, 1)], &topic, &group, Duration::from_secs(1));
    let elapsed = started.elapsed();
    broker.resume(0);
    assert!(matches!(sent, Err(KafkaError::Recover(_))), "{sent:?}");
    assert!(elapsed < Duration::from_secs(5), "{elapsed:?}");
}

#[test]
fn a_client_whose_broker_is_gone_is_dropped_at_once() {
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let (broker, proxy) = proxied();
    let topic = topic(&settings(&broker.brokers()), "away", 1, &[]);
    let through = settings(&proxy.brokers());
    let producer = transactional(&through, &unique("tx"));
    producer.begin().unwrap();
    send(&producer, &topic, &["x"]);
    proxy.set_away(true);
    let late = producer.commit(Duration::from_millis(300));
    assert!(matches!(late, Err(KafkaError::Recover(_))), "{late:?}");
    let start = Instant::now();
    drop(producer);
    assert!(start.elapsed() < Duration::from_millis(500));
    let gone = reachable(&through, Duration::from_millis(300));
    proxy.set_away(false);
    assert!(matches!(gone, Err(KafkaError::Unreachable(_))), "{gone:?}");
    reachable(&through, SOON).unwrap();
}

#[test]
fn a_refused_password_or_permission_is_told_as_such() {
    let (broker, _) = proxied();
    let secured = |user: &str, password: &str| {
        let properties = [
            ("security.protocol", "SASL_PLAINTEXT"),
            ("sasl.mechanism", "PLAIN"),
            ("sasl.username", user),
            ("sasl.password", password),
        ];
        settings_with(&broker.secured(), &properties)
    };
    let topic = topic(&settings(&broker.brokers()), "secured", 1, &[]);

    let start = Instant::now();
    let wrong = reachable(&secured("admin", "wrong"), SOON).unwrap_err();
    assert!(matches!(wrong, KafkaError::Auth(_)), "{wrong}");
    assert!(!wrong.to_string().contains("wrong"), "{wrong}");
    assert!(start.elapsed() < SOON / 2, "an answer, not the end of the time");

    let admin = secured("admin", "admin-secret");
    reachable(&admin, SOON).unwrap();
    exactly_once_supported(&admin, SOON).unwrap();
    let producer = transactional(&admin, &unique("tx"));
    producer.begin().unwrap();
    send(&producer, &topic, &["x"]);
    producer.commit(SOON).unwrap();

    let nobody = secured("nobody", "nobody-secret");
    reachable(&nobody, SOON).unwrap();
    let spec = TopicSpec { name: topic, partitions: 1, replication: -1, configs: Vec::new() };
    let refused = ensure(&nobody, &[spec], SOON).unwrap_err();
    assert!(matches!(refused, KafkaError::Auth(_)), "{refused}");
    let mode = Mode::Transactional { id: unique("tx"), timeout: Duration::from_secs(10) };
    let refused = Producer::new(&nobody, &mode).unwrap().init_transactions(SOON).unwrap_err();
    assert!(matches!(refused, KafkaError::Auth(_)), "{refused}");
}

#[test]
fn a_broker_before_2_5_is_refused_for_exactly_once() {
    exactly_once_supported(&settings(&Broker::shared().brokers()), SOON).unwrap();
    let check = |versions: &[(RDKafkaApiKey, i16)]| {
        let mock = MockCluster::new(1).unwrap();
        for (api, highest) in versions {
            mock.apiversion(*api, Some(0), Some(*highest)).unwrap();
        }
        let settings = settings(&mock.bootstrap_servers());
        reachable(&settings, SOON).unwrap();
        exactly_once_supported(&settings, SOON)
    };
    use RDKafkaApiKey::{OffsetFetch, TxnOffsetCommit};
    check(&[(TxnOffsetCommit, 3), (OffsetFetch, 7)]).unwrap();
    for old in [[(TxnOffsetCommit, 2), (OffsetFetch, 7)], [(TxnOffsetCommit, 3), (OffsetFetch, 6)]]
    {
        let refused = check(&old).unwrap_err();
        assert!(
            matches!(&refused, KafkaError::OldBroker(text) if text.contains("at-least-once")),
            "{refused}"
        );
    }
}

#[test]
fn missing_topics_are_made_once_and_existing_ones_left_alone() {
    let brokers = Broker::shared().brokers();
    let settings = settings(&brokers);
    let name = unique("ensure");
    let spec = |partitions, policy: &str| TopicSpec {
        name: name.clone(),
        partitions,
        replication: -1,
        configs: vec![("cleanup.policy".to_owned(), policy.to_owned())],
    };
    // Several processes start at the same time.
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let (settings, spec) = (settings.clone(), spec(3, "compact"));
            thread::spawn(move || ensure(&settings, &[spec], SOON).unwrap().remove(0))
        })
        .collect();
    let states: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    assert_eq!(states.iter().filter(|state| state.created).count(), 1);
    for state in &states {
        assert_eq!((state.partitions, state.setting("cleanup.policy")), (3, Some("compact")));
    }
    let again = ensure(&settings, &[spec(5, "delete")], SOON).unwrap().remove(0);
    assert_eq!(again, host::kafka::TopicState { created: false, ..states[0].clone() });
    check_state_topic(&again, 3, &brokers).unwrap();
    assert!(matches!(check_state_topic(&again, 5, &brokers), Err(KafkaError::Config(_))));

    let impossible = TopicSpec { replication: 17, ..spec(1, "delete") };
    let impossible = TopicSpec { name: unique("replicas"), ..impossible };
    let refused = ensure(&settings, &[impossible], SOON).unwrap_err();
    assert!(matches!(refused, KafkaError::Config(_)), "{refused}");
}

#[test]
fn records_that_nobody_reads_again_are_taken_out() {
    let settings = settings(&Broker::shared().brokers());
    let topic = topic(&settings, "purged", 2, &[]);
    let producer = Producer::new(&settings, &Mode::Idempotent).unwrap();
    let handle = producer.topic(&topic).unwrap();
    for partition in [0, 1].repeat(10) {
        let (value, none) = (Some(&b"v"[..]), HeadersArg::None);
        producer.send(&handle, Some(partition), None, value, none, None, 0).unwrap();
    }
    producer.flush(SOON).unwrap();
    remove_records(&settings, &topic, &[(0, 6)], SOON).unwrap();
    let cluster = Cluster::new(&settings).unwrap();
    assert_eq!(cluster.watermarks(&topic, 0, SOON).unwrap(), (6, 10));
    assert_eq!(cluster.watermarks(&topic, 1, SOON).unwrap(), (0, 10));
    let beyond = remove_records(&settings, &topic, &[(1, 11)], SOON);
    assert!(beyond.is_err(), "nothing is there to be removed");
}
