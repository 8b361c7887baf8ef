//! A record of the input topic, borrowed from whoever fetched it.

pub use crate::event::Header;

/// A record as the chain takes it in.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// The key; none is not the same as empty.
    pub key: Option<&'a [u8]>,
    /// The value; none is a tombstone, which passes by stages and windows.
    pub value: Option<&'a [u8]>,
    /// The headers, in order.
    pub headers: &'a [Header<'a>],
    /// Milliseconds since the epoch.
    pub timestamp: Option<i64>,
    /// The input partition.
    pub partition: i32,
    /// The offset there.
    pub offset: i64,
}
