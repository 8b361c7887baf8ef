//! The simulator that the fault test trusts, and the comparison that must see every kind of mistake.

#[path = "support/comparison.rs"]
mod comparison;
#[path = "support/counting.rs"]
mod counting;
#[path = "support/simulation.rs"]
mod simulation;

use std::collections::BTreeMap;

use comparison::{
    Actual, Differences, Partitions, Promise, compare_dead_letters, compare_late, compare_outputs,
    compare_windows,
};
use counting::{Place, Results, SHIPPED, Shape, Window};
use serde_json::{Value, json};
use simulation::{Expected, Input, merge, simulate};

/// 2023-09-12T00:45:51Z; its window starts 51 seconds before.
const SECONDS: i64 = 1_694_479_551;
const START: i64 = (SECONDS - 51) * 1_000;

fn login(changes: Value) -> Vec<u8> {
    let mut event = json!({
        "user_id": "424cdd21-063a-43a7-b91b-7ca1a833afae", "app_version": "2.3.0",
        "device_type": "android", "ip": "199.172.111.135", "locale": "US",
        "device_id": "593-47-5928", "timestamp": SECONDS,
    });
    for (name, value) in changes.as_object().expect("an object") {
        let members = event.as_object_mut().expect("an object");
        if value == "(absent)" {
            members.remove(name)
        } else {
            members.insert(name.clone(), value.clone())
        };
    }
    event.to_string().into_bytes()
}

fn partition(values: Vec<Vec<u8>>) -> BTreeMap<i32, Vec<Input>> {
    let record = |(offset, value)| Input {
        offset,
        key: Some(b"key".to_vec()),
        value: Some(value),
        timestamp: SECONDS * 1_000,
    };
    BTreeMap::from([(0, (0..).zip(values).map(record).collect())])
}

fn simulate_one(values: Vec<Vec<u8>>) -> Expected {
    simulate(&partition(values), &[SHIPPED]).remove(&0).expect("one partition")
}

#[track_caller]
fn check_event(changes: Value, expected: Value) {
    let simulated = simulate_one(vec![login(changes)]);
    let event = simulated.outputs[0].value.clone().expect("an event");
    for (name, value) in expected.as_object().expect("an object") {
        assert_eq!(event.get(name), Some(value), "{name} in {event}");
    }
}

#[test]
fn the_stages_do_what_their_readmes_say() {
    check_event(
        json!({}),
        json!({
            "timestamp": "2023-09-12T00:45:51Z", "device_category": "Mobile", "anomaly": false,
            "anomaly_reasons": [], "device_type": "android", "device_id": "593-47-5928",
        }),
    );
    check_event(
        json!({"timestamp": SECONDS * 1_000 + 120}),
        json!({"timestamp": "2023-09-12T00:45:51.120Z"}),
    );
    check_event(json!({"timestamp": "yesterday"}), json!({"timestamp": "yesterday"}));
    check_event(json!({"device_type": "ANDROID"}), json!({"device_category": "Mobile"}));
    let reasons = |changes: Value, codes: Value| {
        check_event(changes, json!({"anomaly": codes != json!([]), "anomaly_reasons": codes}));
    };
    reasons(json!({"locale": "ru"}), json!(["suspicious-locale"]));
    reasons(json!({"locale": null}), json!([]));
    reasons(
        json!({"user_id": "guest", "ip": "999.1.1.1"}),
        json!(["malformed-user-id", "malformed-ip"]),
    );
    reasons(json!({"user_id": "(absent)", "ip": null}), json!(["missing-user-id", "missing-ip"]));
    reasons(json!({"ip": "::1", "app_version": "3.0.0-beta.2"}), json!([]));
    for wrong in ["latest", "1.2", "01.2.3", "1.2.3-01", "1.2.3-", "1.2.3+", "1.2.3.4"] {
        reasons(json!({"app_version": wrong}), json!(["malformed-app-version"]));
    }
    reasons(json!({"app_version": 12}), json!(["malformed-app-version"]));
}

#[test]
fn others_are_dropped_and_what_is_no_object_is_a_dead_letter() {
    let values = vec![
        login(json!({"device_type": "iOS"})),
        login(json!({"device_type": 7})),
        login(json!({"device_type": "(absent)"})),
        b"{\"device_type\":\"android\"".to_vec(),
        b"[1]".to_vec(),
        b"{\"a\xff\":1}".to_vec(),
        b"".to_vec(),
    ];
    let simulated = simulate_one(values);
    assert!(simulated.outputs.is_empty() && simulated.counted[0].is_empty());
    let offsets: Vec<i64> =
        simulated.dead_letters.iter().map(|letter| letter.input.offset).collect();
    assert_eq!(offsets, [3, 4, 5, 6]);
}

