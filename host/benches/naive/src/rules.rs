//! The rules themselves.

use std::net::IpAddr;

use chrono::{DateTime, Datelike, Timelike};
use serde_json::{Map, Value};

type Event = Map<String, Value>;

/// Keeps what has a device type.
pub fn filter(event: &mut Event, _now: i64) -> bool {
    event.get("device_type").is_some_and(|device| !device.is_null())
}

/// Adds the time of processing and makes the event's own readable.
pub fn timestamps(event: &mut Event, now: i64) -> bool {
    let time = event.get("timestamp").and_then(Value::as_i64);
    let millis = time.and_then(|time| match time.unsigned_abs() >= 100_000_000_000 {
        true => Some(time),
        false => time.checked_mul(1_000),
    });
    if let Some(text) = millis.and_then(rfc3339) {
        event.insert("timestamp".into(), text.into());
    }
    if let Some(text) = rfc3339(now) {
        event.insert("processed_timestamp".into(), text.into());
    }
    true
}

/// Maps the device type to a category.
pub fn categorize(event: &mut Event, _now: i64) -> bool {
    let category = match event.get("device_type") {
        Some(Value::String(device)) => match category(device) {
            "Unknown" => category(&device.to_lowercase()),
            known => known,
        },
        _ => "Unknown",
    };
    event.insert("device_category".into(), category.into());
    true
}

fn category(device: &str) -> &'static str {
    match device {
        "android" | "ios" | "iphone" | "mobile" | "phone" | "smartphone" => "Mobile",
        "ipad" | "tablet" => "Tablet",
        "chromeos" | "desktop" | "laptop" | "linux" | "mac" | "macos" | "windows" => "Desktop",
        _ => "Unknown",
    }
}

/// Flags what is suspicious, missing or malformed.
pub fn anomaly(event: &mut Event, _now: i64) -> bool {
    let mut reasons: Vec<Value> = Vec::new();
    let present = |name| event.get(name).filter(|value| !value.is_null());
    let malformed = |name, test: fn(&str) -> bool| {
        present(name).is_some_and(|value| !value.as_str().is_some_and(test))
    };
    let suspicious = |text: &str| ["KP", "RU"].iter().any(|code| text.eq_ignore_ascii_case(code));
    if present("locale").and_then(Value::as_str).is_some_and(suspicious) {
        reasons.push("suspicious-locale".into());
    }
    if present("user_id").is_none() {
        reasons.push("missing-user-id".into());
    }
    if malformed("user_id", is_uuid) {
        reasons.push("malformed-user-id".into());
    }
    if present("ip").is_none() {
        reasons.push("missing-ip".into());
    }
    if malformed("ip", |text| text.parse::<IpAddr>().is_ok()) {
        reasons.push("malformed-ip".into());
    }
    if malformed("app_version", |text| semver::Version::parse(text).is_ok()) {
        reasons.push("malformed-app-version".into());
    }
    event.insert("anomaly".into(), (!reasons.is_empty()).into());
    event.insert("anomaly_reasons".into(), reasons.into());
    true
}

fn is_uuid(text: &str) -> bool {
    const HYPHENS: [usize; 4] = [8, 13, 18, 23];
    text.len() == 36
        && text.bytes().enumerate().all(|(place, byte)| match HYPHENS.contains(&place) {
            true => byte == b'-',
            false => byte.is_ascii_hexdigit(),
        })
}

fn rfc3339(millis: i64) -> Option<String> {
    let time = DateTime::from_timestamp_millis(millis)?;
    if !(0..=9999).contains(&time.year()) {
        return None;
    }
    let mut text = String::with_capacity(24);
    let mut digits = |number: u32, after: char| {
        text.push(char::from(b'0' + (number / 10 % 10) as u8));
        text.push(char::from(b'0' + (number % 10) as u8));
        if after != ' ' {
            text.push(after);
        }
    };
    digits(time.year() as u32 / 100, ' ');
    digits(time.year() as u32 % 100, '-');
    digits(time.month(), '-');
    digits(time.day(), 'T');
    digits(time.hour(), ':');
    digits(time.minute(), ':');
    digits(time.second(), ' ');
    let part = time.timestamp_subsec_millis();
    if part != 0 {
        text.push('.');
        for divisor in [100, 10, 1] {
            text.push(char::from(b'0' + (part / divisor % 10) as u8));
        }
    }
    text.push('Z');
    Some(text)
}
