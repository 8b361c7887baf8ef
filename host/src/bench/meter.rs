//! What a run did, from its first commit to its last.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

/// One tick of `/proc/self/stat`: Linux shows them at 100 a second on every machine.
const TICK: Duration = Duration::from_millis(10);

/// What was measured of one run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// Input events a second of wall time.
    pub events_per_second: f64,
    /// CPU time of the whole process per input event, in nanoseconds, librdkafka's threads included.
    pub cpu_ns_per_event: f64,
    /// Events that were written, from the first record on.
    pub written: u64,
}

#[derive(Clone, Copy)]
struct Mark {
    at: Instant,
    cpu: Duration,
    records: u64,
}

/// Hears of every commit.
#[derive(Default)]
pub struct Meter {
    first: Option<Mark>,
    last: Option<Mark>,
}

impl Meter {
    /// A commit came back, with which `records` input records are done since the start.
    pub fn committed(&mut self, records: u64) -> Result<()> {
        let mark = Mark { at: Instant::now(), cpu: cpu_time()?, records };
        self.first.get_or_insert(mark);
        self.last = Some(mark);
        Ok(())
    }

    /// What lay between the first commit and the last; an error when they are the same.
    pub fn finish(self, written: u64) -> Result<Measured> {
        let marks = self.first.zip(self.last);
        let marks = marks.filter(|(first, last)| last.records > first.records);
        let (first, last) =
            marks.context("all events went with the first commit: give more --events")?;
        let records = (last.records - first.records) as f64;
        Ok(Measured {
            events_per_second: records / (last.at - first.at).as_secs_f64(),
            cpu_ns_per_event: (last.cpu - first.cpu).as_nanos() as f64 / records,
            written,
        })
    }
}

/// What this process has used so far, user and system, in steps of [`TICK`].
fn cpu_time() -> Result<Duration> {
    const FILE: &str = "/proc/self/stat";
    let stat = std::fs::read_to_string(FILE)
        .with_context(|| format!("reading {FILE} (bench needs Linux to know its CPU time)"))?;
    parse(&stat).with_context(|| format!("{FILE} has no CPU time: {stat:?}"))
}

/// The name of the process, in parentheses, may hold anything; utime and stime are the 12th and
/// 13th field behind it.
fn parse(stat: &str) -> Result<Duration> {
    let (_, fields) = stat.rsplit_once(')').context("no name")?;
    let ticks: Vec<u32> = fields
        .split_ascii_whitespace()
        .skip(11)
        .take(2)
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    ensure!(ticks.len() == 2, "too few fields");
    Ok(TICK * (ticks[0] + ticks[1]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_read_behind_any_name() {
        let stat = "7 (a b) S) R 1 2 3 4 5 6 7 8 9 10 150 50 0 0";
        assert_eq!(parse(stat).expect("well-formed"), Duration::from_secs(2));
        assert!(parse("7 (host) R 1 2 3").is_err());
        assert!(parse("").is_err());
    }

    #[test]
    fn this_process_uses_its_cpu() {
        let before = cpu_time().expect("Linux");
        let end = Instant::now() + Duration::from_secs(20);
        while cpu_time().expect("Linux") == before {
            assert!(Instant::now() < end, "no tick in 20 s of work");
        }
    }

    #[test]
    fn one_commit_is_no_measurement() {
        let mut meter = Meter::default();
        meter.committed(1_000).expect("Linux");
        let error = meter.finish(0).expect_err("one commit only");
        assert!(error.to_string().contains("--events"), "{error}");
    }

    #[test]
    fn what_was_done_before_the_first_commit_does_not_count() {
        let at = Instant::now();
        let mark = |seconds, records| {
            let time = Duration::from_secs(seconds);
            Some(Mark { at: at + time, cpu: time / 2, records })
        };
        let meter = Meter { first: mark(10, 500), last: mark(12, 2_500) };
        let measured = meter.finish(7).expect("two commits");
        assert_eq!((measured.events_per_second, measured.cpu_ns_per_event), (1_000.0, 500_000.0));
    }
}
