//! Adds the time of processing, and makes numbers of epoch seconds or milliseconds readable.

use std::fmt::Write as _;

use chrono::format::{Item, StrftimeItems};
use chrono::{DateTime, Datelike, Timelike, Utc};
use pipeline_sdk::{
    Batch, Change, EditList, Fate, Fates, Index, Plan, Pointer, Problems, Rule, Value, Verdict,
};
use serde::Deserialize;

/// With `unit = "auto"`, numbers from here on are milliseconds (1973 and later), smaller ones
/// seconds (until the year 5138); below zero alike. The windows of `pipeline.toml` say the same.
const MILLISECONDS_FROM: u64 = 100_000_000_000;

/// The settings table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Settings {
    /// `processed = "/processed_timestamp"`, or `false` to add none
    processed: Processed,
    /// `fields = ["/timestamp"]`
    fields: Vec<Pointer>,
    /// `unit = "auto"`, `"seconds"` or `"milliseconds"`
    unit: Unit,
    /// `format = "rfc3339"`, or as strftime has it: `"%Y-%m-%d %H:%M:%S"`
    format: String,
    /// `malformed = "keep"` or `"reject"`
    malformed: Malformed,
}

impl Default for Settings {
    fn default() -> Self {
        let pointer = |text| Pointer::new(text).expect("it begins with a slash");
        Self {
            processed: Processed(Some(pointer("/processed_timestamp"))),
            fields: vec![pointer("/timestamp")],
            unit: Unit::default(),
            format: "rfc3339".to_owned(),
            malformed: Malformed::default(),
        }
    }
}

struct Processed(Option<Pointer>);

impl<'de> Deserialize<'de> for Processed {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use pipeline_sdk::Scalar;
        use serde::de::Error;
        match Scalar::deserialize(deserializer)? {
            Scalar::Text(text) => Ok(Self(Some(Pointer::new(&text).map_err(D::Error::custom)?))),
            Scalar::Boolean(false) => Ok(Self(None)),
            _ => Err(D::Error::custom("give a field, or `false` to add none")),
        }
    }
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Unit {
    #[default]
    Auto,
    Seconds,
    Milliseconds,
}

#[derive(Clone, Copy, Default, Deserialize, PartialEq)]
#[serde(rename_all = "kebab-case")]
enum Malformed {
    #[default]
    Keep,
    Reject,
}

enum Format {
    Rfc3339,
    Strftime(Vec<Item<'static>>),
}

/// The rule.
pub struct Timestamps {
    processed: Option<Pointer>,
    fields: Vec<Pointer>,
    unit: Unit,
    format: Format,
    malformed: Malformed,
}

impl Rule for Timestamps {
    type Settings = Settings;

    fn new(settings: Settings) -> Result<Self, String> {
        let Settings { processed: Processed(processed), fields, unit, format, malformed } =
            settings;
        let mut problems = Problems::default();
        let format = parse_format(&format).map_err(|message| problems.add("/format", message));
        let written: Vec<&Pointer> = fields.iter().chain(&processed).collect();
        for (number, field) in written.iter().enumerate() {
            if let Some(other) = written[..number].iter().find(|other| other.overlaps(field)) {
                let message = format!("`{field}` and `{other}` overlap: take one out");
                match number < fields.len() {
                    true => problems.add(format!("/fields/{number}"), message),
                    false => problems.add("/processed", message),
                }
            }
        }
        if written.is_empty() {
            problems.add(
                "/fields",
                "neither `fields` nor `processed`: give one, or take the stage out",
            );
        }
        problems.finish()?;
        let format = format.expect("else it is a problem");
        Ok(Self { processed, fields, unit, format, malformed })
    }

    fn plan(&self) -> Plan {
        let mut plan = Plan::default();
        for field in &self.fields {
            plan.read_packed(field);
        }
        for field in self.fields.iter().chain(&self.processed) {
            plan.write(field);
        }
        plan
    }

    fn evaluate(&mut self, batch: &Batch<'_>) -> Verdict {
        let mut changes = Vec::with_capacity(self.fields.len() + 1);
        for number in 0..self.fields.len() as u32 {
            let column = batch.column(number);
            let mut edits = EditList::with_capacity(column.len());
            for value in column.values() {
                match self.time(value) {
                    Some(time) => edits.write(|text| self.format.append(time, text)),
                    None => edits.leave(),
                }
            }
            changes.extend(edits.change(number, Index::AsColumn(number)));
        }
        changes.extend(self.processed(batch.now));
        let fates = if self.malformed == Malformed::Reject { self.rejected(batch) } else { None };
        Verdict { fates, changes }
    }
}

impl Timestamps {
    fn processed(&self, now: i64) -> Option<Change> {
        self.processed.as_ref()?;
        let mut edits = EditList::with_capacity(1);
        let now = DateTime::from_timestamp_millis(now)?;
        edits.write(|text| self.format.append(now, text));
        edits.change(self.fields.len() as u32, Index::Constant)
    }

