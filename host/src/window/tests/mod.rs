//! Behaviours of windows by example; `model` holds them against a naive one.

mod model;

use std::sync::Arc;
use std::time::Duration;

use sha2::Digest as _;

use super::*;
use crate::event::{Column, Value};

const MINUTE: i64 = 60_000;

fn spec() -> WindowSpec {
    WindowSpec {
        name: "counts".to_owned(),
        size: Duration::from_secs(60),
        grace: Duration::from_secs(5),
        group: vec!["/app_version".to_owned()],
        time: "field /timestamp auto".to_owned(),
        future_max: WindowSpec::FUTURE_MAX_DEFAULT,
        idle: WindowSpec::IDLE_DEFAULT,
        limits: Limits::default(),
    }
}

fn windows(spec: WindowSpec, partitions: &[i32]) -> Windows {
    let spec = Arc::new(spec);
    let mut windows = Windows::new(spec.clone());
    for &partition in partitions {
        windows.adopt(PartitionWindows::new(spec.clone(), partition));
    }
    windows
}

/// Observes events (partition, record timestamp, time, key) as one batch; late ones by place.
fn observe(
    windows: &mut Windows,
    events: &[(i32, i64, i64, &str)],
) -> Result<(Vec<u32>, u32), StateError> {
    let origins: Vec<_> = events
        .iter()
        .map(|&(partition, timestamp, ..)| Origin {
            partition,
            // Behind all that a state may hold.
            offset: i64::MAX,
            timestamp: Some(timestamp),
        })
        .collect();
    let times: Vec<_> = events.iter().map(|event| event.2).collect();
    let mut values = Vec::new();
    let mut index = Vec::new();
    for &(.., key) in events {
        let entry = values.iter().position(|&value| value == key).unwrap_or_else(|| {
            values.push(key);
            values.len() - 1
        });
        index.push(entry as u32);
    }
    let values: Vec<_> = values.into_iter().map(Value::Text).collect();
    let keys = [Column::new(&values, index)];
    let observed = windows.observe(Events { origins: &origins, times: &times, keys: &keys })?;
    Ok((observed.late.iter().map(|late| late.event).collect(), observed.future))
}

/// Events of partition 0 whose records are as old as they are.
fn observe_times(windows: &mut Windows, times: &[i64]) -> Vec<u32> {
    let events: Vec<_> = times.iter().map(|&time| (0, time, time, "a")).collect();
    observe(windows, &events).expect("windows take events").0
}

/// What was written to the partial results.
fn results(windows: &mut Windows) -> Vec<String> {
    let mut records = Records::default();
    for closed in windows.take_closed() {
        closed.write_records(&mut records);
    }
    lines(&records)
}

fn lines(records: &Records) -> Vec<String> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("records are text");
    let line = |(key, value): (&[u8], Option<&[u8]>)| {
        format!("{} {}", text(key), value.map_or("-".to_owned(), text))
    };
    records.iter().map(line).collect()
}

fn changes(windows: &mut Windows, next_offset: i64) -> Records {
    let mut records = Records::default();
    windows.take_changes(0, next_offset, &mut records);
    records
}

fn restore(
    spec: WindowSpec,
    records: &[Records],
) -> Result<(PartitionWindows, Option<Marker>), StateError> {
    let mut restore = Restore::new(Arc::new(spec), 0);
    for (key, value) in records.iter().flat_map(Records::iter) {
        restore.apply(Some(key), value);
    }
    restore.finish()
}

fn result(minute: i64, key: &str, count: u64) -> String {
    let (start, end) = (rfc3339(minute * MINUTE), rfc3339((minute + 1) * MINUTE));
    format!(
        r#"{start}|{key} {{"window":"counts","start":"{start}","end":"{end}","key":"{key}","partition":0,"count":{count}}}"#
    )
}

