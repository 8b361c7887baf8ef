//! What a worker writes: one producer with its topics, and the calls that make a commit.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::control::Control;
use super::dead_letter::{Letter, Why};
use super::failure::Failure;
use super::job::{Delivery, HopTopics, Job, OutTopic};
use super::poison::{Cut, Tag};
use super::status::WorkerStatus;
use super::stop::Stop;
use crate::kafka::{
    DeliveryFailure, GroupMetadata, HeadersArg, KafkaError, Message, Mode, Producer, RetryWatch,
    SendError, TopicHandle, partition_for_key,
};
use crate::window::{LateRow, Records};

/// How long one call to the brokers may take; below the transaction's own timeout, so that the
/// broker does not give it up first.
const CALL: Duration = Duration::from_secs(8);
/// How long one record may be held up by a full queue: well below the time that a worker may make
/// no step, since the next record may have to wait as well.
const QUEUE_FULL_MAX: Duration = Duration::from_secs(15);
/// The same once a stop is asked for, counted from then: the rest of its ten seconds is for leaving.
const QUEUE_FULL_STOPPING_MAX: Duration = Duration::from_secs(2);

/// How long a transaction that failed while it was written to may take to say which record it was.
const REPORTS: Duration = Duration::from_millis(200);

/// One record to write.
pub struct Out<'a> {
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: HeadersArg<'a>,
    pub timestamp: Option<i64>,
    pub tag: u64,
}

/// A topic with its handle.
struct Target {
    handle: TopicHandle,
    partitions: i32,
}

impl Target {
    fn open(producer: &Producer, topic: &OutTopic) -> Result<Self, KafkaError> {
        Ok(Self { handle: producer.topic(&topic.name)?, partitions: topic.partitions })
    }

    /// Where a record goes: by its key as Java clients do it, else where its input was.
    fn partition(&self, key: Option<&[u8]>, input_partition: i32) -> i32 {
        match key {
            Some(key) => partition_for_key(key, self.partitions),
            None => input_partition % self.partitions,
        }
    }
}

/// The topics between and behind the windows' hops.
struct Hops {
    repartition: Target,
    progress: Target,
    state: Target,
}

/// A producer in use. Dropped whole after any failure.
pub struct Sink {
    producer: Producer,
    delivery: Delivery,
    sink: Target,
    further: Vec<Target>,
    dead_letters: Target,
    late: Target,
    /// The results of each window.
    windows: Vec<Target>,
    hops: Option<Hops>,
    input: Arc<str>,
    stop: Stop,
    status: Arc<WorkerStatus>,
}

/// Offsets (the next to read) of a topic, to be committed in the name of a group.
pub struct GroupOffsets<'a> {
    pub topic: &'a str,
    pub offsets: Vec<(i32, i64)>,
    pub group: GroupMetadata,
}

/// What a commit took.
pub struct Committed {
    /// Whether a request may have been sent twice, so that this producer must not begin another
    /// transaction (delivery rule 9).
    pub may_have_retried: bool,
}

impl Sink {
    /// Makes a producer and, exactly-once, fences every other one with this worker's id and ends
    /// the transaction that it left open.
    pub fn open(
        job: &Job,
        worker: usize,
        stop: &Stop,
        status: &Arc<WorkerStatus>,
    ) -> Result<Self, KafkaError> {
        let mode = match job.delivery {
            Delivery::ExactlyOnce => Mode::Transactional {
                id: format!("{}/{worker}", job.identity),
                timeout: job.transaction_timeout,
            },
            Delivery::AtLeastOnce => Mode::Idempotent,
        };
        let producer = Producer::new(&job.client, &mode)?;
        if job.delivery == Delivery::ExactlyOnce {
            let until = Instant::now() + CALL;
            stop.retry(until, || producer.init_transactions(CALL))?;
        }
        let open = |topic: &OutTopic| Target::open(&producer, topic);
        let windows = job.windows.iter().map(|window| open(&window.results));
        let hops = |hops: &HopTopics| {
            Ok::<_, KafkaError>(Hops {
                repartition: open(&hops.repartition)?,
                progress: open(&hops.progress)?,
                state: open(&hops.state)?,
            })
        };
        Ok(Self {
            delivery: job.delivery,
            sink: open(&job.sink)?,
            further: job.further.iter().map(open).collect::<Result<_, _>>()?,
            dead_letters: open(&job.dead_letters)?,
            late: open(&job.late)?,
            windows: windows.collect::<Result<_, _>>()?,
            hops: job.hops.as_ref().map(hops).transpose()?,
            input: job.input.clone(),
            stop: stop.clone(),
            status: status.clone(),
            producer,
        })
    }

