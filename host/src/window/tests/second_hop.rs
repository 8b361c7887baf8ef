//! What one merge partition does.

use super::*;

/// Two input partitions that commit after each call.
pub(super) struct Sides {
    pub(super) windows: Windows,
    pub(super) merge: Merge,
}

impl Sides {
    pub(super) fn new(spec: WindowSpec) -> Self {
        let merge = Merge::new(specs([spec.clone()]), 0, INPUTS, 1);
        Self { windows: windows(spec, &[0, 1]), merge }
    }

    pub(super) fn observe(&mut self, partition: i32, times: &[i64]) {
        observe_times(&mut self.windows, partition, times);
        merge_all(&mut self.merge, &deltas(&mut self.windows, partition));
    }
}

#[test]
fn a_window_is_final_when_every_input_partition_is_past_it() {
    let mut sides = Sides::new(spec());
    sides.observe(0, &[0, 65_000]);
    assert_eq!(results(&mut sides.merge), [""; 0]);
    assert_eq!(sides.merge.frontier(0), None);
    assert_eq!(sides.merge.behind(0), [1]);
    sides.observe(1, &[59_999]);
    assert_eq!(sides.merge.frontier(0), Some(0));
    assert_eq!(sides.merge.closed(0).collect::<Vec<_>>(), [(0, Some(60_000)), (1, Some(0))]);
    sides.observe(1, &[70_000]);
    assert_eq!(results(&mut sides.merge), [result(0, MINUTE, "a", "\"count\":2", true)]);
    assert_eq!(sides.merge.keys(), 1);
    let open = sides.merge.open_windows(5);
    assert_eq!((open[0].groups, &open[0].top), (1, &vec![("a".to_owned(), 2)]));
    assert_eq!(open[0].span, Span { start: MINUTE, end: 2 * MINUTE });
}

/// Without transactions a crash may come between any two state records of a commit.
#[test]
fn what_is_given_out_is_not_given_out_again_where_its_tombstones_are_missing() {
    let session = Shape::Session { gap: Duration::from_secs(30) };
    // All of it, or a part after which it is not known yet that it was the last one.
    for (shape, portion) in [(spec().shape, usize::MAX), (spec().shape, 1), (session, 1)] {
        let spec = WindowSpec { shape, ..spec() };
        let mut sides = Sides::new(spec.clone());
        sides.observe(0, &[0, 70_000]);
        let before = changes(&mut sides.merge, 1);
        sides.observe(1, &[1, 70_000]);
        let taken = sides.merge.take_results(&mut Portion::of_bytes(portion));
        assert_eq!(taken.windows[0].records.len(), 1);
        let mut cut = Records::default();
        let mut is_marked = false;
        for (key, value) in changes(&mut sides.merge, 2).iter() {
            assert!(value.is_some() || is_marked, "{} is deleted too soon", text(key));
            is_marked |= key == MARKER_KEY;
            let Some(value) = value else { break };
            cut.push(|to| to.extend_from_slice(key), |to| to.extend_from_slice(value));
        }
        let (mut restored, marker) = restore(&specs([spec]), &[before, cut]).expect("it is read");
        assert_eq!(marker.expect("it is written").next_offset, 2);
        assert_eq!(results(&mut restored), [""; 0]);
        let tombstones =
            changes(&mut restored, 2).iter().filter(|(_, value)| value.is_none()).count();
        assert!(tombstones > 0, "nothing is left of it from here on");
    }
}

