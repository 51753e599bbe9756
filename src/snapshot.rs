//! A configuration at work: model -> sockets to bind, certificates, groups, logs. All or nothing, and immutable.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use longwire_conf::model::{
    self, Address, Config, Content, HealthCheck, Level, Location, ProxyPass, ProxySsl, ProxyTarget, Rule,
    Server, ServerName, Settings, Spanned, Upstream, UpstreamServer,
};
use longwire_conf::{Diagnostic, Severity, Sources, Span};

use crate::clock::{micros, unix_us};
use crate::guard::{RateZone, SlotZone};
use crate::log::{Context, Logs, utc_offset};
use crate::net::{Endpoint, Version};
use crate::route::facts::Facts;
use crate::route::variables::{Machine, Maps, Scope};
use crate::tls::{self, Connector, Offer};
use crate::trace::{Exporter, Exporters};
use crate::upstream::balance::Params;
use crate::upstream::{Check, Group, Keepalive, Ledger, Lookup, Place, Resolver, Security, Setup, Source};

mod admin;
mod bind;
mod carry;

pub use admin::Admin;
pub use bind::{Binding, Site};
use bind::{bindings, resolve, wildcard_of};

/// Everything that serving needs.
pub struct Snapshot {
    /// The model.
    pub config: Config,
    /// The texts that it was read from; what builds a configuration without files has none.
    pub sources: Sources,
    /// Sockets to listen on.
    pub bindings: Vec<Arc<Binding>>,
    /// Groups of backends, by the index that the model uses.
    pub groups: Vec<Arc<Group>>,
    /// The logs.
    pub logs: Arc<Logs>,
    /// What each server offers over TLS; `None` where it does not listen with `ssl`.
    pub offers: Vec<Option<Offer>>,
    /// What `limit_req` remembers, by the index that the model uses.
    pub rate_zones: Vec<Arc<RateZone>>,
    /// What `limit_conn` counts, by the index that the model uses.
    pub slot_zones: Vec<Arc<SlotZone>>,
    maps: Maps,
    machine: Machine,
    connectors: HashMap<usize, Connector>,
    certificates: tls::Loaded,
    ticket_keys: tls::tickets::Known,
    resolvers: Resolvers,
    /// What servers have to do, in all configurations.
    pub ledger: Arc<Ledger>,
    /// Where spans go.
    pub exporter: Option<Exporter>,
    /// Those of all configurations.
    pub exporters: Exporters,
}

impl Snapshot {
    /// Builds everything but the sockets, or says all that is in the way. Warnings go to `warnings`. What lasts is
    /// shared with `previous`, the configuration in force, on which nothing changes before [`Snapshot::start`].
    pub fn build(
        config: Config,
        logs: Logs,
        previous: Option<&Snapshot>,
        warnings: &mut Vec<Diagnostic>,
    ) -> Result<Snapshot, Vec<Diagnostic>> {
        let mut faults = Vec::new();
        let bindings = bindings(&config, &mut faults, warnings);
        let ledger = previous.map(|p| p.ledger.clone()).unwrap_or_default();
        let mut resolvers = Resolvers::after(previous);
        let mandatory = mandatory(&config);
        let mut new_group = |(index, upstream)| {
            let unproven = mandatory.contains(&index);
            Arc::new(group(upstream, unproven, &ledger, &mut resolvers, &mut faults))
        };
        let groups = config.upstreams.iter().enumerate().map(&mut new_group).collect();
        let mut certificates = tls::Loaded::default();
        let mut load =
            |chain: &Path, key: &Path| certificates.load(chain, key, previous.map(|p| &p.certificates));
        let mut ticket_keys = tls::tickets::Known::default();
        let mut offer = |server| {
            let keys = carry::ticket_keys(server, &config.servers);
            let resumption = ticket_keys
                .keys(keys, previous.map(|p| &p.ticket_keys))
                .map(|keys| tls::Resumption { keys, previous: carry::offer(server, previous) });
            server_offer(server, resumption, &mut load, &mut faults, warnings)
        };
        let offers = config.servers.iter().map(&mut offer).collect();
        let mut connectors = HashMap::new();
        for server in &config.servers {
            walk(&server.locations, &mut |location| {
                connect(location, &mut connectors, previous, &mut faults);
                if let Some(resolver) = &location.settings.resolver {
                    resolvers.of(resolver, &mut faults);
                }
            });
        }
        let exporter = Exporter::new(&config.otel).unwrap_or_else(|(span, message)| {
            faults.push(fault(Severity::Error, span, message, Vec::new()));
            None
        });
        if faults.is_empty() {
            let maps = Maps::new(&config.maps).with(&config.geos, &config.splits);
            let logs = Arc::new(logs);
            let rate_zones = carry::rate_zones(&config, previous, warnings);
            let slot_zones = carry::slot_zones(&config, previous, warnings);
            Ok(Snapshot {
                config,
                sources: Sources::default(),
                bindings,
                groups,
                logs,
                offers,
                rate_zones,
                slot_zones,
                maps,
                machine: machine(),
                connectors,
                certificates,
                ticket_keys,
                resolvers,
                ledger,
                exporter,
                exporters: previous.map(|p| p.exporters.clone()).unwrap_or_default(),
            })
        } else {
            Err(faults)
        }
    }

