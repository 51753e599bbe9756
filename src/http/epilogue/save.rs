//! What is kept of a tunnel's request as bytes, for the process that goes on with it.
//!
//! One version byte, then every field in order ([`crate::saved`]), times as distances from now. A new field means a new
//! version, and one of the packed tunnel that it is part of. Version 2 (version 1 had no `$request_id` before its texts):
//!
//! | field | bytes |
//! |---|---|
//! | version | 1 |
//! | number of the client's connection | u64 |
//! | client | 4 or 6, address, u16 port; or 0 and the text of a Unix socket |
//! | accepted, request read, tunnel opened | three times |
//! | bytes of the request, bytes of the 101 | two u64 |
//! | TLS towards client and backend | flag and text of its version, twice |
//! | texts that the lines of its end need | bytes, as [`Pieces`](crate::log::Pieces) |
//! | backends tried, where a line asks for them | flag, list: text of the address, u16 status, three times flag and u64 of microseconds (connected, head, end), three u64 of bytes (body, received, sent) |
//! | its place | texts: server, location, group, backend; flag of TLS |
//! | its slot at a server | texts: group, server |
//! | its slots of `limit_conn` | list: text of the zone, bytes of the key |
//! | how its end is told | bytes: see [`Ending::save`] |

use std::net::IpAddr;
use std::sync::Arc;

use super::super::Service;
use super::super::ending::Endings;
use super::Epilogue;
use crate::log::Pieces;
use crate::route::facts::{Peer, Try};
use crate::saved::{Malformed, Reader, Writer};
use crate::tunnel::{Keeper, Place};

/// The version that is written.
const VERSION: u8 = 2;

/// The keeper of a tunnel that another process had, from what its keeper saved there. It takes the tunnel's slots at its
/// server and of `limit_conn` in this one. `now_us` stands for the moment when it was saved.
pub fn keeper(bytes: &[u8], now_us: u64, service: &Arc<Service>) -> Result<Box<dyn Keeper>, String> {
    match bytes.first() {
        Some(1..=VERSION) | None => {}
        Some(other) => {
            return Err(format!("it is in format {other}, this program reads formats 1 to {VERSION}"));
        }
    }
    match Epilogue::from_bytes(bytes, now_us, service) {
        Ok(epilogue) => Ok(Box::new(epilogue)),
        Err(fault) => Err(fault.to_string()),
    }
}

impl Epilogue {
    pub(super) fn to_bytes(&self, now_us: u64) -> Vec<u8> {
        let mut w = Writer::with_capacity(1024 + self.texts.len());
        w.u8(VERSION);
        w.u64(self.serial);
        save_peer(&mut w, &self.client);
        for at in [self.accepted_us, self.started_us, self.opened_us] {
            w.time(at, now_us);
        }
        w.u64(self.request_length);
        w.u64(self.head_sent);
        for version in self.tls {
            w.option(version, Writer::text);
        }
        w.bytes(&self.texts);
        w.option(self.tries.as_deref(), |w, tries| w.list(tries.iter(), save_try));
        let Place { server, location, group, backend, https } = &*self.place;
        [server, location, group, backend].into_iter().for_each(|text| w.text(text));
        w.flag(*https);
        let (group, server) = self.slot.names();
        w.text(group);
        w.text(server);
        w.list(self.slots.iter(), |w, slot| {
            w.text(slot.zone());
            w.bytes(slot.key());
        });
        w.bytes(&self.ending.save());
        w.finish().to_vec()
    }

