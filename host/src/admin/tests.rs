//! The server over a real socket.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::*;
use crate::reload::{self, Counts, Outcome, StageInfo};
use crate::worker::status::{MergeStatus, MergeWindow, PartitionStatus, Snapshot, StageStatus};

fn any_port() -> SocketAddr {
    SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 0)
}

fn pipeline(workers: usize, demo: bool) -> Arc<Pipeline> {
    pipeline_with(workers, demo, Handle::detached(rules()).0)
}

fn rules() -> reload::Status {
    let stage = StageInfo { name: "f".into(), plugin: "filter".into(), hash: "012345".into() };
    reload::Status {
        generation: 7,
        hash: "abcdef".to_owned(),
        stages: vec![stage],
        counts: Counts { offered: 6, refused: 2, ..Counts::default() },
        ..reload::Status::default()
    }
}

fn pipeline_with(workers: usize, demo: bool, reload: Handle) -> Arc<Pipeline> {
    Arc::new(Pipeline {
        name: "logins".to_owned(),
        instance: "host-0".to_owned(),
        demo,
        delivery: "exactly-once",
        workers: (0..workers).map(|_| Arc::default()).collect(),
        reload,
        pause: Pause::default(),
    })
}

fn serve(pipeline: &Arc<Pipeline>) -> Server {
    let bound = Bound::new(Some(any_port())).expect("a free port");
    Server::start(bound, Arc::clone(pipeline)).expect("a server")
}

/// The status, the head and the body of an answer.
fn fetch(server: &Server, path: &str) -> (u16, String, String) {
    ask(server, "GET", path)
}

fn ask(server: &Server, method: &str, path: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(server.address()).expect("connecting");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: host\r\nConnection: close\r\n\r\n")
        .expect("asking");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("an answer");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    (status, head.to_owned(), body.to_owned())
}

#[test]
fn the_process_is_healthy_before_it_is_ready() {
    let pipeline = pipeline(2, false);
    let server = serve(&pipeline);
    assert_eq!(fetch(&server, "/healthz").0, 200);
    pipeline.workers[0].ready.store(true, Relaxed);
    pipeline.workers[1].step("reading its state back");
    let (status, _, body) = fetch(&server, "/readyz");
    assert_eq!(status, 503);
    assert_eq!(body, "not ready: worker 1 does not take part yet (reading its state back)\n");
    pipeline.workers[1].ready.store(true, Relaxed);
    assert_eq!((fetch(&server, "/readyz").0, fetch(&server, "/readyz").2), (200, "ready\n".into()));
    assert_eq!(fetch(&server, "/nowhere").0, 404);
}

#[test]
fn readiness_says_that_it_is_the_demo() {
    let pipeline = pipeline(1, true);
    let server = serve(&pipeline);
    assert!(fetch(&server, "/readyz").2.contains("demo"));
    pipeline.workers[0].ready.store(true, Relaxed);
    let (status, _, body) = fetch(&server, "/readyz");
    assert_eq!((status, body.as_str()), (200, "ready\ndemo: in memory, at-least-once\n"));
}

fn snapshot(partition: i32, watermark: i64) -> Snapshot {
    let watermarks = BTreeMap::from([("counts".to_owned(), watermark)]);
    let status = PartitionStatus { next_offset: 90, end_offset: 100, watermarks };
    let stage = StageStatus {
        name: "filter".to_owned(),
        plugin: "012345".to_owned(),
        generation: 7,
        records_in: 10,
        dropped: 4,
        rejected: 1,
        faults: BTreeMap::from([("trap", 2)]),
        busy: Duration::from_millis(1500),
    };
    Snapshot {
        partitions: BTreeMap::from([(partition, status)]),
        dead_letters: BTreeMap::from([("invalid-json".to_owned(), 3)]),
        stages: vec![stage],
        open_windows: Vec::new(),
        generation: 7,
        ..Snapshot::default()
    }
}

fn merge(lag: u64, final_before: Option<i64>, behind: Vec<i32>) -> MergeStatus {
    let given_out = final_before;
    let window = MergeWindow { name: "counts".to_owned(), final_before, given_out, behind };
    MergeStatus { lag, windows: vec![window] }
}

