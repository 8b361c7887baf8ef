//! Two sides over the same records.

use super::difference::{Results, difference};
use super::report::Report;
use crate::chain::{Chain, Header, Headers, Payload, Processed, Record, Stop};

/// The running rules and a candidate for their place. Either side may be one stage or all of them.
pub struct Pair {
    /// The stages in front of both.
    before: Option<Chain>,
    live: Chain,
    candidate: Chain,
}

impl Pair {
    /// `before` is what records go through on their way to either side; none where both begin with
    /// the input. No side may have stages that stop the pipeline: their errors are counted.
    pub fn new(before: Option<Chain>, live: Chain, candidate: Chain) -> Self {
        Self { before, live, candidate }
    }

    /// Whether headers of records are looked at.
    pub fn reads_headers(&self) -> bool {
        let chains = [self.before.as_ref(), Some(&self.live), Some(&self.candidate)];
        chains.into_iter().flatten().any(Chain::reads_headers)
    }

    /// Runs both sides; what differs is told to the report. `now` is the time of processing.
    pub fn compare(&mut self, records: &[Record<'_>], now: i64, report: &mut Report) {
        let Some(before) = &mut self.before else { return self.sides(records, now, report) };
        match run(before, records, now) {
            Ok(processed) => {
                let headers = emitted_headers(&processed);
                let arrived: Vec<Record<'_>> = arrived(&processed, records, &headers);
                if !arrived.is_empty() {
                    self.sides(&arrived, now, report);
                }
            }
            Err(Stop::OutputTooLarge { .. }) if records.len() > 1 => {
                let (first, second) = records.split_at(records.len() / 2);
                self.compare(first, now, report);
                self.compare(second, now, report);
            }
            Err(stop) => report.not_compared(records.len(), &stop),
        }
    }

    fn sides(&mut self, records: &[Record<'_>], now: i64, report: &mut Report) {
        let live = run(&mut self.live, records, now);
        let candidate = match &live {
            Ok(_) => run(&mut self.candidate, records, now),
            Err(stop) => Err(stop.clone()),
        };
        match (live, candidate) {
            (Ok(live), Ok(candidate)) => {
                report.ran(&live.stages, &candidate.stages);
                let (mut ours, mut theirs) =
                    (Results::new(&live, records), Results::new(&candidate, records));
                for (input, record) in (0..).zip(records) {
                    let (live, candidate) = (ours.of(input), theirs.of(input));
                    let difference = difference(&live, &candidate);
                    report.compared(record, difference, &live, &candidate);
                }
            }
            (_, Err(Stop::OutputTooLarge { .. })) if records.len() > 1 => {
                let (first, second) = records.split_at(records.len() / 2);
                self.sides(first, now, report);
                self.sides(second, now, report);
            }
            (Ok(live), Err(stop)) => {
                report.ran(&live.stages, &[]);
                report.candidate_stopped(records.len(), &stop);
            }
            (Err(stop), _) => report.not_compared(records.len(), &stop),
        }
    }
}

/// What faults may cost counts anew for each batch: a side is never given up for good.
fn run(chain: &mut Chain, records: &[Record<'_>], now: i64) -> Result<Processed, Stop> {
    chain.transaction_started();
    chain.run(records, now)
}

fn emitted_headers(processed: &Processed) -> Vec<Vec<Header<'_>>> {
    let emitted = processed.emitted.iter();
    emitted.map(|emitted| Headers::Emitted(&emitted.headers).iter().collect()).collect()
}

/// The outputs of the stages in front, as the records that come to the sides.
fn arrived<'a>(
    processed: &'a Processed,
    records: &'a [Record<'a>],
    headers: &'a [Vec<Header<'a>>],
) -> Vec<Record<'a>> {
    let record = |output: &crate::chain::Output| {
        let (input, view) = (&records[output.input as usize], processed.view(output, records));
        let headers = match output.payload {
            Payload::Emitted(place) => &headers[place],
            Payload::Original | Payload::Edited(_) => input.headers,
        };
        Record { key: view.key, value: view.value, headers, ..*input }
    };
    processed.outputs.iter().map(record).collect()
}
