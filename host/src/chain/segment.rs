//! Neighbouring rules over one decoded batch.

use std::ops::Range;
use std::time::Instant;

use super::bisect::{Judged, judge};
use super::flow::{Flow, Member, borrowed_headers};
use super::guest::{Emitted, Fault, Rule, RuleBatch};
use super::observe::{Groups, Times};
use super::processed::{Output, Payload, Place, Reason};
use super::rejects::Rejects;
use super::verdict::{self, Gone};
use super::{DECODE, Header, Stop};
use crate::event::{
    Batch, Column, ColumnId, EventInput, Form, Layout, Value, Verdict, WriteId, Written,
};

/// The rules between two transforms, or between a transform and an end of the chain.
pub(super) struct Segment {
    pub layout: Layout,
    pub rules: Vec<RuleStage>,
    /// At the beginning of the chain: what decoding rejects, and the times that observers read.
    pub head: Option<(Rejects, Times)>,
    /// At the end of the chain: the keys that observers read.
    pub groups: Option<Groups>,
}

/// A rule stage.
pub(super) struct RuleStage {
    pub member: Member,
    pub rule: Box<dyn Rule>,
    pub columns: Vec<ColumnId>,
    pub forms: Vec<Form>,
    pub writes: Vec<WriteId>,
}

/// What a rule's checked answer to some neighbouring events leaves to do: its edits are in the
/// batch already.
struct Answer {
    gone: Gone,
    /// Positions at which an edit cannot be made, and why.
    refused: Vec<(u32, String)>,
}

impl Segment {
    /// Takes the batch through the rules; tombstones pass by.
    pub(super) fn run(&mut self, flow: &mut Flow<'_>) -> Result<(), Stop> {
        let started = Instant::now();
        // What events are decoded from is lent to the batch, while the rest of the flow changes.
        let bytes = std::mem::take(&mut flow.processed.bytes);
        let mut emitted = std::mem::take(&mut flow.processed.emitted);
        let headers: Vec<Vec<Header<'_>>> = emitted.iter().map(borrowed_headers).collect();
        let (places, inputs) = flow.events(&bytes, &emitted, &headers);
        let Self { layout, rules, head, groups } = self;
        let mut batch = Batch::decode(layout, &inputs);
        match head {
            Some((rejects, times)) => begin(rejects, times, flow, &batch, &places)?,
            None => refuse(&mut rules[0].member, flow, &batch, &places),
        }
        flow.processed.decode.nanos += nanos(started);
        for rule in rules {
            rule.run(flow, &mut batch, &places)?;
        }
        let started = Instant::now();
        let encoded = Encoded::new(flow, &mut batch, &inputs, &places)?;
        if let Some(groups) = groups {
            flow.keys = groups.read(&mut batch);
        }
        drop(batch);
        drop(inputs);
        drop(headers);
        encoded.apply(flow, bytes, &mut emitted, &places);
        flow.processed.emitted = emitted;
        flow.processed.encode.nanos += nanos(started);
        Ok(())
    }
}

/// At the beginning of the chain: what is no event is a dead letter, times are read of the rest.
fn begin(
    rejects: &mut Rejects,
    times: &Times,
    flow: &mut Flow<'_>,
    batch: &Batch<'_>,
    places: &[u32],
) -> Result<(), Stop> {
    for (event, invalid) in batch.invalid() {
        let message = invalid.to_string();
        rejects.reason(&message);
        // Nothing has happened yet: outputs are inputs.
        let input = places[*event as usize];
        flow.dead_letter(input, Place::Decode, Reason::InvalidJson, message);
    }
    flow.times = times.read(batch, (flow.records.len(), flow.now), |event| places[event as usize]);
    let (records, rejected) = (places.len() as u64, batch.invalid().len() as u64);
    flow.processed.decode.records = records;
    flow.processed.decode.rejected = rejected;
    rejects.batch(DECODE, records, rejected, flow.limits)
}

/// Behind a transform: the first rule rejects what is no event.
fn refuse(first: &mut Member, flow: &mut Flow<'_>, batch: &Batch<'_>, places: &[u32]) {
    flow.processed.stages[first.place].records += batch.invalid().len() as u64;
    for (event, invalid) in batch.invalid() {
        let input = flow.processed.outputs[places[*event as usize] as usize].input;
        first.reject(flow, input, Reason::InvalidJson, &invalid.to_string());
    }
}

