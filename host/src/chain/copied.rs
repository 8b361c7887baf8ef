//! A batch's records, copied: for whoever wants to run them elsewhere, after the worker has gone on.

use std::ops::Range;

use super::{Header, Record};

/// The records of one batch in one buffer.
#[derive(Debug, Default)]
pub struct Copied {
    /// The time of processing that the batch had, in milliseconds since the epoch.
    pub now: i64,
    bytes: Vec<u8>,
    records: Vec<Place>,
    /// The headers of all records, one behind the other.
    headers: Vec<(Range<usize>, Option<Range<usize>>)>,
}

#[derive(Debug)]
struct Place {
    key: Option<Range<usize>>,
    value: Option<Range<usize>>,
    headers: Range<usize>,
    timestamp: Option<i64>,
    partition: i32,
    offset: i64,
}

impl Copied {
    /// A copy of some records. Allocates per batch, not per record.
    pub fn of(records: &[Record<'_>], now: i64) -> Self {
        let mut copied = Self {
            now,
            bytes: Vec::with_capacity(records.iter().map(size).sum()),
            records: Vec::with_capacity(records.len()),
            headers: Vec::new(),
        };
        records.iter().for_each(|record| copied.push(record));
        copied
    }

    /// No records yet.
    pub fn at(now: i64) -> Self {
        Self { now, ..Self::default() }
    }

    /// Copies one more record.
    pub fn push(&mut self, record: &Record<'_>) {
        let first = self.headers.len();
        for header in record.headers {
            let name = self.add(header.name.as_bytes());
            let value = header.value.map(|value| self.add(value));
            self.headers.push((name, value));
        }
        let place = Place {
            key: record.key.map(|key| self.add(key)),
            value: record.value.map(|value| self.add(value)),
            headers: first..self.headers.len(),
            timestamp: record.timestamp,
            partition: record.partition,
            offset: record.offset,
        };
        self.records.push(place);
    }

    fn add(&mut self, part: &[u8]) -> Range<usize> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(part);
        start..self.bytes.len()
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Gives the records to `use_them`, as the chain takes them.
    pub fn with<R>(&self, use_them: impl FnOnce(&[Record<'_>]) -> R) -> R {
        let part = |range: &Range<usize>| &self.bytes[range.clone()];
        let header = |(name, value): &(Range<usize>, Option<Range<usize>>)| Header {
            name: std::str::from_utf8(part(name)).expect("it was copied from a text"),
            value: value.as_ref().map(part),
        };
        let headers: Vec<Header<'_>> = self.headers.iter().map(header).collect();
        let record = |place: &Place| Record {
            key: place.key.as_ref().map(part),
            value: place.value.as_ref().map(part),
            headers: &headers[place.headers.clone()],
            timestamp: place.timestamp,
            partition: place.partition,
            offset: place.offset,
        };
        let records: Vec<Record<'_>> = self.records.iter().map(record).collect();
        use_them(&records)
    }
}

fn size(record: &Record<'_>) -> usize {
    let length = |part: Option<&[u8]>| part.map_or(0, <[u8]>::len);
    let headers = record.headers.iter().map(|header| header.name.len() + length(header.value));
    length(record.key) + length(record.value) + headers.sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_holds_what_the_records_hold() {
        let headers = [Header { name: "a", value: None }, Header { name: "b", value: Some(b"1") }];
        let record = |key, value, headers| Record {
            key,
            value,
            headers,
            timestamp: Some(7),
            partition: 2,
            offset: 9,
        };
        let records = [
            record(None, Some(&b"{}"[..]), &headers[..]),
            record(Some(&b""[..]), None, &[]),
            record(Some(&b"k"[..]), Some(&b"v"[..]), &headers[1..]),
        ];
        let copied = Copied::of(&records, 5);
        assert_eq!((copied.now, copied.len(), copied.is_empty()), (5, 3, false));
        let shown = format!("{records:?}");
        copied.with(|records| assert_eq!(format!("{records:?}"), shown));
    }
}
