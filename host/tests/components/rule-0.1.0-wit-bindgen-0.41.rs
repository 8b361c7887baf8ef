//! A rule made with wit-bindgen 0.41 for wasm32-wasip2: upper-cases /name, drops what has none.
wit_bindgen::generate!({ path: "wit", world: "rule", generate_all });
use exports::pipeline::plugin::rules::*;
use pipeline::plugin::events::{Dictionary, Value};
use pipeline::plugin::log;
struct Old;
impl Guest for Old {
    fn configure(settings: String) -> Result<Plan, String> {
        if settings != "{}" { return Err("/: takes no settings: take them out".into()); }
        log::write(log::Level::Info, "an old rule");
        Ok(Plan {
            reads: vec![Read { source: Source::Field("/name".into()), form: Form::Values }],
            writes: vec!["/name".into()],
        })
    }
    fn evaluate(batch: Batch) -> Verdict {
        let Dictionary::Values(values) = &batch.columns[0].dictionary else { unreachable!() };
        let fates = values.iter().map(|v| if matches!(v, Value::Absent) { Fate::Drop } else { Fate::Keep });
        let edits = values.iter().map(|v| match v {
            Value::Text(t) => Edit::Set(Value::Text(t.to_uppercase())),
            _ => Edit::Leave,
        });
        Verdict {
            fates: Some(Fates { entries: fates.collect(), index: Index::AsColumn(0) }),
            changes: vec![Change { write: 0, edits: Edits::Values(edits.collect()), index: Index::AsColumn(0) }],
        }
    }
}
export!(Old);
