//! What a user sees of a wrong file, case by case, and that the shipped file is right.
//! `BLESS=1` rewrites the expectations in `cases/`.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::*;

const SHIPPED: &str = include_str!("../../../plugins/pipeline.toml");

/// As the room of librdkafka answers.
fn check_property(key: &str, _value: &str) -> Option<(String, String)> {
    let delivery = ["group.id", "enable.idempotence", "sasl.password", "client.id"];
    let problem = || ("cannot be set: delivery depends on it".to_owned(), "take it out".to_owned());
    delivery.contains(&key).then(problem)
}

fn draft(text: &str) -> Draft {
    parse("pipeline.toml", text, &Overrides::default(), &check_property)
}

#[track_caller]
fn config(text: &str) -> Config {
    draft(text).finish().unwrap_or_else(|problems| panic!("{problems}"))
}

const LEAST: &str = "[source]\ntopic = \"user-login\"\n";

#[test]
fn every_problem_of_a_bad_file_is_shown_with_its_place_and_help() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/config/cases");
    let bless = std::env::var_os("BLESS").is_some();
    let mut wrong = Vec::new();
    let mut cases = 0;
    for entry in fs::read_dir(&folder).expect("the cases") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        cases += 1;
        let text = fs::read_to_string(&path).expect("a case");
        let found = draft(&text).problems.to_string();
        let expected_path = path.with_extension("err");
        if bless {
            fs::write(&expected_path, &found).expect("writing the expectation");
        }
        let expected = fs::read_to_string(&expected_path).unwrap_or_default();
        if found.is_empty() || found != expected {
            wrong.push(format!("{}\n--- expected\n{expected}--- found\n{found}", path.display()));
        }
    }
    assert!(cases >= 10, "only {cases} cases in {}", folder.display());
    assert!(wrong.is_empty(), "{}\nBLESS=1 accepts what was found", wrong.join("\n"));
}

#[test]
fn the_shipped_file_is_right_and_states_every_default() {
    let shipped = config(SHIPPED);
    let least = config(LEAST);
    assert_eq!(shipped.name, least.name);
    assert_eq!(shipped.source, least.source);
    assert_eq!(shipped.sink, least.sink);
    assert_eq!(shipped.dead_letters, least.dead_letters);
    assert_eq!(shipped.late, least.late);
    assert_eq!(shipped.state, least.state);
    assert_eq!(shipped.delivery, least.delivery);
    assert_eq!(shipped.reload, least.reload);
    assert_eq!(shipped.limits, least.limits);
    assert_eq!(shipped.properties, least.properties);

    let stage = &config(&format!("{LEAST}[[stage]]\nplugin = \"filter\"\n")).stages[0];
    assert_eq!(stage.on_error, shipped.stages[0].on_error);
    assert_eq!(stage.name, shipped.stages[0].name);
    assert_eq!(stage.limits, shipped.stages[0].limits);
    let plugins: Vec<_> = shipped.stages.iter().map(|stage| stage.plugin.as_str()).collect();
    assert_eq!(plugins, ["filter", "timestamps", "categorize", "anomaly"]);

    let window = "[[window]]\nname = \"counts\"\nsize = \"60s\"\n";
    let least = &config(&format!("{LEAST}{window}")).windows[0];
    assert_eq!((&least.by, &least.time), (&Vec::new(), &EventTime::Record));
    let time = EventTime::Field { pointer: "/timestamp".to_owned(), unit: TimeUnit::Auto };
    let place = shipped.windows[0].place;
    let by = vec!["/app_version".to_owned()];
    assert_eq!(shipped.windows, [Window { by, time, place, ..least.clone() }]);
}