    /// The time that a value stands for; `None` if it is no epoch number, or lies outside the
    /// years 0 to 9999, which RFC 3339 can write.
    fn time(&self, value: Value<'_>) -> Option<DateTime<Utc>> {
        let millis = match value {
            Value::Integer(number) if self.is_millis(number.unsigned_abs() as f64) => number,
            Value::Integer(number) => number.checked_mul(1000)?,
            Value::Number(number) => {
                let scale = if self.is_millis(number.abs()) { 1.0 } else { 1000.0 };
                // The cast saturates, and what saturates is no year that can be written.
                (number * scale).round() as i64
            }
            _ => return None,
        };
        let time = DateTime::from_timestamp_millis(millis)?;
        (0..=9999).contains(&time.year()).then_some(time)
    }

    fn is_millis(&self, magnitude: f64) -> bool {
        match self.unit {
            Unit::Auto => magnitude >= MILLISECONDS_FROM as f64,
            Unit::Seconds => false,
            Unit::Milliseconds => true,
        }
    }

    /// Rejects the events that have a field which is there and no epoch number.
    fn rejected(&self, batch: &Batch<'_>) -> Option<Fates> {
        let mut fates: Option<(Vec<Fate>, Vec<u32>)> = None;
        for (number, field) in self.fields.iter().enumerate() {
            let column = batch.column(number as u32);
            let malformed = |value: Value<'_>| !value.is_missing() && self.time(value).is_none();
            let bad: Vec<bool> = column.values().map(malformed).collect();
            if !bad.contains(&true) {
                continue;
            }
            let (entries, index) =
                fates.get_or_insert_with(|| (vec![Fate::Keep], vec![0; batch.events as usize]));
            entries.push(Fate::Reject(format!(
                "{field} is no number of epoch seconds or milliseconds"
            )));
            let reject = entries.len() as u32 - 1;
            for (fate, &entry) in index.iter_mut().zip(column.index()) {
                if *fate == 0 && bad[entry as usize] {
                    *fate = reject;
                }
            }
        }
        fates.map(|(entries, index)| Fates { entries, index: Index::Each(index) })
    }
}

fn parse_format(format: &str) -> Result<Format, String> {
    if format == "rfc3339" {
        return Ok(Format::Rfc3339);
    }
    if !format.contains('%') {
        return Err(format!(
            "`{format}` names no part of a time: write `rfc3339`, or as strftime has it, such as \
             `%Y-%m-%d %H:%M:%S`"
        ));
    }
    let items = StrftimeItems::new(format).parse_to_owned().map_err(|_| {
        format!("`{format}` has a `%` that strftime does not know (`%%` is a percent sign)")
    })?;
    Ok(Format::Strftime(items))
}

impl Format {
    fn append(&self, time: DateTime<Utc>, text: &mut String) {
        match self {
            Format::Rfc3339 => append_rfc3339(time, text),
            Format::Strftime(items) => {
                let formatted = time.format_with_items(items.iter());
                write!(text, "{formatted}").expect("a checked format, and a string takes all");
            }
        }
    }
}

/// By hand, since chrono's formatter takes ten times as long, and a batch may hold a time per event.
fn append_rfc3339(time: DateTime<Utc>, text: &mut String) {
    let year = time.year() as u32;
    let parts = [
        (year / 100, '\0'),
        (year % 100, '-'),
        (time.month(), '-'),
        (time.day(), 'T'),
        (time.hour(), ':'),
        (time.minute(), ':'),
        (time.second(), '\0'),
    ];
    let digit = |number: u32| char::from(b'0' + (number % 10) as u8);
    for (number, after) in parts {
        text.push(digit(number / 10));
        text.push(digit(number));
        if after != '\0' {
            text.push(after);
        }
    }
    let millis = time.timestamp_subsec_millis();
    if millis != 0 {
        text.push('.');
        for divisor in [100, 10, 1] {
            text.push(digit(millis / divisor));
        }
    }
    text.push('Z');
}

pipeline_sdk::export!(Timestamps, silent);
