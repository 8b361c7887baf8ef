//! A TCP proxy before one broker, which knows enough of Kafka's framing to lose a request or a reply,
//! or to deliver a request late, behind a cut or slowly; and which can hold everything up.

use std::collections::{BTreeMap, HashSet};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

/// Kafka's numbers of requests.
pub mod api {
    pub const PRODUCE: i16 = 0;
    pub const FETCH: i16 = 1;
    pub const OFFSET_COMMIT: i16 = 8;
    pub const JOIN_GROUP: i16 = 11;
    pub const HEARTBEAT: i16 = 12;
    pub const SYNC_GROUP: i16 = 14;
    pub const API_VERSIONS: i16 = 18;
    pub const ADD_PARTITIONS_TO_TXN: i16 = 24;
    pub const ADD_OFFSETS_TO_TXN: i16 = 25;
    pub const END_TXN: i16 = 26;
    pub const TXN_OFFSET_COMMIT: i16 = 28;
}

/// What happens to the next request of a kind, once.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// The connection is cut, and the broker never sees it.
    LoseRequest {
        /// See [`api`].
        api: i16,
    },
    /// The broker executes it; its reply is lost, and the connection with it.
    LoseReply {
        /// See [`api`].
        api: i16,
    },
    /// The connection is cut before the broker saw it; it gets there after `after`.
    Late {
        /// See [`api`].
        api: i16,
        /// Since the cut.
        after: Duration,
    },
    /// It is held up, and what follows it on its connection.
    Slow {
        /// See [`api`].
        api: i16,
        /// For so long.
        after: Duration,
    },
}

impl Fault {
    fn api(self) -> i16 {
        match self {
            Fault::LoseRequest { api }
            | Fault::LoseReply { api }
            | Fault::Late { api, .. }
            | Fault::Slow { api, .. } => api,
        }
    }
}

/// A fault that waits for its request.
pub struct Armed(Receiver<()>);

impl Armed {
    /// Waits until the connection was cut, or a slow request came.
    pub fn await_cut(&self, timeout: Duration) {
        self.0.recv_timeout(timeout).expect("a request of this kind comes in time");
    }

    /// Waits until a late request was executed, after `await_cut`.
    pub fn await_delivery(&self, timeout: Duration) {
        self.0.recv_timeout(timeout).expect("the late request is executed in time");
    }
}

#[derive(Default)]
struct State {
    armed: Mutex<Vec<(Fault, Sender<()>)>>,
    /// How many requests of each kind came.
    seen: Mutex<BTreeMap<i16, u64>>,
    /// The newest version of each kind of request that clients are told of.
    newest: Mutex<BTreeMap<i16, i16>>,
    /// Connections, by number; those that ended are not kept.
    open: Mutex<BTreeMap<u64, [TcpStream; 2]>>,
    connections: AtomicU64,
    refusing: AtomicBool,
    frozen: Mutex<bool>,
    thawed: Condvar,
}

impl State {
    /// Waits while nothing gets through.
    fn pass(&self) {
        let frozen = self.frozen.lock().unwrap();
        drop(self.thawed.wait_while(frozen, |frozen| *frozen).unwrap());
    }
}

/// The proxy; start it before its broker, which must advertise its port.
pub struct Proxy {
    port: u16,
    listener: Mutex<Option<TcpListener>>,
    state: Arc<State>,
}

impl Proxy {
    /// Takes a port.
    pub fn bind() -> Proxy {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        Proxy { port, listener: Mutex::new(Some(listener)), state: Arc::default() }
    }

    /// For [`super::broker::Options::proxies`].
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where clients connect.
    pub fn brokers(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Forwards from now on; ends with the process.
    pub fn forward_to(&self, broker: SocketAddr) {
        let listener = self.listener.lock().unwrap().take().expect("it forwards once");
        let state = self.state.clone();
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if state.refusing.load(Ordering::SeqCst) {
                    continue;
                }
                let Ok(server) = TcpStream::connect(broker) else { continue };
                serve(&state, client, server);
            }
        });
    }

    /// Arms a fault.
    pub fn arm(&self, fault: Fault) -> Armed {
        let (sender, receiver) = mpsc::channel();
        self.state.armed.lock().unwrap().push((fault, sender));
        Armed(receiver)
    }

    /// Takes back what has not struck yet.
    pub fn disarm(&self) {
        self.state.armed.lock().unwrap().clear();
    }

    /// How many requests of a kind came so far.
    pub fn seen(&self, api: i16) -> u64 {
        self.state.seen.lock().unwrap().get(&api).copied().unwrap_or(0)
    }

    /// Stands for a broker that knows a kind of request up to this version only.
    pub fn limit(&self, api: i16, newest: i16) {
        self.state.newest.lock().unwrap().insert(api, newest);
    }

    /// While set nothing gets through in either direction, the end of a connection included, and
    /// none is closed.
    pub fn set_frozen(&self, frozen: bool) {
        *self.state.frozen.lock().unwrap() = frozen;
        self.state.thawed.notify_all();
    }

    /// Cuts every connection.
    pub fn cut(&self) {
        let open = std::mem::take(&mut *self.state.open.lock().unwrap());
        for stream in open.into_values().flatten() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// While set, the broker is away: connections are cut, new ones closed at once.
    pub fn set_away(&self, away: bool) {
        self.state.refusing.store(away, Ordering::SeqCst);
        if away {
            self.cut();
        }
    }
}

