//! `host generate`: made-up logins into a topic, or as lines.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result};
use clap::Args;
use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::connect::ConnectArgs;
use crate::demo::client::ConnectError;
use crate::demo::generate::{Generator, Keys, Mix, Spec};
use crate::demo::send::{Kafka, Lines, Target, Totals, send};
use crate::demo::stop::Stop;

/// Make up login events, the same for the same seed, and send them to Kafka (or print them).
#[derive(Args)]
#[command(after_help = "\
Examples:
  host generate --brokers localhost:9092 --rate 1000 --invalid 0.5% --late 1%
  host generate --brokers localhost:9092 --count 1000000 --fast
  host generate --stdout --count 5 --seed 7

Exit codes:
  0  done, or asked to stop
  1  failed while running
  2  wrong arguments, or no such topic
  3  a broker or right is missing")]
pub struct GenerateArgs {
    #[command(flatten)]
    connect: ConnectArgs,

    /// The topic to send to
    #[arg(long, env = "HOST_TOPIC", default_value = "user-login")]
    topic: String,

    /// Print the events as lines, even where brokers are given
    #[arg(long, env = "HOST_STDOUT")]
    stdout: bool,

    /// Events per second
    #[arg(long, env = "HOST_RATE", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,

    /// Send as fast as Kafka takes them; --rate still says how fast event time passes
    #[arg(long, env = "HOST_FAST", requires = "count")]
    fast: bool,

    /// How many events; without it, until Ctrl-C
    #[arg(long, env = "HOST_COUNT")]
    count: Option<u64>,

    /// The same seed and --start give the same events
    #[arg(long, env = "HOST_SEED", default_value_t = 1)]
    seed: u64,

    /// Event time of the first event, as 2026-01-31T12:00:00Z or seconds since the epoch
    /// [default: now; with --fast so long ago that the last event is of now]
    #[arg(long, env = "HOST_START", value_name = "TIME", value_parser = start)]
    start: Option<i64>,

    /// What the records are keyed by
    #[arg(long, env = "HOST_KEYS", value_enum, default_value_t)]
    keys: Keys,

    /// How many users there are; 0: every event has its own
    #[arg(long, env = "HOST_USERS", default_value_t = 10_000)]
    users: u32,

    /// Share of values that are not a JSON object, as 0.005 or 0.5%
    #[arg(long, env = "HOST_INVALID", value_name = "SHARE", default_value = "0", value_parser = share)]
    invalid: f64,

    /// Share of events that lack a field
    #[arg(long, env = "HOST_MISSING", value_name = "SHARE", default_value = "0", value_parser = share)]
    missing: f64,

    /// Share of events with a field of a wrong type or format
    #[arg(long, env = "HOST_MALFORMED", value_name = "SHARE", default_value = "0", value_parser = share)]
    malformed: f64,

    /// Share of events that come late
    #[arg(long, env = "HOST_LATE", value_name = "SHARE", default_value = "0", value_parser = share)]
    late: f64,

    /// The most that late events are late, as 5m
    #[arg(long, env = "HOST_LATE_BY", value_name = "DURATION", default_value = "5m", value_parser = duration)]
    late_by: Duration,

    /// Share of events that repeat an earlier one
    #[arg(long, env = "HOST_DUPLICATES", value_name = "SHARE", default_value = "0", value_parser = share)]
    duplicates: f64,

    /// Events come out of order by up to this, as 2s
    #[arg(long, env = "HOST_JITTER", value_name = "DURATION", default_value = "0s", value_parser = duration)]
    jitter: Duration,
}

/// How long the last events may take to be confirmed.
const FINISH_MAX: Duration = Duration::from_secs(30);
/// The same after Ctrl-C.
const STOPPED_FINISH_MAX: Duration = Duration::from_secs(5);

/// Runs the command; ends with a line of what was sent.
pub fn run(args: &GenerateArgs) -> Result<()> {
    let stop = Stop::on_signal().context("listening for signals")?;
    let mut generator = Generator::new(args.spec(SystemTime::now()));
    let bar = progress_bar(args.count);
    let started = Instant::now();
    let settings = if args.stdout { None } else { args.connect.settings()? };
    let totals = match settings {
        None => {
            let lines = io::BufWriter::with_capacity(1 << 16, io::stdout().lock());
            args.drive(&mut generator, &stop, &mut Lines(lines), &bar)?
        }
        Some(settings) => {
            let mut kafka = match Kafka::connect(&settings, &args.topic, None, &stop) {
                Err(ConnectError::Stopped) => return Ok(()),
                connected => connected?,
            };
            let totals = args.drive(&mut generator, &stop, &mut kafka, &bar)?;
            let patience = if stop.stopped() { STOPPED_FINISH_MAX } else { FINISH_MAX };
            kafka.finish(patience).with_context(|| format!("sent {totals}"))?;
            totals
        }
    };
    bar.finish_and_clear();
    report(&totals, started.elapsed());
    Ok(())
}

