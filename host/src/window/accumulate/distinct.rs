//! How many different values: a set of hashes as long as it is small, then HyperLogLog.

use std::fmt::Write as _;

use datasketches::hll::{Coupon, HllSketch, HllType, HllUnion};
use foldhash::fast::FixedState;
use hashbrown::HashSet;
use twox_hash::XxHash3_64;

use super::super::keys::write_value;
use super::super::output::append;
use super::{is_value, parse_json};
use crate::event::Value;

/// 4096 registers: a standard error of 1.04 / √4096 = 1.6 % in 3 KiB. State is written at each
/// commit, so a fourth of the usual size is worth more than half the error.
const REGISTERS_LOG2: u8 = 12;
/// Bytes of a sketch as it is written, in hexadecimal digits, with some to spare.
const SKETCH_TEXT_BYTES: usize = 8 << 10;
/// Digits of a hash and a comma.
const HASH_TEXT_BYTES: usize = 21;

/// What [`Distinct::write`] makes of it at most.
pub(super) fn text_bytes_max(exact_max: usize) -> usize {
    SKETCH_TEXT_BYTES.max(exact_max.saturating_mul(HASH_TEXT_BYTES))
}

/// A hash that is the same in every process and version: of the value's JSON text as group keys
/// have it, by XXH3.
pub(super) fn hash(value: Value<'_>, scratch: &mut String) -> Option<u64> {
    if !is_value(value) {
        return None;
    }
    scratch.clear();
    write_value(scratch, value);
    Some(XxHash3_64::oneshot(scratch.as_bytes()))
}

#[derive(Clone, Debug)]
pub(super) enum Distinct {
    Exact(HashSet<u64, FixedState>),
    /// Order and division of the values show in what it is, never in what it estimates: the
    /// "historical" estimate, which depends on the order, is not asked for.
    Sketch(HllSketch),
}

impl Default for Distinct {
    fn default() -> Self {
        Self::Exact(HashSet::default())
    }
}

/// Whether they say the same.
impl PartialEq for Distinct {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exact(a), Self::Exact(b)) => a == b,
            (Self::Sketch(a), Self::Sketch(b)) => a.composite_estimate() == b.composite_estimate(),
            _ => false,
        }
    }
}

impl Distinct {
    pub(super) fn add(&mut self, hash: u64, exact_max: usize) {
        match self {
            Self::Exact(hashes) => {
                hashes.insert(hash);
                self.hold(exact_max);
            }
            Self::Sketch(sketch) => sketch.update_with_coupon(Coupon::from_value(hash)),
        }
    }

    pub(super) fn merge(&mut self, other: &Self, exact_max: usize) {
        match (&mut *self, other) {
            (Self::Exact(hashes), Self::Exact(others)) => {
                hashes.extend(others);
                self.hold(exact_max);
            }
            (Self::Sketch(sketch), Self::Exact(hashes)) => add_all(sketch, hashes),
            (Self::Exact(hashes), Self::Sketch(other)) => {
                let mut sketch = other.clone();
                add_all(&mut sketch, hashes);
                *self = Self::Sketch(sketch);
            }
            (Self::Sketch(sketch), Self::Sketch(other)) => {
                let mut union = HllUnion::new(REGISTERS_LOG2).expect("a size that there is");
                union.update(sketch);
                union.update(other);
                *sketch = union.to_sketch(HllType::Hll6);
            }
        }
    }

    pub(super) fn bytes(&self) -> usize {
        let rest = match self {
            // A hash table is between half and seven eighths full, with a byte of its own a place.
            Self::Exact(hashes) => hashes.capacity() * 10,
            Self::Sketch(sketch) => sketch.estimated_size(),
        };
        size_of::<Self>() + rest
    }

    /// The hashes as an array, or the sketch as hexadecimal digits in the format that all
    /// Apache DataSketches libraries read.
    pub(super) fn write(&self, to: &mut Vec<u8>) {
        match self {
            Self::Exact(hashes) => {
                let mut hashes: Vec<_> = hashes.iter().collect();
                hashes.sort_unstable();
                serde_json::to_writer(to, &hashes).expect("writing to memory cannot fail");
            }
            Self::Sketch(sketch) => {
                let bytes = sketch.serialize();
                let mut digits = String::with_capacity(bytes.len() * 2);
                for byte in bytes {
                    let _ = write!(digits, "{byte:02x}");
                }
                append(to, format_args!("\"{digits}\""));
            }
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        let Some(digits) = text.strip_prefix('"') else {
            let hashes: Vec<u64> = parse_json(text)?;
            return Some(Self::Exact(hashes.into_iter().collect()));
        };
        let digits = digits.strip_suffix('"')?.as_bytes();
        let digit = |digit: u8| char::from(digit).to_digit(16);
        let byte = |pair: &[u8]| Some((digit(pair[0])? << 4 | digit(*pair.get(1)?)?) as u8);
        let bytes: Vec<u8> = digits.chunks(2).map(byte).collect::<Option<_>>()?;
        HllSketch::deserialize(&bytes).ok().map(Self::Sketch)
    }

    pub(super) fn write_result(&self, to: &mut Vec<u8>) {
        let (count, is_exact) = match self {
            Self::Exact(hashes) => (hashes.len() as u64, true),
            Self::Sketch(sketch) => (sketch.composite_estimate().round() as u64, false),
        };
        append(to, format_args!(r#"{{"count":{count},"exact":{is_exact}}}"#));
    }

    /// Goes over to a sketch when there are too many.
    fn hold(&mut self, exact_max: usize) {
        if let Self::Exact(hashes) = self
            && hashes.len() > exact_max
        {
            let mut sketch =
                HllSketch::new(REGISTERS_LOG2, HllType::Hll6).expect("a size that there is");
            add_all(&mut sketch, hashes);
            *self = Self::Sketch(sketch);
        }
    }
}

fn add_all(sketch: &mut HllSketch, hashes: &HashSet<u64, FixedState>) {
    for hash in hashes {
        sketch.update_with_coupon(Coupon::from_value(*hash));
    }
}
