//! Records of one's own that rules must cope with before they run: one value a line of a file, read
//! anew each time.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use super::prove::{Objection, Proven, prove};
use super::{error_limits, now_millis};
use crate::config::{Place, Problem};
use crate::pipeline::Generation;
use crate::worker::Seen;

/// Lines of the file, empty ones not counted.
const LINES_MAX: usize = 10_000;
/// Bytes of the file.
const BYTES_MAX: u64 = 64 << 20;

/// What became of the records of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Examples {
    /// How many there are.
    pub records: usize,
    /// How many of them would be dead letters.
    pub rejected: usize,
}

/// Runs the records of a file through a generation; what speaks against it is a problem of the file,
/// with the line. A trap, a call over its time, a wrong answer and too many rejections do, as they do
/// while rules are on probation, unless the running rules do the same with the same records.
pub fn examples(
    file: &Path,
    running: Option<&Generation>,
    new: &Generation,
) -> Result<Examples, Problem> {
    let name = file.display().to_string();
    let problem = |line: Option<i64>, message: String, help: &str| Problem {
        file: name.clone(),
        place: line.map(|line| Place { line: line as u32, column: 1, width: 1 }),
        key: String::new(),
        message,
        help: help.to_owned(),
    };
    let records = read(file).map_err(|error| problem(None, error.0, error.1))?;
    let limits = error_limits(&new.config);
    let proven = prove(running, new, &records, &limits, now_millis());
    let line = |at: usize| records.get(at).map(|seen| seen.offset);
    let Proven { rejected, undecodable, .. } = proven.map_err(|Objection { at, message }| {
        let help = "mend the rules, or the record: --prove-with has named it as one to cope with";
        problem(at.and_then(line), message, help)
    })?;
    if undecodable == records.len() as u64 {
        let help = "write each record in one line of its own";
        return Err(problem(line(0), "none of the records is a JSON object".to_owned(), help));
    }
    Ok(Examples { records: records.len(), rejected })
}

/// What is wrong with the file, and how to mend it.
type FileError = (String, &'static str);

/// The offset of each record is the number of its line.
fn read(file: &Path) -> Result<Vec<Arc<Seen>>, FileError> {
    let mut bytes = Vec::new();
    // One more than the limit shows that there is more.
    let read = File::open(file).and_then(|file| file.take(BYTES_MAX + 1).read_to_end(&mut bytes));
    read.map_err(|error| (format!("cannot be read: {error}"), "--prove-with names the file"))?;
    let records = if bytes.len() as u64 > BYTES_MAX { None } else { parse(&bytes, LINES_MAX) };
    let Some(records) = records else {
        let most = format!("larger than {LINES_MAX} lines or {} MiB", BYTES_MAX >> 20);
        return Err((most, "leave records out: each change of the rules waits for all of them"));
    };
    if records.is_empty() {
        return Err(("has no records".to_owned(), "write the value of one record in each line"));
    }
    Ok(records)
}

/// None where there are more.
fn parse(bytes: &[u8], lines_max: usize) -> Option<Vec<Arc<Seen>>> {
    let now = now_millis();
    let mut records = Vec::new();
    for (number, line) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.trim_ascii().is_empty() {
            continue;
        }
        if records.len() == lines_max {
            return None;
        }
        let (value, timestamp) = (Some(line.to_vec()), Some(now));
        records.push(Arc::new(Seen { value, timestamp, offset: number, ..Seen::default() }));
    }
    Some(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_keep_their_numbers_and_are_bounded() {
        let check = |text: &str, expected: Option<&[(i64, &str)]>| {
            let records = parse(text.as_bytes(), 2);
            let expected = expected.map(<[_]>::to_vec);
            let found = records.as_ref().map(|records| {
                let text = |seen: &'_ Arc<Seen>| {
                    String::from_utf8_lossy(seen.value.as_deref().unwrap_or_default()).into_owned()
                };
                records.iter().map(|seen| (seen.offset, text(seen))).collect::<Vec<_>>()
            });
            let owned = |(line, text): (i64, &str)| (line, text.to_owned());
            assert_eq!(found, expected.map(|all| all.into_iter().map(owned).collect()), "{text:?}");
        };
        check("", Some(&[]));
        check("{}\r\n\n  \n [1] \n", Some(&[(1, "{}"), (4, " [1] ")]));
        check("1\n2", Some(&[(1, "1"), (2, "2")]));
        check("1\n2\n\n3", None);
    }

    #[test]
    fn a_file_that_is_not_there_or_too_large_is_said() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.jsonl");
        let message = || read(&path).expect_err("it is wrong").0;
        assert!(message().starts_with("cannot be read: "));
        let file = File::create(&path).expect("a file");
        assert_eq!(message(), "has no records");
        file.set_len(BYTES_MAX + 1).expect("a sparse file");
        assert_eq!(message(), "larger than 10000 lines or 64 MiB");
    }
}