    /// The same, with the texts that it was read from.
    pub fn with_sources(self, sources: Sources) -> Snapshot {
        Snapshot { sources, ..self }
    }

    /// What a socket that is bound to this address leads to: its own binding, or that of the wildcard of its port.
    pub fn binding(&self, endpoint: &Endpoint) -> Option<&Arc<Binding>> {
        let of = |endpoint: &Endpoint| self.bindings.iter().find(|binding| binding.endpoint == *endpoint);
        of(endpoint).or_else(|| of(&wildcard_of(endpoint)?))
    }

    /// Whether the certificates of clients mean what they meant before: what was found of one in its handshake holds as
    /// long as its connection.
    pub fn judges_as(&self, before: &Snapshot) -> bool {
        fn asking(snapshot: &Snapshot) -> Vec<(Cow<'_, str>, &Offer)> {
            let offers = snapshot.offers.iter().enumerate();
            let asks = |offer: &&Offer| offer.asks();
            offers
                .filter_map(|(i, offer)| Some((snapshot.server_name(i), offer.as_ref().filter(asks)?)))
                .collect()
        }
        let (now, then) = (asking(self), asking(before));
        let same = |((name, offer), (other, previous)): (&(_, &Offer), &(_, &Offer))| {
            name == other && offer.judges_as(previous)
        };
        now.len() == then.len() && now.iter().zip(&then).all(same)
    }

    /// TLS towards the backends of a location.
    pub fn connector(&self, settings: &Arc<ProxySsl>) -> Option<&Connector> {
        self.connectors.get(&identity(settings))
    }

    /// Who looks names up for a location; `None`: the system does.
    pub fn resolver(&self, settings: &Settings) -> Option<&Arc<Resolver>> {
        self.resolvers.all.get(&(Arc::as_ptr(settings.resolver.as_ref()?) as usize))
    }

    /// Takes over from the configuration in force, and begins what goes on beside requests. It ends when another
    /// takes over. This cannot fail, and belongs right before requests are served by this configuration.
    pub fn start(&self, previous: Option<&Snapshot>) {
        let mut checks: HashMap<usize, Vec<Check>> = HashMap::new();
        for server in &self.config.servers {
            walk(&server.locations, &mut |location| {
                if let Some((group, check)) = self.check(location) {
                    checks.entry(group).or_default().push(check);
                }
            });
        }
        let mut before = carry::groups(previous);
        for (index, group) in self.groups.iter().enumerate() {
            let name = self.config.upstreams.get(index).map(|upstream| (upstream.implicit, &*upstream.name));
            let known = name.and_then(|name| before.remove(&name));
            group.start(checks.remove(&index).unwrap_or_default(), known.map(|group| &**group), &self.logs);
        }
        before.into_values().for_each(|group| group.retire());
        if let Some(exporter) = &self.exporter {
            exporter.start(self.logs.clone(), &self.exporters);
        }
    }

