//! Records through topic handles.

use std::ffi::CString;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use rdkafka::types::RDKafkaErrorCode as Code;
use rdkafka_sys as sys;

use super::super::client::ProducerHandle;
use super::super::error::KafkaError;
use super::super::producer::SendError;
use super::headers::HeaderList;
use super::{HeadersArg, outcome};

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
    pub(in crate::kafka) fn new(
        producer: Arc<ProducerHandle>,
        name: &str,
    ) -> Result<Self, KafkaError> {
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

    pub(in crate::kafka) fn belongs_to(&self, producer: &Arc<ProducerHandle>) -> bool {
        Arc::ptr_eq(&self.producer, producer)
    }

    /// Queues a record. Key, value and headers are copied.
    pub(in crate::kafka) fn produce(&self, record: &Record<'_>) -> Result<(), SendError> {
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
                Union { headers: headers.as_ref().map_or(ptr::null_mut(), HeaderList::as_ptr) },
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
pub(in crate::kafka) struct Record<'a> {
    pub(in crate::kafka) partition: Option<i32>,
    pub(in crate::kafka) key: Option<&'a [u8]>,
    pub(in crate::kafka) value: Option<&'a [u8]>,
    pub(in crate::kafka) headers: HeadersArg<'a>,
    pub(in crate::kafka) timestamp: Option<i64>,
    pub(in crate::kafka) tag: usize,
}
