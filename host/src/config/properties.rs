//! librdkafka's own properties, passed through from `[kafka]` and `-X`.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::document::Document;
use super::parse::PropertyCheck;
use super::problem::{Problem, may_be_secret};

/// One `-X key=value`.
#[derive(Clone, PartialEq, Eq)]
pub struct Property {
    /// The name, as `sasl.username`.
    pub key: String,
    /// The value. It may be a secret: it is in no `Debug` text.
    pub value: String,
}

impl Property {
    /// One property a line. A line that begins none belongs to the value before it, so that a
    /// certificate can be a value (`ssl.key.pem`). Empty lines between properties do not count.
    pub fn parse_lines(text: &str) -> Result<Vec<Self>, String> {
        let mut properties: Vec<Self> = Vec::new();
        for line in text.split('\n') {
            let begins = line.split_once('=').is_some_and(|(key, _)| is_name(key.trim()));
            match properties.last_mut() {
                Some(last) if !begins => {
                    last.value.push('\n');
                    last.value.push_str(line);
                }
                None if line.trim().is_empty() => {}
                _ => properties.push(line.parse()?),
            }
        }
        for property in &mut properties {
            property.value.truncate(property.value.trim_end_matches('\n').len());
        }
        Ok(properties)
    }
}

/// Whether this looks like one of librdkafka's names, as no line of a certificate does.
fn is_name(key: &str) -> bool {
    const LENGTH_MAX: usize = 60;
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '.' || c == '_';
    !key.is_empty() && key.len() <= LENGTH_MAX && key.chars().all(fits)
}

impl fmt::Debug for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}=…", self.key)
    }
}

const EXPECTED: &str = "expected key=value, such as client.rack=a (the text is not shown here, since it \
                        may be a secret)";

impl FromStr for Property {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() => {
                Ok(Self { key: key.trim().to_owned(), value: value.to_owned() })
            }
            // The text is not repeated: it may be a secret.
            Some(_) => Err(format!("there is no name before `=`: {EXPECTED}")),
            None => Err(format!("there is no `=` in it: {EXPECTED}")),
        }
    }
}

/// Properties by name. Their values are in no `Debug` text, since some are secrets.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Properties(BTreeMap<String, String>);

impl Properties {
    /// Names and values, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// The value of one.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }
}

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// `[kafka]`, then the flags, which beat it.
pub(super) fn read(
    document: &Document,
    table: Option<&DeTable<'_>>,
    flags: &[Property],
    check: PropertyCheck<'_>,
) -> Properties {
    let mut properties = Properties::default();
    if let Some(table) = table {
        read_table(document, table, "", check, &mut properties.0);
    }
    for Property { key, value } in flags {
        if let Some((message, help)) = check(key, value) {
            let file = format!("-X {key}={}", shown(key, value));
            document.push(Problem { file, place: None, key: String::new(), message, help });
        }
        properties.0.insert(key.clone(), value.clone());
    }
    properties
}

/// A value as it may be shown: no secret, and one short line.
fn shown(key: &str, value: &str) -> String {
    const LENGTH_MAX: usize = 40;
    let cut = value.chars().take_while(|c| !c.is_control()).take(LENGTH_MAX);
    if may_be_secret(key) || key.starts_with("sasl.") || key.starts_with("ssl.key") {
        return "…".to_owned();
    }
    let text: String = cut.collect();
    if text.len() < value.len() { format!("{text}…") } else { text }
}

/// A name without quotes is a path in TOML: `sasl.username = "x"` comes as a table in a table.
fn read_table(
    document: &Document,
    table: &DeTable<'_>,
    prefix: &str,
    check: PropertyCheck<'_>,
    properties: &mut BTreeMap<String, String>,
) {
    for (key, value) in table {
        let name = format!("{prefix}{}", key.get_ref());
        if let DeValue::Table(inner) = value.get_ref() {
            read_table(document, inner, &format!("{name}."), check, properties);
            continue;
        }
        let problem = |message: String, help: &str| {
            let place = document.place(key.span());
            document.add(Some(place), format!("[kafka] {name}"), message, help);
        };
        let Some(text) = text_of(value) else {
            let found = value.get_ref().type_str();
            let message = format!("a property of librdkafka cannot be of the type {found}");
            problem(message, "write a text, a number, true or false");
            continue;
        };
        if let Some((message, help)) = check(&name, &text) {
            problem(message, &help);
        }
        properties.insert(name, text);
    }
}

fn text_of(value: &Spanned<DeValue<'_>>) -> Option<String> {
    match value.get_ref() {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => {
            i64::from_str_radix(number.as_str(), number.radix()).ok().map(|n| n.to_string())
        }
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Boolean(value) => Some(value.to_string()),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&[(&str, &str)]>) {
        let found = Property::parse_lines(text).ok();
        let found: Option<Vec<_>> = found.as_ref().map(|properties| {
            properties.iter().map(|p| (p.key.as_str(), p.value.as_str())).collect()
        });
        assert_eq!(found.as_deref(), expected, "{text:?}");
    }

    #[test]
    fn properties_stand_one_a_line() {
        check("", Some(&[]));
        check("a=", Some(&[("a", "")]));
        check("a=b=c ", Some(&[("a", "b=c ")]));
        check("\na.b = 1\n\nc_d=2\n", Some(&[("a.b", " 1"), ("c_d", "2")]));
        check("nothing", None);
        check("=value", None);
    }

    #[test]
    fn a_value_may_have_several_lines() {
        let pem = "-----BEGIN CERTIFICATE-----\nMIIB/q==\nQUJD=\n-----END CERTIFICATE-----";
        check(
            &format!("ssl.ca.pem={pem}\nclient.rack=r"),
            Some(&[("ssl.ca.pem", pem), ("client.rack", "r")]),
        );
    }
}
