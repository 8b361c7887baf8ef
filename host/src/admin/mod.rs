//! Metrics, health and control over HTTP. Never on the data path.
//!
//! [`Server::start`] serves, on a thread of its own, what the workers publish in
//! [`crate::worker::status`]:
//!
//! | path | answer |
//! |---|---|
//! | `/healthz` | 200 while the process lives |
//! | `/readyz` | 200 when every worker takes part in the group and moves, else 503 and why; with the words `demo` on the embedded broker and `paused` in a pause |
//! | `/metrics` | all of [`metrics`](self) in the OpenMetrics text format, which Prometheus reads |
//! | `/api/v1/status` | what runs, as JSON |
//! | `POST /api/v1/reload` | takes the plugins folder as it is now: 200 if it runs, 422 if something is wrong with it, 409 if it cannot be taken now; the body says why |
//! | `POST /api/v1/pause` | every worker commits what it has in hand and takes no more records, until the process ends or `POST /api/v1/resume`; the body says whether all of them have come to rest, which is waited for |

mod listener;
mod metrics;
mod ready;
mod status;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::{Json, Router};
use tokio::sync::oneshot;

use crate::reload::{Handle, Kind};
use crate::worker::Pause;
use crate::worker::status::WorkerStatus;

/// Where the server listens if nobody says otherwise.
pub const DEFAULT_ADDRESS: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9600);

/// How many ports are tried after a default one that is taken.
const PORTS_TRIED: u16 = 100;

/// How long the answer to a request for a pause waits for the workers: one may be held up by a broker.
const REST_MAX: Duration = Duration::from_secs(10);
/// How often they are looked at meanwhile.
const LOOK: Duration = Duration::from_millis(10);

/// What a running pipeline shows.
#[derive(Debug)]
pub struct Pipeline {
    /// Its name: the consumer group.
    pub name: String,
    /// Which process of the group this is.
    pub instance: String,
    /// Whether it runs on the embedded broker.
    pub demo: bool,
    /// The delivery mode, as in `pipeline.toml`.
    pub delivery: &'static str,
    /// Its workers, by number.
    pub workers: Vec<Arc<WorkerStatus>>,
    /// The rules, and whom to ask for others.
    pub reload: Handle,
    /// Lets the workers pause.
    pub pause: Pause,
}

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
#[error("listening on {address} for metrics and health (choose another with --admin)")]
pub struct ListenError {
    /// The address that was asked for.
    pub address: SocketAddr,
    /// Why it cannot be had.
    #[source]
    source: io::Error,
}

/// An address that is held, but not served yet.
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
    address: SocketAddr,
}

impl Bound {
    /// Takes the address that was asked for, or else [`DEFAULT_ADDRESS`] or the next port that is
    /// free.
    pub fn new(asked: Option<SocketAddr>) -> Result<Self, ListenError> {
        match asked {
            Some(address) => Self::at(address),
            None => Self::from(DEFAULT_ADDRESS),
        }
    }

    fn at(address: SocketAddr) -> Result<Self, ListenError> {
        let bind = || {
            let listener = TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            let address = listener.local_addr()?;
            Ok(Self { listener, address })
        };
        bind().map_err(|source| ListenError { address, source })
    }

    /// The first free port from this one on.
    fn from(first: SocketAddr) -> Result<Self, ListenError> {
        let last = first.port().saturating_add(PORTS_TRIED);
        for port in first.port()..last {
            match Self::at(SocketAddr::new(first.ip(), port)) {
                Err(error) if error.source.kind() == io::ErrorKind::AddrInUse => {}
                Ok(bound) => {
                    if port != first.port() {
                        tracing::info!(address = %bound.address, "port {} is taken, metrics and health are on the next", first.port());
                    }
                    return Ok(bound);
                }
                Err(error) => return Err(error),
            }
        }
        Self::at(SocketAddr::new(first.ip(), last))
    }

    /// The address, its port being a real one.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// The server. Dropping it ends it, within a second whatever its clients do.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves until dropped.
    pub fn start(bound: Bound, pipeline: Arc<Pipeline>) -> io::Result<Self> {
        let Bound { listener, address } = bound;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = {
            let _entered = runtime.enter();
            listener::Limited::new(tokio::net::TcpListener::from_std(listener)?)
        };
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name("admin".to_owned()).spawn(move || {
            runtime.block_on(async {
                let serve = axum::serve(listener, router(pipeline));
                // Whichever comes first: a client that keeps its connection open is not waited for.
                tokio::select! {
                    served = serve.into_future() => {
                        if let Err(error) = served {
                            tracing::error!(%error, "metrics and health are no longer served");
                        }
                    }
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Self { address, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It only panics if a handler did, which has been reported by then.
            let _ = thread.join();
        }
    }
}

fn router(pipeline: Arc<Pipeline>) -> Router {
    Router::new()
        .route("/", get("/healthz\n/readyz\n/metrics\n/api/v1/status\nPOST /api/v1/reload\nPOST /api/v1/pause\nPOST /api/v1/resume\n"))
        .route("/healthz", get("ok\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics_text))
        .route("/api/v1/status", get(status_json))
        .route("/api/v1/reload", post(reload))
        .route("/api/v1/pause", post(pause))
        .route("/api/v1/resume", post(resume))
        .with_state(pipeline)
}

async fn readyz(State(pipeline): State<Arc<Pipeline>>) -> impl IntoResponse {
    match ready::check(&pipeline) {
        Ok(text) => (StatusCode::OK, text),
        Err(text) => (StatusCode::SERVICE_UNAVAILABLE, text),
    }
}

async fn metrics_text(State(pipeline): State<Arc<Pipeline>>) -> impl IntoResponse {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], metrics::render(&pipeline))
}

async fn status_json(State(pipeline): State<Arc<Pipeline>>) -> impl IntoResponse {
    Json(status::of(&pipeline))
}

async fn reload(State(pipeline): State<Arc<Pipeline>>) -> impl IntoResponse {
    let Some(outcome) = pipeline.reload.reload().await else {
        return (StatusCode::SERVICE_UNAVAILABLE, "the pipeline is about to end\n").into_response();
    };
    let code = match outcome.outcome {
        Kind::Offered | Kind::Unchanged => StatusCode::OK,
        Kind::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
        Kind::Refused | Kind::RolledBack => StatusCode::CONFLICT,
    };
    (code, Json(outcome)).into_response()
}

/// Whether a pause is asked for, and whether every worker has committed what it had in hand.
#[derive(Debug, serde::Serialize)]
struct Paused {
    paused: bool,
    at_rest: bool,
}

async fn pause(State(pipeline): State<Arc<Pipeline>>) -> Json<Paused> {
    if !pipeline.pause.is_on() {
        tracing::info!(
            "paused on request: what is in hand is committed, no more records are taken"
        );
        pipeline.pause.set(true);
    }
    let end = Instant::now() + REST_MAX;
    while pipeline.pause.is_on() && !pipeline.is_at_rest() && Instant::now() < end {
        tokio::time::sleep(LOOK).await;
    }
    Json(Paused { paused: pipeline.pause.is_on(), at_rest: pipeline.is_at_rest() })
}

async fn resume(State(pipeline): State<Arc<Pipeline>>) -> Json<Paused> {
    if pipeline.pause.is_on() {
        tracing::info!("resumed on request");
        pipeline.pause.set(false);
    }
    Json(Paused { paused: false, at_rest: false })
}

impl Pipeline {
    fn is_at_rest(&self) -> bool {
        self.pause.is_on() && self.workers.iter().all(|worker| worker.at_rest.load(Relaxed))
    }
}

#[cfg(test)]
mod tests;