    /// The health check of a location, and the group that it is of.
    fn check(&self, location: &Location) -> Option<(usize, Check)> {
        let (rules, upstream) = checked(location)?;
        let Content::Proxy(ProxyPass { https, target: ProxyTarget::Group { host, .. }, .. }) =
            &location.content
        else {
            return None;
        };
        let settings = &location.settings;
        let name = settings.proxy_ssl.name.as_ref().and_then(|name| name.as_literal()).unwrap_or(host);
        let security =
            |connector: &Connector| Security { connector: connector.clone(), name: name.to_owned() };
        let check = Check {
            rules: rules.clone(),
            host: host.clone(),
            security: self.connector(&settings.proxy_ssl).filter(|_| *https).map(security),
            announce: settings.proxy_protocol.map(Version::from),
            connect_timeout: settings.proxy_connect_timeout,
            read_timeout: settings.proxy_read_timeout,
        };
        Some((upstream, check))
    }

    /// What templates are rendered with.
    pub fn scope<'a>(&'a self, facts: &'a Facts) -> Scope<'a> {
        Scope { facts, maps: &self.maps, machine: &self.machine }
    }

    /// First name of a server as it was written; empty when it has none.
    pub fn server_name(&self, server: usize) -> Cow<'_, str> {
        self.config.servers.get(server).and_then(|s| s.names.first()).map_or(Cow::Borrowed(""), as_written)
    }

    /// The `upstream` block of a name.
    pub fn group_by_name(&self, name: &str) -> Option<Arc<Group>> {
        let index =
            self.config.upstreams.iter().position(|u| !u.implicit && u.name.eq_ignore_ascii_case(name))?;
        self.groups.get(index).cloned()
    }

    /// Writes a line about a request to the error logs in force.
    pub fn log_request(
        &self,
        settings: &Settings,
        level: Level,
        facts: &Facts,
        message: std::fmt::Arguments<'_>,
    ) {
        self.logs.error(&settings.error_log, level, &Context::request(facts), message);
    }
}

fn as_written(name: &ServerName) -> Cow<'_, str> {
    match name {
        ServerName::Exact(name) => Cow::Borrowed(name),
        ServerName::Suffix(name) => Cow::Owned(format!("*{name}")),
        ServerName::Prefix(name) => Cow::Owned(format!("{name}*")),
        ServerName::Regex(regex) => Cow::Owned(format!("~{}", regex.as_str())),
    }
}

fn machine() -> Machine {
    let hostname = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    Machine {
        hostname: hostname.unwrap_or_default().to_ascii_lowercase(),
        pid: std::process::id(),
        utc_offset: utc_offset(unix_us() / 1_000_000),
    }
}

/// Settings are compared by where they live: the model outlives every use of the number.
fn identity(settings: &Arc<ProxySsl>) -> usize {
    Arc::as_ptr(settings) as usize
}

fn fault(severity: Severity, span: Span, message: String, help: Vec<String>) -> Diagnostic {
    Diagnostic { severity, span: Some(span), message, label: None, help }
}

/// The rules of a location's health check, and the index of the group that it is of.
fn checked(location: &Location) -> Option<(&HealthCheck, usize)> {
    let rules = location.health_check.as_deref()?;
    match &location.content {
        Content::Proxy(ProxyPass { target: ProxyTarget::Group { upstream, .. }, .. }) => {
            Some((rules, *upstream))
        }
        _ => None,
    }
}

