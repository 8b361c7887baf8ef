//! The default plugins, as they ship, through the host's own guests.

use host::chain::guest::{Guest, RuleBatch};
use host::event::{Column, Fate, Form, Index, Source, Value};
use host::plugin::defaults::DEFAULTS;
use host::plugin::{ConfigureError, Engine, LoadLimits, Plugin, World};

fn plugin(name: &str) -> Plugin {
    let (_, bytes) = DEFAULTS.iter().find(|(default, _)| *default == name).expect("a default");
    let engine = Engine::new(None).expect("engine");
    engine.load_bytes(name, bytes, LoadLimits::default()).expect("a plugin")
}

#[test]
fn every_default_is_a_rule_that_imports_log_at_most_and_works_without_settings() {
    for (name, _) in DEFAULTS {
        let plugin = plugin(name);
        assert_eq!(plugin.world(), World::Rule, "{name}");
        for import in plugin.imports() {
            let ours = ["pipeline:plugin/log@0.1.0", "pipeline:plugin/events@0.1.0"];
            assert!(ours.contains(&import.name.as_str()), "{name} imports {}", import.name);
        }
        plugin.configure("{}", name, "logins", &Default::default()).expect(name);
    }
}

#[test]
fn the_filter_keeps_android_and_drops_the_rest() {
    let configured = plugin("filter").configure("{}", "filter", "logins", &Default::default());
    let Ok(Guest::Rule(mut filter)) = configured else { panic!("no rule") };
    let plan = filter.plan().clone();
    let [read] = &plan.reads[..] else { panic!("{plan:?}") };
    assert_eq!(read.source, Source::Field("/device_type".into()));
    assert!(plan.writes.is_empty());

    let values = ["iOS", "android", "Android"].map(Value::Text);
    let devices = Column::new(&[&values[..], &[Value::Absent]].concat(), vec![0, 1, 2, 3, 1, 0]);
    for form in [Form::Values, Form::Packed] {
        let verdict = filter
            .evaluate(RuleBatch { events: 6, now: 0, columns: &[(&devices, form)] })
            .expect("an answer");
        assert!(verdict.changes.is_empty());
        let fates = verdict.fates.expect("some are dropped");
        let fate = |event: usize| match &fates.index {
            Index::Constant => &fates.entries[0],
            Index::Identity => &fates.entries[event],
            Index::AsColumn(_) => &fates.entries[devices.index()[event] as usize],
            Index::Each(index) => &fates.entries[index[event] as usize],
        };
        let kept: Vec<_> = (0..6).map(|event| fate(event) == &Fate::Keep).collect();
        assert_eq!(kept, [false, true, true, false, true, false]);
    }
}

#[test]
fn a_refusal_of_the_filter_reaches_the_person_who_wrote_the_settings() {
    let refused =
        plugin("filter").configure(r#"{"kep":"any"}"#, "filter", "logins", &Default::default());
    let Err(ConfigureError::Refused(text)) = refused else { panic!("not refused") };
    assert!(text.contains("kep"), "{text}");
}