#[test]
fn the_shipped_file_names_every_key() {
    let keys = [
        draft("[pipeline]\nx=1\n[source]\nx=1\n[sink]\nx=1\n[dead-letters]\nx=1\n[late]\nx=1\n"),
        draft(
            "[reload]\nx=1\n[state]\nx=1\n[delivery]\nx=1\n[limits]\nx=1\n[[stage]]\nx=1\n[[window]]\nx=1\n",
        ),
        draft("[[window]]\naggregates={a={x=1}}\n"),
        draft(
            "[[window]]\naggregates={a={top='/t',x=1}}\n[[window]]\naggregates={a={distinct='/t',x=1}}\n",
        ),
        draft("[[window]]\ntime={x=1}\n[[stage]]\nlimits={x=1}\n[[stage]]\nshadow={x=1}\n"),
    ];
    let mut checked = 0;
    for problem in keys.iter().flat_map(|draft| draft.problems.iter()) {
        let Some(known) = problem.help.strip_prefix("take it out; known are ") else { continue };
        for key in known.split(", ") {
            checked += 1;
            let stated = SHIPPED.lines().any(|line| {
                line.contains(&format!("{key} = "))
                    || line.trim_start_matches("# ") == format!("[stage.{key}]")
                    || line == format!("[window.{key}]")
            });
            assert!(stated, "{} is missing from the shipped file: {key}", problem.key);
        }
    }
    assert!(checked > 60, "only {checked} keys were looked for");
}

#[test]
fn names_follow_the_source() {
    let text = "[source]\ntopic = \"in\"\npartitions = 7\nreplication = 3\n\
                [[window]]\nname = \"w\"\nsize = \"1m\"\nby = [\"/a\", \"/b\"]\n";
    let found = config(text);
    let topic = |name: &str| Topic { name: name.to_owned(), partitions: 7, replication: 3 };
    assert_eq!(found.name, "in");
    assert_eq!(found.sink.topic, topic("processed-in"));
    assert_eq!(found.dead_letters.topic, topic("in-dead-letters"));
    assert_eq!(found.late, topic("in-late"));
    let window = &found.windows[0];
    assert_eq!(window.by, ["/a", "/b"]);
    assert_eq!(window.results_topic, "in-w");
    assert_eq!(found.repartition.topic, topic("in-repartition"));
    assert_eq!(found.state.progress_topic, "in-progress");
    assert_eq!(found.state.windows_topic, "in-windows");
}

#[test]
fn windows_have_shapes_and_aggregates_in_the_order_of_the_file() {
    let window =
        |rest: &str| config(&format!("{LEAST}[[window]]\nname = \"w\"\n{rest}")).windows.remove(0);
    let (ten, minute) = (Duration::from_secs(10), Duration::from_secs(60));
    let plain = window("size = \"60s\"\n");
    assert_eq!(plain.shape, WindowShape::Tumbling { size: minute });
    assert_eq!((plain.emit, &plain.filter), (Emit::Final, &None));
    let count = Aggregate { name: "count".to_owned(), kind: AggregateKind::Count };
    assert_eq!(plain.aggregates, [count]);
    let hopping = window("size = \"60s\"\nevery = \"10s\"\nemit = \"updates\"\n");
    assert_eq!(hopping.shape, WindowShape::Hopping { size: minute, every: ten });
    assert_eq!(hopping.emit, Emit::Updates);
    let session = window(
        "gap = \"10s\"\nwhere = \"/ok\"\ntime = \"processing\"\n[window.aggregates]\n\
         z = { distinct = \"/u\" }\nn = \"count\"\na = { top = \"/u\", k = 3, counted-max = 9 }\n\
         b = { sum = \"/b\" }\nc = { avg = \"/c\" }\n",
    );
    assert_eq!(session.shape, WindowShape::Session { gap: ten });
    assert_eq!((session.time, session.filter.as_deref()), (EventTime::Processing, Some("/ok")));
    let field = "/u".to_owned();
    let expected = [
        ("z", AggregateKind::Distinct { field: field.clone(), exact_max: 1000 }),
        ("n", AggregateKind::Count),
        ("a", AggregateKind::Top { field, k: 3, counted_max: 9 }),
        ("b", AggregateKind::Sum("/b".to_owned())),
        ("c", AggregateKind::Avg("/c".to_owned())),
    ];
    let found: Vec<_> =
        session.aggregates.into_iter().map(|one| (one.name.clone(), one.kind)).collect();
    assert_eq!(found, expected.map(|(name, kind)| (name.to_owned(), kind)));
}

