//! A rule out of its settings, or everything that is wrong with them at once.
//!
//! serde stops at the first error. So the place of it is put right with a guess, and the settings
//! are read again, until they can be read or nothing helps. What only follows from a guess is not
//! told.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::node::{Kind, Node, Refusal};
use crate::problems::PROBLEMS_TOLD;
use crate::{Problems, Rule};

/// How often settings are put right, which bounds the time; what would be found later is found when
/// these are mended.
const ROUNDS_MAX: usize = 128;

/// Makes the rule from its settings, one JSON object. The error has every problem that was found,
/// one a line, as [`Problems`] writes them.
pub fn configure<R: Rule>(settings: &str) -> Result<R, String> {
    read_with(settings, R::new)
}

/// The same for anything that is made from settings.
pub(crate) fn read_with<S: DeserializeOwned, T>(
    settings: &str,
    new: impl Fn(S) -> Result<T, String>,
) -> Result<T, String> {
    let tree: Value = serde_json::from_str(settings)
        .map_err(|error| format!("settings are not JSON: {error}"))?;
    let read = |tree: &Value| S::deserialize(Node(tree));
    let refusal = match read(&tree) {
        Ok(settings) => return new(settings),
        Err(refusal) => refusal,
    };
    let refuse = |tree: &Value| read(tree).err();
    let mut draft = Draft { tree, ..Draft::default() };
    // What the rule itself would refuse is told in the same breath.
    if draft.mend_all(refusal, &refuse) {
        let said = |tree: &Value| new(read(tree).ok()?).err();
        let (bare, needed) = draft.without_guesses(&refuse);
        if let (Some(with), Some(without)) = (said(&draft.tree), said(&bare)) {
            draft.add_told(&with, &without, &needed);
        }
    }
    Err(draft.problems.into())
}

/// Why settings cannot be read; none if they can.
type Refuse<'a> = &'a dyn Fn(&Value) -> Option<Refusal>;

/// Settings on their way from what was written to something that can be read.
#[derive(Default)]
struct Draft {
    tree: Value,
    problems: Problems,
    /// Where something else stands than was written.
    guesses: Vec<String>,
    /// Members under the names that were probably meant: where they stand now, and stood before.
    renamed: Vec<(String, String)>,
}

impl Draft {
    /// Whether the settings can be read at last.
    fn mend_all(&mut self, first: Refusal, refuse: Refuse<'_>) -> bool {
        let mut refusal = first;
        for _ in 0..ROUNDS_MAX {
            if !self.follows(&refusal.at) {
                self.problems.add(self.as_written(&refusal.at), &*refusal.message);
            }
            let mended = match refusal.kind {
                Kind::Unknown(meant) => self.rename(&refusal.at, meant),
                _ => self.guess(&refusal, refuse),
            };
            if !mended || self.problems.len() > PROBLEMS_TOLD {
                return false;
            }
            match refuse(&self.tree) {
                None => return true,
                Some(next) => refusal = next,
            }
        }
        false
    }

    /// The settings without what was guessed, and the guesses that they cannot be read without.
    fn without_guesses(&self, refuse: Refuse<'_>) -> (Value, Vec<String>) {
        let (mut bare, mut needed) = (self.tree.clone(), Vec::new());
        for guess in &self.guesses {
            let mut tree = bare.clone();
            if put(&mut tree, guess, None) && refuse(&tree).is_none() {
                bare = tree;
            } else {
                needed.push(guess.clone());
            }
        }
        (bare, needed)
    }

    /// Adds what the rule said both with the guesses and without all but the needed ones: what it
    /// says only once comes from a guess, or from there being nothing in its place.
    fn add_told(&mut self, with: &str, without: &str, needed: &[String]) {
        let without: Vec<_> = Problems::parse(without).collect();
        for (at, message) in Problems::parse(with).filter(|told| without.contains(told)) {
            // What other members of the same table are about may be what was guessed.
            let table = parent(at).filter(|table| !table.is_empty());
            let table = table.filter(|at| self.tree.pointer(at).is_some_and(Value::is_object));
            let beside = table.is_some() && needed.iter().any(|guess| parent(guess) == table);
            // About what is around a guess: said without it as well, unless it is needed.
            let around = needed.iter().any(|guess| is_within(guess, at));
            let inside = self.guesses.iter().any(|guess| is_within(at, guess));
            if !beside && !around && !inside {
                self.problems.add(self.as_written(at), message);
            }
        }
    }

