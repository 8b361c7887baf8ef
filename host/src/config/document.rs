//! A TOML text with the places of everything in it, and the list of what is wrong.

use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;

use super::problem::{Place, Problem, Problems};

/// The file that is being read. Problems are collected behind a shared reference, since several
/// tables of the file are open at the same time.
pub(super) struct Document {
    text: Arc<str>,
    /// The byte at which each line begins.
    lines: Vec<usize>,
    problems: RefCell<Problems>,
}

impl Document {
    pub(super) fn new(file: &str, text: Arc<str>) -> Self {
        let lines =
            std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { lines, problems: RefCell::new(Problems::new(file, Arc::clone(&text))), text }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The place of these bytes; what goes on behind the first line is left out.
    pub(super) fn place(&self, span: Range<usize>) -> Place {
        let start = self.boundary(span.start);
        let line = self.lines.partition_point(|&begin| begin <= start) - 1;
        let begin = self.lines[line];
        let end_of_line =
            self.text[start..].find(['\n', '\r']).map_or(self.text.len(), |at| start + at);
        let end = self.boundary(span.end).clamp(start, end_of_line);
        let count = |range: Range<usize>| self.text[range].chars().count() as u32;
        Place {
            line: line as u32 + 1,
            column: count(begin..start) + 1,
            width: count(start..end).max(1),
        }
    }

    pub(super) fn add(
        &self,
        place: Option<Place>,
        key: impl Into<String>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.problems.borrow_mut().add(place, key, message, help);
    }

    pub(super) fn push(&self, problem: Problem) {
        self.problems.borrow_mut().push(problem);
    }

    pub(super) fn into_problems(self) -> Problems {
        self.problems.into_inner()
    }

    /// The start of the character that this byte is in.
    fn boundary(&self, at: usize) -> usize {
        let mut at = at.min(self.text.len());
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        at
    }
}
