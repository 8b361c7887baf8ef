//! Between the host's own types and those of the WIT: batches go down as slices, answers come up
//! by moving. Work per distinct value, never per event.

use super::bindings::rule::exports::pipeline::plugin::rules as wit;
use super::bindings::rule::pipeline::plugin::events;
use super::bindings::transform::exports::pipeline::plugin::transforms;
use super::limits::Limits;
use crate::chain::guest::{Emitted, Outcome, RuleBatch, TransformRecord};
use crate::event::{
    Change, Column, Edit, Edits, Fate, Fates, Form, Index, OwnedValue, Packed, Plan, Read, Source,
    Value, Verdict,
};

/// Calls `run` with a batch in the types of the WIT. Two allocations, whatever its size.
pub(super) fn with_batch<T>(batch: RuleBatch<'_>, run: impl FnOnce(events::Batch<'_>) -> T) -> T {
    let count = batch.columns.iter().filter(|column| packed(column).is_none());
    let mut values = Vec::with_capacity(count.map(|(column, _)| column.len()).sum());
    for (column, _) in batch.columns.iter().filter(|column| packed(column).is_none()) {
        values.extend((0..column.len()).map(|entry| value(column.value(entry))));
    }
    let mut rest = &values[..];
    let columns: Vec<_> = batch
        .columns
        .iter()
        .map(|pair| {
            let dictionary = match packed(pair) {
                Some((bytes, ends)) => {
                    events::Dictionary::Texts(events::PackedParam { bytes, ends })
                }
                None => {
                    let (own, others) = rest.split_at(pair.0.len());
                    rest = others;
                    events::Dictionary::Values(own)
                }
            };
            events::Column { dictionary, index: pair.0.index() }
        })
        .collect();
    run(events::Batch { events: batch.events, now: batch.now, columns: &columns })
}

/// The texts of a column that is to be handed over in one buffer, and can be.
fn packed<'a>(&(column, form): &(&'a Column, Form)) -> Option<(&'a [u8], &'a [u32])> {
    match form {
        Form::Packed => column.texts(),
        Form::Values => None,
    }
}

