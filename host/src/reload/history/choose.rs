//! Which generation a person means.

use super::{Folder, Outcome, Record};

/// Fewer digits of a hash are taken for a number that is not there.
const PREFIX_MIN: usize = 4;

/// No generation can be meant by this.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChoiceError {
    /// None has this number, or a hash that begins so.
    #[error(
        "no generation of the history has the number {0:?}, or a hash that begins so (with 4 digits at least)"
    )]
    Unknown(String),
    /// Several have a hash that begins so.
    #[error("{text:?} may be any of the generations {}: say more digits, or the number", list(.numbers))]
    Ambiguous {
        /// What was asked for.
        text: String,
        /// Their numbers.
        numbers: Vec<u64>,
    },
    /// There is nothing before what the folder holds.
    #[error(
        "the history has no other generation that ran and was not given up: name one of `host plugin history`"
    )]
    None,
}

fn list(numbers: &[u64]) -> String {
    numbers.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")
}

/// The generation of this number, or else of a hash (of its rules or of its files) that begins so.
/// Of several with the same files it is the newest; `records` are the newest first.
pub fn find<'a>(records: &'a [Record], text: &str) -> Result<&'a Record, ChoiceError> {
    if let Ok(number) = text.parse::<u64>()
        && let Some(record) = records.iter().find(|record| record.number == number)
    {
        return Ok(record);
    }
    let text = text.to_ascii_lowercase();
    let begins = |record: &&Record| {
        let is_rules = record.hash.as_ref().is_some_and(|hash| hash.starts_with(&text));
        text.len() >= PREFIX_MIN && (is_rules || record.content.starts_with(&text))
    };
    let mut found: Vec<&Record> = Vec::new();
    for record in records.iter().filter(begins) {
        if found.iter().all(|other| other.files != record.files) {
            found.push(record);
        }
    }
    match found[..] {
        [] => Err(ChoiceError::Unknown(text)),
        [record] => Ok(record),
        _ => {
            let numbers = found.iter().map(|record| record.number).collect();
            Err(ChoiceError::Ambiguous { text, numbers })
        }
    }
}

/// The newest generation that ran, was not given up, and is not what the folder holds already: so the
/// one before the newest, or the newest where the folder has files that nobody runs.
pub fn previous<'a>(records: &'a [Record], folder: &Folder) -> Result<&'a Record, ChoiceError> {
    let fits = |record: &&Record| {
        record.ran_well() && given_up(records, record).is_none() && !folder.holds(record)
    };
    records.iter().find(fits).ok_or(ChoiceError::None)
}

/// Why the files of this generation were given up the last time that they ran; none if they were not.
pub fn given_up<'a>(records: &'a [Record], record: &Record) -> Option<&'a str> {
    let same = |other: &&Record| other.files == record.files && other.outcome != Outcome::Saved;
    let last = records.iter().find(same)?;
    let reason = last.reason.as_deref().unwrap_or("for no known reason");
    (last.outcome == Outcome::RolledBack).then_some(reason)
}
