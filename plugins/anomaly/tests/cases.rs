//! What a user of anomaly sees.

use anomaly::Anomaly;
use pipeline_sdk::testing::{check, check_refused};
use serde_json::{Value, json};

/// One condition, with the code "x", on the field `a`: which of the values are anomalies? Absent
/// and `null` ones never are, but for `missing`.
#[track_caller]
fn check_condition(condition: Value, anomalies: &[Value], fine: &[Value]) {
    let mut condition = condition;
    condition["code"] = json!("x");
    condition["field"] = json!("/a");
    let missing = condition["missing"] == json!(true);
    let mut expected = vec![
        json!({ "anomaly": missing, "anomaly_reasons": if missing { vec!["x"] } else { vec![] } }),
    ];
    let mut events = vec![json!({})];
    for (values, anomaly) in [(anomalies, true), (fine, false)] {
        for value in values {
            let reasons: &[&str] = if anomaly { &["x"] } else { &[] };
            events.push(json!({ "a": value }));
            expected.push(json!({ "a": value, "anomaly": anomaly, "anomaly_reasons": reasons }));
        }
    }
    check::<Anomaly>(json!({ "conditions": [condition] }), json!(events), json!(expected));
}

#[test]
fn without_settings_logins_are_checked() {
    let login = json!({
        "user_id": "424cdd21-063a-43a7-b91b-7ca1a833afae", "app_version": "2.3.0",
        "ip": "199.172.111.135", "locale": "DE",
    });
    let with = |edits: &[(&str, Value)]| {
        let mut login = login.clone();
        for (field, value) in edits {
            login[*field] = value.clone();
        }
        login
    };
    let bad = json!({ "user_id": "me", "locale": "ru", "app_version": "2.3", "ip": "1.2.3" });
    let found = |event: Value, codes: Value| {
        let mut event = event;
        event["anomaly"] = json!(codes != json!([]));
        event["anomaly_reasons"] = codes;
        event
    };
    let empty = with(&[("user_id", Value::Null), ("ip", Value::Null)]);
    check::<Anomaly>(
        json!({}),
        json!([login, with(&[("locale", json!("RU"))]), bad, empty, login]),
        json!([
            found(login.clone(), json!([])),
            found(with(&[("locale", json!("RU"))]), json!(["suspicious-locale"])),
            found(
                bad.clone(),
                json!([
                    "suspicious-locale",
                    "malformed-user-id",
                    "malformed-ip",
                    "malformed-app-version"
                ]),
            ),
            found(empty.clone(), json!(["missing-user-id", "missing-ip"])),
            found(login.clone(), json!([])),
        ]),
    );
}

#[test]
fn codes_come_in_the_order_of_the_conditions_whatever_the_fields() {
    check::<Anomaly>(
        json!({
            "flag": "/odd", "reasons": "/why",
            "conditions": [
                { "code": "3", "field": "/b", "missing": true },
                { "code": "1", "field": "/a", "type": "text" },
                { "code": "2", "field": "/b", "type": "text" },
            ],
        }),
        json!([{ "a": 1 }, { "a": 1, "b": 1 }, { "a": "", "b": "" }, { "a": "", "b": 1 }, { "a": 1 }]),
        json!([
            { "a": 1, "odd": true, "why": ["3", "1"] },
            { "a": 1, "b": 1, "odd": true, "why": ["1", "2"] },
            { "a": "", "b": "", "odd": false, "why": [] },
            { "a": "", "b": 1, "odd": true, "why": ["2"] },
            { "a": 1, "odd": true, "why": ["3", "1"] },
        ]),
    );
}

#[test]
fn a_value_of_the_list_is_an_anomaly() {
    check_condition(
        json!({ "in": ["RU", 12, true] }),
        &[json!("RU"), json!(12), json!(12.0), json!(true)],
        &[
            json!("ru"),
            json!("12"),
            json!("true"),
            json!(13),
            json!(false),
            json!(["RU"]),
            json!(null),
        ],
    );
    check_condition(
        json!({ "in": ["RU", "ÄÖ"], "ignore-case": true }),
        &[json!("RU"), json!("ru"), json!("äÖ")],
        &[json!("RUS"), json!("")],
    );
}

