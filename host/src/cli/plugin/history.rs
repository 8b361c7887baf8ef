//! `host plugin history`: the generations that ran lately.

use std::io::Write as _;

use clap::Args;
use serde::Serialize;

use super::{WhichArgs, time};
use crate::reload::history::{Record, running};

/// List the generations that ran lately, the newest first.
#[derive(Args, Clone)]
#[command(after_help = "\
Example:
  host plugin history --plugins plugins/

A * marks what a process runs now. [reload] history in pipeline.toml says how many are kept.

Outcomes:
  started      a process began with it
  offered      on probation when last heard of
  passed       came through its probation
  rolled-back  given up, with the reason
  saved        what `host plugin rollback` replaced in the folder

Exit codes:
  0  done
  3  the history cannot be read")]
pub(super) struct HistoryArgs {
    /// Whose history
    #[command(flatten)]
    which: WhichArgs,

    /// A JSON array in the place of the table
    #[arg(long, env = "HOST_JSON")]
    json: bool,
}

/// A generation as JSON has it.
#[derive(Serialize)]
struct Shown<'a> {
    running: bool,
    #[serde(flatten)]
    record: &'a Record,
}

pub(super) fn run(args: &HistoryArgs) -> anyhow::Result<()> {
    let (records, store) = (args.which.records()?, args.which.store());
    let running = running(&records, |process| store.is_running(process));
    let mut stdout = std::io::stdout().lock();
    if args.json {
        let shown = records
            .iter()
            .map(|record| Shown { running: running.contains(&record.number), record });
        serde_json::to_writer_pretty(&mut stdout, &shown.collect::<Vec<_>>())?;
        writeln!(stdout)?;
    } else if records.is_empty() {
        writeln!(stdout, "{}", args.which.nothing())?;
    } else {
        stdout.write_all(table(&records, &running).as_bytes())?;
    }
    Ok(())
}

const HEADS: [&str; 6] = ["NUMBER", "WHEN", "RULES", "RUN BY", "OUTCOME", "WHAT CHANGED"];

/// The last column is as wide as it is.
fn table(records: &[Record], running: &[u64]) -> String {
    let rows: Vec<[String; 6]> =
        std::iter::once(HEADS.map(str::to_owned)).chain(records.iter().map(row)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: [usize; 5] = std::array::from_fn(|column| width(column).unwrap_or_default());
    let numbers = std::iter::once(None).chain(records.iter().map(|record| Some(record.number)));
    let mut text = String::new();
    for (row, number) in rows.iter().zip(numbers) {
        let is_running = number.is_some_and(|number| running.contains(&number));
        text += if is_running { "* " } else { "  " };
        for (cell, width) in row.iter().zip(widths) {
            text += &format!("{cell:<width$}  ");
        }
        text += &row[5];
        text.push('\n');
    }
    text
}

fn row(record: &Record) -> [String; 6] {
    let Record { number, at, run, hash, changes, outcome, reason, .. } = record;
    let run = run.as_ref();
    let by = run.map(|run| format!("{}, generation {}", run.instance, run.generation));
    let what = match reason {
        Some(reason) => format!("{changes}; given up: {reason}"),
        None => changes.clone(),
    };
    let none = || "-".to_owned();
    let rules = hash.clone().unwrap_or_else(none);
    [number.to_string(), time(*at), rules, by.unwrap_or_else(none), outcome.name().into(), what]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::reload::history::{Outcome, Run};

    #[test]
    fn the_table_is_aligned_and_marks_what_runs() {
        let record = |number, outcome, reason: Option<&str>| Record {
            number,
            at: 1_764_198_000_000,
            plugins: "/plugins".to_owned(),
            run: (outcome != Outcome::Saved).then(|| Run {
                pipeline: "p".to_owned(),
                instance: "host-0".to_owned(),
                process: "host-0-1-1".to_owned(),
                generation: number,
            }),
            hash: (outcome != Outcome::Saved).then(|| "9dead6998c2b".to_owned()),
            content: "c".to_owned(),
            changes: "own: settings".to_owned(),
            outcome,
            reason: reason.map(str::to_owned),
            files: BTreeMap::new(),
        };
        let records = [
            record(12, Outcome::Passed, None),
            record(3, Outcome::RolledBack, Some("a trap")),
            record(2, Outcome::Saved, None),
        ];
        let expected = "  NUMBER  WHEN                  RULES         RUN BY                 OUTCOME      WHAT CHANGED
* 12      2025-11-26 23:00:00Z  9dead6998c2b  host-0, generation 12  passed       own: settings
  3       2025-11-26 23:00:00Z  9dead6998c2b  host-0, generation 3   rolled-back  own: settings; given up: a trap
  2       2025-11-26 23:00:00Z  -             -                      saved        own: settings
";
        assert_eq!(table(&records, &[12]), expected);
    }
}
