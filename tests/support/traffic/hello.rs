//! How ends come together: backends that accept, clients that knock, and newcomers who stay for one echo.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::super::backend::switching;
use super::super::conn::Head;
use super::super::frames::{Frame, KEY, TEXT, accept_key, close, upgrade_request};
use super::super::tls::Identity;
use super::cut::Cut;
use super::end::{End, Stream, encode, parse};
use super::{Leg, Shared, WAIT};

/// How many handshakes of tunnels are under way at once.
const AT_ONCE: usize = 128;

/// Runs what `begin` spawns on a thread of its own until the traffic stops.
fn thread(shared: &Arc<Shared>, begin: impl FnOnce(Arc<Shared>) + Send + 'static) -> JoinHandle<()> {
    let shared = shared.clone();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let stop = shared.stop.notified();
            tokio::pin!(stop);
            stop.as_mut().enable();
            begin(shared.clone());
            stop.await;
        });
    })
}

/// Backends for each of [`Leg::ALL`].
pub fn backends(shared: &Arc<Shared>, identity: &Arc<Identity>) -> ([SocketAddr; 3], JoinHandle<()>) {
    let bind = |_| {
        // Many come at once while tunnels are opened.
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        socket.listen(1024).unwrap();
        socket.set_nonblocking(true).unwrap();
        std::net::TcpListener::from(socket)
    };
    let listeners = Leg::ALL.map(bind);
    let addresses = [0, 1, 2].map(|at: usize| listeners[at].local_addr().unwrap());
    let acceptors = Leg::ALL.map(|leg| {
        leg.version().map(|version| TlsAcceptor::from(Arc::new(identity.server_config(&[version]))))
    });
    let thread = thread(shared, |shared| {
        for (listener, acceptor) in listeners.into_iter().zip(acceptors) {
            let (shared, listener) = (shared.clone(), TcpListener::from_std(listener).unwrap());
            tokio::spawn(async move {
                while let Ok((tcp, _)) = listener.accept().await {
                    let (shared, acceptor) = (shared.clone(), acceptor.clone());
                    tokio::spawn(async move {
                        if let Err(fault) = backend(&shared, tcp, acceptor).await {
                            shared.fault(format!("a backend: {fault}"));
                        }
                    });
                }
            });
        }
    });
    (addresses, thread)
}

/// One connection to a backend.
async fn backend(shared: &Arc<Shared>, tcp: TcpStream, acceptor: Option<TlsAcceptor>) -> Result<(), String> {
    let mut random = fastrand::Rng::new();
    let since = Arc::new(AtomicU64::new(0));
    tcp.set_nodelay(true).unwrap();
    let tcp = Cut::new(tcp, random.fork(), shared.plan.hold, since.clone());
    let mut stream: Box<dyn Stream> = match acceptor {
        None => Box::new(tcp),
        Some(acceptor) => match acceptor.accept(tcp).await {
            Ok(stream) => Box::new(stream),
            // A connection that the program opened ahead, and did not need.
            Err(_) if shared.closing.load(SeqCst) => return Ok(()),
            Err(error) => return Err(format!("TLS: {error}")),
        },
    };
    let (head, early) = head(&mut stream).await.map_err(|e| format!("a request: {e}"))?;
    let said = |e: std::io::Error| format!("101 is not taken: {e}");
    stream.write_all(switching(head.get("sec-websocket-key"), "").as_bytes()).await.map_err(said)?;
    stream.flush().await.map_err(said)?;
    let place = head.target().rsplit('/').next().unwrap_or_default();
    let Ok(tunnel) = place.parse() else { return echo(&mut stream, early).await };
    let end = End { shared: shared.clone(), tunnel, client: false, stream, early, since, random };
    end.live().await;
    Ok(())
}

/// A newcomer's backend: one message back, then the Close.
async fn echo(stream: &mut Box<dyn Stream>, mut buffer: Vec<u8>) -> Result<(), String> {
    let said = |e: std::io::Error| format!("a newcomer: {e}");
    for _ in 0..2 {
        let frame = frame(stream, &mut buffer).await.map_err(|e| format!("a newcomer: {e}"))?;
        stream.write_all(&encode(&frame, None)).await.map_err(said)?;
        stream.flush().await.map_err(said)?;
    }
    let _ = stream.shutdown().await;
    Ok(())
}

/// Opens all tunnels, a few at once, and lets newcomers come when all are open.
pub fn clients(
    shared: &Arc<Shared>,
    identity: &Arc<Identity>,
    plain: SocketAddr,
    tls: SocketAddr,
) -> JoinHandle<()> {
    let connectors = Leg::ALL.map(|leg| {
        leg.version().map(|version| TlsConnector::from(Arc::new(identity.client_config(&[version]))))
    });
    let doors = Arc::new(Doors { plain, tls, connectors });
    thread(shared, |shared| {
        let turns = Arc::new(Semaphore::new(AT_ONCE));
        for tunnel in 0..shared.plan.tunnels {
            let (shared, doors, turns) = (shared.clone(), doors.clone(), turns.clone());
            tokio::spawn(async move {
                let turn = turns.acquire_owned().await;
                let opened = open(&shared, &doors, tunnel).await;
                drop(turn);
                let end = match opened {
                    Ok(end) => end,
                    Err(fault) => return shared.fault(format!("tunnel {tunnel} does not open: {fault}")),
                };
                shared.opened.fetch_add(1, SeqCst);
                end.live().await;
            });
        }
        tokio::spawn(newcomers(shared, doors));
    })
}

