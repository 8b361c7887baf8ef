//! The input: generated events, each with a number, and which of them the default filter keeps.

use anyhow::{Context as _, Result, ensure};
use memchr::memmem::Finder;

use super::super::PARTITIONS;
use crate::demo::generate::Generated;
use crate::demo::send::{Kafka, Ready, Target};
use crate::demo::stop::Stop;
use crate::kafka::partition_for_key;

/// Numbers are of 32 bits.
pub const EVENTS_MAX: u64 = u32::MAX as u64;
/// What stands before the number in each value.
pub const BEFORE_NUMBER: &[u8] = b"{\"n\":";
/// What the default filter looks at.
const DEVICE_TYPE: &[u8] = b"\"device_type\":\"";
/// What it keeps, in any case.
const KEPT: &[u8] = b"android\"";

/// The numbers that must come out, by partition, in this order.
pub type Expected = Vec<Vec<u32>>;

/// Numbers events on their way into the input.
pub struct Numbered {
    kafka: Kafka,
    next: u32,
    expected: Expected,
    device_type: Finder<'static>,
    value: Vec<u8>,
}

impl Numbered {
    /// Into a topic with [`PARTITIONS`].
    pub fn new(kafka: Kafka) -> Self {
        Self {
            kafka,
            next: 0,
            expected: vec![Vec::new(); PARTITIONS as usize],
            device_type: Finder::new(DEVICE_TYPE),
            value: Vec::new(),
        }
    }

    /// Waits until everything is confirmed. How many there were, and what must come out.
    pub fn finish(self) -> Result<(u64, Expected)> {
        self.kafka.finish(super::super::FILLED)?;
        Ok((self.next.into(), self.expected))
    }

    fn is_kept(&self, event: &[u8]) -> bool {
        let at = self.device_type.find(event).map(|at| at + DEVICE_TYPE.len());
        let value = at.and_then(|at| event.get(at..at + KEPT.len()));
        value.is_some_and(|value| value.eq_ignore_ascii_case(KEPT))
    }
}

impl Target for Numbered {
    fn send(&mut self, event: &Generated<'_>, stop: &Stop) -> Result<bool> {
        let key = event.key.context("a generated event has no key")?;
        ensure!(u64::from(self.next) < EVENTS_MAX, "the input has as many events as it can have");
        self.value.clear();
        self.value.extend_from_slice(BEFORE_NUMBER);
        self.value.extend_from_slice(self.next.to_string().as_bytes());
        self.value.push(b',');
        self.value.extend_from_slice(event.value.get(1..).unwrap_or_default());
        let Generated { key: _, value: _, due_ms, kind, is_late } = *event;
        let numbered = Generated { key: event.key, value: &self.value, due_ms, kind, is_late };
        if !self.kafka.send(&numbered, stop)? {
            return Ok(false);
        }
        if self.is_kept(event.value) {
            self.expected[partition_for_key(key, PARTITIONS) as usize].push(self.next);
        }
        self.next += 1;
        Ok(true)
    }

    fn ready(&mut self) -> Result<Ready> {
        self.kafka.ready()
    }
}
