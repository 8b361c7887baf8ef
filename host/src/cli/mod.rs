//! Arguments and exit codes, one module per command. Decides nothing about records.
