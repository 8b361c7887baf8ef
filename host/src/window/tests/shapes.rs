//! Hopping windows, sessions, and what is computed in windows.

use super::second_hop::Sides;
use super::*;

fn hopping() -> WindowSpec {
    WindowSpec { shape: Shape::Hopping { size: ms(60), every: ms(20) }, grace: ms(5), ..spec() }
}

fn session() -> WindowSpec {
    WindowSpec { shape: Shape::Session { gap: ms(50) }, grace: ms(20), ..spec() }
}

fn counted(start: i64, end: i64, count: u64) -> String {
    result(start, end, "a", &format!("\"count\":{count}"), true)
}

#[test]
fn a_hopping_window_is_the_sum_of_its_slices_and_a_slice_goes_with_its_last_window() {
    let mut sides = Sides::new(hopping());
    sides.observe(0, &[0, 19, 20, 39, 40, 65]);
    sides.observe(1, &[65]);
    // Closed up to 60: [-40, 20), [-20, 40) and [0, 60).
    let expected = [counted(-40, 20, 2), counted(-20, 40, 4), counted(0, 60, 5)];
    assert_eq!(results(&mut sides.merge), expected);
    assert_eq!(sides.merge.keys(), 3, "20, 40 and 60");
    let state = changes(&mut sides.merge, 1);
    let (restored, _) = restore(&specs([hopping()]), &[state]).expect("it is read");
    sides.merge = restored;
    let open = |open: OpenWindow| (open.span.start, open.span.end, open.top[0].1);
    let shown: Vec<_> = sides.merge.open_windows(1).into_iter().map(open).collect();
    assert_eq!(shown, [(20, 80, 5), (40, 100, 3), (60, 120, 2)]);
    sides.observe(0, &[59, 200]);
    sides.observe(1, &[200]);
    assert_eq!(
        results(&mut sides.merge),
        [counted(20, 80, 5), counted(40, 100, 3), counted(60, 120, 2)]
    );
    assert_eq!(sides.merge.keys(), 1, "200");
}

#[test]
fn an_event_whose_slice_has_closed_is_late_for_all_of_its_windows() {
    let mut windows = windows(hopping(), &[0]);
    assert_eq!(observe_times(&mut windows, 0, &[65, 59, 60, 39]), [1, 3]);
}

#[test]
fn an_idle_hopping_partition_closes_the_windows_of_its_last_event_one_by_one() {
    let mut windows = windows(WindowSpec { idle: ms(10), ..hopping() }, &[0]);
    observe_times(&mut windows, 0, &[45]);
    // Its windows end at 60, 80 and 100.
    assert!(!windows.is_idle_due(0, 0, 74, None));
    assert!(windows.close_idle(0, 0, 75, None));
    assert_eq!(windows.partitions()[0].closed(), Some(60));
    assert!(!windows.is_idle_due(0, 0, 94, None));
    assert!(windows.close_idle(0, 0, 200, None));
    assert_eq!(windows.partitions()[0].closed(), Some(100));
    assert!(!windows.is_idle_due(0, 0, i64::MAX, None));
}

#[test]
fn updates_of_hopping_windows_are_those_of_all_windows_that_changed() {
    let mut sides = Sides::new(WindowSpec { emit: Emit::Updates, ..hopping() });
    let update = |start: i64, count: u64| {
        result(start, start + 60, "a", &format!("\"count\":{count}"), false)
    };
    sides.observe(0, &[0]);
    assert_eq!(results(&mut sides.merge), [update(-40, 1), update(-20, 1), update(0, 1)]);
    sides.observe(1, &[25]);
    // Closed up to -20 and 20: nothing is final.
    assert_eq!(results(&mut sides.merge), [update(-20, 2), update(0, 2), update(20, 1)]);
    sides.observe(0, &[45]);
    let expected = [counted(-40, 20, 1), update(0, 3), update(20, 2), update(40, 1)];
    assert_eq!(results(&mut sides.merge), expected);
}

