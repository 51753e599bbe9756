//! Accepting: socket -> TLS -> HTTP, with the bounds that keep the process alive.

use std::io;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use longwire_conf::model::Level;
use tokio::task::JoinHandle;

use crate::admin;
use crate::clock;
use crate::http::{self, Arrival, Door, Service};
use crate::log::Context;
use crate::metrics::COUNTS;
use crate::net::{Announced, Endpoint, Inherited, Listener, Options, Stream, bind, os_text, read_announced};
use crate::route::facts::{ConnectionFacts, Peer, TlsFacts};
use crate::snapshot::{Binding, Site, Snapshot};
use crate::tls::{self, Conn, Hello, Session};

/// After a failed accept (no descriptors left), how long to wait for better times; nginx waits as long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

/// The listening sockets of the process, with what they serve.
#[derive(Default)]
pub struct Sockets(Vec<Open>);

/// One of them.
struct Open {
    /// As the configuration says it: port 0 stands for whatever port the kernel chose for this place.
    endpoint: Endpoint,
    options: Options,
    listener: Arc<Listener>,
    door: Arc<Door>,
    accepting: JoinHandle<()>,
}

/// Sockets that a configuration needs beside those that are there: bound, and not accepted on yet.
pub struct Fresh(Vec<(Arc<Binding>, Listener)>);

/// What a change of the configuration made of the listening sockets.
#[derive(Debug, Default)]
pub struct Turned {
    /// Addresses that are listened on from now on.
    pub added: Vec<Endpoint>,
    /// Addresses that are not any more.
    pub removed: Vec<Endpoint>,
    /// What could not be changed on a socket that is open, in words for the log.
    pub unchanged: Vec<String>,
}

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

impl Sockets {
    /// Binds what a configuration needs and this has not, or says all that cannot be bound. Nothing that is there
    /// changes. Of the `inherited` sockets, which another process has bound, those that are used are taken out.
    pub fn bind(&self, snapshot: &Snapshot, inherited: &mut Inherited) -> Result<Fresh, Vec<BindError>> {
        let mut fresh = Vec::new();
        let mut faults = Vec::new();
        for binding in &snapshot.bindings {
            if let Some(open) = self.0.iter().find(|open| open.endpoint == binding.endpoint) {
                // Who is served by a socket must not depend on how often the file was read.
                if open.options.ipv6only != binding.options.ipv6only {
                    let source =
                        io::Error::other("\"ipv6only\" of an open socket cannot be changed: restart");
                    faults.push(BindError { endpoint: binding.endpoint.clone(), source });
                }
                continue;
            }
            let bound = inherited.take(&binding.endpoint);
            let bound = match bound.unwrap_or_else(|| bind(&binding.endpoint, binding.options)) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                    self.bind_beside(binding, snapshot).unwrap_or(Err(error))
                }
                bound => bound,
            };
            match bound {
                Ok(listener) => fresh.push((binding.clone(), listener)),
                Err(source) => faults.push(BindError { endpoint: binding.endpoint.clone(), source }),
            }
        }
        if faults.is_empty() { Ok(Fresh(fresh)) } else { Err(faults) }
    }

    /// Binds where sockets of this port are in the way that the configuration does not name any more: a wildcard comes
    /// in the place of addresses, or they in its place. `None` where there are none.
    fn bind_beside(&self, binding: &Binding, snapshot: &Snapshot) -> Option<io::Result<Listener>> {
        let named = |open: &Open| snapshot.bindings.iter().any(|binding| binding.endpoint == open.endpoint);
        let near = self.0.iter().filter(|open| open.is_near(&binding.endpoint));
        let in_the_way: Vec<_> = near.filter(|open| !named(open)).collect();
        if in_the_way.is_empty() {
            return None;
        }
        // The kernel lets two sockets listen side by side when both agree, and asks only while one is bound.
        let agree = |open: &&Open| open.listener.share_port(true);
        let bound = in_the_way.iter().try_for_each(agree).and_then(|()| {
            let listener = bind(&binding.endpoint, Options { reuseport: true, ..binding.options })?;
            listener.share_port(binding.options.reuseport).map(|()| listener)
        });
        for open in in_the_way {
            // The kernel may remember the agreement all the same, towards programs of the same user.
            let _ = open.listener.share_port(open.options.reuseport);
        }
        Some(bound)
    }

    /// From now on this generation serves; `fresh` was bound for it. A socket whose address is not in it any more is
    /// closed; who waits there is answered once by the generation before. One that a wildcard covers leads to that:
    /// closing it would reset whoever knocks in this moment.
    pub async fn turn_to(&mut self, service: &Arc<Service>, fresh: Fresh) -> Turned {
        let mut turned = Turned::default();
        let (mut kept, mut gone) = (Vec::new(), Vec::new());
        for mut open in self.0.drain(..) {
            match service.snapshot.binding(&open.endpoint) {
                Some(binding) => {
                    open.turn_to(service, binding, &mut turned.unchanged);
                    kept.push(open);
                }
                None => gone.push(open),
            }
        }
        for (binding, listener) in fresh.0 {
            listener.own(true);
            let open = Open::new(service, binding, listener);
            turned.added.extend(open.listener.local());
            kept.push(open);
        }
        self.0 = kept;
        for open in gone {
            turned.removed.extend(open.listener.local());
            open.end().await;
        }
        turned
    }

    /// The addresses, with the ports that the kernel chose.
    pub fn addresses(&self) -> Vec<Endpoint> {
        self.0.iter().filter_map(|open| open.listener.local().ok()).collect()
    }

    /// Another descriptor of each, with its address as configured, for another process.
    pub fn share(&self) -> io::Result<Vec<(Endpoint, OwnedFd)>> {
        self.0.iter().map(|open| Ok((open.endpoint.clone(), open.listener.share()?))).collect()
    }

    /// Leaves it to another process to accept. Who came in before is answered once more.
    pub async fn pause(&mut self) {
        for open in &mut self.0 {
            open.door.close();
            open.listener.own(false);
            // A panic there has been said.
            let _ = (&mut open.accepting).await;
        }
    }

    /// Accepts again, after [`pause`](Self::pause).
    pub fn resume(&mut self, service: &Arc<Service>) {
        for open in &mut self.0 {
            open.listener.own(true);
            let (_, binding) = open.door.present();
            open.admit(service, binding);
        }
    }

    /// Whether everybody who came in has left or has become a tunnel.
    pub fn is_deserted(&self) -> bool {
        self.0.iter().all(|open| Arc::strong_count(&open.door) == 1)
    }
}

