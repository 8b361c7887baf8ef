//! The figures of swaps as a table, or as JSON.

use std::fmt;

use serde::Serialize;
use serde_json::{Value, json};

use super::super::report::grouped;
use super::paced::Paced;
use super::saturated::{Round, Way};
use super::{PARTITIONS, WORKERS};

/// All that was measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Events a second of the paced load.
    pub rate: u32,
    /// Events of the input that is read as fast as may be.
    pub events: u64,
    /// Under the paced load.
    pub paced: Paced,
    /// As fast as may be, in the order in which they ran.
    pub rounds: Vec<Round>,
}

/// What values are no larger than; each is one of them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Quantiles {
    /// Half of them are.
    pub p50: f64,
    /// 99 % of them are.
    pub p99: f64,
    /// All of them are.
    pub max: f64,
}

impl Quantiles {
    /// NaN without values.
    pub fn of(values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let place = (share * sorted.len() as f64).ceil() as usize;
            sorted.get(place.saturating_sub(1)).copied().unwrap_or(f64::NAN)
        };
        Self { p50: at(0.5), p99: at(0.99), max: at(1.0) }
    }
}

/// A figure without changes and with each kind of them, and the latter by the former.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Ways {
    none: f64,
    cached: f64,
    compiled: f64,
    cached_to_none: f64,
    compiled_to_none: f64,
}

/// One line of the table: a round, or the medians.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Row {
    events_per_second: Ways,
    cpu_ns_per_event: Ways,
}

impl Ways {
    fn of(round: &Round, figure: impl Fn(Way) -> f64) -> Self {
        let [none, cached, compiled] = [round.none, round.cached, round.compiled].map(figure);
        let (cached_to_none, compiled_to_none) = (cached / none, compiled / none);
        Self { none, cached, compiled, cached_to_none, compiled_to_none }
    }
}

impl Row {
    fn of(round: &Round) -> Self {
        Self {
            events_per_second: Ways::of(round, |way| way.measured.events_per_second),
            cpu_ns_per_event: Ways::of(round, |way| way.measured.cpu_ns_per_event),
        }
    }

    /// The median of each figure by itself: ratios belong to one round each.
    fn median(rows: &[Self]) -> Self {
        let median = |figure: &dyn Fn(&Self) -> f64| {
            let mut all: Vec<f64> = rows.iter().map(figure).collect();
            all.sort_by(f64::total_cmp);
            (all[(all.len() - 1) / 2] + all[all.len() / 2]) / 2.0
        };
        let ways = |of: &dyn Fn(&Self) -> Ways| Ways {
            none: median(&|row| of(row).none),
            cached: median(&|row| of(row).cached),
            compiled: median(&|row| of(row).compiled),
            cached_to_none: median(&|row| of(row).cached_to_none),
            compiled_to_none: median(&|row| of(row).compiled_to_none),
        };
        Self {
            events_per_second: ways(&|row| row.events_per_second),
            cpu_ns_per_event: ways(&|row| row.cpu_ns_per_event),
        }
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, name: &str, swaps: &str) -> fmt::Result {
        write!(f, "{name:>6}")?;
        for ways in [self.events_per_second, self.cpu_ns_per_event] {
            let [none, cached, compiled] = [ways.none, ways.cached, ways.compiled].map(grouped);
            let (first, second) = (ways.cached_to_none, ways.compiled_to_none);
            write!(f, "  {none:>8} {cached:>8} {compiled:>8} {first:>5.2} {second:>5.2}")?;
        }
        writeln!(f, "  {swaps:>7}")
    }
}

