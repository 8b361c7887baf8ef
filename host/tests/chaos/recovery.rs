//! How long the output of a partition stands still after a fault: until a reader of committed records
//! has the first one that was worked on after it. Other faults may strike meanwhile.

use std::collections::BTreeMap;

use crate::reader::All;

/// What was restarted, or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    Kill,
    Terminate,
    Broker,
}

impl What {
    pub fn name(self) -> &'static str {
        match self {
            What::Kill => "kill -9 of a process",
            What::Terminate => "SIGTERM of a process",
            What::Broker => "broker killed or restarted",
        }
    }
}

/// A fault, and the partitions that it struck.
#[derive(Clone, Debug)]
pub struct Struck {
    pub what: What,
    /// When it did, in milliseconds since the epoch.
    pub at_ms: i64,
    /// When what was struck was gone: what was worked on before that says nothing.
    pub gone_ms: i64,
    pub partitions: Vec<i32>,
}

/// Times in milliseconds, by what was struck.
#[derive(Clone, Debug, Default)]
pub struct Times(BTreeMap<What, Vec<i64>>);

impl Times {
    /// Finds them in what a reader saw.
    pub fn of(struck: &[Struck], seen: &All) -> Times {
        let mut times = Times::default();
        for one in struck {
            for partition in &one.partitions {
                let records = seen.get(partition).map_or(&[][..], Vec::as_slice);
                // A partition that nothing came to any more says nothing.
                let first = records.iter().find(|seen| seen.processed_ms >= one.gone_ms);
                if let Some(first) = first {
                    times.0.entry(one.what).or_default().push(first.arrived_ms - one.at_ms);
                }
            }
        }
        times
    }

    pub fn add_all(&mut self, other: Times) {
        for (what, mut times) in other.0 {
            self.0.entry(what).or_default().append(&mut times);
        }
    }

    /// What was struck, how often a partition was, and the 50th and 99th percentile in milliseconds.
    pub fn rows(&self) -> impl Iterator<Item = (&'static str, usize, i64, i64)> {
        self.0.iter().map(|(what, times)| {
            let mut times = times.clone();
            times.sort_unstable();
            let at = |percent: usize| times[(times.len() - 1) * percent / 100];
            (what.name(), times.len(), at(50), at(99))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_worked_on_before_the_fault_says_nothing() {
        let seen = |processed_ms, arrived_ms| crate::reader::Seen::at(processed_ms, arrived_ms);
        let all = All::from([(0, vec![seen(90, 130), seen(150, 180)]), (1, vec![seen(90, 95)])]);
        let at = Struck { what: What::Kill, at_ms: 100, gone_ms: 101, partitions: vec![0, 1] };
        let rows: Vec<_> = Times::of(&[at], &all).rows().collect();
        assert_eq!(rows, [("kill -9 of a process", 1, 80, 80)]);
    }
}
