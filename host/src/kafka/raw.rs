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

use std::ffi::{CStr, CString, c_void};
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::types::RDKafkaErrorCode as Code;
use rdkafka_sys as sys;
use sys::rd_kafka_resp_err_t as Response;

use super::client::{ConsumerHandle, ProducerHandle};
use super::context::Context;
use super::error::KafkaError;
use super::producer::SendError;

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

/// A queue of our own, or the consumer's.
pub(super) struct Queue {
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
    pub(super) fn new(consumer: Arc<ConsumerHandle>) -> Self {
        // SAFETY: the handle keeps the client alive; a new queue is never null.
        let queue = unsafe { sys::rd_kafka_queue_new(consumer.native()) };
        Queue { queue: NonNull::new(queue).expect("a new queue is never null"), consumer }
    }

    /// The queue that rebalance events, errors and log lines arrive on; none without a group.
    pub(super) fn of_consumer(consumer: Arc<ConsumerHandle>) -> Option<Self> {
        // SAFETY: the handle keeps the client alive; null means that there is none.
        let queue = unsafe { sys::rd_kafka_queue_get_consumer(consumer.native()) };
        Some(Queue { queue: NonNull::new(queue)?, consumer })
    }

    /// What waits in it.
    pub(super) fn len(&self) -> usize {
        // SAFETY: the queue lives as long as `self`.
        unsafe { sys::rd_kafka_queue_length(self.queue.as_ptr()) }
    }

    /// Lets the partition's messages come in here. Must be done before it is assigned: assigning
    /// leaves a forwarded queue alone, unassigning ends the forwarding.
    pub(super) fn take_partition(&self, topic: &CStr, partition: i32) -> Result<(), KafkaError> {
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
    pub(super) fn consume(&self, max: usize, timeout: Duration) -> Messages {
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
    pub(super) fn next(&self) -> &[(i32, i64)] {
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

    /// One record, by its place.
    pub fn get(&self, place: usize) -> Option<Message<'_>> {
        // SAFETY: as in `iter`.
        self.raw.get(place).map(|&message| Message::of(unsafe { &*message }))
    }
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
    let doing = format!("reading partition {} at offset {}", message.partition, message.offset);
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
        Headers { list, message: PhantomData }
    }
}

/// # Safety
/// `start` is null or points to `len` bytes that live for `'a`.
unsafe fn bytes<'a>(start: *const c_void, len: usize) -> Option<&'a [u8]> {
    // SAFETY: the caller's promise.
    (!start.is_null()).then(|| unsafe { slice::from_raw_parts(start.cast(), len) })
}

/// A header to write: its name, and its value; none is not the same as empty.
pub type Pair<'a> = (&'a str, Option<&'a [u8]>);

/// The headers of a record, borrowed from it.
#[derive(Clone, Copy)]
pub struct Headers<'a> {
    list: Option<NonNull<sys::rd_kafka_headers_t>>,
    message: PhantomData<Message<'a>>,
}

impl<'a> Headers<'a> {
    /// How many there are.
    pub fn len(&self) -> usize {
        // SAFETY: the list lives for 'a.
        self.list.map_or(0, |list| unsafe { sys::rd_kafka_header_cnt(list.as_ptr()) })
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_none()
    }

    /// In order. A name that is not UTF-8 shows as `U+FFFD`; a copy by [`HeadersArg::Copy`] keeps it.
    pub fn iter(&self) -> impl Iterator<Item = Pair<'a>> + use<'a> {
        let list = self.list;
        (0..).map_while(move |place| {
            let (mut name, mut value, mut len) = (ptr::null(), ptr::null(), 0);
            // SAFETY: the list, its names (which end with a zero byte) and its values live for 'a;
            // a place behind the last answers with an error and sets nothing.
            unsafe {
                let code = sys::rd_kafka_header_get_all(
                    list?.as_ptr(),
                    place,
                    &raw mut name,
                    &raw mut value,
                    &raw mut len,
                );
                (code == Response::RD_KAFKA_RESP_ERR_NO_ERROR).then(|| {
                    let name = CStr::from_ptr(name).to_str().unwrap_or("\u{FFFD}");
                    (name, bytes(value, len))
                })
            }
        })
    }
}

