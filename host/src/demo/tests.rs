//! The embedded broker, the generator and the follower together.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use rdkafka::Message;

use super::broker::Broker;
use super::client::ConnectError;
use super::follow::{Follower, Start};
use super::generate::{Generator, Spec};
use super::send::{HoldBack, Kafka, Ready, Target, send};
use super::stop::Stop;
use super::{Demo, Progress};
use crate::kafka::ClientSettings;
use crate::worker::status::{PartitionStatus, Snapshot, WorkerStatus};

const TOPIC: &str = "user-login";
/// Far more than a mock cluster in the same process takes.
const PATIENCE: Duration = Duration::from_secs(30);

fn broker() -> (Broker, ClientSettings) {
    let broker = Broker::start(&[(TOPIC.to_owned(), 4)]).expect("a broker");
    let connection = settings(broker.address());
    (broker, connection)
}

fn settings(brokers: &str) -> ClientSettings {
    ClientSettings::new::<String, String>(brokers, []).expect("valid")
}

#[test]
fn what_is_generated_can_be_followed_from_the_beginning() {
    let (_broker, connection) = broker();
    let stop = Stop::new();
    let mut kafka = Kafka::connect(&connection, TOPIC, None, &stop).expect("connected");
    let spec = Spec { users: 0, ..Spec::default() };
    let mut generator = Generator::new(spec.clone());
    let totals = send(&mut generator, Some(3_000), None, &stop, &mut kafka, &mut |_| {});
    assert_eq!(totals.expect("sent").events, 3_000);
    kafka.finish(PATIENCE).expect("all delivered");

    let mut expected = HashSet::new();
    let mut generator = Generator::new(spec);
    for _ in 0..3_000 {
        expected.insert(generator.advance().value.to_vec());
    }
    let follower = Follower::open(&connection, TOPIC, Start::Beginning, &stop).expect("connected");
    let mut partitions = HashSet::new();
    while !expected.is_empty() {
        let message = follower.next(PATIENCE, &stop).expect("no error").expect("a record");
        let value = message.payload().expect("a value");
        assert!(expected.remove(value), "repeated or unknown: {}", String::from_utf8_lossy(value));
        partitions.insert(message.partition());
    }
    assert_eq!(partitions.len(), 4, "the keys spread over all partitions");
}

#[test]
fn the_generator_holds_back_while_the_reader_is_behind_in_one_partition() {
    let (_broker, connection) = broker();
    let stop = Stop::new();
    let next = Arc::new(AtomicI64::new(0));
    let reader = Arc::clone(&next);
    let lag_max = 10_000;
    let next_offset = Box::new(move |partition| match partition {
        2 => reader.load(Relaxed),
        _ => i64::MAX,
    });
    let hold_back = HoldBack { lag_max, next_offset };
    let mut kafka = Kafka::connect(&connection, TOPIC, Some(hold_back), &stop).expect("connected");
    let mut generator = Generator::new(Spec::default());
    assert_eq!(kafka.ready().expect("ready"), Ready::Go);
    for _ in 0..1_000 {
        assert!(kafka.send(&generator.advance(), &stop).expect("sent"));
    }
    let deadline = Instant::now() + PATIENCE;
    while kafka.delivered().records() < 1_000 {
        assert!(!stop.wait(Duration::from_millis(1)) && Instant::now() < deadline);
    }
    // 250 records or so of more than 200 bytes.
    assert_eq!(kafka.ready().expect("ready"), Ready::Hold);
    next.store(1_000, Relaxed);
    assert_eq!(kafka.ready().expect("ready"), Ready::Go);
}

#[test]
fn whoever_waits_for_an_answer_can_be_stopped() {
    let stop = Stop::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let silent = settings(&listener.local_addr().expect("an address").to_string());
    stop.stop();
    let error = Kafka::connect(&silent, TOPIC, None, &stop).err();
    assert_eq!(error.expect("nobody answers"), ConnectError::Stopped);
}

#[test]
fn a_topic_is_followed_from_its_end() {
    let (_broker, connection) = broker();
    let stop = Stop::new();
    let mut generator = Generator::new(Spec { users: 0, ..Spec::default() });
    let mut kafka = Kafka::connect(&connection, TOPIC, None, &stop).expect("connected");
    send(&mut generator, Some(100), None, &stop, &mut kafka, &mut |_| {}).expect("sent");
    kafka.finish(PATIENCE).expect("all delivered");
    let follower = Follower::open(&connection, TOPIC, Start::End, &stop).expect("connected");
    // Where the end is, is only asked for by the first fetch: send until something comes.
    let old: HashSet<Vec<u8>> = {
        let mut generator = Generator::new(Spec { users: 0, ..Spec::default() });
        (0..100).map(|_| generator.advance().value.to_vec()).collect()
    };
    let deadline = Instant::now() + PATIENCE;
    let mut kafka = Kafka::connect(&connection, TOPIC, None, &stop).expect("connected");
    loop {
        assert!(Instant::now() < deadline, "nothing came");
        send(&mut generator, Some(1), None, &stop, &mut kafka, &mut |_| {}).expect("sent");
        let next = follower.next(Duration::from_millis(20), &stop).expect("no error");
        if let Some(message) = next {
            assert!(!old.contains(message.payload().expect("a value")));
            break;
        }
    }
}

#[test]
fn a_demo_generates_holds_back_and_ends() {
    let mut demo = Demo::start(&[(TOPIC.to_owned(), 2), ("processed".to_owned(), 2)]).expect("up");
    let status = Arc::new(WorkerStatus::default());
    demo.generate(TOPIC, vec![status.clone()]).expect("generating");
    demo.show("processed", vec![status.clone()]).expect("showing");
    let stop = Stop::new();
    let follower =
        Follower::open(demo.settings(), TOPIC, Start::Beginning, &stop).expect("connected");
    for _ in 0..100 {
        follower.next(PATIENCE, &stop).expect("no error").expect("a record");
    }
    demo.stop_generating();
    demo.stop_showing();
    // Another one has the same names and nothing of the first.
    let other = Demo::start(&[(TOPIC.to_owned(), 2)]).expect("up");
    assert_ne!(other.settings().brokers(), demo.settings().brokers());
}

#[test]
fn progress_is_the_furthest_that_any_worker_has_been() {
    let publish = |next_offset| {
        let status = Arc::new(WorkerStatus::default());
        let at = PartitionStatus { next_offset, ..PartitionStatus::default() };
        let partitions = BTreeMap::from([(1, at)]);
        status.publish(Snapshot { partitions, ..Snapshot::default() });
        status
    };
    let mut progress = Progress::new(vec![publish(7), publish(40), publish(9)]);
    assert_eq!(progress.next_offset(1), 40);
    assert_eq!(progress.next_offset(0), 0);
}
