//! Batches of records from a queue of our own.

use std::ffi::CStr;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::time::Duration;

use rdkafka::types::RDKafkaErrorCode as Code;
use rdkafka_sys as sys;
use sys::rd_kafka_resp_err_t as Response;

use super::super::client::ConsumerHandle;
use super::super::error::KafkaError;
use super::{Headers, bytes, millis};

/// A queue of our own, or the consumer's.
pub(in crate::kafka) struct Queue {
    queue: NonNull<sys::rd_kafka_queue_t>,
    consumer: Arc<ConsumerHandle>,
}

// SAFETY: librdkafka's queues are locked inside and may be used from any thread.
unsafe impl Send for Queue {}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: the one reference that we hold, given back once; the client still lives.
        unsafe { sys::rd_kafka_queue_destroy(self.queue.as_ptr()) }
    }
}

impl Queue {
    /// A new, empty queue, which partitions are forwarded to.
    pub(in crate::kafka) fn new(consumer: Arc<ConsumerHandle>) -> Self {
        // SAFETY: the handle keeps the client alive; a new queue is never null.
        let queue = unsafe { sys::rd_kafka_queue_new(consumer.native()) };
        Queue { queue: NonNull::new(queue).expect("a new queue is never null"), consumer }
    }

    /// The queue that rebalance events, errors and log lines arrive on; none without a group.
    pub(in crate::kafka) fn of_consumer(consumer: Arc<ConsumerHandle>) -> Option<Self> {
        // SAFETY: the handle keeps the client alive; null means that there is none.
        let queue = unsafe { sys::rd_kafka_queue_get_consumer(consumer.native()) };
        Some(Queue { queue: NonNull::new(queue)?, consumer })
    }

    /// What waits in it.
    pub(in crate::kafka) fn len(&self) -> usize {
        // SAFETY: the queue lives as long as `self`.
        unsafe { sys::rd_kafka_queue_length(self.queue.as_ptr()) }
    }

    /// Lets the partition's messages come in here. Must be done before it is assigned: assigning
    /// leaves a forwarded queue alone, unassigning ends the forwarding.
    pub(in crate::kafka) fn take_partition(
        &self,
        topic: &CStr,
        partition: i32,
    ) -> Result<(), KafkaError> {
        // SAFETY: the client lives; the reference to the partition's queue is given back after the
        // forwarding, which holds references of its own.
        unsafe {
            let from = sys::rd_kafka_queue_get_partition(
                self.consumer.native(),
                topic.as_ptr(),
                partition,
            );
            if from.is_null() {
                let doing = format!("forwarding partition {partition}");
                return Err(KafkaError::recover(doing, "librdkafka has no queue for it", None));
            }
            sys::rd_kafka_queue_forward(from, self.queue.as_ptr());
            sys::rd_kafka_queue_destroy(from);
        }
        Ok(())
    }

    /// Waits until `max` messages are there or the time is up. What a seek or an unassign outdated
    /// is discarded by librdkafka itself.
    pub(in crate::kafka) fn consume(&self, max: usize, timeout: Duration) -> Messages {
        let mut raw: Vec<*mut sys::rd_kafka_message_t> = Vec::with_capacity(max);
        // SAFETY: there is room for `max` pointers; librdkafka fills in as many as it returns, each
        // ours to destroy; a negative count means that it filled none.
        unsafe {
            let count = sys::rd_kafka_consume_batch_queue(
                self.queue.as_ptr(),
                millis(timeout),
                raw.as_mut_ptr(),
                max,
            );
            raw.set_len(usize::try_from(count).unwrap_or(0));
        }
        Messages::sort(raw, self.consumer.clone())
    }
}

/// A batch of messages. Frees them when it is dropped.
pub struct Messages {
    /// Without an error each; the others are below.
    raw: Vec<*mut sys::rd_kafka_message_t>,
    ends: Vec<(i32, i64)>,
    errors: Vec<(i32, KafkaError)>,
    /// What comes next, by partition; the last one of a partition counts.
    next: Vec<(i32, i64)>,
    /// Messages belong to a client, which must outlive them.
    _consumer: Arc<ConsumerHandle>,
}

// SAFETY: the messages are ours alone, and may be read and freed in any thread.
unsafe impl Send for Messages {}

impl Drop for Messages {
    fn drop(&mut self) {
        for message in &self.raw {
            // SAFETY: given to us by librdkafka, freed once, while the client still lives.
            unsafe { sys::rd_kafka_message_destroy(*message) }
        }
    }
}

impl Messages {
    /// Takes what is not a record out of a batch.
    fn sort(raw: Vec<*mut sys::rd_kafka_message_t>, consumer: Arc<ConsumerHandle>) -> Self {
        let mut batch = Messages {
            raw,
            ends: Vec::new(),
            errors: Vec::new(),
            next: Vec::new(),
            _consumer: consumer,
        };
        let Messages { raw, ends, errors, next, .. } = &mut batch;
        // Messages come in runs of one partition.
        let mut at = |partition: i32, offset: i64| match next.last_mut() {
            Some(last) if last.0 == partition => last.1 = offset,
            _ => next.push((partition, offset)),
        };
        raw.retain(|&message| {
            // SAFETY: every pointer in `raw` is a message that is not freed yet.
            let view = unsafe { &*message };
            match view.err {
                Response::RD_KAFKA_RESP_ERR_NO_ERROR => {
                    prefetch(view.payload.cast(), view.len);
                    at(view.partition, view.offset + 1);
                    if !ends.is_empty() {
                        ends.retain(|(partition, _)| *partition != view.partition);
                    }
                    return true;
                }
                Response::RD_KAFKA_RESP_ERR__PARTITION_EOF => {
                    at(view.partition, view.offset);
                    ends.push((view.partition, view.offset));
                }
                code => errors.push((view.partition, read_error(view, code))),
            }
            // SAFETY: as above, and it leaves the list here.
            unsafe { sys::rd_kafka_message_destroy(message) };
            false
        });
        batch
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.raw.len()
    }

