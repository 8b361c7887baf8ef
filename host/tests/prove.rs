//! What new rules are refused for on the records that were seen lately, in a running pipeline.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod plugin_support;
mod support;

use std::time::Duration;

use host::demo::generate::Spec;
use plugin_support::{component, transform_core};
use support::SOON;
use support::broker::{Broker, Options};
use support::feed::Feed;
use support::pipeline::{PARTITIONS, Pipeline};

/// A transform that drops every record: what is behind it never sees that none of them is JSON.
const DROPS: &str = "
    (local.set $at (i32.const 8192))
    (loop
      (if (i32.lt_u (local.get $i) (local.get $count))
        (then
          (i32.store8 (local.get $at) (i32.const 1))
          (local.set $at (i32.add (local.get $at) (i32.const 12)))
          (local.set $i (i32.add (local.get $i) (i32.const 1)))
          (br 1))))
    (i32.store (i32.const 1024) (i32.const 8192))
    (i32.store (i32.const 1028) (local.get $count))
    (i32.const 1024)";

#[test]
fn a_stage_without_which_the_next_cannot_read_its_input_cannot_be_taken_out() {
    const STAGE: &str = "[[stage]]\nplugin = \"own\"\n\n";
    let broker = Broker::start(&Options::default());
    let pipeline = Pipeline::with_input("needed", &broker.brokers(), |text| {
        text.replacen("[[stage]]", &format!("{STAGE}[[stage]]"), 1)
    });
    pipeline.add_plugin("own", &component("transform", &transform_core(DROPS, "")));
    let mut process = pipeline.start("a", &[]);
    let mut feed = Feed::new(&pipeline, Spec::default());
    // Some records of each commit are kept.
    for _ in 0..3 {
        for number in 0..50 {
            feed.send_one(number % PARTITIONS, None, b"device=android", 1_694_479_551_000);
        }
        feed.flush();
        pipeline.await_end(std::slice::from_mut(&mut process), SOON);
    }
    pipeline.edit(|text| text.replacen(STAGE, "", 1));
    let (code, body) = process.ask("POST", "/api/v1/reload");
    let message = body["message"].as_str().unwrap();
    assert_eq!((code, &body["generation"]), (422, &1.into()), "{body}");
    assert!(message.contains("are no JSON objects for the first rule"), "{message}");
    assert!(message.starts_with("tried on the last "), "{message}");
    process.await_log("reload refused, the running rules stay", Duration::from_secs(5));
    process.terminate();
}
