//! The search for the records that make a stage fail, and its budget.

use std::ops::Range;
use std::time::{Duration, Instant};

use super::guest::Fault;
use super::processed::{FaultCounts, Reason};
use super::{Limits, Record, Stop};

/// What the faults of one stage have cost in the running transaction.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Budget {
    calls: u32,
    spent: Duration,
}

impl Budget {
    /// Whether a quarter of what faults may cost is spent.
    pub(super) fn is_strained(&self, limits: &Limits) -> bool {
        let calls = self.calls.saturating_mul(4) >= limits.faulty_calls_max;
        let spent = self.spent.saturating_mul(4) >= limits.fault_time_max;
        self.calls > 0 && (calls || spent)
    }
}

/// The answer to some neighbouring records; a fault only where it is one record.
pub(super) type Part<A> = (Range<usize>, Result<A, Fault>);

/// What [`judge`] found out about a batch.
pub(super) struct Judged<A> {
    /// Answers and guilty records, in the order of the records, without a gap.
    pub parts: Vec<Part<A>>,
    /// How many calls failed.
    pub faulty_calls: u64,
}

/// Into how many parts records are divided that a stage failed on. Halves would need the fewest
/// calls; what costs is the calls that fail, each a new instance, or its whole time where it loops,
/// and many parts need the fewest of these.
const PARTS: usize = 16;

/// Calls a stage with all of its records, and where that fails with parts of them, parts of these
/// and so on, until each record has an answer or is alone with its fault. A fault that does not
/// repeat in the parts is nobody's, and their answers count.
///
/// A record that fails alone is guilty if the call before failed too, so that a fresh instance
/// judged it; else it is asked about once more, since what failed may be what earlier calls left
/// behind in the instance.
///
/// `source` says which input record a record of the call came from, for the message of a stop.
pub(super) fn judge<'r, A>(
    stage: &str,
    records: usize,
    budget: &mut Budget,
    limits: &Limits,
    source: impl Fn(usize) -> &'r Record<'r>,
    mut call: impl FnMut(Range<usize>) -> Result<A, Fault>,
) -> Result<Judged<A>, Stop> {
    let mut parts = Vec::new();
    let mut faulty_calls = 0;
    let mut open = Vec::with_capacity(32);
    open.push(0..records);
    let spent_before = budget.spent;
    let mut search: Option<Instant> = None;
    let mut fresh = false;
    while let Some(range) = open.pop() {
        let started = Instant::now();
        let answer = call(range.clone());
        let fault = match answer {
            Ok(answer) => {
                parts.push((range, Ok(answer)));
                fresh = false;
                continue;
            }
            Err(Fault::Instance(message)) => {
                return Err(Stop::Instance { stage: stage.to_owned(), message });
            }
            Err(fault) => fault,
        };
        faulty_calls += 1;
        budget.calls += 1;
        budget.spent = spent_before + search.get_or_insert(started).elapsed();
        if budget.calls > limits.faulty_calls_max || budget.spent > limits.fault_time_max {
            let record = source(range.start);
            return Err(Stop::StageBroken {
                stage: stage.to_owned(),
                calls: budget.calls,
                spent: budget.spent,
                fault,
                partition: record.partition,
                offset: record.offset,
            });
        }
        let judged_fresh = std::mem::replace(&mut fresh, true);
        if range.len() > 1 {
            open.extend(divided(range).rev());
        } else if judged_fresh {
            parts.push((range, Err(fault)));
        } else {
            open.push(range);
        }
    }
    if let Some(search) = search {
        budget.spent = spent_before + search.elapsed();
    }
    Ok(Judged { parts, faulty_calls })
}

/// The parts of these records, in order.
fn divided(range: Range<usize>) -> impl DoubleEndedIterator<Item = Range<usize>> {
    let (length, count) = (range.len(), PARTS.min(range.len()));
    let border = move |part: usize| range.start + length * part / count;
    (0..count).map(move |part| border(part)..border(part + 1))
}

impl FaultCounts {
    pub(super) fn count(&mut self, fault: &Fault) {
        match fault {
            Fault::Trap(_) => self.trap += 1,
            Fault::Deadline(_) => self.deadline += 1,
            Fault::Memory(_) => self.memory += 1,
            Fault::WrongAnswer(_) => self.wrong_answer += 1,
            Fault::Instance(_) => {}
        }
    }
}

impl Reason {
    pub(super) fn of(fault: &Fault) -> Self {
        match fault {
            // An instance fault is a stop and never comes to a dead letter.
            Fault::Trap(_) | Fault::Instance(_) => Reason::Trap,
            Fault::Deadline(_) => Reason::Deadline,
            Fault::Memory(_) => Reason::Memory,
            Fault::WrongAnswer(_) => Reason::WrongAnswer,
        }
    }
}
