//! Inert WASI 0.2, which languages with a runtime need to start: see [`super`] for what it shows.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use wasmtime::component::{HasData, Linker, Resource, ResourceTable};
use wasmtime_wasi::cli::{WasiCli, WasiCliView};
use wasmtime_wasi::clocks::{HostWallClock, WasiClocks, WasiClocksView};
use wasmtime_wasi::filesystem::{WasiFilesystem, WasiFilesystemView};
use wasmtime_wasi::p2::bindings::clocks::monotonic_clock;
use wasmtime_wasi::p2::bindings::{self, cli, filesystem, random, sockets, sync};
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe};
use wasmtime_wasi::random::{WasiRandom, WasiRandomView};
use wasmtime_wasi::sockets::{WasiSockets, WasiSocketsView};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use super::limits::{HANDLES_MAX, RANDOM_BYTES_MAX};
use super::state::State;

/// The interfaces that are linked, in any version 0.2.
pub(super) const INTERFACES: &[&str] = &[
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stderr",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stderr",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:filesystem/preopens",
    "wasi:filesystem/types",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:random/random",
    "wasi:sockets/instance-network",
    "wasi:sockets/ip-name-lookup",
    "wasi:sockets/network",
    "wasi:sockets/tcp",
    "wasi:sockets/tcp-create-socket",
    "wasi:sockets/udp",
    "wasi:sockets/udp-create-socket",
];

/// A clock reading takes so long, in nanoseconds of the instance's own time.
const READING_NS: u64 = 1_000;

/// What one instance's WASI is made of.
pub(super) struct Wasi {
    context: WasiCtx,
    table: ResourceTable,
    /// Milliseconds since the epoch.
    now: Arc<AtomicI64>,
    /// Nanoseconds since the instance began.
    elapsed: u64,
}

impl Wasi {
    pub fn new() -> Self {
        let now = Arc::new(AtomicI64::new(0));
        let mut table = ResourceTable::new();
        table.set_max_capacity(HANDLES_MAX);
        let context = WasiCtx::builder()
            .wall_clock(BatchClock(now.clone()))
            .secure_random(ChaCha8Rng::seed_from_u64(0))
            .insecure_random(ChaCha8Rng::seed_from_u64(0))
            .insecure_random_seed(0)
            .max_random_size(RANDOM_BYTES_MAX)
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false)
            .build();
        Self { context, table, now, elapsed: 0 }
    }

    pub fn set_now(&mut self, now: i64) {
        self.now.store(now, Relaxed);
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let wasi = wasi(self);
        WasiCtxView { ctx: &mut wasi.context, table: &mut wasi.table }
    }
}

fn wasi(state: &mut State) -> &mut Wasi {
    state.wasi.as_deref_mut().expect("made for every plugin for which WASI is linked")
}

/// Links all of [`INTERFACES`]. As wasmtime-wasi does it, but for the monotonic clock: its own
/// would let a guest wait in the host, where no deadline reaches.
pub(super) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let l = linker;
    bindings::clocks::wall_clock::add_to_linker::<_, WasiClocks>(l, State::clocks)?;
    monotonic_clock::add_to_linker::<_, HasClock>(l, wasi)?;
    filesystem::preopens::add_to_linker::<_, WasiFilesystem>(l, State::filesystem)?;
    sync::filesystem::types::add_to_linker::<_, WasiFilesystem>(l, State::filesystem)?;
    random::random::add_to_linker::<_, WasiRandom>(l, State::random)?;
    random::insecure::add_to_linker::<_, WasiRandom>(l, State::random)?;
    random::insecure_seed::add_to_linker::<_, WasiRandom>(l, State::random)?;
    cli::exit::add_to_linker::<_, WasiCli>(l, State::cli)?;
    cli::environment::add_to_linker::<_, WasiCli>(l, State::cli)?;
    cli::stdin::add_to_linker::<_, WasiCli>(l, State::cli)?;
    cli::stdout::add_to_linker::<_, WasiCli>(l, State::cli)?;
    cli::stderr::add_to_linker::<_, WasiCli>(l, State::cli)?;
    cli::terminal_input::add_to_linker::<_, WasiCli>(l, State::cli)?;
    cli::terminal_output::add_to_linker::<_, WasiCli>(l, State::cli)?;
    cli::terminal_stdin::add_to_linker::<_, WasiCli>(l, State::cli)?;
    cli::terminal_stdout::add_to_linker::<_, WasiCli>(l, State::cli)?;
    cli::terminal_stderr::add_to_linker::<_, WasiCli>(l, State::cli)?;
    let network = sockets::network::LinkOptions::default();
    sockets::network::add_to_linker::<_, WasiSockets>(l, &network, State::sockets)?;
    sockets::instance_network::add_to_linker::<_, WasiSockets>(l, State::sockets)?;
    sockets::ip_name_lookup::add_to_linker::<_, WasiSockets>(l, State::sockets)?;
    sockets::tcp_create_socket::add_to_linker::<_, WasiSockets>(l, State::sockets)?;
    sync::sockets::tcp::add_to_linker::<_, WasiSockets>(l, State::sockets)?;
    sync::sockets::udp_create_socket::add_to_linker::<_, WasiSockets>(l, State::sockets)?;
    sync::sockets::udp::add_to_linker::<_, WasiSockets>(l, State::sockets)?;
    sync::io::error::add_to_linker::<_, HasTable>(l, |state| &mut wasi(state).table)?;
    sync::io::poll::add_to_linker::<_, HasTable>(l, |state| &mut wasi(state).table)?;
    sync::io::streams::add_to_linker::<_, HasTable>(l, |state| &mut wasi(state).table)
}

struct HasTable;

impl HasData for HasTable {
    type Data<'a> = &'a mut ResourceTable;
}

struct HasClock;

impl HasData for HasClock {
    type Data<'a> = &'a mut Wasi;
}

/// Shows the `now` of the batch; the epoch during `configure` and for times before it.
struct BatchClock(Arc<AtomicI64>);

impl HostWallClock for BatchClock {
    fn resolution(&self) -> Duration {
        Duration::from_millis(1)
    }

    fn now(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.load(Relaxed)).unwrap_or(0))
    }
}

/// The instance's own time: waiting moves it forward and is over at once.
impl monotonic_clock::Host for &mut Wasi {
    fn now(&mut self) -> wasmtime::Result<u64> {
        self.elapsed = self.elapsed.saturating_add(READING_NS);
        Ok(self.elapsed)
    }

    fn resolution(&mut self) -> wasmtime::Result<u64> {
        Ok(READING_NS)
    }

    fn subscribe_instant(&mut self, when: u64) -> wasmtime::Result<Resource<DynPollable>> {
        let elapsed = self.elapsed;
        self.subscribe_duration(when.saturating_sub(elapsed))
    }

    fn subscribe_duration(&mut self, duration: u64) -> wasmtime::Result<Resource<DynPollable>> {
        self.elapsed = self.elapsed.saturating_add(duration);
        let over = self.table.push(Over)?;
        subscribe(&mut self.table, over)
    }
}

/// A wait that is over.
struct Over;

#[wasmtime_wasi::async_trait]
impl Pollable for Over {
    async fn ready(&mut self) {}
}
