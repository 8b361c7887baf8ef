//! Keeps the events that meet all, or any, of some conditions on their fields; drops the others.

use pipeline_sdk::{
    Batch, Bits, Fate, OneOf, Plan, Pointer, Problems, Range, Rule, Scalar, Value, Verdict, combine,
};
use serde::Deserialize;

/// One bit per condition.
const CONDITIONS_MAX: usize = 64;

/// The settings table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Settings {
    /// `keep = "any"`
    #[serde(default)]
    keep: Keep,
    /// `conditions = [{ field = "/device_type", equals = "android", ignore-case = true }]`
    #[serde(default = "android")]
    conditions: Vec<Condition>,
}

#[derive(Clone, Copy, Default, Deserialize, PartialEq)]
#[serde(rename_all = "kebab-case")]
enum Keep {
    #[default]
    All,
    Any,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Condition {
    field: Option<Pointer>,
    equals: Option<Scalar>,
    #[serde(rename = "in")]
    one_of: Option<Vec<Scalar>>,
    min: Option<Scalar>,
    max: Option<Scalar>,
    present: Option<bool>,
    ignore_case: Option<bool>,
    not: Option<Box<Condition>>,
}

fn android() -> Vec<Condition> {
    vec![Condition {
        field: Some(Pointer::new("/device_type").expect("it begins with a slash")),
        equals: Some(Scalar::Text("android".to_owned())),
        ignore_case: Some(true),
        ..Condition::default()
    }]
}

enum Test {
    OneOf(OneOf),
    Range(Range),
    Present(bool),
}

impl Test {
    fn holds(&self, value: Value<'_>) -> bool {
        match self {
            Test::OneOf(values) => values.contains(value),
            Test::Range(range) => range.contains(value),
            Test::Present(present) => value.is_missing() != *present,
        }
    }
}

struct Checked {
    column: u32,
    test: Test,
    negated: bool,
}

/// The rule.
pub struct Filter {
    keep: Keep,
    conditions: Vec<Checked>,
    plan: Plan,
}

impl Rule for Filter {
    type Settings = Settings;

    fn new(settings: Settings) -> Result<Self, String> {
        let mut problems = Problems::default();
        if settings.conditions.is_empty() {
            problems
                .add("/conditions", "the list is empty: give at least one, or take the stage out");
        }
        if settings.conditions.len() > CONDITIONS_MAX {
            let message = format!("more than {CONDITIONS_MAX}: spread them over two stages");
            problems.add("/conditions", message);
        }
        let mut plan = Plan::default();
        let mut conditions = Vec::new();
        for (number, condition) in settings.conditions.into_iter().enumerate() {
            let at = format!("/conditions/{number}");
            conditions.extend(check(condition, &at, false, &mut plan, &mut problems));
        }
        problems.finish()?;
        Ok(Self { keep: settings.keep, conditions, plan })
    }

    fn plan(&self) -> Plan {
        self.plan.clone()
    }

    fn evaluate(&mut self, batch: &Batch<'_>) -> Verdict {
        let parts: Vec<Bits> =
            (0..batch.columns.len() as u32).map(|column| self.bits(batch, column)).collect();
        let all = u64::MAX >> (CONDITIONS_MAX - self.conditions.len());
        let kept = |met: u64| match self.keep {
            Keep::All => met == all,
            Keep::Any => met != 0,
        };
        let fate = |met| if kept(met) { Fate::Keep } else { Fate::Drop };
        Verdict { fates: combine(batch, &parts).fates(fate), changes: Vec::new() }
    }
}

impl Filter {
    /// Which conditions each distinct value of a column meets.
    fn bits(&self, batch: &Batch<'_>, column: u32) -> Bits {
        let met = |value| {
            let of_column = self.conditions.iter().enumerate().filter(|(_, c)| c.column == column);
            of_column.fold(0, |bits, (number, condition)| {
                let holds = condition.test.holds(value) != condition.negated;
                bits | u64::from(holds) << number
            })
        };
        Bits { column, bits: batch.column(column).values().map(met).collect() }
    }
}

/// Checks the condition at this place and adds what it reads to the plan; none if it has problems.
fn check(
    condition: Condition,
    at: &str,
    negated: bool,
    plan: &mut Plan,
    problems: &mut Problems,
) -> Option<Checked> {
    let Condition { field, equals, one_of, min, max, present, ignore_case, not } = condition;
    let range = min.is_some() || max.is_some();
    let tests = [equals.is_some(), one_of.is_some(), range, present.is_some()];
    let tests = tests.into_iter().filter(|given| *given).count();
    if let Some(inner) = not {
        let alone = field.is_none() && tests == 0 && ignore_case.is_none();
        if !alone {
            problems.add(
                at,
                "beside `not` nothing else may stand: write `{ not = { field = …, equals = … } }`",
            );
        }
        let inner = check(*inner, &format!("{at}/not"), !negated, plan, problems);
        return inner.filter(|_| alone);
    }
    if field.is_none() {
        problems.add(format!("{at}/field"), "missing: add `field = \"/device_type\"`");
    }
    if tests != 1 {
        problems.add(
            at,
            "give exactly one of `equals`, `in`, `present`, or a range (`min`, `max` or both)",
        );
    }
    if tests > 0 && ignore_case.is_some() && equals.is_none() && one_of.is_none() {
        let message = "only for `equals` and `in`: take it out";
        problems.add(format!("{at}/ignore-case"), message);
    }
    let range = if range { Range::checked(min, max, at, problems) } else { None };
    let ignore_case = ignore_case.unwrap_or(false);
    let test = match (equals, one_of, present, range) {
        (Some(value), ..) => Test::OneOf(OneOf::new([value], ignore_case)),
        (_, Some(values), ..) => Test::OneOf(OneOf::new(values, ignore_case)),
        (.., Some(present), _) => Test::Present(present),
        (.., range) => Test::Range(range?),
    };
    Some(Checked { column: plan.read_packed(&field?), test, negated })
}

pipeline_sdk::export!(Filter, silent);
