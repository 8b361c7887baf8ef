//! Test cases of plugins: those of the default ones, and the command that runs them.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod support;

use std::fs;
use std::path::Path;

use host::authoring::Project;
use host::offline::{Case, Subject};
use host::plugin::World;
use host::plugin::defaults::DEFAULTS;
use serde_json::Value;
use support::process::{assert_holds, run_in};
use tempfile::TempDir;

#[test]
fn every_case_of_the_default_plugins_passes() {
    for (name, _) in DEFAULTS {
        let subject = Subject::load(name, None, None).unwrap();
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins").join(name);
        let project = Project::open(&folder).unwrap();
        assert_eq!((project.name.as_str(), project.world), (*name, World::Rule));
        let mut count = 0;
        for entry in fs::read_dir(folder.join("cases")).unwrap() {
            let case = Case::read(&entry.unwrap().path()).unwrap();
            let failures = subject.test(&case).unwrap().failures;
            assert!(failures.is_empty(), "{}: {failures:#?}", case.path.display());
            count += 1;
        }
        assert!(count > 3, "{name} has {count} cases");
    }
}

const CASE: &str = r#"# Phones only.
[settings]
conditions = [{ field = "/kind", equals = "phone" }]

[[event]]
in = '{"kind":"phone"}'
kept = true

[[event]]
in = '{"kind":"tablet"}' # no phone
kept = true

[[event]]
in = 'not JSON'

[[refused]]
says = "/kep: unknown"
[refused.settings]
kep = "all"
"#;

/// A plugin's source with one case.
fn folder(name: &str, case: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let cases = folder.path().join(name).join("cases");
    fs::create_dir_all(&cases).unwrap();
    fs::write(cases.join("phones.toml"), case).unwrap();
    folder
}

#[track_caller]
fn test(folder: &Path, args: &[&str], code: i32) -> (String, String) {
    run_in(folder, &[&["plugin", "test"][..], args].concat(), code)
}

#[test]
fn what_comes_out_otherwise_is_shown_and_can_be_accepted() {
    let folder = folder("filter", CASE);
    let path = folder.path();
    let (text, error) = test(path, &["filter"], 1);
    assert_holds(
        &text,
        &[
            "filter/cases/phones.toml:10 {\"kind\":\"tablet\"}\n- {\"kind\":\"tablet\"}\n+ dropped\n",
            "phones.toml:14 not JSON\n- nothing is said\n+ dead letter (invalid-json): invalid JSON",
            "- refused: /kep: unknown\n+ refused: /kep: unknown key: did you mean `keep`?\n",
            "filter (built in): 0 of 1 cases pass",
        ],
    );
    assert_holds(&error, &["1 of 1 cases failed"]);
    let (text, _) = test(path, &[".", "--json"], 1);
    let told: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(told[0]["cases"][0]["failures"].as_array().unwrap().len(), 3, "{told}");

    let case = path.join("filter/cases/phones.toml");
    let (text, _) = test(&path.join("filter"), &["cases/phones.toml", "--bless"], 0);
    assert_holds(&text, &["cases/phones.toml: 3 accepted", "1 of 1 cases pass"]);
    let blessed = fs::read_to_string(&case).unwrap();
    assert_holds(
        &blessed,
        &[
            "# Phones only.\n",
            "in = '{\"kind\":\"tablet\"}' # no phone\ndropped = true\n",
            "in = 'not JSON'\ndead-letter = \"invalid-json: ",
            "says = \"/kep: unknown key: did you mean `keep`?\"\n",
        ],
    );
    let (text, _) = test(&path.join("filter"), &[], 0);
    assert_holds(&text, &["1 of 1 cases pass"]);
    assert_eq!(fs::read_to_string(&case).unwrap(), blessed, "a case that passes stays as it is");
}

#[test]
fn fields_that_differ_are_shown_one_by_one() {
    let folder = folder(
        "mine",
        "[[event]]\nin = '{\"device_type\":\"ipad\"}'\n\
         out = '{\"device_type\":\"ipad\",\"device_category\":\"Mobile\"}'\n",
    );
    let path = folder.path();
    let (_, component) = DEFAULTS.iter().find(|(name, _)| *name == "categorize").unwrap();
    let (_, error) = test(path, &["mine"], 2);
    assert_holds(&error, &["there is no component of mine: build it"]);
    fs::write(path.join("mine/mine.wasm"), component).unwrap();
    for args in [&["mine"][..], &["mine/mine.wasm"], &["mine", "--plugin", "mine/mine.wasm"]] {
        let (text, _) = test(path, args, 1);
        assert_holds(
            &text,
            &["- /device_category \"Mobile\"\n+ /device_category \"Tablet\"\n", "mine.wasm)"],
        );
    }
}

#[test]
fn the_others_of_a_folder_are_tested_where_one_is_not_built() {
    let folder = folder("filter", "[[event]]\nin = '{\"device_type\":\"ipad\"}'\ndropped = true\n");
    let cases = folder.path().join("mine/cases");
    fs::create_dir_all(&cases).unwrap();
    fs::copy(folder.path().join("filter/cases/phones.toml"), cases.join("phones.toml")).unwrap();
    let (text, error) = test(folder.path(), &[], 2);
    assert_holds(&text, &["filter (built in): 1 of 1 cases pass"]);
    assert_holds(&error, &["there is no component of ./mine: build it"]);
}

#[test]
fn the_component_beside_the_folder_is_found_from_within() {
    let folder = folder("mine", "[[event]]\nin = '{\"device_type\":\"ipad\"}'\nkept = true\n");
    let (_, component) = DEFAULTS.iter().find(|(name, _)| *name == "filter").unwrap();
    fs::write(folder.path().join("mine.wasm"), component).unwrap();
    let (text, _) = test(&folder.path().join("mine"), &[], 1);
    assert_holds(&text, &["mine.wasm): 0 of 1 cases pass", "+ dropped"]);
}

#[test]
fn what_is_no_case_is_code_2() {
    let folder = folder("filter", "[[event]]\nin = '{}'\nkpet = true\n");
    let (_, error) = test(folder.path(), &["filter"], 2);
    assert_holds(&error, &["filter/cases/phones.toml: ", "unknown field `kpet`"]);
    let empty = tempfile::tempdir().unwrap();
    let (_, error) = test(empty.path(), &[], 2);
    assert_holds(&error, &["there is no case below ."]);
    let (_, error) = test(empty.path(), &["gone"], 2);
    assert_holds(&error, &["gone is no folder, case or component"]);
}