#[test]
fn tombstones_pass_by() {
    let tombstone = Input { offset: 3, key: Some(b"k".to_vec()), value: None, timestamp: 5 };
    let simulated = simulate(&BTreeMap::from([(1, vec![tombstone])]), &[SHIPPED]);
    assert_eq!(simulated[&1].outputs[0].value, None);
    assert!(simulated[&1].counted[0].is_empty());
}

#[test]
fn windows_count_close_and_find_late_records() {
    let at =
        |seconds: i64, version: &str| login(json!({"timestamp": seconds, "app_version": version}));
    let simulated = simulate_one(vec![
        at(SECONDS, "1.0.0"),
        at(SECONDS + 8, "1.0.0"),  // 00:45:59
        at(SECONDS + 9, "2.0.0"),  // the next window
        at(SECONDS + 13, "1.0.0"), // 00:46:04
        at(SECONDS, "2.0.0"),      // within the grace
        at(SECONDS + 14, "1.0.0"), // 00:46:05: the first one closes
        at(SECONDS, "2.0.0"),      // late
        // An event that does not pass the stages moves nothing.
        login(json!({"timestamp": SECONDS + 600, "device_type": "iOS"})),
        at(SECONDS + 9, "2.0.0"),
    ]);
    let expected = BTreeMap::from([
        (place(0, 60, "1.0.0"), 2),
        (place(0, 60, "2.0.0"), 1),
        (place(60, 120, "1.0.0"), 2),
        (place(60, 120, "2.0.0"), 2),
    ]);
    assert_eq!(simulated.counted, [expected]);
    assert_eq!(simulated.late.iter().map(|late| late.input.offset).collect::<Vec<_>>(), [6]);
    assert_eq!(simulated.outputs.len(), 8, "a late event is an output all the same");
    let results = merge(&BTreeMap::from([(0, simulated)]), &[SHIPPED]).remove(0);
    let is_final: Vec<bool> = results.into_values().map(|(_, is_final)| is_final).collect();
    assert_eq!(is_final, [true, true, false, false]);
}

/// Seconds behind [`START`], and a version.
fn place(start: i64, end: i64, version: &str) -> Place {
    (START + start * 1_000, START + end * 1_000, format!("\"{version}\""))
}

/// Start, end, count, and whether it is final.
type Shown = (i64, i64, u64, bool);

/// What comes out of two partitions of events of one version, at seconds behind [`START`],
/// and the offsets of those that are late.
fn results_of(window: Window, partitions: [&[i64]; 2]) -> (Vec<Shown>, Vec<i64>) {
    let events = |seconds: &&[i64]| -> Vec<Input> {
        let time = |second: &i64| START / 1_000 + second;
        let values = seconds.iter().map(|second| login(json!({"timestamp": time(second)})));
        partition(values.collect()).remove(&0).expect("one partition")
    };
    let input = (0..).zip(partitions.iter().map(events)).collect();
    let simulated = simulate(&input, &[window]);
    let late = simulated.values().flat_map(|one| &one.late).map(|late| late.input.offset).collect();
    let results: Results = merge(&simulated, &[window]).remove(0);
    let shown = results.into_iter().map(|((start, end, _), (count, is_final))| {
        ((start - START) / 1_000, (end - START) / 1_000, count, is_final)
    });
    (shown.collect(), late)
}

#[test]
fn an_event_counts_in_all_windows_that_overlap_or_in_none() {
    let shape = Shape::Hopping { size_ms: 15_000, every_ms: 6_000 };
    let window = Window { name: "hops", shape, grace_ms: 2_000, ..SHIPPED };
    // Slices of 3 s: that of second 7 takes events until the watermark is at 11.
    let (results, late) = results_of(window, [&[7, 10, 7, 11, 7], &[32]]);
    assert_eq!(late, [4]);
    assert_eq!(
        results,
        [
            (-6, 9, 2, true),
            (0, 15, 4, false),
            (6, 21, 4, false),
            (18, 33, 1, false),
            (24, 39, 1, false),
            (30, 45, 1, false),
        ]
    );
}

#[test]
fn sessions_that_overlap_are_one_wherever_their_events_lie() {
    let window = Window {
        name: "visits",
        shape: Shape::Session { gap_ms: 5_000 },
        grace_ms: 3_000,
        ..SHIPPED
    };
    // Second 12 is late at watermark 16 only; 5 and 10 are as far apart as two sessions are.
    let (results, late) = results_of(window, [&[0, 10, 15, 12, 16, 12, 40], &[5, 4, 30, 39]]);
    assert_eq!(late, [5]);
    assert_eq!(
        results,
        [(0, 10, 3, true), (10, 21, 4, true), (30, 35, 1, true), (39, 45, 2, false),]
    );
}

