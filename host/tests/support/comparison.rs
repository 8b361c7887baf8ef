//! Holds what came out of the pipeline against what [`simulation`] says, and tells the first
//! differences so that a person sees what went wrong: lost, repeated, out of order, different.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::RangeInclusive;

use chrono::{DateTime, SecondsFormat};
use serde_json::Value;

use super::counting::{Place, Results};
use super::simulation::{Expected, Output, SetAside};

/// A record of an output topic, as a consumer that reads committed records got it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Actual {
    pub offset: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    /// Milliseconds since the epoch.
    pub timestamp: i64,
}

/// Topic partitions, each in the order of its offsets.
pub type Partitions = BTreeMap<i32, Vec<Actual>>;

/// What is promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// Nothing repeated, everything in order.
    ExactlyOnce,
    /// Records may be repeated; the first of each are in order.
    AtLeastOnce,
    /// The same, and a crash in the middle of writing window state may have counted some of its records
    /// twice: too high, never too low.
    AtLeastOnceCrashed,
}

impl Promise {
    fn may_repeat(self) -> bool {
        self != Promise::ExactlyOnce
    }
}

/// What is different.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// It did not come out.
    Lost,
    /// It came out again.
    Repeated,
    /// It came out before or behind where it belongs.
    OutOfOrder,
    /// It came out, and should not have, or not like that.
    Unexpected,
    /// A result of a window that is wrong, lost, repeated or not expected.
    Window,
    /// Two readers saw different things.
    Reader,
}

/// Differences, of which the first few are told.
#[derive(Debug, Default)]
pub struct Differences {
    told: Vec<String>,
    by_kind: BTreeMap<Kind, u64>,
    /// Records that came again where that is allowed.
    repeats: u64,
}

/// So many differences are told in words.
const TOLD_MAX: usize = 20;

impl Differences {
    /// Notes one.
    pub fn add(&mut self, kind: Kind, text: impl FnOnce() -> String) {
        *self.by_kind.entry(kind).or_default() += 1;
        if self.told.len() < TOLD_MAX {
            self.told.push(text());
        }
    }

    /// Takes those of another comparison in.
    pub fn append(&mut self, other: Differences) {
        for (kind, count) in other.by_kind {
            *self.by_kind.entry(kind).or_default() += count;
        }
        self.told.extend(other.told);
        self.repeats += other.repeats;
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.by_kind.values().sum()
    }

    /// How many of a kind there are.
    pub fn of(&self, kind: Kind) -> u64 {
        self.by_kind.get(&kind).copied().unwrap_or_default()
    }

    /// How many records and results came again where at-least-once allows it.
    pub fn repeats(&self) -> u64 {
        self.repeats
    }

    /// The first of them, a line each.
    pub fn told(&self) -> &[String] {
        &self.told
    }

    /// Fails the test with all that is known, if there is a difference.
    #[track_caller]
    pub fn assert_none(&self) {
        let told = self.told.join("\n");
        assert_eq!(self.count(), 0, "differences, the first {TOLD_MAX} of them:\n{told}");
    }
}

/// Compares the processed events. `processed_timestamp` must lie within `processed` (milliseconds
/// since the epoch).
pub fn compare_outputs(
    expected: &BTreeMap<i32, Expected>,
    actual: &Partitions,
    processed: RangeInclusive<i64>,
    promise: Promise,
    differences: &mut Differences,
) {
    for_each_partition("outputs", expected, actual, differences, |name, expected, actual, to| {
        let found = actual.iter().map(|record| strip(record, &processed, name, to)).collect();
        let expected = expected.outputs.iter().map(Identity::of_output).collect();
        match_up(name, expected, found, promise, to);
    });
}

/// Compares the dead letters: content, reason and origin.
pub fn compare_dead_letters(
    topic: &str,
    expected: &BTreeMap<i32, Expected>,
    actual: &Partitions,
    promise: Promise,
    differences: &mut Differences,
) {
    for_each_partition(
        "dead letters",
        expected,
        actual,
        differences,
        |name, expected, actual, to| {
            set_aside(name, topic, &expected.dead_letters, actual, promise, to);
        },
    );
}

