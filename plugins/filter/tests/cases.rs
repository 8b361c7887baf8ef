//! What a user of the filter sees.

use filter::Filter;
use pipeline_sdk::testing::{check, check_refused};
use serde_json::json;

#[test]
fn without_settings_android_is_kept_whatever_its_case() {
    check::<Filter>(
        json!({}),
        json!([
            { "device_type": "android" },
            { "device_type": "Android" },
            { "device_type": "iOS" },
            { "device_type": " android" },
            { "device_type": null },
            { "device_type": ["android"] },
            {},
        ]),
        json!([
            { "device_type": "android" },
            { "device_type": "Android" },
            "drop",
            "drop",
            "drop",
            "drop",
            "drop",
        ]),
    );
}

#[test]
fn texts_compare_exactly_unless_case_is_ignored() {
    let events = json!([{ "l": "RU" }, { "l": "ru" }, { "l": "ÄÖ" }, { "l": "äö" }]);
    check::<Filter>(
        json!({ "conditions": [{ "field": "/l", "in": ["RU", "äö"] }] }),
        events.clone(),
        json!([{ "l": "RU" }, "drop", "drop", { "l": "äö" }]),
    );
    check::<Filter>(
        json!({ "conditions": [{ "field": "/l", "in": ["RU", "äö"], "ignore-case": true }] }),
        events.clone(),
        events,
    );
}

#[test]
fn nothing_is_coerced_but_numbers_compare_by_their_worth() {
    check::<Filter>(
        json!({ "conditions": [{ "field": "/n", "equals": 12 }] }),
        json!([{ "n": 12 }, { "n": 12.0 }, { "n": "12" }, { "n": true }, { "n": 13 }]),
        json!([{ "n": 12 }, { "n": 12.0 }, "drop", "drop", "drop"]),
    );
    check::<Filter>(
        json!({ "conditions": [{ "field": "/b", "equals": true }] }),
        json!([{ "b": true }, { "b": false }, { "b": "true" }, { "b": 1 }]),
        json!([{ "b": true }, "drop", "drop", "drop"]),
    );
}

#[test]
fn both_ends_of_a_range_belong_to_it() {
    check::<Filter>(
        json!({ "conditions": [{ "field": "/n", "min": 1, "max": 2.5 }] }),
        json!([{ "n": 0 }, { "n": 1 }, { "n": 2.5 }, { "n": 2.500001 }, { "n": "2" }, {}]),
        json!(["drop", { "n": 1 }, { "n": 2.5 }, "drop", "drop", "drop"]),
    );
    check::<Filter>(
        json!({ "conditions": [{ "field": "/n", "min": 9007199254740993i64 }] }),
        json!([{ "n": 9007199254740992i64 }, { "n": 9007199254740993i64 }]),
        json!(["drop", { "n": 9007199254740993i64 }]),
    );
}

#[test]
fn null_is_as_little_present_as_an_absent_field() {
    let events = json!([{ "a": "" }, { "a": null }, {}]);
    check::<Filter>(
        json!({ "conditions": [{ "field": "/a", "present": true }] }),
        events.clone(),
        json!([{ "a": "" }, "drop", "drop"]),
    );
    check::<Filter>(
        json!({ "conditions": [{ "field": "/a", "present": false }] }),
        events,
        json!(["drop", { "a": null }, {}]),
    );
}

#[test]
fn not_turns_a_condition_round_also_for_absent_fields() {
    check::<Filter>(
        json!({ "conditions": [{ "not": { "field": "/a", "equals": "x" } }] }),
        json!([{ "a": "x" }, { "a": "y" }, {}]),
        json!(["drop", { "a": "y" }, {}]),
    );
    check::<Filter>(
        json!({ "conditions": [{ "not": { "not": { "field": "/a", "equals": "x" } } }] }),
        json!([{ "a": "x" }, { "a": "y" }]),
        json!([{ "a": "x" }, "drop"]),
    );
}

#[test]
fn all_or_any_of_several_fields_decide() {
    let conditions = json!([
        { "field": "/a", "equals": 1 },
        { "field": "/b/c", "equals": 2 },
        { "not": { "field": "/a", "equals": 3 } },
    ]);
    let events = json!([
        { "a": 1, "b": { "c": 2 } },
        { "a": 1, "b": { "c": 9 } },
        { "a": 9, "b": { "c": 2 } },
        { "a": 3, "b": { "c": 9 } },
        { "a": 1, "b": { "c": 2 } },
    ]);
    check::<Filter>(
        json!({ "keep": "all", "conditions": conditions }),
        events.clone(),
        json!([events[0], "drop", "drop", "drop", events[4]]),
    );
    check::<Filter>(
        json!({ "keep": "any", "conditions": conditions }),
        events.clone(),
        json!([events[0], events[1], events[2], "drop", events[4]]),
    );
}