    /// Opens a transaction. Talks to no broker.
    pub fn begin(&self) -> Result<(), KafkaError> {
        match self.delivery {
            Delivery::ExactlyOnce => self.producer.begin(),
            Delivery::AtLeastOnce => Ok(()),
        }
    }

    /// Writes an output: to the sink, or to the further topic of this name.
    pub fn output(
        &self,
        topic: Option<&str>,
        input_partition: i32,
        out: &Out<'_>,
    ) -> Result<(), Failure> {
        let target = match topic {
            None => &self.sink,
            Some(name) => {
                let found = self.further.iter().find(|target| target.handle.name() == name);
                found.ok_or_else(|| {
                    Failure::stop(format!("a stage emitted to topic {name:?}, which is not open"))
                })?
            }
        };
        self.send(target, target.partition(out.key, input_partition), out)
    }

    /// Writes a dead letter.
    pub fn dead_letter(
        &self,
        message: &Message<'_>,
        why: Why<'_>,
        cut: Cut,
    ) -> Result<(), Failure> {
        let tag =
            Tag { partition: message.partition, offset: message.offset, is_dead_letter: true };
        self.letter(&self.dead_letters, message, why, cut, tag)
    }

    /// Writes a late record.
    pub fn late(&self, message: &Message<'_>, why: Why<'_>) -> Result<(), Failure> {
        let tag =
            Tag { partition: message.partition, offset: message.offset, is_dead_letter: false };
        self.letter(&self.late, message, why, Cut::Whole, tag)
    }

    /// Writes results of a window.
    pub fn results(&self, window: usize, records: &Records) -> Result<(), Failure> {
        let target = &self.windows[window];
        self.records(target, |key| partition_for_key(key, target.partitions), records)
    }

    /// Writes a count that came too late for a result: its parts as JSON.
    pub fn late_row(&self, row: &LateRow) -> Result<(), Failure> {
        let value = row.to_json();
        let reason = [("dead-letter-reason", Some(&b"late"[..]))];
        let out = Out {
            key: Some(row.key.as_bytes()),
            value: Some(value.as_bytes()),
            headers: HeadersArg::Pairs(&reason),
            timestamp: None,
            tag: Tag::NONE,
        };
        self.send(&self.late, row.partition % self.late.partitions, &out)
    }

    /// Writes deltas to a partition of the repartition topic.
    pub fn repartition(&self, partition: i32, records: &Records) -> Result<(), Failure> {
        self.records(&self.hops().repartition, |_| partition, records)
    }

    /// Writes how far an input partition is.
    pub fn progress(&self, partition: i32, records: &Records) -> Result<(), Failure> {
        self.records(&self.hops().progress, |_| partition, records)
    }

    /// Writes changes of the open windows of a partition of the repartition topic.
    pub fn state(&self, partition: i32, records: &Records) -> Result<(), Failure> {
        self.records(&self.hops().state, |_| partition, records)
    }

    fn hops(&self) -> &Hops {
        self.hops.as_ref().expect("they are open where there are windows")
    }

    /// Waits until everything is written. An error may say which records cannot be.
    pub fn flush(&self) -> Result<(), KafkaError> {
        self.producer.flush(CALL).map(|_| ())
    }