#[test]
fn a_stage_without_limits_has_those_of_all() {
    let text = format!(
        "{LEAST}[limits]\nplugin-memory = \"32MiB\"\ncall = \"1s\"\n\
         [[stage]]\nplugin = \"a\"\n[[stage]]\nplugin = \"b\"\nlimits = {{ memory = \"1MiB\" }}\n"
    );
    let stages = config(&text).stages;
    assert_eq!(stages[0].limits.memory, 32 << 20);
    assert_eq!(stages[1].limits.memory, 1 << 20);
    assert_eq!(stages[1].limits.call, Duration::from_secs(1));
}

#[test]
fn settings_become_json() {
    let text = format!(
        "{LEAST}[[stage]]\nplugin = \"a\"\n[stage.settings]\n\
         text = \"x\"\nnumber = 0x10\nhalf = 1_0.5\nyes = true\ndate = 2026-01-31\n\
         list = [1, {{ a.b = 2 }}]\n"
    );
    let settings: serde_json::Value =
        serde_json::from_str(&config(&text).stages[0].settings).expect("JSON");
    let expected = serde_json::json!({
        "text": "x", "number": 16, "half": 10.5, "yes": true, "date": "2026-01-31",
        "list": [1, { "a": { "b": 2 } }],
    });
    assert_eq!(settings, expected);
    let without = config(&format!("{LEAST}[[stage]]\nplugin = \"a\"\n"));
    assert_eq!(&*without.stages[0].settings, "{}");
}

#[test]
fn flags_beat_the_file() {
    let text = format!(
        "[pipeline]\nname = \"a\"\n{LEAST}[delivery]\nmode = \"at-least-once\"\n\
         [kafka]\nclient.rack = \"b\"\n\"socket.timeout.ms\" = 100\nsocket.keepalive.enable = true\n"
    );
    let property = |text: &str| text.parse::<Property>().expect("a property");
    let overrides = Overrides {
        name: Some("c".to_owned()),
        delivery: Some(Mode::ExactlyOnce),
        properties: vec![property("client.rack=d"), property("sasl.password=a=b ")],
    };
    let found = parse("pipeline.toml", &text, &overrides, &|_, _| None).finish();
    let found = found.unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(found.name, "c");
    assert_eq!(found.delivery.mode, Mode::ExactlyOnce);
    let properties: Vec<_> = found.properties.iter().collect();
    let expected = [
        ("client.rack", "d"),
        ("sasl.password", "a=b "),
        ("socket.keepalive.enable", "true"),
        ("socket.timeout.ms", "100"),
    ];
    assert_eq!(properties, expected);
    assert!(!format!("{found:?}{overrides:?}").contains("a=b"), "a secret in a debug text");
}

#[test]
fn a_refused_flag_is_a_problem_of_that_flag() {
    let long = format!("client.id={}", "x".repeat(50));
    let flags = ["group.id=x", "sasl.password=hunter2", &long, "enable.idempotence=a\nb"];
    let overrides = Overrides {
        properties: flags.iter().map(|flag| flag.parse().expect("a property")).collect(),
        ..Overrides::default()
    };
    let problems = parse("pipeline.toml", "", &overrides, &check_property).problems.to_string();
    let refused = "cannot be set: delivery depends on it\n  help: take it out\n";
    let long = "x".repeat(40);
    assert_eq!(
        problems,
        format!(
            "pipeline.toml: [source] topic: missing\n  \
             help: add `topic = \"user-login\"`, with your topic's name\n\
             -X group.id=x: {refused}-X sasl.password=…: {refused}-X client.id={long}…: {refused}\
             -X enable.idempotence=a…: {refused}"
        )
    );
}

