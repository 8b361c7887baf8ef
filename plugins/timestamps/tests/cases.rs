//! What a user of timestamps sees.

use pipeline_sdk::testing::{check, check_refused};
use serde_json::{Value, json};
use timestamps::Timestamps;

/// [`pipeline_sdk::testing::NOW`].
const NOW: &str = "2023-11-14T22:13:20.123Z";

/// Only the field `t`, so that events stay short.
#[track_caller]
fn check_field(settings: Value, values: Value, expected: Value) {
    let mut settings = settings;
    settings["processed"] = json!(false);
    settings["fields"] = json!(["/t"]);
    let event = |value: &Value| match value.as_object() {
        Some(_) => value.clone(),
        None if value == "drop" => value.clone(),
        None => json!({ "t": value }),
    };
    let events = |values: &Value| values.as_array().expect("a list").iter().map(event).collect();
    check::<Timestamps>(settings, events(&values), events(&expected));
}

#[test]
fn without_settings_now_is_added_and_the_timestamp_is_readable() {
    check::<Timestamps>(
        json!({}),
        json!([{ "timestamp": 1694479551 }, { "timestamp": 1694479551042i64 }, { "a": 1 }]),
        json!([
            { "timestamp": "2023-09-12T00:45:51Z", "processed_timestamp": NOW },
            { "timestamp": "2023-09-12T00:45:51.042Z", "processed_timestamp": NOW },
            { "a": 1, "processed_timestamp": NOW },
        ]),
    );
}

#[test]
fn the_unit_is_told_by_magnitude_unless_it_is_given() {
    let numbers = json!([99999999999i64, 100000000000i64, -99999999999i64, -100000000000i64, 0]);
    check_field(
        json!({ "unit": "auto" }),
        numbers.clone(),
        json!([
            "5138-11-16T09:46:39Z",
            "1973-03-03T09:46:40Z",
            { "t": -99999999999i64 },
            "1966-10-31T14:13:20Z",
            "1970-01-01T00:00:00Z",
        ]),
    );
    check_field(
        json!({ "unit": "seconds" }),
        numbers.clone(),
        json!([
            "5138-11-16T09:46:39Z",
            "5138-11-16T09:46:40Z",
            { "t": -99999999999i64 },
            { "t": -100000000000i64 },
            "1970-01-01T00:00:00Z",
        ]),
    );
    check_field(
        json!({ "unit": "milliseconds" }),
        numbers,
        json!([
            "1973-03-03T09:46:39.999Z",
            "1973-03-03T09:46:40Z",
            "1966-10-31T14:13:20.001Z",
            "1966-10-31T14:13:20Z",
            "1970-01-01T00:00:00Z",
        ]),
    );
}

#[test]
fn fractions_count_to_the_millisecond() {
    check_field(
        json!({}),
        json!([1694479551.25, 1694479551042.4, -0.001, 1694479551.0]),
        json!([
            "2023-09-12T00:45:51.250Z",
            "2023-09-12T00:45:51.042Z",
            "1969-12-31T23:59:59.999Z",
            "2023-09-12T00:45:51Z",
        ]),
    );
}

#[test]
fn what_is_no_epoch_number_stays_as_it_is() {
    let values = json!([
        "1694479551",
        "2023-09-12T00:45:51Z",
        true,
        null,
        [1],
        1e300,
        i64::MAX,
        i64::MIN,
        u64::MAX,
    ]);
    check_field(json!({}), values.clone(), values);
    // In one batch with what is.
    check_field(json!({}), json!(["x", 0, {}]), json!(["x", "1970-01-01T00:00:00Z", {}]));
}

#[test]
fn malformed_values_are_rejected_on_request_but_missing_ones_are_not() {
    let reason = |field: &str| json!({ "reject": format!("{field} is no number of epoch seconds or milliseconds") });
    check::<Timestamps>(
        json!({ "malformed": "reject", "processed": false, "fields": ["/a", "/b"] }),
        json!([{ "a": 0, "b": 0 }, { "a": "x", "b": "x" }, { "a": 0, "b": "x" }, { "a": null }]),
        json!([
            { "a": "1970-01-01T00:00:00Z", "b": "1970-01-01T00:00:00Z" },
            reason("/a"),
            reason("/b"),
            { "a": null },
        ]),
    );
}

#[test]
fn the_format_is_anything_that_strftime_has() {
    check::<Timestamps>(
        json!({ "format": "%d.%m.%Y %H:%M:%S%.3f %A 100%%" }),
        json!([{ "timestamp": 1694479551 }]),
        json!([{
            "timestamp": "12.09.2023 00:45:51.000 Tuesday 100%",
            "processed_timestamp": "14.11.2023 22:13:20.123 Tuesday 100%",
        }]),
    );
    check::<Timestamps>(
        json!({ "format": "%Y-%m-%dT%H:%M:%S%.fZ" }),
        json!([{ "timestamp": 951782400 }]),
        json!([{ "timestamp": "2000-02-29T00:00:00Z", "processed_timestamp": NOW }]),
    );
}

#[test]
fn bad_settings_say_where_and_how_to_mend_them() {
    check_refused::<Timestamps>(
        json!({ "format": "%Y-%Q" }),
        "/format: `%Y-%Q` has a `%` that strftime does not know (`%%` is a percent sign)",
    );
    check_refused::<Timestamps>(
        json!({ "format": "RFC3339" }),
        "/format: `RFC3339` names no part of a time: write `rfc3339`, or as strftime has \
         it, such as `%Y-%m-%d %H:%M:%S`",
    );
    check_refused::<Timestamps>(
        json!({ "unit": "minutes" }),
        "/unit: `minutes` is not known: write `auto`, `seconds` or `milliseconds`",
    );
    check_refused::<Timestamps>(
        json!({ "fields": ["/a", "/a/b"] }),
        "/fields/1: `/a/b` and `/a` overlap: take one out",
    );
    check_refused::<Timestamps>(
        json!({ "fields": [], "processed": false }),
        "/fields: neither `fields` nor `processed`: give one, or take the stage out",
    );
    check_refused::<Timestamps>(
        json!({ "processed": "now" }),
        "/processed: `now` is no JSON Pointer: write `/now`",
    );
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    check_refused::<Timestamps>(
        json!({ "format": "now", "fields": ["/a", "/b/c", "/b", "/a"], "processed": "/b/d" }),
        "/format: `now` names no part of a time: write `rfc3339`, or as strftime has it, such as \
         `%Y-%m-%d %H:%M:%S`\n\
         /fields/2: `/b` and `/b/c` overlap: take one out\n\
         /fields/3: `/a` and `/a` overlap: take one out\n\
         /processed: `/b/d` and `/b` overlap: take one out",
    );
    check_refused::<Timestamps>(
        json!({ "format": "now", "fields": "/a", "processed": 5, "unit": "second", "malformed": 1 }),
        "/fields: expected a list, found a text: put it in `[ ]`\n\
         /malformed: write `keep` or `reject`\n\
         /processed: give a field, or `false` to add none\n\
         /unit: `second` is not known: did you mean `seconds`?\n\
         /format: `now` names no part of a time: write `rfc3339`, or as strftime has it, such as \
         `%Y-%m-%d %H:%M:%S`",
    );
}
