//! What an author of a plugin meets: mistakes are told in one sentence, a save becomes a generation
//! of the running rules, and calls can be measured.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod plugin_support;
mod support;

use std::fs;
use std::path::Path;
use std::time::Duration;

use plugin_support::{ANSWER, component, rule_core};
use serde_json::Value;
use support::SOON;
use support::process::{Process, assert_holds, run_in};
use tempfile::TempDir;

/// Compiling the SDK and what it needs, beside other tests.
const BUILD_MAX: Duration = Duration::from_secs(240);

fn new(folder: &Path, name: &str) {
    run_in(folder, &["plugin", "new", name, "--lang", "rust"], 0);
}

#[test]
fn nothing_is_overwritten_and_every_mistake_is_one_sentence() {
    let folder = TempDir::new().unwrap();
    let path = folder.path();
    new(path, "mine");
    let source = path.join("plugins/mine/src/lib.rs");
    fs::write(&source, "fn broken( {").unwrap();
    let refused = |args: &[&str], code, parts: &[&str]| {
        let (stdout, stderr) = run_in(path, args, code);
        assert_eq!(stdout, "");
        assert_holds(&stderr, parts);
    };
    let there = ["plugins/mine is there already: nothing was written"];
    refused(&["plugin", "new", "mine", "--lang", "c"], 2, &there);
    assert_eq!(fs::read_to_string(&source).unwrap(), "fn broken( {");
    refused(&["plugin", "new", "Mine", "--lang", "c"], 2, &["cannot be a plugin's name"]);
    let languages = "one of rust, go, javascript, python, c";
    refused(&["plugin", "new", "other"], 2, &["no language: give --lang", languages]);
    assert!(!path.join("plugins/other").exists());
    // As the compiler wrote it; what was there before would stay.
    let said = ["src/lib.rs:1", "nothing was built: `cargo build", "failed, as it says above"];
    refused(&["plugin", "build", "plugins/mine"], 1, &said);
    assert!(!path.join("plugins/mine.wasm").exists());
    fs::write(path.join("plugins/theirs.wasm"), "").unwrap();
    let there =
        ["plugins/theirs.wasm is there already, and building the new plugin would replace it"];
    refused(&["plugin", "new", "theirs", "--lang", "c"], 2, &there);
    fs::remove_file(path.join("plugins/mine/plugin.toml")).unwrap();
    refused(&["plugin", "build", "plugins/mine"], 2, &["there is no", "`host plugin new` begins"]);
    // Nobody may write below a file, not even root.
    fs::write(path.join("file"), "").unwrap();
    let below = ["--plugins", "file/plugins"];
    refused(&[&["plugin", "new", "own", "--lang", "c"][..], &below].concat(), 3, &["writing file"]);
    refused(&["plugin", "build", "file"], 2, &["there is no folder file"]);
    let nowhere = ["there is no folder nowhere"];
    refused(&["plugin", "build", "nowhere"], 2, &nowhere);
    refused(&["plugin", "build", "nowhere", "--watch"], 2, &nowhere);
    refused(&["plugin", "test", "nowhere"], 2, &["nowhere is no folder, case or component"]);
}

#[test]
fn within_a_pipelines_folder_that_is_the_one_that_is_meant() {
    let folder = TempDir::new().unwrap();
    run_in(folder.path(), &["init", "own", "--topic", "orders"], 0);
    let own = folder.path().join("own");
    let (stdout, _) = run_in(&own, &["check"], 0);
    assert_holds(&stdout, &["source        orders\n"]);
    let (stdout, _) = run_in(&own, &["plugin", "new", "mine", "--lang", "c"], 0);
    assert_holds(&stdout, &["./mine/rule.c is the place to write"]);
    let (_, stderr) = run_in(&own, &["plugin", "new", "filter", "--lang", "c"], 2);
    assert_holds(&stderr, &["./filter.wasm is there already"]);
    let (_, stderr) = run_in(folder.path(), &["try", "--plugins", "owm"], 2);
    assert_holds(&stderr, &["--plugins owm: there is no such folder"]);
    fs::write(folder.path().join("afile"), "").unwrap();
    let (_, stderr) = run_in(folder.path(), &["init", "afile"], 2);
    assert_holds(&stderr, &["afile is a file: give a folder"]);
}