    /// What was refused since the last call means; none if nothing was.
    pub fn refused(&self) -> Option<Failure> {
        meaning(self.producer.failures())
    }

    /// What was refused in a transaction that failed while more was sent: `send` says only that it
    /// failed, and the reports about its records may still be on their way.
    pub fn refused_late(&self) -> Option<Failure> {
        // What is not reported by then comes with the next try.
        let _ = self.producer.flush(REPORTS);
        self.refused()
    }

    /// The missing right that made the transaction fail, if that is why it did.
    pub fn refusal(&self) -> Option<KafkaError> {
        self.producer.refusal()
    }

    /// Adds the offsets of topics, each of its group, to the transaction and commits it.
    pub fn commit(&self, offsets: &[GroupOffsets<'_>]) -> Result<Committed, KafkaError> {
        let until = Instant::now() + CALL;
        let mut watch = RetryWatch::default();
        let timed = |watch: &mut RetryWatch, call: &dyn Fn() -> Result<Duration, KafkaError>| {
            let started = Instant::now();
            self.stop.retry(until, call)?;
            // All of it, the tries that librdkafka said to make again included.
            watch.note(started.elapsed());
            Ok::<_, KafkaError>(())
        };
        if !Control::OffsetsOutsideTransaction.is_on() {
            for GroupOffsets { topic, offsets, group } in offsets {
                timed(&mut watch, &|| self.producer.send_offsets(offsets, topic, group, CALL))?;
            }
        }
        timed(&mut watch, &|| self.producer.commit(CALL))?;
        Ok(Committed { may_have_retried: watch.must_replace() })
    }

    fn letter(
        &self,
        target: &Target,
        message: &Message<'_>,
        why: Why<'_>,
        cut: Cut,
        tag: Tag,
    ) -> Result<(), Failure> {
        let letter = Letter::new(&self.input, message, why, cut);
        let pairs = letter.pairs();
        let out = Out {
            key: letter.key,
            value: letter.value,
            headers: letter.headers(message, &pairs),
            timestamp: message.timestamp,
            tag: tag.pack(),
        };
        self.send(target, message.partition % target.partitions, &out)
    }

    fn records(
        &self,
        target: &Target,
        partition: impl Fn(&[u8]) -> i32,
        records: &Records,
    ) -> Result<(), Failure> {
        for (key, value) in records.iter() {
            let out = Out {
                key: Some(key),
                value,
                headers: HeadersArg::None,
                timestamp: None,
                tag: Tag::NONE,
            };
            self.send(target, partition(key), &out)?;
        }
        Ok(())
    }

    fn send(&self, target: &Target, partition: i32, out: &Out<'_>) -> Result<(), Failure> {
        let mut waiting: Option<Instant> = None;
        loop {
            let sent = self.producer.send(
                &target.handle,
                Some(partition),
                out.key,
                out.value,
                out.headers,
                out.timestamp,
                out.tag,
            );
            match sent {
                Ok(()) => return Ok(()),
                Err(SendError::QueueFull) => {
                    self.wait_for_room(&mut waiting, target.handle.name())?;
                }
                Err(SendError::TooLarge(error)) => {
                    return Err(match Tag::unpack(out.tag) {
                        Some(tag) => Failure::TooLarge(vec![tag]),
                        None => window_too_large(&error),
                    });
                }
                Err(SendError::NoPartition(error) | SendError::Failed(error)) => {
                    return Err(error.into());
                }
            }
        }
    }

    /// Lets the brokers take something from the full queue; an error when they have had their time.
    fn wait_for_room(&self, waiting: &mut Option<Instant>, topic: &str) -> Result<(), Failure> {
        let since = *waiting.get_or_insert_with(|| {
            // A worker whose records are taken, slowly, does not hang.
            self.status.step("waiting for room in the producer's queue");
            Instant::now()
        });
        if self.stop.raised_for().is_some_and(|asked| asked > QUEUE_FULL_STOPPING_MAX) {
            return Err(Failure::Stopped);
        }
        if since.elapsed() > QUEUE_FULL_MAX {
            return Err(Failure::Recover(format!(
                "writing to {topic}: the brokers have taken nothing for {} s",
                QUEUE_FULL_MAX.as_secs()
            )));
        }
        std::thread::sleep(Duration::from_millis(1));
        Ok(())
    }
}

/// What failed deliveries mean together. Records that do not fit come first: without them the state
/// may fit as well. What was purged behind either says nothing of its own.
fn meaning(failures: Vec<DeliveryFailure>) -> Option<Failure> {
    let (mut refused, mut window, mut other) = (Vec::new(), None, None);
    for DeliveryFailure { tag, error } in failures {
        match (&error, Tag::unpack(tag)) {
            (KafkaError::TooLarge(_), Some(tag)) => refused.push(tag),
            (KafkaError::TooLarge(_), None) => _ = window.get_or_insert(window_too_large(&error)),
            _ => _ = other.get_or_insert(error),
        }
    }
    if !refused.is_empty() {
        return Some(Failure::TooLarge(refused));
    }
    window.or(other.map(Failure::from))
}

/// No record can be set aside for it: its group is counted with all others.
fn window_too_large(error: &KafkaError) -> Failure {
    Failure::input(format!(
        "a window's state or result is too large for its topic: {error}; raise its \
         max.message.bytes or group by a shorter field"
    ))
}

#[cfg(test)]
mod tests {
    use super::super::StopKind;
    use super::super::tests::job;
    use super::*;
    use crate::kafka::{ClientSettings, Failure as Why};