fn value(value: Value<'_>) -> events::ValueParam<'_> {
    match value {
        Value::Absent => events::ValueParam::Absent,
        Value::Null => events::ValueParam::Null,
        Value::Boolean(value) => events::ValueParam::Boolean(value),
        Value::Integer(value) => events::ValueParam::Integer(value),
        Value::Number(value) => events::ValueParam::Number(value),
        Value::Text(text) => events::ValueParam::Text(text),
        Value::Json(text) => events::ValueParam::Json(text),
    }
}

/// The plan, unchecked.
pub(super) fn plan(plan: wit::Plan) -> Plan {
    let read = |read: wit::Read| Read {
        source: match read.source {
            wit::Source::Field(pointer) => Source::Field(pointer),
            wit::Source::Timestamp => Source::Timestamp,
            wit::Source::Key => Source::Key,
            wit::Source::Header(name) => Source::Header(name),
        },
        form: match read.form {
            wit::Form::Values => Form::Values,
            wit::Form::Packed => Form::Packed,
        },
    };
    Plan { reads: plan.reads.into_iter().map(read).collect(), writes: plan.writes }
}

/// The verdict; the error says which limit it passes.
pub(super) fn verdict(verdict: wit::Verdict, limits: &Limits) -> Result<Verdict, String> {
    let fates = verdict.fates.map(|fates| Fates {
        entries: fates.entries.into_iter().map(fate).collect(),
        index: index(fates.index),
    });
    let changes = verdict.changes.into_iter().map(|change| {
        let edits = match change.edits {
            wit::Edits::Values(edits) => {
                let edits = edits.into_iter().map(|entry| edit(entry, limits));
                Edits::Values(edits.collect::<Result<_, _>>()?)
            }
            wit::Edits::Texts(texts) => {
                let mut start = 0;
                for &end in &texts.ends {
                    fits((end as usize).saturating_sub(start), limits)?;
                    start = end as usize;
                }
                Edits::Texts(Packed { bytes: texts.bytes, ends: texts.ends })
            }
        };
        Ok(Change { write: change.write, edits, index: index(change.index) })
    });
    Ok(Verdict { fates, changes: changes.collect::<Result<_, String>>()? })
}

fn fate(fate: wit::Fate) -> Fate {
    match fate {
        wit::Fate::Keep => Fate::Keep,
        wit::Fate::Drop => Fate::Drop,
        wit::Fate::Reject(reason) => Fate::Reject(reason),
    }
}

fn edit(edit: wit::Edit, limits: &Limits) -> Result<Edit, String> {
    Ok(match edit {
        wit::Edit::Leave => Edit::Leave,
        wit::Edit::Remove => Edit::Remove,
        wit::Edit::Set(value) => Edit::Set(match value {
            events::ValueResult::Absent => OwnedValue::Absent,
            events::ValueResult::Null => OwnedValue::Null,
            events::ValueResult::Boolean(value) => OwnedValue::Boolean(value),
            events::ValueResult::Integer(value) => OwnedValue::Integer(value),
            events::ValueResult::Number(value) => OwnedValue::Number(value),
            events::ValueResult::Text(text) => {
                fits(text.len(), limits)?;
                OwnedValue::Text(text)
            }
            events::ValueResult::Json(text) => {
                fits(text.len(), limits)?;
                OwnedValue::Json(text)
            }
        }),
    })
}

fn index(index: wit::Index) -> Index {
    match index {
        wit::Index::Constant => Index::Constant,
        wit::Index::Identity => Index::Identity,
        wit::Index::AsColumn(column) => Index::AsColumn(column),
        wit::Index::Each(index) => Index::Each(index),
    }
}

fn fits(bytes: usize, limits: &Limits) -> Result<(), String> {
    let limit = limits.output_record_bytes;
    if bytes <= limit {
        return Ok(());
    }
    Err(format!("{bytes} bytes for one record, more than its {limit}"))
}

/// Calls `run` with records in the types of the WIT. Two allocations, whatever their number.
pub(super) fn with_records<T>(
    records: &[TransformRecord<'_>],
    topic: &str,
    run: impl FnOnce(&[transforms::KafkaRecord<'_>]) -> T,
) -> T {
    let headers: Vec<_> = records
        .iter()
        .flat_map(|record| record.headers)
        .map(|header| transforms::HeaderParam { name: header.name, value: header.value })
        .collect();
    let mut rest = &headers[..];
    let records: Vec<_> = records
        .iter()
        .map(|record| {
            let (headers, others) = rest.split_at(record.headers.len());
            rest = others;
            transforms::KafkaRecord {
                key: record.key,
                value: record.value,
                headers,
                timestamp: record.timestamp,
                topic,
                partition: record.partition,
                offset: record.offset,
            }
        })
        .collect();
    run(&records)
}

/// The outcomes; the error says which limit one of them passes.
pub(super) fn outcomes(
    outcomes: Vec<transforms::Outcome>,
    limits: &Limits,
) -> Result<Vec<Outcome>, String> {
    let outcome = |outcome: transforms::Outcome| {
        Ok(match outcome {
            transforms::Outcome::Pass => Outcome::Pass,
            transforms::Outcome::Drop => Outcome::Drop,
            transforms::Outcome::Reject(reason) => Outcome::Reject(reason),
            transforms::Outcome::Emit(outputs) => {
                let (count, limit) = (outputs.len(), limits.outputs_per_record);
                if count > limit {
                    return Err(format!("{count} records out of one, more than its {limit}"));
                }
                let outputs = outputs.into_iter().map(|output| emitted(output, limits));
                Outcome::Emit(outputs.collect::<Result<_, _>>()?)
            }
        })
    };
    outcomes.into_iter().map(outcome).collect()
}

fn emitted(output: transforms::Output, limits: &Limits) -> Result<Emitted, String> {
    let length = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
    let headers = output.headers.iter().map(|header| header.name.len() + length(&header.value));
    fits(length(&output.key) + length(&output.value) + headers.sum::<usize>(), limits)?;
    Ok(Emitted {
        key: output.key,
        value: output.value,
        headers: output.headers.into_iter().map(|header| (header.name, header.value)).collect(),
        topic: output.topic,
    })
}
