//! What the host keeps beside each instance: its memory account, its log, its inert WASI.

use wasmtime::ResourceLimiter;

use super::limits::{INSTANCES_MAX, Limits, TABLE_ELEMENTS_MAX};
use super::log::LogMeter;
use super::wasi::Wasi;

/// The data of one store.
pub(super) struct State {
    pub memory: MemoryMeter,
    pub log: LogMeter,
    /// Only where the plugin imports WASI.
    pub wasi: Option<Box<Wasi>>,
}

impl State {
    /// Begins a call: faults are told by what happened since.
    pub fn begin(&mut self, now: i64) {
        self.memory.denied = false;
        self.log.forget_error();
        if let Some(wasi) = &mut self.wasi {
            wasi.set_now(now);
        }
    }
}

/// Counts what all memories and tables of an instance hold, and refuses more than the limit.
pub(super) struct MemoryMeter {
    /// All memories together; also counts a growth that the system then failed to grant.
    pub bytes: usize,
    pub bytes_max: usize,
    /// Whether the limit refused something since the call began.
    pub denied: bool,
    elements: usize,
}

impl MemoryMeter {
    pub fn new(limits: &Limits) -> Self {
        Self { bytes: 0, bytes_max: limits.memory_bytes, denied: false, elements: 0 }
    }

    fn grow(&mut self, grow: Growth, limit: usize, used: impl Fn(&mut Self) -> &mut usize) -> bool {
        if grow.maximum.is_some_and(|maximum| grow.desired > maximum) {
            // What the plugin itself declared, so not this limit's doing.
            return false;
        }
        let used = used(self);
        let after = used.saturating_add(grow.desired.saturating_sub(grow.current));
        if after > limit {
            self.denied = true;
            return false;
        }
        *used = after;
        true
    }
}

struct Growth {
    current: usize,
    desired: usize,
    maximum: Option<usize>,
}

impl ResourceLimiter for MemoryMeter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let limit = self.bytes_max;
        Ok(self.grow(Growth { current, desired, maximum }, limit, |meter| &mut meter.bytes))
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let growth = Growth { current, desired, maximum };
        Ok(self.grow(growth, TABLE_ELEMENTS_MAX, |meter| &mut meter.elements))
    }

    fn instances(&self) -> usize {
        INSTANCES_MAX
    }

    fn tables(&self) -> usize {
        INSTANCES_MAX
    }

    fn memories(&self) -> usize {
        INSTANCES_MAX
    }
}
