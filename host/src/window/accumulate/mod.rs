//! What is known of a window and group so far: folded event by event, merged, written and read.
//!
//! Merging does not depend on the order or on how events were divided, but for the last digits of
//! sums of fractions, and for [`Top`] once it is not exact.

mod distinct;
mod number;
mod top;

#[cfg(test)]
mod tests;

use serde::Deserialize;
use serde_json::value::RawValue;

use self::distinct::Distinct;
use self::number::{Number, Sum};
use self::top::Top;
use super::output::append;
use super::spec::{Aggregate, Kind};
use crate::event::{Column, Value};

/// What a record of one accumulator may take, with its key far below the megabyte that brokers
/// take by default.
const STATE_BYTES_MAX: usize = 640 << 10;
/// What a window of tops has left for their texts at least.
const TOP_BYTES_MIN: usize = 32 << 10;

/// How one aggregate with a field is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PartKind {
    Sum,
    Min,
    Max,
    Avg,
    Distinct { exact_max: usize },
    Top { k: usize, counted_max: usize, bytes_max: usize },
}

/// The bytes that the texts of each top may take; none if the other aggregates leave too few.
pub(super) fn top_bytes_max(aggregates: &[Aggregate]) -> Option<usize> {
    let taken = |aggregate: &Aggregate| match aggregate.kind {
        Kind::Distinct { exact_max, .. } => distinct::text_bytes_max(exact_max),
        _ => 128,
    };
    let taken = aggregates.iter().map(taken).sum::<usize>();
    let tops = aggregates.iter().filter(|one| matches!(one.kind, Kind::Top { .. })).count();
    let left = STATE_BYTES_MAX.checked_sub(taken)? / tops.max(1);
    (left >= TOP_BYTES_MIN).then_some(left)
}

/// One for each aggregate that has a field, in order.
pub(super) fn parts(aggregates: &[Aggregate]) -> Vec<PartKind> {
    let bytes_max = top_bytes_max(aggregates).unwrap_or(TOP_BYTES_MIN);
    let part = |aggregate: &Aggregate| match aggregate.kind {
        Kind::Count => None,
        Kind::Sum(_) => Some(PartKind::Sum),
        Kind::Min(_) => Some(PartKind::Min),
        Kind::Max(_) => Some(PartKind::Max),
        Kind::Avg(_) => Some(PartKind::Avg),
        Kind::Distinct { exact_max, .. } => Some(PartKind::Distinct { exact_max }),
        Kind::Top { k, counted_max, .. } => Some(PartKind::Top { k, counted_max, bytes_max }),
    };
    aggregates.iter().filter_map(part).collect()
}

/// What is known of a window and group so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Accumulator {
    /// How many events.
    pub(super) count: u64,
    /// None as long as nothing but the count is asked for, so that counting stays small.
    parts: Option<Box<Parts>>,
}

#[derive(Clone, Debug, PartialEq)]
struct Parts(Vec<Part>);

#[derive(Clone, Debug, PartialEq)]
enum Part {
    Sum(Sum),
    Least(Option<Number>),
    Greatest(Option<Number>),
    Distinct(Box<Distinct>),
    Top(Box<Top>),
}

/// A column as an aggregate takes it: made once for each distinct value of a batch.
#[derive(Debug)]
pub(super) enum Inputs {
    Numbers(Vec<Option<Number>>),
    Hashes(Vec<Option<u64>>),
    Texts(Vec<Option<Box<str>>>),
}

impl Inputs {
    pub(super) fn new(kind: PartKind, column: &Column) -> Self {
        let values = (0..column.len()).map(|entry| column.value(entry));
        match kind {
            PartKind::Sum | PartKind::Min | PartKind::Max | PartKind::Avg => {
                Self::Numbers(values.map(Number::of).collect())
            }
            PartKind::Distinct { .. } => {
                let mut text = String::new();
                Self::Hashes(values.map(|value| distinct::hash(value, &mut text)).collect())
            }
            PartKind::Top { .. } => Self::Texts(values.map(top::text).collect()),
        }
    }
}

