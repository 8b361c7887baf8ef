use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;
use crate::chain::guest::{Emitted, Fault, Guest, Outcome, Transform, TransformRecord};
use crate::chain::{Chain, Copied, Limits, OnError, Record, Stage};

/// A stage that is a function of a record's value.
struct Native(fn(&str) -> Result<Outcome, Fault>);

impl Transform for Native {
    fn transform(
        &mut self,
        records: &[TransformRecord<'_>],
        _now: i64,
    ) -> Result<Vec<Outcome>, Fault> {
        let text = |record: &TransformRecord<'_>| {
            std::str::from_utf8(record.value).expect("a text").to_owned()
        };
        records.iter().map(|record| (self.0)(&text(record))).collect()
    }
}

fn chain(stage: fn(&str) -> Result<Outcome, Fault>) -> Chain {
    let stage = Stage {
        name: "stage".to_owned(),
        guest: Guest::Transform(Box::new(Native(stage))),
        on_error: OnError::DeadLetter,
        topics: Arc::new([]),
    };
    Chain::new(vec![stage], Vec::new(), Limits::default()).expect("nothing is wrong with it")
}

fn emit(values: &[&str]) -> Outcome {
    let emitted = |value: &&str| Emitted {
        key: None,
        value: Some(value.as_bytes().to_vec()),
        headers: Vec::new(),
        topic: None,
    };
    Outcome::Emit(values.iter().map(emitted).collect())
}

fn records<'a>(values: &[&'a str]) -> Vec<Record<'a>> {
    let record = |(offset, value): (i64, &&'a str)| Record {
        key: None,
        value: Some(value.as_bytes()),
        headers: &[],
        timestamp: None,
        partition: 0,
        offset,
    };
    (0..).zip(values).map(record).collect()
}

fn pass(_: &str) -> Result<Outcome, Fault> {
    Ok(emit(&[r#"{"a":1,"b":{"c":"x"}}"#]))
}

/// What one record of each kind leads to, the live side being `pass`.
fn candidate(value: &str) -> Result<Outcome, Fault> {
    Ok(match value {
        "same" => return pass(value),
        "fields" => emit(&[r#"{"a":2,"b":{}}"#]),
        "form" => emit(&[r#"{ "b":{"c":"x"},"a":1}"#]),
        "dropped" => Outcome::Drop,
        "two" => emit(&["1", "2"]),
        "rejected" => Outcome::Reject("no".to_owned()),
        _ => return Err(Fault::Trap("unreachable".to_owned())),
    })
}

#[test]
fn each_kind_of_difference_is_counted_and_shown() {
    let mut pair = Pair::new(None, chain(pass), chain(candidate));
    let mut report = Report::new(Keep::First(10));
    let values = ["same", "fields", "form", "dropped", "two", "rejected", "trap", "same"];
    pair.compare(&records(&values), 0, &mut report);
    let kinds: Vec<_> = report.samples.iter().map(|one| (one.offset, one.kind)).collect();
    let expected = [
        (1, Kind::Fields),
        (2, Kind::Form),
        (3, Kind::Dropped),
        (4, Kind::Other),
        (5, Kind::Errors),
        (6, Kind::Errors),
    ];
    assert_eq!(kinds, expected);
    assert_eq!((report.records, report.differing(), report.not_compared), (8, 6, 0));
    assert_eq!(report.differ[&Kind::Errors], 2);
    let fields: Vec<_> = report.fields.iter().map(|(name, count)| (&**name, *count)).collect();
    assert_eq!(fields, [("/a", 1), ("/b/c", 1)]);
    assert_eq!((report.candidate.dropped, report.candidate.rejected), (1, 1));
    assert_eq!((report.candidate.faults, report.live.faults), (1, 0));
    assert_eq!(report.samples[4].candidate, "dead letter (rejected): no");
    assert_eq!(report.samples[3].candidate, "2 records");
}

#[test]
fn what_the_stages_in_front_make_is_what_both_sides_get() {
    let before = chain(|value| {
        Ok(if value == "gone" { Outcome::Drop } else { emit(&["fields", "same", "dropped"]) })
    });
    let mut pair = Pair::new(Some(before), chain(candidate), chain(pass));
    let mut report = Report::new(Keep::Last(1));
    pair.compare(&records(&["gone", "split"]), 0, &mut report);
    assert_eq!((report.records, report.differing()), (3, 2));
    assert_eq!((report.differ[&Kind::Fields], report.differ[&Kind::Kept]), (1, 1));
    // The last example only, and where its record came from.
    let samples: Vec<_> = report.samples.iter().map(|one| (one.offset, &*one.input)).collect();
    assert_eq!(samples, [(1, "dropped")]);
}

#[test]
fn a_side_that_gives_a_batch_up_is_counted_and_the_next_batch_is_compared() {
    let broken = |value: &str| match value {
        "same" => pass(value),
        _ => Err(Fault::Trap("unreachable".to_owned())),
    };
    let bad = vec!["trap"; 200];
    let mut pair = Pair::new(None, chain(pass), chain(broken));
    let mut report = Report::new(Keep::Last(1));
    pair.compare(&records(&bad), 0, &mut report);
    pair.compare(&records(&["same"]), 0, &mut report);
    assert_eq!((report.records, report.differ[&Kind::Errors]), (201, 200));
    assert!(report.stopped.is_some_and(|why| why.starts_with("the candidate: stage \"stage\"")));
    let mut pair = Pair::new(None, chain(broken), chain(pass));
    let mut report = Report::new(Keep::Last(1));
    pair.compare(&records(&bad), 0, &mut report);
    pair.compare(&records(&["same"]), 0, &mut report);
    assert_eq!((report.records, report.not_compared, report.differing()), (1, 200, 0));
}

#[test]
fn a_slow_candidate_is_passed_over_and_nobody_waits_for_it() {
    let slow = |value: &str| {
        std::thread::sleep(Duration::from_millis(200));
        pass(value)
    };
    let info = Info { stage: None, plugins: vec!["slow".to_owned()], hashes: Vec::new() };
    let pair = Pair::new(None, chain(pass), chain(slow));
    let (shadow, feed) = Shadow::start(info, pair).expect("a thread");
    let batch = Arc::new(Copied::of(&records(&["same"]), 0));
    let (started, mut taken) = (Instant::now(), 0);
    for _ in 0..1000 {
        if feed.has_room() {
            feed.offer(&batch);
            taken += 1;
        }
    }
    assert!(started.elapsed() < Duration::from_millis(200), "it waited");
    assert!((1..=QUEUE_BATCHES as u64 + 1).contains(&taken), "{taken}");
    while shadow.status().report.records < taken {
        std::thread::yield_now();
    }
    let status = shadow.status();
    assert_eq!((status.batches_passed_over, status.report.differing()), (1000 - taken, 0));
    // It ends with its last feed.
    drop(feed);
    while Arc::strong_count(&shadow) > 1 {
        std::thread::yield_now();
    }
}