#[test]
fn a_window_closes_when_the_watermark_is_grace_past_its_end() {
    let mut windows = windows(spec(), &[0]);
    observe_times(&mut windows, &[0, 59_999, 64_999]);
    assert_eq!(results(&mut windows), [""; 0]);
    observe_times(&mut windows, &[65_000]);
    assert_eq!(
        results(&mut windows),
        [
            r#"1970-01-01T00:00:00Z|a {"window":"counts","start":"1970-01-01T00:00:00Z","end":"1970-01-01T00:01:00Z","key":"a","partition":0,"count":2}"#
        ]
    );
    assert_eq!(windows.partitions()[0].closed_before(), Some(MINUTE));
}

#[test]
fn a_straggler_within_grace_counts_and_one_beyond_is_late() {
    let mut windows = windows(spec(), &[0]);
    let late = observe_times(&mut windows, &[10, 64_999, 59_999, 65_000, 59_999, 60_000]);
    assert_eq!(late, [4]);
    assert_eq!(results(&mut windows), [result(0, "a", 2)]);
}

#[test]
fn partitions_have_watermarks_of_their_own() {
    let mut windows = windows(spec(), &[0, 7]);
    let events = [(0, 0, 0, "a"), (7, 0, 500_000, "a"), (0, 0, 1, "b"), (7, 0, 0, "b")];
    assert_eq!(observe(&mut windows, &events), Ok((vec![3], 0)));
    assert_eq!(windows.partition(0).map(PartitionWindows::watermark), Some(Some(1)));
    assert_eq!(windows.partition(7).map(PartitionWindows::watermark), Some(Some(500_000)));
}

#[test]
fn a_time_far_past_its_record_counts_and_does_not_move_the_watermark() {
    let mut windows = windows(spec(), &[0]);
    let hour = 3_600_000;
    let events = [(0, 0, 0, "a"), (0, 0, hour + 1, "a"), (0, 0, 1, "a"), (0, 0, hour, "a")];
    assert_eq!(observe(&mut windows, &events), Ok((vec![], 1)));
    assert_eq!(windows.partitions()[0].watermark(), Some(hour));
    assert_eq!(results(&mut windows), [result(0, "a", 2)]);
    observe_times(&mut windows, &[hour + 65_000]);
    assert_eq!(results(&mut windows), [result(60, "a", 2)]);
}

#[test]
fn absurd_times_are_held_within_the_years_that_can_be_written() {
    let mut windows = windows(spec(), &[0]);
    assert_eq!(observe_times(&mut windows, &[i64::MIN, i64::MAX, 0]), [2]);
    let written = results(&mut windows);
    assert!(written[0].starts_with("0000-01-01T00:00:00Z|a "), "{written:?}");
}

#[test]
fn results_of_a_window_come_in_the_order_of_their_keys() {
    let mut windows = windows(spec(), &[0]);
    let events = [(0, 0, 0, "c"), (0, 0, 0, "a"), (0, 0, 0, "b"), (0, 0, 200_000, "z")];
    observe(&mut windows, &events).expect("windows take events");
    assert_eq!(results(&mut windows), ["a", "b", "c"].map(|key| result(0, key, 1)));
}

#[test]
fn a_silent_partition_is_closed_by_the_wall_clock_and_stays_so_after_a_restart() {
    let mut windows = windows(spec(), &[0]);
    observe_times(&mut windows, &[1_000]);
    let mut topic = vec![changes(&mut windows, 1)];
    let closes = MINUTE + 5_000;
    assert!(!windows.close_idle(0, 1_000, closes + 4_999), "late by less than idle still counts");
    assert!(!windows.close_idle(0, closes + 1, closes + 5_000), "not silent for long enough");
    assert!(!windows.partitions()[0].has_changes());
    assert!(windows.close_idle(0, 1_000, closes + 5_000));
    assert!(windows.partitions()[0].has_changes());
    assert!(!windows.close_idle(0, 1_000, closes + 50_000), "nothing is left to close");
    assert_eq!(results(&mut windows), [result(0, "a", 1)]);
    topic.push(changes(&mut windows, 1));
    let (restored, _) = restore(spec(), &topic).expect("state is read");
    assert_eq!(restored.watermark(), Some(closes));
    windows.adopt(restored);
    assert_eq!(observe_times(&mut windows, &[59_999, MINUTE]), [0]);
}

