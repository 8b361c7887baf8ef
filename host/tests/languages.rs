//! A plugin in each language, from nothing: begun, built with the language's own tools, tested, and
//! run. The same rule and the same transform must answer the same, byte for byte, in all of them.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod support;

use std::fmt::Display;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use host::authoring::Language;
use host::chain::Record;
use host::config::{self, Against, FILE_NAME, GivenSettings, Overrides};
use host::demo::generate::{Generator, Spec};
use host::offline::{Runner, write_outcomes};
use host::pipeline::Loader;
use host::plugin::World;
use host::plugin::defaults::PIPELINE_TOML;
use serde_json::{Value, json};
use support::broker::{Broker, Options};
use support::feed::Feed;
use support::pipeline::{PARTITIONS, Pipeline};
use support::process::{Process, assert_holds, run_in};
use support::{SOON, read_topic};
use tempfile::TempDir;

/// As many as the issue of byte-identical output is held with.
const GENERATED: usize = 100_000;
/// Records a call.
const BATCH: usize = 1_000;
const NOW: i64 = 1_700_000_000_123;

/// What a rule may find in a field.
const AWKWARD: [&str; 30] = [
    "{}",
    r#"{"locale":null}"#,
    r#"{"locale":""}"#,
    r#"{"locale":"-"}"#,
    r#"{"locale":"en-"}"#,
    r#"{"locale":true}"#,
    r#"{"locale":9007199254740993}"#,
    r#"{"locale":-9007199254740993}"#,
    r#"{"locale":9223372036854775807}"#,
    r#"{"locale":-9223372036854775808}"#,
    r#"{"locale":9223372036854775808}"#,
    r#"{"locale":18446744073709551616000000000000}"#,
    r#"{"locale":1e308}"#,
    r#"{"locale":-1.5e-300}"#,
    r#"{"locale":5e-324}"#,
    r#"{"locale":1e999}"#,
    r#"{"locale":-0.0}"#,
    r#"{"locale":-0}"#,
    r#"{"locale":1.0}"#,
    r#"{"locale":0.1}"#,
    r#"{"locale":"\ud800"}"#,
    r#"{"locale":"en-\udfff-us"}"#,
    r#"{"locale":"\ud83d\ude00-us"}"#,
    r#"{"locale":"😀_uk"}"#,
    r#"{"locale":"de-straße\u0000\n"}"#,
    r#"{"locale":{"a":{"b":["en-US",1.50,null]}}}"#,
    r#"{"locale":[]}"#,
    r#"{"a":{"locale":"en-US"},"locale":"a-b_c-d"}"#,
    r#"{"locale":"fr-fr"}"#,
    r#"{"locale":"xx-UK"}"#,
];

/// What a transform may find in a record.
const AWKWARD_LINES: [&[u8]; 10] = [
    b"",
    b"\n",
    b"\r\n\r\n",
    b"one",
    b"one\n",
    b"one\r\ntwo\n\nthree",
    b"one\rtwo",
    b"\xff\xfe\n\x00",
    b"1\n2\n3\n4\n5\n6",
    "😀\n\u{2028}x\n".as_bytes(),
];

/// A file that a page of `plugins/` shows.
struct Block {
    file: String,
    /// The sentence in front of it.
    said: String,
    text: String,
}

/// What is behind a paragraph that begins with a file's name.
fn blocks(page: &str) -> Vec<Block> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../plugins/{page}.md"));
    let page = fs::read_to_string(path).unwrap();
    let mut blocks = Vec::new();
    let mut parts = page.split("```");
    while let (Some(prose), Some(code)) = (parts.next(), parts.next()) {
        let said = prose.trim_end().rsplit("\n\n").next().unwrap().to_owned();
        let (_, text) = code.split_once('\n').unwrap();
        let file = said.split('`').find(|part| part.contains('.')).map(str::to_owned);
        blocks.extend(file.map(|file| Block { file, said, text: text.to_owned() }));
    }
    blocks
}

