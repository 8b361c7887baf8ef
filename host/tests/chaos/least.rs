//! At-least-once: what kill -9 repeats, and that it loses nothing, not even of a count.

use crate::cluster::Cluster;
use crate::setting::{PACE, events};
use crate::support::SOON;
use crate::support::comparison::{Kind, Promise};
use crate::support::feed::Feed;
use crate::support::pipeline::Pipeline;
use crate::support::process::Process;
use crate::{LIVENESS, alone, under_load};

const KILLS: usize = 6;
const AT_LEAST_ONCE: [&str; 4] = ["--delivery", "at-least-once", "--workers", "2"];

#[test]
fn at_least_once_kill_9_repeats_records_and_loses_none() {
    let _alone = alone();
    let cluster = Cluster::start(1);
    let brokers = cluster.straight();
    let pipeline = Pipeline::with_partitions("least", &brokers, 8, |text| text);
    let start = |name: &str| pipeline.start(name, &AT_LEAST_ONCE);
    let mut processes = [start("a"), start("b")];
    processes.iter_mut().for_each(|one| pipeline.await_input(one, SOON));
    let mut feed = Feed::new(&pipeline, events(1, 10 * PACE));
    under_load(&mut feed, || {
        for kill in 0..KILLS {
            // Some way into what flows; where in a commit interval is left to when it is noticed.
            let records = (kill as i64 + 1) * 500;
            pipeline.await_committed(&mut processes[0], records, LIVENESS);
            let (name, process) = (["a", "b"][kill % 2], &mut processes[kill % 2]);
            process.kill();
            *process = start(name);
        }
    });
    feed.finish();
    pipeline.await_end(&mut processes, LIVENESS);
    processes.iter_mut().for_each(Process::terminate);
    let differences = pipeline.differences(Promise::AtLeastOnceCrashed);
    println!(
        "at-least-once: {} records, {KILLS} kill -9, lost {}, duplicates {}",
        feed.sent(),
        differences.of(Kind::Lost),
        differences.repeats()
    );
    differences.assert_none();
}