impl Report {
    /// The name of each line about the paced load, with its figures.
    fn lines(&self) -> [(&'static str, Quantiles); 4] {
        let Paced { written, committed, gaps, quiet_gaps } = &self.paced;
        [
            ("save to first record written", written),
            ("save to first record committed", committed),
            ("longest gap around a swap", gaps),
            ("longest gap without one", quiet_gaps),
        ]
        .map(|(name, values)| (name, Quantiles::of(values)))
    }

    fn rows(&self) -> Vec<Row> {
        self.rounds.iter().map(Row::of).collect()
    }

    /// One object; times in milliseconds.
    pub fn json(&self) -> Value {
        let [written, committed, gap, quiet_gap] = self.lines().map(|(_, quantiles)| quantiles);
        let runs = self.rounds.iter().map(|round| {
            let mut run = json!(Row::of(round));
            run["swaps"] =
                json!({ "cached": round.cached.swaps, "compiled": round.compiled.swaps });
            run
        });
        let rows = self.rows();
        json!({
            "workers": WORKERS,
            "partitions": PARTITIONS,
            "swaps": self.paced.written.len(),
            "rate": self.rate,
            "events": self.events,
            "written_ms": written,
            "committed_ms": committed,
            "gap_ms": gap,
            "quiet_gap_ms": quiet_gap,
            "runs": runs.collect::<Vec<_>>(),
            "median": (!rows.is_empty()).then(|| Row::median(&rows)),
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{WORKERS} workers, {PARTITIONS} partitions, exactly-once; every record once, in order, \
             by one generation, rising\n\n\
             {} swaps at {} events/s, ms:",
            self.paced.written.len(),
            grouped(self.rate.into())
        )?;
        writeln!(f, "{:<32} {:>7} {:>7} {:>7}", "", "p50", "p99", "max")?;
        for (name, Quantiles { p50, p99, max }) in self.lines() {
            writeln!(f, "{name:<32} {p50:>7.0} {p99:>7.0} {max:>7.0}")?;
        }
        writeln!(
            f,
            "\n{} events as fast as may be:\n  \
             a  without a swap\n  \
             b  a swap each second, all compiled before\n  \
             c  a swap each second, the changed plugin compiled each time\n",
            grouped(self.events as f64)
        )?;
        writeln!(f, "{:>6}  {:>38}  {:>38}  {:>7}", "", "events/s", "CPU ns/event", "swaps")?;
        write!(f, "{:>6}", "run")?;
        for _ in 0..2 {
            write!(f, "  {:>8} {:>8} {:>8} {:>5} {:>5}", "a", "b", "c", "b/a", "c/a")?;
        }
        writeln!(f, "  {:>7}", "b, c")?;
        let rows = self.rows();
        for ((number, row), round) in (1..).zip(&rows).zip(&self.rounds) {
            let swaps = format!("{}, {}", round.cached.swaps, round.compiled.swaps);
            row.write(f, &format!("{number}"), &swaps)?;
        }
        if rows.len() > 1 {
            Row::median(&rows).write(f, "median", "")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::meter::Measured;
    use super::*;

    fn report() -> Report {
        let way = |events_per_second| Way {
            measured: Measured { events_per_second, cpu_ns_per_event: 1.0, written: 1 },
            swaps: 3,
        };
        let round = |share: f64| Round {
            none: way(500_000.0),
            cached: way(500_000.0 * share),
            compiled: way(250_000.0),
        };
        Report {
            rate: 20_000,
            events: 2_000_000,
            paced: Paced {
                written: (1..=100).map(f64::from).collect(),
                committed: vec![5.0],
                gaps: vec![12.0, 11.0],
                quiet_gaps: vec![10.0, 9.0],
            },
            rounds: vec![round(0.9), round(1.0), round(0.98)],
        }
    }

    #[test]
    fn quantiles_are_values_that_were_there() {
        let all: Vec<f64> = (1..=200).rev().map(f64::from).collect();
        assert_eq!(Quantiles::of(&all), Quantiles { p50: 100.0, p99: 198.0, max: 200.0 });
        assert_eq!(Quantiles::of(&[7.0]), Quantiles { p50: 7.0, p99: 7.0, max: 7.0 });
    }

    #[test]
    fn the_table_is_aligned() {
        let text = report().to_string();
        let lines: Vec<&str> = text.lines().collect();
        let width = |from: usize, to: usize| lines[from..to].iter().map(|line| line.len());
        assert!(width(3, 8).all(|width| width == lines[3].len()), "{text}");
        assert!(width(14, 20).all(|width| width == lines[14].len()), "{text}");
        let median: Vec<&str> = lines[19].split_whitespace().collect();
        let expected = "median 500,000 490,000 250,000 0.98 0.50 1 1 1 1.00 1.00";
        assert_eq!(median.join(" "), expected);
    }

    #[test]
    fn json_has_every_round_and_the_medians() {
        let json = report().json();
        assert_eq!(json["written_ms"]["p99"], 99.0);
        assert_eq!(json["runs"][0]["swaps"]["compiled"], 3);
        assert_eq!(json["median"]["events_per_second"]["compiled_to_none"], 0.5);
    }
}
