//! How often and how many at once: `limit_req` and `limit_conn`, before it is asked who comes.

use std::time::Duration;

use longwire_conf::model::Level;
use longwire_conf::template::Template;

use super::exchange::Exchange;
use crate::clock;
use crate::guard::{Denied, Verdict, judge};
use crate::metrics::{COUNTS, HandshakeFault, Limit};
use crate::route::facts::Limited;

/// The longest key that counts with `limit_req`; a longer one is not counted, as in nginx.
const MAX_RATE_KEY: usize = 65_535;
/// The same with `limit_conn`.
const MAX_SLOT_KEY: usize = 255;

/// Asks the limits that are set here, each kind once for a request, and waits where they say so. The error is the
/// status of a request that is refused.
pub(super) async fn check(x: &mut Exchange) -> Result<(), u16> {
    if x.facts.outcome.limit_req.is_none() && !x.settings.guard.limit_req.is_empty() {
        rate(x).await?;
    }
    if x.facts.outcome.limit_conn.is_none() && !x.settings.guard.limit_conn.is_empty() {
        slots(x)?;
    }
    Ok(())
}

async fn rate(x: &mut Exchange) -> Result<(), u16> {
    let (snapshot, guard) = (x.service.snapshot.clone(), x.settings.guard.clone());
    let zones = &snapshot.config.req_zones;
    let key = |zone: usize| zones.get(zone).map_or(Vec::new(), |zone| key(x, &zone.key, MAX_RATE_KEY));
    let verdict = judge(&snapshot.rate_zones, &guard.limit_req, key, clock::now_us() / 1000);
    let dry = guard.limit_req_dry_run;
    let told = |excess: u64, comma: &str, limit: usize| {
        let Some(limit) = guard.limit_req.get(limit) else { return String::new() };
        let zone = zones.get(limit.zone).map_or("", |zone| &zone.name);
        let dry = if dry { ", dry run" } else { "" };
        format!(
            "{dry}, excess: {}.{:03}{comma} by zone \"{zone}\" (limit_req in {})",
            excess / 1000,
            excess % 1000,
            limit.at
        )
    };
    let made = match verdict {
        Verdict::Uncounted => return Ok(()),
        Verdict::Pass => Limited::Passed,
        Verdict::Wait { ms, excess, limit } => {
            x.log(
                less_severe(guard.limit_req_log_level),
                format_args!("delaying request{}", told(excess, ",", limit)),
            );
            if !dry {
                x.facts.outcome.limit_req = Some(Limited::Delayed);
                // Dropped with the rest of the request when the client leaves.
                tokio::time::sleep(Duration::from_millis(ms)).await;
                return Ok(());
            }
            Limited::DelayedDryRun
        }
        Verdict::Refuse { .. } | Verdict::NoRoom { .. } => {
            let told = match verdict {
                Verdict::Refuse { excess, limit } => told(excess, "", limit),
                _ => ": their key does not fit into the zone of limit_req".to_owned(),
            };
            refuse(x, dry, guard.limit_req_log_level, format_args!("limiting requests{told}"));
            if dry { Limited::RejectedDryRun } else { Limited::Rejected }
        }
    };
    x.facts.outcome.limit_req = Some(made);
    if made == Limited::Rejected {
        COUNTS.hit(Limit::LimitReq);
    }
    if made == Limited::Rejected { Err(guard.limit_req_status) } else { Ok(()) }
}

fn slots(x: &mut Exchange) -> Result<(), u16> {
    let (snapshot, guard) = (x.service.snapshot.clone(), x.settings.guard.clone());
    for limit in guard.limit_conn.iter() {
        let (Some(zone), Some(slots)) =
            (snapshot.config.conn_zones.get(limit.zone), snapshot.slot_zones.get(limit.zone))
        else {
            continue;
        };
        let key = key(x, &zone.key, MAX_SLOT_KEY);
        if key.is_empty() {
            continue;
        }
        x.facts.outcome.limit_conn = Some(Limited::Passed);
        let denied = match slots.take(&key, limit.most) {
            Ok(slot) => {
                x.slots.push(slot);
                continue;
            }
            Err(denied) => denied,
        };
        x.slots.clear();
        let dry = guard.limit_conn_dry_run;
        if !dry {
            COUNTS.hit(Limit::LimitConn);
        }
        let by = match denied {
            Denied::Full => format!("limit_conn {} in {}", limit.most, limit.at),
            Denied::NoRoom => format!("limit_conn in {}: the zone is full", limit.at),
        };
        let comma = if dry { ", dry run," } else { "" };
        let told = format_args!("limiting connections{comma} by zone \"{}\" ({by})", zone.name);
        refuse(x, dry, guard.limit_conn_log_level, told);
        x.facts.outcome.limit_conn = Some(if dry { Limited::RejectedDryRun } else { Limited::Rejected });
        return if dry { Ok(()) } else { Err(guard.limit_conn_status) };
    }
    Ok(())
}

/// The value that is counted by; nothing when it is too long.
fn key(x: &Exchange, template: &Template, most: usize) -> Vec<u8> {
    let key = x.scope().render(template);
    if key.len() > most {
        x.log(
            Level::Error,
            format_args!("the value of a limit's key is more than {most} bytes, and not counted"),
        );
        return Vec::new();
    }
    key
}

/// Tells of a refusal: for a handshake it is why there will be no WebSocket.
fn refuse(x: &Exchange, dry: bool, level: Level, told: std::fmt::Arguments<'_>) {
    match dry {
        true => x.log(level, told),
        false => x.refused(HandshakeFault::Limited, level, told),
    }
}

fn less_severe(level: Level) -> Level {
    match level {
        Level::Error => Level::Warn,
        Level::Warn => Level::Notice,
        _ => Level::Info,
    }
}