#[test]
fn metrics_add_up_what_the_workers_published() {
    let pipeline = pipeline(2, false);
    for (worker, records) in pipeline.workers.iter().zip([5, 6]) {
        worker.counters.records_in.store(records, Relaxed);
        worker.counters.commit_seconds.observe(Duration::from_millis(3));
    }
    pipeline.workers[0].counters.latency_seconds.observe(Duration::from_secs(100));
    pipeline.workers[0].publish(snapshot(0, 1_694_479_551_500));
    let merges = BTreeMap::from([(1, merge(5, Some(60_000), Vec::new()))]);
    pipeline.workers[1].publish(Snapshot { merges, ..snapshot(3, i64::MIN) });

    let (status, head, body) = fetch(&serve(&pipeline), "/metrics");
    assert_eq!(status, 200);
    assert!(head.contains("application/openmetrics-text; version=1.0.0"), "{head}");
    for line in [
        "pipeline_build_info{version=\"0.1.0\"} 1",
        "pipeline_info{name=\"logins\",instance=\"host-0\",delivery=\"exactly-once\",broker=\"kafka\",rules=\"abcdef\"} 1",
        "pipeline_reloads_total{outcome=\"refused\"} 2",
        "pipeline_stage_info{stage=\"f\",plugin=\"filter\",hash=\"012345\"} 1",
        "# TYPE pipeline_records_in counter",
        "pipeline_records_in_total 11",
        "pipeline_dead_letters_total{reason=\"invalid-json\"} 6",
        "pipeline_stage_dropped_total{stage=\"filter\",plugin=\"012345\",generation=\"7\"} 8.0",
        "pipeline_stage_busy_seconds_total{stage=\"filter\",plugin=\"012345\",generation=\"7\"} 3.0",
        "pipeline_stage_errors_total{stage=\"filter\",plugin=\"012345\",generation=\"7\",kind=\"trap\"} 4",
        "pipeline_lag_records{partition=\"0\"} 10",
        "pipeline_lag_records{partition=\"3\"} 10",
        "pipeline_repartition_lag_records{partition=\"1\"} 5",
        "pipeline_window_final_seconds{window=\"counts\"} 60.0",
        "pipeline_next_offset{partition=\"3\"} 90",
        "pipeline_watermark_seconds{partition=\"0\",window=\"counts\"} 1694479551.5",
        "pipeline_commit_duration_seconds_bucket{le=\"0.002\"} 0",
        "pipeline_commit_duration_seconds_bucket{le=\"0.005\"} 2",
        "pipeline_commit_duration_seconds_count 2",
        "pipeline_latency_seconds_bucket{le=\"60.0\"} 0",
        "pipeline_latency_seconds_bucket{le=\"+Inf\"} 1",
        "pipeline_latency_seconds_sum 100.0",
        "pipeline_generation{worker=\"1\"} 7",
        "pipeline_paused 0",
        "pipeline_worker_ready{worker=\"0\"} 0.0",
        "# EOF",
    ] {
        assert!(body.lines().any(|found| found == line), "missing {line}\n{body}");
    }
    assert!(!body.contains("watermark_seconds{partition=\"3\""), "{body}");
}

#[test]
fn a_default_port_that_is_taken_gives_way_to_the_next() {
    let taken = Bound::new(Some(any_port())).expect("a free port");
    let next = Bound::from(taken.address()).expect("one of the next ports");
    assert_ne!(next.address(), taken.address());
    assert_eq!(next.address().ip(), taken.address().ip());
}

#[test]
fn an_address_that_was_asked_for_is_not_replaced() {
    let taken = Bound::new(Some(any_port())).expect("a free port");
    let error = Bound::new(Some(taken.address())).expect_err("it is taken");
    assert_eq!(error.address, taken.address());
    assert!(error.to_string().contains("choose another with --admin"), "{error}");
}

#[test]
fn clients_that_stay_do_not_hold_up_the_end() {
    let server = serve(&pipeline(1, false));
    let idle: Vec<_> = (0..listener::CONNECTIONS_MAX - 1)
        .map(|_| TcpStream::connect(server.address()).expect("connecting"))
        .collect();
    assert_eq!(fetch(&server, "/healthz").0, 200);
    let begun = Instant::now();
    drop(server);
    assert!(begun.elapsed() < Duration::from_secs(5), "took {:?}", begun.elapsed());
    drop(idle);
}

