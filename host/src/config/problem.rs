//! What is wrong with a configuration: each problem with its place and how to mend it.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use anstyle::{AnsiColor, Style};

/// A stretch of one line of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The line, from 1.
    pub line: u32,
    /// The first character, from 1.
    pub column: u32,
    /// How many characters, at least 1.
    pub width: u32,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file, or the flag or variable, that has to be changed.
    pub file: String,
    /// Where in the file; none if something is missing altogether.
    pub place: Option<Place>,
    /// The key, as `[source] topic`; empty if it is not about one.
    pub key: String,
    /// What is wrong: lower case, no full stop.
    pub message: String,
    /// How to mend it; empty if the message says so already.
    pub help: String,
}

/// Everything that is wrong with one `pipeline.toml`, the flags beside it and its plugins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems {
    list: Vec<Problem>,
    file: String,
    text: Arc<str>,
}

/// How the parts of a rendered problem look.
#[derive(Default)]
struct Look {
    place: Style,
    error: Style,
    caret: Style,
}

/// A line that holds one of these is not shown: it may hold a secret.
const SECRETS: [&str; 6] = ["password", "secret", "pem", "jaas", "token", "oauth"];

impl Problems {
    /// No problems so far, in a file of this name and text.
    pub fn new(file: &str, text: Arc<str>) -> Self {
        Self { list: Vec::new(), file: file.to_owned(), text }
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// The problems, in the order of [`Problems::push`].
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.list.iter()
    }

    /// Adds a problem, unless it is there already: two plugins may refuse the same settings.
    pub fn push(&mut self, problem: Problem) {
        if !self.list.contains(&problem) {
            self.list.push(problem);
        }
    }

    /// Adds a problem in the file itself.
    pub fn add(
        &mut self,
        place: Option<Place>,
        key: impl Into<String>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.push(Problem {
            file: self.file.clone(),
            place,
            key: key.into(),
            message: message.into(),
            help: help.into(),
        });
    }

    /// The problems as text with colours, for a stream that takes them out where they do not
    /// belong (`anstream`).
    pub fn styled(&self) -> String {
        self.render(&Look {
            place: Style::new().bold(),
            error: AnsiColor::Red.on_default().bold(),
            caret: AnsiColor::Red.on_default(),
        })
    }

    fn render(&self, look: &Look) -> String {
        let mut sorted: Vec<_> = self.list.iter().collect();
        // What has no place stands first in its file; the order of equals is kept.
        sorted.sort_by_key(|problem| (problem.file != self.file, problem.place));
        let mut out = String::new();
        for problem in sorted {
            self.render_one(problem, look, &mut out).expect("writing to a string cannot fail");
        }
        out
    }

    fn render_one(&self, problem: &Problem, look: &Look, out: &mut String) -> fmt::Result {
        let Look { place: bold, error, caret } = look;
        write!(out, "{bold}{}", problem.file)?;
        if let Some(place) = problem.place {
            write!(out, ":{}:{}", place.line, place.column)?;
        }
        write!(out, "{bold:#}: ")?;
        if !problem.key.is_empty() {
            write!(out, "{}: ", problem.key)?;
        }
        // What goes on in further lines is told from the next problem.
        writeln!(out, "{error}{}{error:#}", problem.message.replace('\n', "\n    "))?;
        if let Some((place, line)) = problem.place.and_then(|place| self.excerpt(problem, place)) {
            let gutter = place.line.to_string();
            // Tabs are kept, so that the caret stands below its character.
            let indent: String = line
                .chars()
                .take(place.column as usize - 1)
                .map(|c| if c == '\t' { '\t' } else { ' ' })
                .collect();
            let carets = "^".repeat(place.width as usize);
            writeln!(out, "  {gutter} | {line}")?;
            writeln!(out, "  {:1$} | {indent}{caret}{carets}{caret:#}", "", gutter.len())?;
        }
        if !problem.help.is_empty() {
            writeln!(out, "  help: {}", problem.help)?;
        }
        Ok(())
    }

    /// The line that a problem is in, unless it may hold a secret.
    fn excerpt(&self, problem: &Problem, place: Place) -> Option<(Place, &str)> {
        if problem.file != self.file {
            return None;
        }
        let line = self.text.lines().nth(place.line as usize - 1)?;
        (!may_be_secret(line)).then_some((place, line))
    }
}

/// Whether a line, or the value of a key, may be a secret by the words in it.
pub(super) fn may_be_secret(text: &str) -> bool {
    let lower = text.to_lowercase();
    SECRETS.iter().any(|secret| lower.contains(secret))
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(&Look::default()))
    }
}

impl std::error::Error for Problems {}