#[test]
fn sixty_four_conditions_are_the_most() {
    let conditions =
        |count| json!({ "conditions": vec![json!({ "field": "/a", "min": 0 }); count] });
    check::<Filter>(conditions(64), json!([{ "a": 0 }, {}]), json!([{ "a": 0 }, "drop"]));
    check_refused::<Filter>(
        conditions(65),
        "/conditions: more than 64: spread them over two stages",
    );
}

#[test]
fn bad_settings_say_where_and_how_to_mend_them() {
    let refused = |conditions, expected: &str| {
        check_refused::<Filter>(json!({ "conditions": conditions }), expected);
    };
    check_refused::<Filter>(
        json!({ "keep": "some" }),
        "/keep: `some` is not known: write `all` or `any`",
    );
    check_refused::<Filter>(
        json!({ "condition": [] }),
        "/condition: unknown key: did you mean `conditions`?\n\
         /condition: the list is empty: give at least one, or take the stage out",
    );
    refused(json!([]), "/conditions: the list is empty: give at least one, or take the stage out");
    refused(
        json!([{ "field": "device_type", "equals": "x" }]),
        "/conditions/0/field: `device_type` is no JSON Pointer: write `/device_type`",
    );
    refused(
        json!([{ "field": "/a", "equals": "x" }, { "equals": "x" }]),
        "/conditions/1/field: missing: add `field = \"/device_type\"`",
    );
    refused(
        json!([{ "field": "/a", "equals": "x", "present": true }]),
        "/conditions/0: give exactly one of `equals`, `in`, `present`, or a range (`min`, `max` or \
         both)",
    );
    refused(
        json!([{ "not": { "field": "/a", "min": 2, "max": 1 } }]),
        "/conditions/0/not/min: `min` is above `max`: swap them",
    );
    refused(
        json!([{ "field": "/a", "equals": ["x"] }]),
        "/conditions/0/equals: found a list: give a text, a number or a boolean",
    );
    refused(
        json!([{ "field": "/a", "present": true, "ignore-case": true }]),
        "/conditions/0/ignore-case: only for `equals` and `in`: take it out",
    );
    refused(
        json!([{ "not": { "field": "/a", "equals": 1 }, "field": "/b" }]),
        "/conditions/0: beside `not` nothing else may stand: write `{ not = { field = …, equals = \
         … } }`",
    );
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    check_refused::<Filter>(
        json!({ "kep": "any", "conditions": [
            { "field": "/a", "min": "1", "max": true },
            { "equals": 1, "present": true },
            { "not": { "fields": "/a", "eqals": 1 } },
            { "field": "/a", "equals": [], "ignore-case": "yes", "x": 1 },
            "all",
        ] }),
        "/conditions/2/not/eqals: unknown key: did you mean `equals`?\n\
         /conditions/2/not/fields: unknown key: did you mean `field`?\n\
         /conditions/3/equals: found a list: give a text, a number or a boolean\n\
         /conditions/3/ignore-case: expected true or false, found a text\n\
         /conditions/3/x: unknown key: take it out; known are `field`, `equals`, `in`, `min`, `max`, \
         `present`, `ignore-case` and `not`\n\
         /conditions/4: expected a table, found a text: write `{ … }`\n\
         /kep: unknown key: did you mean `keep`?\n\
         /conditions/0/min: `min` must be a number\n\
         /conditions/0/max: `max` must be a number\n\
         /conditions/1/field: missing: add `field = \"/device_type\"`\n\
         /conditions/1: give exactly one of `equals`, `in`, `present`, or a range (`min`, `max` or \
         both)",
    );
    // Neither a number in the place of the text nor its absence makes the others wrong.
    check_refused::<Filter>(
        json!({ "conditions": [
            { "field": "/a", "min": [], "max": -1 },
            { "field": "/a", "equals": [], "ignore-case": true },
            { "field": "/a", "equals": [], "min": "1" },
        ] }),
        "/conditions/0/min: found a list: give a text, a number or a boolean\n\
         /conditions/1/equals: found a list: give a text, a number or a boolean\n\
         /conditions/2/equals: found a list: give a text, a number or a boolean\n\
         /conditions/2/min: `min` must be a number",
    );
}