    fn from_bytes(bytes: &[u8], now_us: u64, service: &Arc<Service>) -> Result<Epilogue, Malformed> {
        let mut r = Reader::new(bytes);
        let version = r.u8()?;
        let serial = r.u64()?;
        let client = restore_peer(&mut r)?;
        let (accepted_us, started_us, opened_us) = (r.time(now_us)?, r.time(now_us)?, r.time(now_us)?);
        let (request_length, head_sent) = (r.u64()?, r.u64()?);
        let tls = [r.option(restore_tls)?, r.option(restore_tls)?];
        let texts = match version {
            1 => without_request_id(r.bytes()?),
            _ => r.bytes()?.into(),
        };
        let tries = r.option(|r| r.list(restore_try))?.map(Into::into);
        let text = |r: &mut Reader<'_>| r.text().map(str::to_owned);
        let place = Place {
            server: text(&mut r)?,
            location: text(&mut r)?,
            group: text(&mut r)?,
            backend: text(&mut r)?,
            https: r.flag()?,
        };
        let (group, server) = (r.text()?, r.text()?);
        let slots = r.list(|r| Ok((r.text()?, r.bytes()?)))?;
        let ending = r.bytes()?;
        r.end()?;
        let snapshot = &service.snapshot;
        let slot_of = |(zone, key): (&str, &[u8])| {
            let at = snapshot.config.conn_zones.iter().position(|known| known.name == zone)?;
            // It is here already: no limit counts, but it takes its room. A zone that is gone counts nothing.
            snapshot.slot_zones.get(at)?.take(key, u32::MAX).ok()
        };
        Ok(Epilogue {
            ending: Endings::brought(service, ending)?,
            place: service.places.brought(place),
            slot: snapshot.ledger.of(group, server).enter(),
            slots: slots.into_iter().filter_map(slot_of).collect(),
            texts,
            tries,
            client,
            serial,
            accepted_us,
            started_us,
            opened_us,
            request_length,
            head_sent,
            tls,
        })
    }
}

/// The texts of version 1 as those of version 2.
fn without_request_id(texts: &[u8]) -> Box<[u8]> {
    let mut pieces = Pieces::with_capacity(4 + texts.len());
    pieces.push(None);
    [&*pieces.finish(), texts].concat().into()
}

fn save_peer(w: &mut Writer, peer: &Peer) {
    match peer {
        Peer::Ip(IpAddr::V4(ip), port) => {
            w.u8(4);
            w.raw(&ip.octets());
            w.u16(*port);
        }
        Peer::Ip(IpAddr::V6(ip), port) => {
            w.u8(6);
            w.raw(&ip.octets());
            w.u16(*port);
        }
        Peer::Unix(path) => {
            w.u8(0);
            w.text(path);
        }
    }
}

fn restore_peer(r: &mut Reader<'_>) -> Result<Peer, Malformed> {
    Ok(match r.u8()? {
        4 => Peer::Ip(r.array::<4>()?.into(), r.u16()?),
        6 => Peer::Ip(r.array::<16>()?.into(), r.u16()?),
        0 => Peer::Unix(r.text()?.to_owned()),
        _ => return Err(Malformed::Invalid("kind of address")),
    })
}

fn restore_tls(r: &mut Reader<'_>) -> Result<&'static str, Malformed> {
    let version = r.text()?;
    let known = ["TLSv1.3", "TLSv1.2"].into_iter().find(|known| *known == version);
    known.ok_or(Malformed::Invalid("version of TLS"))
}

fn save_try(w: &mut Writer, one: &Try) {
    // Its span has ended.
    let Try {
        address,
        status,
        connect_us,
        header_us,
        response_us,
        response_length,
        received,
        sent,
        trace: _,
    } = one;
    w.text(address);
    w.u16(*status);
    [*connect_us, *header_us, *response_us].into_iter().for_each(|us| w.option(us, Writer::u64));
    [*response_length, *received, *sent].into_iter().for_each(|bytes| w.u64(bytes));
}

fn restore_try(r: &mut Reader<'_>) -> Result<Try, Malformed> {
    Ok(Try {
        address: r.text()?.to_owned(),
        status: r.u16()?,
        connect_us: r.option(Reader::u64)?,
        header_us: r.option(Reader::u64)?,
        response_us: r.option(Reader::u64)?,
        response_length: r.u64()?,
        received: r.u64()?,
        sent: r.u64()?,
        trace: None,
    })
}

#[cfg(test)]
mod tests;
