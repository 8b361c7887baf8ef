//! Writes the region of a login's locale into a field of its own: `en-US` becomes `US`.

use std::collections::{BTreeMap, BTreeSet};

use pipeline_sdk::{Batch, EditList, Plan, Pointer, Rule, Value, Verdict};
use pipeline_sdk::{change_by_value, keep_where};
use serde::Deserialize;

/// What may stand in `[stage.settings]`; anything else there is refused, with its place.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Settings {
    field: Pointer,
    into: Pointer,
    aliases: BTreeMap<String, String>,
    drop: BTreeSet<String>,
}

impl Default for Settings {
    fn default() -> Self {
        let pointer = |text| Pointer::new(text).expect("it begins with a slash");
        Self {
            field: pointer("/locale"),
            into: pointer("/region"),
            aliases: BTreeMap::new(),
            drop: BTreeSet::new(),
        }
    }
}

struct Region {
    settings: Settings,
}

impl Rule for Region {
    type Settings = Settings;

    fn new(settings: Settings) -> Result<Self, String> {
        Ok(Self { settings })
    }

    /// The host hands over only the fields that are named here.
    fn plan(&self) -> Plan {
        let mut plan = Plan::default();
        plan.read(&self.settings.field);
        plan.write(&self.settings.into);
        plan
    }

    /// Asked once a batch: a column has each distinct value once, whatever the number of events.
    fn evaluate(&mut self, batch: &Batch<'_>) -> Verdict {
        let fates = keep_where(batch, 0, |value| match value {
            Value::Text(locale) => !self.settings.drop.contains(&self.region(locale)),
            _ => true,
        });
        let change = change_by_value(batch, 0, 0, |value, edits: &mut EditList| match value {
            Value::Text(locale) => edits.text(&self.region(locale)),
            Value::Absent => edits.leave(),
            // What is no text is copied as it is.
            other => edits.set(other.to_owned()),
        });
        Verdict { fates, changes: change.into_iter().collect() }
    }
}

impl Region {
    /// What stands behind the last `-` or `_`, in capitals, by its other name if it has one.
    fn region(&self, locale: &str) -> String {
        let region = locale.rsplit(['-', '_']).next().unwrap_or(locale).to_ascii_uppercase();
        self.settings.aliases.get(&region).cloned().unwrap_or(region)
    }
}

pipeline_sdk::export!(Region);