/// Compares the late records: content, reason, window and origin. Where there are several windows, the
/// order is that of each.
pub fn compare_late(
    topic: &str,
    expected: &BTreeMap<i32, Expected>,
    actual: &Partitions,
    promise: Promise,
    differences: &mut Differences,
) {
    for_each_partition(
        "late records",
        expected,
        actual,
        differences,
        |name, expected, actual, to| {
            let of_expected = |late: &SetAside| late.stage.to_owned();
            let of_actual = |late: &Actual| header(late, "dead-letter-stage");
            let windows = expected.late.iter().map(of_expected).chain(actual.iter().map(of_actual));
            for window in windows.collect::<BTreeSet<_>>() {
                let expected = expected.late.iter().filter(|late| of_expected(late) == window);
                let actual = actual.iter().filter(|late| of_actual(late) == window);
                let (expected, actual): (Vec<_>, Vec<_>) =
                    (expected.cloned().collect(), actual.cloned().collect());
                set_aside(name, topic, &expected, &actual, promise, to);
            }
        },
    );
}

/// Compares the results of a window over all partitions, wherever they lie. Windows that only silence
/// makes final may be missing unless `all_closed`. Under [`Promise::AtLeastOnce`] a result may come
/// again, but must be the same; [`Promise::AtLeastOnceCrashed`] says what it must not be less than.
pub fn compare_windows(
    window: &str,
    expected: &Results,
    actual: &Partitions,
    all_closed: bool,
    promise: Promise,
    differences: &mut Differences,
) {
    let mut found: BTreeMap<Place, Vec<u64>> = BTreeMap::new();
    for record in actual.values().flatten() {
        match window_result(window, record) {
            Ok((place, count)) => found.entry(place).or_default().push(count),
            Err(why) => {
                differences.add(Kind::Window, || format!("windows: {why}: {}", show(&record.value)))
            }
        }
    }
    for (place, &(count, is_final)) in expected {
        let name = || told(window, place);
        match found.remove(place).as_deref() {
            None if !all_closed && !is_final => {}
            None => differences.add(Kind::Window, || format!("{}: lost, expected {count}", name())),
            Some(counts) => {
                if counts.len() > 1 && !promise.may_repeat() {
                    differences.add(Kind::Window, || format!("{}: repeated: {counts:?}", name()));
                }
                if promise.may_repeat() {
                    differences.repeats += counts.len() as u64 - 1;
                }
                let is_wrong = |found: &&u64| match promise {
                    Promise::AtLeastOnceCrashed => **found < count,
                    Promise::ExactlyOnce | Promise::AtLeastOnce => **found != count,
                };
                if let Some(wrong) = counts.iter().find(is_wrong) {
                    differences
                        .add(Kind::Window, || format!("{}: {wrong}, expected {count}", name()));
                }
            }
        }
    }
    for (place, counts) in found {
        differences
            .add(Kind::Window, || format!("{}: unexpected {counts:?}", told(window, &place)));
    }
}

fn told(window: &str, (start, end, group): &Place) -> String {
    format!("window {window}: {group} from {} to {}", rfc3339(*start), rfc3339(*end))
}

/// Place and count of a result, checked in itself.
fn window_result(window: &str, record: &Actual) -> Result<(Place, u64), String> {
    let value = record.value.as_deref().ok_or("a result without a value")?;
    let value: Value = serde_json::from_slice(value).map_err(|error| error.to_string())?;
    let text = |name: &str| value[name].as_str().ok_or_else(|| format!("no text {name:?}"));
    let time = |name: &str| {
        let time = DateTime::parse_from_rfc3339(text(name)?).map_err(|error| error.to_string())?;
        Ok::<i64, String>(time.timestamp_millis())
    };
    if text("window")? != window {
        return Err(format!("not of window {window:?}"));
    }
    let (start, end) = (time("start")?, time("end")?);
    let key = value.get("key").ok_or("no key")?;
    let key_text = key.as_str().map_or_else(|| key.to_string(), str::to_owned);
    let record_key = format!("{}|{key_text}", text("start")?);
    if record.key.as_deref() != Some(record_key.as_bytes()) {
        return Err(format!("the record's key is {}, not {record_key:?}", show(&record.key)));
    }
    if value["final"] != true {
        return Err("not final".to_owned());
    }
    let count = value["count"].as_u64().ok_or("no count")?;
    Ok(((start, end, key.to_string()), count))
}

