//! `host plugin inspect` and `host plugin list` as a user calls them.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod plugin_support;
mod support;

use std::fs;
use std::path::Path;

use host::plugin::ContentHash;
use host::plugin::defaults::{DEFAULTS, PIPELINE_TOML};
use plugin_support::{ANSWER, PLAN, component, rule_core};
use serde_json::{Value, json};
use support::process::{assert_holds, run_in};
use tempfile::TempDir;

/// The default plugins and pipeline.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, component) in DEFAULTS {
        fs::write(folder.path().join(format!("{name}.wasm")), component).unwrap();
    }
    fs::write(folder.path().join("pipeline.toml"), PIPELINE_TOML).unwrap();
    folder
}

/// A component that wants files.
fn greedy() -> Vec<u8> {
    let text = r#"(component
        (import "wasi:filesystem/types@0.2.0" (instance))
        (import "acme:disk/files@1.0.0" (instance)))"#;
    wat::parse_str(text).unwrap()
}

#[track_caller]
fn plugin(folder: &Path, args: &[&str], code: i32) -> (String, String) {
    run_in(folder, &[&["plugin"][..], args].concat(), code)
}

#[test]
fn a_plugin_is_told_under_the_settings_of_its_stage_or_those_given() {
    let folder = folder();
    let path = folder.path();
    let (text, _) = plugin(path, &["inspect", "filter", "--plugins", "."], 0);
    assert_holds(&text, &["rule, WIT 0.1.0", "Rust", "stage filter", "/device_type", "nothing"]);
    assert_holds(
        &text,
        &["imports", "granted", "not in the cache yet", "a first one of 1000 records"],
    );

    let settings = r#"{"conditions": [{"field": "/locale", "equals": "DE"}]}"#;
    let args = ["inspect", "./filter.wasm", "--plugins", ".", "--settings", settings, "--json"];
    let (text, _) = plugin(path, &args, 0);
    let told: Value = serde_json::from_str(&text).unwrap();
    let (_, component) = DEFAULTS.iter().find(|(name, _)| *name == "filter").unwrap();
    assert_eq!(told["hash"], ContentHash::of(component).short(), "{told}");
    assert_eq!(told["bytes"], component.len(), "{told}");
    assert_eq!((&told["world"], &told["wit"]), (&json!("rule"), &json!("0.1.0")), "{told}");
    assert_eq!(told["uses"].as_array().unwrap().len(), 1, "{told}");
    assert!(told["uses"][0]["reads"][0].as_str().unwrap().starts_with("/locale"), "{told}");
    assert!(told["uses"][0]["batch_bytes"].as_u64().unwrap() > 0, "{told}");
    assert!(told["compile_ms"].as_f64().unwrap() > 0.0, "{told}");
    assert_eq!(told["language"], "Rust", "{told}");
    let producers = told["producers"].as_array().unwrap();
    assert!(producers.iter().any(|producer| producer["name"] == "wit-component"), "{told}");
    let left = fs::read_dir(path).unwrap().count();
    assert_eq!(left, DEFAULTS.len() + 1, "an inspection leaves something behind");
}

#[test]
fn a_compiled_plugin_is_found_in_the_state_folder() {
    let folder = folder();
    let state = folder.path().join(".host");
    let engine = host::plugin::Engine::new(Some(&state.join("compiled"))).unwrap();
    engine.load(&folder.path().join("anomaly.wasm"), host::plugin::LoadLimits::default()).unwrap();
    let (text, _) = plugin(folder.path(), &["inspect", "anomaly", "--plugins", "."], 0);
    assert_holds(&text, &["from the cache", "/anomaly_reasons"]);
}