#[test]
fn the_status_says_what_runs() {
    let pipeline = pipeline(2, false);
    let merges = BTreeMap::from([
        (0, merge(0, Some(60_000), vec![3])),
        (1, merge(0, Some(120_000), vec![4])),
    ]);
    pipeline.workers[0].publish(Snapshot { merges, ..snapshot(3, 0) });
    let (status, _, body) = fetch(&serve(&pipeline), "/api/v1/status");
    assert_eq!(status, 200);
    let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    let expected = serde_json::json!({
        "name": "logins", "instance": "host-0", "delivery": "exactly-once",
        "generation": 7, "hash": "abcdef", "on_probation": false,
        "stages": [{ "name": "f", "plugin": "filter", "hash": "012345" }],
        "last_reload": null, "shadows": [],
        "paused": false,
        "workers": [
            { "ready": false, "at_rest": false, "generation": 7, "lag": { "3": 10 } },
            { "ready": false, "at_rest": false, "generation": 0, "lag": {} },
        ],
        "lag": 10,
        "windows": [{
            "name": "counts", "final_before": "1970-01-01T00:01:00Z", "behind": [3],
            "watermarks": { "3": "1970-01-01T00:00:00Z" }, "open": [],
        }],
    });
    assert_eq!(body, expected);
}

#[test]
fn a_reload_is_answered_with_what_became_of_it() {
    let (handle, requests) = Handle::detached(rules());
    let server = serve(&pipeline_with(1, false, handle));
    let outcome = |outcome| Outcome {
        at: 1,
        outcome,
        generation: 7,
        hash: "abcdef".to_owned(),
        message: "why".to_owned(),
        taken: (outcome == Kind::Offered).then_some(true),
    };
    let kinds = [
        (Kind::Offered, 200, "offered"),
        (Kind::Unchanged, 200, "unchanged"),
        (Kind::Invalid, 422, "refused"),
        (Kind::Refused, 409, "refused"),
        (Kind::RolledBack, 409, "rolled-back"),
    ];
    let answers: Vec<_> = kinds.iter().map(|(kind, _, _)| outcome(*kind)).collect();
    let answering = std::thread::spawn(move || {
        answers.into_iter().for_each(|outcome| requests.answer(outcome));
    });
    for (kind, code, name) in kinds {
        let (status, _, body) = ask(&server, "POST", "/api/v1/reload");
        let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!(
            (status, &body["outcome"], &body["message"]),
            (code, &name.into(), &"why".into())
        );
        assert_eq!(body.get("taken").is_some(), kind == Kind::Offered, "{body}");
    }
    answering.join().expect("all were answered");
    assert_eq!(ask(&server, "POST", "/api/v1/reload").0, 503);
    assert_eq!(fetch(&server, "/api/v1/reload").0, 405);
}

#[test]
fn a_pause_is_answered_once_all_workers_rest_and_is_no_reason_not_to_be_ready() {
    let pipeline = pipeline(2, false);
    pipeline.workers.iter().for_each(|worker| worker.ready.store(true, Relaxed));
    let server = serve(&pipeline);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !pipeline.pause.is_on() {
                std::thread::yield_now();
            }
            pipeline.workers.iter().for_each(|worker| worker.at_rest.store(true, Relaxed));
        });
        let (code, _, body) = ask(&server, "POST", "/api/v1/pause");
        assert_eq!((code, body.as_str()), (200, r#"{"paused":true,"at_rest":true}"#));
    });
    let (code, _, body) = fetch(&server, "/readyz");
    assert!(code == 200 && body.starts_with("ready\npaused: "), "{code} {body}");
    assert!(fetch(&server, "/metrics").2.contains("\npipeline_paused 1\n"));
    assert!(fetch(&server, "/api/v1/status").2.contains(r#""paused":true"#));
    let (code, _, body) = ask(&server, "POST", "/api/v1/resume");
    assert_eq!((code, body.as_str()), (200, r#"{"paused":false,"at_rest":false}"#));
    assert!(!pipeline.pause.is_on());
    assert_eq!(fetch(&server, "/readyz").2, "ready\n");
}
