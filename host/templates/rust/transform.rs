//! Makes one record of each line of a record: phones that were offline send their logins together.

use pipeline_sdk::Problems;
use pipeline_sdk::transform::{Header, KafkaRecord, Outcome, Output, Transform};
use serde::Deserialize;

/// What may stand in `[stage.settings]`; anything else there is refused, with its place.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
struct Settings {
    header: String,
    max_lines: i64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { header: "line".to_owned(), max_lines: 100 }
    }
}

struct Lines {
    settings: Settings,
}

impl Transform for Lines {
    type Settings = Settings;

    fn new(settings: Settings) -> Result<Self, String> {
        let mut problems = Problems::default();
        if settings.max_lines < 1 {
            problems.add("/max-lines", "give at least 1");
        }
        problems.finish()?;
        Ok(Self { settings })
    }

    fn transform(&mut self, record: KafkaRecord, _now: i64) -> Outcome {
        let lines = record.value.split(|byte| *byte == b'\n');
        let lines = lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let lines: Vec<&[u8]> = lines.filter(|line| !line.is_empty()).collect();
        let max = self.settings.max_lines;
        match lines.as_slice() {
            [] => Outcome::Drop,
            [line] if line.len() == record.value.len() => Outcome::Pass,
            lines if lines.len() as i64 > max => {
                let count = lines.len();
                Outcome::Reject(format!("{count} lines, and max-lines is {max}"))
            }
            lines => Outcome::Emit(self.outputs(&record, lines)),
        }
    }
}

impl Lines {
    /// One record a line, with the number of the line in a header.
    fn outputs(&self, record: &KafkaRecord, lines: &[&[u8]]) -> Vec<Output> {
        let output = |(line, number): (&&[u8], u32)| {
            let mut headers = record.headers.clone();
            let value = Some(number.to_string().into_bytes());
            headers.push(Header { name: self.settings.header.clone(), value });
            Output { key: record.key.clone(), value: Some(line.to_vec()), headers, topic: None }
        };
        lines.iter().zip(1..).map(output).collect()
    }
}

pipeline_sdk::export_transform!(Lines);