/// Runs a comparison for each partition that either side knows.
fn for_each_partition(
    what: &str,
    expected: &BTreeMap<i32, Expected>,
    actual: &Partitions,
    differences: &mut Differences,
    compare: impl Fn(&str, &Expected, &[Actual], &mut Differences),
) {
    let nothing = Expected::default();
    let mut partitions: Vec<i32> = expected.keys().chain(actual.keys()).copied().collect();
    partitions.sort_unstable();
    partitions.dedup();
    for partition in partitions {
        let expected = expected.get(&partition).unwrap_or(&nothing);
        let actual = actual.get(&partition).map_or(&[][..], Vec::as_slice);
        compare(&format!("{what} of partition {partition}"), expected, actual, differences);
    }
}

/// What makes two records the same, and how to call one.
struct Identity {
    content: String,
    /// For people: the offset in its own topic.
    offset: i64,
}

impl Identity {
    fn of_output(output: &Output) -> Self {
        let value = output.value.as_ref().map_or_else(|| "tombstone".to_owned(), Value::to_string);
        let content = format!("{} {} {value}", show(&output.key), output.timestamp);
        Self { content, offset: output.offset }
    }
}

/// An output without the time of its processing, which is checked here.
fn strip(
    record: &Actual,
    processed: &RangeInclusive<i64>,
    name: &str,
    differences: &mut Differences,
) -> Identity {
    let mut event = record.value.as_deref().map(serde_json::from_slice::<Value>);
    if let Some(Ok(Value::Object(members))) = &mut event {
        let time = members.remove("processed_timestamp");
        let text = time.as_ref().and_then(Value::as_str).unwrap_or_default();
        let millis = DateTime::parse_from_rfc3339(text).ok().map(|time| time.timestamp_millis());
        if !millis.is_some_and(|millis| processed.contains(&millis)) {
            differences.add(Kind::Unexpected, || {
                let offset = record.offset;
                format!(
                    "{name}: offset {offset}: processed_timestamp is {time:?}, not within the run"
                )
            });
        }
    }
    let value = match event {
        None => "tombstone".to_owned(),
        Some(Ok(event)) => event.to_string(),
        Some(Err(error)) => format!("{error}: {}", show(&record.value)),
    };
    let content = format!("{} {} {value}", show(&record.key), record.timestamp);
    Identity { content, offset: record.offset }
}

/// What a header says, as text; of several of that name the last.
fn header(record: &Actual, name: &str) -> String {
    let found = record.headers.iter().rev().find(|(found, _)| found == name);
    let value = found.and_then(|(_, value)| value.as_deref()).unwrap_or(b"-");
    String::from_utf8_lossy(value).into_owned()
}

fn set_aside(
    name: &str,
    topic: &str,
    expected: &[SetAside],
    actual: &[Actual],
    promise: Promise,
    differences: &mut Differences,
) {
    type Bytes = Option<Vec<u8>>;
    let describe = |offset: &str, why: &str, key: &Bytes, value: &Bytes, time: &str| {
        format!("offset {offset} {why} {} {} timestamp {time}", show(key), show(value))
    };
    let partition = name.rsplit(' ').next().unwrap_or_default();
    let expected = expected.iter().map(|SetAside { input, reason, stage }| Identity {
        content: describe(
            &format!("{topic}/{partition}/{}", input.offset),
            &format!("{reason} in {stage}"),
            &input.key,
            &input.value,
            &input.timestamp.to_string(),
        ),
        offset: input.offset,
    });
    let actual = actual.iter().map(|record| {
        let header = |part: &str| header(record, &format!("dead-letter-{part}"));
        let place = ["topic", "partition", "offset"].map(header).join("/");
        let why = format!("{} in {}", header("reason"), header("stage"));
        Identity {
            content: describe(&place, &why, &record.key, &record.value, &header("timestamp")),
            offset: record.offset,
        }
    });
    match_up(name, expected.collect(), actual.collect(), promise, differences);
}