#[test]
fn events_closer_than_the_gap_are_one_session_over_all_partitions() {
    let mut sides = Sides::new(session());
    sides.observe(0, &[0, 90]);
    assert_eq!(sides.merge.keys(), 2, "[0, 50) and [90, 140)");
    sides.observe(1, &[49]);
    assert_eq!(sides.merge.keys(), 1, "49 ends at 99, which is in the other");
    let state = changes(&mut sides.merge, 1);
    let (restored, _) = restore(&specs([session()]), &[state]).expect("it is read");
    sides.merge = restored;
    assert_eq!(sides.merge.open_windows(1)[0].span, Span { start: 0, end: 140 });
    // 140 is not closer than 50 to 90.
    sides.observe(0, &[140, 230]);
    sides.observe(1, &[161]);
    assert_eq!(results(&mut sides.merge), [counted(0, 140, 3)]);
    let taken = lines(&changes(&mut sides.merge, 2));
    let hash = session().definition_hash();
    assert_eq!(taken[0], format!("counts|{hash}|140/|\"a\" {{\"end\":211,\"value\":2}}"));
    assert_eq!(taken.last().unwrap(), &format!("counts|{hash}|0/|\"a\" -"));
}

#[test]
fn an_event_is_too_late_for_sessions_when_it_is_more_than_grace_behind() {
    let mut windows = windows(session(), &[0]);
    assert_eq!(observe_times(&mut windows, 0, &[100, 81, 80, 79]), [3]);
    assert_eq!(windows.partitions()[0].closed(), Some(80));
}

#[test]
fn an_idle_partition_ends_its_last_session() {
    let mut sides = Sides::new(WindowSpec { idle: ms(10), ..session() });
    sides.observe(0, &[3]);
    // The session ends at 53, which is 55 on the grid of promises.
    assert!(!sides.windows.is_idle_due(0, 0, 84, None));
    assert!(sides.windows.close_idle(0, 0, 85, None));
    assert!(sides.windows.close_idle(1, 0, 85, sides.windows.partitions()[0].watermark()));
    sides.observe(0, &[]);
    sides.observe(1, &[]);
    assert_eq!(results(&mut sides.merge), [counted(3, 53, 1)]);
    assert!(!sides.windows.close_idle(0, 0, i64::MAX, None));
}

#[test]
fn an_updated_session_that_begins_earlier_deletes_its_former_record() {
    let spec = WindowSpec { emit: Emit::Updates, ..session() };
    let mut sides = Sides::new(spec.clone());
    let update = |start: i64, end: i64, count: u64| {
        result(start, end, "a", &format!("\"count\":{count}"), false)
    };
    sides.observe(0, &[60]);
    assert_eq!(results(&mut sides.merge), [update(60, 110, 1)]);
    let state = changes(&mut sides.merge, 1);
    (sides.merge, _) = restore(&specs([spec]), &[state]).expect("it is read");
    sides.observe(1, &[20]);
    let gone = format!("{}|a -", rfc3339(60));
    assert_eq!(results(&mut sides.merge), [gone, update(20, 110, 2)]);
    let hash = session().definition_hash();
    assert_eq!(lines(&changes(&mut sides.merge, 2))[0], format!("counts|{hash}|60/|\"a\" -"));
    sides.observe(0, &[130]);
    sides.observe(1, &[130]);
    let last = result(20, 110, "a", "\"count\":2", true);
    assert_eq!(results(&mut sides.merge), [last, update(130, 180, 2)]);
}

fn kinds() -> Vec<Aggregate> {
    let field = || "/v".to_owned();
    let kinds = [
        ("events", Kind::Count),
        ("total", Kind::Sum(field())),
        ("least", Kind::Min(field())),
        ("greatest", Kind::Max(field())),
        ("mean", Kind::Avg(field())),
        ("different", Kind::Distinct { field: field(), exact_max: 3 }),
        ("frequent", Kind::Top { field: field(), k: 2, counted_max: 10 }),
    ];
    kinds.map(|(name, kind)| Aggregate { name: name.to_owned(), kind }).into()
}