impl GenerateArgs {
    fn spec(&self, now: SystemTime) -> Spec {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let takes = self.count.filter(|_| self.fast).unwrap_or(0) / u64::from(self.rate);
        let start = now.saturating_sub(Duration::from_secs(takes)).as_millis() as i64;
        Spec {
            seed: self.seed,
            start_ms: self.start.unwrap_or(start),
            rate: self.rate,
            users: self.users,
            keys: self.keys,
            mix: Mix {
                invalid: self.invalid,
                missing: self.missing,
                malformed: self.malformed,
                late: self.late,
                late_by: self.late_by,
                duplicates: self.duplicates,
                jitter: self.jitter,
            },
        }
    }

    fn drive(
        &self,
        generator: &mut Generator,
        stop: &Stop,
        target: &mut dyn Target,
        bar: &ProgressBar,
    ) -> Result<Totals> {
        let rate = (!self.fast).then_some(self.rate);
        let progress = &mut |totals: &Totals| bar.set_position(totals.events);
        send(generator, self.count, rate, stop, target, progress)
    }
}

/// Hidden where there is no count or nobody to see it.
fn progress_bar(count: Option<u64>) -> ProgressBar {
    match count {
        // Lines on the same terminal would break it up.
        Some(count) if io::stderr().is_terminal() => {
            let bar = ProgressBar::with_draw_target(Some(count), ProgressDrawTarget::stderr());
            let template = "{wide_bar} {human_pos}/{human_len} events, {rate}, {eta} left";
            let style = ProgressStyle::with_template(template).expect("a valid template");
            bar.with_style(style.with_key(
                "rate",
                |state: &ProgressState, out: &mut dyn fmt::Write| {
                    // A bar without its rate is still a bar.
                    let _ = out.write_str(&rate(state.per_sec()));
                },
            ))
        }
        _ => ProgressBar::hidden(),
    }
}

/// Events per second, whole.
pub(super) fn rate(per_second: f64) -> String {
    format!("{}/s", HumanCount(per_second.round() as u64))
}

fn report(totals: &Totals, took: Duration) {
    let seconds = took.as_secs_f64();
    let rate = rate(totals.events as f64 / seconds.max(0.001));
    // Nobody may be reading, which is no failure.
    let _ = writeln!(io::stderr(), "sent {totals} in {seconds:.1} s, {rate}");
}

fn share(text: &str) -> Result<f64, String> {
    let number = match text.strip_suffix('%') {
        Some(percent) => percent.trim().parse::<f64>().map(|percent| percent / 100.0),
        None => text.parse(),
    };
    match number {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("expected a share from 0 to 1, such as 0.005 or 0.5%".to_owned()),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| "expected a duration such as 90s or 5m".to_owned())
}

/// Milliseconds since the epoch.
pub(super) fn start(text: &str) -> Result<i64, String> {
    if let Some(millis) = text.parse::<i64>().ok().and_then(|seconds| seconds.checked_mul(1_000)) {
        return Ok(millis);
    }
    chrono::DateTime::parse_from_rfc3339(text)
        .map(|time| time.timestamp_millis())
        .map_err(|_| "expected 2026-01-31T12:00:00Z or seconds since the epoch".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        generate: GenerateArgs,
    }

    fn parse(args: &str) -> Result<GenerateArgs, String> {
        Cli::try_parse_from(["generate"].into_iter().chain(args.split_whitespace()))
            .map(|cli| cli.generate)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn shares_are_numbers_or_percentages() {
        let args = parse("--invalid 0.005 --late 2%").expect("valid");
        assert_eq!((args.invalid, args.late), (0.005, 0.02));
        for wrong in ["2", "-0.1", "101%", "few", "NaN", ""] {
            assert!(share(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn rates_are_whole_numbers() {
        assert_eq!(rate(1_806.345), "1,806/s");
        assert_eq!(rate(0.0), "0/s");
    }

    #[test]
    fn a_start_is_a_time_or_seconds() {
        assert_eq!(start("1694479551"), Ok(1_694_479_551_000));
        assert_eq!(start("2023-09-12T00:45:51Z"), Ok(1_694_479_551_000));
        assert!(start("yesterday").is_err());
        assert!(start("9223372036854775807").is_err());
    }

    #[test]
    fn without_a_start_the_events_end_now() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let spec = parse("--count 5000 --rate 100").expect("valid").spec(now);
        assert_eq!(spec.start_ms, 1_000_000_000);
        let spec = parse("--count 5000 --rate 100 --fast").expect("valid").spec(now);
        assert_eq!(spec.start_ms, 999_950_000);
        let spec = parse("--count 5000 --fast --start 7").expect("valid").spec(now);
        assert_eq!(spec.start_ms, 7_000);
    }

    #[test]
    fn impossible_flags_are_refused() {
        for wrong in ["--rate 0", "--fast", "--keys ip", "--late-by soon"] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
