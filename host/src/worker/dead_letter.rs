//! Dead letters and late records: the original record with headers that say why it is there.

use super::headers;
use super::poison::Cut;
use crate::kafka::{HeadersArg, Message, Pair};

/// Why a record is set aside.
#[derive(Clone, Copy, Debug)]
pub struct Why<'a> {
    /// A stable word: a reason of the chain, or `late`.
    pub reason: &'a str,
    /// The same for a person.
    pub message: &'a str,
    /// The stage, or the window of a late record.
    pub stage: &'a str,
}

/// The parts of a record that is written about another.
pub struct Letter<'a> {
    /// The original key, unless it was cut.
    pub key: Option<&'a [u8]>,
    /// The original value, or what is left of it.
    pub value: Option<&'a [u8]>,
    texts: Texts,
    why: Why<'a>,
    topic: &'a str,
    keeps_headers: bool,
}

/// Numbers as the text that headers carry.
struct Texts {
    partition: String,
    offset: String,
    timestamp: Option<String>,
    truncated: Option<String>,
}

impl<'a> Letter<'a> {
    /// About one record of the input topic.
    pub fn new(topic: &'a str, message: &Message<'a>, why: Why<'a>, cut: Cut) -> Self {
        let value = match cut {
            Cut::Whole => message.value,
            Cut::First => message.value.map(|value| &value[..value.len().min(Cut::FIRST_BYTES)]),
            Cut::Nothing => message.value.map(|_| &[][..]),
        };
        let original_bytes = message.value.map_or(0, <[u8]>::len);
        Self {
            key: if cut == Cut::Whole { message.key } else { None },
            value,
            texts: Texts {
                partition: message.partition.to_string(),
                offset: message.offset.to_string(),
                timestamp: message.timestamp.map(|millis| millis.to_string()),
                truncated: (cut != Cut::Whole).then(|| original_bytes.to_string()),
            },
            why,
            topic,
            keeps_headers: cut == Cut::Whole,
        }
    }

    /// The host's own headers.
    pub fn pairs(&self) -> Vec<Pair<'_>> {
        let mut pairs: Vec<Pair<'_>> = vec![
            (headers::REASON, Some(self.why.reason.as_bytes())),
            (headers::MESSAGE, Some(self.why.message.as_bytes())),
            (headers::STAGE, Some(self.why.stage.as_bytes())),
            (headers::TOPIC, Some(self.topic.as_bytes())),
            (headers::PARTITION, Some(self.texts.partition.as_bytes())),
            (headers::OFFSET, Some(self.texts.offset.as_bytes())),
        ];
        if let Some(timestamp) = &self.texts.timestamp {
            pairs.push((headers::TIMESTAMP, Some(timestamp.as_bytes())));
        }
        if let Some(truncated) = &self.texts.truncated {
            pairs.push((headers::TRUNCATED, Some(truncated.as_bytes())));
        }
        pairs
    }

    /// The headers to send: the original ones, then `pairs`, unless the record was cut.
    pub fn headers<'b>(&self, message: &Message<'b>, pairs: &'b [Pair<'b>]) -> HeadersArg<'b> {
        if self.keeps_headers {
            HeadersArg::CopyAnd(message.headers(), pairs)
        } else {
            HeadersArg::Pairs(pairs)
        }
    }
}
