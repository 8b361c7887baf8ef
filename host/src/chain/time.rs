//! One value of a field as a time.

use crate::event::Value;

/// How a value of a field says a time. Numbers may have a fraction; what is finer than a
/// millisecond is cut off towards the past. Times outside the years 0000 to 9999 are no times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TimeUnit {
    /// A text is read as [`TimeUnit::Rfc3339`]. A number is read by its magnitude: below 10^11
    /// seconds, below 10^14 milliseconds, below 10^17 microseconds, else nanoseconds. So seconds
    /// reach to the year 5138, and a time before March 1973 must be in seconds.
    #[default]
    Auto,
    /// A number of seconds since the epoch.
    Seconds,
    /// A number of milliseconds since the epoch.
    Millis,
    /// A number of microseconds since the epoch.
    Micros,
    /// A number of nanoseconds since the epoch.
    Nanos,
    /// A text such as `2023-09-12T00:45:51Z` or `2023-09-12T02:45:51.5+02:00` (RFC 3339).
    Rfc3339,
}

impl TimeUnit {
    /// The time in milliseconds since the epoch; none if the value is no time in this unit.
    pub fn millis(self, value: Value<'_>) -> Option<i64> {
        let millis = match (self, value) {
            (TimeUnit::Auto | TimeUnit::Rfc3339, Value::Text(text)) => {
                chrono::DateTime::parse_from_rfc3339(text).ok()?.timestamp_millis()
            }
            (TimeUnit::Rfc3339, _) => return None,
            (unit, Value::Integer(number)) => {
                let (times, by) = unit.scale(number.unsigned_abs() as f64);
                number.checked_mul(times)?.div_euclid(by)
            }
            (unit, Value::Number(number)) => {
                let (times, by) = unit.scale(number.abs());
                // Saturates far outside of the years that are accepted below.
                (number * times as f64 / by as f64).floor() as i64
            }
            _ => return None,
        };
        (YEAR_0_MILLIS..YEAR_10000_MILLIS).contains(&millis).then_some(millis)
    }

    /// What turns a number of this magnitude into milliseconds: times, then divided by.
    fn scale(self, magnitude: f64) -> (i64, i64) {
        match self {
            TimeUnit::Seconds => (1_000, 1),
            TimeUnit::Millis => (1, 1),
            TimeUnit::Micros => (1, 1_000),
            TimeUnit::Nanos => (1, 1_000_000),
            TimeUnit::Auto | TimeUnit::Rfc3339 => match magnitude {
                m if m < 1e11 => (1_000, 1),
                m if m < 1e14 => (1, 1),
                m if m < 1e17 => (1, 1_000),
                _ => (1, 1_000_000),
            },
        }
    }
}

const YEAR_0_MILLIS: i64 = -62_167_219_200_000;
const YEAR_10000_MILLIS: i64 = 253_402_300_800_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(unit: TimeUnit, value: Value<'_>, millis: Option<i64>) {
        assert_eq!(unit.millis(value), millis, "{unit:?} {value:?}");
    }

    #[test]
    fn auto_tells_units_by_magnitude() {
        use TimeUnit::Auto;
        check(Auto, Value::Integer(1_694_479_551), Some(1_694_479_551_000));
        check(Auto, Value::Integer(1_694_479_551_123), Some(1_694_479_551_123));
        check(Auto, Value::Integer(1_694_479_551_123_456), Some(1_694_479_551_123));
        check(Auto, Value::Integer(1_694_479_551_123_456_789), Some(1_694_479_551_123));
        check(Auto, Value::Integer(99_999_999_999), Some(99_999_999_999_000));
        check(Auto, Value::Integer(100_000_000_000), Some(100_000_000_000));
        check(Auto, Value::Integer(0), Some(0));
        check(Auto, Value::Integer(-1), Some(-1_000));
        check(Auto, Value::Integer(i64::MIN), Some(i64::MIN.div_euclid(1_000_000)));
        check(Auto, Value::Number(1_694_479_551.0), Some(1_694_479_551_000));
        check(Auto, Value::Number(1_694_479_551.25), Some(1_694_479_551_250));
        check(Auto, Value::Number(-0.5), Some(-500));
        check(Auto, Value::Text("2023-09-12T00:45:51Z"), Some(1_694_479_551_000));
        check(Auto, Value::Text("2023-09-12T02:45:51.5+02:00"), Some(1_694_479_551_500));
    }

    #[test]
    fn what_is_no_time_is_none() {
        for unit in [TimeUnit::Auto, TimeUnit::Seconds, TimeUnit::Rfc3339] {
            check(unit, Value::Absent, None);
            check(unit, Value::Null, None);
            check(unit, Value::Boolean(true), None);
            check(unit, Value::Json("[1]"), None);
            check(unit, Value::Text("1694479551"), None);
            check(unit, Value::Text(""), None);
            check(unit, Value::Number(1e300), None);
        }
        check(TimeUnit::Rfc3339, Value::Integer(1_694_479_551), None);
        check(TimeUnit::Seconds, Value::Text("2023-09-12T00:45:51Z"), None);
    }

    #[test]
    fn years_of_more_than_four_digits_are_no_times() {
        check(TimeUnit::Seconds, Value::Integer(253_402_300_799), Some(253_402_300_799_000));
        check(TimeUnit::Seconds, Value::Integer(253_402_300_800), None);
        check(TimeUnit::Seconds, Value::Integer(-62_167_219_200), Some(-62_167_219_200_000));
        check(TimeUnit::Seconds, Value::Integer(-62_167_219_201), None);
        check(TimeUnit::Seconds, Value::Integer(i64::MAX), None);
        check(TimeUnit::Seconds, Value::Number(f64::MAX), None);
    }

    #[test]
    fn a_fixed_unit_does_not_guess() {
        check(TimeUnit::Millis, Value::Integer(1_694_479_551), Some(1_694_479_551));
        check(TimeUnit::Micros, Value::Integer(-1), Some(-1));
        check(TimeUnit::Nanos, Value::Integer(1_999_999), Some(1));
    }
}
