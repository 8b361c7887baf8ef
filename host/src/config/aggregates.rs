//! `[window.aggregates]`.

use toml::de::DeValue;

use super::table::Table;
use super::types::{Aggregate, AggregateKind};
use super::windows::check_pointer;

/// Members that every result has.
const NAMES_TAKEN: [&str; 5] = ["window", "start", "end", "key", "final"];
/// How many aggregates a window can have.
const AGGREGATES_MAX: usize = 32;
/// Values that a window's distincts, or one top, can be exact about.
const VALUES_MAX: usize = 20_000;
/// More would leave each of them too little for its values in a record of window state.
const TOPS_MAX: usize = 7;
/// What a distinct counts as at least: its sketch is as large as so many values.
const SKETCH_VALUES: usize = 400;

/// One count named `count` unless there are others.
pub(super) fn read(window: &Table<'_>) -> Vec<Aggregate> {
    let table = window.table("aggregates");
    let mut aggregates = Vec::new();
    for (name, value) in table.entries() {
        check_name(&table, name);
        let kind = match value.get_ref() {
            DeValue::String(text) if text == "count" => Some(AggregateKind::Count),
            DeValue::Table(_) => table.named(name, value).and_then(|table| {
                let kind = read_kind(&table);
                table.finish();
                kind
            }),
            _ => {
                let message = "neither \"count\" nor one of a field";
                let help =
                    format!("write `{name} = \"count\"` or `{name} = {{ sum = \"/amount\" }}`");
                table.problem(name, message, help);
                None
            }
        };
        aggregates.extend(kind.map(|kind| Aggregate { name: name.to_owned(), kind }));
    }
    if aggregates.len() > AGGREGATES_MAX {
        let message = format!("{} aggregates, and {AGGREGATES_MAX} is the most", aggregates.len());
        window.problem("aggregates", message, "take some out, or put them in another window");
    }
    let is_top = |one: &&Aggregate| matches!(one.kind, AggregateKind::Top { .. });
    if aggregates.iter().filter(is_top).count() > TOPS_MAX {
        let message = format!("more than {TOPS_MAX} of them are `top`");
        window.problem("aggregates", message, "put some of them in another window");
    }
    let exact = aggregates.iter().map(|aggregate| match aggregate.kind {
        AggregateKind::Distinct { exact_max, .. } => exact_max.max(SKETCH_VALUES),
        _ => 0,
    });
    if exact.sum::<usize>() > VALUES_MAX {
        let message = format!("`exact-max` of all together is above {VALUES_MAX}");
        window.problem(
            "aggregates",
            message,
            "make them smaller; beyond them counts are estimates",
        );
    }
    if aggregates.is_empty() {
        let name = "count".to_owned();
        aggregates.push(Aggregate { name, kind: AggregateKind::Count });
    }
    aggregates
}

fn check_name(table: &Table<'_>, name: &str) {
    if NAMES_TAKEN.contains(&name) {
        table.problem(name, "every result has this member already", "give it another name");
    } else if name.is_empty() || name.len() > 64 || name.chars().any(char::is_control) {
        table.problem(name, "not 1 to 64 characters", "give it another name");
    }
}

/// None if it says nothing of what is computed.
fn read_kind(table: &Table<'_>) -> Option<AggregateKind> {
    const KINDS: [&str; 6] = ["sum", "min", "max", "avg", "distinct", "top"];
    let fields = KINDS.map(|kind| table.checked_text(kind, "/amount", check_pointer));
    let mut named = KINDS.into_iter().filter(|kind| table.has(kind));
    let kind = match (named.next(), named.next()) {
        (Some(kind), None) => kind,
        (first, second) => {
            let key = second.or(first).unwrap_or("sum");
            let message = match second {
                Some(_) => "another one is here already",
                None => "missing, as are the others",
            };
            let help = format!("write one of {}, with a field", KINDS.join(", "));
            table.problem(key, message, help);
            ""
        }
    };
    let field = fields.into_iter().flatten().next().unwrap_or_default();
    let bounded = |key, default: usize, least: i64, most: usize| {
        let found = table.integer(key, default as i64, least..=most as i64);
        usize::try_from(found).unwrap_or(default)
    };
    let read = match kind {
        "sum" => AggregateKind::Sum(field),
        "min" => AggregateKind::Min(field),
        "max" => AggregateKind::Max(field),
        "avg" => AggregateKind::Avg(field),
        "distinct" => {
            let exact_max = bounded("exact-max", 1000, 0, VALUES_MAX);
            AggregateKind::Distinct { field, exact_max }
        }
        "top" => {
            let counted_max = bounded("counted-max", 10_000, 1, VALUES_MAX);
            // Not more than it can be sure of.
            let k = bounded("k", counted_max.min(5), 1, counted_max);
            AggregateKind::Top { field, k, counted_max }
        }
        _ => return None,
    };
    Some(read)
}
