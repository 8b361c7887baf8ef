//! The built command as a user or a script meets it: exit codes, messages, streams.

use std::fs;
use std::net::TcpListener;
use std::process::{Command, Output};

use host::plugin::defaults::{DEFAULTS, lay_down};
use tempfile::TempDir;

/// The command with nothing of this process's environment that it would read.
fn host(folder: &TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_host"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("HOST_") {
            command.env_remove(name);
        }
    }
    command.current_dir(folder.path());
    command
}

fn folder_with(pipeline: &str) -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("plugins")).expect("a folder for the plugins");
    fs::write(folder.path().join("plugins/pipeline.toml"), pipeline).expect("writing the file");
    folder
}

#[track_caller]
fn check(command: &mut Command, code: i32, in_stdout: &[&str], in_stderr: &[&str]) {
    let Output { status, stdout, stderr } = command.output().expect("starting the command");
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    let all = format!("{status}\n--- stdout\n{stdout}--- stderr\n{stderr}");
    assert_eq!(status.code(), Some(code), "{all}");
    for text in in_stdout {
        assert!(stdout.contains(text), "no {text:?} in stdout\n{all}");
    }
    for text in in_stderr {
        assert!(stderr.contains(text), "no {text:?} in stderr\n{all}");
    }
    assert!(!stderr.contains('\u{1b}'), "colours without a terminal\n{all}");
}

const COPY: &str = "[source]\ntopic = \"in\"\n";

#[test]
fn help_is_no_error() {
    let folder = folder_with(COPY);
    check(host(&folder).arg("--help"), 0, &["host run --plugins plugins/"], &[]);
    let expected = ["--brokers", "HOST_BROKERS", "127.0.0.1:9600", "Examples:"];
    check(host(&folder).args(["run", "--help"]), 0, &expected, &[]);
    check(host(&folder).args(["completions", "bash"]), 0, &["complete"], &[]);
    check(host(&folder).arg("--version"), 0, &[env!("CARGO_PKG_VERSION")], &[]);
}

#[test]
fn wrong_arguments_are_code_2() {
    let folder = folder_with(COPY);
    check(host(&folder).arg("fly"), 2, &[], &["unrecognized subcommand"]);
    check(host(&folder).args(["run", "--workers", "0"]), 2, &[], &["from 1 to 1024"]);
    check(host(&folder).arg("run").env("HOST_WORKERS", "0"), 2, &[], &["from 1 to 1024"]);
    check(host(&folder).args(["run", "--admin", "9700"]), 2, &[], &["a port: 127.0.0.1:9700"]);
    check(host(&folder).args(["run", "--log", "a=b=c"]), 2, &[], &["--log \"a=b=c\""]);
    let secret = &mut host(&folder);
    check(secret.arg("run").env("HOST_KAFKA_PROPERTIES", "x"), 2, &[], &["expected key=value"]);
}

#[test]
fn every_problem_of_a_configuration_is_shown_and_is_code_2() {
    let folder = folder_with(
        "[source]\ntopic = \"in\"\npartition = 4\n[[stage]]\nplugin = \"nowhere\"\n\
         [kafka]\n\"socket.timeout.ms\" = \"soon\"\n",
    );
    let expected = [
        "plugins/pipeline.toml:3:1: [source] partition: unknown key",
        "  3 | partition = 4\n    | ^^^^^^^^^\n  help: did you mean `partitions`?",
        "plugins/pipeline.toml:5:10: stage \"nowhere\": plugins/nowhere.wasm: reading the file: ",
        "plugins/pipeline.toml:7:1: [kafka] socket.timeout.ms: ",
        "-X group.id=a: cannot be set: use [pipeline] name or --group\n  help: take it out\n",
        "-X linger.ms=x: invalid value\n  help: write a ",
        "-X no.such=1: librdkafka has no property of this name\n  help: mend the name, ",
        "error: 6 problems found",
    ];
    let flags = ["check", "-X", "group.id=a", "-X", "linger.ms=x", "-X", "no.such=1"];
    check(host(&folder).args(flags), 2, &[], &expected);
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir_all(folder.path().join("plugins/pipeline.toml")).expect("a folder in its place");
    check(host(&folder).arg("check"), 2, &[], &["plugins/pipeline.toml: cannot be read: "]);
}

