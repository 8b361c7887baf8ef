//! Arguments and exit codes, one module per command. Decides nothing about records.

pub mod connect;
pub mod generate;
pub mod view;
