//! Candidates beside a running pipeline: what comes out is what comes out without them, however bad
//! they are, and what they would change is told.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod plugin_support;
mod support;

use std::time::{Duration, Instant};

use chrono::Utc;
use host::demo::generate::{Mix, Spec};
use plugin_support::{ANSWER, component, rule_core};
use serde_json::{Value, json};
use support::SOON;
use support::broker::{Broker, Options};
use support::comparison::Promise;
use support::feed::Feed;
use support::pipeline::Pipeline;
use support::process::Process;

/// A rule that never answers.
const LOOP: &str = "(loop (br 0)) unreachable";
const LIVENESS: Duration = Duration::from_secs(60);
const EVENTS: u64 = 20_000;

/// Events that a busy machine processes long before a looping candidate has had one batch of them.
fn events() -> Spec {
    let mix =
        Mix { invalid: 0.005, late: 0.01, late_by: Duration::from_secs(300), ..Mix::default() };
    let start_ms = Utc::now().timestamp_millis() - 600_000;
    Spec { seed: 1, start_ms, rate: 200, mix, ..Spec::default() }
}

/// The candidate beside a stage, or beside all of them.
fn shadow(process: &Process, stage: Option<&str>) -> Value {
    let (code, status) = process.ask("GET", "/api/v1/status");
    assert_eq!(code, 200, "{status}");
    let shadows = status["shadows"].as_array().unwrap().clone();
    let mut shadows = shadows.into_iter();
    shadows.find(|shadow| shadow["stage"] == json!(stage)).unwrap_or_else(|| panic!("{status}"))
}

/// Waits until a candidate fulfils this.
#[track_caller]
fn await_shadow(process: &Process, stage: Option<&str>, holds: impl Fn(&Value) -> bool) -> Value {
    let end = Instant::now() + SOON;
    loop {
        let shadow = shadow(process, stage);
        if holds(&shadow) {
            return shadow;
        }
        assert!(Instant::now() < end, "{shadow}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn candidates_change_nothing_and_their_differences_are_told() {
    let broker = Broker::start(&Options::default());
    let pipeline = Pipeline::with_input("shadow", &broker.brokers(), |text| {
        let text = text.replacen(
            "plugin = \"categorize\"\n",
            "plugin = \"categorize\"\n[stage.shadow]\nplugin = \"categorize\"\n\
             [stage.shadow.settings]\nmap = { android = \"Phone\" }\n",
            1,
        );
        let text = text.replacen(
            "plugin = \"timestamps\"\n",
            "plugin = \"timestamps\"\nshadow = { plugin = \"loops\" }\n",
            1,
        );
        // All stages but the last: what it writes is missing.
        text + "[[shadow.stage]]\nplugin = \"filter\"\nsettings = { conditions = [{ field = \
                \"/device_type\", equals = \"android\", ignore-case = true }] }\n\
                [[shadow.stage]]\nplugin = \"timestamps\"\n[[shadow.stage]]\nplugin = \"categorize\"\n"
    });
    pipeline.add_plugin("loops", &component("rule", &rule_core(ANSWER, LOOP, "", "")));
    let mut process = pipeline.start("a", &["--workers", "2"]);
    pipeline.await_input(&mut process, SOON);
    let mut feed = Feed::new(&pipeline, events());
    feed.send(EVENTS);
    feed.finish();
    pipeline.await_end(std::slice::from_mut(&mut process), LIVENESS);
    pipeline.differences(Promise::ExactlyOnce).assert_none();

    let told = |shadow: &Value| shadow["records"].as_u64().unwrap() > 0;
    let categorize = await_shadow(&process, Some("categorize"), told);
    assert_eq!(categorize["differ"]["fields"], categorize["records"], "{categorize}");
    let change = &categorize["samples"][0]["fields"][0];
    let expected = json!({ "field": "/device_category", "live": "Mobile", "candidate": "Phone" });
    assert_eq!(*change, expected, "{categorize}");
    let all = await_shadow(&process, None, told);
    let fields: Vec<&String> = all["fields"].as_object().unwrap().keys().collect();
    assert_eq!(fields, ["/anomaly", "/anomaly_reasons"], "{all}");

    // The looping one is given up batch by batch, and is let to see few of them.
    let is_given_up = |shadow: &Value| !shadow["stopped"].is_null();
    let loops = await_shadow(&process, Some("timestamps"), is_given_up);
    assert!(loops["stopped"].as_str().unwrap().contains("no answer within"), "{loops}");
    assert!(loops["batches_passed_over"].as_u64().unwrap() > 0, "{loops}");
    assert_eq!(loops["differ"]["errors"], loops["records"], "{loops}");
    let metrics = process.ask("GET", "/metrics").1;
    let metrics = metrics.as_str().unwrap();
    let label = "pipeline_shadow_differing_total{stage=\"categorize\",candidate=\"categorize\"";
    assert!(metrics.contains(&format!("{label},kind=\"fields\"}}")), "{metrics}");

    // Without them there is another generation, with nothing beside it.
    pipeline.edit(|text| {
        let text = text.replace("shadow = { plugin = \"loops\" }\n", "");
        let text = text.replace("[stage.shadow]\nplugin = \"categorize\"\n", "");
        let text = text.replace("[stage.shadow.settings]\nmap = { android = \"Phone\" }\n", "");
        text.split("\n[[shadow.stage]]").next().unwrap().to_owned()
    });
    let (code, body) = process.ask("POST", "/api/v1/reload");
    assert_eq!((code, &body["taken"]), (200, &true.into()), "{body}");
    assert!(body["message"].as_str().unwrap().contains("shadow of timestamps removed"), "{body}");
    let status = process.ask("GET", "/api/v1/status").1;
    assert_eq!(status["shadows"], json!([]));
    process.terminate();
}
