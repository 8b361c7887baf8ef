//! The flags of every command that talks to Kafka.

use clap::Args;

use crate::config::Property;
use crate::kafka::{ClientSettings, KafkaError};

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
        env = "HOST_KAFKA_PROPERTIES",
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

    /// The properties, unchecked. Not parsed by clap, which would repeat a wrong text in its
    /// error: it may be a secret.
    pub fn properties(&self) -> Result<Vec<Property>, String> {
        let lists: Result<Vec<_>, _> =
            self.properties.iter().map(|text| Property::parse_lines(text)).collect();
        lists.map(|lists| lists.concat()).map_err(|why| format!("-X: {why}"))
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
}