impl Accumulator {
    pub(super) fn of_count(count: u64) -> Self {
        Self { count, parts: None }
    }

    /// One event more. `entries` says for each part which of its inputs the event has.
    pub(super) fn fold(
        &mut self,
        kinds: &[PartKind],
        inputs: &[Inputs],
        entries: impl Iterator<Item = u32>,
    ) {
        self.count += 1;
        if kinds.is_empty() {
            return;
        }
        let parts = self.parts_mut(kinds);
        for (((part, kind), inputs), entry) in parts.iter_mut().zip(kinds).zip(inputs).zip(entries)
        {
            part.fold(*kind, inputs, entry as usize);
        }
    }

    /// Adds another of the same kinds.
    pub(super) fn merge(&mut self, kinds: &[PartKind], other: &Self) {
        self.count += other.count;
        match (&mut self.parts, &other.parts) {
            (_, None) => {}
            (None, Some(parts)) => self.parts = Some(parts.clone()),
            (Some(parts), Some(others)) => {
                for ((part, other), kind) in parts.0.iter_mut().zip(&others.0).zip(kinds) {
                    part.merge(*kind, other);
                }
            }
        }
    }

    /// Memory besides its own size, estimated.
    pub(super) fn bytes(&self) -> usize {
        self.parts.as_ref().map_or(0, |parts| {
            let parts = &parts.0;
            size_of::<Parts>()
                + parts.iter().map(|part| size_of::<Part>() + part.bytes()).sum::<usize>()
        })
    }

    /// As JSON: the count, or an array of it and of each part.
    pub(super) fn write(&self, to: &mut Vec<u8>) {
        let Some(parts) = &self.parts else {
            append(to, format_args!("{}", self.count));
            return;
        };
        append(to, format_args!("[{}", self.count));
        for part in &parts.0 {
            to.push(b',');
            part.write(to);
        }
        to.push(b']');
    }

    /// None if it is not what [`Accumulator::write`] writes for these kinds.
    pub(super) fn parse(kinds: &[PartKind], text: &str) -> Option<Self> {
        if let Ok(count) = text.parse() {
            return Some(Self::of_count(count));
        }
        let raw: Vec<&RawValue> = serde_json::from_str(text).ok()?;
        let (count, parts) = raw.split_first()?;
        if parts.len() != kinds.len() {
            return None;
        }
        let parts = parts.iter().zip(kinds).map(|(part, kind)| Part::parse(*kind, part.get()));
        let parts = Parts(parts.collect::<Option<_>>()?);
        Some(Self { count: count.get().parse().ok()?, parts: Some(Box::new(parts)) })
    }

    /// Adds `,"<name>":<value>` for each aggregate.
    pub(super) fn write_result(
        &self,
        aggregates: &[Aggregate],
        kinds: &[PartKind],
        to: &mut Vec<u8>,
    ) {
        let empty = Parts(Vec::new());
        let parts = self.parts.as_deref().unwrap_or(&empty);
        let mut parts = parts.0.iter();
        let mut kinds = kinds.iter();
        for Aggregate { name, kind } in aggregates {
            append(to, format_args!(",{}:", serde_json::Value::from(name.as_str())));
            if *kind == Kind::Count {
                append(to, format_args!("{}", self.count));
                continue;
            }
            let kind = kinds.next().expect("one for each aggregate with a field");
            match parts.next() {
                Some(part) => part.write_result(*kind, to),
                None => Part::new(*kind).write_result(*kind, to),
            }
        }
    }

    fn parts_mut(&mut self, kinds: &[PartKind]) -> &mut [Part] {
        let new = || Box::new(Parts(kinds.iter().map(|kind| Part::new(*kind)).collect()));
        &mut self.parts.get_or_insert_with(new).0
    }
}

impl Part {
    fn new(kind: PartKind) -> Self {
        match kind {
            PartKind::Sum | PartKind::Avg => Self::Sum(Sum::default()),
            PartKind::Min => Self::Least(None),
            PartKind::Max => Self::Greatest(None),
            PartKind::Distinct { .. } => Self::Distinct(Box::default()),
            PartKind::Top { .. } => Self::Top(Box::default()),
        }
    }

