//! Makes what came out what must come out: rewrites those lines of a case, and no others.

use std::ops::Range;

use toml::de::{DeTable, DeValue};
use toml::{Spanned, Value};

use super::case::{Case, Event};
use super::check::{Found, Outcome, Tested};

/// The keys that say what must become of an event.
const EXPECTED: [&str; 4] = ["kept", "dropped", "out", "dead-letter"];

impl Tested {
    /// The text of the case with what came out in the place of what differs from it; none where the
    /// settings were not accepted, or were and must not be, which only a person can mend.
    pub fn blessed(&self, case: &Case) -> Option<String> {
        let wrong: Vec<usize> = self.failures.iter().map(|failure| failure.line).collect();
        let mut edits = Vec::new();
        let table = DeTable::parse(&case.text).ok()?;
        for (place, (table, refused)) in tables(&table, "refused").zip(&case.refused).enumerate() {
            if wrong.contains(&refused.line) {
                let says = format!("says = {}", quoted(self.said.get(place)?.as_ref()?));
                edits.push(edit(&case.text, table, &["says"], "settings", says)?);
            }
        }
        if !case.events.is_empty() {
            let became = self.became.as_ref()?;
            for ((table, event), became) in tables(&table, "event").zip(&case.events).zip(became) {
                if wrong.contains(&event.line) {
                    let text = expectation(event, became, separator(&case.text, table));
                    edits.push(edit(&case.text, table, &EXPECTED, "in", text)?);
                }
            }
        }
        let mut text = case.text.clone();
        let mut edits: Vec<(Range<usize>, String)> = edits.into_iter().flatten().collect();
        edits.sort_by_key(|(range, _)| range.start);
        for (range, with) in edits.into_iter().rev() {
            text.replace_range(range, &with);
        }
        Some(text)
    }
}

type Table<'a> = Spanned<DeValue<'a>>;

fn tables<'t, 'a>(
    table: &'t Spanned<DeTable<'a>>,
    name: &str,
) -> impl Iterator<Item = &'t Table<'a>> {
    let found = table.get_ref().iter().find(|(key, _)| key.get_ref() == name);
    let array = found.and_then(|(_, value)| match value.get_ref() {
        DeValue::Array(items) => Some(items),
        _ => None,
    });
    array.into_iter().flat_map(|items| items.iter())
}

