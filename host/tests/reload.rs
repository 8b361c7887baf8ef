//! What becomes of each change of the plugins folder, as far as it needs no broker and no worker.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod plugin_support;

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use host::config::Overrides;
use host::pipeline::Loader;
use host::plugin::defaults::DEFAULTS;
use host::reload::history::{self, Owner, Store};
use host::reload::{Builder, Kind, Outcome, Reload, Running, Status, first_trial};
use host::worker::Offers;
use plugin_support::{ANSWER, WIT, component, component_of, rule_core, rule_core_of, trapping};
use tempfile::TempDir;

/// Longer than any reload takes on a busy machine.
const SOON: Duration = Duration::from_secs(60);

const TOML: &str = "[source]\ntopic = \"in\"\n[reload]\nsettle = \"50ms\"\n\
    [[stage]]\nplugin = \"filter\"\n[[stage]]\nplugin = \"own\"\n";

/// Records that every generation must cope with.
const EXAMPLES: &str = "{\"device_type\": \"android\"}\n\n{\"device_type\": \"iOS\"}\n";

/// A folder that is watched, and nobody who takes what is offered.
struct Watched {
    folder: TempDir,
    state: TempDir,
    reload: Reload,
}

impl Watched {
    fn new() -> Self {
        let (folder, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(folder.path().join("pipeline.toml"), TOML).unwrap();
        let (name, filter) = DEFAULTS[0];
        fs::write(folder.path().join(format!("{name}.wasm")), filter).unwrap();
        fs::write(folder.path().join("own.wasm"), rule("")).unwrap();
        fs::write(folder.path().join("examples.jsonl"), EXAMPLES).unwrap();
        let builder = Builder {
            loader: Loader::new(folder.path(), None).unwrap(),
            folder: folder.path().to_owned(),
            overrides: Overrides::default(),
            check: |_, _| None,
            prove_with: Some(folder.path().join("examples.jsonl")),
        };
        let generation = builder.load().unwrap();
        let trial = first_trial(&generation, 1);
        let offers = Offers::new(trial.clone(), vec![generation.chain().unwrap()], Vec::new());
        let workers = vec![Arc::default()];
        let offers = Arc::new(offers);
        let history = Some(Owner { state_dir: state.path().to_owned(), instance: "a".into() });
        let shadows = Vec::new();
        let running = Running { generation, offers, trial, workers, shadows, history };
        Self { reload: Reload::start(builder, running).unwrap(), folder, state }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.path(name), bytes).unwrap();
    }

    fn status(&self) -> Status {
        self.reload.handle().status()
    }

