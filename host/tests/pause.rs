//! A pause on request: nothing is taken, nothing is lost, nobody takes the partitions away, and no
//! window is closed because of it.

#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod support;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Output;
use std::time::{Duration, Instant};

use chrono::Utc;
use host::demo::generate::Spec;
use support::broker::{Broker, Options};
use support::comparison::Promise;
use support::feed::Feed;
use support::pipeline::{PARTITIONS, Pipeline, event, key_for};
use support::process::Process;
use support::{SOON, read_values};

const LIVENESS: Duration = Duration::from_secs(60);
/// Longer than a member may go without a poll, and than a partition may be silent before its windows
/// are closed by the clock.
const PAUSE: Duration = Duration::from_secs(8);

fn admin(process: &Process) -> String {
    let log = process.log();
    log.rsplit("admin=").next().unwrap().split_whitespace().next().unwrap().to_owned()
}

fn ask(process: &Process, method: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(admin(process)).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: host\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

fn status(process: &Process) -> serde_json::Value {
    serde_json::from_str(&ask(process, "GET", "/api/v1/status").1).unwrap()
}

#[track_caller]
fn command(process: &Process, name: &str, expected: &str) {
    let mut command = Process::command();
    let Output { status, stdout, stderr } =
        command.args([name, "--admin", &admin(process)]).output().unwrap();
    let stdout = String::from_utf8(stdout).unwrap();
    assert!(status.success() && stdout.contains(expected), "{status} {stdout} {stderr:?}");
}

/// Events of one time into each partition.
fn send(feed: &mut Feed, count: usize, time: i64) {
    for partition in 0..PARTITIONS {
        let key = key_for(partition);
        for _ in 0..count {
            feed.send_one(partition, Some(key.as_bytes()), event("android", time).as_bytes(), time);
        }
    }
    feed.flush();
}

/// Whether both workers have partitions of the input and of the repartition topic.
fn is_spread(log: &str) -> bool {
    let has = |(worker, of_repartition): (usize, bool)| {
        let worker = format!("partitions taken over worker={worker} ");
        let mut lines = log.lines().filter(|line| line.contains(&worker));
        lines.any(|line| line.contains("-repartition ") == of_repartition)
    };
    [(0, false), (0, true), (1, false), (1, true)].into_iter().all(has)
}

#[test]
fn nothing_is_taken_and_nothing_lost_and_rules_change_all_the_same() {
    let broker = Broker::start(&Options::default());
    let pipeline = Pipeline::with_input("pause", &broker.brokers(), |text| {
        // A probation that would be over long before the pause is, if time in it counted.
        let text = text.replace("probation-time = \"30s\"", "probation-time = \"2s\"");
        text.replace("idle = \"1h\"", "idle = \"5s\"")
    });
    let mut feed = Feed::new(&pipeline, Spec::default());
    // A window that the clock may close as soon as its partition has been silent.
    let time = Utc::now().timestamp_millis() - 300_000;
    let limits = ["--workers", "2", "-X", "max.poll.interval.ms=4000"];
    let mut processes = [pipeline.start("a", &limits)];
    send(&mut feed, 100, time);
    pipeline.await_end(&mut processes, LIVENESS);
    // The second worker to come may take some of the first one's; then both groups are at rest.
    processes[0].await_in_log("partitions of both workers", is_spread, SOON);
    command(&processes[0], "pause", "everything in hand is committed");
    let rebalances = || {
        let logged = |text| pipeline.logged(&["a"], text);
        (logged("partitions taken over"), logged("partitions given up"))
    };
    let before = (pipeline.progress().unwrap(), rebalances());
    let paused = Instant::now();
    send(&mut feed, 100, time);
    let (code, body) = ask(&processes[0], "GET", "/readyz");
    assert!(code == 200 && body.contains("paused"), "{code} {body}");
    let text = |text: String| text.replacen("call = \"100ms\"", "call = \"200ms\"", 1);
    pipeline.edit(text);
    let (code, body) = ask(&processes[0], "POST", "/api/v1/reload");
    assert!(code == 200 && body.contains("\"taken\":true"), "{code} {body}");
    let waiting = 100 * PARTITIONS as u64;
    while paused.elapsed() < PAUSE || status(&processes[0])["lag"] != waiting {
        processes[0].assert_runs();
        assert!(paused.elapsed() < SOON, "{}", status(&processes[0]));
        std::thread::sleep(Duration::from_millis(100));
    }
    let committed = |progress: &std::collections::BTreeMap<i32, (i64, i64)>| {
        progress.values().map(|(committed, _)| *committed).collect::<Vec<_>>()
    };
    assert_eq!(committed(&pipeline.progress().unwrap()), committed(&before.0));
    assert_eq!(rebalances(), before.1, "a rebalance");
    assert_eq!(pipeline.logged(&["a"], "first record processed by generation 2"), 0);
    assert_eq!(status(&processes[0])["on_probation"], true);

    command(&processes[0], "resume", "resumed");
    pipeline.await_end(&mut processes, LIVENESS);
    processes[0].await_log("first record processed by generation 2", SOON);
    let late = read_values(&pipeline.settings(), &format!("{}-late", pipeline.name), PARTITIONS);
    assert!(late.is_empty(), "closed by the clock of a pause: {} late", late.len());
    // Once it is read to its end again, silence closes the windows as ever.
    processes[0].await_log("window closed", SOON);
    processes[0].await_log("the new rules have passed their probation", SOON);
    pipeline.record_differences(Promise::ExactlyOnce).assert_none();

    // A pause ends with its process.
    command(&processes[0], "pause", "paused");
    processes[0].terminate();
    let mut again = pipeline.start("a", &limits);
    again.await_in_log("a second life", |log| log.matches("admin=").count() == 2, SOON);
    assert_eq!(status(&again)["paused"], false);
    again.terminate();
}
