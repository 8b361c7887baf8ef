//! The figures as a table, or as JSON.

use std::fmt;

use serde::Serialize;

use super::meter::Measured;

/// One run of all three ways, one after another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Round {
    /// A record at a time.
    pub usual: Measured,
    /// In batches.
    pub quick: Measured,
    /// The pipeline.
    pub piped: Measured,
}

/// All rounds.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Events of the input.
    pub events: u64,
    /// Their mean size, in bytes.
    pub event_bytes: u64,
    /// Partitions of the input.
    pub partitions: i32,
    /// Stages of the pipeline.
    pub stages: usize,
    /// Windows of the pipeline.
    pub windows: usize,
    /// In the order in which they ran.
    pub rounds: Vec<Round>,
}

/// One line of the table: a round, or the medians.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Row {
    events_per_second: Ways,
    cpu_ns_per_event: Ways,
    throughput: Ratios,
    cpu: Ratios,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Ways {
    usual: f64,
    quick: f64,
    pipeline: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
struct Ratios {
    pipeline_to_usual: f64,
    pipeline_to_quick: f64,
}

impl Ways {
    fn of(round: &Round, figure: impl Fn(&Measured) -> f64) -> Self {
        Self {
            usual: figure(&round.usual),
            quick: figure(&round.quick),
            pipeline: figure(&round.piped),
        }
    }

    fn ratios(self) -> Ratios {
        Ratios {
            pipeline_to_usual: self.pipeline / self.usual,
            pipeline_to_quick: self.pipeline / self.quick,
        }
    }
}

impl Row {
    fn of(round: &Round) -> Self {
        let events_per_second = Ways::of(round, |measured| measured.events_per_second);
        let cpu_ns_per_event = Ways::of(round, |measured| measured.cpu_ns_per_event);
        let (throughput, cpu) = (events_per_second.ratios(), cpu_ns_per_event.ratios());
        Self { events_per_second, cpu_ns_per_event, throughput, cpu }
    }

    /// The median of each figure by itself: ratios belong to one round each.
    fn median(rows: &[Self]) -> Self {
        let median = |figure: &dyn Fn(&Self) -> f64| {
            let mut all: Vec<f64> = rows.iter().map(figure).collect();
            all.sort_by(f64::total_cmp);
            (all[(all.len() - 1) / 2] + all[all.len() / 2]) / 2.0
        };
        let ways = |of: &dyn Fn(&Self) -> Ways| Ways {
            usual: median(&|row| of(row).usual),
            quick: median(&|row| of(row).quick),
            pipeline: median(&|row| of(row).pipeline),
        };
        let ratios = |of: &dyn Fn(&Self) -> Ratios| Ratios {
            pipeline_to_usual: median(&|row| of(row).pipeline_to_usual),
            pipeline_to_quick: median(&|row| of(row).pipeline_to_quick),
        };
        Self {
            events_per_second: ways(&|row| row.events_per_second),
            cpu_ns_per_event: ways(&|row| row.cpu_ns_per_event),
            throughput: ratios(&|row| row.throughput),
            cpu: ratios(&|row| row.cpu),
        }
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
        let [rate, cpu] = [self.events_per_second, self.cpu_ns_per_event]
            .map(|ways| [ways.usual, ways.quick, ways.pipeline].map(grouped));
        let [speed, cost] = [self.throughput, self.cpu]
            .map(|ratios| (ratios.pipeline_to_usual, ratios.pipeline_to_quick));
        writeln!(
            f,
            "{name:>6} {:>10} {:>10} {:>10}  {:>6} {:>6} {:>6}  {:>6.2} {:>6.2}  {:>6.2} {:>6.2}",
            rate[0], rate[1], rate[2], cpu[0], cpu[1], cpu[2], speed.0, speed.1, cost.0, cost.1
        )
    }
}

impl Report {
    fn rows(&self) -> Vec<Row> {
        self.rounds.iter().map(Row::of).collect()
    }

    /// One object.
    pub fn json(&self) -> serde_json::Value {
        let rows = self.rows();
        let written = self.rounds.first().map(|round| {
            let (usual, quick) = (round.usual.written, round.quick.written);
            serde_json::json!({ "usual": usual, "quick": quick, "pipeline": round.piped.written })
        });
        serde_json::json!({
            "events": self.events,
            "event_bytes": self.event_bytes,
            "partitions": self.partitions,
            "stages": self.stages,
            "windows": self.windows,
            "written": written,
            "runs": rows,
            "median": (!rows.is_empty()).then(|| Row::median(&rows)),
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { event_bytes, partitions, stages, windows, .. } = self;
        writeln!(
            f,
            "{} events of {event_bytes} bytes, {partitions} partitions, exactly-once, one thread each:\n  \
             a  poll and send a record at a time, no processing but the filter\n  \
             b  batches from one queue, sent through a topic handle, no processing but the filter\n  \
             c  the pipeline: {stages} stages in WebAssembly, {windows} windowed counts\n",
            grouped(self.events as f64)
        )?;
        writeln!(
            f,
            "{:>6} {:>32}  {:>20}  {:>13}  {:>13}",
            "", "events/s", "CPU ns/event", "throughput", "CPU"
        )?;
        writeln!(
            f,
            "{:>6} {:>10} {:>10} {:>10}  {:>6} {:>6} {:>6}  {:>6} {:>6}  {:>6} {:>6}",
            "run", "a", "b", "c", "a", "b", "c", "c/a", "c/b", "c/a", "c/b"
        )?;
        let rows = self.rows();
        for (number, row) in (1..).zip(&rows) {
            row.write(f, &format!("{number}"))?;
        }
        if rows.len() > 1 {
            Row::median(&rows).write(f, "median")?;
        }
        Ok(())
    }
}

/// A whole number, its thousands set apart.
pub fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let measured = |events_per_second, cpu_ns_per_event| Measured {
            events_per_second,
            cpu_ns_per_event,
            written: 400,
        };
        let round = |factor: f64| Round {
            usual: measured(400_000.0, 1_200.0),
            quick: measured(800_000.0, 800.0),
            piped: measured(400_000.0 * factor, 1_200.0),
        };
        Report {
            events: 2_000_000,
            event_bytes: 182,
            partitions: 4,
            stages: 4,
            windows: 1,
            rounds: vec![round(1.5), round(1.3), round(1.4)],
        }
    }

    #[test]
    fn the_table_is_aligned() {
        let text = report().to_string();
        let table: Vec<&str> = text.lines().skip(5).collect();
        assert_eq!(table.len(), 6, "{text}");
        assert!(table.iter().all(|line| line.len() == table[0].len()), "{text}");
        assert!(text.starts_with("2,000,000 events of 182 bytes"), "{text}");
        let median: Vec<&str> = table[5].split_whitespace().collect();
        let expected = "median 400,000 800,000 560,000 1,200 800 1,200 1.40 0.70 1.00 1.50";
        assert_eq!(median.join(" "), expected);
    }

    #[test]
    fn json_has_every_round_and_the_medians() {
        let json = report().json();
        assert_eq!(json["runs"].as_array().map(Vec::len), Some(3));
        assert_eq!(json["median"]["throughput"]["pipeline_to_quick"], 0.7);
        assert_eq!(json["written"]["usual"], 400);
    }

    #[test]
    fn thousands_are_set_apart() {
        for (number, text) in [(0.0, "0"), (999.6, "1,000"), (123_456.0, "123,456")] {
            assert_eq!(grouped(number), text);
        }
    }
}
