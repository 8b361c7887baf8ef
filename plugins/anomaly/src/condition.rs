//! One condition, from its table in the settings to a test of values.

use pipeline_sdk::{OneOf, Plan, Pointer, Range, Scalar, Value};
use serde::Deserialize;

use crate::format::Format;

/// A table of the list `conditions`: a code, a field and one kind of test.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Condition {
    code: String,
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

/// Checks one condition and adds what it reads to the plan.
pub fn check(condition: Condition, number: usize, plan: &mut Plan) -> Result<Checked, String> {
    let Condition { code, field, one_of, ignore_case, missing, kind, format, min, max } = condition;
    let at = format!("setting `conditions[{number}]");
    let plain = |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
    if code.is_empty() || !code.chars().all(plain) {
        return Err(format!(
            "{at}.code`: `{code}` is no code: use letters, digits, `-`, `_` and `.`"
        ));
    }
    let field =
        field.ok_or_else(|| format!("{at}`: the field is missing: add `field = \"/locale\"`"))?;
    if missing == Some(false) {
        return Err(format!(
            "{at}.missing`: it can only be `true`: a value that is there is no anomaly"
        ));
    }
    if ignore_case.is_some() && one_of.is_none() {
        return Err(format!("{at}.ignore-case`: only for `in`: take it out"));
    }
    let mut tests = Vec::new();
    if min.is_some() || max.is_some() {
        let range = Range::new(min, max).map_err(|error| format!("{at}`: {error}"))?;
        tests.push(Test::NotInRange(range));
    }
    tests.extend(one_of.map(|values| Test::OneOf(OneOf::new(values, ignore_case == Some(true)))));
    tests.extend(missing.map(|_| Test::Missing));
    tests.extend(kind.map(Test::NotOfType));
    tests.extend(format.map(Test::NotOfFormat));
    match (tests.pop(), tests.is_empty()) {
        (Some(test), true) => Ok(Checked { code, column: plan.read_packed(&field), test }),
        _ => Err(format!(
            "{at}`: give exactly one of `in`, `missing`, `type`, `format`, or a range (`min`, `max` \
             or both)"
        )),
    }
}
