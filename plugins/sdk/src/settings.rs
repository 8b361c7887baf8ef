//! Settings into checked types. Every error is a sentence for whoever wrote `pipeline.toml`.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer};

use crate::{Problems, Value};

/// A field of an event: a JSON Pointer (RFC 6901) that is not empty, such as `/client/ip`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pointer(String);

impl Pointer {
    /// Checks the pointer. The error says what a pointer looks like.
    pub fn new(text: &str) -> Result<Self, String> {
        if !text.starts_with('/') {
            return Err(format!("`{text}` is no JSON Pointer: write `/{text}`"));
        }
        let mut escapes = text.split('~').skip(1);
        if !escapes.all(|after| after.starts_with(['0', '1'])) {
            return Err(format!(
                "`{text}` is no JSON Pointer: write `~` as `~0`, and `/` within a name as `~1`"
            ));
        }
        Ok(Self(text.to_owned()))
    }

    /// The pointer as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether one of the two is the other, or lies inside it: then a rule cannot write both.
    pub fn overlaps(&self, other: &Pointer) -> bool {
        let (short, long) =
            if self.0.len() <= other.0.len() { (&self.0, &other.0) } else { (&other.0, &self.0) };
        long.strip_prefix(short.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Pointer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Pointer::new(&text).map_err(de::Error::custom)
    }
}

/// A value in the settings that fields are compared with: a text, a boolean or a number.
#[derive(Clone, Debug, PartialEq)]
pub enum Scalar {
    /// A text.
    Text(String),
    /// `true` or `false`.
    Boolean(bool),
    /// A whole number.
    Integer(i64),
    /// Any other number.
    Number(f64),
}

impl Scalar {
    /// Whether a field's value is this one. Numbers compare by their worth (`1` is `1.0`), texts
    /// exactly; nothing is coerced, so `"12"` is not `12`.
    pub fn is(&self, value: Value<'_>) -> bool {
        match (self, value) {
            (Scalar::Text(text), Value::Text(other)) => text == other,
            (Scalar::Boolean(boolean), Value::Boolean(other)) => *boolean == other,
            _ => self.compare(value) == Some(Ordering::Equal),
        }
    }

    /// How a field's number compares with this number; `None` if either is no number.
    pub fn compare(&self, value: Value<'_>) -> Option<Ordering> {
        match (value, self) {
            (Value::Integer(value), Scalar::Integer(limit)) => Some(value.cmp(limit)),
            (Value::Integer(value), Scalar::Number(limit)) => compare_mixed(value, *limit),
            (Value::Number(value), Scalar::Integer(limit)) => {
                compare_mixed(*limit, value).map(Ordering::reverse)
            }
            (Value::Number(value), Scalar::Number(limit)) => value.partial_cmp(limit),
            _ => None,
        }
    }
}

/// Exact, where `integer as f64` would round what lies beyond 2^53.
fn compare_mixed(integer: i64, number: f64) -> Option<Ordering> {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    if number.is_nan() {
        None
    } else if number >= LIMIT {
        Some(Ordering::Less)
    } else if number < -LIMIT {
        Some(Ordering::Greater)
    } else {
        let whole = number.trunc();
        Some(integer.cmp(&(whole as i64)).then(0.0_f64.partial_cmp(&(number - whole))?))
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let found = match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::String(text) => return Ok(Scalar::Text(text)),
            serde_json::Value::Bool(boolean) => return Ok(Scalar::Boolean(boolean)),
            serde_json::Value::Number(number) => {
                let number = number.as_i64().map(Scalar::Integer).or_else(|| {
                    number.as_f64().filter(|number| number.is_finite()).map(Scalar::Number)
                });
                return number.ok_or_else(|| de::Error::custom("the number is out of range"));
            }
            serde_json::Value::Null => "null",
            serde_json::Value::Array(_) => "a list",
            serde_json::Value::Object(_) => "a table",
        };
        Err(de::Error::custom(format!("found {found}: give a text, a number or a boolean")))
    }
}

/// A set of values that fields are looked up in.
#[derive(Clone, Debug)]
pub struct OneOf {
    /// In lower case where case is ignored.
    texts: BTreeSet<String>,
    others: Vec<Scalar>,
    ignore_case: bool,
}

impl OneOf {
    /// A set of these values; where case is ignored, texts compare by their Unicode lower case.
    pub fn new(values: impl IntoIterator<Item = Scalar>, ignore_case: bool) -> Self {
        let (mut texts, mut others) = (BTreeSet::new(), Vec::new());
        for value in values {
            match value {
                Scalar::Text(text) if ignore_case => drop(texts.insert(text.to_lowercase())),
                Scalar::Text(text) => drop(texts.insert(text)),
                other => others.push(other),
            }
        }
        Self { texts, others, ignore_case }
    }

    /// Whether a field's value is one of them, as [`Scalar::is`] says.
    pub fn contains(&self, value: Value<'_>) -> bool {
        match value {
            Value::Text(text) if self.ignore_case => self.texts.contains(&text.to_lowercase()),
            Value::Text(text) => self.texts.contains(text),
            other => self.others.iter().any(|scalar| scalar.is(other)),
        }
    }
}

/// A range of numbers; both ends belong to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Range {
    min: Option<Scalar>,
    max: Option<Scalar>,
}

impl Range {
    /// Checks the ends: numbers, at least one of them, `min` not above `max`. The error is the first
    /// thing that is wrong.
    pub fn new(min: Option<Scalar>, max: Option<Scalar>) -> Result<Self, String> {
        match Self::faults(&min, &max).into_iter().next() {
            Some((_, fault)) => Err(fault),
            None => Ok(Self { min, max }),
        }
    }

    /// The same of the settings `min` and `max` in the table at this pointer: notes everything that
    /// is wrong, each at its setting.
    pub fn checked(
        min: Option<Scalar>,
        max: Option<Scalar>,
        table: &str,
        problems: &mut Problems,
    ) -> Option<Self> {
        let faults = Self::faults(&min, &max);
        let sound = faults.is_empty();
        for (name, fault) in faults {
            problems.add(format!("{table}{name}"), fault);
        }
        sound.then_some(Self { min, max })
    }

    /// What is wrong, and below the table where.
    fn faults(min: &Option<Scalar>, max: &Option<Scalar>) -> Vec<(&'static str, String)> {
        let ends =
            [("/min", "`min` must be a number", min), ("/max", "`max` must be a number", max)];
        let no_number =
            |end: &&Option<Scalar>| matches!(end, Some(Scalar::Text(_) | Scalar::Boolean(_)));
        let mut faults: Vec<_> = (ends.iter())
            .filter(|(.., end)| no_number(end))
            .map(|&(name, fault, _)| (name, fault.to_owned()))
            .collect();
        let above = match (min, max) {
            (None, None) => {
                faults.push(("", "give `min`, `max` or both".to_owned()));
                None
            }
            (Some(Scalar::Integer(min)), Some(max)) => max.compare(Value::Integer(*min)),
            (Some(Scalar::Number(min)), Some(max)) => max.compare(Value::Number(*min)),
            _ => None,
        };
        if above == Some(Ordering::Greater) {
            faults.push(("/min", "`min` is above `max`: swap them".to_owned()));
        }
        faults
    }

    /// Whether a field's value is a number within. No text is, whatever it says.
    pub fn contains(&self, value: Value<'_>) -> bool {
        let above = |min: &Scalar| min.compare(value).is_some_and(Ordering::is_ge);
        let below = |max: &Scalar| max.compare(value).is_some_and(Ordering::is_le);
        self.min.as_ref().is_none_or(above) && self.max.as_ref().is_none_or(below)
    }
}