/// Matches the records of one partition.
fn match_up(
    name: &str,
    expected: Vec<Identity>,
    actual: Vec<Identity>,
    promise: Promise,
    differences: &mut Differences,
) {
    let mut places: HashMap<&str, VecDeque<usize>> = HashMap::new();
    for (place, record) in expected.iter().enumerate() {
        places.entry(&record.content).or_default().push_back(place);
    }
    let mut coming: HashMap<&str, usize> = HashMap::new();
    for record in &actual {
        *coming.entry(&record.content).or_default() += 1;
    }
    // Of each record that was expected: its place, and its offset.
    let mut matched: Vec<(usize, i64)> = Vec::new();
    for record in &actual {
        let Identity { content, offset } = record;
        let Some(left) = places.get_mut(content.as_str()) else {
            differences.add(Kind::Unexpected, || {
                format!("{name}: offset {offset}: not expected: {content}")
            });
            continue;
        };
        let coming = coming.get_mut(content.as_str()).expect("counted above");
        // Of records with the same content some may be lost: those that are passed over here.
        let next = matched.last().map_or(0, |(place, _)| place + 1);
        while left.len() > *coming && left.front().is_some_and(|place| *place < next) {
            let lost = left.pop_front().expect("there is one");
            differences.add(Kind::Lost, || lost_text(name, &expected[lost]));
        }
        *coming -= 1;
        match left.pop_front() {
            Some(place) => matched.push((place, *offset)),
            None if promise.may_repeat() => differences.repeats += 1,
            None => differences
                .add(Kind::Repeated, || format!("{name}: offset {offset}: repeated: {content}")),
        }
    }
    out_of_order(name, &expected, &matched, differences);
    let mut lost: Vec<usize> = places.into_values().flatten().collect();
    lost.sort_unstable();
    for place in lost {
        differences.add(Kind::Lost, || lost_text(name, &expected[place]));
    }
}

fn lost_text(name: &str, Identity { content, offset }: &Identity) -> String {
    format!("{name}: input {offset}: lost: {content}")
}

/// Tells the fewest records that would have to move for all to be in order: those that are not in
/// the longest rising sequence.
fn out_of_order(
    name: &str,
    expected: &[Identity],
    matched: &[(usize, i64)],
    differences: &mut Differences,
) {
    // The last record of the best sequence of each length, and before each record the one before it.
    let mut ends: Vec<usize> = Vec::new();
    let mut before: Vec<Option<usize>> = Vec::new();
    for (at, (place, _)) in matched.iter().enumerate() {
        let length = ends.partition_point(|end| matched[*end].0 < *place);
        before.push(length.checked_sub(1).map(|shorter| ends[shorter]));
        if length == ends.len() { ends.push(at) } else { ends[length] = at }
    }
    let mut in_order = vec![false; matched.len()];
    let mut next = ends.last().copied();
    while let Some(at) = next {
        in_order[at] = true;
        next = before[at];
    }
    for ((place, offset), _) in matched.iter().zip(&in_order).filter(|(_, in_order)| !**in_order) {
        let input = expected[*place].offset;
        differences.add(Kind::OutOfOrder, || {
            format!("{name}: offset {offset}: out of order: input {input}")
        });
    }
}

fn show(bytes: &Option<Vec<u8>>) -> String {
    bytes.as_ref().map_or_else(|| "none".to_owned(), |bytes| bytes.escape_ascii().to_string())
}

fn rfc3339(millis: i64) -> String {
    DateTime::from_timestamp_millis(millis).map_or_else(
        || millis.to_string(),
        |time| time.to_rfc3339_opts(SecondsFormat::AutoSi, true),
    )
}
