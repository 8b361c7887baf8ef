//! One batch: from the messages of a fetch to records that are handed to the producer.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use super::dead_letter::Why;
use super::failure::Failure;
use super::headers;
use super::poison::{Cut, Tag};
use super::reader::{At, Hop};
use super::run::{Worker, wall_millis};
use super::sink::Out;
use crate::chain::{self, Copied, Header, Payload, Processed, Record};
use crate::kafka::{HeadersArg, Message, Messages, Pair};
use crate::shadow::Feed;
use crate::window::{Events, Late, Origin, rfc3339};

/// The reason of a dead letter whose record, or what became of it, does not fit its topic.
const TOO_LARGE: &str = "record-too-large";
/// The stage of such a dead letter.
const SINK: &str = "sink";

impl Worker {
    /// Runs all messages of a fetch and writes what comes out. An error leaves a transaction that
    /// must not be committed.
    pub(super) fn process(&mut self, messages: &Messages) -> Result<(), Failure> {
        self.begin()?;
        let mut batch: Vec<Message<'_>> = Vec::with_capacity(messages.len());
        let mut bytes = 0;
        let mut held = None;
        for message in messages.iter() {
            if held != Some(message.partition) {
                self.expect_held(message.partition.into())?;
                held = Some(message.partition);
            }
            if self.is_too_large(&message)? {
                continue;
            }
            let size = message.key.map_or(0, <[u8]>::len) + message.value.map_or(0, <[u8]>::len);
            if bytes + size > self.job.batching.bytes && !batch.is_empty() {
                self.run_batch(&batch)?;
                batch.clear();
                bytes = 0;
            }
            bytes += size;
            self.tally.bytes_in += size as u64;
            batch.push(message);
        }
        if !batch.is_empty() {
            self.run_batch(&batch)?;
        }
        self.advance(Hop::First, messages);
        self.tally.records_in += messages.len() as u64;
        Ok(())
    }

    /// Takes deltas in.
    pub(super) fn process_deltas(&mut self, messages: &Messages) -> Result<(), Failure> {
        self.begin()?;
        for message in messages.iter() {
            self.expect_held(At::new(Hop::Second, message.partition))?;
            self.merge(&message)?;
        }
        self.advance(Hop::Second, messages);
        Ok(())
    }

    /// A record of a partition that is not taken over would be written without its offset.
    fn expect_held(&self, at: At) -> Result<(), Failure> {
        if self.held.contains_key(&at) {
            return Ok(());
        }
        let (topic, partition) = (self.job.topic(at.hop), at.partition);
        Err(Failure::Rejoin(format!(
            "a record of {topic} partition {partition} came in, which this worker does not hold"
        )))
    }

    /// Opens a transaction if none is open; its time starts with its first record, whatever
    /// becomes of it (delivery rule 15).
    pub(super) fn begin(&mut self) -> Result<(), Failure> {
        if self.uncommitted_since.is_none() {
            self.ensure_sink()?;
            self.sink.as_ref().expect("made above").begin()?;
            self.chain.transaction_started();
            self.uncommitted_since = Some(Instant::now());
        }
        Ok(())
    }

    /// Notes how far each partition is processed. Offsets come from messages, never from a
    /// client's position.
    fn advance(&mut self, hop: Hop, messages: &Messages) {
        let mut last: Option<(i32, i64)> = None;
        for place in messages.places() {
            match last {
                Some((partition, _)) if partition == place.0 => {}
                Some((partition, offset)) => self.processed(At::new(hop, partition), offset),
                None => {}
            }
            last = Some(place);
        }
        if let Some((partition, offset)) = last {
            self.processed(At::new(hop, partition), offset);
        }
    }

    fn processed(&mut self, at: At, offset: i64) {
        if let Some(held) = self.held.get_mut(&at) {
            held.next_offset = offset + 1;
            held.end_offset = held.end_offset.max(offset + 1);
            held.silent_since = None;
            held.is_touched = true;
        }
    }

