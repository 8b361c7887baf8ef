//! Between the generated bindings and a [`Rule`]: what [`export!`](crate::export) calls.

use crate::bindings::exports::pipeline::plugin::rules::Batch as WitBatch;
use crate::{Batch, Column, Plan, Rule, Verdict};

/// Puts the rule that these settings make in the slot, and answers with its plan.
pub fn configure<R: Rule>(slot: &mut Option<R>, settings: &str) -> Result<Plan, String> {
    let rule = crate::configure::<R>(settings)?;
    let plan = rule.plan();
    *slot = Some(rule);
    Ok(plan)
}

/// Lets the configured rule judge a batch as it came through the boundary.
pub fn evaluate<R: Rule>(slot: &mut Option<R>, batch: &WitBatch) -> Verdict {
    let rule = slot.as_mut().expect("the host configures before it evaluates");
    let columns: Vec<Column<'_>> = batch.columns.iter().map(Column::from).collect();
    rule.evaluate(&Batch { events: batch.events, now: batch.now, columns: &columns })
}