#[test]
fn a_missing_tool_is_named_with_what_gets_it() {
    let folder = TempDir::new().unwrap();
    for (language, tool, get) in [
        ("rust", "cargo", "run `curl -sSf https://sh.rustup.rs | sh -s -- --target wasm32"),
        ("go", "go", "run `curl -sSfL https://go.dev/dl/go1."),
        ("javascript", "node", "run `curl -sSfL https://nodejs.org/dist/v"),
        ("python", "python3", "run `curl -LsSf https://astral.sh/uv/install.sh | sh &&"),
        ("c", "a C compiler", "run `python3 -m pip install ziglang`"),
    ] {
        run_in(folder.path(), &["plugin", "new", language, "--lang", language], 0);
        let mut command = Process::command();
        command.current_dir(folder.path()).env("PATH", "/nowhere").env_remove("WASI_SDK_PATH");
        let output = command.args(["plugin", "build"]).arg(format!("plugins/{language}"));
        let output = output.output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(3), "{stderr}");
        assert_holds(&stderr, &["is missing, which plugins in", tool, get]);
        assert_eq!(stderr.trim_end().lines().count(), 1, "{stderr}");
    }
}

#[test]
fn another_language_is_built_with_a_command_of_its_own() {
    let folder = TempDir::new().unwrap();
    let path = folder.path();
    let dir = path.join("plugins/mine");
    fs::create_dir_all(&dir).unwrap();
    let core = rule_core(ANSWER, ANSWER, "", "");
    fs::write(dir.join("module"), wat::parse_str(&core).unwrap()).unwrap();
    fs::write(dir.join("component"), component("rule", &core)).unwrap();
    fs::write(dir.join("text"), "no module").unwrap();
    let build = |program: &str, from: &str, code| {
        let command = format!("command = [\"{program}\", \"{from}\", \".build/made\"]");
        let text = format!("language = \"COBOL\"\nworld = \"rule\"\n{command}\n");
        fs::write(dir.join("plugin.toml"), text + "module = \".build/made\"\n").unwrap();
        run_in(path, &["plugin", "build", "plugins/mine"], code)
    };
    for from in ["module", "component"] {
        let (stdout, _) = build("cp", from, 0);
        assert_holds(&stdout, &["plugins/mine.wasm", "a rule in COBOL: built in"]);
        let (stdout, _) = run_in(path, &["plugin", "list"], 0);
        let row = stdout.lines().find(|line| line.starts_with("mine")).unwrap();
        assert_holds(row, &["rule", "COBOL"]);
    }
    // By its source's folder as well.
    let (stdout, _) = run_in(path, &["plugin", "inspect", "plugins/mine"], 0);
    assert_holds(&stdout, &["plugins/mine.wasm"]);
    let (stdout, _) = run_in(&dir, &["plugin", "inspect", ".", "--json"], 0);
    assert_holds(&stdout, &["\"plugin\":\"mine\""]);
    let before = fs::read(path.join("plugins/mine.wasm")).unwrap();
    let traps = rule_core("unreachable", ANSWER, "", "");
    fs::write(dir.join("traps"), wat::parse_str(&traps).unwrap()).unwrap();
    let (_, stderr) = build("cp", "traps", 1);
    assert_holds(&stderr, &["nothing was put into the folder: it does not start: "]);
    assert_eq!(fs::read(path.join("plugins/mine.wasm")).unwrap(), before);
    let (_, stderr) = build("cp", "text", 1);
    assert_holds(&stderr, &["nothing was built: making a component: "]);
    let (_, stderr) = build("cp", "nothing", 1);
    assert_holds(&stderr, &["nothing was built: `cp nothing .build/made` failed"]);
    let (_, stderr) = build("cobol-compiler", "module", 3);
    let missing = "cobol-compiler is missing, which `command` in plugin.toml names";
    assert_holds(&stderr, &[missing]);
}

