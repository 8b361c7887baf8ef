//! Group keys: the distinct values of a batch as canonical texts, each made once.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::hash::BuildHasher;
use std::sync::LazyLock;

use foldhash::SharedSeed;
use foldhash::fast::SeedableRandomState;
use hashbrown::HashMap;
use sha2::{Digest, Sha256};

use crate::event::{Column, Value};

/// A longer group key is cut, and ends in the hash of the whole: it stays a key of its own, and no
/// event can make a state record that the broker refuses.
pub(super) const KEY_BYTES_MAX: usize = 4096;

/// One hasher for the whole process, so that a partition's tables can move between workers. Its
/// seed is random: senders of events cannot make keys collide.
static HASHER: LazyLock<SeedableRandomState> = LazyLock::new(|| {
    SeedableRandomState::with_seed(0x77_696e_646f_7773, SharedSeed::global_random())
});

pub(super) fn hash(key: &str) -> u64 {
    HASHER.hash_one(key)
}

/// The group keys of a batch. A key is JSON: a text as a string, absent as `null`, several fields
/// as an array.
#[derive(Debug, Default)]
pub(super) struct Keys {
    texts: String,
    entries: Vec<(u64, usize)>,
    pairs: HashMap<(u32, u32), u32, SeedableRandomState>,
}

impl Keys {
    /// Takes in the keys of a batch of so many events and says which event has which.
    pub(super) fn load<'a>(&mut self, columns: &'a [Column], events: usize) -> Cow<'a, [u32]> {
        self.texts.clear();
        self.entries.clear();
        match columns {
            [] => {
                self.push(|text| text.push_str("null"));
                Cow::Owned(vec![0; events])
            }
            [column] => {
                for entry in 0..column.len() {
                    self.push(|text| write_value(text, column.value(entry)));
                }
                Cow::Borrowed(column.index())
            }
            [first, rest @ ..] => Cow::Owned(self.load_several(first, rest)),
        }
    }

    /// How many distinct keys there are, of which some may be equal.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The hash and the text of a key.
    pub(super) fn get(&self, key: usize) -> (u64, &str) {
        let start = key.checked_sub(1).map_or(0, |before| self.entries[before].1);
        let (hash, end) = self.entries[key];
        (hash, &self.texts[start..end])
    }

    fn load_several(&mut self, first: &Column, rest: &[Column]) -> Vec<u32> {
        let mut index = first.index().to_vec();
        let mut samples = Vec::new();
        for column in rest {
            self.pairs.clear();
            samples.clear();
            for (event, (combined, &entry)) in index.iter_mut().zip(column.index()).enumerate() {
                *combined = *self.pairs.entry((*combined, entry)).or_insert_with(|| {
                    samples.push(event);
                    samples.len() as u32 - 1
                });
            }
        }
        for &event in &samples {
            self.push(|text| {
                for (place, column) in std::iter::once(first).chain(rest).enumerate() {
                    text.push(if place == 0 { '[' } else { ',' });
                    write_value(text, column.value(column.index()[event] as usize));
                }
                text.push(']');
            });
        }
        index
    }

    fn push(&mut self, write: impl FnOnce(&mut String)) {
        let start = self.texts.len();
        write(&mut self.texts);
        hold(&mut self.texts, start, KEY_BYTES_MAX);
        self.entries.push((hash(&self.texts[start..]), self.texts.len()));
    }
}

/// Cuts the JSON that begins at `start` if it is longer.
pub(super) fn hold(text: &mut String, start: usize, bytes_max: usize) {
    if text.len() - start > bytes_max {
        let cut = cut(&text[start..], bytes_max);
        text.truncate(start);
        write_json(text, &cut);
    }
}

/// The first part of a long key and the hash of all of it. As a JSON string it may take a few
/// times its bytes, which is a bound still.
fn cut(key: &str, bytes_max: usize) -> String {
    let digest = Sha256::digest(key);
    let mut cut = key[..key.floor_char_boundary(bytes_max / 8)].to_owned();
    cut.push_str("…sha256:");
    for byte in &digest[..16] {
        let _ = write!(cut, "{byte:02x}");
    }
    cut
}

pub(super) fn write_value(text: &mut String, value: Value<'_>) {
    match value {
        Value::Absent | Value::Null => text.push_str("null"),
        Value::Boolean(value) => text.push_str(if value { "true" } else { "false" }),
        Value::Integer(value) => {
            let _ = write!(text, "{value}");
        }
        Value::Number(value) => write_json(text, &value),
        Value::Text(value) => write_json(text, value),
        Value::Json(json) => text.push_str(json),
    }
}

/// Writing to a `String` cannot fail, and texts and finite floats are always JSON; an infinite one
/// becomes `null`.
fn write_json(text: &mut String, value: &(impl serde::Serialize + ?Sized)) {
    match serde_json::to_string(value) {
        Ok(json) => text.push_str(&json),
        Err(_) => text.push_str("null"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(columns: &[Column], events: usize) -> Vec<String> {
        let mut keys = Keys::default();
        let index = keys.load(columns, events);
        index.iter().map(|&key| keys.get(key as usize).1.to_owned()).collect()
    }

    #[test]
    fn each_kind_of_value_is_a_key_of_its_own_and_absent_is_null() {
        let values = [
            Value::Absent,
            Value::Null,
            Value::Boolean(true),
            Value::Integer(1),
            Value::Number(1.0),
            Value::Text("1"),
            Value::Text("say \"hi\"\n"),
            Value::Json("[1, 2]"),
        ];
        let column = Column::new(&values, (0..8).collect());
        let expected =
            ["null", "null", "true", "1", "1.0", "\"1\"", "\"say \\\"hi\\\"\\n\"", "[1, 2]"];
        assert_eq!(texts(&[column], 8), expected);
    }

    #[test]
    fn without_a_group_there_is_one_key() {
        assert_eq!(texts(&[], 2), ["null", "null"]);
    }

    #[test]
    fn several_fields_make_an_array_each_combination_once() {
        let a = Column::new(&[Value::Text("x"), Value::Text("y")], vec![0, 1, 0, 1]);
        let b = Column::new(&[Value::Integer(1), Value::Absent], vec![0, 0, 1, 0]);
        let mut keys = Keys::default();
        let columns = [a, b];
        assert_eq!(&*keys.load(&columns, 4), [0, 1, 2, 1]);
        assert_eq!(keys.len(), 3);
        assert_eq!(keys.get(2).1, "[\"x\",null]");
    }

    #[test]
    fn long_keys_are_cut_and_stay_different() {
        let long = |end: &str| "ä".repeat(KEY_BYTES_MAX) + end;
        let (a, b) = (long("a"), long("b"));
        let column = Column::new(&[Value::Text(&a), Value::Text(&b)], vec![0, 1]);
        let texts = texts(&[column], 2);
        assert_ne!(texts[0], texts[1]);
        for text in texts {
            assert!(text.len() < KEY_BYTES_MAX, "{}", text.len());
            serde_json::from_str::<String>(&text).expect("a JSON string");
        }
    }
}
