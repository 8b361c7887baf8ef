//! The demo's live view: processed events scroll by at a readable pace, above counters and the
//! windows that are open. Without a terminal, a line in the log each minute.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anstyle::{AnsiColor, Style};
use chrono::DateTime;
use console::truncate_str;
use tracing::{info, warn};

use super::follow::{Follower, Start, seen};
use super::screen::{self, Screen};
use super::stop::Stop;
use super::view::{TerminalView, grouped, harmless};
use crate::kafka::ClientSettings;
use crate::window::OpenWindow;
use crate::worker::status::{PartitionStatus, WorkerStatus};

/// Between two events that are shown: what an eye can follow.
const LINE_EVERY: Duration = Duration::from_millis(150);
/// Between two updates of the block.
const STATUS_EVERY: Duration = Duration::from_millis(250);
/// After so many events the titles come again.
const TITLES_EVERY: u64 = 50;
/// Between two warnings where there is no terminal.
const WARN_EVERY: Duration = Duration::from_secs(60);
/// Rates are those of the last so many updates.
const RATE_OVER: usize = 12;
/// Windows in the block: the newest.
const WINDOWS_MAX: usize = 3;
/// Groups in the line of a window: the largest.
const GROUPS_MAX: usize = 8;

const BOLD: Style = Style::new().bold();
const CYAN: Style = AnsiColor::Cyan.on_default();

/// What the view shows.
pub struct Shown {
    /// How to reach the embedded broker.
    pub settings: ClientSettings,
    /// The topic of processed events.
    pub output: String,
    /// What the workers say.
    pub statuses: Vec<Arc<WorkerStatus>>,
}

/// Starts the view in a thread of its own; it ends when the flag is raised.
pub fn start(shown: Shown, stop: Stop) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name("demo-view".into())
        .spawn(move || if screen::can_show() { show(&shown, &stop) } else { log(&shown, &stop) })
}

/// What must be known of the demo: what it is not, how to leave it, how to join in.
fn notices(shown: &Shown) -> [String; 3] {
    let brokers = shown.settings.brokers();
    let output = &shown.output;
    [
        format!(
            "this is the demo broker at {brokers}: in memory, at-least-once; it cannot promise \
             exactly-once, and it forgets everything when it ends. For real Kafka: host run \
             --brokers localhost:9092"
        ),
        format!("join in: host view {output} --brokers {brokers}"),
        format!("     or: kcat -b {brokers} -t {output}"),
    ]
}

fn log(shown: &Shown, stop: &Stop) {
    let [what, view, kcat] = notices(shown);
    info!("{view}");
    info!("{}", kcat.trim_start());
    loop {
        let totals = Totals::read(&shown.statuses);
        warn!(records_in = totals.records_in, records_out = totals.records_out, "{what}");
        if stop.wait(WARN_EVERY) {
            return;
        }
    }
}

fn show(shown: &Shown, stop: &Stop) {
    let screen = Screen::new();
    for notice in notices(shown) {
        screen.line(&notice);
    }
    let follower = match Follower::open(&shown.settings, &shown.output, Start::Beginning, stop) {
        Ok(follower) => follower,
        Err(error) => {
            warn!(%error, "the demo's events cannot be shown");
            drop(screen);
            return log(shown, stop);
        }
    };
    let mut view = TerminalView::new(TITLES_EVERY);
    let mut line_due = Instant::now();
    let mut status_due = Instant::now();
    let mut rates = Rates::default();
    while !stop.stopped() {
        match follower.next(LINE_EVERY.min(STATUS_EVERY), stop) {
            Ok(Some(message)) if Instant::now() >= line_due => {
                for line in view.lines(&seen(&message), screen.width()) {
                    screen.line(&line);
                }
                line_due = Instant::now() + LINE_EVERY;
            }
            Ok(_) => {}
            Err(error) => warn!(%error, topic = shown.output, "following the demo's output"),
        }
        if Instant::now() >= status_due {
            let totals = Totals::read(&shown.statuses);
            let rate = rates.add(Instant::now(), &totals);
            screen.set_block(&status(shown.settings.brokers(), &totals, rate, screen.width()));
            status_due = Instant::now() + STATUS_EVERY;
        }
    }
}

/// What all workers have done together.
#[derive(Clone, Debug, Default, PartialEq)]
struct Totals {
    records_in: u64,
    records_out: u64,
    late: u64,
    lag: u64,
    dead_letters: BTreeMap<String, u64>,
    ready: bool,
    /// Of each worker.
    windows: Vec<Vec<OpenWindow>>,
}

