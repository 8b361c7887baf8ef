//! The two loops that the pipeline is measured against: exactly-once as it is, with one test of the
//! bytes where the pipeline has its rules.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use memchr::memmem::Finder;

use super::meter::{Measured, Meter};
use crate::demo::stop::Stop;
use crate::kafka::{
    ClientSettings, Consumer, GroupMetadata, GroupOptions, HeadersArg, Mode, Producer, Rebalance,
    SendError, TopicHandle, UsualConsumer,
};

/// What is kept, as the default filter does.
const KEPT: &[u8] = b"\"android\"";
/// Events of a batch, in the quick way.
const BATCH: usize = 2_000;
/// How many polled events may pass between two looks at the clock.
const LOOK_EVERY: u64 = 64;
/// How long a call of Kafka may take.
const CALL: Duration = Duration::from_secs(30);
/// How long a poll waits.
const WAIT: Duration = Duration::from_millis(100);

/// From where to where, and how much.
pub struct Task<'a> {
    /// The brokers.
    pub client: &'a ClientSettings,
    /// A group of its own.
    pub group: String,
    /// The input topic.
    pub input: &'a str,
    /// How many partitions input and output have.
    pub partitions: i32,
    /// The output topic.
    pub output: String,
    /// Events in the input.
    pub events: u64,
    /// From the first event of a transaction to its commit.
    pub commit_interval: Duration,
    /// Ends it.
    pub stop: &'a Stop,
}

/// One loop's producer, its open transaction, and how far it is.
struct Loop<'a> {
    task: &'a Task<'a>,
    producer: Producer,
    /// The next offset of each partition.
    next: Vec<i64>,
    /// Since the first event of the open transaction.
    since: Option<Instant>,
    moved: Instant,
    events: u64,
    written: u64,
    meter: Meter,
}

impl<'a> Loop<'a> {
    fn new(task: &'a Task<'a>) -> Result<Self> {
        // The transactional id is the group's name, which nobody else has.
        let mode = Mode::Transactional { id: task.group.clone(), timeout: Duration::from_secs(10) };
        let producer = Producer::new(task.client, &mode)?;
        producer.init_transactions(CALL)?;
        producer.begin()?;
        Ok(Self {
            task,
            producer,
            next: vec![0; task.partitions as usize],
            since: None,
            moved: Instant::now(),
            events: 0,
            written: 0,
            meter: Meter::default(),
        })
    }

    fn is_done(&self) -> bool {
        self.events >= self.task.events
    }

    /// Looks at the clock: commits what is due, or fails if nothing has come for long.
    fn look(&mut self, group: impl FnOnce() -> Result<GroupMetadata>) -> Result<()> {
        let now = Instant::now();
        let Some(since) = self.since else {
            super::check_moving(now - self.moved, self.events, self.task.events)?;
            return Ok(());
        };
        if now - since < self.task.commit_interval && !self.is_done() {
            return Ok(());
        }
        let next = (0..).zip(self.next.iter().copied());
        let next: Vec<(i32, i64)> = next.filter(|(_, next)| *next > 0).collect();
        self.producer.send_offsets(&next, self.task.input, &group()?, CALL)?;
        self.producer.commit(CALL)?;
        self.meter.committed(self.events)?;
        self.moved = Instant::now();
        self.since = None;
        Ok(self.producer.begin()?)
    }

    /// None after a request to stop.
    fn finish(self) -> Result<Option<Measured>> {
        if !self.is_done() {
            return Ok(None);
        }
        self.meter.finish(self.written).map(Some)
    }
}

/// (a): a record is polled, tested and sent by itself.
pub fn usual(task: &Task<'_>) -> Result<Option<Measured>> {
    let consumer = UsualConsumer::new(task.client, &task.group, task.input)?;
    let mut state = Loop::new(task)?;
    let kept = Finder::new(KEPT);
    while !state.is_done() && !task.stop.stopped() {
        for _ in 0..LOOK_EVERY {
            let keep = |value: &[u8]| kept.find(value).is_some();
            let Some(record) = consumer.forward(&state.producer, &task.output, WAIT, keep)? else {
                break;
            };
            state.next[record.partition as usize] = record.offset + 1;
            state.events += 1;
            state.written += u64::from(record.kept);
            if state.since.is_none() {
                state.since = Some(Instant::now());
            }
            if state.is_done() {
                break;
            }
        }
        state.look(|| Ok(consumer.group_metadata()?))?;
    }
    state.finish()
}

/// (b): batches from one queue, sent through a topic handle.
pub fn quick(task: &Task<'_>) -> Result<Option<Measured>> {
    let mut consumer =
        Consumer::new(task.client, &task.group, task.input, &GroupOptions::default())?;
    let mut state = Loop::new(task)?;
    let to = state.producer.topic(&task.output)?;
    let kept = Finder::new(KEPT);
    while !state.is_done() && !task.stop.stopped() {
        answer(&mut consumer)?;
        let batch = consumer.fetch(BATCH, WAIT);
        if let Some((partition, error)) = batch.errors().first() {
            bail!("reading partition {partition}: {error}");
        }
        if !batch.is_empty() {
            state.since.get_or_insert_with(Instant::now);
        }
        for message in batch.iter() {
            state.next[message.partition as usize] = message.offset + 1;
            let Some(value) = message.value else { continue };
            if kept.find(value).is_some() {
                send(
                    &state.producer,
                    &to,
                    message.partition,
                    message.key,
                    value,
                    message.timestamp,
                )?;
                state.written += 1;
            }
        }
        state.events += batch.len() as u64;
        drop(batch);
        state.look(|| Ok(consumer.group_metadata()?))?;
    }
    consumer.close().wait(Duration::from_secs(3));
    state.finish()
}

/// Takes over what the group gives, from its start; nobody else is in the group.
fn answer(consumer: &mut Consumer) -> Result<()> {
    while let Some(event) = consumer.poll_rebalance() {
        match event {
            Rebalance::Assigned(partitions) => {
                let starts: Vec<(i32, i64)> = partitions.into_iter().map(|p| (p, 0)).collect();
                consumer.assign(&starts)?;
            }
            Rebalance::Revoked(_) | Rebalance::Lost(_) => {
                bail!(
                    "the group took partitions away in the middle of a run: the broker is too slow"
                );
            }
            Rebalance::Error(error) => tracing::debug!(%error, "consumer"),
        }
    }
    Ok(())
}

fn send(
    producer: &Producer,
    to: &TopicHandle,
    partition: i32,
    key: Option<&[u8]>,
    value: &[u8],
    timestamp: Option<i64>,
) -> Result<()> {
    let mut waiting: Option<Instant> = None;
    loop {
        let sent =
            producer.send(to, Some(partition), key, Some(value), HeadersArg::None, timestamp, 0);
        match sent {
            Err(SendError::QueueFull)
                if waiting.get_or_insert_with(Instant::now).elapsed() < CALL =>
            {
                std::thread::sleep(Duration::from_millis(1));
            }
            other => return Ok(other?),
        }
    }
}
