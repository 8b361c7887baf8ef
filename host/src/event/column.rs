//! A dictionary column: each distinct value once, and an index that says which event has which.

use super::Value;

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
    bytes: Vec<u8>,
    /// Where the text of each entry ends: as long as `entries` while every one is a text.
    ends: Vec<u32>,
    index: Vec<u32>,
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
        (self.ends.len() == self.entries.len()).then_some((&self.bytes, &self.ends))
    }

    fn text(&self, start: u32, end: u32) -> &str {
        std::str::from_utf8(&self.bytes[start as usize..end as usize])
            .expect("only whole strs are pushed")
    }

    fn push(&mut self, value: Value<'_>) {
        let start = self.bytes.len() as u32;
        let entry = match value {
            Value::Absent => Entry::Absent,
            Value::Null => Entry::Null,
            Value::Boolean(value) => Entry::Boolean(value),
            Value::Integer(value) => Entry::Integer(value),
            Value::Number(value) => Entry::Number(value),
            Value::Text(text) => {
                self.bytes.extend_from_slice(text.as_bytes());
                if self.ends.len() == self.entries.len() {
                    self.ends.push(self.bytes.len() as u32);
                }
                Entry::Text { start, end: self.bytes.len() as u32 }
            }
            Value::Json(text) => {
                self.bytes.extend_from_slice(text.as_bytes());
                Entry::Json { start, end: self.bytes.len() as u32 }
            }
        };
        self.entries.push(entry);
    }
}