impl Totals {
    fn read(statuses: &[Arc<WorkerStatus>]) -> Self {
        let mut totals = Self::default();
        for status in statuses {
            totals.records_in += status.counters.records_in.load(Relaxed);
            totals.records_out += status.counters.records_out.load(Relaxed);
            totals.late += status.counters.late.load(Relaxed);
            totals.ready |= status.ready.load(Relaxed);
            let snapshot = status.snapshot();
            totals.lag += snapshot.partitions.values().map(PartitionStatus::lag).sum::<u64>();
            for (reason, count) in snapshot.dead_letters {
                *totals.dead_letters.entry(reason).or_default() += count;
            }
            totals.windows.push(snapshot.open_windows);
        }
        totals
    }
}

/// Records in and out per second, over the last updates.
#[derive(Debug, Default)]
struct Rates(Vec<(Instant, u64, u64)>);

impl Rates {
    fn add(&mut self, now: Instant, totals: &Totals) -> (u64, u64) {
        if self.0.len() == RATE_OVER {
            self.0.remove(0);
        }
        self.0.push((now, totals.records_in, totals.records_out));
        let (then, records_in, records_out) = self.0[0];
        let seconds = now.duration_since(then).as_secs_f64().max(0.001);
        let rate = |now: u64, then: u64| (now.saturating_sub(then) as f64 / seconds).round() as u64;
        (rate(totals.records_in, records_in), rate(totals.records_out, records_out))
    }
}

/// The lines of the block, none wider than `width`.
fn status(brokers: &str, totals: &Totals, rate: (u64, u64), width: usize) -> Vec<String> {
    let mut lines = vec![
        String::new(),
        format!(
            "{BOLD}demo broker {brokers}{BOLD:#} in memory, at-least-once; real Kafka: --brokers HOST:9092"
        ),
    ];
    if !totals.ready && totals.records_in == 0 {
        lines.push("joining the consumer group, which takes some seconds".to_owned());
    } else {
        lines.push(format!(
            "in {} ({}/s) · out {} ({}/s) · {} · late {} · lag {}",
            grouped(totals.records_in),
            grouped(rate.0),
            grouped(totals.records_out),
            grouped(rate.1),
            dead_letters(&totals.dead_letters),
            grouped(totals.late),
            grouped(totals.lag),
        ));
    }
    lines.extend(windows(&totals.windows));
    lines.into_iter().map(|line| truncate_str(&line, width, "…").into_owned()).collect()
}

fn dead_letters(reasons: &BTreeMap<String, u64>) -> String {
    let total = grouped(reasons.values().sum());
    let parts: Vec<String> =
        reasons.iter().map(|(reason, count)| format!("{reason} {}", grouped(*count))).collect();
    if parts.is_empty() {
        format!("dead letters {total}")
    } else {
        format!("dead letters {total} ({})", parts.join(", "))
    }
}

/// A line for each of the newest windows, the newest last.
fn windows(workers: &[Vec<OpenWindow>]) -> Vec<String> {
    let mut windows = OpenWindow::merge(workers.to_vec(), GROUPS_MAX);
    windows.sort_by_key(|open| open.span);
    let older = windows.len().saturating_sub(WINDOWS_MAX);
    windows[older..].iter().map(window).collect()
}

fn window(open: &OpenWindow) -> String {
    let mut groups: Vec<String> = open
        .top
        .iter()
        .map(|(key, count)| format!("{} {}", harmless(key), grouped(*count)))
        .collect();
    let more = open.groups.saturating_sub(groups.len());
    if more > 0 {
        groups.push(format!("and {more} more"));
    }
    let name = harmless(&open.window);
    let times = format!("{}–{}", clock(open.span.start), clock(open.span.end));
    format!("{CYAN}{name} {times} open{CYAN:#}  {}", groups.join(" · "))
}

fn clock(millis: i64) -> String {
    DateTime::from_timestamp_millis(millis)
        .map_or_else(|| millis.to_string(), |time| time.format("%H:%M:%S").to_string())
}

#[cfg(test)]
mod tests {
    use console::{measure_text_width, strip_ansi_codes};

    use super::*;
    use crate::window::Span;
    use crate::worker::status::Snapshot;

    fn window(start: i64, top: &[(&str, u64)]) -> OpenWindow {
        let top = top.iter().map(|(key, count)| ((*key).to_owned(), *count));
        OpenWindow {
            are_sessions: false,
            window: "counts".to_owned(),
            span: Span { start, end: start + 60_000 },
            groups: top.len(),
            top: top.collect(),
        }
    }