/// Some stages, for whose plugins a check takes the defaults.
fn folder_with_stages(stages: &str) -> TempDir {
    folder_with(&format!("{COPY}{stages}"))
}

#[test]
fn settings_that_the_plugin_refuses_are_a_problem_at_their_place() {
    let filter = "[[stage]]\nplugin = \"filter\"\nname = \"phones\"\n[stage.settings]\n";
    let folder = folder_with_stages(&format!("{filter}conditions = []"));
    let expected = [
        "plugins/pipeline.toml:7:1: stage \"phones\" settings.conditions: the list is empty: ",
        "  7 | conditions = []\n    | ^^^^^^^^^^^^^^^\n",
        "error: 1 problem found",
    ];
    check(host(&folder).arg("check"), 2, &[], &expected);
    let candidate = "[stage.shadow]\nplugin = \"filter\"";
    let folder = folder_with_stages(&format!("{filter}conditions = []\n{candidate}"));
    check(host(&folder).arg("check"), 2, &[], &expected);
    let folder = folder_with_stages(&format!("{filter}keep = \"any\""));
    check(host(&folder).arg("check"), 0, &["stage         phones: rule filter.wasm\n"], &[]);
    let files: Vec<_> = fs::read_dir(folder.path()).expect("the folder").collect();
    assert_eq!(files.len(), 1, "a check leaves no trace: {files:?}");
}

#[test]
fn all_settings_that_plugins_refuse_are_shown_at_once_each_at_its_place() {
    let folder = folder_with_stages(
        r#"
[[stage]]
plugin = "filter"
[stage.settings]
kep = "any"
conditions = [
  { field = "device_type", equals = ["android"] },
  { field = "/ip", min = "1", ignore-case = true },
  { equals = "x" },
]

[[stage]]
plugin = "nowhere"

[[stage]]
plugin = "timestamps"
settings = { unit = "minutes", fields = ["/a", "/a/b"] }

[[stage]]
plugin = "anomaly"
[[stage.settings.conditions]]
code = 5
field = "/a"
missing = true
[[stage.settings.conditions]]
field = "/b"

[[stage]]
plugin = "categorize"
name = "decode"
"#,
    );
    let expected = [
        "pipeline.toml:7:1: stage \"filter\" settings.kep: unknown key: did you mean `keep`?\n  \
         7 | kep = \"any\"\n    | ^^^^^^^^^^^\n",
        "pipeline.toml:9:5: stage \"filter\" settings.conditions[0].field: `device_type` is no JSON \
         Pointer: write `/device_type`\n  \
         9 |   { field = \"device_type\", equals = [\"android\"] },\n    |     ^^^^^^^^^^^^^^^^^^^^^\n",
        "pipeline.toml:9:28: stage \"filter\" settings.conditions[0].equals: found a list: ",
        "pipeline.toml:10:20: stage \"filter\" settings.conditions[1].min: `min` must be a number",
        "pipeline.toml:10:31: stage \"filter\" settings.conditions[1].ignore-case: only for ",
        "pipeline.toml:11:3: stage \"filter\" settings.conditions[2].field: missing: add `field = ",
        "pipeline.toml:15:10: stage \"nowhere\": plugins/nowhere.wasm: reading the file: ",
        "pipeline.toml:19:14: stage \"timestamps\" settings.unit: `minutes` is not known: write ",
        "pipeline.toml:19:48: stage \"timestamps\" settings.fields[1]: `/a/b` and `/a` overlap: ",
        "pipeline.toml:24:1: stage \"anomaly\" settings.conditions[0].code: expected a text, found a \
         whole number: put it in quotes\n  24 | code = 5\n     | ^^^^^^^^\n",
        "pipeline.toml:27:1: stage \"anomaly\" settings.conditions[1].code: missing: add `code = …`\n",
        "pipeline.toml:32:8: stage \"decode\": the host's own part of that name ",
        "help: give the stage another `name`",
        "error: 12 problems found",
    ];
    check(host(&folder).arg("check"), 2, &[], &expected);
}

