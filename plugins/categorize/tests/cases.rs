//! What a user of categorize sees.

use categorize::Categorize;
use pipeline_sdk::testing::{check, check_refused};
use serde_json::json;

#[test]
fn without_settings_devices_are_mobile_tablet_or_desktop() {
    let of = |device: &str, category: &str| json!({ "device_type": device, "device_category": category });
    check::<Categorize>(
        json!({}),
        json!([
            { "device_type": "android" },
            { "device_type": "iOS" },
            { "device_type": "IPAD" },
            { "device_type": "Windows" },
            { "device_type": "android" },
            { "device_type": "toaster" },
        ]),
        json!([
            of("android", "Mobile"),
            of("iOS", "Mobile"),
            of("IPAD", "Tablet"),
            of("Windows", "Desktop"),
            of("android", "Mobile"),
            of("toaster", "Unknown"),
        ]),
    );
}

#[test]
fn what_is_no_text_gets_the_fallback() {
    check::<Categorize>(
        json!({ "map": { "12": "Dozen", "true": "Yes" }, "fallback": "Other" }),
        json!([{ "device_type": "12" }, { "device_type": 12 }, { "device_type": true }, { "device_type": null }, {}]),
        json!([
            { "device_type": "12", "device_category": "Dozen" },
            { "device_type": 12, "device_category": "Other" },
            { "device_type": true, "device_category": "Other" },
            { "device_type": null, "device_category": "Other" },
            { "device_category": "Other" },
        ]),
    );
}

#[test]
fn without_a_fallback_the_field_stays_as_it_is() {
    check::<Categorize>(
        json!({ "fallback": false }),
        json!([
            { "device_type": "toaster", "device_category": "Kitchen" },
            { "device_type": "ipad", "device_category": "Kitchen" },
            {},
        ]),
        json!([
            { "device_type": "toaster", "device_category": "Kitchen" },
            { "device_type": "ipad", "device_category": "Tablet" },
            {},
        ]),
    );
}

#[test]
fn a_map_of_ones_own_replaces_the_default_and_may_edit_in_place() {
    check::<Categorize>(
        json!({ "field": "/a/b", "into": "/a/b", "map": { "ÄRGER": "trouble" }, "fallback": false }),
        json!([{ "a": { "b": "ärger" } }, { "a": { "b": "android" } }]),
        json!([{ "a": { "b": "trouble" } }, { "a": { "b": "android" } }]),
    );
}

#[test]
fn bad_settings_say_where_and_how_to_mend_them() {
    check_refused::<Categorize>(
        json!({ "map": { "Android": "a", "android": "b", "X/Y": "a", "x/y": "a" } }),
        "/map/android: `android` is there twice, for case does not count: take one out\n\
         /map/x~1y: `x/y` is there twice, for case does not count: take one out",
    );
    check_refused::<Categorize>(
        json!({ "fallback": true }),
        "/fallback: give a text, or `false` to write nothing",
    );
    check_refused::<Categorize>(
        json!({ "map": { "android": 1, "a/b": [], "c": "d", "C": "D" }, "fallback": true, "x": 1 }),
        "/fallback: give a text, or `false` to write nothing\n\
         /map/a~1b: expected a text, found a list\n\
         /map/android: expected a text, found a whole number: put it in quotes\n\
         /x: unknown key: take it out; known are `field`, `into`, `map` and `fallback`\n\
         /map/c: `c` is there twice, for case does not count: take one out",
    );
}