/// Replies that must not get through, by correlation id.
type Lost = Arc<Mutex<HashSet<i32>>>;

/// Those that say which requests a broker knows: the version of the request, by correlation id.
type Versions = Arc<Mutex<BTreeMap<i32, i16>>>;

/// What a connection's two directions have in common.
#[derive(Clone, Default)]
struct Marks {
    lost: Lost,
    versions: Versions,
}

fn serve(state: &Arc<State>, client: TcpStream, server: TcpStream) {
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let number = state.connections.fetch_add(1, Ordering::Relaxed);
    let both = [client.try_clone().unwrap(), server.try_clone().unwrap()];
    state.open.lock().unwrap().insert(number, both);
    let marks = Marks::default();
    let (told, tell) = mpsc::channel();
    let (to_server, from_client, of_client) =
        (server.try_clone().unwrap(), client.try_clone().unwrap(), marks.clone());
    let (of_requests, of_replies) = (state.clone(), state.clone());
    thread::spawn(move || {
        let _ = requests(&of_requests, from_client, to_server, &of_client, &told);
    });
    thread::spawn(move || {
        let _ = replies(&of_replies, server, client, &marks, &tell);
        of_replies.open.lock().unwrap().remove(&number);
    });
}

/// Size, then as many bytes.
fn frame(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut size = [0; 4];
    stream.read_exact(&mut size)?;
    let mut bytes = vec![0; 4 + i32::from_be_bytes(size) as usize];
    bytes[..4].copy_from_slice(&size);
    stream.read_exact(&mut bytes[4..])?;
    Ok(bytes)
}

fn correlation(frame: &[u8], at: usize) -> i32 {
    i32::from_be_bytes(frame[at..at + 4].try_into().unwrap())
}

fn requests(
    state: &State,
    mut client: TcpStream,
    mut server: TcpStream,
    marks: &Marks,
    told: &Sender<Sender<()>>,
) -> io::Result<()> {
    loop {
        let request = match frame(&mut client) {
            Ok(request) => request,
            Err(error) => {
                state.pass();
                let _ = server.shutdown(Shutdown::Both);
                return Err(error);
            }
        };
        state.pass();
        let key = i16::from_be_bytes([request[4], request[5]]);
        if key == api::API_VERSIONS {
            let version = i16::from_be_bytes([request[6], request[7]]);
            marks.versions.lock().unwrap().insert(correlation(&request, 8), version);
        }
        *state.seen.lock().unwrap().entry(key).or_default() += 1;
        let mut armed = state.armed.lock().unwrap();
        let hit = armed.iter().position(|(fault, _)| fault.api() == key).map(|at| armed.remove(at));
        drop(armed);
        if let Some((Fault::Slow { after, .. }, event)) = &hit {
            let _ = event.send(());
            thread::sleep(*after);
        } else if let Some((Fault::LoseRequest { .. }, event)) = &hit {
            client.shutdown(Shutdown::Both)?;
            let _ = event.send(());
            return server.shutdown(Shutdown::Both);
        } else if let Some((fault, event)) = hit {
            marks.lost.lock().unwrap().insert(correlation(&request, 8));
            let _ = told.send(event.clone());
            if let Fault::Late { after, .. } = fault {
                client.shutdown(Shutdown::Both)?;
                let _ = event.send(());
                thread::sleep(after);
                return server.write_all(&request);
            }
        }
        server.write_all(&request)?;
    }
}

fn replies(
    state: &State,
    mut server: TcpStream,
    mut client: TcpStream,
    marks: &Marks,
    tell: &Receiver<Sender<()>>,
) -> io::Result<()> {
    loop {
        let mut reply = match frame(&mut server) {
            Ok(reply) => reply,
            Err(error) => {
                state.pass();
                let _ = client.shutdown(Shutdown::Both);
                return Err(error);
            }
        };
        state.pass();
        let number = correlation(&reply, 4);
        if let Some(version) = marks.versions.lock().unwrap().remove(&number) {
            limit(&mut reply, version, &state.newest.lock().unwrap());
        }
        if marks.lost.lock().unwrap().contains(&number) {
            let _ = client.shutdown(Shutdown::Both);
            let _ = server.shutdown(Shutdown::Both);
            if let Ok(event) = tell.recv() {
                let _ = event.send(());
            }
            return Ok(());
        }
        // A client that was cut off does not get what came before a late request.
        if client.write_all(&reply).is_err() && marks.lost.lock().unwrap().is_empty() {
            return server.shutdown(Shutdown::Both);
        }
    }
}

/// Lowers what an ApiVersions reply says: behind size, correlation id and error code a list of kinds,
/// each with its oldest and newest version, and since version 3 with a byte for tags.
fn limit(reply: &mut [u8], version: i16, newest: &BTreeMap<i16, i16>) {
    let (length, entry) = if version < 3 { (4, 6) } else { (1 + usize::from(reply[10] > 0x7f), 7) };
    let number = |bytes: &[u8]| i16::from_be_bytes([bytes[0], bytes[1]]);
    for kind in reply[10 + length..].chunks_exact_mut(entry) {
        if let Some(limit) = newest.get(&number(kind)) {
            let lower = number(&kind[4..]).min(*limit);
            kind[4..6].copy_from_slice(&lower.to_be_bytes());
        }
    }
}