#[test]
fn missing_is_absent_or_null() {
    check_condition(json!({ "missing": true }), &[json!(null)], &[json!(""), json!(0), json!([])]);
}

#[test]
fn a_value_of_another_type_is_an_anomaly() {
    let values = [json!("12"), json!(true), json!(12), json!(1.5), json!([1]), json!({ "b": 1 })];
    let types: [(&str, &[usize]); 6] = [
        ("text", &[0]),
        ("boolean", &[1]),
        ("integer", &[2]),
        ("number", &[2, 3]),
        ("array", &[4]),
        ("object", &[5]),
    ];
    for (kind, fine) in types {
        let of = |wanted: bool| -> Vec<Value> {
            let all = values.iter().enumerate();
            all.filter(|(place, _)| fine.contains(place) == wanted)
                .map(|(_, v)| v.clone())
                .collect()
        };
        check_condition(json!({ "type": kind }), &of(false), &of(true));
    }
    check_condition(json!({ "type": "integer" }), &[json!(12.0)], &[json!(null), json!(-1)]);
}

#[test]
fn a_text_of_another_format_is_an_anomaly_and_so_is_no_text() {
    let v4 = ["0.0.0.0", "199.172.111.135"].map(Value::from);
    let v6 = ["::", "2001:db8::1", "::ffff:192.0.2.1"].map(Value::from);
    let no_v4 = ["", "1.2.3", "1.2.3.256", "01.2.3.4", " 1.2.3.4", "1.2.3.4:80"].map(Value::from);
    let no_v6 = ["", "1::2::3", "fe80::1%eth0", "[::1]", "12345::"].map(Value::from);
    check_condition(json!({ "format": "ipv4" }), &[&no_v4[..], &v6[..]].concat(), &v4);
    check_condition(json!({ "format": "ipv6" }), &[&no_v6[..], &v4[..]].concat(), &v6);
    check_condition(
        json!({ "format": "ip" }),
        &[&no_v4[..], &no_v6[1..], &[json!(1)]].concat(),
        &[&v4[..], &v6[..], &[json!(null)]].concat(),
    );
    check_condition(
        json!({ "format": "uuid" }),
        &[
            json!(""),
            json!("424cdd21063a43a7b91b7ca1a833afae"),
            json!("424cdd21-063a-43a7-b91b-7ca1a833afa"),
            json!("424cdd21-063a-43a7-b91b-7ca1a833afaé"),
            json!("424cdd21-063a-43a7-b91b-7ca1a833afag"),
            json!("{424cdd21-063a-43a7-b91b-7ca1a833af}"),
            json!([]),
        ],
        &[
            json!("424cdd21-063a-43a7-b91b-7ca1a833afae"),
            json!("424CDD21-063A-43A7-B91B-7CA1A833AFAE"),
        ],
    );
    check_condition(
        json!({ "format": "semver" }),
        &[json!("2.3"), json!("v2.3.0"), json!("02.3.0"), json!("2.3.0-"), json!(2.3), json!("")],
        &[json!("2.3.0"), json!("1.0.0-rc.1+build.5"), json!("0.0.0")],
    );
}

#[test]
fn a_number_outside_the_range_is_an_anomaly_and_so_is_no_number() {
    check_condition(
        json!({ "min": 1, "max": 9.5 }),
        &[json!(0), json!(0.999), json!(9.50001), json!(10), json!("5"), json!(true), json!(1e300)],
        &[json!(1), json!(9.5), json!(5), json!(null)],
    );
    check_condition(json!({ "max": 0 }), &[json!(1)], &[json!(0), json!(i64::MIN)]);
}

