//! Builds a column: finds out which values of a batch are the same.

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use std::hash::{BuildHasher, Hasher};

use super::scan::{Kind, Span};
use super::{Column, Value, text};

/// No entry yet.
const NONE: u32 = u32::MAX;

/// How many short values are found again by their JSON text alone.
const SHORTCUTS: usize = 64;

/// The JSON text of a value, if it is no longer than 16 bytes, and its entry. Many columns have a
/// few short values, for which this saves to tell their kind, to hash and to compare.
#[derive(Clone, Copy, Default)]
struct Shortcut {
    first: u64,
    last: u64,
    /// 0 where there is none yet: no value has an empty text.
    length: u32,
    entry: u32,
}

impl Shortcut {
    /// The shortcut of a span, yet without entry, and its place.
    #[inline]
    fn new(text: &[u8], span: Span) -> Option<(Self, usize)> {
        let (start, end) = (span.start as usize, span.end as usize);
        let word = |at: usize| Some(u64::from_le_bytes(*text.get(at..)?.first_chunk::<8>()?));
        let (first, last) = match end - start {
            length @ 1..8 => (word(start)? & ((1 << (8 * length)) - 1), 0),
            8..=16 => (word(start)?, word(end - 8)?),
            _ => return None,
        };
        let mixed = (first ^ last.rotate_left(23)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let shortcut = Self { first, last, length: span.end - span.start, entry: NONE };
        Some((shortcut, (mixed >> 32) as usize % SHORTCUTS))
    }

    #[inline]
    fn is(&self, other: &Self) -> bool {
        self.first == other.first && self.last == other.last && self.length == other.length
    }
}

/// A dictionary that grows by the values that it has not seen.
pub(super) struct Interner {
    column: Column,
    shortcuts: [Shortcut; SHORTCUTS],
    table: HashTable<u32>,
    /// The hash of each entry, for when the table grows.
    hashes: Vec<u64>,
    /// The entries of absent, null, false and true, which need no hash.
    plain: [u32; 4],
    random: RandomState,
    /// The characters of a text with escapes.
    scratch: String,
}

impl Interner {
    /// An empty one, for as many events.
    pub fn new(events: usize) -> Self {
        Self {
            column: Column::for_events(events),
            shortcuts: [Shortcut::default(); SHORTCUTS],
            table: HashTable::new(),
            hashes: Vec::new(),
            plain: [NONE; 4],
            random: RandomState::default(),
            scratch: String::new(),
        }
    }

    /// The next event has this entry.
    #[inline]
    pub fn next(&mut self, entry: u32) {
        self.column.index.push(entry);
    }

    /// The column.
    pub fn finish(self) -> Column {
        self.column
    }

    /// The entry of the value that stands at `span` of a valid text.
    #[inline]
    pub fn span(&mut self, text: &[u8], span: Span) -> u32 {
        let Some((mut shortcut, place)) = Shortcut::new(text, span) else {
            return self.whole_span(text, span);
        };
        let known = self.shortcuts[place];
        if known.is(&shortcut) {
            return known.entry;
        }
        shortcut.entry = self.whole_span(text, span);
        self.shortcuts[place] = shortcut;
        shortcut.entry
    }

    #[inline(never)]
    fn whole_span(&mut self, text: &[u8], span: Span) -> u32 {
        let raw = span.of(text);
        match span.kind {
            Kind::Text => self.text(&raw[1..raw.len() - 1]),
            Kind::Absent => self.plain(0, Value::Absent),
            Kind::Integer => match text::integer(raw) {
                Some(value) => self.integer(value),
                None => self.number(raw),
            },
            Kind::Null => self.plain(1, Value::Null),
            Kind::False => self.plain(2, Value::Boolean(false)),
            Kind::True => self.plain(3, Value::Boolean(true)),
            Kind::Number => self.number(raw),
            Kind::Escaped => self.escaped(raw),
            Kind::Object | Kind::Array => self.json(raw),
        }
    }

