//! What goes on beside requests: names of a group's servers are looked up again when their time is over.

use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use longwire_conf::model::Level;

use super::names::{Answer, NameFault, Resolver};
use super::{Group, Place};
use crate::clock;
use crate::log::{Context, Logs};
use crate::net::Endpoint;

/// The shortest time between two look-ups of a name.
const LEAST: Duration = Duration::from_secs(1);

/// A name whose servers come and go.
#[derive(Debug, Clone)]
pub struct Lookup {
    /// The name.
    pub host: String,
    /// The port of its servers, where no record says it.
    pub port: u16,
    /// `service=`.
    pub service: Option<String>,
    /// Who is asked.
    pub resolver: Arc<Resolver>,
    /// How long that may take.
    pub timeout: Duration,
}

impl Lookup {
    /// Looks it up once.
    pub async fn places(&self) -> Result<Answer<Place>, NameFault> {
        let Some(service) = &self.service else {
            let answer = self.resolver.addresses(&self.host, self.timeout).await?;
            let place = |ip| Place::from(Endpoint::Tcp(SocketAddr::new(ip, self.port)));
            return Ok(Answer {
                found: answer.found.into_iter().map(place).collect(),
                until_us: answer.until_us,
            });
        };
        // As in nginx: "http" is "_http._tcp", what has a dot in it stands as it is.
        let name = match service.contains('.') {
            true => format!("{service}.{}", self.host),
            false => format!("_{}._tcp.{}", service.trim_start_matches('_'), self.host),
        };
        let services = self.resolver.services(&name, self.timeout).await?;
        let first = services.found.first().map_or(0, |service| service.priority);
        let (mut found, mut until_us) = (Vec::new(), services.until_us);
        let mut fault = NameFault::NotFound(LEAST);
        for service in services.found {
            match self.resolver.addresses(&service.target, self.timeout).await {
                Ok(answer) => {
                    until_us = until_us.min(answer.until_us);
                    found.extend(answer.found.into_iter().map(|ip| Place {
                        endpoint: Endpoint::Tcp(SocketAddr::new(ip, service.port)),
                        weight: u32::from(service.weight.max(1)),
                        backup: service.priority > first,
                    }));
                }
                Err(other) => fault = other,
            }
        }
        if found.is_empty() { Err(fault) } else { Ok(Answer { found, until_us }) }
    }
}

impl Lookup {
    /// Whether another one looks the same up.
    pub(super) fn is_like(&self, other: &Lookup) -> bool {
        (&self.host, self.port, &self.service) == (&other.host, other.port, &other.service)
    }
}

/// Keeps the servers of a source where their name says, as long as the group is there. `first`: nothing is known of it
/// yet.
pub(super) async fn follow(group: Weak<Group>, source: usize, lookup: Lookup, mut first: bool, logs: Logs) {
    let say = |level, message: std::fmt::Arguments<'_>| logs.error(&[], level, &Context::default(), message);
    loop {
        let outcome = lookup.places().await;
        let Some(group) = group.upgrade() else { return };
        let (name, host) = (&group.name, &lookup.host);
        let again = match outcome {
            Ok(answer) => {
                let places: Vec<String> =
                    answer.found.iter().map(|place| place.endpoint.to_string()).collect();
                if group.place(source, answer.found) {
                    let places = places.join(", ");
                    say(
                        Level::Notice,
                        format_args!("servers of {host} in upstream \"{name}\" are now: {places}"),
                    );
                }
                Duration::from_micros(answer.until_us.saturating_sub(clock::now_us()))
            }
            Err(fault) => {
                say(
                    Level::Error,
                    format_args!("{host} in upstream \"{name}\" could not be resolved ({fault})"),
                );
                match fault {
                    NameFault::NotFound(time) => {
                        if group.place(source, Vec::new()) {
                            say(
                                Level::Warn,
                                format_args!("{host} in upstream \"{name}\" has no servers any more"),
                            );
                        }
                        time
                    }
                    // What was known is better than nothing.
                    NameFault::TimedOut | NameFault::Failed(_) => lookup.timeout.min(Duration::from_secs(10)),
                }
            }
        };
        if std::mem::take(&mut first) {
            group.names_came();
        }
        if group.is_retired() {
            return;
        }
        drop(group);
        tokio::time::sleep(again.max(LEAST)).await;
    }
}
