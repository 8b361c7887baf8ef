//! A comparison as a person reads it.

use std::fmt;

use anstyle::{AnsiColor, Style};

use crate::demo::view::harmless;
use crate::shadow::{FieldChange, Kind, Report, Sample, Side};

const RED: Style = AnsiColor::Red.on_default();
const GREEN: Style = AnsiColor::Green.on_default();
const BOLD: Style = Style::new().bold();

/// The whole of it.
pub(super) struct Shown<'a> {
    pub report: &'a Report,
    /// What is compared.
    pub what: &'a str,
    /// On what.
    pub source: &'a str,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { report, what, source } = self;
        writeln!(f, "{BOLD}{what}{BOLD:#}, {} records of {source}", report.records)?;
        let same = report.records - report.differing();
        row(f, "same", same, "")?;
        for kind in Kind::ALL {
            if let Some(&count) = report.differ.get(&kind) {
                row(f, kind.as_str(), count, meaning(kind))?;
            }
        }
        for (field, count) in &report.fields {
            writeln!(f, "    {field} {count}")?;
        }
        if report.not_compared > 0 {
            row(f, "not compared", report.not_compared, "OLD gives their batch up")?;
        }
        if let Some(stopped) = &report.stopped {
            writeln!(f, "  {RED}{stopped}{RED:#}")?;
        }
        let each = |side: Side| side.nanos / report.records.max(1);
        let (old, new) = (each(report.live), each(report.candidate));
        writeln!(f, "  time          OLD {old} ns, NEW {new} ns a record")?;
        report.samples.iter().try_for_each(|sample| example(f, sample, source))
    }
}

fn row(f: &mut fmt::Formatter<'_>, what: &str, count: u64, meaning: &str) -> fmt::Result {
    let text = format!("  {what:<13} {count:>9}  {meaning}");
    writeln!(f, "{}", text.trim_end())
}

fn meaning(kind: Kind) -> &'static str {
    match kind {
        Kind::Errors => "dead letters on one side, or for another reason",
        Kind::Kept => "dropped by OLD, kept by NEW",
        Kind::Dropped => "kept by OLD, dropped by NEW",
        Kind::Fields => "other values, by field:",
        Kind::Form => "the same values, written differently",
        Kind::Other => "another number of records, key, header or topic, or no JSON objects",
    }
}

fn example(f: &mut fmt::Formatter<'_>, sample: &Sample, source: &str) -> fmt::Result {
    let Sample { partition, offset, kind, input, live, candidate, fields } = sample;
    let input = harmless(input);
    writeln!(f, "\n{BOLD}{source}[{partition}]@{offset}{BOLD:#} {} {input}", kind.as_str())?;
    if fields.is_empty() {
        let (live, candidate) = (harmless(live), harmless(candidate));
        writeln!(f, "{RED}- {live}{RED:#}\n{GREEN}+ {candidate}{GREEN:#}")?;
    }
    for FieldChange { field, live, candidate } in fields {
        if let Some(value) = live {
            writeln!(f, "{RED}- {field} {value}{RED:#}")?;
        }
        if let Some(value) = candidate {
            writeln!(f, "{GREEN}+ {field} {value}{GREEN:#}")?;
        }
    }
    Ok(())
}
