//! `host windows`: the windows of a pipeline, and what they wait for.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use anyhow::Context as _;
use clap::Args;
use serde_json::json;

use super::args::{GroupArgs, PluginsArgs};
use super::connect::ConnectArgs;
use super::exit::{Exit, Failure};
use super::properties;
use super::reset::stop_flag;
use crate::config::{self, Config, FILE_NAME, Overrides, Window};
use crate::kafka::{ClientSettings, KafkaError};
use crate::pipeline::{self, LookError, PartitionLook, WindowLook};
use crate::window::rfc3339;

/// Show the windows of a pipeline over all its instances: what is open, how far each partition is, and
/// which holds the others back. Reads their topics; the pipeline may run or not.
#[derive(Args, Clone)]
#[command(after_help = "\
Examples:
  host windows --brokers localhost:9092
  host windows --brokers localhost:9092 --json | jq '.[].behind'

Exit codes:
  0  done
  1  failed
  2  wrong arguments or configuration, or the pipeline never ran
  3  a broker or right is missing")]
pub struct WindowsArgs {
    /// The folder with pipeline.toml
    #[command(flatten)]
    pub plugins: PluginsArgs,

    /// Which Kafka
    #[command(flatten)]
    pub connect: ConnectArgs,

    /// The consumer group
    #[command(flatten)]
    pub group: GroupArgs,

    /// So many groups of each open window, the largest
    #[arg(long, env = "HOST_TOP", value_name = "N", default_value_t = 5)]
    pub top: usize,

    /// One JSON text
    #[arg(long, env = "HOST_JSON")]
    pub json: bool,
}

/// Runs the command.
pub fn run(args: &WindowsArgs) -> anyhow::Result<()> {
    let overrides = Overrides {
        name: args.group.group.clone(),
        properties: args.connect.properties().map_err(|text| Failure::new(Exit::Input, text))?,
        ..Overrides::default()
    };
    let file = args.plugins.plugins.join(FILE_NAME);
    let config = config::read(&file, &overrides, &properties::problem)?.finish()?;
    let Some(brokers) = &args.connect.brokers else {
        let text = "no brokers: say which Kafka with --brokers host:port";
        return Err(Failure::new(Exit::Input, text).into());
    };
    let client = ClientSettings::new(brokers, config.properties.iter())?;
    let stop = stop_flag().context("listening for signals")?;
    let looks = match pipeline::windows(&client, &config, args.top, &stop) {
        Ok(looks) => looks,
        Err(LookError::Kafka(KafkaError::MissingTopic(missing))) => {
            let text = format!(
                "{missing}: pipeline {:?} has not run on these brokers (--group names another)",
                config.name
            );
            return Err(Failure::new(Exit::Input, text).into());
        }
        Err(LookError::Kafka(error)) => return Err(error.into()),
        Err(error @ LookError::State(_)) => return Err(error.into()),
    };
    let text = match args.json {
        true => format!("{:#}\n", to_json(&looks)),
        false => to_text(&config, &looks),
    };
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}

fn to_json(looks: &[WindowLook]) -> serde_json::Value {
    let time = |millis: Option<i64>| millis.map(rfc3339);
    let partition = |partition: &PartitionLook| {
        json!({
            "partition": partition.partition,
            "watermark": time(partition.watermark),
            "closed": time(partition.closed),
        })
    };
    let window = |look: &WindowLook| {
        let open = look.open.iter().map(|open| {
            let top = open.top.iter().map(|(group, count)| json!({"group": group, "count": count}));
            json!({
                "start": rfc3339(open.span.start),
                "end": rfc3339(open.span.end),
                "groups": open.groups,
                "top": top.collect::<Vec<_>>(),
            })
        });
        json!({
            "window": look.name,
            "final_before": time(look.final_before),
            "behind": look.behind,
            "partitions": look.partitions.iter().map(partition).collect::<Vec<_>>(),
            "open": open.collect::<Vec<_>>(),
        })
    };
    looks.iter().map(window).collect()
}

fn to_text(config: &Config, looks: &[WindowLook]) -> String {
    let mut text = String::new();
    if looks.is_empty() {
        text.push_str("no [[window]] in pipeline.toml\n");
    }
    for (place, (window, look)) in config.windows.iter().zip(looks).enumerate() {
        if place > 0 {
            text.push('\n');
        }
        // Writing to memory cannot fail.
        let _ = write_window(&mut text, window, look);
    }
    text
}

fn write_window(text: &mut String, window: &Window, look: &WindowLook) -> std::fmt::Result {
    writeln!(text, "{}, to {}", look.name, window.results_topic)?;
    writeln!(text, "  {}", standing(look))?;
    writeln!(text, "  {:>9}  {:<24}  closed up to", "partition", "watermark")?;
    let none = |millis: Option<i64>| millis.map_or("-".to_owned(), rfc3339);
    for partition in &look.partitions {
        let (watermark, closed) = (none(partition.watermark), none(partition.closed));
        writeln!(text, "  {:>9}  {watermark:<24}  {closed}", partition.partition)?;
    }
    if look.open.is_empty() {
        return writeln!(text, "  nothing is open");
    }
    writeln!(text, "  {:<49}  {:>8}  largest", "open window", "groups")?;
    for open in &look.open {
        let top: Vec<_> =
            open.top.iter().map(|(group, count)| format!("{group} {count}")).collect();
        let span = open.span.to_string();
        writeln!(text, "  {span:<49}  {:>8}  {}", open.groups, top.join(" · "))?;
    }
    Ok(())
}

/// How far the window is, and what it waits for.
fn standing(look: &WindowLook) -> String {
    let behind: Vec<_> = look.behind.iter().map(i32::to_string).collect();
    let behind = match (look.behind.len(), behind.join(", ")) {
        (1, one) => format!("partition {one}"),
        (_, many) => format!("partitions {many}"),
    };
    match look.final_before {
        None => format!("nothing is final yet: no event has passed the stages in {behind}"),
        Some(at) if look.behind.len() == look.partitions.len() => {
            format!("final up to {}: all partitions are as far", rfc3339(at))
        }
        Some(at) => format!("final up to {}: {behind} holds the others back", rfc3339(at)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(closed: [Option<i64>; 3]) -> WindowLook {
        let partitions = (0..).zip(closed);
        let partitions = partitions.map(|(partition, closed)| PartitionLook {
            partition,
            watermark: closed.map(|closed| closed + 7_000),
            closed,
        });
        let final_before = closed.into_iter().min().flatten();
        let behind = (0..).zip(closed).filter(|(_, closed)| *closed == final_before);
        WindowLook {
            name: "counts".to_owned(),
            final_before,
            behind: behind.map(|(partition, _)| partition).collect(),
            partitions: partitions.collect(),
            open: Vec::new(),
        }
    }

    #[test]
    fn what_holds_a_window_back_is_named() {
        assert_eq!(
            standing(&look([Some(60_000), None, None])),
            "nothing is final yet: no event has passed the stages in partitions 1, 2"
        );
        assert_eq!(
            standing(&look([Some(60_000), Some(0), Some(60_000)])),
            "final up to 1970-01-01T00:00:00Z: partition 1 holds the others back"
        );
        assert_eq!(
            standing(&look([Some(60_000); 3])),
            "final up to 1970-01-01T00:01:00Z: all partitions are as far"
        );
    }
}
