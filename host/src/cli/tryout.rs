//! `host try`: the stages as a filter of a pipe, without Kafka.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anstyle::{AnsiColor, Style};
use anyhow::Result;
use clap::Args;
use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::args::{PluginsArgs, StateArgs};
use super::exit::{Exit, Failure};
use super::generate::{rate, start};
use super::plugin::{Object, draft, expect_folder, file, no_such, object, stem};
use crate::config::{Against, FILE_NAME, GivenSettings};
use crate::demo::view::harmless;
use crate::offline::{
    Became, Change, Counts, Did, Lines, LinesError, RunError, Runner, Step, write_outcomes,
    write_values,
};
use crate::pipeline::{Generation, Loader};
use crate::plugin::defaults::default;

/// Run events from stdin through the stages, or through one plugin, and write what comes out to
/// stdout. No Kafka, and nothing is written anywhere else.
#[derive(Args)]
#[command(after_help = "\
Examples:
  host try < events.jsonl > processed.jsonl
  host generate --stdout --count 1000 | host try | jq -r .device_category
  host try --plugin filter --settings '{\"keep\": \"any\"}' --trace < events.jsonl
  host try --outcomes --fail < events.jsonl | grep dead-letter

Each line is the value of one record; empty ones are passed over. Its offset is the number of its \
line from 0, its timestamp the time of processing. What would stop the pipeline ends the command, and counts come last, on \
stderr.

Exit codes:
  0  done, or nobody reads any more
  1  the pipeline would stop, or, with --fail, an event became a dead letter
  2  wrong arguments, plugins or settings")]
pub struct TryArgs {
    /// The folder with pipeline.toml and the plugins
    #[command(flatten)]
    plugins: PluginsArgs,

    /// Compiled plugins are kept there, if it is there
    #[command(flatten)]
    state: StateArgs,

    /// Only this plugin: a .wasm file, or the name of one in --plugins [default: all stages]
    #[arg(long, env = "HOST_PLUGIN", value_name = "FILE")]
    plugin: Option<PathBuf>,

    /// Its settings as a JSON object [default: those of the stage that has it, or none]
    #[arg(long, env = "HOST_SETTINGS", value_name = "JSON", value_parser = object, requires = "plugin")]
    settings: Option<Object>,

    /// The time of processing, as 2026-01-31T12:00:00Z or seconds since the epoch [default: now]
    #[arg(long, env = "HOST_NOW", value_name = "TIME", value_parser = start)]
    now: Option<i64>,

    /// Write an object for each event, also for those that do not come out: offset, outcome (kept,
    /// dropped or dead-letter), reason, value
    #[arg(long, env = "HOST_OUTCOMES")]
    outcomes: bool,

    /// Say what each stage did to each event: on stderr, or in the objects of --outcomes
    #[arg(long, env = "HOST_TRACE")]
    trace: bool,

    /// Exit code 1 if an event became a dead letter
    #[arg(long, env = "HOST_FAIL")]
    fail: bool,

    /// The counts at the end as a JSON object
    #[arg(long, env = "HOST_JSON")]
    json: bool,
}

/// Runs the command.
pub fn run(args: &TryArgs) -> Result<()> {
    let generation = args.generation()?;
    let mut runner = Runner::new(&generation, args.trace)?;
    if io::stdin().is_terminal() {
        say("reading events from the terminal, one a line; Ctrl-D ends");
    }
    let bar = progress_bar(input_bytes());
    let started = Instant::now();
    let mut first = BTreeMap::new();
    let passed = args.pass(&mut runner, &bar, &mut first);
    bar.finish_and_clear();
    match passed {
        Err(error) if is_broken_pipe(&error) => return Ok(()),
        passed => {
            args.report(runner.counts(), &first, started.elapsed());
            passed?;
        }
    }
    match runner.counts().dead_letters() {
        letters if letters > 0 && args.fail => {
            let text =
                format!("{letters} of {} events became dead letters", runner.counts().records_in);
            Err(Failure::new(Exit::Runtime, text).into())
        }
        _ => Ok(()),
    }
}

