//! What the batch takes in: the text of an event and what its record had besides.

/// One header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// The name.
    pub name: &'a str,
    /// The value; none is not the same as empty.
    pub value: Option<&'a [u8]>,
}

/// An event that is yet to be decoded.
#[derive(Clone, Copy, Debug)]
pub struct EventInput<'a> {
    /// The record's value.
    pub text: &'a [u8],
    /// The record's key.
    pub key: Option<&'a [u8]>,
    /// The record's headers, in order.
    pub headers: &'a [Header<'a>],
    /// The record's timestamp, in milliseconds since the epoch.
    pub timestamp: Option<i64>,
}

/// Why a record's value is no event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// It breaks the grammar of RFC 8259, or nests too deep.
    #[error("invalid JSON at byte {at}: {what}")]
    Json {
        /// What is wrong there.
        what: &'static str,
        /// Where, in bytes from the start of the text.
        at: usize,
    },
    /// It is valid JSON, but no object.
    #[error("an event must be a JSON object, this is {0}")]
    NotAnObject(&'static str),
    /// It is longer than positions in it can be counted.
    #[error("an event of {0} bytes is over the limit of {max}", max = super::scan::TEXT_BYTES_MAX)]
    TooLong(usize),
}