/// The component of a plugin whose folder is what a page shows, and nothing else.
fn made_of_page(folder: &Path, page: &str) -> PathBuf {
    let dir = folder.join("plugins").join(page);
    for Block { file, text, .. } in blocks(page) {
        let path = dir.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    if dir.join("package.json").is_file() {
        let mut npm = Command::new("npm");
        npm.args(["install", "--no-audit", "--no-fund", "--loglevel=error"]).current_dir(&dir);
        assert!(npm.status().unwrap().success());
    }
    run_in(folder, &["plugin", "build", &format!("plugins/{page}")], 0);
    let (stdout, _) = run_in(folder, &["plugin", "test", &format!("plugins/{page}")], 0);
    assert_holds(&stdout, &["1 of 1 cases pass"]);
    dir.with_extension("wasm")
}

/// The component of a plugin that was begun, built and tested in a folder of its own.
fn made(folder: &Path, language: Language, kind: World) -> PathBuf {
    let name = format!("{}-{kind}", language.name());
    let world = kind.to_string();
    let args = ["plugin", "new", &name, "--lang", language.name(), "--world", &world];
    run_in(folder, &args, 0);
    let own = format!("plugins/{name}");
    // What the page shows is what is built.
    let source = language.source(kind);
    let is_shown = |block: &Block| {
        block.file == source && block.said.contains("transform") == (kind == World::Transform)
    };
    let shown = blocks(language.name()).into_iter().find(is_shown);
    let shown = shown.unwrap_or_else(|| panic!("plugins/{}.md has no {source}", language.name()));
    let laid = folder.join(&own).join(source);
    assert_eq!(shown.text, fs::read_to_string(&laid).unwrap(), "plugins/{}.md", language.name());
    fs::write(laid, shown.text).unwrap();
    let before = files(&folder.join(&own));
    run_in(folder, &["plugin", "build", &own], 0);
    let (stdout, _) = run_in(folder, &["plugin", "test", &own], 0);
    assert_holds(&stdout, &["cases pass"]);
    let (stdout, _) = run_in(folder, &["plugin", "inspect", &name, "--json"], 0);
    let told: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(told["language"], language.to_string(), "{told}");
    // What is written is the author's: a build changes none of it.
    for (path, content) in before {
        assert_eq!(fs::read(&path).unwrap(), content, "{}", path.display());
    }
    folder.join(format!("plugins/{name}.wasm"))
}

fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        match entry.path().is_dir() {
            true => found.extend(files(&entry.path())),
            false => found.push((entry.path(), fs::read(entry.path()).unwrap())),
        }
    }
    found
}

/// What becomes of these records in a pipeline of one stage, as `host try --outcomes` writes it.
fn answers(component: &Path, settings: Value, values: &[Vec<u8>]) -> String {
    let mut draft = config::parse(FILE_NAME, PIPELINE_TOML, &Overrides::default(), &|_, _| None);
    let json = settings.as_object().unwrap().clone();
    let settings = Some(GivenSettings { flag: "settings", json });
    draft.leave(draft.alone(None, "own", Against { plugin: "own".to_owned(), settings }));
    let loader = Loader::new(Path::new("."), None).unwrap().with_file("own", component);
    let mut runner = Runner::new(&loader.load(draft).unwrap(), false).unwrap();
    let records = values.iter().zip(0..).map(|(value, offset)| Record {
        key: Some(b"key"),
        value: Some(value),
        headers: &[],
        timestamp: Some(NOW),
        partition: 0,
        offset,
    });
    let records: Vec<Record<'_>> = records.collect();
    let mut out = Vec::new();
    for records in records.chunks(BATCH) {
        runner.run(records, NOW, &mut |became| write_outcomes(&mut out, became)).unwrap();
    }
    String::from_utf8(out).unwrap()
}

/// Fails with the first line that differs.
#[track_caller]
fn assert_same(language: impl Display, found: &str, expected: &str) {
    let mut lines = found.lines().zip(expected.lines());
    if let Some((found, expected)) = lines.find(|(found, expected)| found != expected) {
        panic!("{language}: {found:.2000}\nand Rust: {expected:.2000}");
    }
    assert_eq!(found.len(), expected.len(), "{language}");
}

