//! What librdkafka and the host say to a property of the user's.

use crate::kafka::{ClientSettings, refused_property};

/// Brokers that are never asked: a client's settings are only checked.
const NOBODY: &str = "localhost:1";

/// What is wrong with a property, none if it can be set. Repeats no secret.
pub fn problem(key: &str, value: &str) -> Option<String> {
    if let Some(reason) = refused_property(key) {
        return Some(format!("cannot be set: {reason}"));
    }
    let error = ClientSettings::new(NOBODY, [(key, value)]).err()?;
    let text = error.to_string();
    let prefix = format!("property {key}: ");
    // The list shows the key already.
    Some(match text.split_once(&prefix) {
        Some((_, reason)) => reason.to_owned(),
        None => text,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_are_judged_by_the_host_and_by_librdkafka() {
        assert_eq!(problem("client.rack", "a"), None);
        assert_eq!(
            problem("group.id", "a"),
            Some("cannot be set: use [pipeline] name or --group".to_owned())
        );
        let wrong = problem("socket.timeout.ms", "soon").expect("not a number");
        assert!(wrong.contains("socket.timeout.ms") && !wrong.starts_with("property"), "{wrong}");
        assert!(problem("no.such.thing", "1").is_some());
    }
}