#[test]
fn a_missing_tool_is_got_with_the_package_manager_that_is_there() {
    let folder = TempDir::new().unwrap();
    let path = folder.path();
    run_in(path, &["plugin", "new", "mine", "--lang", "javascript"], 0);
    fs::write(path.join("apk"), "").unwrap();
    let mut command = Process::command();
    command.current_dir(path).env("PATH", path).args(["plugin", "build", "plugins/mine"]);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_holds(&stderr, &["node is missing, which plugins in JavaScript are built with: run `"]);
    assert_holds(&stderr, &["apk add nodejs npm`"]);
}

#[test]
fn a_save_becomes_a_generation_of_the_running_rules_and_a_mistake_does_not() {
    let folder = TempDir::new().unwrap();
    let path = folder.path();
    run_in(path, &["init"], 0);
    new(path, "mine");
    run_in(path, &["plugin", "build", "plugins/mine"], 0);
    let toml = path.join("plugins/pipeline.toml");
    let text = fs::read_to_string(&toml).unwrap();
    let stage = "[[stage]]\nplugin = \"mine\"\n\n[[stage]]";
    fs::write(&toml, text.replacen("[[stage]]", stage, 1)).unwrap();
    let mut run = Process::command();
    run.current_dir(path).args(["run", "--admin", "127.0.0.1:0"]);
    let mut host = Process::start(&mut run, &path.join("host.log"));
    host.await_log("admin=", SOON);

    let mut build = Process::command();
    build.current_dir(path).args(["plugin", "build", "plugins/mine", "--watch"]);
    build.args(["--admin", &host.admin()]);
    let said = path.join("build.out");
    let mut build = Process::start_with_output(&mut build, &path.join("build.log"), &said);
    let await_said = |build: &mut Process, text: &str| {
        let has = |_: &str| fs::read_to_string(&said).unwrap().contains(text);
        build.await_in_log(text, has, BUILD_MAX);
    };
    await_said(&mut build, "generation 1 runs it in stage mine");
    let source = path.join("plugins/mine/src/lib.rs");
    let text = fs::read_to_string(&source).unwrap();
    fs::write(&source, text.replace(".to_ascii_uppercase()", ".to_ascii_lowercase()")).unwrap();
    await_said(&mut build, "generation 2 runs it in stage mine");
    fs::write(&source, "fn broken( {").unwrap();
    build.await_log("nothing was built", BUILD_MAX);
    fs::write(&source, text).unwrap();
    await_said(&mut build, "generation 3 runs it in stage mine");
    build.terminate();
    host.terminate();
}

#[test]
fn calls_are_measured_beside_a_plugin_that_does_nothing() {
    let folder = TempDir::new().unwrap();
    let args = ["plugin", "bench", "categorize", "--events", "20000", "--json"];
    let (stdout, _) = run_in(folder.path(), &args, 0);
    let measured: Value = serde_json::from_str(&stdout).unwrap();
    let rows = measured["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 8);
    for row in rows {
        assert!(row["ns"].as_f64().unwrap() > 0.0, "{row}");
        assert!(row["boundary_ns"].as_f64().unwrap() > 0.0, "{row}");
    }
    // The more events there are in a call, the less one of them costs.
    assert!(rows[0]["ns"].as_f64() > rows[3]["ns"].as_f64(), "{stdout}");
    assert_eq!(
        (&measured["memory"]["grows"], &measured["memory"]["events"]),
        (&false.into(), &20_000.into())
    );
    let (stdout, _) = run_in(folder.path(), &["plugin", "bench", "filter", "--events", "1000"], 0);
    assert_holds(&stdout, &["filter, a rule of", "the boundary alone", "distinct   1000"]);
    let (_, stderr) = run_in(folder.path(), &["plugin", "bench", "none"], 2);
    assert_holds(&stderr, &["there is neither none nor plugins/none.wasm"]);
}