/// The headers that a record is sent with.
#[derive(Clone, Copy)]
pub enum HeadersArg<'a> {
    /// None.
    None,
    /// Those of an input record, copied inside librdkafka.
    Copy(Headers<'a>),
    /// Those of an input record, then these.
    CopyAnd(Headers<'a>, &'a [Pair<'a>]),
    /// These.
    Pairs(&'a [Pair<'a>]),
}

/// A list of headers that is ours until a record takes it.
struct HeaderList(NonNull<sys::rd_kafka_headers_t>);

impl Drop for HeaderList {
    fn drop(&mut self) {
        // SAFETY: made by us, and not handed over (that forgets it).
        unsafe { sys::rd_kafka_headers_destroy(self.0.as_ptr()) }
    }
}

impl HeaderList {
    fn build(headers: &HeadersArg<'_>) -> Option<Self> {
        let (copied, pairs): (_, &[Pair<'_>]) = match headers {
            HeadersArg::None => return None,
            HeadersArg::Copy(copied) => (copied.list, &[]),
            HeadersArg::CopyAnd(copied, pairs) => (copied.list, pairs),
            HeadersArg::Pairs(pairs) => (None, pairs),
        };
        // SAFETY: a borrowed list is alive while it is copied; names and values are copied with the
        // lengths given.
        let list = unsafe {
            match copied {
                Some(copied) => sys::rd_kafka_headers_copy(copied.as_ptr()),
                None if pairs.is_empty() => return None,
                None => sys::rd_kafka_headers_new(pairs.len()),
            }
        };
        let list = HeaderList(NonNull::new(list)?);
        for (name, value) in pairs {
            let (start, len) =
                value.map_or((ptr::null(), 0), |value| (value.as_ptr().cast(), value.len()));
            // SAFETY: as above. Lengths of slices fit in isize. It fails for copied lists of
            // read-only messages only, which ours are not.
            unsafe {
                sys::rd_kafka_header_add(
                    list.0.as_ptr(),
                    name.as_ptr().cast(),
                    name.len() as isize,
                    start,
                    len as isize,
                );
            }
        }
        Some(list)
    }
}

/// A topic as a producer knows it: saves the look-up by name for every record.
pub struct TopicHandle {
    topic: NonNull<sys::rd_kafka_topic_t>,
    name: String,
    producer: Arc<ProducerHandle>,
}

// SAFETY: librdkafka's topics are locked inside and may be used from any thread.
unsafe impl Send for TopicHandle {}

impl Drop for TopicHandle {
    fn drop(&mut self) {
        // SAFETY: the one reference that we hold, given back once; the client still lives.
        unsafe { sys::rd_kafka_topic_destroy(self.topic.as_ptr()) }
    }
}

impl TopicHandle {
    pub(super) fn new(producer: Arc<ProducerHandle>, name: &str) -> Result<Self, KafkaError> {
        let doing = || format!("opening topic {name} for writing");
        let text = CString::new(name)
            .map_err(|_| KafkaError::Config(format!("{}: zero byte", doing())))?;
        // SAFETY: the handle keeps the client alive; the name is copied; null is an error.
        let topic =
            unsafe { sys::rd_kafka_topic_new(producer.native(), text.as_ptr(), ptr::null_mut()) };
        match NonNull::new(topic) {
            Some(topic) => Ok(TopicHandle { topic, name: name.to_owned(), producer }),
            None => Err(KafkaError::Config(format!("{}: not a topic name", doing()))),
        }
    }

    /// The topic's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn belongs_to(&self, producer: &Arc<ProducerHandle>) -> bool {
        Arc::ptr_eq(&self.producer, producer)
    }

    /// Queues a record. Key, value and headers are copied.
    pub(super) fn produce(&self, record: &Record<'_>) -> Result<(), SendError> {
        use sys::rd_kafka_vtype_t as Type;
        let headers = HeaderList::build(&record.headers);
        let field = |vtype, u| sys::rd_kafka_vu_t { vtype, u };
        let mem = |part: Option<&[u8]>| {
            let (start, size) = part.map_or((ptr::null(), 0), |part| (part.as_ptr(), part.len()));
            let mem = sys::rd_kafka_vu_s__bindgen_ty_1__bindgen_ty_1 {
                ptr: start.cast_mut().cast(),
                size,
            };
            Union { mem }
        };
        let fields = [
            field(Type::RD_KAFKA_VTYPE_RKT, Union { rkt: self.topic.as_ptr() }),
            field(Type::RD_KAFKA_VTYPE_PARTITION, Union { i32_: record.partition.unwrap_or(-1) }),
            field(Type::RD_KAFKA_VTYPE_MSGFLAGS, Union { i: sys::RD_KAFKA_MSG_F_COPY }),
            field(Type::RD_KAFKA_VTYPE_KEY, mem(record.key)),
            field(Type::RD_KAFKA_VTYPE_VALUE, mem(record.value)),
            // Zero stands for the current time.
            field(Type::RD_KAFKA_VTYPE_TIMESTAMP, Union { i64_: record.timestamp.unwrap_or(0) }),
            field(
                Type::RD_KAFKA_VTYPE_OPAQUE,
                Union { ptr: ptr::without_provenance_mut(record.tag) },
            ),
            field(
                Type::RD_KAFKA_VTYPE_HEADERS,
                Union { headers: headers.as_ref().map_or(ptr::null_mut(), |list| list.0.as_ptr()) },
            ),
        ];
        // SAFETY: each tag goes with the union's member that it stands for; the bytes are copied
        // (F_COPY) before the call returns; the client lives; null headers stand for none.
        let error = unsafe {
            sys::rd_kafka_produceva(self.producer.native(), fields.as_ptr(), fields.len())
        };
        if error.is_null() {
            // The record owns them now; after an error they stay ours.
            std::mem::forget(headers);
            return Ok(());
        }
        // SAFETY: a code can be read as long as the object lives; `outcome` destroys it.
        let code = Code::from(unsafe { sys::rd_kafka_error_code(error) });
        let failed = outcome(&format!("writing to {}", self.name), error);
        Err(SendError::decide(code, failed.expect_err("the error was not null")))
    }
}

type Union = sys::rd_kafka_vu_s__bindgen_ty_1;

/// What [`TopicHandle::produce`] takes.
pub(super) struct Record<'a> {
    pub(super) partition: Option<i32>,
    pub(super) key: Option<&'a [u8]>,
    pub(super) value: Option<&'a [u8]>,
    pub(super) headers: HeadersArg<'a>,
    pub(super) timestamp: Option<i64>,
    pub(super) tag: usize,
}
