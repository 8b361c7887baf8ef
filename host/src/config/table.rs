//! One table of the file, read key by key. A wrong value is noted and its default taken, so that
//! one run finds every problem; [`Table::finish`] notes the keys that nobody asked for.

use std::cell::RefCell;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::document::Document;
use super::problem::Place;
use super::units::{Bytes, parse_bytes, parse_duration};

/// A table, or the absence of one, which reads as an empty table.
pub(super) struct Table<'a> {
    document: &'a Document,
    /// As it stands in the file: `[source]`.
    header: String,
    /// In front of the keys, for a table within: `limits.`.
    prefix: String,
    entries: Option<&'a DeTable<'a>>,
    place: Option<Place>,
    known: RefCell<Vec<&'static str>>,
}

type Value<'a> = &'a Spanned<DeValue<'a>>;

impl<'a> Table<'a> {
    pub(super) fn new(
        document: &'a Document,
        header: impl Into<String>,
        prefix: impl Into<String>,
        table: Option<(&'a DeTable<'a>, Place)>,
    ) -> Self {
        Self {
            document,
            header: header.into(),
            prefix: prefix.into(),
            entries: table.map(|(entries, _)| entries),
            place: table.map(|(_, place)| place),
            known: RefCell::default(),
        }
    }

    /// Where it begins; none if it is not there.
    pub(super) fn place(&self) -> Option<Place> {
        self.place
    }

    /// The place of a key's value, or else that of the table.
    pub(super) fn place_of(&self, key: &str) -> Option<Place> {
        let value = self.entries.and_then(|entries| entries.get(key));
        value.map(|value| self.document.place(value.span())).or(self.place)
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.is_some_and(|entries| entries.contains_key(key))
    }

    /// Notes a problem with a key.
    pub(super) fn problem(&self, key: &str, message: impl Into<String>, help: impl Into<String>) {
        self.document.add(self.place_of(key), self.name(key), message, help);
    }

    fn name(&self, key: &str) -> String {
        format!("{} {}{key}", self.header, self.prefix)
    }

    /// The value of a key, whatever it is. Whoever asks makes the key known.
    pub(super) fn value(&self, key: &'static str) -> Option<Value<'a>> {
        self.known.borrow_mut().push(key);
        self.entries?.get(key)
    }

    fn wrong_type(&self, key: &str, value: Value<'_>, expected: &str, example: &str) {
        let found = match value.get_ref().type_str() {
            "string" => "a text",
            "integer" => "a whole number",
            "float" => "a number with a fraction",
            "boolean" => "true or false",
            "datetime" => "a date",
            "array" => "an array",
            _ => "a table",
        };
        let help = format!("write {}", line(key, example));
        self.problem(key, format!("expected {expected}, found {found}"), help);
    }

    pub(super) fn text(&self, key: &'static str, example: &str) -> Option<String> {
        let value = self.value(key)?;
        let text = value.get_ref().as_str();
        if text.is_none() {
            self.wrong_type(key, value, "a text", &format!("{example:?}"));
        }
        text.map(str::to_owned)
    }

    /// A text that `check` takes; what it answers else is the message.
    pub(super) fn checked_text(
        &self,
        key: &'static str,
        example: &str,
        check: impl Fn(&str) -> Result<(), String>,
    ) -> Option<String> {
        let text = self.text(key, example)?;
        if let Err(message) = check(&text) {
            self.problem(
                key,
                message,
                format!("write for example {}", line(key, format!("{example:?}"))),
            );
            return None;
        }
        Some(text)
    }

    /// A text or a list of texts that `check` takes; none if the key is absent.
    pub(super) fn texts(
        &self,
        key: &'static str,
        example: &str,
        check: impl Fn(&str) -> Result<(), String>,
    ) -> Vec<String> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let items = match value.get_ref() {
            DeValue::Array(items) => items.iter().collect(),
            _ => vec![value],
        };
        let mut texts = Vec::new();
        for item in items {
            match item.get_ref().as_str() {
                None => self.wrong_type(key, item, "a list of texts", example),
                Some(text) => match check(text) {
                    Ok(()) => texts.push(text.to_owned()),
                    Err(message) => {
                        self.problem(
                            key,
                            message,
                            format!("write for example {}", line(key, example)),
                        );
                    }
                },
            }
        }
        texts
    }

