//! Windows that are open, as `host windows` shows them, held against what the records say.

use std::collections::BTreeMap;

use chrono::DateTime;
use serde_json::Value;

use super::comparison::{Differences, Kind};
use super::pipeline::Pipeline;
use super::process::Process;
use super::simulation::{self, Expected};

/// Of each merge partition, the first that many are shown.
const SHOWN: usize = 20;

/// Window start -> group as text -> count.
pub type Open = BTreeMap<i64, BTreeMap<String, u64>>;

impl Pipeline {
    /// Compares what is open of the shipped window, and how far each partition is, with the records so
    /// far. All of them must be committed and merged, and no partition may have been closed by the
    /// clock.
    pub fn open_differences(&self) -> Differences {
        let mut command = Process::command();
        command.current_dir(self.plugins().parent().unwrap());
        command.args(["windows", "--json", "--top", "100000", "--brokers", &self.brokers]);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let looks: Value = serde_json::from_slice(&output.stdout).unwrap();
        let expected = self.expected();
        let mut differences = Differences::default();
        compare_open(&self.open_by_records(&expected), &open_as_shown(&looks[0]), &mut differences);
        for (partition, expected) in &expected {
            let shown =
                looks[0]["partitions"][*partition as usize]["watermark"].as_str().map(millis);
            if shown != expected.watermark {
                differences.add(Kind::Window, || {
                    format!("watermark of {partition}: {shown:?}, not {:?}", expected.watermark)
                });
            }
        }
        differences
    }

    fn open_by_records(&self, expected: &BTreeMap<i32, Expected>) -> Open {
        let mut open = Open::new();
        for ((start, _, key), (count, is_final)) in
            simulation::merge(expected, &self.windows).remove(0)
        {
            if !is_final {
                let group = serde_json::from_str::<String>(&key).unwrap_or(key);
                *open.entry(start).or_default().entry(group).or_default() += count;
            }
        }
        open
    }
}

/// Holds what is shown against what the records say.
pub fn compare_open(expected: &Open, shown: &Open, differences: &mut Differences) {
    for (start, groups) in expected.iter().take(SHOWN) {
        let found = shown.get(start);
        if found != Some(groups) {
            differences.add(Kind::Window, || {
                format!("open window at {start}: {found:?}, expected {groups:?}")
            });
        }
    }
    for start in shown.keys().filter(|start| !expected.contains_key(start)) {
        differences.add(Kind::Window, || format!("the window at {start} is open"));
    }
}

fn open_as_shown(look: &Value) -> Open {
    let mut open = Open::new();
    for window in look["open"].as_array().into_iter().flatten() {
        let groups = open.entry(millis(window["start"].as_str().unwrap())).or_default();
        for top in window["top"].as_array().into_iter().flatten() {
            let group = top["group"].as_str().unwrap().to_owned();
            *groups.entry(group).or_default() += top["count"].as_u64().unwrap();
        }
    }
    open
}

fn millis(text: &str) -> i64 {
    DateTime::parse_from_rfc3339(text).unwrap().timestamp_millis()
}
