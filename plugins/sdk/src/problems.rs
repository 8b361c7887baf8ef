//! What is wrong with settings, as `configure` answers it: see [`Problems`].

use std::fmt;

/// How many are told: more would not fit into what the host shows of an answer, 4 KiB.
pub(crate) const PROBLEMS_TOLD: usize = 20;

/// Everything that is wrong with the settings: each problem with its place, a JSON Pointer into
/// the settings such as `/conditions/0/equals`. The host shows each at that place of
/// `pipeline.toml`. What does not exist there, such as a setting that is missing, is shown at the
/// nearest table around it; with an empty pointer, at the whole of the settings.
///
/// ```
/// # use pipeline_sdk::Problems;
/// fn checked(min: i64, max: i64) -> Result<(), String> {
///     let mut problems = Problems::default();
///     if min < 0 {
///         problems.add("/min", "below 0: there are no such temperatures");
///     }
///     if max < min {
///         problems.add("/max", "below `min`: swap them");
///     }
///     problems.finish()
/// }
/// assert_eq!(
///     checked(-3, -4).unwrap_err(),
///     "/min: below 0: there are no such temperatures\n/max: below `min`: swap them"
/// );
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems(Vec<(String, String)>);

impl Problems {
    /// Adds a problem at a place, a JSON Pointer or empty. The message says what is wrong and how
    /// to mend it.
    pub fn add(&mut self, at: impl Into<String>, message: impl Into<String>) {
        self.0.push((at.into(), message.into()));
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are; so many may not all be told.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// An error, if anything is wrong.
    pub fn finish(self) -> Result<(), String> {
        if self.is_empty() { Ok(()) } else { Err(self.into()) }
    }

    /// The problems in an answer of `configure`, in the order of their lines.
    pub(crate) fn parse(text: &str) -> impl Iterator<Item = (&str, &str)> {
        let pointed = |line: &str| line.starts_with('/') && line.contains(": ");
        let lines = text.lines().any(pointed).then(|| text.lines());
        let whole = lines.is_none().then_some(("", text));
        let lines = lines.into_iter().flatten();
        whole.into_iter().chain(lines.map(move |line| match line.split_once(": ") {
            Some(parts) if pointed(line) => parts,
            _ => ("", line),
        }))
    }
}

/// One problem a line, as the host understands it.
impl fmt::Display for Problems {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (at, message)) in self.0.iter().take(PROBLEMS_TOLD).enumerate() {
            let end = if number == 0 { "" } else { "\n" };
            let (at, colon) = (at.replace('\n', " "), if at.is_empty() { "" } else { ": " });
            // What begins with a space belongs to the line before.
            write!(formatter, "{end}{at}{colon}{}", message.replace('\n', "\n  "))?;
        }
        match self.len() > PROBLEMS_TOLD {
            false => Ok(()),
            true => formatter.write_str("\nthere is more, told when these are mended"),
        }
    }
}

impl From<Problems> for String {
    fn from(problems: Problems) -> Self {
        problems.to_string()
    }
}

/// The JSON Pointer of a member of the table at this pointer: `~` and `/` in its name are escaped.
pub fn pointer_to(table: &str, member: &str) -> String {
    format!("{table}/{}", member.replace('~', "~0").replace('/', "~1"))
}
