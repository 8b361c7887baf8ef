//! The flags of every command that talks to Kafka.

use clap::Args;

use crate::config::Property;
use crate::kafka::{ClientSettings, KafkaError};

/// Where properties come from that are not on the command line.
pub const PROPERTIES_VARIABLE: &str = "HOST_KAFKA_PROPERTIES";

/// Which Kafka to talk to.
#[derive(Args, Clone, Default)]
pub struct ConnectArgs {
    /// Kafka's address, host:port; several separated by commas
    #[arg(long, env = "HOST_BROKERS", value_name = "HOST:PORT")]
    pub brokers: Option<String>,

    /// A librdkafka property, such as -X security.protocol=SSL; may be repeated (in the environment
    /// variable: one a line)
    #[arg(
        short = 'X',
        env = PROPERTIES_VARIABLE,
        value_name = "KEY=VALUE",
        hide_env_values = true
    )]
    pub properties: Vec<String>,
}

impl ConnectArgs {
    /// How to connect, checked; none without brokers.
    pub fn settings(&self) -> Result<Option<ClientSettings>, KafkaError> {
        let properties = self.properties().map_err(KafkaError::Config)?;
        let Some(brokers) = &self.brokers else { return Ok(None) };
        let properties = properties.into_iter().map(|property| (property.key, property.value));
        ClientSettings::new(brokers, properties).map(Some)
    }

    /// The properties, unchecked; the error tells of each flag that is none. Not parsed by clap,
    /// which would repeat a wrong text in its error: it may be a secret.
    pub fn properties(&self) -> Result<Vec<Property>, String> {
        let (mut properties, mut problems) = (Vec::new(), Vec::new());
        for (place, text) in self.properties.iter().enumerate() {
            match Property::parse_lines(text) {
                Ok(parsed) => properties.extend(parsed),
                Err(why) if self.properties.len() == 1 => problems.push(format!("-X: {why}")),
                Err(why) => problems.push(format!("-X, number {}: {why}", place + 1)),
            }
        }
        if problems.is_empty() { Ok(properties) } else { Err(problems.join("\n")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_property_is_refused_and_not_repeated() {
        for wrong in ["hunter2", "=hunter2", "sasl.pasword=hunter2"] {
            let args = ConnectArgs {
                brokers: Some("localhost:9092".into()),
                properties: vec![wrong.into()],
            };
            let error = args.settings().expect_err("refused").to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn every_wrong_property_is_told_with_its_number() {
        let properties = ["a=1", "b", "c=3", "=4"].map(str::to_owned).into();
        let error = ConnectArgs { brokers: None, properties }.properties().expect_err("refused");
        let lines: Vec<_> = error.lines().collect();
        assert_eq!(lines.len(), 2, "{error}");
        assert!(lines[0].starts_with("-X, number 2: there is no `=` in it: "), "{error}");
        assert!(lines[1].starts_with("-X, number 4: there is no name before `=`: "), "{error}");
    }
}