    /// Writes the dead letter of a record that is known not to fit. It does not come to the chain.
    fn is_too_large(&mut self, message: &Message<'_>) -> Result<bool, Failure> {
        let Some(known) = self.poison.get(message.partition, message.offset) else {
            return Ok(false);
        };
        if known.too_large {
            let why = Why {
                reason: TOO_LARGE,
                message: "what becomes of the record is larger than its topic's max.message.bytes",
                stage: SINK,
            };
            self.dead_letter(message, why)?;
        }
        Ok(known.too_large)
    }

    /// Runs messages as one batch; as two where their outputs together are too large.
    fn run_batch(&mut self, messages: &[Message<'_>]) -> Result<(), Failure> {
        let mut headers: Vec<Header<'_>> = Vec::new();
        let reads_headers =
            self.chain.reads_headers() || self.feeds.iter().any(Feed::reads_headers);
        if !reads_headers {
            let records: Vec<Record<'_>> =
                messages.iter().map(|message| record(message, &[])).collect();
            return self.run_records(messages, &records, wall_millis());
        }
        let ranges: Vec<Range<usize>> = messages
            .iter()
            .map(|message| {
                let start = headers.len();
                let pairs = message.headers();
                if !pairs.is_empty() {
                    headers.extend(pairs.iter().map(|(name, value)| Header { name, value }));
                }
                start..headers.len()
            })
            .collect();
        let records: Vec<Record<'_>> = messages
            .iter()
            .zip(ranges)
            .map(|(message, range)| record(message, &headers[range]))
            .collect();
        self.run_records(messages, &records, wall_millis())
    }

    /// Halves have the time of the whole batch, so that they become what it would have.
    fn run_records(
        &mut self,
        messages: &[Message<'_>],
        records: &[Record<'_>],
        now: i64,
    ) -> Result<(), Failure> {
        self.step("running the chain");
        let processed = match self.chain.run(records, now) {
            Ok(processed) => processed,
            Err(chain::Stop::OutputTooLarge { .. }) if records.len() > 1 => {
                let middle = records.len() / 2;
                self.run_records(&messages[..middle], &records[..middle], now)?;
                return self.run_records(&messages[middle..], &records[middle..], now);
            }
            Err(stop) => return Err(self.stopped(&stop)),
        };
        self.show_candidates(records, now);
        self.tally.ran(&processed, records);
        self.ran(&processed)?;
        self.step("writing");
        self.write_outputs(messages, records, &processed)?;
        for letter in &processed.dead_letters {
            let stage = self.chain.place_name(letter.place).to_owned();
            let why =
                Why { reason: letter.reason.as_str(), message: &letter.message, stage: &stage };
            self.dead_letter(&messages[letter.input as usize], why)?;
        }
        self.observe(messages, records, &processed)
    }

    /// Lets candidates that have room for it have a copy.
    fn show_candidates(&self, records: &[Record<'_>], now: i64) {
        let mut copied = None;
        for feed in self.feeds.iter().filter(|feed| feed.has_room()) {
            feed.offer(copied.get_or_insert_with(|| Arc::new(Copied::of(records, now))));
        }
    }

    fn write_outputs(
        &mut self,
        messages: &[Message<'_>],
        records: &[Record<'_>],
        processed: &Processed,
    ) -> Result<(), Failure> {
        let sink = self.sink.as_ref().expect("begin made it");
        let stamp = [(headers::GENERATION, Some(self.running.stamp.as_bytes()))];
        let stamp: &[Pair<'_>] = if self.job.stamp { &stamp } else { &[] };
        for output in &processed.outputs {
            let message = &messages[output.input as usize];
            let view = processed.view(output, records);
            let own: Vec<Pair<'_>>;
            let headers = match output.payload {
                Payload::Original | Payload::Edited(_) => {
                    let headers = message.headers();
                    match (headers.is_empty(), stamp.is_empty()) {
                        (true, true) => HeadersArg::None,
                        (true, false) => HeadersArg::Pairs(stamp),
                        (false, true) => HeadersArg::Copy(headers),
                        (false, false) => HeadersArg::CopyAnd(headers, stamp),
                    }
                }
                Payload::Emitted(_) => {
                    let emitted = view.headers.iter().map(|header| (header.name, header.value));
                    own = emitted.chain(stamp.iter().copied()).collect();
                    HeadersArg::Pairs(&own)
                }
            };
            let tag =
                Tag { partition: message.partition, offset: message.offset, is_dead_letter: false };
            let out = Out {
                key: view.key,
                value: view.value,
                headers,
                timestamp: message.timestamp,
                tag: tag.pack(),
            };
            self.alone(message, || sink.output(view.topic, message.partition, &out))?;
        }
        self.tally.records_out += processed.outputs.len() as u64;
        Ok(())
    }

    /// Writes a dead letter, cut as far as is known to be necessary.
    fn dead_letter(&mut self, message: &Message<'_>, why: Why<'_>) -> Result<(), Failure> {
        let known = self.poison.get(message.partition, message.offset);
        let cut = known.map_or(Cut::Whole, |known| known.cut);
        let sink = self.sink.as_ref().expect("begin made it");
        self.alone(message, || sink.dead_letter(message, why, cut))?;
        self.tally.dead_letter(why, message);
        Ok(())
    }

    /// Sends something of a record. That of a suspect goes by itself, so that the broker's answer
    /// tells whether it is the one that does not fit.
    fn alone(
        &self,
        message: &Message<'_>,
        send: impl FnOnce() -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let known = self.poison.get(message.partition, message.offset);
        if !known.is_some_and(|known| known.is_suspect) {
            return send();
        }
        self.flush()?;
        send()?;
        self.flush()
    }

    /// Lets the windows see what passed the stages, and sets late records aside.
    fn observe(
        &mut self,
        messages: &[Message<'_>],
        records: &[Record<'_>],
        processed: &Processed,
    ) -> Result<(), Failure> {
        let now = wall_millis();
        for (window, seen) in processed.observations.iter().enumerate() {
            let spec = self.windows[window].spec().clone();
            let input = |output: &u32| processed.outputs[*output as usize].input as usize;
            let origin = |output: &u32| {
                let record = &records[input(output)];
                Origin {
                    partition: record.partition,
                    offset: record.offset,
                    not_after: spec.not_after(record.timestamp, now),
                }
            };
            let origins: Vec<Origin> = seen.outputs.iter().map(origin).collect();
            for passed in origins.chunk_by(|a, b| a.partition == b.partition) {
                if let Some(held) = self.held.get_mut(&passed[0].partition.into()) {
                    held.quiet_since = None;
                }
            }
            let events = Events {
                origins: &origins,
                times: &seen.times,
                keys: &seen.keys,
                values: &seen.values,
                filter: seen.filter.as_ref(),
            };
            let observed = self.windows[window].observe(events)?;
            let late: Vec<(usize, Late)> = observed
                .late
                .iter()
                .map(|late| (input(&seen.outputs[late.event as usize]), *late))
                .collect();
            self.tally.future += u64::from(observed.future);
            self.tally.fallbacks += u64::from(seen.fallbacks);
            for (input, late) in late {
                self.late(&messages[input], &spec.name, late)?;
            }
        }
        Ok(())
    }

    fn late(&mut self, message: &Message<'_>, window: &str, late: Late) -> Result<(), Failure> {
        let message_text = format!(
            "its window {} was closed when it came, at watermark {}",
            late.span,
            rfc3339(late.watermark)
        );
        let why = Why { reason: "late", message: &message_text, stage: window };
        let sink = self.sink.as_ref().expect("begin made it");
        self.alone(message, || sink.late(message, why))?;
        self.tally.late += 1;
        Ok(())
    }
}

/// A message as the chain takes it in.
fn record<'a>(message: &Message<'a>, headers: &'a [Header<'a>]) -> Record<'a> {
    Record {
        key: message.key,
        value: message.value,
        headers,
        timestamp: message.timestamp,
        partition: message.partition,
        offset: message.offset,
    }
}
