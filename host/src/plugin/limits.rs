//! What a plugin may use, and what happens when it wants more.

use std::time::Duration;

/// The stack of a guest's calls, in bytes. A deeper recursion is a trap. The thread that calls a
/// guest needs this much above what the host itself uses; the 2 MiB of a Rust thread are ample.
pub const WASM_STACK_BYTES: usize = 512 << 10;

/// Core instances in one component; more fail its `configure`. Python guests have about twenty.
pub(super) const INSTANCES_MAX: usize = 256;

/// Table elements of one component, together; a table that would grow further does not.
pub(super) const TABLE_ELEMENTS_MAX: usize = 1 << 20;

/// WASI resources and component handles that one instance may hold; the next is a trap.
pub(super) const HANDLES_MAX: usize = 1_024;

/// Random bytes that one WASI call may ask for; more is a trap.
pub(super) const RANDOM_BYTES_MAX: u64 = 1 << 20;

/// Bytes of a plugin's own words (its refusal, the panic behind a trap) that are kept.
pub(super) const WORDS_BYTES_MAX: usize = 4 << 10;

/// What a file may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadLimits {
    /// Size of the file in bytes; a larger one is not read. Default 64 MiB.
    pub file_bytes: u64,
}

impl Default for LoadLimits {
    fn default() -> Self {
        Self { file_bytes: 64 << 20 }
    }
}

/// What one instance may use. Times are wall time, measured in ticks of 10 ms: a call is ended
/// between its limit and two ticks after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Linear memory of one instance in bytes, all its memories together. A request for more is
    /// refused; a guest that traps over it is [`Fault::Memory`]. Default 64 MiB.
    ///
    /// [`Fault::Memory`]: crate::chain::guest::Fault::Memory
    pub memory_bytes: usize,
    /// An instance whose memory has passed this mark after a call is replaced before its next, out
    /// of sight of the output. One that already needs more than half of it after `configure` is
    /// replaced half the way from there to `memory_bytes`, if that is more. Default 32 MiB.
    pub recycle_memory_bytes: usize,
    /// Time of one call, whatever its size. Past it: [`Fault::Deadline`]. Default 100 ms.
    ///
    /// [`Fault::Deadline`]: crate::chain::guest::Fault::Deadline
    pub call: Duration,
    /// Time that each event or record adds to `call`. Default 100 µs.
    pub call_per_event: Duration,
    /// Time to start an instance and run its `configure`. Default 5 s.
    pub configure: Duration,
    /// Bytes of one text or record that a guest answers with (value, key and headers together).
    /// More is a wrong answer. Default 8 MiB: the sink's own limit is meant to be met first.
    pub output_record_bytes: usize,
    /// Bytes that the host takes over from a guest in one call, counted before they are copied.
    /// More is a wrong answer; a log line longer than this is a trap. Default 64 MiB.
    pub output_batch_bytes: usize,
    /// Records that a transform may make of one. More is a wrong answer. Default 1,000.
    pub outputs_per_record: usize,
    /// Log lines per second of one guest, and as many at once; more are counted, and the count is
    /// written with the next line. Default 20.
    pub log_lines_per_second: u32,
    /// Bytes of one log line; the rest is cut off. Default 4 KiB.
    pub log_line_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 64 << 20,
            recycle_memory_bytes: 32 << 20,
            call: Duration::from_millis(100),
            call_per_event: Duration::from_micros(100),
            configure: Duration::from_secs(5),
            output_record_bytes: 8 << 20,
            output_batch_bytes: 64 << 20,
            outputs_per_record: 1_000,
            log_lines_per_second: 20,
            log_line_bytes: 4 << 10,
        }
    }
}

impl Limits {
    /// How long a call with this many events or records may take.
    pub fn call_time(&self, events: u32) -> Duration {
        self.call.saturating_add(self.call_per_event.saturating_mul(events))
    }

    /// When an instance that needs `base` bytes after `configure` is replaced.
    pub(super) fn recycle_mark(&self, base: usize) -> usize {
        if base <= self.recycle_memory_bytes / 2 {
            return self.recycle_memory_bytes;
        }
        let headroom = self.memory_bytes.saturating_sub(base);
        self.recycle_memory_bytes.max(base.saturating_add(headroom / 2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_that_starts_big_is_not_replaced_at_each_batch() {
        let limits = Limits { memory_bytes: 100, recycle_memory_bytes: 40, ..Limits::default() };
        assert_eq!(limits.recycle_mark(1), 40);
        assert_eq!(limits.recycle_mark(20), 40);
        assert_eq!(limits.recycle_mark(30), 65);
        assert_eq!(limits.recycle_mark(80), 90);
        assert_eq!(limits.recycle_mark(100), 100);
    }
}