impl RuleStage {
    fn run(
        &mut self,
        flow: &mut Flow<'_>,
        batch: &mut Batch<'_>,
        places: &[u32],
    ) -> Result<(), Stop> {
        let started = Instant::now();
        let events = batch.live().len();
        flow.processed.stages[self.member.place].records += events as u64;
        if events > 0 {
            let inputs: Vec<u32> = batch
                .live()
                .iter()
                .map(|&event| flow.processed.outputs[places[event as usize] as usize].input)
                .collect();
            batch.prepare(&self.columns);
            let judged = self.judge(flow, batch, &inputs)?;
            flow.processed.stages[self.member.place].faulty_calls += judged.faulty_calls;
            let removed = self.settle(flow, judged, &inputs)?;
            if !removed.is_empty() {
                batch.remove(&removed);
            }
        }
        flow.processed.stages[self.member.place].nanos += nanos(started);
        self.member.close(flow)
    }

    /// Asks the rule about the live events, and puts its edits into the batch.
    fn judge(
        &mut self,
        flow: &Flow<'_>,
        batch: &mut Batch<'_>,
        inputs: &[u32],
    ) -> Result<Judged<Answer>, Stop> {
        let Self { member, rule, columns, forms, writes } = self;
        // The columns as they were, from when a part of the events is asked about for the first
        // time: the edits of one part must not show in the columns of the next.
        let mut snapshot: Vec<Column> = Vec::new();
        judge(
            &member.name,
            inputs.len(),
            &mut member.budget,
            flow.limits,
            |position| &flow.records[inputs[position] as usize],
            |range| {
                let whole = range.len() == inputs.len();
                if !whole && snapshot.is_empty() {
                    snapshot = columns.iter().map(|&column| batch.column(column).clone()).collect();
                }
                let parts: Vec<Column> = match whole {
                    true => Vec::new(),
                    false => snapshot.iter().map(|column| part(column, range.clone())).collect(),
                };
                let parts = (!whole).then_some(parts.as_slice());
                let given = given(batch, columns, parts);
                let formed: Vec<_> = given.into_iter().zip(forms.iter().copied()).collect();
                let events = range.len() as u32;
                let verdict =
                    rule.evaluate(RuleBatch { events, now: flow.now, columns: &formed })?;
                take_in(batch, &verdict, writes, columns, parts, range).map_err(|problem| {
                    rule.discard();
                    Fault::WrongAnswer(problem)
                })
            },
        )
    }

    /// Counts and reports the events that do not go on; gives their positions, rising.
    fn settle(
        &mut self,
        flow: &mut Flow<'_>,
        judged: Judged<Answer>,
        inputs: &[u32],
    ) -> Result<Vec<u32>, Stop> {
        let mut removed = Vec::new();
        for (range, answer) in judged.parts {
            let Answer { gone, refused } = match answer {
                Ok(answer) => answer,
                Err(fault) => {
                    if !self.member.guilty(flow, inputs[range.start], fault)? {
                        removed.push(range.start as u32);
                    }
                    continue;
                }
            };
            let part = removed.len();
            for (position, reason) in gone {
                removed.push(position);
                match reason {
                    None => flow.processed.stages[self.member.place].dropped += 1,
                    Some(reason) => {
                        let input = inputs[position as usize];
                        self.member.reject(flow, input, Reason::Rejected, &reason);
                    }
                }
            }
            let fated = removed.len();
            for (position, reason) in refused {
                // An edit of an event that does not go on anyway says nothing about it.
                if removed[part..fated].binary_search(&position).is_err() {
                    removed.push(position);
                    let input = inputs[position as usize];
                    self.member.reject(flow, input, Reason::Rejected, &reason);
                }
            }
            removed[part..].sort_unstable();
        }
        Ok(removed)
    }
}

/// The columns of a call: of the whole batch, or of a part of it.
fn given<'c>(
    batch: &'c Batch<'_>,
    columns: &[ColumnId],
    parts: Option<&'c [Column]>,
) -> Vec<&'c Column> {
    match parts {
        None => columns.iter().map(|&column| batch.column(column)).collect(),
        Some(parts) => parts.iter().collect(),
    }
}