impl Open {
    /// Accepts on a socket from now on.
    fn new(service: &Arc<Service>, binding: Arc<Binding>, listener: Listener) -> Open {
        let (endpoint, options) = (binding.endpoint.clone(), binding.options);
        let listener = Arc::new(listener);
        let door = Arc::new(Door::new(service.clone(), binding));
        let accepting = tokio::spawn(accept(listener.clone(), door.clone()));
        Open { endpoint, options, listener, door, accepting }
    }

    /// Whether it is of the same port.
    fn is_near(&self, other: &Endpoint) -> bool {
        match (&self.endpoint, other) {
            (Endpoint::Tcp(here), Endpoint::Tcp(there)) => here.port() == there.port() && there.port() != 0,
            _ => false,
        }
    }

    /// The same socket for another generation. `unchanged` is told what stays as it was on the socket.
    fn turn_to(&mut self, service: &Arc<Service>, binding: &Arc<Binding>, unchanged: &mut Vec<String>) {
        let endpoint = &self.endpoint;
        let (before, wanted) = (self.options, binding.options);
        if wanted.backlog != before.backlog {
            match self.listener.set_backlog(wanted) {
                Ok(()) => self.options.backlog = wanted.backlog,
                Err(error) => {
                    unchanged.push(format!("backlog of {endpoint} stays as it was ({})", os_text(&error)))
                }
            }
        }
        if wanted.reuseport != before.reuseport {
            unchanged.push(format!("\"reuseport\" of {endpoint} stays as it was until a restart"));
        }
        let (previous, present) = self.door.present();
        let judged = !binding.has_tls() || service.snapshot.judges_as(&previous.snapshot);
        if binding.keeps_terms_of(&present) && judged {
            return self.door.turn_to(service.clone(), binding.clone());
        }
        // Who came in under other terms leaves after the request in work: without TLS, without saying where from, or
        // with a certificate that was judged in another way.
        self.admit(service, binding.clone());
    }

    /// Accepts by another door from now on.
    fn admit(&mut self, service: &Arc<Service>, binding: Arc<Binding>) {
        let door = Arc::new(Door::new(service.clone(), binding));
        self.accepting = tokio::spawn(accept(self.listener.clone(), door.clone()));
        std::mem::replace(&mut self.door, door).close();
    }