/// What stands between two keys of a table.
fn separator(text: &str, table: &Table<'_>) -> &'static str {
    if text[table.span()].starts_with('{') { ", " } else { "\n" }
}

/// Puts a text in the place of the first of some keys, and takes the others out; where none is there
/// it comes behind another key.
fn edit(
    text: &str,
    table: &Table<'_>,
    keys: &[&str],
    behind: &str,
    with: String,
) -> Option<Vec<(Range<usize>, String)>> {
    let DeValue::Table(members) = table.get_ref() else { return None };
    let mut found: Vec<Range<usize>> = Vec::new();
    let mut end = None;
    for (key, value) in members.iter() {
        let (name, whole): (&str, _) = (key.get_ref(), key.span().start..value.span().end);
        if keys.contains(&name) {
            found.push(whole);
        } else if name == behind && !matches!(value.get_ref(), DeValue::Table(_)) {
            end = Some(whole.end);
        }
    }
    found.sort_by_key(|range| range.start);
    let Some((first, others)) = found.split_first() else {
        let separator = separator(text, table);
        return match end {
            Some(end) => Some(vec![(end..end, format!("{separator}{with}"))]),
            // `[refused.settings]`, which must come last.
            None => {
                let begin = table.span().start;
                let line = text[begin..].find('\n').map_or(text.len(), |at| begin + at);
                Some(vec![(line..line, format!("\n{with}"))])
            }
        };
    };
    let mut edits = vec![(first.clone(), with)];
    for other in others {
        let begin = text[..other.start].rfind(['\n', ',']).unwrap_or(other.start);
        edits.push((begin..other.end, String::new()));
    }
    Some(edits)
}

/// The keys that say what became of an event.
fn expectation(event: &Event, became: &Outcome, separator: &str) -> String {
    let Outcome { outputs, letter } = became;
    let mut keys = Vec::new();
    match &outputs[..] {
        [] if letter.is_none() => keys.push("dropped = true".to_owned()),
        [] => {}
        [one] if is_as_it_came(event, one) => keys.push("kept = true".to_owned()),
        [one] => keys.push(format!("out = {}", output(event, one))),
        several => {
            let outputs: Vec<_> = several.iter().map(|found| output(event, found)).collect();
            keys.push(format!("out = [{}]", outputs.join(", ")));
        }
    }
    if let Some((reason, message)) = letter {
        // What a fault says differs from one build to another.
        let is_own = matches!(reason.as_str(), "rejected" | "invalid-json");
        let text = if is_own { format!("{reason}: {message}") } else { reason.clone() };
        keys.push(format!("dead-letter = {}", quoted(&text)));
    }
    keys.join(separator)
}

fn is_as_it_came(event: &Event, found: &Found) -> bool {
    found.value.as_deref() == Some(event.value.as_bytes()) && is_plain(event, found)
}

/// Whether only the value is another.
fn is_plain(event: &Event, found: &Found) -> bool {
    let is_key = found.key.as_deref() == event.key.as_deref().map(str::as_bytes);
    is_key && found.topic.is_none() && found.headers == event.headers
}

fn output(event: &Event, found: &Found) -> String {
    let text = |bytes: &[u8]| quoted(&String::from_utf8_lossy(bytes));
    let value = found.value.as_deref().map(text);
    if let (Some(value), true) = (&value, is_plain(event, found)) {
        return value.clone();
    }
    let mut keys = vec![match value {
        Some(value) => format!("value = {value}"),
        None => "tombstone = true".to_owned(),
    }];
    if let Some(key) = &found.key {
        keys.push(format!("key = {}", text(key)));
    }
    if let Some(topic) = &found.topic {
        keys.push(format!("topic = {}", quoted(topic)));
    }
    if found.headers != event.headers {
        let headers = found.headers.iter();
        let headers = headers.map(|(name, value)| format!("{} = {}", quoted(name), quoted(value)));
        keys.push(format!("headers = {{ {} }}", headers.collect::<Vec<_>>().join(", ")));
    }
    format!("{{ {} }}", keys.join(", "))
}

/// A text as a person would write it: JSON in single quotes.
fn quoted(text: &str) -> String {
    let is_plain = !text.contains(|c: char| c == '\'' || c.is_control());
    if is_plain && text.contains(['"', '\\', '{']) {
        return format!("'{text}'");
    }
    match text.contains('\n') && !text.contains("'''") {
        true => format!("'''\n{text}'''"),
        false => Value::String(text.to_owned()).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    use super::super::check::Failure;
    use super::*;

    fn found(value: &str) -> Outcome {
        let found = Found {
            value: Some(value.as_bytes().to_vec()),
            key: None,
            topic: None,
            headers: BTreeMap::new(),
        };
        Outcome { outputs: vec![found], letter: None }
    }

    #[test]
    fn only_what_differs_is_rewritten() {
        let text = "# Why.\n[settings]\na = 1\n\n[[event]]\nin  = '{\"a\":1}'\nkept = true # so\n\n\
                    [[event]]\nin = 'b' # what\nout = 'c'\ndead-letter = \"rejected\"\n\n\
                    [[event]]\nin = \"d\"\n\n[[event]]\nin = \"e\"\nkept = true\n";
        let case = Case::parse(Path::new("a.toml"), text.to_owned()).expect("a case");
        let failure = |line| Failure {
            line,
            of: String::new(),
            expected: None,
            found: String::new(),
            changes: Vec::new(),
        };
        let letter = Some(("rejected".to_owned(), "it's\nso".to_owned()));
        let tested = Tested {
            failures: vec![failure(6), failure(10), failure(15)],
            became: Some(vec![
                found("{\"a\":2}"),
                Outcome::default(),
                Outcome { letter, ..Outcome::default() },
                found("x"),
            ]),
            said: Vec::new(),
        };
        let expected = "# Why.\n[settings]\na = 1\n\n[[event]]\nin  = '{\"a\":1}'\nout = \
                        '{\"a\":2}' # so\n\n[[event]]\nin = 'b' # what\ndropped = true\n\n\
                        [[event]]\nin = \"d\"\ndead-letter = '''\nrejected: it's\nso'''\n\n\
                        [[event]]\nin = \"e\"\nkept = true\n";
        assert_eq!(tested.blessed(&case).as_deref(), Some(expected));
        Case::parse(Path::new("a.toml"), expected.to_owned()).expect("still a case");
    }
}
