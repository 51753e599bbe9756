//! Which sockets a configuration listens on, and who answers there.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use longwire_conf::model::{Address, Config, Server};
use longwire_conf::{Diagnostic, Severity, Span};

use super::admin::{self, Admin};
use super::fault;
use crate::net::{Endpoint, Options};
use crate::route::server::ServerIndex;

/// A socket to listen on, and who answers there.
pub struct Binding {
    /// Where to bind.
    pub endpoint: Endpoint,
    /// How.
    pub options: Options,
    /// `so_keepalive=on`.
    pub keepalive: bool,
    /// It is no server's but an admin address, and who may do what there.
    pub admin: Option<Arc<Admin>>,
    /// Servers by the address that a client connected to: a wildcard socket serves the addresses of its port, too.
    sites: Vec<(Endpoint, Arc<Site>)>,
}

/// The servers of one listening address.
pub struct Site {
    /// `ssl`.
    pub ssl: bool,
    /// `http2` of a `listen`.
    pub http2: bool,
    /// `proxy_protocol`.
    pub proxy_protocol: bool,
    /// The default server, by index.
    pub default: usize,
    /// Servers by name.
    pub index: ServerIndex,
}

impl Binding {
    /// The servers for a connection to `local`.
    pub fn site(&self, local: &Endpoint) -> Option<&Arc<Site>> {
        let exact = self.sites.iter().find(|(endpoint, _)| endpoint == local);
        exact
            .or_else(|| self.sites.iter().find(|(endpoint, _)| *endpoint == self.endpoint))
            .map(|(_, site)| site)
    }

    /// Whether TLS is spoken here, at any address.
    pub fn has_tls(&self) -> bool {
        self.sites.iter().any(|(_, site)| site.ssl)
    }

    /// Whether connections that came in by `before`, the same socket, may ask their next request here: how they began
    /// is how they would begin now.
    pub fn keeps_terms_of(&self, before: &Binding) -> bool {
        let mut places = self.sites.iter().chain(&before.sites).map(|(endpoint, _)| endpoint);
        let terms =
            |binding: &Binding, place| binding.site(place).map(|site| (site.ssl, site.proxy_protocol));
        self.admin.is_some() == before.admin.is_some()
            && places.all(|place| terms(self, place) == terms(before, place))
    }
}

/// All sockets that are needed: those of the servers, then those of `admin`.
pub(super) fn bindings(
    config: &Config,
    faults: &mut Vec<Diagnostic>,
    warnings: &mut Vec<Diagnostic>,
) -> Vec<Arc<Binding>> {
    let mut all = of_servers(&config.servers, faults);
    for admin in &config.main.admin {
        let guard = Arc::new(admin::admin(admin, faults, warnings));
        for endpoint in resolve(&admin.value.address, admin.span, None, faults) {
            if all.iter().any(|binding| is_taken_by(&endpoint, &binding.endpoint)) {
                let message = format!("{endpoint} is an admin address and listened on elsewhere as well");
                let help = "give \"admin\" a port of its own".to_owned();
                faults.push(fault(Severity::Error, admin.span, message, vec![help]));
                continue;
            }
            all.push(Arc::new(Binding {
                endpoint,
                options: Options { backlog: None, reuseport: false, ipv6only: true, private: true },
                keepalive: false,
                admin: Some(guard.clone()),
                sites: Vec::new(),
            }));
        }
    }
    all
}

/// Whether a socket bound to `there` has this address as well.
fn is_taken_by(endpoint: &Endpoint, there: &Endpoint) -> bool {
    let covers = |wildcard: &Endpoint, one: &Endpoint| wildcard_of(one).as_ref() == Some(wildcard);
    endpoint == there || covers(there, endpoint) || covers(endpoint, there)
}