#[test]
fn the_far_future_is_counted_and_moves_nothing() {
    let at = |seconds: i64| login(json!({"timestamp": seconds}));
    let simulated =
        simulate_one(vec![at(SECONDS + 3_601), at(SECONDS), at(SECONDS + 3_600), at(SECONDS)]);
    assert_eq!(simulated.late.len(), 1, "an hour ahead is not too far");
    assert_eq!(simulated.watermark, Some((SECONDS + 3_600) * 1_000));
    assert_eq!(simulated.counted[0].values().sum::<u64>(), 3);
}

#[test]
fn without_a_time_the_records_own_counts() {
    let missing = login(json!({"timestamp": "(absent)", "app_version": "(absent)"}));
    let malformed = login(json!({"timestamp": "yesterday"}));
    let simulated = simulate_one(vec![missing, malformed]);
    let keys: Vec<&str> = simulated.counted[0].keys().map(|(.., key)| key.as_str()).collect();
    assert_eq!(keys, [r#""2.3.0""#, "null"]);
    assert!(simulated.counted[0].keys().all(|(start, ..)| *start == START));
}

/// An input with everything in it, and what a faultless pipeline makes of it.
fn faultless() -> (BTreeMap<i32, Expected>, [Partitions; 4]) {
    let mut values = Vec::new();
    for second in 0..70 {
        values.push(login(json!({"timestamp": SECONDS + second})));
        if second % 20 == 0 {
            values.push(b"broken".to_vec());
        }
    }
    values.push(login(json!({"timestamp": SECONDS})));
    values.push(login(json!({"timestamp": SECONDS})));
    let expected = simulate(&partition(values), &[SHIPPED]);
    let simulated = &expected[&0];
    let outputs = (0..).zip(&simulated.outputs).map(|(offset, output)| {
        let mut event = output.value.clone().expect("an event");
        event["processed_timestamp"] = "2026-01-31T12:00:00.5Z".into();
        let value = Some(event.to_string().into_bytes());
        Actual {
            offset,
            key: output.key.clone(),
            value,
            timestamp: output.timestamp,
            ..Actual::default()
        }
    });
    let aside = |records: &[simulation::SetAside]| -> Partitions {
        let actual = (0..).zip(records).map(|(offset, record)| {
            let header = |name: &str, value: String| {
                (format!("dead-letter-{name}"), Some(value.into_bytes()))
            };
            Actual {
                offset,
                key: record.input.key.clone(),
                value: record.input.value.clone(),
                headers: vec![
                    header("reason", record.reason.to_owned()),
                    header("stage", record.stage.to_owned()),
                    header("topic", "user-login".to_owned()),
                    header("partition", "0".to_owned()),
                    header("offset", record.input.offset.to_string()),
                    header("timestamp", record.input.timestamp.to_string()),
                ],
                timestamp: record.input.timestamp,
            }
        });
        BTreeMap::from([(0, actual.collect())])
    };
    let windows = simulated.counted[0].iter().map(|((start, end, key), count)| {
        let time = |millis| chrono::DateTime::from_timestamp_millis(millis).expect("in range").to_rfc3339();
        let key: Value = serde_json::from_str(key).expect("JSON");
        let (start, end) = (time(*start), time(*end));
        let record_key = format!("{start}|{}", key.as_str().expect("a text"));
        let value = json!({"window": "counts", "start": start, "end": end, "key": key, "count": count, "final": true});
        Actual {
            key: Some(record_key.into_bytes()),
            value: Some(value.to_string().into_bytes()),
            ..Actual::default()
        }
    });
    let outputs = BTreeMap::from([(0, outputs.collect())]);
    let windows = BTreeMap::from([(2, windows.collect())]);
    let (dead_letters, late) = (aside(&simulated.dead_letters), aside(&simulated.late));
    assert!(dead_letters[&0].len() == 4 && late[&0].len() == 2);
    (expected, [outputs, dead_letters, late, windows])
}

fn differences(
    change: impl FnOnce(&mut [Partitions; 4]),
    all_closed: bool,
    promise: Promise,
) -> Differences {
    let (expected, mut actual) = faultless();
    change(&mut actual);
    let mut found = Differences::default();
    let noon = 1_769_860_800_000;
    compare_outputs(&expected, &actual[0], noon..=noon + 1_000, promise, &mut found);
    compare_dead_letters("user-login", &expected, &actual[1], promise, &mut found);
    compare_late("user-login", &expected, &actual[2], promise, &mut found);
    let expected = merge(&expected, &[SHIPPED]).remove(0);
    compare_windows("counts", &expected, &actual[3], all_closed, promise, &mut found);
    found
}

/// The one difference that a change makes says what it is.
#[track_caller]
fn check(word: &str, change: impl FnOnce(&mut [Partitions; 4])) {
    let found = differences(change, true, Promise::ExactlyOnce);
    assert_eq!(found.count(), 1, "{:?}", found.told());
    assert!(found.told()[0].contains(word), "{word:?} is missing in {}", found.told()[0]);
}

fn records(actual: &mut [Partitions; 4], topic: usize) -> &mut Vec<Actual> {
    actual[topic].values_mut().next().expect("one partition")
}

#[test]
fn a_faultless_run_has_no_differences() {
    differences(|_| {}, true, Promise::ExactlyOnce).assert_none();
}

#[test]
fn every_kind_of_mistake_is_told_once() {
    for topic in 0..3 {
        check("lost", |actual| drop(records(actual, topic).remove(1)));
        check("repeated", |actual| {
            let again = records(actual, topic)[1].clone();
            records(actual, topic).push(again);
        });
        check("out of order", |actual| records(actual, topic).swap(0, 1));
    }
    check("lost", |actual| drop(records(actual, 3).remove(0)));
    check("repeated", |actual| {
        let again = records(actual, 3)[0].clone();
        records(actual, 3).push(again);
    });
    check("processed_timestamp", |actual| {
        let value = records(actual, 0)[0].value.as_mut().expect("a value");
        let text =
            String::from_utf8_lossy(value).replace("2026-01-31T12:00:00", "2026-01-31T11:59:59");
        *value = text.into_bytes();
    });
}

#[test]
fn what_is_different_is_both_unexpected_and_lost() {
    type Change = fn(&mut Actual);
    let changes: [(usize, Change); 7] = [
        (0, |record| record.key = None),
        (0, |record| record.timestamp += 1),
        (0, |record| record.value = Some(b"{}".to_vec())),
        (1, |record| record.value = None),
        (1, |record| record.headers[0].1 = Some(b"late".to_vec())),
        (2, |record| record.headers[1].1 = Some(b"hops".to_vec())),
        (2, |record| record.headers[4].1 = Some(b"0".to_vec())),
    ];
    for (topic, change) in changes {
        let changed = |actual: &mut [Partitions; 4]| change(&mut records(actual, topic)[0]);
        let found = differences(changed, true, Promise::ExactlyOnce);
        let told = found.told().join("\n");
        assert!(told.contains("not expected") && told.contains("lost"), "{told}");
    }
    // Another partition than the input's.
    let moved = |actual: &mut [Partitions; 4]| {
        let record = records(actual, 0).remove(0);
        actual[0].insert(1, vec![record]);
    };
    assert_eq!(differences(moved, true, Promise::ExactlyOnce).count(), 2);
}

#[test]
fn a_wrong_count_is_told_with_the_right_one() {
    check("7, expected", |actual| {
        let value = records(actual, 3)[0].value.as_mut().expect("a value");
        let mut result: Value = serde_json::from_slice(value).expect("JSON");
        result["count"] = 7.into();
        *value = result.to_string().into_bytes();
    });
}

#[test]
fn windows_that_only_silence_closes_may_be_open_still() {
    let without_last = |actual: &mut [Partitions; 4]| drop(records(actual, 3).pop());
    differences(without_last, false, Promise::ExactlyOnce).assert_none();
    assert_eq!(differences(without_last, true, Promise::ExactlyOnce).count(), 1);
}

#[test]
fn at_least_once_allows_repetitions_and_nothing_else() {
    let repeated = |actual: &mut [Partitions; 4]| {
        for topic in 0..4 {
            let again = records(actual, topic).clone();
            records(actual, topic).extend(again);
        }
    };
    differences(repeated, true, Promise::AtLeastOnce).assert_none();
    let lost = |actual: &mut [Partitions; 4]| drop(records(actual, 0).remove(5));
    assert_eq!(differences(lost, true, Promise::AtLeastOnce).count(), 1);
    let counted = |more: i64| {
        move |actual: &mut [Partitions; 4]| {
            let result = records(actual, 3).first_mut().unwrap();
            let mut value: Value = serde_json::from_slice(result.value.as_ref().unwrap()).unwrap();
            value["count"] = (value["count"].as_i64().unwrap() + more).into();
            result.value = Some(value.to_string().into_bytes());
        }
    };
    assert_eq!(differences(counted(1), true, Promise::AtLeastOnce).count(), 1);
    differences(counted(1), true, Promise::AtLeastOnceCrashed).assert_none();
    assert_eq!(differences(counted(-1), true, Promise::AtLeastOnceCrashed).count(), 1);
}

#[test]
fn many_differences_are_counted_and_the_first_are_told() {
    let all = |actual: &mut [Partitions; 4]| records(actual, 0).clear();
    let found = differences(all, true, Promise::ExactlyOnce);
    assert_eq!((found.count(), found.told().len()), (72, 20));
}
