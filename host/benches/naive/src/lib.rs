//! The default rules the usual way: each is handed JSON, parses it with `serde_json`, edits the
//! tree and writes it again. What the host's benchmark compares its columns with; the edits are
//! those of the default plugins with the benchmark's settings, in the plainest good code.

mod rules;

use std::cell::Cell;

use bindings::exports::pipeline::plugin::transforms::{Guest, KafkaRecord, Outcome, Output};
use serde_json::{Map, Value};

/// What `wit-bindgen` makes of `wit/`.
#[allow(unsafe_code, missing_docs, reason = "generated, for the canonical ABI")]
#[allow(clippy::all, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({
        path: "../../../wit",
        world: "transform",
        generate_all,
    });
}

/// One of the rules: edits an event and says whether it is kept.
type Rule = fn(&mut Map<String, Value>, i64) -> bool;

std::thread_local! {
    static RULE: Cell<Option<Rule>> = const { Cell::new(None) };
}

struct Component;

impl Guest for Component {
    fn configure(settings: String) -> Result<(), String> {
        let settings: Value = serde_json::from_str(&settings).map_err(|error| error.to_string())?;
        let rule: Rule = match settings["rule"].as_str() {
            Some("filter") => rules::filter,
            Some("timestamps") => rules::timestamps,
            Some("categorize") => rules::categorize,
            Some("anomaly") => rules::anomaly,
            _ => return Err("setting `rule`: name a default rule".into()),
        };
        RULE.set(Some(rule));
        Ok(())
    }

    fn transform(records: Vec<KafkaRecord>, now: i64) -> Vec<Outcome> {
        let rule = RULE.get().expect("the host configures first");
        records.into_iter().map(|record| rewrite(record, now, rule)).collect()
    }
}

fn rewrite(record: KafkaRecord, now: i64, rule: Rule) -> Outcome {
    let mut event = match serde_json::from_slice(&record.value) {
        Ok(Value::Object(event)) => event,
        Ok(_) => return Outcome::Reject("not an object".into()),
        Err(error) => return Outcome::Reject(error.to_string()),
    };
    if !rule(&mut event, now) {
        return Outcome::Drop;
    }
    let value = serde_json::to_vec(&event).expect("a tree of JSON can be written");
    let KafkaRecord { key, headers, .. } = record;
    Outcome::Emit(vec![Output { key, value: Some(value), headers, topic: None }])
}

#[allow(unsafe_code, reason = "exports of the canonical ABI")]
mod exports {
    use super::{Component, bindings};

    bindings::export!(Component with_types_in bindings);
}