    fn failure(error: fn(Why) -> KafkaError, tag: u64) -> DeliveryFailure {
        let why = Why { doing: "writing to state".into(), why: "why".into(), code: None };
        DeliveryFailure { tag, error: error(why) }
    }

    const RECORD: Tag = Tag { partition: 0, offset: 7, is_dead_letter: false };

    #[test]
    fn state_that_the_broker_refuses_as_too_large_stops_with_how_to_mend_it() {
        let refused =
            [failure(KafkaError::Recover, RECORD.pack()), failure(KafkaError::TooLarge, Tag::NONE)];
        let meaning = meaning(refused.into());
        let Some(Failure::Stop { kind: StopKind::Input, message }) = meaning else {
            panic!("{meaning:?}")
        };
        assert!(message.contains("state") && message.contains("raise"), "{message}");
    }

    #[test]
    fn a_record_that_does_not_fit_is_looked_at_before_the_state_that_it_made() {
        let refused = [
            failure(KafkaError::TooLarge, Tag::NONE),
            failure(KafkaError::TooLarge, RECORD.pack()),
        ];
        let meaning = meaning(refused.into());
        assert!(
            matches!(&meaning, Some(Failure::TooLarge(tags)) if *tags == [RECORD]),
            "{meaning:?}"
        );
    }

    /// No broker takes anything, and the queue holds one record.
    #[test]
    fn a_full_queue_is_not_waited_for_once_a_stop_is_asked_for() {
        let one = [("queue.buffering.max.messages", "1")];
        let client = ClientSettings::new("127.0.0.1:1", one).expect("it may be set");
        let job = Job { client, delivery: Delivery::AtLeastOnce, ..job() };
        let stop = Stop::default();
        let sink = Sink::open(&job, 0, &stop, &Arc::default()).expect("it asks no broker");
        let headers = HeadersArg::None;
        let out = Out { key: None, value: Some(b"v"), headers, timestamp: None, tag: 0 };
        sink.output(None, 0, &out).expect("there is room");
        stop.raise();
        let started = Instant::now();
        let ended = sink.output(None, 0, &out);
        assert!(matches!(ended, Err(Failure::Stopped)), "{ended:?}");
        assert!(started.elapsed() < QUEUE_FULL_STOPPING_MAX + Duration::from_secs(3));
    }
}
