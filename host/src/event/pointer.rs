//! JSON Pointers (RFC 6901), and the checks of a plan that need them.

use super::scan::NESTING_MAX;
use super::{Plan, Source};

/// Why a text is no JSON Pointer that an event can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PointerError {
    /// It is neither empty nor begins with `/`.
    #[error("a JSON Pointer begins with \"/\", as in \"/device_type\"")]
    NoSlash,
    /// A `~` that is neither `~0` nor `~1`.
    #[error("\"~\" must be followed by 0 (for \"~\") or 1 (for \"/\")")]
    Tilde,
    /// It leads deeper than any event that can be decoded.
    #[error("it leads deeper than events may nest, {NESTING_MAX} levels")]
    TooDeep,
    /// The whole event where only a field of it can stand.
    #[error("\"\" is the whole event, which cannot be written; name the fields")]
    WholeEvent,
    /// More fields than a layout can number.
    #[error("more fields than one batch can track, {}", super::layout::NODES_MAX)]
    TooMany,
}

/// The unescaped tokens of a pointer; none for `""`.
pub(super) fn tokens(pointer: &str) -> Result<Vec<String>, PointerError> {
    if pointer.is_empty() {
        return Ok(Vec::new());
    }
    let inner = pointer.strip_prefix('/').ok_or(PointerError::NoSlash)?;
    let tokens: Vec<String> = inner.split('/').map(unescape).collect::<Result<_, _>>()?;
    if tokens.len() > NESTING_MAX {
        return Err(PointerError::TooDeep);
    }
    Ok(tokens)
}

fn unescape(token: &str) -> Result<String, PointerError> {
    let mut plain = String::with_capacity(token.len());
    let mut characters = token.chars();
    while let Some(character) = characters.next() {
        plain.push(match character {
            '~' => match characters.next() {
                Some('0') => '~',
                Some('1') => '/',
                _ => return Err(PointerError::Tilde),
            },
            other => other,
        });
    }
    Ok(plain)
}

/// The tokens of a pointer that is written.
pub(super) fn write_tokens(pointer: &str) -> Result<Vec<String>, PointerError> {
    let tokens = tokens(pointer)?;
    if tokens.is_empty() { Err(PointerError::WholeEvent) } else { Ok(tokens) }
}

/// The place in an array that a token names: digits without a leading zero, as RFC 6901 says.
pub(super) fn array_place(token: &str) -> Option<u64> {
    let digits = token.bytes().all(|byte| byte.is_ascii_digit());
    let canonical = token == "0" || !token.starts_with('0');
    (digits && canonical).then(|| token.parse().ok()).flatten()
}

/// Whether a token can mean a place in an array, `-` (behind the last) included.
pub(super) fn is_array_token(token: &str) -> bool {
    token == "-" || array_place(token).is_some()
}

/// Checks the pointers of a plan: each must be valid, and of those written none may be `""`, given
/// twice or lie inside another. All problems at once, each as one sentence.
pub fn check_plan(plan: &Plan) -> Result<(), Vec<String>> {
    let mut problems = Vec::new();
    for (place, read) in plan.reads.iter().enumerate() {
        if let Source::Field(pointer) = &read.source
            && let Err(error) = tokens(pointer)
        {
            problems.push(format!("read {place}, {pointer:?}: {error}"));
        }
    }
    let mut writes: Vec<(usize, Vec<String>)> = Vec::new();
    for (place, pointer) in plan.writes.iter().enumerate() {
        let tokens = match write_tokens(pointer) {
            Ok(tokens) => tokens,
            Err(error) => {
                problems.push(format!("write {place}, {pointer:?}: {error}"));
                continue;
            }
        };
        for (earlier, other) in &writes {
            let earlier = &plan.writes[*earlier];
            if *other == tokens {
                problems.push(format!("write {place}, {pointer:?}: given twice; leave one"));
            } else if tokens.starts_with(other) {
                problems.push(format!(
                    "write {place}, {pointer:?}: lies inside {earlier:?}, which is written too; leave one"
                ));
            } else if other.starts_with(&tokens) {
                problems.push(format!(
                    "write {place}, {pointer:?}: {earlier:?}, which is written too, lies inside it; leave one"
                ));
            }
        }
        writes.push((place, tokens));
    }
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Form, Read};

    #[test]
    fn tokens_are_unescaped() {
        assert_eq!(tokens(""), Ok(vec![]));
        assert_eq!(tokens("/"), Ok(vec![String::new()]));
        assert_eq!(tokens("/a~1b/~01/é"), Ok(vec!["a/b".into(), "~1".into(), "é".into()]));
        assert_eq!(tokens("a"), Err(PointerError::NoSlash));
        assert_eq!(tokens("/a~2"), Err(PointerError::Tilde));
        assert_eq!(tokens("/a~"), Err(PointerError::Tilde));
        assert_eq!(tokens(&"/a".repeat(NESTING_MAX)).map(|tokens| tokens.len()), Ok(NESTING_MAX));
        assert_eq!(tokens(&"/a".repeat(NESTING_MAX + 1)), Err(PointerError::TooDeep));
    }

    #[test]
    fn array_places_are_canonical_numbers() {
        assert_eq!(array_place("0"), Some(0));
        assert_eq!(array_place("10"), Some(10));
        for token in ["", "01", "-", "+1", "1a", "99999999999999999999999"] {
            assert_eq!(array_place(token), None, "{token}");
        }
    }

    #[test]
    fn a_plan_is_told_all_its_problems_at_once() {
        let field =
            |pointer: &str| Read { source: Source::Field(pointer.into()), form: Form::Values };
        let writes = ["", "/a", "/a", "/a/b", "/~3", "/c"].map(String::from).to_vec();
        let problems = check_plan(&Plan { reads: vec![field("/a"), field("a")], writes })
            .expect_err("it has problems");
        let starts = ["read 1, \"a\"", "write 0, \"\"", "write 2, \"/a\": given twice"];
        let starts = starts.into_iter().chain(["write 3, \"/a/b\": lies", "write 3", "write 4"]);
        assert_eq!(problems.len(), 6, "{problems:?}");
        for (problem, start) in problems.iter().zip(starts) {
            assert!(problem.starts_with(start), "{problem}");
        }
        let good =
            Plan { reads: vec![field(""), field("/a"), field("/a")], writes: vec!["/a".into()] };
        assert_eq!(check_plan(&good), Ok(()));
    }
}
