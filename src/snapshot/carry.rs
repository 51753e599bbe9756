//! What a configuration takes over from the one before: zones of limits, sessions of TLS, and which group is which.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use longwire_conf::model::{Config, ConnZone, Listen, ReqZone, Server, Spanned};
use longwire_conf::template::{Part, Template, Variable};
use longwire_conf::{Diagnostic, Severity};

use super::Snapshot;
use crate::guard::{RateZone, SlotZone};
use crate::tls::Offer;
use crate::upstream::Group;

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
mod tests;

/// The groups of a configuration by their names; those made for an address in `proxy_pass` have names of their own.
pub(super) fn groups(snapshot: Option<&Snapshot>) -> HashMap<(bool, &str), &Arc<Group>> {
    let all = snapshot.iter().flat_map(|s| s.config.upstreams.iter().zip(&s.groups));
    all.map(|(upstream, group)| ((upstream.implicit, &*upstream.name), group)).collect()
}

/// The zones of `limit_req`: what was counted goes on, also by another rate.
pub(super) fn rate_zones(
    config: &Config,
    previous: Option<&Snapshot>,
    warnings: &mut Vec<Diagnostic>,
) -> Vec<Arc<RateZone>> {
    let make = |zone: &ReqZone| {
        let known = previous.and_then(|p| {
            let at = p.config.req_zones.iter().position(|known| known.name == zone.name)?;
            Some((p, p.config.req_zones.get(at)?, p.rate_zones.get(at)?))
        });
        let Some((p, known, counted)) = known else { return RateZone::new(zone) };
        let same_key = same_key((&zone.key, config), (&known.key, &p.config));
        match changed(same_key, zone.size == known.size) {
            None => counted.with(zone),
            Some(what) => {
                warnings.push(begun_anew("limit_req_zone", &zone.name, what));
                RateZone::new(zone)
            }
        }
    };
    config.req_zones.iter().map(make).map(Arc::new).collect()
}

/// The zones of `limit_conn`: tunnels that are open stay counted.
pub(super) fn slot_zones(
    config: &Config,
    previous: Option<&Snapshot>,
    warnings: &mut Vec<Diagnostic>,
) -> Vec<Arc<SlotZone>> {
    let make = |zone: &ConnZone| {
        let known = previous.and_then(|p| {
            let at = p.config.conn_zones.iter().position(|known| known.name == zone.name)?;
            Some((p, p.config.conn_zones.get(at)?, p.slot_zones.get(at)?))
        });
        let Some((p, known, counted)) = known else { return Arc::new(SlotZone::new(zone)) };
        let same_key = same_key((&zone.key, config), (&known.key, &p.config));
        match changed(same_key, zone.size == known.size) {
            None => counted.clone(),
            Some(what) => {
                warnings.push(begun_anew("limit_conn_zone", &zone.name, what));
                Arc::new(SlotZone::new(zone))
            }
        }
    };
    config.conn_zones.iter().map(make).collect()
}

/// The files of a server's ticket keys. As in nginx, those of the default server of an address hold for all there.
pub(super) fn ticket_keys<'a>(server: &'a Server, all: &'a [Server]) -> &'a [Spanned<PathBuf>] {
    let of_default = server.listens.iter().filter(|listen| listen.value.ssl).map(|listen| {
        let here = |other: &&Listen| other.address == listen.value.address;
        let listens = |chosen: fn(&Listen) -> bool| {
            all.iter().find(|s| s.listens.iter().map(|l| &l.value).filter(here).any(chosen))
        };
        let default = listens(|listen| listen.default_server).or_else(|| listens(|_| true));
        default.map_or(&[][..], |default| &default.tls.ticket_keys)
    });
    of_default.into_iter().find(|keys| !keys.is_empty()).unwrap_or(&server.tls.ticket_keys)
}

/// What the same server offered in the configuration before; the same is one of these names at these addresses.
pub(super) fn offer<'a>(server: &Server, previous: Option<&'a Snapshot>) -> Option<&'a Offer> {
    let previous = previous?;
    let who = |server: &Server| -> (Vec<_>, Vec<String>) {
        let addresses = server.listens.iter().map(|listen| listen.value.address.clone());
        (addresses.collect(), server.names.iter().map(|name| super::as_written(name).into_owned()).collect())
    };
    let at = previous.config.servers.iter().position(|known| who(known) == who(server))?;
    previous.offers.get(at)?.as_ref()
}

fn changed(same_key: bool, same_size: bool) -> Option<&'static str> {
    match (same_key, same_size) {
        (true, true) => None,
        (false, _) => Some("key"),
        (_, false) => Some("size"),
    }
}

fn begun_anew(directive: &str, name: &str, what: &str) -> Diagnostic {
    Diagnostic {
        severity: Severity::Warning,
        span: None,
        message: format!("the zone \"{name}\" of {directive} begins anew, because its {what} is another"),
        label: None,
        help: vec!["requests and tunnels that are open already do not count in it; give it another name to say that this is meant".into()],
    }
}

/// Whether two keys of two configurations mean the same; a map is known by its name.
fn same_key(one: (&Template, &Config), other: (&Template, &Config)) -> bool {
    let map = |index: usize, config: &Config| config.maps.get(index).map(|map| map.variable.clone());
    let same = |(a, b): (&Part, &Part)| match (a, b) {
        (Part::Variable(Variable::Map(a)), Part::Variable(Variable::Map(b))) => {
            map(*a, one.1) == map(*b, other.1)
        }
        (a, b) => a == b,
    };
    one.0.parts.len() == other.0.parts.len() && one.0.parts.iter().zip(&other.0.parts).all(same)
}
