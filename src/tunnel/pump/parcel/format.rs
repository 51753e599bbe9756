//! A parcel as bytes.
//!
//! One version byte, then every field in order, numbers little-endian, a time as its distance from now, bytes behind
//! their length (u32), what may be missing behind a flag ([`crate::saved`]). A new field means a new version, and so does
//! a new version of a format inside; whoever reads it still reads the old ones. Version 3 (in version 2 a machine was of
//! its version 4, in version 1 a keeper's bytes of its version 1 as well):
//!
//! | field | bytes |
//! |---|---|
//! | version | 1 |
//! | the tunnel machine | bytes: [`Tunnel::save`](longwire_wire::Tunnel::save), its version up to 5 |
//! | client's end | flag whether it is open, then if so the end |
//! | backend's end | the same |
//! | what broke an end | flag; 0 and a number of the system (i32), 1 and a fault of TLS (2 bytes), or 2 and a text |
//! | what was kept for its end | bytes: [`Keeper::save`], which says its version itself |
//!
//! An end:
//!
//! | field | bytes |
//! |---|---|
//! | kind | 0: plain, 1: TLS |
//! | with TLS | bytes: [`tls::save`](crate::tls::save) version 1, with the record that is cut and those not sent |
//! | something waits | flag, then if so what follows |
//! | read from it before the tunnel began | bytes |
//! | to be written to it | bytes |
//! | flushing is under way | flag |
//! | when it has to have taken some, or ended TCP | flag, time |
//! | writing was shut down | flag |
//!
//! The sockets of the ends that are open go beside the bytes, client first. A machine holds a frame's header that is cut,
//! pings that are out, Close frames under way and all timers; what a pump knows beside that (readiness of sockets, its
//! wheel) is found anew.

use longwire_wire::Side;
use zeroize::Zeroizing;

use super::UnpackError;
use crate::saved::{Malformed, Reader, Writer};
use crate::tunnel::drive::Drive;
use crate::tunnel::pump::kernel::Kernel;
use crate::tunnel::pump::thread::Slot;
use crate::tunnel::pump::{Line, Secure, Socket};
use crate::tunnel::table::Keeper;

/// The version that is written.
pub(super) const VERSION: u8 = 3;
/// The longest parcel.
pub(super) const MAX_BYTES: usize = 1 << 20;

const PLAIN: u8 = 0;
const TLS: u8 = 1;

/// A tunnel as bytes; `None` when its keeper stays, or it is too long.
pub(super) fn pack<K: Kernel>(slot: &Slot<K>, now_us: u64) -> Option<Zeroizing<Vec<u8>>> {
    let keeper = slot.keeper.save(now_us)?;
    let mut w = Writer::with_capacity(1024 + keeper.len());
    w.u8(VERSION);
    slot.drive.save(now_us, &mut w, |w, line| match line {
        Line::Plain(_) => w.u8(PLAIN),
        Line::Tls(secure) => {
            w.u8(TLS);
            w.bytes(&secure.save());
        }
    });
    w.bytes(&keeper);
    Some(w.finish()).filter(|bytes| bytes.len() <= MAX_BYTES)
}

/// The sockets that belong to it.
pub(super) fn sockets<K: Kernel>(slot: &Slot<K>) -> Vec<&K::Fd> {
    Side::BOTH.into_iter().filter_map(|side| slot.drive.open(side)).map(Line::fd).collect()
}

/// The tunnel again, on these sockets.
pub(super) fn unpack<K: Kernel>(
    bytes: &[u8],
    sockets: Vec<K::Fd>,
    now_us: u64,
    keepers: impl FnOnce(&[u8]) -> Result<Box<dyn Keeper>, String>,
) -> Result<Slot<K>, UnpackError> {
    let mut r = Reader::new(bytes);
    match r.u8()? {
        1..=VERSION => {}
        other => return Err(UnpackError::Version(other)),
    }
    let mut sockets = sockets.into_iter();
    let drive = Drive::restore(now_us, &mut r, |r| {
        let socket = sockets.next().ok_or(UnpackError::Sockets);
        match r.u8()? {
            PLAIN => Ok(Line::Plain(Socket::new(socket?))),
            TLS => {
                let secure = Secure::restore(socket?, r.bytes()?).map_err(UnpackError::Tls)?;
                Ok(Line::Tls(Box::new(secure)))
            }
            _ => Err(Malformed::Invalid("kind of an end").into()),
        }
    })?;
    let keeper = r.bytes()?;
    r.end()?;
    if sockets.next().is_some() {
        return Err(UnpackError::Sockets);
    }
    Ok(Slot::new(drive, keepers(keeper).map_err(UnpackError::Keeper)?))
}
