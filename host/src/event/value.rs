//! One value of a field, as rules see it (`value` in `wit/events.wit`).

/// A value that lies in a dictionary.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// The event has no such member.
    Absent,
    /// The JSON `null`.
    Null,
    /// `true` or `false`.
    Boolean(bool),
    /// A number without fraction and exponent that fits 64 bits; never `-0`.
    Integer(i64),
    /// Any other number that fits a finite float.
    Number(f64),
    /// A text, unescaped.
    Text(&'a str),
    /// The JSON text of what none of the others can hold: an array, an object, a number beyond
    /// them, a text with a lone surrogate escape.
    Json(&'a str),
}

/// A value that owns its text: what a rule answers.
#[derive(Clone, Debug, PartialEq)]
pub enum OwnedValue {
    /// See [`Value::Absent`]; a wrong answer inside an edit.
    Absent,
    /// The JSON `null`.
    Null,
    /// `true` or `false`.
    Boolean(bool),
    /// A 64-bit integer.
    Integer(i64),
    /// A float; a wrong answer if it is not finite.
    Number(f64),
    /// A text, unescaped.
    Text(String),
    /// One JSON text; a wrong answer if it is not valid.
    Json(String),
}