    pub(super) fn duration(
        &self,
        key: &'static str,
        default: Duration,
        bounds: RangeInclusive<Duration>,
    ) -> Duration {
        let example = format!("\"{}\"", shown_duration(default));
        let Some(value) = self.value(key) else { return default };
        let Some(text) = value.get_ref().as_str() else {
            self.wrong_type(key, value, "a duration as a text with its unit", &example);
            return default;
        };
        let part_of_milli = |duration: Duration| !duration.subsec_nanos().is_multiple_of(1_000_000);
        match parse_duration(text) {
            // Kafka and the windows count in milliseconds; only a call's time per event is less.
            Ok(found) if part_of_milli(found) && !part_of_milli(default) => {
                self.refuse(key, "has a part of a millisecond".to_owned(), &example, default)
            }
            Ok(found) => self.bounded(key, found, default, bounds, shown_duration, &example),
            Err(message) => self.refuse(key, message, &example, default),
        }
    }

    pub(super) fn bytes(
        &self,
        key: &'static str,
        default: u64,
        bounds: RangeInclusive<u64>,
    ) -> u64 {
        let shown = |bytes| Bytes(bytes).to_string();
        let example = format!("\"{}\"", shown(default));
        let Some(value) = self.value(key) else { return default };
        let found = match value.get_ref() {
            DeValue::String(text) => parse_bytes(text),
            DeValue::Integer(number) => u64::from_str_radix(number.as_str(), number.radix())
                .map_err(|_| format!("{number} is not a size")),
            _ => {
                self.wrong_type(key, value, "a size as a text with its unit", &example);
                return default;
            }
        };
        match found {
            Ok(found) => self.bounded(key, found, default, bounds, shown, &example),
            Err(message) => self.refuse(key, message, &example, default),
        }
    }

    pub(super) fn integer(
        &self,
        key: &'static str,
        default: i64,
        bounds: RangeInclusive<i64>,
    ) -> i64 {
        let Some(value) = self.value(key) else { return default };
        let Some(number) = value.get_ref().as_integer() else {
            self.wrong_type(key, value, "a whole number", &default.to_string());
            return default;
        };
        match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(found) => {
                self.bounded(key, found, default, bounds, |n| n.to_string(), &default.to_string())
            }
            Err(_) => {
                self.refuse(key, format!("{number} is too large"), &default.to_string(), default)
            }
        }
    }

    pub(super) fn boolean(&self, key: &'static str, default: bool) -> bool {
        let Some(value) = self.value(key) else { return default };
        let found = value.get_ref().as_bool();
        if found.is_none() {
            self.wrong_type(key, value, "true or false", &default.to_string());
        }
        found.unwrap_or(default)
    }

    /// A number above 0, at most 1.
    pub(super) fn share(&self, key: &'static str, default: f64) -> f64 {
        let Some(value) = self.value(key) else { return default };
        let found = match value.get_ref() {
            DeValue::Float(number) => number.as_str().replace('_', "").parse().unwrap_or(f64::NAN),
            DeValue::Integer(number) if number.as_str() == "1" => 1.0,
            DeValue::Integer(_) => f64::NAN,
            _ => {
                self.wrong_type(key, value, "a share", &default.to_string());
                return default;
            }
        };
        if found > 0.0 && found <= 1.0 {
            return found;
        }
        self.refuse(key, "must be above 0 and at most 1".to_owned(), &default.to_string(), default)
    }

    /// One of some words.
    pub(super) fn choice<T: Copy>(
        &self,
        key: &'static str,
        default: T,
        choices: &[(&str, T)],
    ) -> T {
        let Some(text) = self.text(key, choices[0].0) else { return default };
        if let Some(&(_, found)) = choices.iter().find(|(name, _)| *name == text) {
            return found;
        }
        let names: Vec<_> = choices.iter().map(|&(name, _)| name).collect();
        let message = format!("{text:?} is none of {}", names.join(", "));
        let help = suggestion(&text, &names).unwrap_or_else(|| {
            format!("write for example {}", line(key, format!("{:?}", names[0])))
        });
        self.problem(key, message, help);
        default
    }

    /// A table within this one, absent or not.
    pub(super) fn table(&self, key: &'static str) -> Table<'a> {
        let found = self.value(key).and_then(|value| match value.get_ref() {
            DeValue::Table(table) => Some((table, self.document.place(value.span()))),
            _ => {
                self.wrong_type(key, value, "a table", "{ … }");
                None
            }
        });
        Table::new(self.document, &self.header, format!("{}{key}.", self.prefix), found)
    }

    /// All keys with their values, in the order of the file: for keys that are names.
    pub(super) fn entries(&self) -> Vec<(&'a str, Value<'a>)> {
        let mut entries: Vec<_> = self.entries.into_iter().flatten().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        entries.into_iter().map(|(key, value)| (key.get_ref().as_ref(), value)).collect()
    }

    /// A value of this table that is a table, under a key that is a name.
    pub(super) fn named(&self, key: &str, value: Value<'a>) -> Option<Table<'a>> {
        let table = value.get_ref().as_table()?;
        let found = Some((table, self.document.place(value.span())));
        let prefix = format!("{}{key}.", self.prefix);
        Some(Table::new(self.document, &self.header, prefix, found))
    }

    /// A list of tables within this one.
    pub(super) fn tables(&self, key: &'static str) -> Vec<Table<'a>> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let items = value.get_ref().as_array();
        let tables = items.into_iter().flatten().filter_map(|item| {
            item.get_ref().as_table().map(|table| (table, self.document.place(item.span())))
        });
        let header = format!("[[{}.{key}]]", self.header.trim_matches(['[', ']']));
        let tables = tables.map(|table| Table::new(self.document, &header, "", Some(table)));
        let tables: Vec<_> = tables.collect();
        if tables.len() != items.map_or(0, |items| items.len()) || items.is_none() {
            self.wrong_type(key, value, "a list of tables", "[{ … }]");
        }
        tables
    }

    /// Notes every key that nobody asked for.
    pub(super) fn finish(self) {
        let known = self.known.borrow();
        for (key, _) in self.entries.into_iter().flatten() {
            let name: &str = key.get_ref();
            if !known.contains(&name) {
                let place = self.document.place(key.span());
                let help = unknown_help(name, &known);
                self.document.add(Some(place), self.name(name), "unknown key", help);
            }
        }
    }

    fn bounded<T: PartialOrd + Copy>(
        &self,
        key: &str,
        found: T,
        default: T,
        bounds: RangeInclusive<T>,
        shown: impl Fn(T) -> String,
        example: &str,
    ) -> T {
        if bounds.contains(&found) {
            return found;
        }
        let (least, most) = (shown(*bounds.start()), shown(*bounds.end()));
        let message = format!("{} is not between {least} and {most}", shown(found));
        self.refuse(key, message, example, default)
    }

    fn refuse<T>(&self, key: &str, message: String, example: &str, default: T) -> T {
        self.problem(key, message, format!("write for example {}", line(key, example)));
        default
    }
}

/// A table of the file and its place.
pub(super) fn table_in<'a>(
    document: &Document,
    root: &'a DeTable<'a>,
    name: &str,
) -> Option<(&'a DeTable<'a>, Place)> {
    let value = root.get(name)?;
    value.get_ref().as_table().map(|table| (table, document.place(value.span())))
}