#[test]
fn problems_of_plugins_join_those_of_the_file() {
    let mut draft = draft(
        "[source]\ntopic = \"in\"\npartitions = 0\n[[stage]]\nplugin = \"filtr\"\n[stage.settings]\na = 1\n",
    );
    assert_eq!(draft.stages().len(), 1);
    let stage = draft.stages()[0].clone();
    draft.settings_problem(&stage, "refused");
    draft.plugin_problem(&stage, "there is no filtr.wasm".to_owned(), "build it".to_owned());
    assert_eq!(
        draft.finish().expect_err("problems").to_string(),
        "pipeline.toml:3:14: [source] partitions: 0 is not between 1 and 10000\n  \
         3 | partitions = 0\n    |              ^\n  help: write for example `partitions = 4`\n\
         pipeline.toml:5:10: stage \"filtr\": there is no filtr.wasm\n  \
         5 | plugin = \"filtr\"\n    |          ^^^^^^^\n  help: build it\n\
         pipeline.toml:6:1: stage \"filtr\" settings: refused\n  \
         6 | [stage.settings]\n    | ^^^^^^^^^^^^^^^^\n"
    );
}

/// Asks for what a plugin says, as the case `settings` has it, and where it is shown.
#[track_caller]
fn check_remarks(says: &str, expected: &[&str]) {
    let text = "[source]\ntopic = \"in\"\n\n[[stage]]\nplugin = \"a\"\n\
        [stage.settings]\nkeep = 5 # any\nmap.\"a/b\" = \"x\"\n\"a: b\" = 1\n\
        list = [1, { a = 2, \"b\" = [3] },\n  4]\n\
        [[stage.settings.conditions]]\nfield = \"/ä\"\n\
        [[stage.settings.conditions]]\nnot = { min = 1 }\n[stage.settings.deep]\nx.y.z = true\n\
        [[stage]]\nplugin = \"b\"\n";
    let mut draft = draft(text);
    draft.settings_problem(&draft.stages()[0].clone(), says);
    let told: Vec<_> = draft.problems.iter().collect();
    let shown = |problem: &&Problem| {
        let place = problem.place.expect("a place");
        let line = text.lines().nth(place.line as usize - 1).expect("the line");
        let what: String =
            line.chars().skip(place.column as usize - 1).take(place.width as usize).collect();
        format!("{}: {what}: {}: {}", place.line, problem.key, problem.message)
    };
    let told: Vec<_> = told.iter().map(shown).collect();
    assert_eq!(told, expected, "{says}");
}