    /// The entry of a value.
    pub fn value(&mut self, value: Value<'_>) -> u32 {
        match value {
            Value::Absent => self.plain(0, value),
            Value::Null => self.plain(1, value),
            Value::Boolean(truth) => self.plain(2 + usize::from(truth), value),
            Value::Integer(value) => self.integer(value),
            Value::Number(value) => self.float(value),
            Value::Text(text) => self.text(text.as_bytes()),
            Value::Json(text) => self.json(text.as_bytes()),
        }
    }

    #[inline]
    fn plain(&mut self, place: usize, value: Value<'_>) -> u32 {
        if self.plain[place] == NONE {
            self.plain[place] = self.add(0, value);
        }
        self.plain[place]
    }

    #[inline]
    fn text(&mut self, characters: &[u8]) -> u32 {
        let hash = self.hash_bytes(characters);
        let same =
            |value: Value<'_>| matches!(value, Value::Text(text) if text.as_bytes() == characters);
        match self.find(hash, same) {
            Some(entry) => entry,
            None => self.insert(hash, Value::Text(valid(characters))),
        }
    }

    #[inline]
    fn integer(&mut self, value: i64) -> u32 {
        let hash = self.hash_number(value as u64);
        match self.find(hash, |other| other == Value::Integer(value)) {
            Some(entry) => entry,
            None => self.insert(hash, Value::Integer(value)),
        }
    }

    /// A number that is no 64-bit integer.
    fn number(&mut self, raw: &[u8]) -> u32 {
        match text::number(raw) {
            Some(value) => self.float(value),
            None => self.json(raw),
        }
    }

    fn float(&mut self, value: f64) -> u32 {
        let hash = self.hash_number(value.to_bits().rotate_left(32));
        // By their bits: -0.0 and 0.0 differ in content.
        let same = |other: Value<'_>| matches!(other, Value::Number(other) if other.to_bits() == value.to_bits());
        match self.find(hash, same) {
            Some(entry) => entry,
            None => self.insert(hash, Value::Number(value)),
        }
    }

    fn escaped(&mut self, raw: &[u8]) -> u32 {
        let mut plain = std::mem::take(&mut self.scratch);
        plain.clear();
        let entry = if text::unescape(&raw[1..raw.len() - 1], &mut plain) {
            self.text(plain.as_bytes())
        } else {
            self.json(raw)
        };
        self.scratch = plain;
        entry
    }

    fn json(&mut self, raw: &[u8]) -> u32 {
        let hash = !self.hash_bytes(raw);
        let same = |value: Value<'_>| matches!(value, Value::Json(text) if text.as_bytes() == raw);
        match self.find(hash, same) {
            Some(entry) => entry,
            None => self.insert(hash, Value::Json(valid(raw))),
        }
    }

    #[inline]
    fn hash_bytes(&self, bytes: &[u8]) -> u64 {
        let mut hasher = self.random.build_hasher();
        hasher.write(bytes);
        hasher.finish()
    }

    #[inline]
    fn hash_number(&self, number: u64) -> u64 {
        let mut hasher = self.random.build_hasher();
        hasher.write_u64(number);
        hasher.finish()
    }

    #[inline]
    fn find(&self, hash: u64, same: impl Fn(Value<'_>) -> bool) -> Option<u32> {
        let column = &self.column;
        self.table.find(hash, |&entry| same(column.value(entry as usize))).copied()
    }

    fn insert(&mut self, hash: u64, value: Value<'_>) -> u32 {
        let entry = self.add(hash, value);
        let hashes = &self.hashes;
        self.table.insert_unique(hash, entry, |&entry| hashes[entry as usize]);
        entry
    }

    fn add(&mut self, hash: u64, value: Value<'_>) -> u32 {
        let entry = self.column.len() as u32;
        self.column.push(value);
        self.hashes.push(hash);
        entry
    }
}

/// Text that was scanned.
fn valid(text: &[u8]) -> &str {
    std::str::from_utf8(text).expect("the scan of the event checked it")
}