/// Generated logins, awkward ones among them, and one with a text of 1 MB.
fn logins() -> Vec<Vec<u8>> {
    let mut generator = Generator::new(Spec::default());
    let mut all: Vec<Vec<u8>> =
        (0..GENERATED).map(|_| generator.advance().value.to_owned()).collect();
    let large = format!(r#"{{"locale":"{}-us"}}"#, "x".repeat(1 << 20)).into_bytes();
    let awkward = AWKWARD.iter().map(|text| text.as_bytes().to_owned());
    for (number, value) in awkward.chain([large]).enumerate() {
        all.insert(number * 997, value);
    }
    all
}

/// Logins, some of them several in a record, awkward records among them, and one of 1 MB.
fn lines() -> Vec<Vec<u8>> {
    let mut generator = Generator::new(Spec::default());
    let mut all: Vec<Vec<u8>> = Vec::new();
    for number in 0..GENERATED {
        let mut value = Vec::new();
        for _ in 0..=number % 3 {
            value.extend(generator.advance().value);
            value.extend(if number % 2 == 0 { b"\n".as_slice() } else { b"" });
        }
        all.push(value);
    }
    let large = [vec![b'x'; 1 << 20], b"\ny".to_vec()].concat();
    let awkward = AWKWARD_LINES.iter().map(|bytes| bytes.to_vec());
    for (number, value) in awkward.chain([large]).enumerate() {
        all.insert(number * 997, value);
    }
    all
}

/// Rust answers, and then every other language the same.
fn check_all(world: World, settings: &[Value], values: &[Vec<u8>]) {
    let folder = TempDir::new().unwrap();
    let rust = made(folder.path(), Language::Rust, world);
    let expected: Vec<String> =
        settings.iter().map(|settings| answers(&rust, settings.clone(), values)).collect();
    assert_holds(&expected[0], &["\"outcome\":\"kept\""]);
    for language in Language::ALL.into_iter().filter(|language| *language != Language::Rust) {
        let component = made(folder.path(), language, world);
        let check = || {
            for (settings, expected) in settings.iter().zip(&expected) {
                assert_same(language, &answers(&component, settings.clone(), values), expected);
            }
        };
        check();
        if language == Language::C && built_with_clang(&component) {
            check();
        }
    }
    if world == World::Rule {
        for page in ["zig", "assemblyscript"] {
            let component = made_of_page(folder.path(), page);
            assert_same(page, &answers(&component, json!({}), values), &expected[0]);
        }
    }
}

/// The same folder with clang and wasi-libc, where Debian's packages of them are; what finds zig is
/// gone round.
fn built_with_clang(component: &Path) -> bool {
    let parts = ["/usr/bin/clang", "/usr/bin/wasm-ld", "/usr/lib/wasm32-wasi/libc.a"];
    if !parts.iter().all(|part| Path::new(part).exists()) {
        eprintln!("clang and wasi-libc are not here: C is built with zig alone");
        return false;
    }
    let before = fs::read(component).unwrap();
    let mut build = Process::command();
    build.env("WASI_SDK_PATH", "/usr").args(["plugin", "build"]).arg(component.with_extension(""));
    assert!(build.status().unwrap().success());
    assert_ne!(fs::read(component).unwrap(), before, "the other compiler makes the same code");
    true
}

#[test]
fn a_rule_answers_the_same_in_every_language() {
    let own = json!({ "into": "/locale", "aliases": { "UK": "GB" }, "drop": ["FR", "DE"] });
    check_all(World::Rule, &[json!({}), own], &logins());
}

#[test]
fn a_transform_answers_the_same_in_every_language() {
    let own = json!({ "max-lines": 2, "header": "number" });
    check_all(World::Transform, &[json!({}), own], &lines());
}

/// All of them in one pipeline on a real broker, each with a field of its own.
#[test]
fn the_rules_of_all_languages_work_side_by_side_in_one_pipeline() {
    const RECORDS: u64 = 20_000;
    let broker = Broker::start(&Options::default());
    let folder = TempDir::new().unwrap();
    let stage = |language: Language| {
        let name = language.name();
        format!("[[stage]]\nplugin = \"{name}\"\n[stage.settings]\ninto = \"/region/{name}\"\n\n")
    };
    let stages: String = Language::ALL.into_iter().map(stage).collect();
    let pipeline = Pipeline::with_input("languages", &broker.brokers(), |text| {
        text.replacen("[[stage]]", &format!("{stages}[[stage]]"), 1)
    });
    for language in Language::ALL {
        let component = made(folder.path(), language, World::Rule);
        pipeline.add_plugin(language.name(), &fs::read(component).unwrap());
    }
    let mut process = pipeline.start("a", &[]);
    let mut feed = Feed::new(&pipeline, Spec::default());
    feed.send(RECORDS);
    feed.finish();
    pipeline.await_end(std::slice::from_mut(&mut process), 4 * SOON);
    process.terminate();
    let processed = read_topic(&pipeline.settings(), &pipeline.processed(), PARTITIONS);
    assert!(processed.values().any(|records| !records.is_empty()));
    for record in processed.into_values().flatten() {
        let event: Value = serde_json::from_slice(record.value.as_deref().unwrap()).unwrap();
        let regions = event["region"].as_object().unwrap();
        assert_eq!(regions.len(), Language::ALL.len(), "{event}");
        assert!(regions.values().all(|region| *region == event["locale"]), "{event}");
    }
}

/// A mistake that no compiler finds, in the function that makes a region, and where it then stands.
fn mistake(language: Language) -> (&'static str, &'static str, &'static str) {
    match language {
        Language::Rust => (
            "        let region = locale.rsplit",
            "        pipeline_sdk::log::info(\"seen\"); assert_ne!(locale, \"boom\", \"no region\");\n",
            "panicked at src/lib.rs:",
        ),
        Language::Go => (
            "\tregion := locale",
            "\tprintln(\"seen\")\n\tif locale == \"boom\" {\n\t\tpanic(\"no region\")\n\t}\n",
            "panic: no region, at rule.go:",
        ),
        Language::JavaScript => (
            "  const end = ",
            "  console.log(\"seen\", Date.now()); if (locale === \"boom\") throw new Error(\"no region\");\n",
            "Error: no region     at region (/rule.js:",
        ),
        Language::Python => (
            "        end = re.split",
            "        print(\"seen\", time.time()); assert locale != \"boom\", \"no region\"\n",
            "AssertionError: no region",
        ),
        Language::C => (
            "    size_t start = ",
            "    puts(\"seen\"); if (text_equals(locale, \"boom\")) { assert(!\"no region\"); }\n",
            "Assertion failed: !\"no region\" (rule.c: region: ",
        ),
    }
}

#[test]
fn what_is_printed_or_thrown_is_in_the_log_in_every_language() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    for language in Language::ALL {
        let name = language.name();
        run_in(folder, &["plugin", "new", name, "--lang", name], 0);
        let source = folder.join("plugins").join(name).join(language.source(World::Rule));
        let text = fs::read_to_string(&source).unwrap();
        let (place, line, said) = mistake(language);
        let mut text = text.replacen(place, &format!("{line}{place}"), 1);
        match language {
            Language::C => text = format!("#include <assert.h>\n#include <stdio.h>\n{text}"),
            Language::Python => text = format!("import time\n{text}"),
            _ => {}
        }
        let number = text.lines().position(|line| line.contains("boom")).unwrap() + 1;
        // Go says where the call of panic is.
        let number = number + usize::from(language == Language::Go);
        fs::write(&source, text).unwrap();
        run_in(folder, &["plugin", "build", &format!("plugins/{name}")], 0);
        fs::write(folder.join("events"), "{\"locale\":\"en-US\"}\n{\"locale\":\"boom\"}\n")
            .unwrap();
        let mut command = Process::command();
        command.current_dir(folder).args(["try", "--plugin", name]);
        command.stdin(fs::File::open(folder.join("events")).unwrap());
        let output = command.output().unwrap();
        let (stdout, stderr) = (output.stdout, String::from_utf8(output.stderr).unwrap());
        assert_eq!(
            String::from_utf8(stdout).unwrap(),
            "{\"locale\":\"en-US\",\"region\":\"US\"}\n"
        );
        let logged = stderr.lines().find(|line| line.contains(said)).expect(&stderr);
        let file = source.file_name().unwrap().to_string_lossy().into_owned();
        let place = match language {
            Language::C => format!("{file}: region: {number})"),
            _ => format!("{file}:{number}"),
        };
        assert_holds(logged, &[" ERROR ", &place, &format!("stage=\"{name}\"")]);
        // What is printed is in the log, too.
        assert_holds(&stderr, &["seen", "dead letters 1 (trap 1)"]);
    }
}

/// Made with wit-bindgen 0.41 for `wasm32-wasip2`, so that it imports 13 interfaces of WASI as well;
/// its source is beside it. The default plugins, which import nothing, are the other end.
#[test]
fn a_component_of_earlier_tools_keeps_loading() {
    let old = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/components/rule-0.1.0-wit-bindgen-0.41.wasm");
    let values = [r#"{"name":"ann"}"#, "{}", r#"{"name":2}"#].map(|text| text.as_bytes().to_vec());
    let answers = answers(&old, json!({}), &values);
    assert_holds(&answers, &["ANN", "\"outcome\":\"dropped\""]);
    assert_eq!(answers.lines().count(), 3);
}