#[test]
fn what_is_wrong_with_a_plugin_is_told_with_what_it_imports() {
    let folder = folder();
    let path = folder.path();
    fs::write(path.join("greedy.wasm"), greedy()).unwrap();
    let (text, error) = plugin(path, &["inspect", "greedy", "--plugins", "."], 2);
    assert_holds(
        &text,
        &[
            "acme:disk/files@1.0.0, NOT granted",
            "wasi:filesystem/types@0.2.0, granted, without any file",
        ],
    );
    assert_holds(&error, &["greedy.wasm: a component of another world"]);
    let (_, error) = plugin(path, &["inspect", "nope", "--plugins", "."], 2);
    assert_holds(&error, &["there is neither nope nor ./nope.wasm"]);
    let args = ["inspect", "filter", "--plugins", ".", "--settings", r#"{"kep": 1}"#];
    let (text, error) = plugin(path, &args, 2);
    assert_holds(&text, &["refused", "/kep: unknown key: did you mean `keep`?"]);
    assert_holds(&error, &["/kep: unknown key"]);
}

#[test]
fn a_plan_that_names_a_bad_pointer_is_told_by_every_command() {
    let folder = folder();
    let path = folder.path();
    let core = rule_core(PLAN, ANSWER, "", r#"(data (i32.const 256) "/device_type-note")"#);
    fs::write(path.join("own.wasm"), component("rule", &core)).unwrap();
    let told = ["its plan is wrong: write 0, \"-note\": a JSON Pointer begins with \"/\""];
    for command in ["inspect", "bench"] {
        let (_, error) = plugin(path, &[command, "own", "--plugins", "."], 2);
        assert_holds(&error, &told);
    }
    let (text, _) = plugin(path, &["list", "--plugins", "."], 0);
    assert!(text.lines().any(|line| line.starts_with("own")), "{text}");
    let toml = path.join("pipeline.toml");
    let text = fs::read_to_string(&toml).unwrap();
    fs::write(&toml, text.replacen("[[stage]]", "[[stage]]\nplugin = \"own\"\n[[stage]]", 1))
        .unwrap();
    let (text, _) = plugin(path, &["list", "--plugins", "."], 2);
    assert_holds(&text, &told);
    let (_, error) = run_in(path, &["check", "--plugins", "."], 2);
    assert_holds(&error, &["pipeline.toml:", "mend the plugin", told[0]]);
}

#[test]
fn a_list_has_a_row_each_also_for_what_is_broken_or_missing() {
    let folder = folder();
    let path = folder.path();
    let (text, _) = plugin(path, &["list", "--plugins", "."], 0);
    assert_eq!(text.lines().count(), 1 + DEFAULTS.len(), "{text}");
    assert_holds(&text, &["PLUGIN", "filter", "rule", "0.1.0", "Rust", "writes /device_category"]);

    fs::write(path.join("broken.wasm"), "not wasm").unwrap();
    fs::remove_file(path.join("anomaly.wasm")).unwrap();
    let with = |stages: &str| {
        fs::write(path.join("pipeline.toml"), format!("[source]\ntopic = \"in\"\n{stages}"))
            .unwrap();
    };
    with(
        "[[stage]]\nplugin = \"filter\"\nname = \"phones\"\n[stage.shadow]\nplugin = \"timestamps\"\n\
         [[stage]]\nplugin = \"nowhere\"\n[[stage]]\nplugin = \"anomaly\"\n",
    );
    let (text, error) = plugin(path, &["list", "--plugins", "."], 2);
    let row = |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap();
    assert_holds(row("broken"), &["not a WebAssembly file"]);
    assert_holds(row("nowhere"), &["reading the file"]);
    assert_holds(row("anomaly"), &["(not laid down yet)"]);
    assert_holds(row("filter"), &["phones"]);
    assert_holds(row("timestamps"), &["phones (shadow)"]);
    assert_holds(&error, &["2 of 6 plugins cannot be used"]);
    let (text, _) = plugin(path, &["list", "--plugins", ".", "--json"], 2);
    let told: Value = serde_json::from_str(&text).unwrap();
    let find = |name: &str| {
        told.as_array().unwrap().iter().find(|one| one["plugin"] == name).unwrap().clone()
    };
    assert_eq!(find("timestamps")["uses"][0]["shadow"], true, "{told}");
    assert!(find("broken")["problem"].as_str().unwrap().contains("not a WebAssembly"), "{told}");
    let (_, error) = plugin(path, &["list", "--plugins", "gone"], 2);
    assert_holds(&error, &["gone", "--plugins"]);
}
