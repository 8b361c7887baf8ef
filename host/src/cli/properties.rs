//! What librdkafka and the host say to a property of the user's.

use crate::kafka::property_problem;

/// What is wrong with a property, and how to mend it; none if it can be set. Repeats no secret.
pub fn problem(key: &str, value: &str) -> Option<(String, String)> {
    property_problem(key, value).map(|(message, help)| (message, help.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(key: &str, value: &str, expected: &str, expected_help: &str) {
        let (message, help) = problem(key, value).expect("a problem");
        assert_eq!(message, expected);
        assert!(help.contains(expected_help), "{help}");
    }

    #[test]
    fn properties_are_judged_by_the_host_and_by_librdkafka() {
        assert_eq!(problem("client.rack", "a"), None);
        let group = "cannot be set: use [pipeline] name or --group";
        check("group.id", "a", group, "take it out");
        check("socket.timeout.ms", "soon", "invalid value", "write a value");
        check("security.protocol", "ssh", "invalid value \"ssh\"", "write a value");
        check("no.such.thing", "1", "librdkafka has no property of this name", "mend the name");
        check("sasl.password", "a\0b", "it holds a zero byte", "take the zero byte out");
    }
}
