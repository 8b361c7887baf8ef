//! The one wasmtime engine of the process, and the ticks by which calls are limited in time.

use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use wasmtime::{Config, EngineWeak, InstanceAllocationStrategy, OptLevel};

use super::cache::Cache;
use super::limits::WASM_STACK_BYTES;

/// How often the epoch rises: the grain of every time limit.
const TICK: Duration = Duration::from_millis(10);

/// Why there is no engine. Nothing that a plugin did.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// This machine cannot run compiled WebAssembly as it is needed here.
    #[error("setting up wasmtime: {0}")]
    Wasmtime(String),
    /// The thread that ends calls which take too long cannot start.
    #[error("starting the thread that limits the time of plugin calls")]
    Ticker(#[source] std::io::Error),
}

/// Compiles and runs plugins. Make one per process; clones share it.
#[derive(Clone)]
pub struct Engine {
    pub(super) wasm: wasmtime::Engine,
    pub(super) cache: Option<Arc<Cache>>,
}

impl Engine {
    /// An engine that keeps compiled plugins in the folder `cache`, which is made if it is
    /// missing; without one, or where the folder is not safe (a warning says so), each start
    /// compiles anew.
    pub fn new(cache: Option<&Path>) -> Result<Self, EngineError> {
        let wasm = wasmtime::Engine::new(&config())
            .map_err(|error| EngineError::Wasmtime(format!("{error:#}")))?;
        tick(wasm.weak()).map_err(EngineError::Ticker)?;
        let cache = cache.and_then(|folder| Cache::open(folder, &wasm)).map(Arc::new);
        Ok(Self { wasm, cache })
    }
}

fn config() -> Config {
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        // No call is asynchronous: 0.35 µs less per call.
        .concurrency_support(false)
        .epoch_interruption(true)
        .allocation_strategy(InstanceAllocationStrategy::OnDemand)
        .max_wasm_stack(WASM_STACK_BYTES)
        .cranelift_opt_level(OptLevel::Speed)
        // The same answer on every machine.
        .relaxed_simd_deterministic(true)
        // A trap is told in one sentence: nothing of this would be read.
        .wasm_backtrace_max_frames(None)
        .generate_address_map(false)
        .native_unwind_info(false);
    config
}

/// How many ticks end a call between `limit` and two ticks after it: the first may come at once.
pub(super) fn ticks(limit: Duration) -> u64 {
    let ticks = limit.as_nanos().div_ceil(TICK.as_nanos());
    u64::try_from(ticks).unwrap_or(u64::MAX / 2).saturating_add(1)
}

/// Raises the epoch until the engine is gone. A process that was stopped for a while counts as
/// one tick, so that a call does not run out of time in its sleep.
fn tick(engine: EngineWeak) -> std::io::Result<()> {
    thread::Builder::new()
        .name("plugin-ticks".into())
        .spawn(move || {
            while let Some(engine) = engine.upgrade() {
                engine.increment_epoch();
                drop(engine);
                thread::sleep(TICK);
            }
        })
        .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_gets_at_least_its_time() {
        assert_eq!(ticks(Duration::ZERO), 1);
        assert_eq!(ticks(Duration::from_millis(100)), 11);
        assert_eq!(ticks(Duration::from_micros(100_001)), 12);
        assert!(ticks(Duration::MAX) > 1 << 60);
    }
}