    fn worker(partition: i32, windows: Vec<OpenWindow>) -> Arc<WorkerStatus> {
        let status = WorkerStatus::default();
        status.ready.store(true, Relaxed);
        status.counters.records_in.store(12_000, Relaxed);
        status.counters.records_out.store(5_000, Relaxed);
        let at = PartitionStatus { next_offset: 90, end_offset: 100, ..Default::default() };
        status.publish(Snapshot {
            partitions: BTreeMap::from([(partition, at)]),
            dead_letters: BTreeMap::from([("invalid-json".to_owned(), 30)]),
            open_windows: windows,
            ..Snapshot::default()
        });
        Arc::new(status)
    }

    fn bare(lines: &[String]) -> Vec<String> {
        lines.iter().map(|line| strip_ansi_codes(line).into_owned()).collect()
    }

    #[test]
    fn workers_and_partitions_are_added_up() {
        let one = vec![window(60_000, &[("1.9", 100), ("2.3.0", 70)])];
        let two = vec![window(60_000, &[("2.2.0", 120)]), window(0, &[("null", 3)])];
        let totals = Totals::read(&[worker(0, one), worker(1, two)]);
        let lines = bare(&status("127.0.0.1:4000", &totals, (1_003, 401), 200));
        assert_eq!(
            lines,
            [
                "",
                "demo broker 127.0.0.1:4000 in memory, at-least-once; real Kafka: --brokers HOST:9092",
                "in 24,000 (1,003/s) · out 10,000 (401/s) · dead letters 60 (invalid-json 60) · late 0 · lag 20",
                "counts 00:00:00–00:01:00 open  null 3",
                "counts 00:01:00–00:02:00 open  2.2.0 120 · 1.9 100 · 2.3.0 70",
            ]
        );
    }

    #[test]
    fn a_narrow_terminal_cuts_lines_instead_of_wrapping_them() {
        let totals = Totals::read(&[worker(0, vec![window(0, &[("2.3.0", 70)])])]);
        for width in 1..100 {
            for line in status("127.0.0.1:4000", &totals, (1, 1), width) {
                assert!(measure_text_width(&line) <= width, "{width}: {line}");
            }
        }
    }

    #[test]
    fn a_key_cannot_drive_the_terminal() {
        let lines = windows(&[vec![window(0, &[("a\u{1b}[2Jb", 1)])]]);
        assert_eq!(bare(&lines), ["counts 00:00:00–00:01:00 open  a\u{fffd}[2Jb 1"]);
        assert!(!lines[0].contains("\u{1b}[2J"));
    }

    #[test]
    fn groups_that_are_not_named_are_said_to_be_there() {
        let many = OpenWindow { groups: 30, ..window(0, &[("1", 9), ("2", 8)]) };
        assert_eq!(
            bare(&windows(&[vec![many]])),
            ["counts 00:00:00–00:01:00 open  1 9 · 2 8 · and 28 more"]
        );
    }

    #[test]
    fn only_the_newest_windows_are_shown() {
        let open: Vec<OpenWindow> = (0..9).map(|n| window(n * 60_000, &[("1", 1)])).collect();
        let lines = bare(&windows(&[open]));
        let starts: Vec<&str> = lines.iter().map(|line| &line[7..15]).collect();
        assert_eq!(starts, ["00:06:00", "00:07:00", "00:08:00"]);
    }

    #[test]
    fn the_notices_say_what_cannot_be_promised_and_how_to_join() {
        let settings = ClientSettings::new::<String, String>("127.0.0.1:4000", []).expect("valid");
        let shown = Shown { settings, output: "processed".to_owned(), statuses: Vec::new() };
        let text = notices(&shown).join("\n");
        for part in [
            "demo",
            "in memory",
            "at-least-once",
            "cannot promise exactly-once",
            "forgets",
            "host run --brokers",
            "host view processed --brokers 127.0.0.1:4000",
            "kcat -b 127.0.0.1:4000 -t processed",
        ] {
            assert!(text.contains(part), "{part:?} is missing in: {text}");
        }
    }

    #[test]
    fn rates_are_of_the_last_seconds() {
        let start = Instant::now();
        let mut rates = Rates::default();
        let totals = |records_in| Totals { records_in, ..Totals::default() };
        assert_eq!(rates.add(start, &totals(0)), (0, 0));
        for step in 1..100_u64 {
            let now = start + Duration::from_millis(250 * step);
            assert_eq!(rates.add(now, &totals(250 * step)), (1_000, 0));
        }
    }
}