#[test]
fn bad_settings_say_where_and_how_to_mend_them() {
    let refused = |conditions, expected: &str| {
        check_refused::<Anomaly>(json!({ "conditions": conditions }), expected);
    };
    let one =
        "give exactly one of `in`, `missing`, `type`, `format`, or a range (`min`, `max` or both)";
    refused(json!([]), "/conditions: the list is empty: give at least one, or take the stage out");
    refused(json!([{ "code": "a", "field": "/a" }]), &format!("/conditions/0: {one}"));
    refused(
        json!([{ "code": "a", "field": "/a", "missing": true, "min": 1 }]),
        &format!("/conditions/0: {one}"),
    );
    refused(
        json!([{ "code": "a", "missing": true }]),
        "/conditions/0/field: missing: add `field = \"/locale\"`",
    );
    refused(
        json!([{ "field": "/a", "missing": true }]),
        "/conditions/0/code: missing: add `code = …`",
    );
    refused(
        json!([{ "code": "a \"b\"", "field": "/a", "missing": true }]),
        "/conditions/0/code: `a \"b\"` is no code: use letters, digits, `-`, `_` and `.`",
    );
    refused(
        json!([{ "code": "a", "field": "/a", "missing": true }, { "code": "a", "field": "/b", "missing": true }]),
        "/conditions/1/code: `a` is there already: choose another",
    );
    refused(
        json!([{ "code": "a", "field": "/a", "missing": false }]),
        "/conditions/0/missing: it can only be `true`: a value that is there is no anomaly",
    );
    refused(
        json!([{ "code": "a", "field": "/a", "format": "email" }]),
        "/conditions/0/format: `email` is not known: write `ip`, `ipv4`, `ipv6`, `uuid` or `semver`",
    );
    refused(
        json!([{ "code": "a", "field": "/a", "min": "1" }]),
        "/conditions/0/min: `min` must be a number",
    );
    check_refused::<Anomaly>(
        json!({ "flag": "/a", "reasons": "/a/b" }),
        "/reasons: overlaps `flag`, which is `/a`: write them apart",
    );
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    check_refused::<Anomaly>(
        json!({ "flag": "/a", "reasons": "/a", "conditions": [
            { "code": "a b", "missing": false, "min": true },
            { "code": "c", "field": "/a", "type": "text" },
            { "code": "c", "field": "/a", "missing": true, "ignore-case": true },
        ] }),
        "/reasons: overlaps `flag`, which is `/a`: write them apart\n\
         /conditions/0/code: `a b` is no code: use letters, digits, `-`, `_` and `.`\n\
         /conditions/0/field: missing: add `field = \"/locale\"`\n\
         /conditions/0/missing: it can only be `true`: a value that is there is no anomaly\n\
         /conditions/0: give exactly one of `in`, `missing`, `type`, `format`, or a range (`min`, \
         `max` or both)\n\
         /conditions/0/min: `min` must be a number\n\
         /conditions/2/code: `c` is there already: choose another\n\
         /conditions/2/ignore-case: only for `in`: take it out",
    );
    check_refused::<Anomaly>(
        json!({ "flag": 1, "conditions": [
            { "code": 5, "field": "a", "type": "txt", "fromat": "ip" },
            { "field": "/a", "missing": true },
            "ip",
            { "code": "a", "field": "/a" },
        ] }),
        "/conditions/0/code: expected a text, found a whole number: put it in quotes\n\
         /conditions/0/field: `a` is no JSON Pointer: write `/a`\n\
         /conditions/0/fromat: unknown key: did you mean `format`?\n\
         /conditions/0/type: `txt` is not known: did you mean `text`?\n\
         /conditions/1/code: missing: add `code = …`\n\
         /conditions/2: expected a table, found a text: write `{ … }`\n\
         /flag: expected a text, found a whole number: put it in quotes\n\
         /conditions/3: give exactly one of `in`, `missing`, `type`, `format`, or a range (`min`, \
         `max` or both)",
    );
    check_refused::<Anomaly>(
        json!({ "conditions": [{ "code": "a", "field": "a" }] }),
        "/conditions/0/field: `a` is no JSON Pointer: write `/a`\n\
         /conditions/0: give exactly one of `in`, `missing`, `type`, `format`, or a range (`min`, \
         `max` or both)",
    );
}