#[test]
fn a_name_that_is_there_twice_is_one_problem_at_the_second() {
    let folder = folder_with_stages(
        "[[stage]]\nplugin = \"filter\"\n[[stage]]\nplugin = \"filter\"\n\
         [[stage]]\nplugin = \"anomaly\"\nname = \"filter\"\n",
    );
    let help = "\n  help: give this one a `name` of its own\n";
    let expected = [
        "pipeline.toml:6:10: [[stage]] plugin: there is a stage \"filter\" already\n",
        "pipeline.toml:9:8: [[stage]] name: there is a stage \"filter\" already\n",
        help,
        "error: 2 problems found",
    ];
    check(host(&folder).arg("check"), 2, &[], &expected);
}

#[test]
fn records_of_ones_own_are_tried_by_a_check_and_at_the_start() {
    let folder = folder_with(&format!(
        "{COPY}[[stage]]\nplugin = \"timestamps\"\n[stage.settings]\nmalformed = \"reject\"\n"
    ));
    let (_, component) =
        DEFAULTS.iter().find(|(name, _)| *name == "timestamps").expect("it ships with the host");
    fs::write(folder.path().join("plugins/timestamps.wasm"), component).expect("writing it");
    let write = |good: usize, bad: usize| {
        let (good, bad) =
            ("{\"timestamp\":1694479551}\n".repeat(good), "{\"timestamp\":\"x\"}\n".repeat(bad));
        fs::write(folder.path().join("own.jsonl"), good + &bad).expect("writing it");
    };
    let arguments = |command| [command, "--prove-with", "own.jsonl"];
    write(3, 1);
    let proven = "proven with   own.jsonl: 4 records, 1 of them rejected\n";
    check(host(&folder).args(arguments("check")), 0, &[proven], &[]);
    write(3, 30);
    let expected =
        ["own.jsonl:4:1: stage \"timestamps\" rejected 30 of 33 records", "1 problem found"];
    check(host(&folder).args(arguments("check")), 2, &[], &expected);
    check(host(&folder).args(arguments("run")), 2, &[], &expected);
    let missing = ["gone.jsonl: cannot be read: ", "--prove-with names the file"];
    check(host(&folder).arg("check").env("HOST_PROVE_WITH", "gone.jsonl"), 2, &[], &missing);
}

#[test]
fn what_is_laid_down_is_right() {
    let folder = tempfile::tempdir().expect("a folder");
    lay_down(&folder.path().join("plugins"), &folder.path().join(".host")).expect("laying down");
    let expected = ["filter: rule", "timestamps: rule", "categorize: rule", "anomaly: rule"];
    check(host(&folder).arg("check"), 0, &expected, &[]);
}

#[test]
fn what_a_run_would_lay_down_is_there_for_a_check_which_leaves_no_trace() {
    let folder = tempfile::tempdir().expect("a folder");
    let expected = ["not there yet", "anomaly.wasm"];
    check(host(&folder).args(["check", "--plugins", "plugins"]), 0, &expected, &[]);
    let mut left = fs::read_dir(folder.path()).expect("the folder is there");
    assert!(left.next().is_none(), "a check leaves something behind");
}

#[test]
fn a_plugin_that_is_not_there_is_told_with_its_neighbour() {
    let folder = folder_with("[source]\ntopic = \"in\"\n[[stage]]\nplugin = \"timestamp\"\n");
    let expected = ["pipeline.toml:4:10", "did you mean \"timestamps\"?"];
    check(host(&folder).arg("check"), 2, &[], &expected);
}

#[test]
fn a_right_configuration_is_summed_up() {
    let folder =
        folder_with(&format!("{COPY}[[window]]\nname = \"w\"\nsize = \"1m\"\nby = \"/a\"\n"));
    let expected = [
        "plugins/pipeline.toml is right\n",
        "source        in\n",
        "window        w: /a each 1m, to in-w\n",
        "dead letters  in-dead-letters\n",
        "group         mine\n",
    ];
    check(host(&folder).arg("check").env("HOST_GROUP", "mine"), 0, &expected, &[]);
}

