//! The calls that rdkafka's safe face does not have or slows down, behind a safe one: batches from a
//! queue of our own, records through topic handles, commit and flush without a 100 ms floor.
//!
//! Every pointer kept here keeps its client alive through an `Arc` of `Handle`, so nothing can
//! outlive the client that it belongs to.

#![allow(
    unsafe_code,
    reason = "rdkafka's own wrappers cost a clock, mutexes and a look-up a record, \
    or have no such call; all of it is here, under safe types"
)]

mod consume;
mod headers;
#[cfg(target_os = "linux")]
mod leaders;
mod produce;

use std::ffi::{CStr, c_void};
use std::ptr::{self, NonNull};
use std::slice;
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::types::RDKafkaErrorCode as Code;
use rdkafka_sys as sys;
use sys::rd_kafka_resp_err_t as Response;

use super::client::{ConsumerHandle, ProducerHandle};
use super::context::Context;
use super::error::KafkaError;

pub use consume::{Message, Messages};
pub use headers::{Headers, HeadersArg, Pair};
pub use produce::TopicHandle;

pub(super) use consume::Queue;
pub(super) use produce::Record;

/// librdkafka takes milliseconds in an `int`; negative means for ever, which nobody may wait.
fn millis(timeout: Duration) -> i32 {
    i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX)
}

/// Takes over an error object; null is success.
fn outcome(doing: &str, error: *mut sys::rd_kafka_error_t) -> Result<(), KafkaError> {
    let Some(error) = NonNull::new(error) else { return Ok(()) };
    let error = error.as_ptr();
    // SAFETY: librdkafka gave the object to us; its string lives as long as it, and it is destroyed
    // once, here, after the last use.
    let (code, why, retriable, fatal) = unsafe {
        let why = CStr::from_ptr(sys::rd_kafka_error_string(error)).to_string_lossy().into_owned();
        let code = Code::from(sys::rd_kafka_error_code(error));
        let retriable = sys::rd_kafka_error_is_retriable(error) != 0;
        let fatal = sys::rd_kafka_error_is_fatal(error) != 0;
        sys::rd_kafka_error_destroy(error);
        (code, why, retriable, fatal)
    };
    Err(KafkaError::from_transaction(doing, code, why, retriable, fatal))
}

/// Commits; needs another thread to serve the delivery events (the crate's `ThreadedProducer`).
pub(super) fn commit_transaction(
    producer: &ProducerHandle,
    timeout: Duration,
) -> Result<(), KafkaError> {
    // SAFETY: the handle keeps the client alive during the call.
    let error = unsafe { sys::rd_kafka_commit_transaction(producer.native(), millis(timeout)) };
    outcome("committing the transaction", error)
}

/// Waits until every record is acknowledged or has failed; `false` when the time ran out.
pub(super) fn flush(producer: &ProducerHandle, timeout: Duration) -> bool {
    // SAFETY: the handle keeps the client alive during the call.
    let code = unsafe { sys::rd_kafka_flush(producer.native(), millis(timeout)) };
    code == Response::RD_KAFKA_RESP_ERR_NO_ERROR
}

/// The id that the broker gave this member of the group; none before it joined.
pub(super) fn member_id(consumer: &ConsumerHandle) -> Option<String> {
    // SAFETY: the handle keeps the client alive; the string is ours to free, with the client's
    // allocator, after it was copied.
    let id = unsafe {
        let text = NonNull::new(sys::rd_kafka_memberid(consumer.native()))?;
        let id = CStr::from_ptr(text.as_ptr()).to_string_lossy().into_owned();
        sys::rd_kafka_mem_free(consumer.native(), text.as_ptr().cast());
        id
    };
    (!id.is_empty()).then_some(id)
}

/// The end of a partition with what is not committed yet (its high watermark), as the last fetch told
/// it; none before one did.
pub(super) fn known_end(consumer: &ConsumerHandle, topic: &CStr, partition: i32) -> Option<i64> {
    let (mut low, mut high) = (0, 0);
    // SAFETY: the handle keeps the client alive; the name is only read, the numbers are written during
    // the call.
    let code = unsafe {
        sys::rd_kafka_get_watermark_offsets(
            consumer.native(),
            topic.as_ptr(),
            partition,
            &raw mut low,
            &raw mut high,
        )
    };
    (code == Response::RD_KAFKA_RESP_ERR_NO_ERROR && high >= 0).then_some(high)
}

/// Commits offsets and waits for the broker's answer; the crate's own call waits for ever.
pub(super) fn commit_offsets(
    client: &BaseConsumer<Context>,
    offsets: &TopicPartitionList,
    doing: &str,
    timeout: Duration,
) -> Result<(), KafkaError> {
    let native = client.client().native_ptr();
    // SAFETY: client and list live during the calls; the list is copied. The queue is ours: an answer
    // that comes after its end is discarded. The event and the list in it live until the event is
    // destroyed, once, after the last use.
    let code = unsafe {
        let queue = sys::rd_kafka_queue_new(native);
        let sent = sys::rd_kafka_commit_queue(native, offsets.ptr(), queue, None, ptr::null_mut());
        let event = if sent == Response::RD_KAFKA_RESP_ERR_NO_ERROR {
            sys::rd_kafka_queue_poll(queue, millis(timeout))
        } else {
            ptr::null_mut()
        };
        let code = if event.is_null() { None } else { Some(commit_outcome(event)) };
        sys::rd_kafka_event_destroy(event);
        sys::rd_kafka_queue_destroy(queue);
        if sent == Response::RD_KAFKA_RESP_ERR_NO_ERROR { code } else { Some(sent) }
    };
    match code {
        None => Err(KafkaError::timed_out(doing, timeout)),
        Some(Response::RD_KAFKA_RESP_ERR_NO_ERROR) => Ok(()),
        Some(code) => {
            let code = Code::from(code);
            Err(KafkaError::from_code(doing, code, code.to_string()))
        }
    }
}

/// The error of a commit, or of the first partition that has one.
///
/// # Safety
/// `event` is an offset-commit event that is not destroyed yet.
unsafe fn commit_outcome(event: *mut sys::rd_kafka_event_t) -> Response {
    // SAFETY: the list, where there is one, belongs to the event and has `cnt` elements.
    unsafe {
        let code = sys::rd_kafka_event_error(event);
        let list = sys::rd_kafka_event_topic_partition_list(event);
        if code != Response::RD_KAFKA_RESP_ERR_NO_ERROR || list.is_null() {
            return code;
        }
        let count = usize::try_from((*list).cnt).unwrap_or(0);
        let elements = if count == 0 { &[] } else { slice::from_raw_parts((*list).elems, count) };
        let failed = elements.iter().map(|element| element.err);
        failed
            .into_iter()
            .find(|code| *code != Response::RD_KAFKA_RESP_ERR_NO_ERROR)
            .unwrap_or(code)
    }
}

/// # Safety
/// `start` is null or points to `len` bytes that live for `'a`.
unsafe fn bytes<'a>(start: *const c_void, len: usize) -> Option<&'a [u8]> {
    // SAFETY: the caller's promise.
    (!start.is_null()).then(|| unsafe { slice::from_raw_parts(start.cast(), len) })
}
