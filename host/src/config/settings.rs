//! `[stage.settings]`: as JSON for the plugin, and with the place of each value for what the plugin
//! says about it.

use std::collections::BTreeMap;
use std::sync::Arc;

use toml::Spanned;
use toml::de::DeValue;

use super::document::Document;
use super::problem::Place;
use super::table::Table;

/// Where a value stands in the file, and what is in it.
#[derive(Debug, PartialEq)]
pub(super) struct Spot {
    place: Place,
    inside: Inside,
}

#[derive(Debug, PartialEq)]
enum Inside {
    Nothing,
    Members(BTreeMap<String, Spot>),
    Items(Vec<Spot>),
}

/// One thing that a plugin says about its settings.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Remark {
    pub place: Place,
    /// The setting, as `settings.conditions[0].equals`.
    pub key: String,
    pub message: String,
}

/// The settings of a stage; where there are none, `{}` in the place of the stage.
pub(super) fn read(document: &Document, table: &Table<'_>) -> (Arc<str>, Spot) {
    let place = table.place_of("settings").expect("the table was read");
    let none = (Arc::from("{}"), Spot { place, inside: Inside::Nothing });
    let Some(value) = table.value("settings") else { return none };
    if !value.get_ref().is_table() {
        table.problem("settings", "expected a table", "write `[stage.settings]` above its keys");
        return none;
    }
    let spot = Spot { place, inside: inside(document, value) };
    (Arc::from(json(document, "settings", value).to_string()), spot)
}

fn json(document: &Document, path: &str, value: &Spanned<DeValue<'_>>) -> serde_json::Value {
    let problem = |message: &str| {
        let place = document.place(value.span());
        document.add(Some(place), format!("[[stage]] {path}"), message, "write it as a text");
        serde_json::Value::Null
    };
    match value.get_ref() {
        DeValue::String(text) => text.to_string().into(),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => number.into(),
            Err(_) => problem("a whole number beyond 64 bits"),
        },
        DeValue::Float(number) => {
            let number = number.as_str().replace('_', "").parse().unwrap_or(f64::NAN);
            match serde_json::Number::from_f64(number) {
                Some(number) => number.into(),
                None => problem("JSON has no such number"),
            }
        }
        DeValue::Boolean(value) => (*value).into(),
        DeValue::Datetime(time) => time.to_string().into(),
        DeValue::Array(items) => {
            items.iter().map(|item| json(document, path, item)).collect::<Vec<_>>().into()
        }
        DeValue::Table(table) => table
            .iter()
            .map(|(key, value)| {
                let inner = format!("{path}.{}", key.get_ref());
                (key.get_ref().to_string(), json(document, &inner, value))
            })
            .collect::<serde_json::Map<_, _>>()
            .into(),
    }
}

fn inside(document: &Document, value: &Spanned<DeValue<'_>>) -> Inside {
    match value.get_ref() {
        DeValue::Array(items) => {
            let spot = |item: &Spanned<_>| Spot {
                place: document.place(item.span()),
                inside: inside(document, item),
            };
            Inside::Items(items.iter().map(spot).collect())
        }
        DeValue::Table(members) => {
            let spot = |key: &Spanned<_>, value: &Spanned<DeValue<'_>>| {
                // With its key, since a problem may be about either; a header is the place of both.
                let (key, span) = (key.span(), value.span());
                let span = if key.end <= span.start { key.start..span.end } else { span };
                Spot { place: document.place(span), inside: inside(document, value) }
            };
            let members = members.iter();
            Inside::Members(
                members.map(|(key, value)| (key.get_ref().to_string(), spot(key, value))).collect(),
            )
        }
        _ => Inside::Nothing,
    }
}

impl Spot {
    /// A place with nothing in it.
    pub(super) fn empty(place: Place) -> Self {
        Self { place, inside: Inside::Nothing }
    }

    /// Settings that are in no file: everything in them has the same place.
    pub(super) fn all_at(place: Place, value: &serde_json::Value) -> Self {
        let of = |value| Self::all_at(place, value);
        let inside = match value {
            serde_json::Value::Object(members) => Inside::Members(
                members.iter().map(|(name, value)| (name.clone(), of(value))).collect(),
            ),
            serde_json::Value::Array(items) => Inside::Items(items.iter().map(of).collect()),
            _ => Inside::Nothing,
        };
        Self { place, inside }
    }

    /// What a plugin's refusal of these settings says, each problem at its place. The form of the
    /// text is described at `configure` in `wit/rules.wit`.
    pub(super) fn remarks(&self, text: &str) -> Vec<Remark> {
        problems(text).iter().map(|problem| self.remark(problem)).collect()
    }

    fn remark(&self, problem: &str) -> Remark {
        let whole = Found { spot: self, key: "settings".to_owned(), complete: true };
        // A name in the pointer may have the `: ` in it, too: what is in the file decides.
        let mut found: Option<(Found<'_>, &str)> = None;
        for (end, separator) in problem.match_indices(SEPARATOR) {
            let Some(next) = is_pointer(&problem[..end]).then(|| self.find(&problem[..end])) else {
                break;
            };
            if found.is_none() || next.complete {
                found = Some((next, &problem[end + separator.len()..]));
            }
        }
        let (Found { spot, key, .. }, message) = found.unwrap_or((whole, problem));
        Remark { place: spot.place, key, message: message.to_owned() }
    }

    /// What a pointer points at, or what is nearest around it.
    fn find(&self, pointer: &str) -> Found<'_> {
        let mut found = Found { spot: self, key: "settings".to_owned(), complete: true };
        for name in pointer.split('/').skip(1) {
            let name = name.replace("~1", "/").replace("~0", "~");
            let next = match &found.spot.inside {
                _ if !found.complete => None,
                Inside::Members(members) => members.get(&name),
                Inside::Items(items) => name.parse().ok().and_then(|at: usize| items.get(at)),
                Inside::Nothing => None,
            };
            found.key += &match &found.spot.inside {
                Inside::Items(_) if next.is_some() => format!("[{name}]"),
                _ => format!(".{name}"),
            };
            match next {
                Some(spot) => found.spot = spot,
                None => found.complete = false,
            }
        }
        found
    }
}

struct Found<'a> {
    spot: &'a Spot,
    key: String,
    /// Whether this is the very place.
    complete: bool,
}

/// Between the place and the message.
const SEPARATOR: &str = ": ";

fn is_pointer(text: &str) -> bool {
    text.starts_with('/') && text.split('~').skip(1).all(|after| after.starts_with(['0', '1']))
}

/// The problems that a text tells: one a line where any line has a pointer, else one.
fn problems(text: &str) -> Vec<String> {
    // What else there is could steer a terminal, or pass for another line.
    let text = text.replace(|c: char| c.is_control() && c != '\n' && c != '\t', " ");
    let has_pointer =
        |line: &str| line.split_once(SEPARATOR).is_some_and(|(pointer, _)| is_pointer(pointer));
    if !text.lines().any(has_pointer) {
        return vec![text.trim().to_owned()];
    }
    let mut problems: Vec<String> = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        match problems.last_mut() {
            Some(last) if line.starts_with([' ', '\t']) => {
                last.push('\n');
                last.push_str(line.trim());
            }
            _ => problems.push(line.trim().to_owned()),
        }
    }
    problems
}
