//! Flags events whose fields are suspicious, missing or malformed, and says by stable codes why.

mod condition;
mod format;

use std::collections::BTreeSet;

use pipeline_sdk::{Batch, Bits, OwnedValue, Plan, Pointer, Problems, Rule, Verdict, combine};
use serde::Deserialize;

use condition::{Checked, Condition};

/// One bit per condition.
const CONDITIONS_MAX: usize = 64;

/// The settings table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Settings {
    /// `flag = "/anomaly"`
    flag: Pointer,
    /// `reasons = "/anomaly_reasons"`
    reasons: Pointer,
    /// `conditions = [{ code = "suspicious-locale", field = "/locale", in = ["KP"] }]`
    conditions: Vec<Condition>,
}

impl Default for Settings {
    fn default() -> Self {
        let pointer = |text| Pointer::new(text).expect("it begins with a slash");
        Self {
            flag: pointer("/anomaly"),
            reasons: pointer("/anomaly_reasons"),
            conditions: condition::defaults(),
        }
    }
}

/// The rule.
pub struct Anomaly {
    conditions: Vec<Checked>,
    plan: Plan,
}

impl Rule for Anomaly {
    type Settings = Settings;

    fn new(settings: Settings) -> Result<Self, String> {
        let Settings { flag, reasons, conditions } = settings;
        let mut problems = Problems::default();
        if conditions.is_empty() {
            problems
                .add("/conditions", "the list is empty: give at least one, or take the stage out");
        }
        if conditions.len() > CONDITIONS_MAX {
            let message = format!("more than {CONDITIONS_MAX}: spread them over two stages");
            problems.add("/conditions", message);
        }
        if flag.overlaps(&reasons) {
            let message = format!("overlaps `flag`, which is `{flag}`: write them apart");
            problems.add("/reasons", message);
        }
        let mut plan = Plan::default();
        plan.write(&flag);
        plan.write(&reasons);
        let mut checked: Vec<Checked> = Vec::new();
        let mut codes = BTreeSet::new();
        for (number, condition) in conditions.into_iter().enumerate() {
            let at = format!("/conditions/{number}");
            if !codes.insert(condition.code.clone()) {
                let message = format!("`{}` is there already: choose another", condition.code);
                problems.add(format!("{at}/code"), message);
            }
            checked.extend(condition::check(condition, &at, &mut plan, &mut problems));
        }
        problems.finish()?;
        Ok(Self { conditions: checked, plan })
    }

    fn plan(&self) -> Plan {
        self.plan.clone()
    }

    fn evaluate(&mut self, batch: &Batch<'_>) -> Verdict {
        let parts: Vec<Bits> =
            (0..batch.columns.len() as u32).map(|column| self.bits(batch, column)).collect();
        let found = combine(batch, &parts);
        let flag = found.change(0, |bits| OwnedValue::Boolean(bits != 0));
        let reasons = found.change(1, |bits| OwnedValue::Json(self.codes(bits)));
        Verdict { fates: None, changes: vec![flag, reasons] }
    }
}

impl Anomaly {
    /// Which conditions each distinct value of a column sets off.
    fn bits(&self, batch: &Batch<'_>, column: u32) -> Bits {
        let found = |value| {
            let of_column = self.conditions.iter().enumerate().filter(|(_, c)| c.column == column);
            of_column.fold(0, |bits, (number, condition)| {
                bits | u64::from(condition.test.finds(value)) << number
            })
        };
        Bits { column, bits: batch.column(column).values().map(found).collect() }
    }

    /// The codes of these conditions, as a JSON array. A code needs no escapes.
    fn codes(&self, bits: u64) -> String {
        let mut json = String::from("[");
        for (number, condition) in self.conditions.iter().enumerate() {
            if bits & (1 << number) == 0 {
                continue;
            }
            if json.len() > 1 {
                json.push(',');
            }
            json.push('"');
            json.push_str(&condition.code);
            json.push('"');
        }
        json.push(']');
        json
    }
}

pipeline_sdk::export!(Anomaly, silent);
