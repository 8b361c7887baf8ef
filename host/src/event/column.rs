//! A dictionary column: each distinct value once, and an index that says which event has which.

use super::Value;

/// Where the text of an entry stands in the column's buffer.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Entry {
    Absent,
    Null,
    Boolean(bool),
    Integer(i64),
    Number(f64),
    Text { start: u32, end: u32 },
    Json { start: u32, end: u32 },
}

/// One field of all events of a batch.
#[derive(Clone, Debug, Default)]
pub struct Column {
    entries: Vec<Entry>,
    /// The texts of all entries, in the order of the entries.
    bytes: String,
    /// Where the text of each entry ends: as long as `entries` while every one is a text.
    ends: Vec<u32>,
    pub(super) index: Vec<u32>,
}

impl Column {
    /// A column of these distinct values; every number of `index` must be a place in `values`.
    pub fn new(values: &[Value<'_>], index: Vec<u32>) -> Self {
        let mut column = Self { index, ..Self::default() };
        for &value in values {
            column.push(value);
        }
        debug_assert!(column.index.iter().all(|&entry| (entry as usize) < column.len()));
        column
    }

    /// An empty one, with room for the index of as many events.
    pub(super) fn for_events(events: usize) -> Self {
        Self { index: Vec::with_capacity(events), ..Self::default() }
    }

    /// How many distinct values there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no value, which is so only where there are no events.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Which entry each event has.
    pub fn index(&self) -> &[u32] {
        &self.index
    }

    /// One entry of the dictionary.
    #[inline]
    pub fn value(&self, entry: usize) -> Value<'_> {
        match self.entries[entry] {
            Entry::Absent => Value::Absent,
            Entry::Null => Value::Null,
            Entry::Boolean(value) => Value::Boolean(value),
            Entry::Integer(value) => Value::Integer(value),
            Entry::Number(value) => Value::Number(value),
            Entry::Text { start, end } => Value::Text(self.text(start, end)),
            Entry::Json { start, end } => Value::Json(self.text(start, end)),
        }
    }

    /// All entries as texts in one buffer with their ends, if every one is a text.
    pub fn texts(&self) -> Option<(&[u8], &[u32])> {
        (self.ends.len() == self.entries.len()).then_some((self.bytes.as_bytes(), &self.ends))
    }

    #[inline]
    fn text(&self, start: u32, end: u32) -> &str {
        &self.bytes[start as usize..end as usize]
    }

    /// Adds an entry; the caller knows that no other is the same.
    pub(super) fn push(&mut self, value: Value<'_>) {
        let entry = match value {
            Value::Absent => Entry::Absent,
            Value::Null => Entry::Null,
            Value::Boolean(value) => Entry::Boolean(value),
            Value::Integer(value) => Entry::Integer(value),
            Value::Number(value) => Entry::Number(value),
            Value::Text(text) => {
                let (start, end) = self.push_text(text);
                if self.ends.len() == self.entries.len() {
                    self.ends.push(end);
                }
                Entry::Text { start, end }
            }
            Value::Json(text) => {
                let (start, end) = self.push_text(text);
                Entry::Json { start, end }
            }
        };
        self.entries.push(entry);
    }

    fn push_text(&mut self, text: &str) -> (u32, u32) {
        let start = self.bytes.len();
        self.bytes.push_str(text);
        let end = u32::try_from(self.bytes.len()).expect("a batch is far smaller than 4 GiB");
        (start as u32, end)
    }
}
