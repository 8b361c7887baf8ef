//! The history of the rules, and going back in it, as far as no Kafka is needed: the demo is enough.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use support::SOON;
use support::process::Process;
use tempfile::TempDir;

struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn toml(&self) -> PathBuf {
        self.path().join("plugins/pipeline.toml")
    }

    fn text(&self) -> String {
        fs::read_to_string(self.toml()).unwrap()
    }

    /// The demo, once it runs.
    fn start(&self) -> Process {
        let mut command = Process::command();
        command.current_dir(self.path());
        command.args(["run", "--state-dir", "state", "--instance", "a", "--admin", "127.0.0.1:0"]);
        let mut process = Process::start(&mut command, &self.path().join("log"));
        process.await_log("admin=", SOON);
        process
    }

    /// `host plugin …`: exit code, and what it said.
    fn plugin(&self, arguments: &[&str]) -> (i32, String) {
        let mut command = Process::command();
        command.current_dir(self.path()).arg("plugin").args(arguments);
        let output = command.args(["--state-dir", "state"]).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8(text).unwrap())
    }

    #[track_caller]
    fn check(&self, arguments: &[&str], code: i32, parts: &[&str]) {
        let (found, text) = self.plugin(arguments);
        assert_eq!(found, code, "{text}");
        for part in parts {
            assert!(text.contains(part), "no {part:?} in {text}");
        }
    }

    /// Number, outcome, and whether it runs, of each generation, the newest first.
    fn history(&self) -> Vec<(u64, String, bool)> {
        let (code, text) = self.plugin(&["history", "--json"]);
        assert_eq!(code, 0, "{text}");
        let records: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
        let record = |record: &serde_json::Value| {
            let outcome = record["outcome"].as_str().unwrap().to_owned();
            (record["number"].as_u64().unwrap(), outcome, record["running"].as_bool().unwrap())
        };
        records.iter().map(record).collect()
    }
}

/// An address where nobody listens.
fn nobody() -> String {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
    free.unwrap().to_string()
}

#[test]
fn a_history_that_is_not_there_is_said() {
    let place = Place::new();
    place.check(&["history"], 0, &["has no generation of the plugins folder plugins"]);
    place.check(&["history", "--json"], 0, &["[]"]);
    place.check(&["rollback"], 2, &["`host run` begins it"]);
}

#[test]
fn what_ran_is_listed_and_comes_back_with_and_without_a_pipeline() {
    let place = Place::new();
    let mut process = place.start();
    let first = place.text();
    let second = first.replacen("call = \"100ms\"", "call = \"200ms\"", 1);
    assert_ne!(first, second);
    fs::write(place.toml(), &second).unwrap();
    process.await_log("every worker runs these rules", SOON);
    let history = |entries: &[(u64, &str, bool)]| {
        let owned = |(n, outcome, runs): &(u64, &str, bool)| (*n, (*outcome).to_owned(), *runs);
        entries.iter().map(owned).collect::<Vec<_>>()
    };
    assert_eq!(place.history(), history(&[(2, "offered", true), (1, "started", false)]));
    let log = process.log();
    let address = log.split("admin=").nth(1).unwrap().split_whitespace().next().unwrap();
    let taken = ["put back 1, ", "every worker runs it as generation 3 ("];
    place.check(&["rollback", "--admin", address], 0, &taken);
    assert_eq!(place.text(), first);
    place.check(&["history"], 0, &["\n* 3 ", "\n  2 ", "filter: limits"]);
    process.terminate();
    assert!(place.history().iter().all(|(_, _, runs)| !runs));

    // Nobody runs: what the folder holds is saved, and comes back as well.
    let nobody = nobody();
    fs::write(place.toml(), "not TOML [").unwrap();
    let said = ["saved what the folder held as 4", "put back 2, ", "the next start takes it"];
    place.check(&["rollback", "2", "--admin", &nobody], 0, &said);
    assert_eq!(place.text(), second);
    assert_eq!(place.history()[0], (4, "saved".to_owned(), false));
    place.check(&["rollback", "4", "--admin", &nobody], 0, &["put back 4, "]);
    assert_eq!(place.text(), "not TOML [");
    place.check(&["rollback", "--admin", &nobody], 0, &["put back 3, "]);
    assert_eq!(place.text(), first);
    place.check(&["rollback", "9"], 2, &["no generation of the history has the number \"9\""]);
    let mut process = place.start();
    process.await_in_log("a second life", |log| log.matches("admin=").count() == 2, SOON);
    process.terminate();
    assert_eq!(place.text(), first);

    // As good as a folder that cannot be written.
    fs::remove_file(place.toml()).unwrap();
    fs::create_dir(place.toml()).unwrap();
    place.check(&["rollback", "2", "--admin", &nobody], 3, &["plugins/pipeline.toml", "ConfigMap"]);
}

#[test]
fn a_history_that_cannot_be_written_or_is_not_wanted_stops_nothing() {
    let place = Place::new();
    fs::create_dir(place.path().join("state")).unwrap();
    fs::write(place.path().join("state/history"), "a file in its place").unwrap();
    let mut process = place.start();
    process.await_log("not kept in the history", SOON);
    process.terminate();
    fs::remove_file(place.path().join("state/history")).unwrap();
    let text = place.text().replacen("history = 20", "history = 0", 1);
    fs::write(place.toml(), text).unwrap();
    let mut process = place.start();
    process.await_in_log("a second life", |log| log.matches("admin=").count() == 2, SOON);
    process.terminate();
    assert!(!place.path().join("state/history").exists());
}