    /// Whether a problem there may come from a guess only.
    fn follows(&self, at: &str) -> bool {
        self.guesses.iter().any(|guess| is_within(at, guess) || is_within(guess, at))
    }

    /// The same place in what was written.
    fn as_written(&self, at: &str) -> String {
        let renamed = self.renamed.iter().find(|(now, _)| is_within(at, now));
        renamed.map_or(at.to_owned(), |(now, before)| format!("{before}{}", &at[now.len()..]))
    }

    /// Gives a member that nobody knows the name that was meant, or takes it out.
    fn rename(&mut self, at: &str, meant: Option<&str>) -> bool {
        let Some((table, name)) = at.rsplit_once('/') else { return false };
        let Some(Value::Object(members)) = self.tree.pointer_mut(table) else { return false };
        let Some(value) = members.remove(&unescape(name)) else { return false };
        if let Some(meant) = meant
            && !members.contains_key(meant)
        {
            members.insert(meant.to_owned(), value);
            self.renamed.push((crate::pointer_to(table, meant), at.to_owned()));
        }
        true
    }

    /// Puts something in the place that is taken there; where nothing is, takes the place out, or
    /// does the same with what is around it.
    fn guess(&mut self, refusal: &Refusal, refuse: Refuse<'_>) -> bool {
        let word = match refusal.kind {
            Kind::Word(word) => word,
            _ => None,
        };
        let mut at = refusal.at.as_str();
        while let Some(around) = parent(at) {
            let guesses = candidates(word).into_iter().map(Some).chain([None]);
            for guess in guesses {
                let mut tree = self.tree.clone();
                if put(&mut tree, at, guess) && fits(refuse(&tree), at) {
                    self.tree = tree;
                    self.guesses.push(at.to_owned());
                    return true;
                }
            }
            at = around;
        }
        false
    }
}

/// What may be put where something is missing or wrong. The text is a word, or a pointer to a field
/// that no event has.
fn candidates(word: Option<&str>) -> [Value; 7] {
    [
        Value::from(word.unwrap_or("/\u{1}")),
        Value::from(0),
        Value::from(false),
        Value::Array(Vec::new()),
        Value::Object(serde_json::Map::new()),
        Value::from(1),
        Value::Null,
    ]
}

/// Whether the place has been put right: what is wrong next is elsewhere, or missing in a table that
/// was put there.
fn fits(next: Option<Refusal>, at: &str) -> bool {
    next.is_none_or(|next| {
        next.at != at && (!is_within(&next.at, at) || next.kind == Kind::Missing)
    })
}

/// Puts a value at a place, or takes a member out. Answers whether there is such a place.
fn put(tree: &mut Value, at: &str, value: Option<Value>) -> bool {
    let Some((table, name)) = at.rsplit_once('/') else { return false };
    match (tree.pointer_mut(table), value) {
        (Some(Value::Object(members)), Some(value)) => {
            members.insert(unescape(name), value);
            true
        }
        (Some(Value::Object(members)), None) => members.remove(&unescape(name)).is_some(),
        (Some(Value::Array(items)), Some(value)) => {
            let item = name.parse().ok().and_then(|number: usize| items.get_mut(number));
            item.map(|item| *item = value).is_some()
        }
        _ => false,
    }
}

/// The pointer to what a place is in; none for the whole.
fn parent(at: &str) -> Option<&str> {
    at.rsplit_once('/').map(|(around, _)| around)
}

/// Whether a place is another one, or lies in it.
fn is_within(at: &str, around: &str) -> bool {
    at.strip_prefix(around).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn unescape(name: &str) -> String {
    name.replace("~1", "/").replace("~0", "~")
}