#[test]
fn state_is_what_changed_and_a_tombstone_when_it_is_final() {
    let mut sides = Sides::new(spec());
    sides.observe(0, &[0, 0]);
    assert!(sides.merge.has_changes());
    let hash = spec().definition_hash();
    let first = changes(&mut sides.merge, 1);
    let marker = |offset: i64, passed: &str| {
        format!(
            r#"marker {{"format":1,"next_offset":{offset},"merges":1,"inputs":2,"passed":{{{passed}}}}}"#
        )
    };
    let expected = [
        marker(1, ""),
        format!(r#"counts|{hash}|0/60000|"a" {{"value":2}}"#),
        format!(r#"counts|{hash}|closed|0 {{"closed":-60000}}"#),
        format!("counts|{hash}|spec| {}", spec().definition()),
        marker(1, ""),
    ];
    assert_eq!(lines(&first), expected);
    assert!(!sides.merge.has_changes());
    assert_eq!(lines(&changes(&mut sides.merge, 1)), [marker(1, "")]);
    sides.observe(0, &[65_000]);
    sides.observe(1, &[65_000]);
    assert_eq!(results(&mut sides.merge).len(), 1);
    let second = changes(&mut sides.merge, 3);
    let expected = [
        format!(r#"counts|{hash}|60000/120000|"a" {{"value":2}}"#),
        format!(r#"counts|{hash}|closed|0 {{"closed":60000}}"#),
        format!(r#"counts|{hash}|closed|1 {{"closed":60000}}"#),
        marker(3, &format!(r#""counts":{{"{hash}":60000}}"#)),
        format!(r#"counts|{hash}|0/60000|"a" -"#),
    ];
    assert_eq!(lines(&second), expected);
    let (merge, marker) = restore(&specs([spec()]), &[first, second]).expect("it is read");
    marker.expect("a marker").check(0, Some(3)).expect("the same offset");
    assert_eq!((merge.keys(), merge.counted_to()), (1, 3));
    assert_eq!(merge.frontier(0), Some(60_000));
    assert!(!merge.has_changes());
    assert_eq!(merge.bytes(), sides.merge.bytes());
}

#[test]
fn deltas_that_the_state_holds_are_passed_over() {
    let mut sides = Sides::new(spec());
    observe_times(&mut sides.windows, 0, &[0]);
    let record = deltas(&mut sides.windows, 0).remove(0);
    sides.merge.apply(4, record.as_bytes()).expect("it is read");
    let state = changes(&mut sides.merge, 5);
    let (mut merge, _) = restore(&specs([spec()]), &[state]).expect("it is read");
    merge.apply(4, record.as_bytes()).expect("it is read");
    assert_eq!(merge.open_windows(1)[0].top[0].1, 1);
    merge.apply(5, record.as_bytes()).expect("it is read");
    assert_eq!(merge.open_windows(1)[0].top[0].1, 2);
}

#[test]
fn new_input_partitions_are_waited_for_and_what_they_add_too_late_is_not_lost() {
    let mut sides = Sides::new(spec());
    sides.observe(0, &[0, 70_000]);
    sides.observe(1, &[0, 70_000]);
    assert_eq!(results(&mut sides.merge).len(), 1);
    let state = changes(&mut sides.merge, 2);
    let mut new = windows(spec(), &[2]);
    observe_times(&mut new, 2, &[0, 65_000]);
    let mut to = Vec::new();
    write_deltas(std::slice::from_mut(&mut new), 2, 7, 3, 1, 1 << 19, |_| 0, &mut to);
    let (mut restored, _) = restore(&specs([spec()]), &[state]).expect("it is read");
    for merge in [&mut sides.merge, &mut restored] {
        merge_all(merge, &values(&to[0]));
        let late = merge.take_late();
        let span = Span { start: 0, end: MINUTE };
        let expected = LateRow {
            window: "counts".to_owned(),
            partition: 2,
            span,
            key: "\"a\"".into(),
            accumulator: "1".to_owned(),
        };
        assert_eq!(late, [expected]);
        assert_eq!(merge.inputs(), 3);
        assert_eq!(results(merge), [""; 0]);
    }
    sides.observe(0, &[130_000]);
    sides.observe(1, &[130_000]);
    assert_eq!(sides.merge.frontier(0), Some(60_000));
    assert_eq!(sides.merge.behind(0), [2]);
    let mut anew = Merge::new(specs([spec()]), 0, 3, 1);
    merge_all(&mut anew, &deltas(&mut sides.windows, 0));
    assert_eq!(anew.frontier(0), None);
}

#[test]
fn a_changed_definition_gives_the_old_windows_out_as_they_are() {
    let mut sides = Sides::new(spec());
    sides.observe(0, &[0, 65_000]);
    let state = changes(&mut sides.merge, 1);
    observe_times(&mut sides.windows, 0, &[65_000]);
    let on_its_way = deltas(&mut sides.windows, 0);
    let new = WindowSpec { grace: ms(1), ..spec() };
    let (mut merge, _) =
        restore(&specs([new.clone()]), std::slice::from_ref(&state)).expect("it is read");
    assert!(merge.has_changes());
    merge_all(&mut merge, &on_its_way);
    let expected = [
        result(0, MINUTE, "a", "\"count\":1", false),
        result(MINUTE, 2 * MINUTE, "a", "\"count\":2", false),
    ];
    assert_eq!(results(&mut merge), expected);
    let deleted = changes(&mut merge, 2);
    let (after, _) = restore(&specs([new]), &[state.clone(), deleted]).expect("it is read");
    assert_eq!((after.keys(), after.has_changes()), (0, false));

    let (mut merge, _) = restore(&specs([]), &[state]).expect("it is read");
    let taken = merge.take_results(&mut everything());
    assert_eq!((taken.windows.len(), taken.orphans[0].window.as_str()), (0, "counts"));
    assert_eq!(taken.orphans[0].results.records.len(), 2);
    assert_eq!(
        lines(&changes(&mut merge, 2)).iter().filter(|line| line.ends_with(" -")).count(),
        4
    );
}

/// Gives everything out, a group with each commit, and restores what each commit leaves behind. How
/// many results each had.
fn one_by_one(
    specs: &Arc<[Arc<WindowSpec>]>,
    mut merge: Merge,
    mut state: Vec<Records>,
) -> (Vec<String>, Merge) {
    let mut all = Vec::new();
    let mut commits = 0..50;
    loop {
        commits.next().expect("it comes to its end");
        let taken = merge.take_results(&mut Portion::of_bytes(1));
        let records = lines(&taken.windows[0].records);
        assert!(records.len() <= 1, "{records:?}");
        all.extend(records);
        let is_closing = merge.is_closing();
        state.push(changes(&mut merge, 9));
        (merge, _) = restore(specs, &state).expect("it is read");
        if !is_closing {
            return (all, merge);
        }
        assert!(merge.has_changes());
    }
}

#[test]
fn groups_that_one_commit_does_not_hold_are_given_out_by_the_next_ones() {
    let hopping = Shape::Hopping { size: ms(2 * MINUTE), every: ms(MINUTE) };
    let sessions = Shape::Session { gap: Duration::from_secs(30) };
    for (shape, windows) in [(spec().shape, 1), (hopping, 2), (sessions, 1)] {
        let spec = WindowSpec { shape, ..spec() };
        let mut sides = Sides::new(spec.clone());
        let groups = ["a", "b", "c", "d", "e"];
        // Sessions that end in the same moment are given out together.
        let events: Vec<_> =
            (1..).zip(groups).map(|(time, group)| (0, time, time, group)).collect();
        observe(&mut sides.windows, &events).expect("they are taken");
        let first = deltas(&mut sides.windows, 0);
        merge_all(&mut sides.merge, &first);
        let state = changes(&mut sides.merge, 1);
        sides.observe(0, &[400_000]);
        sides.observe(1, &[400_000]);
        assert!(!sides.merge.is_closing(), "nothing was left of a commit yet");
        let specs = specs([spec]);
        let (results, mut left) = one_by_one(&specs, sides.merge, vec![state]);
        let expected = results.iter().collect::<std::collections::BTreeSet<_>>();
        assert_eq!((results.len(), expected.len()), (5 * windows, 5 * windows), "each once");
        assert!(shape.is_session() || results.is_sorted(), "{results:?}");
        // What the last events opened.
        assert_eq!(left.keys(), 1);
        // An input partition that comes new is waited for, and adds nothing to what is final.
        let late = first[0].replace(r#""of":2"#, r#""of":3"#);
        left.apply(9, late.as_bytes()).expect("it is read");
        assert_eq!((left.take_late().len(), left.keys()), (5, 1));
    }
}

#[test]
fn windows_that_are_no_more_are_given_out_as_they_are_by_several_commits() {
    let mut sides = Sides::new(spec());
    let events: Vec<_> = ["a", "b", "c"].iter().map(|group| (0, 1, 1, *group)).collect();
    observe(&mut sides.windows, &events).expect("they are taken");
    sides.observe(0, &[65_000]);
    let state = changes(&mut sides.merge, 1);
    let specs = specs([WindowSpec { grace: ms(1), ..spec() }]);
    let (merge, _) = restore(&specs, std::slice::from_ref(&state)).expect("it is read");
    let (results, left) = one_by_one(&specs, merge, vec![state]);
    let expected = ["a", "b", "c"].map(|key| result(0, MINUTE, key, "\"count\":1", false));
    assert_eq!(results[..3], expected);
    assert_eq!(results[3], result(MINUTE, 2 * MINUTE, "a", "\"count\":1", false));
    assert_eq!((results.len(), left.keys(), left.has_changes()), (4, 0, false));
}

/// What was stored of them must go with them, or nobody can read what is left without its definition.
#[test]
fn sessions_that_come_together_as_their_definition_goes_leave_nothing_behind() {
    let session = |gap: u64| WindowSpec { shape: Shape::Session { gap: ms(gap as i64) }, ..spec() };
    let (old, new) = (specs([session(30_000)]), specs([session(20_000)]));
    let mut sides = Sides::new(session(30_000));
    sides.observe(0, &[100_000]);
    let stored = changes(&mut sides.merge, 1);
    let mut other = windows(session(30_000), &[1]);
    observe_times(&mut other, 1, &[80_000]);
    let earlier = deltas(&mut other, 1);
    let (mut merge, _) = restore(&new, std::slice::from_ref(&stored)).expect("it is read");
    merge_all(&mut merge, &earlier);
    let given_out = results(&mut merge);
    assert!(given_out.len() == 1 && given_out[0].contains("\"count\":2"), "{given_out:?}");
    let deleted = changes(&mut merge, 2);
    let last = lines(&deleted).pop().expect("tombstones");
    assert!(last.ends_with("|spec| -"), "{last} is deleted behind its definition");
    for specs in [old, new] {
        let state = [stored.clone(), deleted.clone()];
        let (left, _) = restore(&specs, &state).expect("it is read");
        assert_eq!((left.keys(), left.has_changes()), (0, false));
    }
}

#[test]
fn a_definition_that_is_put_back_while_it_is_given_out_begins_anew() {
    let mut sides = Sides::new(spec());
    let events: Vec<_> = ["a", "b"].iter().map(|group| (0, 1, 1, *group)).collect();
    observe(&mut sides.windows, &events).expect("they are taken");
    merge_all(&mut sides.merge, &deltas(&mut sides.windows, 0));
    let mut state = vec![changes(&mut sides.merge, 1)];
    let (old, new) = (specs([spec()]), specs([WindowSpec { grace: ms(1), ..spec() }]));
    let as_it_is = |key: &str| result(0, MINUTE, key, "\"count\":1", false);
    let part = |merge: &mut Merge| {
        lines(&merge.take_results(&mut Portion::of_bytes(1)).windows[0].records)
    };
    let (mut merge, _) = restore(&new, &state).expect("it is read");
    assert_eq!(part(&mut merge), [as_it_is("a")]);
    state.push(changes(&mut merge, 1));
    let (mut merge, _) = restore(&old, &state).expect("it is read");
    assert!(merge.is_closing(), "nothing is merged before");
    while merge.is_closing() {
        let given_out = part(&mut merge);
        assert!(given_out.is_empty() || given_out == [as_it_is("b")], "{given_out:?}");
        state.push(changes(&mut merge, 1));
    }
    // An event of the window that was open counts in it as ever.
    for _ in 0..2 {
        let (mut merge, _) = restore(&old, &state).expect("it is read");
        observe_times(&mut sides.windows, 0, &[2]);
        merge_all(&mut merge, &deltas(&mut sides.windows, 0));
        assert_eq!((results(&mut merge).len(), merge.take_late().len()), (0, 0));
        state.push(changes(&mut merge, 2));
    }
    let (merge, _) = restore(&old, &state).expect("it is read");
    assert_eq!(merge.open_windows(1)[0].top[0].1, 2);
}

#[test]
fn updates_are_written_at_each_commit_and_the_final_result_at_the_end() {
    let mut sides = Sides::new(WindowSpec { emit: Emit::Updates, ..spec() });
    sides.observe(0, &[0, 1]);
    assert_eq!(results(&mut sides.merge), [result(0, MINUTE, "a", "\"count\":2", false)]);
    assert_eq!(results(&mut sides.merge), [""; 0]);
    sides.observe(1, &[2]);
    assert_eq!(results(&mut sides.merge), [result(0, MINUTE, "a", "\"count\":3", false)]);
    sides.observe(0, &[65_000]);
    sides.observe(1, &[65_000]);
    let expected = [
        result(0, MINUTE, "a", "\"count\":3", true),
        result(MINUTE, 2 * MINUTE, "a", "\"count\":2", false),
    ];
    assert_eq!(results(&mut sides.merge), expected);
}

#[test]
fn limits_stop_it_with_their_names() {
    let limits = Limits { keys: 1, bytes: usize::MAX };
    let mut sides = Sides::new(WindowSpec { limits, ..spec() });
    sides.observe(0, &[0]);
    observe_times(&mut sides.windows, 0, &[60_000]);
    let record = deltas(&mut sides.windows, 0).remove(0);
    let error = sides.merge.apply(9, record.as_bytes()).unwrap_err();
    assert!(error.to_string().contains("holds more than 1 keys open in merge partition 0"));
    assert!(!error.is_mended_by_reset());
}

#[test]
fn what_cannot_be_read_stops_it() {
    let merge = || Merge::new(specs([spec()]), 4, INPUTS, 1);
    let error = |value: &str| merge().apply(9, value.as_bytes()).unwrap_err().to_string();
    assert!(error("{").contains("the deltas at offset 9 of merge partition 4 cannot be read"));
    assert!(error(r#"{"format":2,"new":1}"#).contains("has format 2"));
    let row = |row: &str| {
        let (hash, definition) = (spec().definition_hash(), spec().definition());
        error(&format!(
            r#"{{"format":1,"partition":0,"of":2,"to":7,"windows":[{{"window":"counts","definition":"{hash}","spec":{definition},"rows":[{row}]}}]}}"#
        ))
    };
    assert!(row(r#"[1,60000,"a",1]"#).contains("the row of 1970-01-01T00:00:00.001Z/"));
    assert!(row(r#"[0,60000,"a",[1,2]]"#).contains("the row of"));
    assert!(row(r#"[0,60000,"a",-1]"#).contains("the row of"));
}

#[test]
fn state_that_cannot_be_read_or_was_made_otherwise_stops_it() {
    let mut merge = Merge::new(specs([spec()]), 0, INPUTS, 2);
    let error = restore(&specs([spec()]), &[changes(&mut merge, 0)]).unwrap_err();
    assert_eq!(error, StateError::Merges { stored: 2, now: 1 });
    assert!(error.to_string().contains("with 2 merge partitions, and their topics have 1"));
    let with = |key: &str, value: &str| {
        let mut records = Records::default();
        records.push(
            |bytes| bytes.extend_from_slice(key.as_bytes()),
            |bytes| bytes.extend_from_slice(value.as_bytes()),
        );
        let marker = changes(&mut Merge::new(specs([spec()]), 0, INPUTS, 1), 0);
        restore(&specs([spec()]), &[records, marker]).unwrap_err().to_string()
    };
    let hash = spec().definition_hash();
    assert!(with("x", "y").contains("its key \"x\""));
    assert!(with(&format!("counts|{hash}|0/60000|1"), "{\"value\":null}").contains("its key"));
    assert!(with(&format!("counts|{hash}|0/50000|1"), "{\"value\":1}").contains("its key"));
    assert!(with("counts|other|0/60000|1", "{\"value\":1}").contains("its key"));
    let records = {
        let mut records = Records::default();
        records.push(|bytes| bytes.push(b'k'), |bytes| bytes.push(b'v'));
        records
    };
    let error = restore(&specs([spec()]), &[records]).unwrap_err();
    assert!(error.to_string().contains("it has 1 keys and no marker"));
}

#[test]
fn a_window_that_was_added_later_can_be_changed_as_well() {
    let first = changes(&mut Merge::new(specs([]), 0, INPUTS, 1), 0);
    let (mut merge, _) =
        restore(&specs([spec()]), std::slice::from_ref(&first)).expect("it is read");
    let mut windows = windows(spec(), &[0]);
    observe_times(&mut windows, 0, &[0]);
    merge_all(&mut merge, &deltas(&mut windows, 0));
    let second = changes(&mut merge, 1);
    let new = WindowSpec { grace: ms(1), ..spec() };
    let (mut merge, _) = restore(&specs([new]), &[first, second]).expect("it is read");
    assert_eq!(results(&mut merge), [result(0, MINUTE, "a", "\"count\":1", false)]);
}

#[test]
fn old_sessions_and_hopping_windows_come_out_as_windows() {
    let shapes = [
        (Shape::Session { gap: ms(50) }, vec![(0, 60)]),
        (Shape::Hopping { size: ms(40), every: ms(20) }, vec![(-20, 20), (0, 40)]),
    ];
    for (shape, expected) in shapes {
        let mut sides = Sides::new(WindowSpec { shape, ..spec() });
        sides.observe(0, &[0, 10]);
        let state = changes(&mut sides.merge, 1);
        let (mut merge, _) = restore(&specs([spec()]), &[state]).expect("it is read");
        let result = |(start, end)| result(start, end, "a", "\"count\":2", false);
        assert_eq!(results(&mut merge), expected.into_iter().map(result).collect::<Vec<_>>());
    }
}
