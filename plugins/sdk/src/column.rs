//! A batch as a rule sees it, without a copy: the same from wasm memory and from a native host.

use crate::bindings::pipeline::plugin::events;
use crate::{OwnedValue, Packed};

/// One value of a field. Two values are equal when case and content are: `Integer(1)`,
/// `Number(1.0)` and `Text("1")` are three different values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// The event has no such member.
    Absent,
    /// The JSON `null`.
    Null,
    /// `true` or `false`.
    Boolean(bool),
    /// A number without fraction and exponent that fits 64 bits.
    Integer(i64),
    /// Any other number that fits a finite float.
    Number(f64),
    /// A text, unescaped.
    Text(&'a str),
    /// The JSON text of an array, an object, or what none of the others can hold.
    Json(&'a str),
}

impl Value<'_> {
    /// Whether there is nothing: no such member, or `null`.
    pub fn is_missing(self) -> bool {
        matches!(self, Value::Absent | Value::Null)
    }

    /// The same, owning its text.
    pub fn to_owned(self) -> OwnedValue {
        match self {
            Value::Absent => OwnedValue::Absent,
            Value::Null => OwnedValue::Null,
            Value::Boolean(value) => OwnedValue::Boolean(value),
            Value::Integer(value) => OwnedValue::Integer(value),
            Value::Number(value) => OwnedValue::Number(value),
            Value::Text(text) => OwnedValue::Text(text.to_owned()),
            Value::Json(text) => OwnedValue::Json(text.to_owned()),
        }
    }
}

impl<'a> From<&'a OwnedValue> for Value<'a> {
    fn from(value: &'a OwnedValue) -> Self {
        match value {
            OwnedValue::Absent => Value::Absent,
            OwnedValue::Null => Value::Null,
            OwnedValue::Boolean(value) => Value::Boolean(*value),
            OwnedValue::Integer(value) => Value::Integer(*value),
            OwnedValue::Number(value) => Value::Number(*value),
            OwnedValue::Text(text) => Value::Text(text),
            OwnedValue::Json(text) => Value::Json(text),
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum Dictionary<'a> {
    Owned(&'a [OwnedValue]),
    Borrowed(&'a [Value<'a>]),
    Packed { text: &'a str, ends: &'a [u32] },
}

/// One field of all events of a batch: each distinct value once, in order of first appearance.
#[derive(Clone, Copy, Debug)]
pub struct Column<'a> {
    dictionary: Dictionary<'a>,
    index: &'a [u32],
}

impl<'a> Column<'a> {
    /// A column of these values; event `i` has `values[index[i]]`.
    pub fn of_values(values: &'a [Value<'a>], index: &'a [u32]) -> Self {
        Self { dictionary: Dictionary::Borrowed(values), index }
    }

    /// A column of texts in one buffer: text `i` is `bytes[ends[i-1]..ends[i]]`.
    ///
    /// Panics if `bytes` is not UTF-8, which the host rules out.
    pub fn of_texts(bytes: &'a [u8], ends: &'a [u32], index: &'a [u32]) -> Self {
        let text = std::str::from_utf8(bytes).expect("the host hands over UTF-8");
        Self { dictionary: Dictionary::Packed { text, ends }, index }
    }

    /// How many distinct values there are; at least 1.
    #[allow(clippy::len_without_is_empty, reason = "a column of a batch is never empty")]
    pub fn len(&self) -> usize {
        match self.dictionary {
            Dictionary::Owned(values) => values.len(),
            Dictionary::Borrowed(values) => values.len(),
            Dictionary::Packed { ends, .. } => ends.len(),
        }
    }

    /// One distinct value. Panics if `entry` is not below [`Column::len`].
    pub fn value(&self, entry: usize) -> Value<'a> {
        match self.dictionary {
            Dictionary::Owned(values) => Value::from(&values[entry]),
            Dictionary::Borrowed(values) => values[entry],
            Dictionary::Packed { text, ends } => {
                let start = if entry == 0 { 0 } else { ends[entry - 1] };
                Value::Text(&text[start as usize..ends[entry] as usize])
            }
        }
    }

    /// The distinct values, in the order of their numbers.
    pub fn values(&self) -> impl ExactSizeIterator<Item = Value<'a>> + use<'a> {
        let column = *self;
        (0..column.len()).map(move |entry| column.value(entry))
    }

    /// Which of the distinct values each event has.
    pub fn index(&self) -> &'a [u32] {
        self.index
    }
}

impl<'a> From<&'a events::Column> for Column<'a> {
    fn from(column: &'a events::Column) -> Self {
        match &column.dictionary {
            events::Dictionary::Values(values) => {
                Self { dictionary: Dictionary::Owned(values), index: &column.index }
            }
            events::Dictionary::Texts(Packed { bytes, ends }) => {
                Self::of_texts(bytes, ends, &column.index)
            }
        }
    }
}

/// Some events of the pipeline, as columns.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// How many events; at least 1.
    pub events: u32,
    /// The time of processing, in milliseconds since 1970: fixed for the batch, also when it is
    /// run again.
    pub now: i64,
    /// One column per entry of the plan's reads, in that order.
    pub columns: &'a [Column<'a>],
}

impl<'a> Batch<'a> {
    /// The column with this number in the plan. Panics if the plan has none.
    pub fn column(&self, number: u32) -> &'a Column<'a> {
        &self.columns[number as usize]
    }
}
