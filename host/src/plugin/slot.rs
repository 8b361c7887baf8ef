//! The place of one guest in one worker: makes its instance, calls it under the limits, and
//! replaces it after a fault or when its memory has grown.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::Store;

use super::engine::ticks;
use super::fault::fault;
use super::guest::{ConfigureError, World};
use super::limits::{HANDLES_MAX, Limits, WORDS_BYTES_MAX};
use super::load::Loaded;
use super::log::{LogMeter, cut};
use super::state::{MemoryMeter, State};
use super::wasi::Wasi;
use crate::chain::guest::Fault;

/// One configured guest.
pub(super) struct Slot<W: World> {
    plugin: Arc<Loaded>,
    settings: Box<str>,
    limits: Limits,
    log: LogMeter,
    /// What the first instance answered to `configure`: each later one must say the same.
    answer: W::Answer,
    live: Option<Live<W>>,
}

/// An instance that can be called.
struct Live<W> {
    store: Store<State>,
    world: W,
    /// Memory in bytes past which it is replaced.
    recycle_mark: usize,
}

impl<W: World> Slot<W> {
    /// Makes and configures the first instance.
    pub fn new(
        plugin: Arc<Loaded>,
        settings: &str,
        stage: &str,
        limits: &Limits,
    ) -> Result<Self, ConfigureError> {
        let log = LogMeter::new(stage.into(), plugin.hash.short().into(), limits);
        let (live, answer) = start(&plugin, settings, limits, log.clone())?;
        let (settings, limits) = (settings.into(), limits.clone());
        Ok(Self { plugin, settings, limits, log, answer, live: Some(live) })
    }

    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    pub fn answer(&self) -> &W::Answer {
        &self.answer
    }

    /// What the memories of its instance hold, in bytes; none while there is no instance.
    pub fn memory_bytes(&self) -> Option<usize> {
        self.live.as_ref().map(|live| live.store.data().memory.bytes)
    }

    /// Calls the guest with so many events. After an error the instance is gone; the next call
    /// makes a fresh one.
    pub fn call<T>(
        &mut self,
        events: usize,
        now: i64,
        run: impl FnOnce(&W, &mut Store<State>) -> wasmtime::Result<T>,
    ) -> Result<T, Fault> {
        let time = self.limits.call_time(u32::try_from(events).unwrap_or(u32::MAX));
        let live = self.ready()?;
        live.store.data_mut().begin(now);
        live.store.set_epoch_deadline(ticks(time));
        match run(&live.world, &mut live.store) {
            Ok(answer) => Ok(answer),
            Err(error) => {
                let fault = fault(&error, live.store.data(), time);
                self.discard();
                Err(fault)
            }
        }
    }

    /// Drops the instance, whose answer was wrong.
    pub fn discard(&mut self) {
        if let Some(live) = self.live.take() {
            self.log = live.store.into_data().log;
        }
    }

    fn ready(&mut self) -> Result<&mut Live<W>, Fault> {
        let worn = self.live.as_ref().is_some_and(Live::worn);
        if worn || self.live.is_none() {
            self.replace()?;
        }
        Ok(self.live.as_mut().expect("replaced where it was missing"))
    }

    /// Puts a fresh instance in the place of the old one, which stays where that fails.
    fn replace(&mut self) -> Result<(), Fault> {
        let log = match &self.live {
            Some(live) => live.store.data().log.clone(),
            None => self.log.clone(),
        };
        let fresh = match start::<W>(&self.plugin, &self.settings, &self.limits, log) {
            Ok((live, answer)) if answer == self.answer => Ok(live),
            Ok(_) => Err("it answers the same settings with another plan than before".into()),
            Err(error) => Err(error.to_string()),
        };
        match (fresh, &mut self.live) {
            (Ok(fresh), live) => *live = Some(fresh),
            (Err(reason), None) => return Err(Fault::Instance(reason)),
            // Used until its memory is full, which is a fault like any other.
            (Err(_), Some(old)) => old.recycle_mark = usize::MAX,
        }
        Ok(())
    }
}

impl<W> Live<W> {
    fn worn(&self) -> bool {
        self.store.data().memory.bytes > self.recycle_mark
    }
}

fn start<W: World>(
    plugin: &Loaded,
    settings: &str,
    limits: &Limits,
    log: LogMeter,
) -> Result<(Live<W>, W::Answer), ConfigureError> {
    let memory = MemoryMeter::new(limits);
    let wasi = plugin.uses_wasi.then(|| Box::new(Wasi::new()));
    let mut store = Store::new(&plugin.engine, State { memory, log, wasi });
    store.limiter(|state| &mut state.memory);
    store.set_hostcall_fuel(limits.output_batch_bytes);
    store.set_max_component_handles(HANDLES_MAX);
    store.set_epoch_deadline(ticks(limits.configure));
    store.data_mut().begin(0);
    let configured = W::instantiate(&plugin.world, &mut store)
        .and_then(|world| Ok((world.configure(&mut store, settings)?, world)));
    match configured {
        Ok((Ok(answer), world)) => {
            let recycle_mark = limits.recycle_mark(store.data().memory.bytes);
            Ok((Live { store, world, recycle_mark }, answer))
        }
        Ok((Err(refusal), _)) => {
            Err(ConfigureError::Refused(cut(&refusal, WORDS_BYTES_MAX).to_owned()))
        }
        Err(error) => Err(failed(&error, store.data(), limits.configure)),
    }
}

fn failed(error: &wasmtime::Error, state: &State, time: Duration) -> ConfigureError {
    ConfigureError::Failed(fault(error, state, time))
}