    fn fold(&mut self, kind: PartKind, inputs: &Inputs, entry: usize) {
        match (self, inputs, kind) {
            (Self::Sum(sum), Inputs::Numbers(numbers), _) => {
                if let Some(number) = numbers[entry] {
                    sum.add(number);
                }
            }
            (Self::Least(least), Inputs::Numbers(numbers), _) => {
                *least = Number::least(*least, numbers[entry]);
            }
            (Self::Greatest(greatest), Inputs::Numbers(numbers), _) => {
                *greatest = Number::greatest(*greatest, numbers[entry]);
            }
            (
                Self::Distinct(distinct),
                Inputs::Hashes(hashes),
                PartKind::Distinct { exact_max },
            ) => {
                if let Some(hash) = hashes[entry] {
                    distinct.add(hash, exact_max);
                }
            }
            (
                Self::Top(top),
                Inputs::Texts(texts),
                PartKind::Top { counted_max, bytes_max, .. },
            ) => {
                if let Some(text) = &texts[entry] {
                    top.add(text, 1);
                    top.hold(counted_max, bytes_max);
                }
            }
            _ => unreachable!("parts and inputs are made for the same kinds"),
        }
    }

    fn merge(&mut self, kind: PartKind, other: &Self) {
        match (self, other, kind) {
            (Self::Sum(sum), Self::Sum(other), _) => sum.merge(*other),
            (Self::Least(least), Self::Least(other), _) => *least = Number::least(*least, *other),
            (Self::Greatest(greatest), Self::Greatest(other), _) => {
                *greatest = Number::greatest(*greatest, *other);
            }
            (Self::Distinct(distinct), Self::Distinct(other), PartKind::Distinct { exact_max }) => {
                distinct.merge(other, exact_max);
            }
            (Self::Top(top), Self::Top(other), PartKind::Top { counted_max, bytes_max, .. }) => {
                top.merge(other);
                top.hold(counted_max, bytes_max);
            }
            _ => unreachable!("parts of one definition are of the same kinds"),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Sum(_) | Self::Least(_) | Self::Greatest(_) => 0,
            Self::Distinct(distinct) => distinct.bytes(),
            Self::Top(top) => top.bytes(),
        }
    }

    fn write(&self, to: &mut Vec<u8>) {
        match self {
            Self::Sum(sum) => sum.write(to),
            Self::Least(number) | Self::Greatest(number) => number::write(*number, to),
            Self::Distinct(distinct) => distinct.write(to),
            Self::Top(top) => top.write(to),
        }
    }

    fn parse(kind: PartKind, text: &str) -> Option<Self> {
        Some(match kind {
            PartKind::Sum | PartKind::Avg => Self::Sum(Sum::parse(text)?),
            PartKind::Min => Self::Least(parse_json(text)?),
            PartKind::Max => Self::Greatest(parse_json(text)?),
            PartKind::Distinct { .. } => Self::Distinct(Box::new(Distinct::parse(text)?)),
            PartKind::Top { .. } => Self::Top(Box::new(Top::parse(text)?)),
        })
    }

    fn write_result(&self, kind: PartKind, to: &mut Vec<u8>) {
        match (self, kind) {
            (Self::Sum(sum), PartKind::Avg) => sum.write_mean(to),
            (Self::Sum(sum), _) => sum.write_total(to),
            (Self::Least(number) | Self::Greatest(number), _) => number::write(*number, to),
            (Self::Distinct(distinct), _) => distinct.write_result(to),
            (Self::Top(top), PartKind::Top { k, .. }) => top.write_result(k, to),
            _ => unreachable!("parts are made for their kinds"),
        }
    }
}

fn parse_json<'de, T: Deserialize<'de>>(text: &'de str) -> Option<T> {
    serde_json::from_str(text).ok()
}

/// Whether a value is one to count: neither absent nor `null`.
fn is_value(value: Value<'_>) -> bool {
    !matches!(value, Value::Absent | Value::Null)
}
