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
    pub const SYNC_GROUP: i16 = 14;
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

fn serve(state: &Arc<State>, client: TcpStream, server: TcpStream) {
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let number = state.connections.fetch_add(1, Ordering::Relaxed);
    let both = [client.try_clone().unwrap(), server.try_clone().unwrap()];
    state.open.lock().unwrap().insert(number, both);
    let lost = Lost::default();
    let (told, tell) = mpsc::channel();
    let (to_server, from_client, marks) =
        (server.try_clone().unwrap(), client.try_clone().unwrap(), lost.clone());
    let (of_requests, of_replies) = (state.clone(), state.clone());
    thread::spawn(move || {
        let _ = requests(&of_requests, from_client, to_server, &marks, &told);
    });
    thread::spawn(move || {
        let _ = replies(&of_replies, server, client, &lost, &tell);
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
    lost: &Lost,
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
            lost.lock().unwrap().insert(correlation(&request, 8));
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
    lost: &Lost,
    tell: &Receiver<Sender<()>>,
) -> io::Result<()> {
    loop {
        let reply = match frame(&mut server) {
            Ok(reply) => reply,
            Err(error) => {
                state.pass();
                let _ = client.shutdown(Shutdown::Both);
                return Err(error);
            }
        };
        state.pass();
        if lost.lock().unwrap().contains(&correlation(&reply, 4)) {
            let _ = client.shutdown(Shutdown::Both);
            let _ = server.shutdown(Shutdown::Both);
            if let Ok(event) = tell.recv() {
                let _ = event.send(());
            }
            return Ok(());
        }
        // A client that was cut off does not get what came before a late request.
        if client.write_all(&reply).is_err() && lost.lock().unwrap().is_empty() {
            return server.shutdown(Shutdown::Both);
        }
    }
}