/// Where the first dead letter of each reason was, and what it says.
type First = BTreeMap<&'static str, (i64, String)>;

impl TryArgs {
    fn generation(&self) -> Result<Generation> {
        let folder = &self.plugins.plugins;
        expect_folder(folder)?;
        let mut draft = draft(folder, true)?;
        let mut loader = Loader::new(folder, self.state.existing())?.with_defaults();
        // Held until all is loaded, so that it is compiled once.
        let mut given = None;
        if let Some(plugin) = &self.plugin {
            let found = file(folder, plugin);
            let name = stem(found.as_deref().unwrap_or(plugin));
            match found {
                Some(file) => {
                    loader = loader.with_file(&name, &file);
                    // What is wrong with a file has no place in a pipeline.toml that does not name it.
                    let plugin = loader.plugin_of(&name, false);
                    let broken = "it is no plugin of this host's";
                    given = Some(plugin.map_err(|e| Failure::because(Exit::Input, broken, e))?);
                }
                None if default(&name).is_some() => {}
                None => return Err(no_such(folder, plugin).into()),
            }
            let stage = draft.stages().iter().position(|stage| stage.plugin == name);
            let settings = self.settings.clone();
            let settings = settings.map(|json| GivenSettings { flag: "--settings", json });
            let against = Against { plugin: name.clone(), settings };
            draft.leave(draft.alone(stage, &name, against));
        } else if !folder.join(FILE_NAME).exists() && !self.json {
            let file = folder.join(FILE_NAME);
            say(&format!("{} is not there: these are the stages that ship", file.display()));
        }
        let generation = loader.load(draft)?;
        drop(given);
        Ok(generation)
    }

    /// All lines of stdin through the stages.
    fn pass(&self, runner: &mut Runner, bar: &ProgressBar, first: &mut First) -> Result<()> {
        let mut lines = Lines::new(io::stdin())?;
        let mut out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
        let mut traced = BufWriter::new(anstream::AutoStream::auto(io::stderr()));
        let on_stderr = self.trace && !self.outcomes;
        loop {
            let batch = lines.next_batch().map_err(|error| match error {
                LinesError::TooLong(_) => Failure::new(Exit::Input, error.to_string()).into(),
                LinesError::Read(_) => anyhow::Error::from(error),
            });
            let Some(batch) = batch? else { break };
            let now = self.now.unwrap_or_else(|| chrono::Utc::now().timestamp_millis());
            let ran = runner.run(&batch.records(now), now, &mut |became| {
                note(first, became);
                if on_stderr {
                    write_trace(&mut traced, became)?;
                }
                match self.outcomes {
                    true => write_outcomes(&mut out, became),
                    false => write_values(&mut out, became),
                }
            });
            // What came out in front of a stop has come out.
            let flushed = traced.flush().and_then(|()| out.flush()).map_err(RunError::Write);
            ran.and(flushed)?;
            bar.inc(batch.bytes());
        }
        Ok(())
    }

    fn report(&self, counts: &Counts, first: &First, took: Duration) {
        let seconds = took.as_secs_f64();
        let each = counts.records_in as f64 / seconds.max(0.001);
        if self.json {
            let mut told = serde_json::json!(counts);
            told["seconds"] = seconds.into();
            told["events_per_second"] = each.round().into();
            return say(&told.to_string());
        }
        say(&format!("{} in {seconds:.1} s, {}", shown(counts), rate(each)));
        for (reason, (offset, message)) in first {
            say(&format!("first {reason}: line {}: {}", offset + 1, harmless(message)));
        }
    }
}

fn note(first: &mut First, became: &Became<'_>) {
    if let Some(letter) = became.letter {
        let told = || (became.record.offset, format!("{}: {}", letter.stage, letter.message));
        first.entry(letter.reason).or_insert_with(told);
    }
}

fn say(text: &str) {
    // Nobody may be reading, which is no failure.
    let _ = writeln!(io::stderr(), "{text}");
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let is_broken = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
    matches!(error.downcast_ref(), Some(RunError::Write(error)) if is_broken(error))
}

