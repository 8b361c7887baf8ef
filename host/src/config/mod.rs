//! `pipeline.toml` and flags into checked types, all problems at once. Opens no plugin's file and
//! never talks to Kafka.
