//! A few of the records that a worker has seen lately, for a new generation to be tried on.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use crate::kafka::{Message, Messages};

/// Records of one worker that are kept.
const RECORDS_MAX: usize = 256;
/// Their bytes.
const BYTES_MAX: usize = 1 << 20;
/// Records that are copied at a time: once per commit.
const EACH: usize = 16;
/// A larger record is passed over.
const RECORD_BYTES_MAX: usize = 64 << 10;

/// A record of the input, whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The key.
    pub key: Option<Vec<u8>>,
    /// The value.
    pub value: Option<Vec<u8>>,
    /// The headers.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    /// Milliseconds since the epoch.
    pub timestamp: Option<i64>,
    /// The partition.
    pub partition: i32,
    /// The offset there.
    pub offset: i64,
}

/// The last ones; the oldest goes first.
#[derive(Debug, Default)]
pub struct Sample(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    records: VecDeque<Arc<Seen>>,
    bytes: usize,
}

impl Sample {
    /// The records, in the order in which they were seen.
    pub fn records(&self) -> Vec<Arc<Seen>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.records.iter().cloned().collect()
    }

    /// Copies some records of a fetch, spread over it.
    pub(super) fn look_at(&self, messages: &Messages) {
        let every = messages.len().div_ceil(EACH).max(1);
        let seen: Vec<_> =
            messages.iter().step_by(every).filter_map(|message| seen(&message)).collect();
        self.keep(seen);
    }

    fn keep(&self, seen: Vec<Seen>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for seen in seen {
            kept.bytes += bytes(&seen);
            kept.records.push_back(Arc::new(seen));
        }
        while kept.records.len() > RECORDS_MAX || kept.bytes > BYTES_MAX {
            let Some(oldest) = kept.records.pop_front() else { break };
            kept.bytes -= bytes(&oldest);
        }
    }
}

/// None of one that is too large to be kept.
fn seen(message: &Message<'_>) -> Option<Seen> {
    let length = |part: Option<&[u8]>| part.map_or(0, <[u8]>::len);
    if length(message.key) + length(message.value) > RECORD_BYTES_MAX {
        return None;
    }
    let owned = |part: Option<&[u8]>| part.map(<[u8]>::to_vec);
    let headers = message.headers();
    let headers = headers.iter().map(|(name, value)| (name.to_owned(), owned(value)));
    let seen = Seen {
        key: owned(message.key),
        value: owned(message.value),
        headers: headers.collect(),
        timestamp: message.timestamp,
        partition: message.partition,
        offset: message.offset,
    };
    (bytes(&seen) <= RECORD_BYTES_MAX).then_some(seen)
}

fn bytes(seen: &Seen) -> usize {
    let length = |part: &Option<Vec<u8>>| part.as_ref().map_or(0, Vec::len);
    let headers = seen.headers.iter().map(|(name, value)| name.len() + length(value));
    length(&seen.key) + length(&seen.value) + headers.sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_records_make_room_by_number_and_by_bytes() {
        let sample = Sample::default();
        let seen = |offset, bytes| Seen { value: Some(vec![0; bytes]), offset, ..Seen::default() };
        sample.keep((0..300).map(|offset| seen(offset, 10)).collect());
        let offsets = || sample.records().iter().map(|seen| seen.offset).collect::<Vec<_>>();
        assert_eq!(offsets(), (44..300).collect::<Vec<_>>());
        sample.keep((300..320).map(|offset| seen(offset, RECORD_BYTES_MAX)).collect());
        assert_eq!(offsets(), (304..320).collect::<Vec<_>>());
    }
}