/// One binding per socket that servers need: addresses of a port that has a wildcard need none of their own.
fn of_servers(servers: &[Server], faults: &mut Vec<Diagnostic>) -> Vec<Arc<Binding>> {
    struct Found {
        members: Vec<usize>,
        default: Option<usize>,
        ssl: bool,
        http2: bool,
        options: Options,
        keepalive: bool,
        proxy_protocol: bool,
    }
    let mut found: BTreeMap<Endpoint, Found> = BTreeMap::new();
    for (index, server) in servers.iter().enumerate() {
        for listen in &server.listens {
            let endpoints = resolve(&listen.value.address, listen.span, None, faults);
            for endpoint in endpoints {
                let entry = found.entry(endpoint).or_insert_with(|| Found {
                    members: Vec::new(),
                    default: None,
                    ssl: false,
                    http2: false,
                    options: Options { backlog: None, reuseport: false, ipv6only: true, private: false },
                    keepalive: false,
                    proxy_protocol: false,
                });
                let listen = &listen.value;
                entry.members.push(index);
                entry.ssl |= listen.ssl;
                entry.http2 |= listen.http2;
                entry.keepalive |= listen.so_keepalive;
                entry.proxy_protocol |= listen.proxy_protocol;
                entry.options.reuseport |= listen.reuseport;
                entry.options.backlog = entry.options.backlog.or(listen.backlog);
                entry.options.ipv6only &= listen.ipv6only;
                if listen.default_server {
                    entry.default.get_or_insert(index);
                }
            }
        }
    }
    let site = |f: &Found| {
        let default = f.default.or(f.members.first().copied()).unwrap_or_default();
        Arc::new(Site {
            ssl: f.ssl,
            http2: f.http2,
            proxy_protocol: f.proxy_protocol,
            default,
            index: ServerIndex::new(servers, &f.members, default),
        })
    };
    let sites: Vec<_> = found.iter().map(|(e, f)| (e.clone(), site(f))).collect();
    let covered = |endpoint: &Endpoint| {
        wildcard_of(endpoint).is_some_and(|wildcard| wildcard != *endpoint && found.contains_key(&wildcard))
    };
    found
        .iter()
        .filter(|(endpoint, _)| !covered(endpoint))
        .map(|(endpoint, f)| {
            let here = |e: &Endpoint| e == endpoint || wildcard_of(e).as_ref() == Some(endpoint);
            Arc::new(Binding {
                endpoint: endpoint.clone(),
                options: f.options,
                keepalive: f.keepalive,
                admin: None,
                sites: sites.iter().filter(|(e, _)| here(e)).cloned().collect(),
            })
        })
        .collect()
}

/// `0.0.0.0` or `[::]` with the same port; port 0 asks for a port of its own each time.
pub(super) fn wildcard_of(endpoint: &Endpoint) -> Option<Endpoint> {
    let Endpoint::Tcp(address) = endpoint else { return None };
    let any = if address.is_ipv4() { IpAddr::from([0; 4]) } else { IpAddr::from([0; 16]) };
    (address.port() != 0).then(|| Endpoint::Tcp(SocketAddr::new(any, address.port())))
}

/// All addresses of an address; a name may have several.
///
/// `default_port` stands in for a port that was not written; of a `listen`, 0 asks the kernel for any.
pub(super) fn resolve(
    address: &Address,
    span: Span,
    default_port: Option<u16>,
    faults: &mut Vec<Diagnostic>,
) -> Vec<Endpoint> {
    let port_or_default = |port: u16| default_port.filter(|_| port == 0).unwrap_or(port);
    match address {
        Address::Unix(path) => vec![Endpoint::Unix(path.clone())],
        Address::Ip(ip, port) => vec![Endpoint::Tcp(SocketAddr::new(*ip, port_or_default(*port)))],
        Address::Name(name, port) => match (name.as_str(), port_or_default(*port)).to_socket_addrs() {
            Ok(found) => {
                let mut all: Vec<_> = found.map(Endpoint::Tcp).collect();
                all.sort();
                all.dedup();
                all
            }
            Err(error) => {
                let help = vec!["names are looked up once, at the start: is it spelt right, and does this machine know it?".into()];
                faults.push(fault(
                    Severity::Error,
                    span,
                    format!("host not found: \"{name}\" ({error})"),
                    help,
                ));
                Vec::new()
            }
        },
    }
}