/// Where the program is to be found, and what it takes to speak TLS there.
struct Doors {
    plain: SocketAddr,
    tls: SocketAddr,
    connectors: [Option<TlsConnector>; 3],
}

impl Doors {
    /// A connection by this leg.
    async fn knock(&self, leg: Leg, cut: impl FnOnce(TcpStream) -> Cut) -> Result<Box<dyn Stream>, String> {
        let addr = if leg == Leg::Plain { self.plain } else { self.tls };
        let tcp = TcpStream::connect(addr).await.map_err(|e| format!("connect to {addr}: {e}"))?;
        tcp.set_nodelay(true).unwrap();
        let tcp = cut(tcp);
        let Some(connector) = &self.connectors[leg as usize] else { return Ok(Box::new(tcp)) };
        let name = ServerName::try_from("example.com").unwrap();
        Ok(Box::new(connector.connect(name, tcp).await.map_err(|e| format!("TLS: {e}"))?))
    }
}

async fn open(shared: &Arc<Shared>, doors: &Doors, tunnel: usize) -> Result<End, String> {
    let plan = &shared.plan;
    let mut random = fastrand::Rng::with_seed(plan.seed.wrapping_add(tunnel as u64));
    let since = Arc::new(AtomicU64::new(0));
    let client = plan.clients[tunnel % plan.clients.len()];
    let backend = plan.backends[tunnel / plan.clients.len() % plan.backends.len()];
    let mut stream =
        doors.knock(client, |tcp| Cut::new(tcp, random.fork(), shared.plan.hold, since.clone())).await?;
    let early = handshake(&mut stream, &format!("{}{tunnel}", backend.path())).await?;
    Ok(End { shared: shared.clone(), tunnel, client: true, stream, early, since, random })
}

/// New connections at the plan's rate, from the time when all tunnels are open to the end.
async fn newcomers(shared: Arc<Shared>, doors: Arc<Doors>) {
    if shared.plan.newcomers == 0 {
        return;
    }
    let mut pace = tokio::time::interval(Duration::from_secs(1) / shared.plan.newcomers);
    for number in 0.. {
        pace.tick().await;
        if shared.opened.load(SeqCst) < shared.plan.tunnels {
            continue;
        }
        if shared.quiet.load(SeqCst) {
            return;
        }
        let (shared, doors) = (shared.clone(), doors.clone());
        tokio::spawn(async move {
            let client = Leg::ALL[number % 3];
            let backend = Leg::ALL[number / 3 % 3];
            match tokio::time::timeout(WAIT, visit(&doors, client, backend)).await {
                Ok(Ok(())) => _ = shared.greeted.fetch_add(1, SeqCst),
                Ok(Err(fault)) => shared.fault(format!("newcomer {number}, {client:?}: {fault}")),
                Err(_) => shared.fault(format!("newcomer {number}, {client:?}: nothing after {WAIT:?}")),
            }
        });
    }
}

/// A handshake, an echo, a Close.
async fn visit(doors: &Doors, client: Leg, backend: Leg) -> Result<(), String> {
    let whole = |tcp| Cut::new(tcp, fastrand::Rng::new(), Duration::ZERO, Arc::default());
    let mut stream = doors.knock(client, whole).await?;
    let mut buffer = handshake(&mut stream, &format!("{}echo", backend.path())).await?;
    for sent in [Frame::new(TEXT, "here I am"), close(1000, "")] {
        let bytes = encode(&sent, Some([7, 8, 9, 1]));
        stream.write_all(&bytes).await.map_err(|e| e.to_string())?;
        stream.flush().await.map_err(|e| e.to_string())?;
        let back = frame(&mut stream, &mut buffer).await?;
        if (back.opcode, &back.payload) != (sent.opcode, &sent.payload) {
            return Err(format!("{back:?} in place of {sent:?}"));
        }
    }
    Ok(())
}

/// The request, and a good 101; gives what was read behind it.
async fn handshake(stream: &mut Box<dyn Stream>, path: &str) -> Result<Vec<u8>, String> {
    stream.write_all(upgrade_request(path, "").as_bytes()).await.map_err(|e| e.to_string())?;
    stream.flush().await.map_err(|e| e.to_string())?;
    let (head, early) = head(stream).await?;
    let good = head.start.contains(" 101 ") && head.get("sec-websocket-accept") == accept_key(KEY);
    if good { Ok(early) } else { Err(format!("no good 101: {head:?}")) }
}

/// A head, and what was read behind it.
async fn head(stream: &mut Box<dyn Stream>) -> Result<(Head, Vec<u8>), String> {
    let mut buffer = Vec::new();
    loop {
        if let Some(at) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
            let early = buffer.split_off(at + 4);
            return Ok((Head::parse(&String::from_utf8_lossy(&buffer[..at])), early));
        }
        match stream.read_buf(&mut buffer).await {
            Ok(0) => return Err(format!("the stream ended after {} bytes of a head", buffer.len())),
            Ok(_) => {}
            Err(error) => {
                return Err(format!("the stream broke after {} bytes of a head: {error}", buffer.len()));
            }
        }
    }
}

async fn frame(stream: &mut Box<dyn Stream>, buffer: &mut Vec<u8>) -> Result<Frame, String> {
    loop {
        if let Some((frame, len)) = parse(buffer)? {
            buffer.drain(..len);
            return Ok(frame);
        }
        match stream.read_buf(buffer).await {
            Ok(0) => return Err("the stream ended where a frame was expected".into()),
            Ok(_) => {}
            Err(error) => return Err(format!("the stream broke where a frame was expected: {error}")),
        }
    }
}