#[test]
fn an_admin_port_that_was_asked_for_and_is_taken_is_code_3() {
    let folder = folder_with(COPY);
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("its address").to_string();
    let expected = [address.as_str(), "choose another with --admin"];
    check(host(&folder).args(["run", "--admin", &address]), 3, &[], &expected);
}

#[test]
fn folders_that_cannot_be_written_are_code_3_with_what_mends_it() {
    let folder = folder_with(COPY);
    fs::write(folder.path().join("file"), "").expect("writing it");
    let expected = ["making the folder file/plugins", "--plugins"];
    check(host(&folder).args(["run", "--plugins", "file/plugins"]), 3, &[], &expected);
    let expected = ["file/state/", "--state-dir"];
    check(host(&folder).args(["run", "--state-dir", "file/state"]), 3, &[], &expected);
}

#[test]
fn brokers_that_do_not_answer_are_code_3() {
    let folder = folder_with(COPY);
    // Bound and dropped: nobody listens there.
    let address = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
    let address = address.expect("a free port").to_string();
    let generate = ["generate", "--count", "1", "--brokers", &address];
    check(host(&folder).args(generate), 3, &[], &["no answer from"]);
}

#[test]
fn reset_wants_a_place_and_brokers() {
    let folder = folder_with(COPY);
    let expected = ["Refused while the pipeline runs", "HOST_TO", "HOST_BROKERS"];
    check(host(&folder).args(["reset", "--help"]), 0, &expected, &[]);
    check(host(&folder).arg("reset"), 2, &[], &["--to <START>"]);
    check(host(&folder).args(["reset", "--to", "soon"]), 2, &[], &["expected earliest, latest"]);
    check(host(&folder).args(["reset", "--to", "latest"]), 2, &[], &["no brokers"]);
}

#[test]
fn init_begins_a_pipeline_of_ones_own_and_overwrites_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let init = |more: &[&str]| {
        let mut command = host(&folder);
        let topic = if more.contains(&"--topic") { &[][..] } else { &["--topic", "orders"] };
        command.args(["init", "own/plugins"]).args(topic).args(more);
        command
    };
    let expected = [
        "written        own/plugins/pipeline.toml\n",
        "own/plugins/filter.wasm",
        "written        own/plugins/my-rule\n",
        "host plugin build own/plugins/my-rule, host plugin test own/plugins/my-rule, and in\n",
        "own/plugins/pipeline.toml, where it belongs: [[stage]] plugin = \"my-rule\"\n",
    ];
    check(&mut init(&["--lang", "go"]), 0, &expected, &[]);
    let source = folder.path().join("own/plugins/my-rule/rule.go");
    fs::write(&source, "package mine").expect("it was written");
    let file = folder.path().join("own/plugins/pipeline.toml");
    let text = fs::read_to_string(&file).expect("it was written");
    assert!(text.contains("topic = \"processed-orders\"") && !text.contains("user-login"));
    let expected = ["source        orders\n", "stage         filter: rule filter.wasm\n"];
    check(host(&folder).args(["check", "--plugins", "own/plugins"]), 0, &expected, &[]);

    fs::write(&file, "# mine").expect("writing it");
    fs::write(folder.path().join("own/plugins/anomaly.wasm"), "mine").expect("writing it");
    let kept = [
        "kept as it is  own/plugins/pipeline.toml\n",
        "kept as it is  own/plugins/anomaly.wasm",
        "kept as it is  own/plugins/my-rule\n",
    ];
    check(&mut init(&[]), 0, &kept, &[]);
    check(&mut init(&["--json"]), 0, &["\"action\":\"there already\""], &[]);
    assert_eq!(fs::read_to_string(&file).expect("it is there"), "# mine");
    assert_eq!(fs::read_to_string(&source).expect("it is there"), "package mine");
    check(&mut init(&["--topic", "a b"]), 2, &[], &["use letters, digits"]);
    fs::write(folder.path().join("file"), "").expect("writing it");
    check(
        host(&folder).args(["init", "file/plugins"]),
        3,
        &[],
        &["making the folder file/plugins"],
    );
}