    /// Whether there is no record; there may still be ends and errors.
    pub fn is_empty(&self) -> bool {
        self.raw.is_empty()
    }

    /// Partitions that were read to their end, with the offset that comes next there. With
    /// read-committed the end is the last stable offset.
    pub fn ends(&self) -> &[(i32, i64)] {
        &self.ends
    }

    /// What comes next in each partition that the batch touched; later entries count.
    pub(in crate::kafka) fn next(&self) -> &[(i32, i64)] {
        &self.next
    }

    /// Errors, each with its partition (negative: of the client).
    pub fn errors(&self) -> &[(i32, KafkaError)] {
        &self.errors
    }

    /// The records, in order per partition.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Message<'_>> {
        // SAFETY: every pointer in `raw` is a message that lives as long as `self`.
        self.raw.iter().map(|&message| Message::of(unsafe { &*message }))
    }

    /// Partition and offset of each record, in order per partition.
    pub fn places(&self) -> impl Iterator<Item = (i32, i64)> {
        // SAFETY: as in `iter`.
        self.raw.iter().map(|&message| unsafe { ((*message).partition, (*message).offset) })
    }

    /// One record, by its place.
    pub fn get(&self, place: usize) -> Option<Message<'_>> {
        // SAFETY: as in `iter`.
        self.raw.get(place).map(|&message| Message::of(unsafe { &*message }))
    }
}

/// Calls for the value of a message, which will be read soon. Another core wrote it a moment ago: to wait
/// for it at each first touch takes as long as to scan it.
#[inline]
fn prefetch(start: *const u8, bytes: usize) {
    /// What is asked for of a long value; the rest follows by itself once it is walked along.
    const BYTES_MAX: usize = 512;
    #[cfg(target_arch = "x86_64")]
    for line in (0..bytes.min(BYTES_MAX)).step_by(64) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a hint: nothing is dereferenced, and a wrong address does nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(start.wrapping_add(line).cast()) }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (start, bytes, BYTES_MAX);
}

/// The text of an error that came in as a message.
fn read_error(message: &sys::rd_kafka_message_t, code: Response) -> KafkaError {
    // SAFETY: the text belongs to the message, which is borrowed; it may be null.
    let text = unsafe {
        let text = sys::rd_kafka_message_errstr(message);
        if text.is_null() {
            None
        } else {
            Some(CStr::from_ptr(text).to_string_lossy().into_owned())
        }
    };
    let code = Code::from(code);
    // SAFETY: the topic and its name live as long as the message.
    let topic = unsafe {
        match message.rkt.is_null() {
            true => "?".into(),
            false => CStr::from_ptr(sys::rd_kafka_topic_name(message.rkt)).to_string_lossy(),
        }
    };
    let doing = format!(
        "reading topic {topic} partition {} at offset {}",
        message.partition, message.offset
    );
    KafkaError::from_code(doing, code, text.unwrap_or_else(|| code.to_string()))
}

/// One record, borrowed from its batch.
#[derive(Clone, Copy)]
pub struct Message<'a> {
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Milliseconds since the epoch, by the producer's or the broker's clock; none in old formats.
    pub timestamp: Option<i64>,
    /// The key; none is not the same as empty.
    pub key: Option<&'a [u8]>,
    /// The value; none is a tombstone.
    pub value: Option<&'a [u8]>,
    raw: &'a sys::rd_kafka_message_t,
}

impl<'a> Message<'a> {
    fn of(raw: &'a sys::rd_kafka_message_t) -> Self {
        let mut kind = sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: key, value and timestamp belong to the message, which is borrowed for 'a.
        let (timestamp, key, value) = unsafe {
            let timestamp = sys::rd_kafka_message_timestamp(raw, &raw mut kind);
            (timestamp, bytes(raw.key, raw.key_len), bytes(raw.payload, raw.len))
        };
        let timestamp = (timestamp >= 0
            && kind != sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE)
            .then_some(timestamp);
        Message { partition: raw.partition, offset: raw.offset, timestamp, key, value, raw }
    }

    /// The headers; parsed by librdkafka when they are first asked for.
    pub fn headers(&self) -> Headers<'a> {
        let mut list = ptr::null_mut();
        // SAFETY: the list belongs to the message and lives as long; on an error (none, or broken
        // bytes) it is not set.
        let code = unsafe { sys::rd_kafka_message_headers(self.raw, &raw mut list) };
        let list =
            if code == Response::RD_KAFKA_RESP_ERR_NO_ERROR { NonNull::new(list) } else { None };
        Headers::of(list)
    }
}
