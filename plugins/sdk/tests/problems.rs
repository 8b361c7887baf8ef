//! Everything that is wrong with settings is told at once, each with its place.

use std::collections::BTreeMap;

use pipeline_sdk::testing::check_refused;
use pipeline_sdk::{Batch, Plan, Pointer, Problems, Rule, Scalar, Verdict, configure};
use serde::Deserialize;
use serde_json::json;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    region: Pointer,
    limit: u8,
    #[serde(default)]
    mode: Mode,
    #[serde(default)]
    ports: BTreeMap<u16, bool>,
    #[serde(default)]
    steps: Vec<Step>,
    #[serde(default)]
    pair: Option<(f64, i64)>,
}

#[derive(Default, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Mode {
    #[default]
    Fast,
    Exact {
        digits: u32,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    name: String,
    weight: Scalar,
    #[serde(default)]
    then: Option<Box<Step>>,
}

#[derive(Debug)]
struct Tested;

impl Rule for Tested {
    type Settings = Settings;

    fn new(settings: Settings) -> Result<Self, String> {
        let mut problems = Problems::default();
        if settings.limit < 10 {
            problems.add("/limit", "below 10: raise it");
        }
        if settings.region.as_str() == "/none" {
            problems.add("/region", "names nothing: choose another");
        }
        if settings.mode == (Mode::Exact { digits: 0 }) {
            problems.add("/mode/exact", "no digits: give some");
        }
        if settings.pair.is_some() && !settings.ports.is_empty() {
            problems.add("", "both `pair` and `ports`: take one out");
        }
        for (number, step) in settings.steps.iter().enumerate() {
            if let Some(then) = &step.then
                && then.name == step.name
                && then.weight != step.weight
            {
                problems.add(format!("/steps/{number}/then/name"), "the same: choose another");
            }
        }
        problems.finish()?;
        Ok(Self)
    }

    fn plan(&self) -> Plan {
        Plan::default()
    }

    fn evaluate(&mut self, _batch: &Batch<'_>) -> Verdict {
        Verdict { fates: None, changes: Vec::new() }
    }
}

#[track_caller]
fn check(settings: serde_json::Value, expected: &[&str]) {
    check_refused::<Tested>(settings, &expected.join("\n"));
}

#[test]
fn every_setting_that_is_missing_is_told() {
    check(json!({}), &["/region: missing: add `region = …`", "/limit: missing: add `limit = …`"]);
}

#[test]
fn wrong_types_and_values_are_told_in_words_of_the_file() {
    let text = "expected a text, found a whole number: put it in quotes";
    check(
        json!({
            "region": "/r", "limit": 300, "mode": { "exact": { "digits": "3" } },
            "ports": { "80": true, "x": true, "81": "false" },
            "steps": [{ "name": 1, "weight": 1 }, 5], "pair": [1, 2.5],
        }),
        &[
            "/limit: 300 is not between 0 and 255",
            "/mode/exact/digits: expected a whole number, found a text: take the quotes away",
            "/pair/1: expected a whole number, found a number with a fraction",
            "/ports/81: expected true or false, found a text: take the quotes away",
            "/ports/x: expected a whole number, found a text",
            &format!("/steps/0/name: {text}"),
            "/steps/1: expected a table, found a whole number: write `{ … }`",
        ],
    );
    check(
        json!({ "region": "/r", "limit": 20, "pair": [1, 2, 3], "mode": "slow" }),
        &[
            "/mode: `slow` is not known: write `fast` or `exact`",
            "/pair: expected a list of 2, found 3 entries",
        ],
    );
}

#[test]
fn a_key_that_nobody_knows_counts_as_the_nearest_that_is_known() {
    check(
        json!({ "regoin": "r", "limt": 3, "colour": 1 }),
        &[
            "/colour: unknown key: take it out; known are `region`, `limit`, `mode`, `ports`, \
             `steps` and `pair`",
            "/limt: unknown key: did you mean `limit`?",
            "/regoin: unknown key: did you mean `region`?",
            "/regoin: `r` is no JSON Pointer: write `/r`",
            "/limt: below 10: raise it",
        ],
    );
    check(
        json!({ "region": "/r", "limit": 20, "limt": 3 }),
        &["/limt: unknown key: did you mean `limit`?"],
    );
}

#[test]
fn what_only_follows_from_another_problem_is_not_told() {
    // Guesses stand for `limit` and `pair`, which would be below 10 and beside `ports`.
    check(
        json!({ "region": "/none", "limit": "20", "pair": 1, "ports": { "1": true } }),
        &[
            "/limit: expected a whole number, found a text: take the quotes away",
            "/pair: expected a list, found a whole number: put it in `[ ]`",
            "/region: names nothing: choose another",
        ],
    );
    // Whatever stands for `mode`, the two are beside each other.
    check(
        json!({ "region": "/r", "limit": 20, "mode": 1, "pair": [1, 2], "ports": { "1": true } }),
        &["/mode: write `fast` or `exact`", "both `pair` and `ports`: take one out"],
    );
    // Without its weight a step cannot be read, but the others can.
    let nested = json!({ "name": "a", "weight": 1, "then": { "name": "a", "weight": 2 } });
    check(
        json!({ "region": "/r", "limit": 20, "steps": [{ "name": "b" }, nested, { "weight": [] }] }),
        &[
            "/steps/0/weight: missing: add `weight = …`",
            "/steps/2/weight: found a list: give a text, a number or a boolean",
            "/steps/2/name: missing: add `name = …`",
            "/steps/1/then/name: the same: choose another",
        ],
    );
}

#[test]
fn names_in_pointers_are_escaped_and_messages_keep_to_their_lines() {
    assert_eq!(pipeline_sdk::pointer_to("/a", "b/c~d"), "/a/b~1c~0d");
    let mut problems = Problems::default();
    problems.add("/a", "one\ntwo");
    problems.add("", "three");
    assert_eq!(problems.finish().unwrap_err(), "/a: one\n  two\nthree");
}

#[test]
fn so_many_problems_as_are_shown_are_told() {
    let steps: Vec<_> = (0..25).map(|_| json!(1)).collect();
    let settings = json!({ "region": "/r", "limit": 20, "steps": steps });
    let text = configure::<Tested>(&settings.to_string()).expect_err("refused");
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 21, "{text}");
    assert_eq!(lines[20], "there is more, told when these are mended");
    let nothing = json!({ "region": "/r", "limit": 20 }).to_string();
    assert!(configure::<Tested>(&nothing).is_ok());
    assert!(configure::<Tested>("[]").unwrap_err().starts_with("expected a table, found a list"));
    assert!(configure::<Tested>("{").unwrap_err().starts_with("settings are not JSON: "));
}