#[test]
fn what_a_plugin_says_stands_at_the_setting_that_it_points_at() {
    let of = |place: &str, rest: &str| format!("{place}: stage \"a\" settings{rest}");
    for (says, place, rest) in [
        ("/keep: wrong", "7: keep = 5", ".keep: wrong"),
        ("/map/a~1b: wrong", "8: \"a/b\" = \"x\"", ".map.a/b: wrong"),
        ("/map: wrong", "8: map", ".map: wrong"),
        ("/list: wrong", "10: list = [1, { a = 2, \"b\" = [3] },", ".list: wrong"),
        ("/list/0: wrong", "10: 1", ".list[0]: wrong"),
        ("/list/1/a: wrong", "10: a = 2", ".list[1].a: wrong"),
        ("/list/1/b/0: wrong", "10: 3", ".list[1].b[0]: wrong"),
        ("/list/2: wrong", "11: 4", ".list[2]: wrong"),
        ("/conditions/0: a: b", "12: [[stage.settings.conditions]]", ".conditions[0]: a: b"),
        ("/conditions/0/field: wrong", "13: field = \"/ä\"", ".conditions[0].field: wrong"),
        ("/conditions/1/not/min: wrong", "15: min = 1", ".conditions[1].not.min: wrong"),
        ("/deep: wrong", "16: [stage.settings.deep]", ".deep: wrong"),
        ("/deep/x/y/z: wrong", "17: z = true", ".deep.x.y.z: wrong"),
        // What is not there: at the nearest around it.
        ("/region: missing", "6: [stage.settings]", ".region: missing"),
        ("/list/3: wrong", "10: list = [1, { a = 2, \"b\" = [3] },", ".list.3: wrong"),
        ("/list/x/0: wrong", "10: list = [1, { a = 2, \"b\" = [3] },", ".list.x.0: wrong"),
        ("/keep/x: wrong", "7: keep = 5", ".keep.x: wrong"),
        ("/conditions/1/not/max: wrong", "15: not = { min = 1 }", ".conditions[1].not.max: wrong"),
        // A name with the separator in it.
        ("/a: b: wrong", "9: \"a: b\" = 1", ".a: b: wrong"),
        ("/a: c: wrong", "6: [stage.settings]", ".a: c: wrong"),
        // No pointers.
        ("keep: wrong", "6: [stage.settings]", ": keep: wrong"),
        ("/keep is wrong", "6: [stage.settings]", ": /keep is wrong"),
        ("/~keep: wrong", "6: [stage.settings]", ": /~keep: wrong"),
        ("two lines:\n  of one\nplugin\n", "6: [stage.settings]", ": two lines:\n  of one\nplugin"),
        ("red \u{1b}[31m\rtext", "6: [stage.settings]", ": red  [31m text"),
        ("", "6: [stage.settings]", ": "),
    ] {
        check_remarks(says, &[&of(place, rest)]);
    }
}

#[test]
fn a_plugin_may_say_several_things_one_a_line() {
    check_remarks(
        "/keep: wrong:\n  write all\n\nand more\n/conditions/0/field: wrong\n",
        &[
            "7: keep = 5: stage \"a\" settings.keep: wrong:\nwrite all",
            "6: [stage.settings]: stage \"a\" settings: and more",
            "13: field = \"/ä\": stage \"a\" settings.conditions[0].field: wrong",
        ],
    );
}

#[test]
fn what_a_plugin_says_about_settings_that_are_not_there_stands_at_the_stage() {
    let mut draft = draft("[source]\ntopic = \"in\"\n[[stage]]\nplugin = \"a\"\n");
    draft
        .settings_problem(&draft.stages()[0].clone(), "/region: missing: add it\nfurther\n  lines");
    assert_eq!(
        draft.finish().expect_err("problems").to_string(),
        "pipeline.toml:3:1: stage \"a\" settings.region: missing: add it\n  \
         3 | [[stage]]\n    | ^^^^^^^^^\n\
         pipeline.toml:3:1: stage \"a\" settings: further\n    lines\n  \
         3 | [[stage]]\n    | ^^^^^^^^^\n"
    );
}

#[test]
fn a_file_that_is_not_there_is_a_problem() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(FILE_NAME);
    let problems =
        read(&path, &Overrides::default(), &check_property).expect_err("no file").to_string();
    assert!(problems.contains("pipeline.toml: cannot be read: "), "{problems}");
}

#[test]
fn a_window_has_no_more_tops_than_a_record_of_its_state_holds() {
    let tops = |count: usize| {
        let each = (0..count).map(|place| format!("t{place} = {{ top = '/v' }}\n"));
        let window = "[[window]]\nname = \"w\"\nsize = \"60s\"\n[window.aggregates]\n";
        draft(&format!("{window}{}", each.collect::<String>()))
            .problems
            .iter()
            .any(|problem| problem.key.ends_with("aggregates") && problem.message.contains("`top`"))
    };
    assert!(!tops(7));
    assert!(tops(8));
}