/// The length of stdin where it is a file.
fn input_bytes() -> Option<u64> {
    let file = File::from(io::stdin().as_fd().try_clone_to_owned().ok()?);
    file.metadata().ok().filter(std::fs::Metadata::is_file).map(|metadata| metadata.len())
}

/// Hidden where nobody sees it, or someone types; in bytes, which is what a file has.
fn progress_bar(bytes: Option<u64>) -> ProgressBar {
    // Lines on the same terminal would break it up.
    if !io::stderr().is_terminal() || io::stdin().is_terminal() || io::stdout().is_terminal() {
        return ProgressBar::hidden();
    }
    let template = match bytes {
        Some(_) => "{wide_bar} {bytes}/{total_bytes}, {bytes_per_sec}, {eta} left",
        None => "{spinner} {bytes}, {bytes_per_sec}",
    };
    let style = ProgressStyle::with_template(template).expect("a valid template");
    ProgressBar::with_draw_target(bytes, ProgressDrawTarget::stderr()).with_style(style)
}

/// Counts in one line.
fn shown(counts: &Counts) -> String {
    let number = |number: u64| HumanCount(number).to_string();
    let by = |parts: Vec<String>| match parts.is_empty() {
        true => String::new(),
        false => format!(" ({})", parts.join(", ")),
    };
    let of_stages = |what: fn(&crate::offline::StageCounts) -> u64| {
        let stages = counts.stages.iter().filter(|stage| what(stage) > 0);
        let parts: Vec<_> =
            stages.map(|stage| format!("{} {}", stage.name, number(what(stage)))).collect();
        (counts.stages.iter().map(what).sum::<u64>(), by(parts))
    };
    let reasons = counts.dead_letters.iter();
    let reasons = reasons.map(|(reason, count)| format!("{reason} {}", number(*count)));
    let letters = format!("{}{}", number(counts.dead_letters()), by(reasons.collect()));
    let (dropped, dropped_by) = of_stages(|stage| stage.dropped);
    let (records_in, records_out) = (number(counts.records_in), number(counts.records_out));
    let mut text = format!(
        "in {records_in} · out {records_out} · dropped {}{dropped_by} · dead letters {letters}",
        number(dropped)
    );
    for (what, (count, by)) in [
        ("skipped", of_stages(|stage| stage.skipped)),
        ("passed on a failure", of_stages(|stage| stage.passed)),
    ] {
        if count > 0 {
            text += &format!(" · {what} {}{by}", number(count));
        }
    }
    text
}

const BOLD: Style = Style::new().bold();
const RED: Style = AnsiColor::Red.on_default();
const GREEN: Style = AnsiColor::Green.on_default();

fn write_trace(out: &mut impl Write, became: &Became<'_>) -> io::Result<()> {
    let line = became.record.offset + 1;
    for Step { stage, did, reason, changes, records } in became.trace.into_iter().flatten() {
        let did = match did {
            Did::Kept => "kept",
            Did::Dropped => "dropped",
            Did::Rejected => "rejected",
            Did::Failed => "failed",
            Did::Skipped => "failed, left out",
            Did::Passed => "failed, on as it was",
        };
        write!(out, "{line} {BOLD}{stage}{BOLD:#} {did}")?;
        if let Some(reason) = reason {
            write!(out, ": {RED}{}{RED:#}", harmless(reason))?;
        }
        if let Some(records) = records {
            write!(out, " as {records} records")?;
        }
        for Change { field, old, new } in changes {
            write!(out, "  {}", harmless(field))?;
            if let Some(old) = old {
                write!(out, " {RED}{}{RED:#}", harmless(&old.to_string()))?;
            }
            let new = new.as_ref().map_or_else(|| "removed".to_owned(), ToString::to_string);
            write!(out, " → {GREEN}{}{GREEN:#}", harmless(&new))?;
        }
        writeln!(out)?;
    }
    Ok(())
}