    /// Accepts what waits already, and closes the socket.
    async fn end(self) {
        let Open { listener, door, accepting, .. } = self;
        drop(listener);
        door.close();
        // It has nothing to wait for any more; a panic there has been said.
        let _ = accepting.await;
    }
}

/// Accepts until the door is closed or the process stops. Connections that are open end after the request in work then.
async fn accept(listener: Arc<Listener>, door: Arc<Door>) {
    let local = listener.accepts_on();
    let (mut closed, mut stopped) = (pin!(door.closed()), pin!(door.stopped()));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut closed => break,
            () = &mut stopped => return,
        };
        match accepted {
            Ok(accepted) => welcome(accepted, local.clone(), &door),
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                COUNTS.accepts_failed.add();
                let (service, binding) = door.present();
                let message = format!("accept() on {} failed ({})", binding.endpoint, os_text(&error));
                service.snapshot.logs.error(&[], Level::Crit, &Context::default(), message);
                drop((service, binding));
                tokio::select! {
                    () = tokio::time::sleep(ACCEPT_PAUSE) => {}
                    () = &mut closed => break,
                }
            }
        }
    }
    // Only where nobody else accepts on it: to the kernel, what waits there is to be reset.
    if let Some(listener) = Arc::into_inner(listener) {
        listener.give_up(|accepted| welcome(accepted, local.clone(), &door));
    }
}

/// The number that the next connection will have.
static SERIAL: AtomicU64 = AtomicU64::new(1);

/// The number that the next connection will have.
pub fn next_serial() -> u64 {
    SERIAL.load(Relaxed)
}

/// Numbers go on at least here.
pub fn begin_serials_at(least: u64) {
    SERIAL.fetch_max(least, Relaxed);
}

/// Serves a connection as a task of its own.
fn welcome((stream, peer): (Stream, Endpoint), local: Option<Endpoint>, door: &Arc<Door>) {
    let serial = SERIAL.fetch_add(1, Relaxed);
    tokio::spawn(connection(stream, peer, local, serial, door.clone()));
}

async fn connection(stream: Stream, peer: Endpoint, local: Option<Endpoint>, serial: u64, door: Arc<Door>) {
    let Some(local) = local.or_else(|| stream.local().ok()) else { return };
    let arrival = Arrival { door, local };
    if arrival.is_admin() {
        return Box::pin(admin::serve(stream, peer, arrival)).await;
    }
    // Boxed, as what follows: a task is moved about before it runs, and most of it is for later.
    if let Some((conn, facts, plain_on_tls)) = Box::pin(begin(stream, peer, serial, &arrival)).await {
        Box::pin(http::serve(arrival, Arc::new(facts), conn, plain_on_tls)).await;
    }
}

/// What comes before HTTP, by the generation that is in force now. Tells as well whether the client speaks without TLS
/// where that is wanted.
async fn begin(
    mut stream: Stream,
    peer: Endpoint,
    serial: u64,
    arrival: &Arrival,
) -> Option<(Conn, ConnectionFacts, bool)> {
    let (service, binding) = arrival.door.present();
    service.census.accepted.fetch_add(1, Relaxed);
    let local = &arrival.local;
    let site = binding.site(local)?.clone();
    if binding.keepalive {
        stream.set_keepalive();
    }
    let mut facts = ConnectionFacts {
        serial,
        remote: peer_of(&peer),
        local: peer_of(local),
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
                service.snapshot.logs.error(log, level, &Context::connection(&facts), message);
                return None;
            }
        }
    }
    let (conn, hello) = match site.ssl {
        false => (Conn::Plain(stream), Some(Hello::default())),
        true => match encrypt(stream, &site, &service).await {
            Ok(done) => done,
            Err(reason) => {
                COUNTS.tls_failed.add();
                // As in nginx: what strangers do to a TLS port is no error of ours.
                let message = format_args!("SSL handshake failed ({reason}) while SSL handshaking");
                let server = &service.snapshot.config.servers[site.default];
                let log = &server.settings.error_log;
                service.snapshot.logs.error(log, Level::Info, &Context::connection(&facts), message);
                return None;
            }
        },
    };
    let plain_on_tls = hello.is_none();
    facts.tls = conn.session().map(|session| tls_facts(session, hello.unwrap_or_default(), &site));
    Some((conn, facts, plain_on_tls))
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
