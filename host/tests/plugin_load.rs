//! What is loaded, and what a user reads about what is not.

mod plugin_support;

use std::path::Path;

use host::plugin::{ContentHash, Engine, Import, LoadError, LoadLimits, Plugin, Problem, World};
use plugin_support::{
    ANSWER, WIT, component, component_of, rule_core, rule_core_of, transform_core,
};

fn load(bytes: &[u8]) -> Result<Plugin, LoadError> {
    Engine::new(None).expect("engine").load_bytes("plugins/a.wasm", bytes, LoadLimits::default())
}

fn rule() -> Vec<u8> {
    component("rule", &rule_core(ANSWER, ANSWER, "", ""))
}

#[track_caller]
fn check(bytes: &[u8], sentence: &str) {
    let Err(error) = load(bytes) else { panic!("it was loaded") };
    assert_eq!(error.to_string(), format!("plugins/a.wasm: {sentence}"));
}

const LOG_IMPORT: &str =
    r#"(import "pipeline:plugin/log@0.1.0" "write" (func $log (param i32 i32 i32)))"#;

#[test]
fn a_rule_tells_what_it_is() {
    let bytes = component("rule", &rule_core(ANSWER, ANSWER, LOG_IMPORT, ""));
    let plugin = load(&bytes).expect("a plugin");
    assert_eq!(plugin.world(), World::Rule);
    assert_eq!(plugin.bytes(), bytes.len());
    assert_eq!(plugin.hash(), ContentHash::of(&bytes));
    assert_eq!(plugin.hash().to_string().len(), 64);
    assert!(plugin.hash().to_string().starts_with(&plugin.hash().short()));
    assert!(!plugin.from_cache());
    let names: Vec<_> = plugin.imports().iter().map(|import| import.name.as_str()).collect();
    assert!(names.contains(&"pipeline:plugin/log@0.1.0"), "{names:?}");
    assert!(plugin.imports().iter().all(|import: &Import| import.granted));
}

#[test]
fn a_transform_tells_what_it_is() {
    let bytes = component("transform", &transform_core(ANSWER, ""));
    assert_eq!(load(&bytes).expect("a plugin").world(), World::Transform);
}

#[test]
fn what_is_not_webassembly_is_refused() {
    let sentence = "not a WebAssembly file: it must be a component built for the worlds in wit/";
    for bytes in [&b"<html>not found</html>"[..], b"(component)", b"x", b"\x7fELF\x02\x01\x01\0\0"]
    {
        check(bytes, sentence);
    }
}

#[test]
fn a_file_of_another_webassembly_is_refused() {
    check(
        b"\0asm\x0a\0\x01\0",
        "a WebAssembly binary of a version that this host does not know: build it with current \
         tools",
    );
}

#[test]
fn the_beginning_of_a_plugin_is_half_written() {
    let whole = rule();
    let mut borders = 0;
    for length in 0..whole.len() {
        match load(&whole[..length]).map_err(|error| error.problem) {
            Err(Problem::Truncated) => {}
            // Where a section ends, what follows cannot be missed; the last only name the tools.
            Ok(_) | Err(Problem::Foreign(_) | Problem::Invalid(_)) => borders += 1,
            Err(other) => panic!("{length}: {other}"),
        }
    }
    assert!(borders < 32, "{borders}");
    check(
        &whole[..whole.len() / 2],
        "half-written: it ends before WebAssembly says so; copy it again, or write it elsewhere \
         and move it here",
    );
}

#[test]
fn a_core_module_is_told_the_way_out() {
    check(
        &wat::parse_str(rule_core(ANSWER, ANSWER, "", "")).expect("core"),
        "a core module, not a component: `host plugin build` makes one of its source, or `wasm-tools \
         component new IN.wasm -o OUT.wasm` of it",
    );
}

#[test]
fn an_invalid_component_says_so() {
    let mut bytes = rule();
    let at = bytes.len() / 2;
    bytes[at..at + 16].fill(0xff);
    match load(&bytes).err().expect("nonsense").problem {
        Problem::Invalid(reason) => assert!(!reason.contains('\n') && !reason.is_empty()),
        // The damage may have met the length of a section.
        other => assert!(matches!(other, Problem::Truncated), "{other}"),
    }
}

#[test]
fn a_component_of_another_world_says_what_it_exports() {
    let offered = "pipeline:plugin/rules@0.1.0 or pipeline:plugin/transforms@0.1.0";
    check(
        b"\0asm\x0d\0\x01\0",
        &format!("a component of another world: it must export {offered}, but exports nothing"),
    );
    let wit = "package acme:web; interface pages { get: func(); } world site { export pages; }";
    let core = r#"(module (func (export "acme:web/pages#get")))"#;
    check(
        &component_of(&[wit], "site", core),
        &format!(
            "a component of another world: it must export {offered}, but exports acme:web/pages"
        ),
    );
}

