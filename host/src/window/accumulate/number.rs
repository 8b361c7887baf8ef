//! Numbers: sums that are exact for integers, and comparisons that are exact for all.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use super::super::output::append;
use super::parse_json;
use crate::event::Value;

/// A number of an event.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(in super::super) enum Number {
    Integer(i64),
    /// Finite.
    Fraction(f64),
}

impl Number {
    pub(super) fn of(value: Value<'_>) -> Option<Self> {
        match value {
            Value::Integer(integer) => Some(Self::Integer(integer)),
            Value::Number(number) if number.is_finite() => Some(Self::Fraction(number)),
            _ => None,
        }
    }

    pub(super) fn least(a: Option<Self>, b: Option<Self>) -> Option<Self> {
        match (a, b) {
            (Some(a), Some(b)) => Some(if b.order(a).is_lt() { b } else { a }),
            (a, b) => a.or(b),
        }
    }

    pub(super) fn greatest(a: Option<Self>, b: Option<Self>) -> Option<Self> {
        match (a, b) {
            (Some(a), Some(b)) => Some(if b.order(a).is_gt() { b } else { a }),
            (a, b) => a.or(b),
        }
    }

    /// By value, without rounding; of equal ones the integer is the lesser, so that which of them
    /// is the least or greatest does not depend on who came first.
    fn order(self, other: Self) -> Ordering {
        match (self, other) {
            (Self::Integer(a), Self::Integer(b)) => a.cmp(&b),
            (Self::Fraction(a), Self::Fraction(b)) => a.total_cmp(&b),
            (Self::Integer(a), Self::Fraction(b)) => mixed(a, b).then(Ordering::Less),
            (Self::Fraction(a), Self::Integer(b)) => mixed(b, a).reverse().then(Ordering::Greater),
        }
    }
}

/// An integer against a finite float: the float's whole part fits 128 bits or is beyond all
/// integers.
fn mixed(integer: i64, fraction: f64) -> Ordering {
    let whole = fraction.trunc();
    // Saturates, which is still beyond all 64-bit integers.
    i128::from(integer)
        .cmp(&(whole as i128))
        .then_with(|| 0.0_f64.partial_cmp(&(fraction - whole)).unwrap_or(Ordering::Equal))
}

pub(super) fn write(number: Option<Number>, to: &mut Vec<u8>) {
    match number {
        None => to.extend_from_slice(b"null"),
        Some(Number::Integer(integer)) => append(to, format_args!("{integer}")),
        Some(Number::Fraction(fraction)) => write_fraction(fraction, to),
    }
}

/// A finite float as the shortest JSON that is read as the same one, and as no integer.
fn write_fraction(fraction: f64, to: &mut Vec<u8>) {
    serde_json::to_writer(to, &fraction).expect("writing to memory cannot fail");
}

/// A sum: integers exactly, fractions as floats, apart until the end.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Sum {
    numbers: u64,
    /// 2^64 integers of 64 bits cannot overflow it.
    integers: i128,
    /// Finite: a sum beyond the greatest float is held there.
    fractions: f64,
    has_fractions: bool,
}

impl Sum {
    pub(super) fn add(&mut self, number: Number) {
        self.numbers += 1;
        match number {
            Number::Integer(integer) => self.integers += i128::from(integer),
            Number::Fraction(fraction) => {
                self.fractions = held(self.fractions + fraction);
                self.has_fractions = true;
            }
        }
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.numbers += other.numbers;
        self.integers += other.integers;
        self.fractions = held(self.fractions + other.fractions);
        self.has_fractions |= other.has_fractions;
    }

    /// `[numbers,integers]` or `[numbers,integers,fractions]`.
    pub(super) fn write(&self, to: &mut Vec<u8>) {
        append(to, format_args!("[{},{}", self.numbers, self.integers));
        if self.has_fractions {
            to.push(b',');
            write_fraction(self.fractions, to);
        }
        to.push(b']');
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        if let Some((numbers, integers)) = parse_json(text) {
            return Some(Self { numbers, integers, ..Self::default() });
        }
        let (numbers, integers, fractions) = parse_json(text)?;
        Some(Self { numbers, integers, fractions, has_fractions: true })
    }

    pub(super) fn write_total(&self, to: &mut Vec<u8>) {
        match self.numbers {
            0 => to.extend_from_slice(b"null"),
            _ if self.has_fractions => write_fraction(self.total(), to),
            _ => append(to, format_args!("{}", self.integers)),
        }
    }

    pub(super) fn write_mean(&self, to: &mut Vec<u8>) {
        match self.numbers {
            0 => to.extend_from_slice(b"null"),
            numbers => write_fraction(self.total() / numbers as f64, to),
        }
    }

    fn total(&self) -> f64 {
        held(self.integers as f64 + self.fractions)
    }
}

fn held(sum: f64) -> f64 {
    sum.clamp(f64::MIN, f64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_compared_without_rounding() {
        use Number::{Fraction, Integer};
        let rising = [
            Fraction(-1e300),
            Integer(i64::MIN),
            Integer(-2),
            Fraction(-1.5),
            Integer(-1),
            Fraction(-0.5),
            Integer(0),
            Fraction(0.5),
            Integer(1),
            Fraction(1.0),
            // A float has no 2^53 + 1.
            Fraction(9_007_199_254_740_992.0),
            Integer(9_007_199_254_740_993),
            Integer(i64::MAX),
            Fraction(9_223_372_036_854_775_808.0),
            Fraction(1e300),
        ];
        for (place, a) in rising.iter().enumerate() {
            for (other, b) in rising.iter().enumerate() {
                assert_eq!(a.order(*b), place.cmp(&other), "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn integers_sum_beyond_64_bits_and_a_fraction_makes_a_float() {
        let mut sum = Sum::default();
        for _ in 0..3 {
            sum.add(Number::Integer(i64::MAX));
        }
        let text = |write: &dyn Fn(&mut Vec<u8>)| {
            let mut text = Vec::new();
            write(&mut text);
            String::from_utf8(text).expect("text")
        };
        assert_eq!(text(&|to| sum.write_total(to)), "27670116110564327421");
        assert_eq!(Sum::parse(&text(&|to| sum.write(to))), Some(sum));
        sum.add(Number::Fraction(0.5));
        assert_eq!(text(&|to| sum.write_total(to)), "2.7670116110564327e+19");
        assert_eq!(Sum::parse(&text(&|to| sum.write(to))), Some(sum));
        sum.add(Number::Fraction(f64::MAX));
        sum.add(Number::Fraction(f64::MAX));
        assert_eq!(Sum::parse(&text(&|to| sum.write(to))), Some(sum));
    }
}