    #[track_caller]
    fn wait(&self, is_so: impl Fn(&Status) -> bool) -> Status {
        let end = Instant::now() + SOON;
        loop {
            let status = self.status();
            if is_so(&status) {
                return status;
            }
            assert!(Instant::now() < end, "{status:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn ask(&self) -> Outcome {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(self.reload.handle().reload()).unwrap()
    }

    /// After this change the rules stay as they are, and one line says why.
    #[track_caller]
    fn refuses(&self, kind: Kind, reason: &str, change: impl FnOnce()) {
        let before = self.status();
        change();
        let status = self.wait(|status| status.counts.refused > before.counts.refused);
        let last = status.last_reload.unwrap();
        assert_eq!((last.outcome, last.generation), (kind, before.generation), "{last:?}");
        assert_eq!(last.taken, None, "{last:?}");
        assert!(last.message.contains(reason), "no {reason:?} in {:?}", last.message);
        assert!(!last.message.contains('\n'), "{:?}", last.message);
        let asked = self.ask();
        assert_eq!((asked.outcome, asked.message), (kind, last.message));
    }
}

/// A rule that keeps all, with something that makes its file another.
fn rule(rest: &str) -> Vec<u8> {
    component("rule", &rule_core(ANSWER, ANSWER, "", rest))
}

#[test]
fn what_is_wrong_leaves_the_running_rules_and_is_said_in_one_line() {
    let watched = Watched::new();
    let own = |bytes: &[u8]| watched.write("own.wasm", bytes);
    let toml = |text: &str| watched.write("pipeline.toml", text);
    let invalid = |reason: &str, change: &dyn Fn()| watched.refuses(Kind::Invalid, reason, change);
    let good = rule("");
    invalid("half-written", &|| own(&good[..good.len() / 2]));
    invalid("not a WebAssembly file", &|| own(b"<html>"));
    invalid("a core module", &|| own(&wat::parse_str("(module)").unwrap()));
    invalid("another world", &|| own(&wat::parse_str("(component)").unwrap()));
    let net = "package acme:net@1.0.0; interface socket { open: func(); }";
    let world = "package acme:rule; world wild { import acme:net/socket@1.0.0; \
                 export pipeline:plugin/rules@0.1.0; }";
    let import = r#"(import "acme:net/socket@1.0.0" "open" (func))"#;
    let core = rule_core(ANSWER, ANSWER, import, "");
    let imports = "imports acme:net/socket@1.0.0, which no plugin gets";
    invalid(imports, &|| own(&component_of(&[WIT, net, world], "wild", &core)));
    let (wit, core) =
        (WIT.replace("@0.1.0;", "@0.2.0;"), rule_core_of("0.2.0", ANSWER, ANSWER, "", ""));
    invalid("this host speaks version 0.1.0", &|| own(&component_of(&[&wit], "rule", &core)));
    let trap = component("rule", &rule_core("unreachable", ANSWER, "", ""));
    invalid("configure failed: trap", &|| own(&trap));
    invalid("No such file", &|| fs::remove_file(watched.path("own.wasm")).unwrap());
    own(&good);
    invalid("[sink] topik: unknown key", &|| toml(&format!("{TOML}[sink]\ntopik = \"a\"\n")));
    let settings = "plugin = \"filter\"\nsettings = { kep = 1 }";
    invalid("settings.kep: unknown key", &|| {
        toml(&TOML.replacen("plugin = \"filter\"", settings, 1))
    });
    invalid("not TOML", &|| toml("[source"));
    let small = format!("{TOML}[limits]\nwasm-file = \"1KiB\"\n");
    invalid("larger than the 1024 bytes", &|| toml(&small));
    invalid("cannot be read", &|| fs::remove_file(watched.path("pipeline.toml")).unwrap());
    let restart = format!("{TOML}[delivery]\ncommit-interval = \"1s\"\n");
    let keys = "a change of [delivery] commit-interval needs a restart";
    watched.refuses(Kind::Refused, keys, || toml(&restart));
    assert_eq!(watched.status().counts.offered, 0);

    toml(&format!("# as it was\n{TOML}"));
    let status = watched.wait(|status| status.counts.unchanged > 0);
    assert_eq!((status.generation, status.counts.offered), (1, 0));
}

#[test]
fn records_of_ones_own_are_tried_each_time() {
    let watched = Watched::new();
    // Before the filter drops them.
    let (head, _) = TOML.split_once("[[stage]]").unwrap();
    let traps = |reason: &str, more: &str| {
        watched.refuses(Kind::Invalid, reason, || {
            watched.write("own.wasm", trapping());
            watched.write("pipeline.toml", format!("{head}[[stage]]\nplugin = \"own\"\n{more}"));
        });
    };
    let line = "examples.jsonl:3:1: stage \"own\" failed on 1 of 2 records";
    traps(
        &format!("tried on records of one's own: {}/{line}", watched.folder.path().display()),
        "",
    );
    traps(line, "on-error = \"skip\"\n");
    traps("examples.jsonl:3:1: stage \"own\" failed: ", "on-error = \"stop\"\n");
    // The file is read anew.
    watched.write("examples.jsonl", "{\"device_type\": \"android\"}\n");
    watched.write("pipeline.toml", format!("{head}[[stage]]\nplugin = \"own\"\n"));
    watched.wait(|status| status.generation == 2);
    watched.write("examples.jsonl", "no JSON\n");
    watched.write("pipeline.toml", TOML);
    let asked = watched.ask();
    assert_eq!(asked.outcome, Kind::Invalid, "{}", asked.message);
    assert!(asked.message.contains("none of the records is a JSON object"), "{}", asked.message);
}

#[test]
fn ten_saves_are_one_reload_and_a_touch_is_none() {
    let watched = Watched::new();
    let before = watched.status();
    for number in 0..10 {
        watched.write("own.wasm", rule(&format!("(data (i32.const 4096) \"{number}\")")));
        std::thread::sleep(Duration::from_millis(10));
    }
    let status = watched.wait(|status| status.generation > 1);
    assert_eq!((status.generation, status.counts.offered), (2, 1));
    assert_ne!(status.hash, before.hash);
    assert_ne!(status.stages[1].hash, before.stages[1].hash);
    assert_eq!(status.stages[0], before.stages[0]);
    let message = status.last_reload.unwrap().message;
    assert!(message.starts_with("own: plugin "), "{message}");

    // The same bytes again, and a file that no stage names.
    let bytes = fs::read(watched.path("own.wasm")).unwrap();
    watched.write("own.wasm", bytes);
    watched.write("unused.wasm", "no plugin");
    let with_two = TOML.replace("[[stage]]\nplugin = \"own\"\n", "");
    // That nothing comes of it is no event: several times what the folder needs to settle.
    std::thread::sleep(Duration::from_millis(300));
    watched.write("pipeline.toml", with_two);
    let status = watched.wait(|status| status.generation > 2);
    let counts = status.counts;
    assert_eq!((counts.offered, counts.unchanged, counts.refused), (2, 0, 0));
    assert_eq!(status.last_reload.unwrap().message, "own removed");
}

#[test]
fn what_changes_is_said_in_one_line() {
    let watched = Watched::new();
    let (filter, own) = ("[[stage]]\nplugin = \"filter\"\n", "[[stage]]\nplugin = \"own\"\n");
    let second = "[[stage]]\nplugin = \"own\"\nname = \"second\"\n";
    let head = TOML.split("[[stage]]").next().unwrap();
    let check = |stages: &[&str], expected: &str| {
        let before = watched.status().generation;
        watched.write("pipeline.toml", format!("{head}{}", stages.concat()));
        let status = watched.wait(|status| status.generation > before);
        assert_eq!(status.last_reload.unwrap().message, expected);
    };
    check(&[own, filter], "order: own, filter");
    let skip = format!("{own}on-error = \"skip\"\n");
    check(&[&skip, filter], "own: on-error");
    let any = format!("{filter}settings = {{ keep = \"any\" }}\n");
    check(&[own, &any], "own: on-error; filter: settings");
    check(&[&any, own, "limits = { call = \"1s\" }\n"], "own: limits; order: filter, own");
    let hash = watched.status().stages[1].hash.clone();
    let expected = format!("own: limits; second added ({hash}); filter removed");
    check(&[own, second], &expected);
    let shares = "[dead-letters]\nreject-share-max = 0.1\n";
    check(&[own, second, shares], "limits");
}

#[test]
fn what_was_offered_is_kept_and_what_was_refused_is_not() {
    let watched = Watched::new();
    watched.write("own.wasm", rule("(data (i32.const 4096) \"x\")"));
    watched.wait(|status| status.generation == 2);
    watched.write("own.wasm", "no plugin");
    watched.wait(|status| status.counts.refused > 0);
    // The comment is no other rule, and so no other generation.
    watched.write("own.wasm", rule("(data (i32.const 4096) \"x\")"));
    watched.write("pipeline.toml", format!("# a comment\n{TOML}"));
    watched.wait(|status| status.counts.unchanged > 0);
    let store = Store::new(watched.state.path());
    let records = store.records(&history::folder_name(watched.folder.path())).unwrap();
    let found: Vec<_> = records.iter().map(|record| (record.number, record.outcome)).collect();
    assert_eq!(found, [(2, history::Outcome::Offered), (1, history::Outcome::Started)]);
    assert!(records[0].changes.starts_with("own: plugin "), "{}", records[0].changes);
    assert_eq!(history::running(&records, |process| store.is_running(process)), [2]);
    let files = store.files(&records[0]).unwrap();
    assert_eq!(files.keys().collect::<Vec<_>>(), ["filter.wasm", "own.wasm", "pipeline.toml"]);
    assert_eq!(files["pipeline.toml"], TOML.as_bytes());
}