#[test]
fn a_result_has_what_is_computed_by_name_in_order_through_both_hops_and_a_restart() {
    for shape in [Shape::Tumbling { size: ms(60) }, Shape::Session { gap: ms(60) }] {
        let spec = WindowSpec { shape, aggregates: kinds(), grace: ms(0), ..spec() };
        let mut sides = Sides::new(spec.clone());
        let batches = [
            (0, vec![Value::Integer(7), Value::Text("x"), Value::Number(0.5)]),
            (1, vec![Value::Absent, Value::Text("x"), Value::Integer(-2), Value::Null]),
        ];
        let mut states = Vec::new();
        for (place, (partition, values)) in batches.into_iter().enumerate() {
            let events: Vec<_> = values.iter().map(|_| (partition, 0, 0, "a")).collect();
            let columns = vec![column(values); 6];
            observe_values(&mut sides.windows, &events, &columns, None).expect("taken");
            merge_all(&mut sides.merge, &deltas(&mut sides.windows, partition));
            states.push(changes(&mut sides.merge, place as i64));
            (sides.merge, _) = restore(&specs([spec.clone()]), &states).expect("it is read");
        }
        for partition in [0, 1] {
            assert!(sides.windows.close_idle(partition, 0, 100_000, None));
            merge_all(&mut sides.merge, &deltas(&mut sides.windows, partition));
        }
        let members = concat!(
            r#""events":7,"total":5.5,"least":-2,"greatest":7,"mean":1.8333333333333333,"#,
            r#""different":{"count":4,"exact":false},"#,
            r#""frequent":{"values":[{"value":"x","count":2},{"value":-2,"count":1}],"exact":true}"#
        );
        assert_eq!(results(&mut sides.merge), [result(0, 60, "a", members, true)]);
        assert_eq!((sides.merge.keys(), sides.merge.bytes()), (0, 0));
    }
}

#[test]
fn a_definition_is_what_changes_results() {
    let hash = |spec: &WindowSpec| spec.definition_hash();
    let base = spec();
    let same = WindowSpec {
        name: "other".to_owned(),
        emit: Emit::Updates,
        idle: ms(1),
        future_max: ms(1),
        limits: Limits { keys: 1, bytes: 1 },
        ..spec()
    };
    assert_eq!(hash(&base), hash(&same));
    let mut others = vec![
        WindowSpec { shape: Shape::Tumbling { size: ms(1) }, ..spec() },
        WindowSpec { shape: Shape::Session { gap: ms(MINUTE) }, ..spec() },
        WindowSpec { shape: Shape::Hopping { size: ms(MINUTE), every: ms(MINUTE) }, ..spec() },
        WindowSpec { grace: ms(1), ..spec() },
        WindowSpec { group: vec![], ..spec() },
        WindowSpec { time: "record".to_owned(), ..spec() },
        WindowSpec { filter: Some("/x".to_owned()), ..spec() },
        WindowSpec { aggregates: kinds(), ..spec() },
    ];
    let mut renamed = spec();
    renamed.aggregates[0].name = "n".to_owned();
    others.push(renamed);
    let mut hashes: Vec<_> = others.iter().map(hash).chain([hash(&base)]).collect();
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), others.len() + 1);
    for spec in others {
        let read = WindowSpec::of_definition("n", &spec.definition()).ok().expect("it is read");
        assert_eq!(hash(&read), hash(&spec));
    }
    // What is stored under it outlives upgrades.
    assert_eq!(
        base.definition(),
        r#"{"shape":{"tumbling":{"size":60000}},"grace_ms":5000,"group":["/app_version"],"time":"field /timestamp auto","aggregates":[{"name":"count","kind":"count"}]}"#
    );
    assert_eq!(hash(&base), "ecab1931b91fac7a");
}