#[test]
fn silence_closes_no_window_that_the_watermark_has_not_reached() {
    let mut windows = windows(spec(), &[0]);
    let events = [(0, 0, 1_000, "a"), (0, 0, 99_000_000, "a")];
    observe(&mut windows, &events).expect("windows take events");
    assert!(windows.close_idle(0, 0, i64::MAX));
    assert_eq!(results(&mut windows), [result(0, "a", 1)]);
    assert_eq!(windows.partitions()[0].watermark(), Some(65_000));
    assert!(!windows.close_idle(0, 0, i64::MAX));
}

#[test]
fn a_commit_writes_only_what_changed_and_deletes_only_what_was_stored() {
    let mut windows = windows(spec(), &[0]);
    let id = spec().definition_hash();
    observe(&mut windows, &[(0, 0, 0, "a"), (0, 0, 1, "b")]).expect("windows take events");
    observe(&mut windows, &[(0, 0, 2, "a")]).expect("windows take events");
    let marker = |offset: i64, watermark: i64| {
        format!(
            r#"marker {{"format":1,"definition":"{id}","next_offset":{offset},"watermark":{watermark}}}"#
        )
    };
    let first = [
        format!(r#"{id}|0/60000|"a" {{"count":2}}"#),
        format!(r#"{id}|0/60000|"b" {{"count":1}}"#),
        marker(3, 2),
    ];
    assert_eq!(lines(&changes(&mut windows, 3)), first);
    observe(&mut windows, &[(0, 0, 3, "b")]).expect("windows take events");
    let second = [format!(r#"{id}|0/60000|"b" {{"count":2}}"#), marker(4, 3)];
    assert_eq!(lines(&changes(&mut windows, 4)), second);
    let events = [(0, 0, 4, "never stored"), (0, 0, 200_000, "a")];
    observe(&mut windows, &events).expect("windows take events");
    let third = [
        format!(r#"{id}|0/60000|"a" -"#),
        format!(r#"{id}|0/60000|"b" -"#),
        format!(r#"{id}|180000/240000|"a" {{"count":1}}"#),
        marker(6, 200_000),
    ];
    assert_eq!(lines(&changes(&mut windows, 6)), third);
    assert_eq!(lines(&changes(&mut windows, 7)), [marker(7, 200_000)]);
}

#[test]
fn events_that_the_state_holds_already_are_not_counted_again_and_its_marker_never_moves_back() {
    let mut before = windows(spec(), &[0]);
    observe_times(&mut before, &[0, 2 * MINUTE]);
    let topic = [changes(&mut before, 2)];
    let (restored, _) = restore(spec(), &topic).expect("state is read");
    assert_eq!(restored.counted_to(), 2);
    let mut windows = windows(spec(), &[]);
    windows.adopt(restored);
    let mut observe = |offset: i64, time: i64| {
        let origins = [Origin { partition: 0, offset, timestamp: Some(time) }];
        let keys = [Column::new(&[Value::Text("a")], vec![0])];
        let events = Events { origins: &origins, times: &[time], keys: &keys };
        let observed = windows.observe(events).expect("windows take events");
        assert_eq!((observed.late.len(), observed.future), (0, 0));
    };
    // The first would be late by now, and neither counts.
    observe(0, 0);
    observe(1, 2 * MINUTE);
    observe(2, 2 * MINUTE + 1);
    let again = lines(&changes(&mut windows, 1));
    assert!(again[0].ends_with(r#"|120000/180000|"a" {"count":2}"#), "{again:?}");
    assert!(again[1].contains(r#""next_offset":2"#), "{again:?}");
}

#[test]
fn a_partition_without_state_starts_empty() {
    let (windows, marker) = restore(spec(), &[]).expect("nothing is read");
    assert_eq!((windows.watermark(), windows.keys(), marker), (None, 0, None));
}

#[test]
fn windows_of_a_changed_definition_are_closed_as_they_are_and_never_mixed() {
    let mut old = windows(spec(), &[0]);
    observe_times(&mut old, &[0, MINUTE]);
    let mut topic = vec![changes(&mut old, 2)];
    let new = WindowSpec { size: Duration::from_secs(120), ..spec() };
    let (restored, marker) = restore(new.clone(), &topic).expect("state is read");
    assert_eq!(marker.map(|marker| marker.next_offset), Some(2));
    assert_eq!(restored.watermark(), None);
    assert!(restored.has_changes());
    let mut windows = windows(new.clone(), &[]);
    windows.adopt(restored);
    assert_eq!(results(&mut windows), [result(0, "a", 1), result(1, "a", 1)]);
    assert_eq!(observe_times(&mut windows, &[0]), [0; 0]);
    topic.push(changes(&mut windows, 3));
    let (mut restored, _) = restore(new, &topic).expect("state is read");
    assert_eq!((restored.take_closed(), restored.keys()), (vec![], 1));
}

#[test]
fn tuning_keeps_the_definition_and_meaning_changes_it() {
    let id = spec().definition_hash();
    let tuned = WindowSpec {
        idle: Duration::from_secs(1),
        future_max: Duration::ZERO,
        limits: Limits { keys: 1, bytes: 1 },
        ..spec()
    };
    assert_eq!(tuned.definition_hash(), id);
    let others = [
        WindowSpec { size: Duration::from_secs(61), ..spec() },
        WindowSpec { grace: Duration::ZERO, ..spec() },
        WindowSpec { group: vec!["/locale".to_owned()], ..spec() },
        WindowSpec { time: "record".to_owned(), ..spec() },
    ];
    for other in others {
        assert_ne!(other.definition_hash(), id, "{other:?}");
    }
    let text = r#"{"aggregate":"count","window":"tumbling","size_ms":60000,"grace_ms":5000,"group":["/app_version"],"time":"field /timestamp auto"}"#;
    let digest = sha2::Sha256::digest(text);
    let expected: String = digest[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(id, expected, "an upgrade must not make a new window");
}

#[track_caller]
fn check_refused(records: &[(&[u8], &[u8])], expected: &str) {
    let mut restore = Restore::new(Arc::new(spec()), 3);
    for &(key, value) in records {
        restore.apply(Some(key), Some(value));
    }
    let error = restore.finish().expect_err("the state is refused");
    assert!(error.is_mended_by_reset(), "{error}");
    let error = error.to_string();
    assert!(error.contains(expected) && error.contains("partition 3"), "{error}");
}

#[test]
fn state_that_cannot_be_read_is_refused_with_what_to_do() {
    let marker = br#"{"format":1,"definition":"x","next_offset":1,"watermark":null}"#;
    check_refused(&[(MARKER_KEY, br#"{"format":2,"new":[]}"#)], "format 2");
    check_refused(&[(b"odd", b"key"), (MARKER_KEY, br#"{"format":2}"#)], "format 2");
    check_refused(&[(MARKER_KEY, b"nonsense")], "its marker");
    check_refused(&[(b"x|0/1|null", br#"{"count":1}"#)], "1 keys and no marker");
    check_refused(&[(MARKER_KEY, marker), (b"odd", br#"{"count":1}"#)], "its key \"odd\"");
    check_refused(&[(MARKER_KEY, marker), (b"x|0/1|null", b"1")], "its key \"x|0/1|null\"");
}

#[test]
fn what_was_deleted_is_not_looked_at() {
    let mut restore = Restore::new(Arc::new(spec()), 0);
    let mut live = LiveKeys::default();
    let topic: [(&[u8], Option<&[u8]>); 4] =
        [(b"odd", Some(b"odd")), (MARKER_KEY, Some(b"odd")), (b"odd", None), (MARKER_KEY, None)];
    for (key, value) in &topic[..3] {
        live.apply(Some(key), *value);
    }
    assert_eq!(live.into_keys(), [MARKER_KEY.into()]);
    for (key, value) in topic {
        restore.apply(Some(key), value);
    }
    assert_eq!(restore.finish().expect("nothing is left").1, None);
}

#[test]
fn an_offset_that_was_changed_from_outside_is_refused() {
    let mut windows = windows(spec(), &[0]);
    let (_, marker) = restore(spec(), &[changes(&mut windows, 42)]).expect("state is read");
    let marker = marker.expect("a commit writes a marker");
    assert_eq!(marker.check("counts", 0, Some(42)), Ok(()));
    for committed in [None, Some(41), Some(43)] {
        let error = marker.check("counts", 0, committed).expect_err("offsets differ");
        assert!(error.is_mended_by_reset() && error.to_string().contains("42"), "{error}");
    }
}

#[test]
fn past_a_limit_the_windows_stop_and_name_it() {
    let limits = |keys, bytes| WindowSpec { limits: Limits { keys, bytes }, ..spec() };
    let two = [(0, 0, 0, "a"), (0, 0, MINUTE, "a")];
    assert!(observe(&mut windows(limits(2, 1 << 20), &[0]), &two).is_ok());
    for (spec, named) in [(limits(1, 1 << 20), "1 keys"), (limits(9, 100), "100 bytes")] {
        let error = observe(&mut windows(spec, &[0]), &two).expect_err("the limit is passed");
        assert!(error.to_string().contains(named), "{error}");
    }
    let mut filled = windows(spec(), &[0]);
    observe(&mut filled, &two).expect("windows take events");
    let topic = [changes(&mut filled, 2)];
    assert!(matches!(restore(limits(1, 1 << 20), &topic), Err(StateError::Limit { .. })));
}

#[test]
fn closed_windows_free_their_share_of_the_limits() {
    let mut windows = windows(spec(), &[0]);
    observe_times(&mut windows, &[0, MINUTE, 2 * MINUTE, 9 * MINUTE]);
    assert_eq!(windows.partitions()[0].keys(), 1);
    windows.close_idle(0, 0, i64::MAX);
    assert_eq!((windows.partitions()[0].keys(), windows.partitions()[0].bytes()), (0, 0));
}

#[test]
fn events_of_a_partition_that_is_not_held_are_refused() {
    let mut windows = windows(spec(), &[0, 2]);
    assert!(windows.release(2).is_some());
    for partition in [2, 1, -1, 99] {
        let error = observe(&mut windows, &[(partition, 0, 0, "a")]);
        assert!(matches!(error, Err(StateError::NotHeld { .. })), "{partition}");
    }
}

#[test]
fn open_windows_are_shown_over_partitions_largest_groups_first() {
    let mut windows = windows(spec(), &[0, 1]);
    let events =
        [(0, 0, 0, "a"), (1, 0, 0, "b"), (0, 0, 0, "b"), (1, 0, 0, "c"), (0, 0, MINUTE, "a")];
    observe(&mut windows, &events).expect("windows take events");
    let open = windows.open_windows(2);
    assert_eq!(open.len(), 2);
    assert_eq!(open[0].groups, 3);
    assert_eq!(open[0].top, [("b".to_owned(), 2), ("a".to_owned(), 1)]);
    let merged = OpenWindow::merge(vec![open.clone(), open], 1);
    assert_eq!(merged[0].top, [("b".to_owned(), 4)]);
    assert_eq!(merged[0].groups, 3);
}

#[test]
fn what_cannot_be_a_window_is_said_field_by_field() {
    assert_eq!(spec().problems(), []);
    let wrong = WindowSpec {
        name: "a b".to_owned(),
        size: Duration::ZERO,
        grace: Duration::from_micros(1),
        idle: Duration::MAX,
        limits: Limits { keys: 0, bytes: 1 },
        ..spec()
    };
    let fields: Vec<_> = wrong.problems().into_iter().map(|(field, _)| field).collect();
    assert_eq!(fields, ["name", "size", "grace", "idle", "limits.keys"]);
}