/// Groups whose servers have to pass a check before they serve.
fn mandatory(config: &Config) -> HashSet<usize> {
    let mut found = HashSet::new();
    for server in &config.servers {
        walk(&server.locations, &mut |location| {
            found
                .extend(checked(location).filter(|(rules, _)| rules.mandatory).map(|(_, upstream)| upstream));
        });
    }
    found
}

/// Who looks names up.
#[derive(Default)]
struct Resolvers {
    /// By where the `resolver` lives in the model.
    all: HashMap<usize, Arc<Resolver>>,
    /// Those of the configuration before, with what they remember.
    before: Vec<Arc<Resolver>>,
}

impl Resolvers {
    fn after(previous: Option<&Snapshot>) -> Resolvers {
        let before = previous.iter().flat_map(|p| p.resolvers.all.values().cloned()).collect();
        Resolvers { all: HashMap::new(), before }
    }

    fn of(&mut self, model: &Arc<model::Resolver>, faults: &mut Vec<Diagnostic>) -> Arc<Resolver> {
        let made = self.all.entry(Arc::as_ptr(model) as usize);
        let new = || {
            let servers = model.servers.iter().flat_map(|server| {
                resolve(&server.value, server.span, Some(53), faults).into_iter().filter_map(|endpoint| {
                    match endpoint {
                        Endpoint::Tcp(address) => Some(address),
                        Endpoint::Unix(_) => None,
                    }
                })
            });
            let new = Resolver::new(servers.collect(), model.valid, model.ipv4, model.ipv6);
            let known = self.before.iter().find(|known| known.is_like(&new)).cloned();
            known.unwrap_or_else(|| Arc::new(new))
        };
        made.or_insert_with(new).clone()
    }
}

fn group(
    upstream: &Upstream,
    mandatory: bool,
    ledger: &Arc<Ledger>,
    resolvers: &mut Resolvers,
    faults: &mut Vec<Diagnostic>,
) -> Group {
    let source = |server: &UpstreamServer| {
        let lookup = match (&server.address.value, &upstream.resolver) {
            (Address::Name(host, port), Some(resolver)) if server.resolve => Some(Lookup {
                host: host.clone(),
                port: if *port == 0 { 80 } else { *port },
                service: server.service.clone(),
                resolver: resolvers.of(resolver, faults),
                timeout: upstream.resolver_timeout,
            }),
            _ => None,
        };
        // What is looked up again and again need not be there at the start.
        let endpoints = match lookup {
            Some(_) => Vec::new(),
            None => resolve(&server.address.value, server.address.span, Some(80), faults),
        };
        Source {
            text: server.text.clone(),
            route: server.route.clone(),
            params: Params {
                weight: server.weight,
                max_conns: server.max_conns,
                max_fails: server.max_fails,
                fail_timeout_us: micros(server.fail_timeout),
                slow_start_us: micros(server.slow_start),
                backup: server.backup,
                down: server.down,
                drain: server.drain,
                mandatory,
            },
            places: endpoints.into_iter().map(Place::from).collect(),
            lookup,
        }
    };
    let setup = Setup {
        name: upstream.name.clone(),
        sources: upstream.servers.iter().map(source).collect(),
        balance: upstream.balance.clone(),
        sticky: upstream.sticky.clone(),
        keepalive: Keepalive {
            most: upstream.keepalive,
            timeout_us: micros(upstream.keepalive_timeout),
            requests: upstream.keepalive_requests,
        },
    };
    Group::new(setup, ledger)
}

