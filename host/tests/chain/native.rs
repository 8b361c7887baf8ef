//! Guests made of closures, and a table of what a chain made of some records.

use std::sync::Arc;

use host::chain::guest::{
    Emitted, Fault, Guest, Outcome, Rule, RuleBatch, Transform, TransformRecord,
};
use host::chain::{
    Chain, Limits, Observer, OnError, Place, Processed, Record, Stage, Stop, TimeSource,
};
use host::event::{
    Change, Edit, Edits, Fate, Fates, Form, Index, OwnedValue, Plan, Read, Source, Value, Verdict,
};

pub const NOW: i64 = 1_700_000_000_000;

type Evaluate = Box<dyn FnMut(RuleBatch<'_>) -> Result<Verdict, Fault> + Send>;

struct NativeRule {
    plan: Plan,
    evaluate: Evaluate,
}

impl Rule for NativeRule {
    fn plan(&self) -> &Plan {
        &self.plan
    }
    fn evaluate(&mut self, batch: RuleBatch<'_>) -> Result<Verdict, Fault> {
        (self.evaluate)(batch)
    }
}

/// A rule that reads and writes these fields.
pub fn rule(
    reads: &[&str],
    writes: &[&str],
    evaluate: impl FnMut(RuleBatch<'_>) -> Result<Verdict, Fault> + Send + 'static,
) -> Guest {
    let read =
        |pointer: &&str| Read { source: Source::Field((*pointer).to_owned()), form: Form::Values };
    let plan = Plan {
        reads: reads.iter().map(read).collect(),
        writes: writes.iter().map(|&pointer| pointer.to_owned()).collect(),
    };
    Guest::Rule(Box::new(NativeRule { plan, evaluate: Box::new(evaluate) }))
}

/// A rule that reads this and does nothing about it.
pub fn reader(source: Source) -> Guest {
    let plan = Plan { reads: vec![Read { source, form: Form::Values }], writes: Vec::new() };
    let evaluate = |_: RuleBatch<'_>| Ok(Verdict { fates: None, changes: Vec::new() });
    Guest::Rule(Box::new(NativeRule { plan, evaluate: Box::new(evaluate) }))
}

/// A rule that judges each distinct value of a field.
pub fn judge(field: &str, fate: impl Fn(Value<'_>) -> Fate + Send + 'static) -> Guest {
    rule(&[field], &[], move |batch| {
        let column = batch.columns[0].0;
        let entries = (0..column.len()).map(|entry| fate(column.value(entry))).collect();
        Ok(Verdict { fates: Some(Fates { entries, index: Index::AsColumn(0) }), changes: vec![] })
    })
}

/// A rule that drops the events that have this text in the field.
pub fn drop_text(field: &str, text: &'static str) -> Guest {
    judge(field, move |value| if value == Value::Text(text) { Fate::Drop } else { Fate::Keep })
}

/// A rule that rejects the events that have this text in the field.
pub fn reject_text(field: &str, text: &'static str, reason: &'static str) -> Guest {
    judge(
        field,
        move |value| {
            if value == Value::Text(text) { Fate::Reject(reason.into()) } else { Fate::Keep }
        },
    )
}

/// A rule that writes, for each distinct value of `from`, what `edit` says to `to`.
pub fn edit(from: &str, to: &str, edit: impl Fn(Value<'_>) -> Edit + Send + 'static) -> Guest {
    rule(&[from], &[to], move |batch| {
        let column = batch.columns[0].0;
        let edits = (0..column.len()).map(|entry| edit(column.value(entry))).collect();
        Ok(Verdict { fates: None, changes: vec![change(edits, Index::AsColumn(0))] })
    })
}

/// A rule that sets a field of all events to a text.
pub fn set_text(to: &str, text: &'static str) -> Guest {
    rule(&[], &[to], move |_| {
        let edits = vec![Edit::Set(OwnedValue::Text(text.into()))];
        Ok(Verdict { fates: None, changes: vec![change(edits, Index::Constant)] })
    })
}

/// A rule that fails wherever the field has this text in any event.
pub fn fail_on_text(field: &str, text: &'static str, fault: Fault) -> Guest {
    rule(&[field], &[], move |batch| {
        let column = batch.columns[0].0;
        let hit = (0..column.len()).any(|entry| column.value(entry) == Value::Text(text));
        if hit { Err(fault.clone()) } else { Ok(Verdict::default()) }
    })
}

pub fn change(edits: Vec<Edit>, index: Index) -> Change {
    Change { write: 0, edits: Edits::Values(edits), index }
}

type Rewrite = Box<dyn FnMut(&[TransformRecord<'_>], i64) -> Result<Vec<Outcome>, Fault> + Send>;

struct NativeTransform(Rewrite);

impl Transform for NativeTransform {
    fn transform(
        &mut self,
        records: &[TransformRecord<'_>],
        now: i64,
    ) -> Result<Vec<Outcome>, Fault> {
        (self.0)(records, now)
    }
}

/// A transform that sees a whole call.
pub fn transform_batch(
    rewrite: impl FnMut(&[TransformRecord<'_>], i64) -> Result<Vec<Outcome>, Fault> + Send + 'static,
) -> Guest {
    Guest::Transform(Box::new(NativeTransform(Box::new(rewrite))))
}

/// A transform that treats each record for itself.
pub fn transform(
    mut rewrite: impl FnMut(&TransformRecord<'_>) -> Outcome + Send + 'static,
) -> Guest {
    transform_batch(move |records, _| Ok(records.iter().map(&mut rewrite).collect()))
}

/// A record with this value, and the key and headers of the one that it comes from.
pub fn emitted(record: &TransformRecord<'_>, value: &str) -> Emitted {
    let header = |header: &host::chain::Header<'_>| {
        (header.name.to_owned(), header.value.map(<[u8]>::to_vec))
    };
    Emitted {
        key: record.key.map(<[u8]>::to_vec),
        value: Some(value.as_bytes().to_vec()),
        headers: record.headers.iter().map(header).collect(),
        topic: None,
    }
}

/// Stages named `s0`, `s1`, … with the default `on-error`; emitting to topic `side` is allowed.
pub fn stages(guests: Vec<Guest>) -> Vec<Stage> {
    let topics: Arc<[String]> = vec!["side".to_owned()].into();
    let stage = |(place, guest)| Stage {
        name: format!("s{place}"),
        guest,
        on_error: OnError::DeadLetter,
        topics: topics.clone(),
    };
    guests.into_iter().enumerate().map(stage).collect()
}

pub fn chain(guests: Vec<Guest>) -> Chain {
    Chain::new(stages(guests), vec![], Limits::default()).unwrap()
}

pub fn field_time(pointer: &str) -> TimeSource {
    TimeSource::Field { pointer: pointer.into(), unit: host::chain::TimeUnit::Auto }
}

pub fn observer(time: TimeSource, group: &[&str]) -> Observer {
    let group = group.iter().map(|&pointer| pointer.to_owned()).collect();
    Observer { time, group, values: Vec::new(), filter: None }
}

/// Records of these values, at offsets from 0, with timestamps 1000 + offset.
pub fn records<'a, V: AsRef<[u8]> + 'a>(values: &'a [V]) -> Vec<Record<'a>> {
    let record = |(offset, value): (usize, &'a V)| Record {
        key: Some(b"key"),
        value: Some(value.as_ref()),
        headers: &[],
        timestamp: Some(1_000 + offset as i64),
        partition: 3,
        offset: offset as i64,
    };
    values.iter().enumerate().map(record).collect()
}

/// What came of records: `input: value` per output, and `input: place reason message` per dead letter.
#[derive(Debug, PartialEq)]
pub struct Summary {
    pub outputs: Vec<(u32, String)>,
    pub dead_letters: Vec<(u32, String, &'static str, String)>,
}

pub fn summary(chain: &Chain, records: &[Record<'_>], processed: &Processed) -> Summary {
    let text = |value: Option<&[u8]>| {
        value.map_or("<none>".to_owned(), |value| String::from_utf8_lossy(value).into_owned())
    };
    let outputs = processed
        .outputs
        .iter()
        .map(|output| (output.input, text(processed.view(output, records).value)))
        .collect();
    let place = |place: Place| chain.place_name(place).to_owned();
    let dead_letters = processed
        .dead_letters
        .iter()
        .map(|dead| (dead.input, place(dead.place), dead.reason.as_str(), dead.message.clone()))
        .collect();
    Summary { outputs, dead_letters }
}

/// Runs a chain on records of these values and compares outputs and dead letters.
#[track_caller]
pub fn check(
    chain: &mut Chain,
    values: &[&str],
    outputs: &[(u32, &str)],
    dead_letters: &[(u32, &str, &str, &str)],
) -> Processed {
    let records = records(values);
    let processed = chain.run(&records, NOW).unwrap();
    let found = summary(chain, &records, &processed);
    let outputs: Vec<_> = outputs.iter().map(|&(input, value)| (input, value.to_owned())).collect();
    assert_eq!(found.outputs, outputs);
    let dead: Vec<_> = dead_letters
        .iter()
        .map(|&(input, place, reason, message)| {
            (input, place.to_owned(), reason, message.to_owned())
        })
        .collect();
    assert_eq!(found.dead_letters, dead);
    processed
}

#[track_caller]
pub fn stop(chain: &mut Chain, values: &[&str]) -> Stop {
    chain.run(&records(values), NOW).expect_err("the chain stops")
}
