//! Accepting: socket -> TLS -> HTTP, with the bounds that keep the process alive.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use longwire_conf::model::Level;

use crate::clock;
use crate::http::{self, Service};
use crate::log::Context;
use crate::net::{Announced, Endpoint, Listener, Stream, bind, os_text, read_announced};
use crate::route::facts::{ConnectionFacts, Peer, TlsFacts};
use crate::snapshot::{Binding, Site, Snapshot};
use crate::tls::{self, Conn, Hello, Session};

/// After a failed accept (no descriptors left), how long to wait for better times; nginx waits as long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

/// Listening sockets with what they serve.
pub struct Sockets(Vec<(Listener, Arc<Binding>)>);

/// An address that cannot be listened on.
#[derive(Debug)]
pub struct BindError {
    /// Which.
    pub endpoint: Endpoint,
    /// Why.
    pub source: io::Error,
}

impl std::fmt::Display for BindError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let hint = match self.source.kind() {
            io::ErrorKind::AddrInUse => ": another program listens there already",
            io::ErrorKind::PermissionDenied => ": ports below 1024 need root or CAP_NET_BIND_SERVICE",
            io::ErrorKind::AddrNotAvailable => ": this machine has no such address",
            _ => "",
        };
        write!(f, "bind() to {} failed ({}){hint}", self.endpoint, os_text(&self.source))
    }
}

/// Binds all sockets of a configuration, or says all that cannot be bound.
pub fn bind_all(snapshot: &Snapshot) -> Result<Sockets, Vec<BindError>> {
    let mut bound = Vec::new();
    let mut faults = Vec::new();
    for binding in &snapshot.bindings {
        match bind(&binding.endpoint, binding.options) {
            Ok(listener) => bound.push((listener, binding.clone())),
            Err(source) => faults.push(BindError { endpoint: binding.endpoint.clone(), source }),
        }
    }
    if faults.is_empty() { Ok(Sockets(bound)) } else { Err(faults) }
}

impl Sockets {
    /// The addresses, with the ports that the kernel chose.
    pub fn addresses(&self) -> Vec<Endpoint> {
        self.0.iter().filter_map(|(listener, _)| listener.local().ok()).collect()
    }

    /// Serves until the service stops; then no more connections are accepted, and those that are open end after the
    /// request in work. Returns at once.
    pub fn serve(self, service: &Arc<Service>) {
        for (listener, binding) in self.0 {
            tokio::spawn(accept(listener, binding, service.clone()));
        }
    }
}

