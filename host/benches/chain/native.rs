//! The default rules as native code: the plugins' own sources, linked into the host.

use host::chain::guest::{Fault, Guest, Rule, RuleBatch};
use host::event::{
    Change, Edit, Edits, Fate, Fates, Form, Index, OwnedValue, Packed, Plan, Read, Source, Value,
    Verdict,
};

/// A rule made of the settings, called without any boundary between.
pub fn native<R: pipeline_sdk::Rule + Send>(settings: &str) -> Guest {
    let rule: R = pipeline_sdk::configure(settings).expect("good settings");
    let plan = plan(rule.plan());
    Guest::Rule(Box::new(Native { rule, plan }))
}

struct Native<R> {
    rule: R,
    plan: Plan,
}

impl<R: pipeline_sdk::Rule + Send> Rule for Native<R> {
    fn plan(&self) -> &Plan {
        &self.plan
    }

    fn evaluate(&mut self, batch: RuleBatch<'_>) -> Result<Verdict, Fault> {
        let texts = |form: Form, column: &'_ host::event::Column| match form {
            Form::Packed => column.texts().is_some(),
            Form::Values => false,
        };
        let values: Vec<Vec<pipeline_sdk::Value<'_>>> = batch
            .columns
            .iter()
            .map(|&(column, form)| match texts(form, column) {
                true => Vec::new(),
                false => (0..column.len()).map(|entry| value(column.value(entry))).collect(),
            })
            .collect();
        let columns: Vec<pipeline_sdk::Column<'_>> = batch
            .columns
            .iter()
            .zip(&values)
            .map(|(&(column, form), values)| match (form, column.texts()) {
                (Form::Packed, Some((bytes, ends))) => {
                    pipeline_sdk::Column::of_texts(bytes, ends, column.index())
                }
                _ => pipeline_sdk::Column::of_values(values, column.index()),
            })
            .collect();
        let batch = pipeline_sdk::Batch { events: batch.events, now: batch.now, columns: &columns };
        Ok(verdict(self.rule.evaluate(&batch)))
    }
}

fn value(value: Value<'_>) -> pipeline_sdk::Value<'_> {
    match value {
        Value::Absent => pipeline_sdk::Value::Absent,
        Value::Null => pipeline_sdk::Value::Null,
        Value::Boolean(value) => pipeline_sdk::Value::Boolean(value),
        Value::Integer(value) => pipeline_sdk::Value::Integer(value),
        Value::Number(value) => pipeline_sdk::Value::Number(value),
        Value::Text(text) => pipeline_sdk::Value::Text(text),
        Value::Json(text) => pipeline_sdk::Value::Json(text),
    }
}

fn plan(plan: pipeline_sdk::Plan) -> Plan {
    let read = |read: pipeline_sdk::Read| Read {
        source: match read.source {
            pipeline_sdk::Source::Field(pointer) => Source::Field(pointer),
            pipeline_sdk::Source::Timestamp => Source::Timestamp,
            pipeline_sdk::Source::Key => Source::Key,
            pipeline_sdk::Source::Header(name) => Source::Header(name),
        },
        form: match read.form {
            pipeline_sdk::Form::Values => Form::Values,
            pipeline_sdk::Form::Packed => Form::Packed,
        },
    };
    Plan { reads: plan.reads.into_iter().map(read).collect(), writes: plan.writes }
}

fn verdict(verdict: pipeline_sdk::Verdict) -> Verdict {
    let fate = |fate| match fate {
        pipeline_sdk::Fate::Keep => Fate::Keep,
        pipeline_sdk::Fate::Drop => Fate::Drop,
        pipeline_sdk::Fate::Reject(reason) => Fate::Reject(reason),
    };
    let fates = verdict.fates.map(|fates| Fates {
        entries: fates.entries.into_iter().map(fate).collect(),
        index: index(fates.index),
    });
    let change = |change: pipeline_sdk::Change| Change {
        write: change.write,
        edits: match change.edits {
            pipeline_sdk::Edits::Values(edits) => {
                Edits::Values(edits.into_iter().map(edit).collect())
            }
            pipeline_sdk::Edits::Texts(texts) => {
                Edits::Texts(Packed { bytes: texts.bytes, ends: texts.ends })
            }
        },
        index: index(change.index),
    };
    Verdict { fates, changes: verdict.changes.into_iter().map(change).collect() }
}

fn edit(edit: pipeline_sdk::Edit) -> Edit {
    use pipeline_sdk::OwnedValue as Own;
    match edit {
        pipeline_sdk::Edit::Leave => Edit::Leave,
        pipeline_sdk::Edit::Remove => Edit::Remove,
        pipeline_sdk::Edit::Set(value) => Edit::Set(match value {
            Own::Absent => OwnedValue::Absent,
            Own::Null => OwnedValue::Null,
            Own::Boolean(value) => OwnedValue::Boolean(value),
            Own::Integer(value) => OwnedValue::Integer(value),
            Own::Number(value) => OwnedValue::Number(value),
            Own::Text(text) => OwnedValue::Text(text),
            Own::Json(text) => OwnedValue::Json(text),
        }),
    }
}

fn index(index: pipeline_sdk::Index) -> Index {
    match index {
        pipeline_sdk::Index::Constant => Index::Constant,
        pipeline_sdk::Index::Identity => Index::Identity,
        pipeline_sdk::Index::AsColumn(column) => Index::AsColumn(column),
        pipeline_sdk::Index::Each(index) => Index::Each(index),
    }
}