/// `[name]`, absent or not.
pub(super) fn section<'a>(document: &'a Document, root: &'a DeTable<'a>, name: &str) -> Table<'a> {
    Table::new(document, format!("[{name}]"), "", table_in(document, root, name))
}

/// The tables of `[[name]]`.
pub(super) fn sections<'a>(
    document: &'a Document,
    root: &'a DeTable<'a>,
    name: &str,
) -> Vec<Table<'a>> {
    let items = root.get(name).and_then(|value| value.get_ref().as_array());
    let tables = items.into_iter().flatten().filter_map(|item| {
        item.get_ref().as_table().map(|table| (table, document.place(item.span())))
    });
    tables.map(|table| Table::new(document, format!("[[{name}]]"), "", Some(table))).collect()
}

/// As it can be written in the file.
fn shown_duration(duration: Duration) -> String {
    const DAY: u64 = 24 * 60 * 60;
    match duration.as_secs() {
        // humantime would tell of years and months of broken length.
        seconds if seconds >= 2 * DAY && seconds.is_multiple_of(DAY) => {
            format!("{}days", seconds / DAY)
        }
        60 => "60s".to_owned(),
        _ => humantime::format_duration(duration).to_string().replace(' ', ""),
    }
}

/// How a line of the file looks.
fn line(key: &str, value: impl Display) -> String {
    format!("`{key} = {value}`")
}

/// What was probably meant.
pub(super) fn suggestion(found: &str, known: &[&str]) -> Option<String> {
    let close = known
        .iter()
        .map(|name| (strsim::damerau_levenshtein(found, name), name))
        .filter(|(distance, name)| *distance <= 1.max(name.len() / 3))
        .min_by_key(|(distance, _)| *distance);
    close.map(|(_, name)| format!("did you mean `{name}`?"))
}

/// What to do about a key that nobody knows.
pub(super) fn unknown_help(found: &str, known: &[&str]) -> String {
    suggestion(found, known)
        .unwrap_or_else(|| format!("take it out; known are {}", known.join(", ")))
}
