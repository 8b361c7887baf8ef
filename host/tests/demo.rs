//! `host run` with nothing but a plugins folder: the demo, on its own broker.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod support;

use support::SOON;
use support::process::Process;

/// Twice, since two workers that join at once meet with each other's rebalances in many ways.
#[test]
fn the_demo_comes_up_by_itself_runs_without_a_failure_and_ends_with_everything_committed() {
    for _ in 0..2 {
        let folder = tempfile::Builder::new().prefix("demo-").tempdir().unwrap();
        let mut command = Process::command();
        command.current_dir(folder.path()).args(["run", "--plugins", "plugins", "--workers", "2"]);
        command.args(["--state-dir", "state", "--admin", "127.0.0.1:0"]);
        let mut process = Process::start(&mut command, &folder.path().join("log"));
        process.await_log("this is the demo broker", SOON);
        // One of 200 generated records is invalid: records come through.
        process.await_log("dead letter", SOON);
        process.terminate();
        let log = process.log();
        assert!(log.contains("stopped: everything in hand is committed"), "{log}");
        assert!(!log.contains("going back to what is committed"), "{log}");
    }
}
