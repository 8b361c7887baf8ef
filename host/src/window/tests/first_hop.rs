//! What one input partition does.

use super::*;

#[test]
fn an_event_is_late_when_the_watermark_is_grace_past_its_windows_end() {
    let mut windows = windows(spec(), &[0]);
    assert_eq!(observe_times(&mut windows, 0, &[0, 64_999, 59_999]), [0; 0]);
    assert_eq!(observe_times(&mut windows, 0, &[65_000, 59_999, 60_000]), [1]);
    assert_eq!(windows.partitions()[0].watermark(), Some(65_000));
    assert_eq!(windows.partitions()[0].closed(), Some(60_000));
}

#[test]
fn deltas_are_what_came_since_the_last_commit_and_the_promise_comes_once() {
    let mut windows = windows(spec(), &[0, 1]);
    observe_times(&mut windows, 0, &[0, 1, 65_000]);
    let hash = spec().definition_hash();
    let definition = spec().definition();
    let record = |rows: &str, closed: &str| {
        format!(
            r#"{{"format":1,"partition":0,"of":2,"to":7,"windows":[{{"window":"counts","definition":"{hash}","spec":{definition},"rows":[{rows}]{closed}}}]}}"#
        )
    };
    let first = record(r#"[0,60000,"a",2],[60000,120000,"a",1]"#, r#","closed":60000"#);
    assert_eq!(deltas(&mut windows, 0), [first]);
    assert_eq!(deltas(&mut windows, 1), [""; 0]);
    assert_eq!(deltas(&mut windows, 0), [""; 0]);
    observe_times(&mut windows, 0, &[60_000]);
    assert_eq!(deltas(&mut windows, 0), [record(r#"[60000,120000,"a",1]"#, "")]);
}

#[test]
fn groups_go_their_ways_and_a_promise_goes_all_ways() {
    let mut windows = [windows(spec(), &[3])];
    let events: Vec<_> = ["a", "b", "c"].iter().map(|key| (3, 0, 0, *key)).collect();
    observe(&mut windows[0], &events).expect("taken");
    let mut to = Vec::new();
    let route = |key: &str| usize::from(key != "\"a\"");
    write_deltas(&mut windows, 3, 1, 4, 3, 1 << 19, route, &mut to);
    assert_eq!(to.iter().map(Records::len).collect::<Vec<_>>(), [1, 1, 1]);
    let texts: Vec<_> = to.iter().map(|records| lines(records)[0].clone()).collect();
    assert!(texts[0].starts_with("3 {\"format\":1,\"partition\":3,\"of\":4,"), "{}", texts[0]);
    assert!(texts[1].contains("[0,60000,\"b\",1],[0,60000,\"c\",1]],\"closed\":-60000}"));
    assert!(texts[2].contains("\"rows\":[],\"closed\":-60000}"));
    observe(&mut windows[0], &events[..1]).expect("taken");
    to.clear();
    write_deltas(&mut windows, 3, 2, 4, 3, 1 << 19, route, &mut to);
    assert_eq!(to.iter().map(Records::len).collect::<Vec<_>>(), [1, 0, 0]);
}

#[test]
fn records_stay_within_their_bytes_and_only_the_last_has_the_promise() {
    let names: Vec<_> = (0..200).map(|n| format!("group {n}")).collect();
    let events: Vec<_> = names.iter().map(|name| (0, 0, 0, name.as_str())).collect();
    let other = WindowSpec { name: "other".to_owned(), ..spec() };
    let mut windows = [windows(spec(), &[0]), windows(other, &[0])];
    for windows in &mut windows {
        observe(windows, &events).expect("taken");
    }
    let mut to = Vec::new();
    write_deltas(&mut windows, 0, 1, 1, 1, 1500, |_| 0, &mut to);
    let values = values(&to[0]);
    assert!(values.len() > 5 && values.iter().all(|value| value.len() <= 1500));
    let with = |value: &&String| value.contains("closed");
    assert_eq!(values.iter().filter(with).count(), 2, "one for each window");
    let mut merge = Merge::new(specs(windows.map(|one| (**one.spec()).clone())), 0, 1, 1);
    merge_all(&mut merge, &values);
    assert_eq!(merge.keys(), 400);
    assert_eq!(merge.frontier(1), Some(-60_000));
}

#[test]
fn a_time_far_in_the_future_counts_and_moves_nothing() {
    let mut windows = windows(spec(), &[0]);
    let hour = 3_600_000;
    let seen = observe(&mut windows, &[(0, 0, hour + 1, "a"), (0, 0, 0, "a")]).expect("taken");
    assert_eq!(seen, (vec![], 1));
    assert_eq!(windows.partitions()[0].watermark(), Some(0));
    assert!(deltas(&mut windows, 0)[0].contains("[3600000,3660000,\"a\",1]"));
}

#[test]
fn an_event_cannot_have_happened_after_its_record_was_written_nor_after_now() {
    let by_record = spec();
    assert_eq!(by_record.not_after(Some(7), 100), 7);
    assert_eq!(by_record.not_after(Some(700), 100), 100, "a timestamp can be wrong as well");
    assert_eq!(by_record.not_after(None, 100), 100);
    let by_clock = WindowSpec { time: WindowSpec::PROCESSING_TIME.to_owned(), ..spec() };
    assert_eq!(by_clock.not_after(Some(7), 100), 100, "it happens now, however old its record is");
}

#[test]
fn events_that_the_filter_leaves_out_move_the_watermark_and_are_never_late() {
    let mut windows = windows(WindowSpec { filter: Some("/x".to_owned()), ..spec() }, &[0]);
    let filter = column([
        Value::Boolean(true),
        Value::Boolean(false),
        Value::Text("true"),
        Value::Absent,
        Value::Boolean(true),
    ]);
    let events = [0, 200_000, 0, 0, 0].map(|time| (0, time, time, "a"));
    let seen = observe_values(&mut windows, &events, &[], Some(&filter)).expect("taken");
    assert_eq!(seen, (vec![4], 0));
    assert_eq!(windows.partitions()[0].watermark(), Some(200_000));
    assert!(deltas(&mut windows, 0)[0].contains("\"rows\":[[0,60000,\"a\",1]],"));
}

#[test]
fn a_silent_partition_closes_its_last_window_by_the_clock_and_no_more() {
    let mut windows = windows(spec(), &[0]);
    observe_times(&mut windows, 0, &[10_000]);
    let silent = 10_000;
    assert!(!windows.close_idle(0, silent, 69_999, None), "not idle past the close yet");
    assert!(windows.is_idle_due(0, silent, 70_000, None));
    assert!(windows.close_idle(0, silent, 70_000, None));
    assert_eq!(windows.partitions()[0].closed(), Some(60_000));
    assert!(!windows.close_idle(0, silent, i64::MAX, None), "no creeping");
    assert!(!windows.close_idle(1, silent, i64::MAX, None), "not held");
}

#[test]
fn a_silent_partition_follows_the_others_but_not_into_the_future() {
    let mut windows = windows(spec(), &[0, 1]);
    observe_times(&mut windows, 0, &[10_000]);
    let (since, now) = (95_001, 100_000);
    assert!(!windows.close_idle(1, since, now, Some(65_000)), "not silent for long enough");
    let since = 95_000;
    assert!(windows.close_idle(1, since, now, Some(65_000)));
    assert_eq!(windows.partitions()[1].watermark(), Some(65_000));
    assert!(!windows.is_idle_due(1, since, now, Some(70_000)), "it would close nothing more");
    assert!(windows.close_idle(1, since, 130_000, Some(3_600_000)));
    assert_eq!(windows.partitions()[1].watermark(), Some(130_000));
    assert!(!windows.is_idle_due(0, 60_000, 69_000, Some(64_999)), "it would close nothing");
}

#[test]
fn an_idle_partition_follows_the_last_that_is_not_and_the_furthest_if_all_are() {
    let hash = spec().definition_hash();
    let frontier = |partitions: &[(i64, i64)]| {
        let mut frontier = Frontier::default();
        for (partition, (watermark, seen)) in partitions.iter().enumerate() {
            let value = format!(
                r#"{{"format":1,"next_offset":5,"began":3,"windows":{{"counts":{{"definition":"{hash}","watermark":{watermark},"seen":{seen}}}}}}}"#
            );
            let key = partition.to_string();
            frontier.apply(key.as_bytes(), Some(value.as_bytes())).expect("it is read");
        }
        frontier
    };
    let others = |partitions: &[(i64, i64)], of| frontier(partitions).others("counts", &hash, of);
    assert_eq!(others(&[(9, 9), (5, 5), (7, 3)], 7), Some(5));
    assert_eq!(others(&[(9, 9), (5, 5), (7, 3)], 1), Some(9), "it does not wait for itself");
    assert_eq!(others(&[(9, 8), (5, 4), (7, 3)], 1), Some(9));
    assert_eq!(others(&[(9, 9)], 0), None);
}

#[test]
fn only_partitions_that_came_later_begin_where_the_others_are() {
    let mut before = [windows(spec(), &[0, 1])];
    observe_times(&mut before[0], 0, &[65_000]);
    observe_times(&mut before[0], 1, &[70_000]);
    let mut records = Records::default();
    write_progress(&mut before, 0, 5, &mut records);
    write_progress(&mut before, 1, 5, &mut records);
    let mut frontier = Frontier::default();
    for (key, value) in records.iter() {
        frontier.apply(key, value).expect("it is read");
    }
    assert_eq!(frontier.beginning_of_new(2, 3), None, "there were three from the start");
    let new = frontier.beginning_of_new(3, 4).expect("it is new");
    let watch = Watch::restore(Arc::new(spec()), 3, 4, Some(&new));
    assert_eq!((watch.watermark(), watch.counted_to()), (Some(65_000), 0));
}

#[test]
fn progress_restores_a_partition_and_its_promise_is_told_again() {
    let mut before = [windows(spec(), &[0])];
    observe_times(&mut before[0], 0, &[65_000]);
    deltas(&mut before[0], 0);
    let mut records = Records::default();
    write_progress(&mut before, 0, 5, &mut records);
    assert!(!before[0].partitions()[0].has_changes());
    let hash = spec().definition_hash();
    let line = format!(
        r#"0 {{"format":1,"next_offset":5,"began":3,"windows":{{"counts":{{"definition":"{hash}","watermark":65000,"seen":65000}}}}}}"#
    );
    assert_eq!(lines(&records), [line]);
    let (key, value) = records.iter().next().expect("one");
    let progress = Progress::parse(key, value.expect("a value")).expect("it is read");
    progress.check(Some(5)).expect("the same");
    assert!(progress.check(None).unwrap_err().to_string().contains("is missing, but"));
    let watch = Watch::restore(Arc::new(spec()), 0, 3, Some(&progress));
    assert_eq!((watch.watermark(), watch.counted_to()), (Some(65_000), 5));
    assert!(watch.has_changes());
    let mut after = Windows::new(Arc::new(spec()));
    after.adopt(watch);
    assert!(deltas(&mut after, 0)[0].contains("\"rows\":[],\"closed\":60000"));
    let other = WindowSpec { grace: ms(1), ..spec() };
    let anew = Watch::restore(Arc::new(other), 0, 3, Some(&progress));
    assert_eq!((anew.watermark(), anew.counted_to()), (None, 5));

    let mut frontier = Frontier::default();
    frontier.apply(key, value).expect("it is read");
    assert_eq!(frontier.others("counts", &hash, 1), Some(65_000));
    assert_eq!(frontier.others("counts", &hash, 0), None);
    assert_eq!(frontier.others("counts", "other", 1), None);
    assert_eq!(frontier.watermarks("counts").collect::<Vec<_>>(), [(0, Some(65_000))]);
    frontier.apply(key, None).expect("a tombstone");
    assert_eq!(frontier.others("counts", &hash, 1), None);
}

#[test]
fn progress_that_cannot_be_read_is_said() {
    let error = |key: &str, value: &str| {
        Progress::parse(key.as_bytes(), value.as_bytes()).unwrap_err().to_string()
    };
    let other = error("3", r#"{"format":2,"x":1}"#);
    assert!(other.contains("partition 3 has format 2") && other.contains("reads format 1"));
    assert!(error("x", "{}").contains("its key \"x\""));
    assert!(error("3", "{}").contains("missing field `format`"));
}

#[test]
fn records_below_the_restored_offset_are_passed_over() {
    let progress = Progress { partition: 0, next_offset: 5, began: 3, windows: Default::default() };
    let mut windows = Windows::new(Arc::new(spec()));
    windows.adopt(Watch::restore(Arc::new(spec()), 0, 3, Some(&progress)));
    let origin = |offset| Origin { partition: 0, offset, not_after: i64::MAX };
    let (origins, times) = ([origin(4), origin(5)], [70_000, 0]);
    let keys = [column([Value::Text("a"), Value::Text("a")])];
    let events =
        Events { origins: &origins, times: &times, keys: &keys, values: &[], filter: None };
    assert_eq!(windows.observe(events).expect("taken").late, []);
    assert_eq!(windows.partitions()[0].watermark(), Some(0));
    let mut records = Records::default();
    write_progress(std::slice::from_mut(&mut windows), 0, 3, &mut records);
    assert!(lines(&records)[0].contains("\"next_offset\":5"), "it moves no offset back");
}

#[test]
fn an_event_of_a_partition_that_is_not_held_is_a_bug() {
    let mut windows = windows(spec(), &[0]);
    let error = observe(&mut windows, &[(1, 0, 0, "a")]).unwrap_err();
    assert_eq!(error, StateError::NotHeld { window: "counts".to_owned(), partition: 1 });
    assert!(windows.release(0).is_some() && windows.release(0).is_none());
    assert!(windows.partition(0).is_none());
}
