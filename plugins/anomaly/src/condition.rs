//! One condition, from its table in the settings to a test of values.

use pipeline_sdk::{OneOf, Plan, Pointer, Problems, Range, Scalar, Value};
use serde::Deserialize;

use crate::format::Format;

/// A table of the list `conditions`: a code, a field and one kind of test.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Condition {
    pub code: String,
    field: Option<Pointer>,
    #[serde(rename = "in")]
    one_of: Option<Vec<Scalar>>,
    ignore_case: Option<bool>,
    missing: Option<bool>,
    #[serde(rename = "type")]
    kind: Option<Kind>,
    format: Option<Format>,
    min: Option<Scalar>,
    max: Option<Scalar>,
}

/// What JSON calls the value.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    Text,
    Boolean,
    Integer,
    Number,
    Array,
    Object,
}

impl Kind {
    fn is_of(self, value: Value<'_>) -> bool {
        match (self, value) {
            (Kind::Text, Value::Text(_))
            | (Kind::Boolean, Value::Boolean(_))
            | (Kind::Integer, Value::Integer(_))
            | (Kind::Number, Value::Integer(_) | Value::Number(_)) => true,
            // The first character tells what the JSON text is.
            (Kind::Array, Value::Json(json)) => json.starts_with('['),
            (Kind::Object, Value::Json(json)) => json.starts_with('{'),
            (Kind::Text, Value::Json(json)) => json.starts_with('"'),
            (Kind::Number, Value::Json(json)) => {
                json.starts_with(['-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9'])
            }
            _ => false,
        }
    }
}

/// What a condition looks for in its field.
pub enum Test {
    /// A value of the list.
    OneOf(OneOf),
    /// No value, or `null`.
    Missing,
    /// A value of another type.
    NotOfType(Kind),
    /// A value that is no text of this format.
    NotOfFormat(Format),
    /// A value that is no number of this range.
    NotInRange(Range),
}

impl Test {
    /// Whether the value is an anomaly. What is missing is none but for [`Test::Missing`].
    pub fn finds(&self, value: Value<'_>) -> bool {
        if value.is_missing() {
            return matches!(self, Test::Missing);
        }
        match self {
            Test::OneOf(values) => values.contains(value),
            Test::Missing => false,
            Test::NotOfType(kind) => !kind.is_of(value),
            Test::NotOfFormat(format) => {
                !matches!(value, Value::Text(text) if format.matches(text))
            }
            Test::NotInRange(range) => !range.contains(value),
        }
    }
}

/// A condition that has been checked.
pub struct Checked {
    pub code: String,
    pub column: u32,
    pub test: Test,
}

/// What is looked for in login events unless the settings say otherwise.
pub fn defaults() -> Vec<Condition> {
    let of = |code: &str, field| Condition {
        code: code.to_owned(),
        field: Some(Pointer::new(field).expect("it begins with a slash")),
        ..Condition::default()
    };
    let locales = ["KP", "RU"].map(|locale| Scalar::Text(locale.to_owned()));
    vec![
        Condition {
            one_of: Some(locales.into()),
            ignore_case: Some(true),
            ..of("suspicious-locale", "/locale")
        },
        Condition { missing: Some(true), ..of("missing-user-id", "/user_id") },
        Condition { format: Some(Format::Uuid), ..of("malformed-user-id", "/user_id") },
        Condition { missing: Some(true), ..of("missing-ip", "/ip") },
        Condition { format: Some(Format::Ip), ..of("malformed-ip", "/ip") },
        Condition { format: Some(Format::Semver), ..of("malformed-app-version", "/app_version") },
    ]
}

/// Checks the condition at this place and adds what it reads to the plan; none if it has problems.
pub fn check(
    condition: Condition,
    at: &str,
    plan: &mut Plan,
    problems: &mut Problems,
) -> Option<Checked> {
    let Condition { code, field, one_of, ignore_case, missing, kind, format, min, max } = condition;
    let plain = |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
    if code.is_empty() || !code.chars().all(plain) {
        let message = format!("`{code}` is no code: use letters, digits, `-`, `_` and `.`");
        problems.add(format!("{at}/code"), message);
    }
    if field.is_none() {
        problems.add(format!("{at}/field"), "missing: add `field = \"/locale\"`");
    }
    if missing == Some(false) {
        let message = "it can only be `true`: a value that is there is no anomaly";
        problems.add(format!("{at}/missing"), message);
    }
    let range = min.is_some() || max.is_some();
    let given = [range, one_of.is_some(), missing.is_some(), kind.is_some(), format.is_some()];
    let given = given.into_iter().filter(|given| *given).count();
    if given > 0 && ignore_case.is_some() && one_of.is_none() {
        problems.add(format!("{at}/ignore-case"), "only for `in`: take it out");
    }
    if given != 1 {
        problems.add(
            at,
            "give exactly one of `in`, `missing`, `type`, `format`, or a range (`min`, `max` or \
             both)",
        );
    }
    let range = if range { Range::checked(min, max, at, problems) } else { None };
    let test = match (one_of, kind, format, range) {
        (Some(values), ..) => Test::OneOf(OneOf::new(values, ignore_case == Some(true))),
        (_, Some(kind), ..) => Test::NotOfType(kind),
        (.., Some(format), _) => Test::NotOfFormat(format),
        (.., Some(range)) => Test::NotInRange(range),
        _ => Test::Missing,
    };
    Some(Checked { code, column: plan.read_packed(&field?), test })
}
