//! `/api/upstreams`: groups of backends, and draining one of their servers.

use std::sync::Arc;

use http::StatusCode;
use longwire_conf::model::{Balance, Level};
use serde::Serialize;
use serde_json::{Value, json};

use super::answer::{self, Answer};
use super::ask::Ask;
use crate::http::Service;
use crate::parting;
use crate::snapshot::Snapshot;
use crate::upstream::{Group, Look};

#[derive(Serialize)]
struct Shown<'a> {
    group: &'a str,
    /// It is no block but the fixed address of a `proxy_pass`.
    implicit: bool,
    balance: &'static str,
    servers: Vec<Server>,
}

#[derive(Serialize)]
struct Server {
    server: String,
    written: String,
    state: &'static str,
    why: Option<&'static str>,
    backup: bool,
    weight: u32,
    max_conns: u32,
    /// Open tunnels.
    tunnels: usize,
    /// These and requests in work.
    active: usize,
    /// Connections that wait for a request.
    idle: usize,
}

/// How a server stands, and why where it does not serve.
fn standing(look: &Look) -> (&'static str, Option<&'static str>) {
    let params = &look.params;
    match (params.down, params.drain, look.is_up) {
        (true, ..) => ("down", Some("marked \"down\"")),
        (_, true, _) => ("draining", Some("told to drain: no new tunnels, and those that are open go")),
        (.., false) => ("out", Some("left out for failures, or until its health checks pass")),
        _ => ("up", None),
    }
}

/// How many tunnels are open to each server, by group and address.
type Open = std::collections::HashMap<(String, String), usize>;

async fn open(service: &Service) -> Open {
    let step = |open: &mut Vec<(Arc<crate::tunnel::Place>, usize)>, row: crate::tunnel::Row| {
        // Few ways, and many tunnels on each.
        match open.iter_mut().find(|(place, _)| Arc::ptr_eq(place, &row.about.place)) {
            Some((_, count)) => *count += 1,
            None => open.push((row.about.place, 1)),
        }
    };
    let mut all = Open::new();
    for (place, count) in service.tunnels.fold(Vec::new, step).await.concat() {
        *all.entry((place.group.clone(), place.backend.clone())).or_default() += count;
    }
    all
}

/// `GET /api/upstreams`.
pub(super) async fn list(ask: Ask) -> Answer {
    answer::json(&all(&ask.service).await)
}

/// All groups, with how many tunnels are open to each of their servers.
pub(super) async fn all(service: &Service) -> Value {
    let open = open(service).await;
    let snapshot = &service.snapshot;
    let groups = snapshot.groups.iter().enumerate();
    groups.map(|(index, group)| json!(shown(snapshot, index, group, &open))).collect()
}

fn shown<'a>(snapshot: &Snapshot, index: usize, group: &'a Group, open: &Open) -> Shown<'a> {
    let server = |look: Look| {
        let server = look.server.endpoint.to_string();
        let (state, why) = standing(&look);
        Server {
            tunnels: open.get(&(group.name.clone(), server.clone())).copied().unwrap_or_default(),
            server,
            state,
            why,
            written: look.text.to_string(),
            backup: look.params.backup,
            weight: look.params.weight,
            max_conns: look.params.max_conns,
            active: look.active,
            idle: look.idle,
        }
    };
    Shown {
        group: &group.name,
        implicit: snapshot.config.upstreams.get(index).is_some_and(|upstream| upstream.implicit),
        balance: match group.balance {
            Balance::RoundRobin => "round_robin",
            Balance::LeastConn => "least_conn",
            Balance::Random { .. } => "random",
            Balance::Hash { .. } => "hash",
            Balance::IpHash => "ip_hash",
        },
        servers: group.look().into_iter().map(server).collect(),
    }
}

/// `POST /api/upstreams/{group}/{server}/drain`: as `drain` in the file, until the next reload.
pub(super) async fn drain(ask: Ask) -> Answer {
    tell(ask, true).await
}

/// `POST /api/upstreams/{group}/{server}/return`: it serves again, and who has not gone yet stays.
pub(super) async fn take_back(ask: Ask) -> Answer {
    tell(ask, false).await
}

async fn tell(ask: Ask, drain: bool) -> Answer {
    let [group, server] = &ask.parts[..] else {
        return answer::error(StatusCode::BAD_REQUEST, "no group and server");
    };
    let snapshot = ask.service.snapshot.clone();
    // Several groups may have the name, as places that share an address do.
    let told = snapshot.groups.iter().filter(|known| known.name == *group);
    if told.filter(|known| known.tell_to_drain(server, drain)).count() == 0 {
        return answer::error(
            StatusCode::NOT_FOUND,
            format_args!("no server {server} is in a group {group}: GET /api/upstreams has their names"),
        );
    }
    let tunnels = ask.service.tunnels.clone();
    // It is done, whether or not whoever asked waits for the answer.
    let leaving = tokio::spawn(async move { tunnels.drain(parting::leavers(&snapshot)).await });
    let leaving = leaving.await.unwrap_or_default();
    let state = if drain { "draining" } else { "up" };
    let does = if drain { "drains" } else { "serves again" };
    ask.note(
        Level::Notice,
        &format!("{server} of \"{group}\" {does}, tunnels that are told to go: {leaving}"),
    );
    answer::json(&json!({ "group": group, "server": server, "state": state, "leaving": leaving }))
}