async fn accept(listener: Listener, binding: Arc<Binding>, service: Arc<Service>) {
    static SERIAL: AtomicU64 = AtomicU64::new(1);
    let local = listener.accepts_on();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = service.stopped() => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                let serial = SERIAL.fetch_add(1, Relaxed);
                service.census.accepted.fetch_add(1, Relaxed);
                let local = local.clone();
                tokio::spawn(connection(stream, peer, local, serial, binding.clone(), service.clone()));
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                let message = format!("accept() on {} failed ({})", binding.endpoint, os_text(&error));
                service.snapshot.logs.error(&[], Level::Crit, &Context::default(), message);
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(
    mut stream: Stream,
    peer: Endpoint,
    local: Option<Endpoint>,
    serial: u64,
    binding: Arc<Binding>,
    service: Arc<Service>,
) {
    let Some(local) = local.or_else(|| stream.local().ok()) else { return };
    let Some(site) = binding.site(&local).cloned() else { return };
    if binding.keepalive {
        stream.set_keepalive();
    }
    let mut facts = ConnectionFacts {
        serial,
        remote: peer_of(&peer),
        local: peer_of(&local),
        announced: None,
        came_from: None,
        accepted_us: clock::now_us(),
        tls: None,
    };
    if site.proxy_protocol {
        match announced(&mut stream, &site, &service).await {
            Ok(found) => {
                facts.announced =
                    found.map(|a| [a.source, a.destination].map(|at| peer_of(&Endpoint::Tcp(at))))
            }
            Err(error) => {
                let level =
                    if error.kind() == io::ErrorKind::InvalidData { Level::Error } else { Level::Info };
                let message = format_args!("{} while reading PROXY protocol", os_text(&error));
                let log = &service.snapshot.config.servers[site.default].settings.error_log;
                return service.snapshot.logs.error(log, level, &Context::connection(&facts), message);
            }
        }
    }
    let (conn, hello) = match site.ssl {
        false => (Conn::Plain(stream), Some(Hello::default())),
        // Boxed, as what follows: a task is moved about before it runs, and most of it is for later.
        true => match Box::pin(encrypt(stream, &site, &service)).await {
            Ok(done) => done,
            Err(reason) => {
                // As in nginx: what strangers do to a TLS port is no error of ours.
                let message = format_args!("SSL handshake failed ({reason}) while SSL handshaking");
                let server = &service.snapshot.config.servers[site.default];
                let log = &server.settings.error_log;
                service.snapshot.logs.error(log, Level::Info, &Context::connection(&facts), message);
                return;
            }
        },
    };
    let plain_on_tls = hello.is_none();
    facts.tls = conn.session().map(|session| tls_facts(session, hello.unwrap_or_default(), &site));
    Box::pin(http::serve(service, site, Arc::new(facts), conn, plain_on_tls)).await;
}

/// Reads the header of the PROXY protocol, in the time that a request head may take.
async fn announced(stream: &mut Stream, site: &Site, service: &Service) -> io::Result<Option<Announced>> {
    let patience = service.snapshot.config.servers[site.default].client_header_timeout;
    let reading = tokio::time::timeout(patience, read_announced(stream)).await;
    reading.unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "client timed out")))
}

/// Performs the TLS handshake with the certificate of the server that SNI names. There is no hello of a client
/// that speaks plain HTTP instead.
async fn encrypt(stream: Stream, site: &Site, service: &Service) -> Result<(Conn, Option<Hello>), String> {
    let snapshot = &service.snapshot;
    let patience = snapshot.config.servers[site.default].client_header_timeout;
    let handshake = async {
        if !stream.begins_like_tls().await.map_err(|e| e.to_string())? {
            return Ok((Conn::Plain(stream), None));
        }
        let choose = |name: &str| {
            let chosen = site.index.find(name).server;
            let offer = snapshot.offers.get(chosen).cloned().flatten();
            let offer = offer.or_else(|| snapshot.offers.get(site.default).cloned().flatten());
            let offer = offer.ok_or_else(|| "no certificate for this server".to_owned())?;
            let http2 = site.http2 || snapshot.config.servers[chosen].http2;
            Ok(if http2 { tls::with_http2(offer) } else { offer })
        };
        tls::handshake(stream, choose).await.map(|(conn, hello)| (conn, Some(hello)))
    };
    match tokio::time::timeout(patience, handshake).await {
        Ok(result) => result,
        Err(_) => Err("client timed out".to_owned()),
    }
}

fn tls_facts(session: Session, hello: Hello, site: &Site) -> TlsFacts {
    let name = session.server_name.as_ref().map(|name| name.to_ascii_lowercase());
    TlsFacts {
        negotiated: name.filter(|name| site.index.knows(name)),
        client: hello.client,
        curve: hello.curve,
        ciphers: hello.ciphers,
        curves: hello.curves,
        protocol: session.protocol.to_owned(),
        cipher: session.cipher,
        server_name: session.server_name,
        alpn: session.alpn,
        resumed: session.resumed,
    }
}

fn peer_of(endpoint: &Endpoint) -> Peer {
    match endpoint {
        // A client of IPv4 on a socket for both keeps its IPv4 address.
        Endpoint::Tcp(address) => Peer::Ip(address.ip().to_canonical(), address.port()),
        Endpoint::Unix(path) => Peer::Unix(path.display().to_string()),
    }
}
