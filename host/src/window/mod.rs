//! Watermarks and open windows of one partition, and their state as values. Does no I/O and
//! never reads the clock.
