use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::*;

const EVENTS: u64 = 20_000;

fn spec(mix: Mix) -> Spec {
    Spec { seed: 7, start_ms: 1_694_479_551_000, mix, ..Spec::default() }
}

#[track_caller]
fn object(value: &[u8]) -> serde_json::Map<String, Value> {
    let text = String::from_utf8_lossy(value).into_owned();
    serde_json::from_slice(value).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[track_caller]
fn check_share(count: u64, share: f64) {
    let expected = share * EVENTS as f64;
    let bound = 5.0 * expected.sqrt();
    assert!((count as f64 - expected).abs() < bound, "{count} events, expected {expected}");
}

#[test]
fn a_seed_gives_the_same_events_for_ever() {
    let everything = Mix {
        invalid: 0.05,
        missing: 0.05,
        malformed: 0.05,
        late: 0.05,
        late_by: Duration::from_secs(90),
        duplicates: 0.05,
        jitter: Duration::from_millis(2_500),
    };
    let mut generator = Generator::new(spec(everything));
    let mut hash = Sha256::new();
    for _ in 0..EVENTS {
        let event = generator.advance();
        hash.update(event.key.expect("keyed by user"));
        hash.update(b"\n");
        hash.update(event.value);
        hash.update(b"\n");
    }
    let hash: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    // Recorded load tests and their expected results depend on it: never change the hash,
    // change the generator back.
    assert_eq!(hash, "676d11f5dc46a4dfe86a5918057a3ef06a5424369d7c84b803f14b1e7da11c8f");
}

#[test]
fn good_events_have_the_shape_of_a_login() {
    let mut generator = Generator::new(spec(Mix::default()));
    let example = r#"{"user_id":"424cdd21-063a-43a7-b91b-7ca1a833afae","app_version":"2.3.0","device_type":"android","ip":"199.172.111.135","locale":"RU","device_id":"593-47-5928","timestamp":1694479551}"#;
    let names: Vec<String> = object(example.as_bytes()).keys().cloned().collect();
    for number in 0..2_000 {
        let event = generator.advance();
        assert_eq!(event.kind, Kind::Good);
        let login = object(event.value);
        assert_eq!(login.keys().cloned().collect::<Vec<_>>(), names);
        let text = |name: &str| login[name].as_str().expect("a text").to_owned();
        let shape = |name: &str| text(name).replace(|c: char| c.is_ascii_hexdigit(), "x");
        assert_eq!(shape("user_id"), "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx");
        assert_eq!(&text("user_id")[14..15], "4", "version 4");
        assert!("89ab".contains(&text("user_id")[19..20]), "variant 1");
        assert_eq!(shape("device_id"), "xxx-xx-xxxx");
        text("ip").parse::<std::net::Ipv4Addr>().expect("an address");
        assert_eq!(login["timestamp"], 1_694_479_551 + number / 1_000);
        assert_eq!(event.key.expect("keyed"), text("user_id").as_bytes());
        assert!(event.value.starts_with(br#"{"user_id":"#));
    }
}

#[test]
fn shares_are_kept() {
    let mix =
        Mix { invalid: 0.02, missing: 0.03, malformed: 0.04, duplicates: 0.05, ..Mix::default() };
    let mut generator = Generator::new(spec(mix));
    let mut kinds = BTreeMap::new();
    let mut missing = BTreeSet::new();
    for _ in 0..EVENTS {
        let event = generator.advance();
        *kinds.entry(format!("{:?}", event.kind)).or_insert(0) += 1;
        let parsed = serde_json::from_slice::<serde_json::Map<String, Value>>(event.value);
        match event.kind {
            Kind::Invalid => assert!(parsed.is_err(), "{:?}", event.value),
            Kind::Missing => {
                let login = parsed.expect("an object");
                assert_eq!(login.len(), 6);
                missing.extend(login.keys().cloned());
            }
            Kind::Malformed => assert_eq!(parsed.expect("an object").len(), 7),
            Kind::Good => assert_eq!(parsed.expect("an object").len(), 7),
            Kind::Duplicate => {}
        }
        assert!(!event.value.contains(&b'\n'));
    }
    assert_eq!(missing.len(), 7, "each field is missing sometimes");
    // The first draw decides about duplicates, the next ones see only the rest.
    check_share(kinds["Duplicate"], 0.05);
    check_share(kinds["Invalid"], 0.95 * 0.02);
    check_share(kinds["Missing"], 0.95 * 0.98 * 0.03);
    check_share(kinds["Malformed"], 0.95 * 0.98 * 0.97 * 0.04);
}

#[test]
fn a_duplicate_repeats_one_of_the_events_just_before_it() {
    let mut generator =
        Generator::new(Spec { users: 0, ..spec(Mix { duplicates: 0.2, ..Mix::default() }) });
    let mut before: Vec<Vec<u8>> = Vec::new();
    let mut duplicates = 0;
    for _ in 0..EVENTS {
        let event = generator.advance();
        let recent = before.iter().rev().take(RECENT).any(|old| old == event.value);
        assert_eq!(recent, event.kind == Kind::Duplicate);
        if recent {
            duplicates += 1;
        } else {
            before.push(event.value.to_vec());
        }
    }
    check_share(duplicates, 0.2);
}

#[test]
fn late_events_are_late_by_what_was_asked_for() {
    let late_by = Duration::from_secs(90);
    let mix = Mix { late: 0.1, late_by, ..Mix::default() };
    let mut generator = Generator::new(spec(mix));
    let mut late = 0;
    for _ in 0..EVENTS {
        let event = generator.advance();
        let due = event.due_ms.div_euclid(1_000);
        let behind = due - object(event.value)["timestamp"].as_i64().expect("seconds");
        assert!((0..=90).contains(&behind), "{behind} s behind");
        late += u64::from(behind > 0);
    }
    check_share(late, 0.1);
}

#[test]
fn users_keep_their_device_and_without_a_limit_each_event_has_its_own() {
    for (users, expected) in [(50, 50), (0, 2_000)] {
        let mut generator = Generator::new(Spec { users, ..spec(Mix::default()) });
        let mut seen = HashSet::new();
        for _ in 0..2_000 {
            let login = object(generator.advance().value);
            seen.insert((login["user_id"].to_string(), login["device_type"].to_string()));
        }
        assert_eq!(seen.len(), expected);
    }
}

#[test]
fn keys_are_what_was_asked_for() {
    for (keys, name) in [
        (Keys::UserId, "user_id"),
        (Keys::DeviceId, "device_id"),
        (Keys::Locale, "locale"),
        (Keys::AppVersion, "app_version"),
    ] {
        let mut generator = Generator::new(Spec { keys, ..spec(Mix::default()) });
        let event = generator.advance();
        let login = object(event.value);
        assert_eq!(event.key, login[name].as_str().map(str::as_bytes));
    }
    let mut generator = Generator::new(Spec { keys: Keys::None, ..spec(Mix::default()) });
    assert_eq!(generator.advance().key, None);
}

#[test]
fn weights_add_up() {
    for set in [DEVICE_TYPES, APP_VERSIONS, LOCALES] {
        assert_eq!(set.iter().map(|(_, weight)| weight).sum::<u32>(), WEIGHTS);
    }
}

#[test]
fn event_time_follows_the_rate() {
    let spec = Spec { rate: 3, ..Spec::default() };
    let due: Vec<i64> = (0..7).map(|number| due_ms(&spec, number)).collect();
    assert_eq!(due, [0, 333, 666, 1_000, 1_333, 1_666, 2_000]);
}