#[test]
fn a_plugin_of_both_worlds_is_refused() {
    let wit = WIT.to_owned() + "world both { export rules; export transforms; }";
    let rule = rule_core(
        ANSWER,
        ANSWER,
        "",
        r#"
        (func (export "pipeline:plugin/transforms@0.1.0#configure") (param i32 i32) (result i32) (i32.const 1024))
        (func (export "pipeline:plugin/transforms@0.1.0#transform") (param i32 i32 i64) (result i32) (i32.const 1024))"#,
    );
    check(
        &component_of(&[&wit], "both", &rule),
        "both a rule and a transform: export one of pipeline:plugin/rules@0.1.0 and \
         pipeline:plugin/transforms@0.1.0",
    );
}

fn rule_of(version: &str) -> Vec<u8> {
    let wit = WIT.replace("@0.1.0;", &format!("@{version};"));
    component_of(&[&wit], "rule", &rule_core_of(version, ANSWER, ANSWER, "", ""))
}

#[test]
fn a_plugin_for_another_version_names_both() {
    check(
        &rule_of("0.2.0"),
        "built for pipeline:plugin/rules@0.2.0, but this host speaks version 0.1.0: build it again \
         in a folder that `host plugin new` of this host makes, which has its wit/",
    );
}

#[test]
fn a_plugin_for_a_newer_patch_that_needs_nothing_new_is_loaded_and_runs() {
    let plugin = load(&rule_of("0.1.7")).expect("a plugin");
    plugin.configure("{}", "stage", "topic", &Default::default()).expect("configured");
}

#[test]
fn a_plugin_for_a_newer_patch_that_needs_something_new_says_what() {
    let wit = WIT
        .replace("@0.1.0;", "@0.1.1;")
        .replace("interface log {", "interface log { flush: func();");
    let import = r#"(import "pipeline:plugin/log@0.1.1" "flush" (func))"#;
    let core = rule_core_of("0.1.1", ANSWER, ANSWER, import, "");
    let error = load(&component_of(&[&wit], "rule", &core)).err().expect("refused").to_string();
    assert!(error.contains("built for another WIT than version 0.1.0"), "{error}");
    assert!(error.contains("flush"), "{error}");
}

#[test]
fn the_right_names_with_other_types_are_refused() {
    let wit = WIT.replace("columns: list<column>,", "columns: list<column>, trace: string,");
    let core = rule_core(ANSWER, ANSWER, "", "").replace(
        "(param $events i32) (param $now i64) (param $columns i32) (param $count i32)",
        "(param $events i32) (param $now i64) (param $columns i32) (param $count i32) (param i32 i32)",
    );
    let error = load(&component_of(&[&wit], "rule", &core)).err().expect("refused").to_string();
    assert!(error.contains("built for another WIT than version 0.1.0"), "{error}");
    assert!(error.contains("evaluate"), "{error}");
}

#[test]
fn an_import_that_no_plugin_gets_is_named() {
    let net = "package acme:net@1.0.0; interface socket { open: func(); }";
    let world = "package acme:rule; world wild {
        import acme:net/socket@1.0.0; export pipeline:plugin/rules@0.1.0; }";
    let import = r#"(import "acme:net/socket@1.0.0" "open" (func))"#;
    check(
        &component_of(&[WIT, net, world], "wild", &rule_core(ANSWER, ANSWER, import, "")),
        "imports acme:net/socket@1.0.0, which no plugin gets: only pipeline:plugin/log@0.1.0 and \
         inert WASI 0.2 are offered",
    );
}

#[test]
fn a_file_is_read_up_to_its_limit() {
    let folder = tempfile::tempdir().expect("folder");
    let (path, bytes) = (folder.path().join("a.wasm"), rule());
    std::fs::write(&path, &bytes).expect("written");
    let engine = Engine::new(None).expect("engine");
    let load = |file_bytes| engine.load(&path, LoadLimits { file_bytes });
    assert!(load(bytes.len() as u64).is_ok());
    let error = load(bytes.len() as u64 - 1).err().expect("too large").to_string();
    assert!(error.starts_with(&path.display().to_string()), "{error}");
    assert!(error.contains(&format!("larger than the {} bytes", bytes.len() - 1)), "{error}");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let engine = Engine::new(None).expect("engine");
    let error = engine.load(Path::new("no/such.wasm"), LoadLimits::default()).err().expect("gone");
    assert!(error.to_string().starts_with("no/such.wasm: reading the file: "), "{error}");
}