/// Checks an answer about neighbouring positions and puts its edits into the batch; does nothing
/// where it is wrong.
fn take_in(
    batch: &mut Batch<'_>,
    verdict: &Verdict,
    writes: &[WriteId],
    columns: &[ColumnId],
    parts: Option<&[Column]>,
    range: Range<usize>,
) -> Result<Answer, String> {
    let gone = match &verdict.fates {
        Some(fates) => verdict::gone(fates, &given(batch, columns, parts), range.clone())?,
        None => Gone::new(),
    };
    let changes = verdict::changes(verdict, writes, columns, parts)?;
    if changes.is_empty() {
        return Ok(Answer { gone, refused: Vec::new() });
    }
    let positions: Option<Vec<u32>> =
        parts.map(|_| range.map(|position| position as u32).collect());
    let refused = batch.apply(positions.as_deref(), &changes).map_err(|wrong| wrong.to_string())?;
    Ok(Answer { gone, refused })
}

/// The texts of the events at the end of a segment.
struct Encoded {
    /// What is written of each live event, by event number.
    live: Vec<(u32, Written)>,
    /// The texts that were edited.
    bytes: Vec<u8>,
}

impl Encoded {
    /// Writes all live events, and rejects those that are too large now.
    fn new(
        flow: &mut Flow<'_>,
        batch: &mut Batch<'_>,
        inputs: &[EventInput<'_>],
        places: &[u32],
    ) -> Result<Self, Stop> {
        let mut encoded = Self { live: Vec::with_capacity(batch.live().len()), bytes: Vec::new() };
        let mut removed = Vec::new();
        flow.processed.encode.records += batch.live().len() as u64;
        for position in 0..batch.live().len() as u32 {
            let event = batch.live()[position as usize];
            let written = batch.write(position, &mut encoded.bytes);
            if let Written::Edited(range) = &written {
                let key_bytes = inputs[event as usize].key.map_or(0, <[u8]>::len);
                let record_bytes = key_bytes + range.len();
                if !flow.made(record_bytes, range.len())? {
                    encoded.bytes.truncate(range.start);
                    removed.push(position);
                    let output = &flow.processed.outputs[places[event as usize] as usize];
                    let (input, message) = (output.input, flow.too_large(record_bytes));
                    flow.processed.encode.rejected += 1;
                    flow.dead_letter(input, Place::Encode, Reason::RecordTooLarge, message);
                    continue;
                }
            }
            encoded.live.push((event, written));
        }
        batch.remove(&removed);
        Ok(encoded)
    }

    /// Puts what is left of the batch in the place of what there was before the segment.
    fn apply(
        self,
        flow: &mut Flow<'_>,
        mut bytes: Vec<u8>,
        emitted: &mut [Emitted],
        places: &[u32],
    ) {
        let before = std::mem::take(&mut flow.processed.outputs);
        let mut after = Vec::with_capacity(before.len());
        let moved = bytes.len();
        let mut events = places.iter().zip(0u32..).peekable();
        let mut live = self.live.into_iter().peekable();
        flow.observed.clear();
        for (place, output) in before.into_iter().enumerate() {
            let Some((_, event)) = events.next_if(|(event, _)| **event as usize == place) else {
                after.push(output);
                continue;
            };
            let Some((_, written)) = live.next_if(|(other, _)| *other == event) else { continue };
            flow.observed.push(after.len() as u32);
            let payload = match (written, output.payload) {
                (Written::Original, payload) => payload,
                (Written::Edited(range), Payload::Emitted(place)) => {
                    emitted[place].value = Some(self.bytes[range].to_vec());
                    Payload::Emitted(place)
                }
                (Written::Edited(range), _) => {
                    Payload::Edited(range.start + moved..range.end + moved)
                }
            };
            after.push(Output { payload, ..output });
        }
        flow.processed.outputs = after;
        if bytes.is_empty() {
            bytes = self.bytes;
        } else {
            bytes.extend_from_slice(&self.bytes);
        }
        flow.processed.bytes = bytes;
    }
}

/// A column as it is for some neighbouring events only.
fn part(column: &Column, range: Range<usize>) -> Column {
    let mut entries = vec![u32::MAX; column.len()];
    let mut values: Vec<Value<'_>> = Vec::new();
    let index = column.index()[range].iter().map(|&entry| {
        let new = &mut entries[entry as usize];
        if *new == u32::MAX {
            *new = values.len() as u32;
            values.push(column.value(entry as usize));
        }
        *new
    });
    let index = index.collect();
    Column::new(&values, index)
}

pub(super) fn nanos(started: Instant) -> u64 {
    started.elapsed().as_nanos() as u64
}
