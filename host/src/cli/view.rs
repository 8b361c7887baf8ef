//! `host view`: follows a topic.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;
use console::Term;

use super::connect::ConnectArgs;
use crate::demo::client::ConnectError;
use crate::demo::follow::{Follower, Start, seen};
use crate::demo::stop::Stop;
use crate::demo::view::{Filter, Seen, TerminalView, json_line};
use crate::kafka::KafkaError;

/// Follow a topic: in columns on a terminal, as JSON lines when piped. Disturbs nobody: no group.
#[derive(Args)]
#[command(after_help = "\
Examples:
  host view --brokers localhost:9092 --filter device_category=Mobile
  host view user-login-dead-letters --brokers localhost:9092 --from-beginning
  host view --brokers localhost:9092 | jq .locale

Exit codes:
  0  done, or asked to stop
  1  failed while running
  2  wrong arguments, or no such topic
  3  a broker or right is missing")]
pub struct ViewArgs {
    #[command(flatten)]
    connect: ConnectArgs,

    /// The topic: processed events, dead letters, or any other
    #[arg(env = "HOST_VIEW_TOPIC", default_value = "processed-user-login")]
    topic: String,

    /// Begin at the oldest record; without it, with the next one
    #[arg(long, env = "HOST_FROM_BEGINNING")]
    from_beginning: bool,

    /// Only records whose field (a name, a JSON Pointer or a header) has this value; may be repeated,
    /// and then all must hold
    #[arg(long, value_name = "FIELD=VALUE", env = "HOST_FILTER", value_delimiter = '\n')]
    filter: Vec<Filter>,

    /// End after so many records; without it, at Ctrl-C
    #[arg(long, env = "HOST_COUNT", value_name = "N")]
    count: Option<u64>,

    /// Lines of JSON on a terminal as well
    #[arg(long, env = "HOST_JSON")]
    json: bool,
}

/// After so many lines on a terminal the titles come again.
const TITLES_EVERY: u64 = 100;
/// What is buffered is written at the latest after this.
const FLUSH_AFTER: Duration = Duration::from_millis(100);

/// Runs the command until Ctrl-C, or until nobody reads any more.
pub fn run(args: &ViewArgs) -> Result<()> {
    let stop = Stop::on_signal().context("listening for signals")?;
    let no_brokers = || KafkaError::Config("no brokers: give --brokers host:port".to_owned());
    let settings = args.connect.settings()?.ok_or_else(no_brokers)?;
    let start = if args.from_beginning { Start::Beginning } else { Start::End };
    let follower = match Follower::open(&settings, &args.topic, start, &stop) {
        Err(ConnectError::Stopped) => return Ok(()),
        opened => opened?,
    };
    let json = args.json || !io::stdout().is_terminal();
    let written = if json {
        follow(args, &follower, &stop, |out, seen| writeln!(out, "{}", json_line(seen)))
    } else {
        let mut view = TerminalView::new(TITLES_EVERY);
        let term = Term::stdout();
        follow(args, &follower, &stop, move |out, seen| {
            let width = usize::from(term.size().1);
            view.lines(seen, width).iter().try_for_each(|line| writeln!(out, "{line}"))
        })
    };
    match written {
        Err(error) if is_broken_pipe(&error) => Ok(()),
        other => other,
    }
}

fn follow(
    args: &ViewArgs,
    follower: &Follower,
    stop: &Stop,
    mut show: impl FnMut(&mut dyn Write, &Seen<'_>) -> io::Result<()>,
) -> Result<()> {
    // Colours are left out where NO_COLOR or the terminal asks for it.
    let mut out = io::BufWriter::new(anstream::AutoStream::auto(io::stdout()));
    let mut flushed = Instant::now();
    let mut shown = 0;
    while !stop.stopped() && args.count.is_none_or(|count| shown < count) {
        if let Some(message) = follower.next(FLUSH_AFTER, stop)? {
            let seen = seen(&message);
            if args.filter.iter().all(|filter| filter.matches(&seen)) {
                show(&mut out, &seen).context("writing records")?;
                shown += 1;
            }
        }
        if flushed.elapsed() >= FLUSH_AFTER {
            out.flush().context("writing records")?;
            flushed = Instant::now();
        }
    }
    out.flush().context("writing records")
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<io::Error>();
    io.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
