//! The stages in order: one generation of the rules. Records in; outputs, dead letters and what
//! the windows observe out. Does no I/O and knows guests only by the two traits of [`guest`].

pub mod guest;
mod record;

pub use record::{Header, Record};