/// What a server offers over TLS, with a certificate made in memory where the configuration names none.
fn server_offer(
    server: &Server,
    resumption: Result<tls::Resumption<'_>, (Span, String)>,
    load: &mut impl FnMut(&Path, &Path) -> Result<tls::Found, tls::CertificateError>,
    faults: &mut Vec<Diagnostic>,
    warnings: &mut Vec<Diagnostic>,
) -> Option<Offer> {
    let listen: &Spanned<_> = server.listens.iter().find(|listen| listen.value.ssl)?;
    let mut certificates = Vec::new();
    for pair in &server.tls.certificates {
        match load(&pair.chain.value, &pair.key.value) {
            Ok((certificate, warning)) => {
                certificates.push(certificate);
                let warning = warning.map(|words| fault(Severity::Warning, pair.key.span, words, Vec::new()));
                warnings.extend(warning);
            }
            Err(error) => {
                let span = if error.in_key { pair.key.span } else { pair.chain.span };
                faults.push(fault(Severity::Error, span, error.to_string(), Vec::new()));
            }
        }
    }
    let general = |reason: String| fault(Severity::Error, server.span, format!("TLS: {reason}"), Vec::new());
    if server.tls.reject_handshake {
        return tls::rejecting_offer().map_err(|reason| faults.push(general(reason))).ok();
    }
    if server.tls.certificates.is_empty() {
        let names = dns_names(server);
        certificates.push(tls::self_signed(&names).map_err(|reason| faults.push(general(reason))).ok()?);
        let name = names.first().cloned().unwrap_or_else(|| "localhost".into());
        warnings.push(fault(
            Severity::Warning,
            listen.span,
            "no \"ssl_certificate\" is defined for the \"listen ... ssl\" directive: a self-signed certificate is made at each start and reload"
                .into(),
            vec![
                "browsers will warn; for real use name the files that your certificate authority gave you:".into(),
                format!("ssl_certificate     /etc/ssl/{name}.pem;"),
                format!("ssl_certificate_key /etc/ssl/{name}.key;"),
            ],
        ));
    }
    if certificates.is_empty() {
        return None;
    }
    let asking = match tls::asking(&server.tls) {
        Ok(asking) => asking,
        Err((span, message)) => {
            faults.push(fault(Severity::Error, span, message, Vec::new()));
            return None;
        }
    };
    let resumption = match resumption {
        Ok(resumption) => resumption,
        Err((span, message)) => {
            faults.push(fault(Severity::Error, span, message, Vec::new()));
            return None;
        }
    };
    tls::offer(&server.tls, certificates, asking, resumption)
        .map_err(|reason| faults.push(general(reason)))
        .ok()
}

fn dns_names(server: &Server) -> Vec<String> {
    let name = |name: &ServerName| match name {
        ServerName::Exact(name) if !name.is_empty() && name != "_" => Some(name.clone()),
        ServerName::Suffix(suffix) => Some(format!("*{suffix}")),
        _ => None,
    };
    server.names.iter().filter_map(name).collect()
}

fn connect(
    location: &Location,
    connectors: &mut HashMap<usize, Connector>,
    previous: Option<&Snapshot>,
    faults: &mut Vec<Diagnostic>,
) {
    let Content::Proxy(proxy) = &location.content else { return };
    let variable = matches!(proxy.target, ProxyTarget::Variable(_));
    let settings = &location.settings.proxy_ssl;
    if (!proxy.https && !variable) || connectors.contains_key(&identity(settings)) {
        return;
    }
    match tls::connector(settings) {
        Ok(connector) => {
            // One that has sessions to resume.
            let same = |known: &&Connector| known.fingerprint() == connector.fingerprint();
            let known = previous.and_then(|p| p.connectors.values().find(same)).cloned();
            let connector = known.unwrap_or(connector);
            connectors.insert(identity(settings), connector);
        }
        Err(error) => faults.push(fault(Severity::Error, proxy.span, error.to_string(), Vec::new())),
    }
}

fn walk(locations: &[Location], visit: &mut impl FnMut(&Location)) {
    for location in locations {
        visit(location);
        location.limit_except.iter().for_each(|block| visit(&block.location));
        let implied = location.rules.iter().filter_map(|rule| match rule {
            Rule::If(block) => block.location.as_ref(),
            _ => None,
        });
        implied.for_each(&mut *visit);
        walk(&location.locations, visit);
    }
}
