//! A tunnel under way as bytes: the machine, and what waits at both ends. The streams are written by whoever knows them.

use std::fmt;
use std::io;

use longwire_wire::{Pair, Side, Time, Tunnel};

use super::{Drive, End, Rest};
use crate::saved::{Malformed, Reader, Writer};
use crate::tls::{self, Fault};
use crate::tunnel::options::shared;

/// Why bytes are not a tunnel under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnpackError {
    /// Written in a format that this program does not know; how it is numbered.
    Version(u8),
    /// The bytes themselves.
    Malformed(Malformed),
    /// More or fewer sockets came than ends are open.
    Sockets,
    /// The tunnel machine inside.
    Tunnel(longwire_wire::RestoreError),
    /// A TLS connection inside.
    Tls(tls::RestoreError),
    /// What was kept for its end, in words.
    Keeper(String),
}

impl fmt::Display for UnpackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UnpackError::Version(found) => {
                write!(f, "tunnel was packed in format {found}, unknown to this program")
            }
            UnpackError::Malformed(fault) => write!(f, "packed tunnel: {fault}"),
            UnpackError::Sockets => {
                f.write_str("packed tunnel came with another number of sockets than it has open ends")
            }
            UnpackError::Tunnel(fault) => write!(f, "{fault}"),
            UnpackError::Tls(fault) => write!(f, "{fault}"),
            UnpackError::Keeper(fault) => write!(f, "packed tunnel: what was kept for its end: {fault}"),
        }
    }
}

impl std::error::Error for UnpackError {}

impl From<Malformed> for UnpackError {
    fn from(fault: Malformed) -> UnpackError {
        UnpackError::Malformed(fault)
    }
}

impl<S> Drive<S> {
    /// The stream of an end while it is open.
    pub(in crate::tunnel) fn open(&self, side: Side) -> Option<&S> {
        self.ends[side].stream.as_ref()
    }

    /// Appends everything but the streams, which `stream` appends. Times are distances from `now_us`.
    pub(in crate::tunnel) fn save(
        &self,
        now_us: u64,
        w: &mut Writer,
        mut stream: impl FnMut(&mut Writer, &S),
    ) {
        let Drive { tunnel, ends, unsettled: _, due_us: _, reason } = self;
        w.bytes(&tunnel.save(Time(now_us)));
        for side in Side::BOTH {
            let End { stream: open, rest } = &ends[side];
            w.option(open.as_ref(), |w, open| {
                stream(w, open);
                w.option(rest.as_ref(), |w, rest| rest.save(now_us, w));
            });
        }
        w.option(reason.as_ref(), save_reason);
    }

    /// One that was saved; `stream` makes its streams, client first. It looks at everything when it is turned first.
    pub(in crate::tunnel) fn restore(
        now_us: u64,
        r: &mut Reader<'_>,
        mut stream: impl FnMut(&mut Reader<'_>) -> Result<S, UnpackError>,
    ) -> Result<Drive<S>, UnpackError> {
        let mut tunnel = Tunnel::restore(r.bytes()?, Time(now_us)).map_err(UnpackError::Tunnel)?;
        tunnel.share(shared);
        let mut end = || -> Result<End<S>, UnpackError> {
            if !r.flag()? {
                return Ok(End { stream: None, rest: None });
            }
            let stream = Some(stream(r)?);
            let rest = r.option(|r| Rest::restore(now_us, r))?.filter(|rest| !rest.is_empty());
            Ok(End { stream, rest: rest.map(Box::new) })
        };
        let ends = Pair { client: end()?, backend: end()? };
        let reason = r.option(restore_reason)?;
        Ok(Drive { tunnel, ends, unsettled: true, due_us: 0, reason })
    }
}

impl Rest {
    fn save(&self, now_us: u64, w: &mut Writer) {
        let Rest { early, pending, unflushed, finish_by_us, shut } = self;
        w.bytes(early);
        w.bytes(pending);
        w.flag(*unflushed);
        w.option(*finish_by_us, |w, by| w.time(by, now_us));
        w.flag(*shut);
    }

    fn restore(now_us: u64, r: &mut Reader<'_>) -> Result<Rest, Malformed> {
        Ok(Rest {
            early: r.bytes()?.to_vec().into(),
            pending: r.bytes()?.to_vec(),
            unflushed: r.flag()?,
            finish_by_us: r.option(|r| r.time(now_us))?,
            shut: r.flag()?,
        })
    }
}

/// As far as the log tells it.
fn save_reason(w: &mut Writer, reason: &io::Error) {
    let fault = reason.get_ref().and_then(|inner| inner.downcast_ref::<Fault>());
    match (reason.raw_os_error(), fault) {
        (Some(code), _) => {
            w.u8(0);
            w.u32(code.cast_unsigned());
        }
        (None, Some(fault)) => {
            w.u8(1);
            w.raw(&fault.to_bytes());
        }
        (None, None) => {
            w.u8(2);
            w.text(&reason.to_string());
        }
    }
}

fn restore_reason(r: &mut Reader<'_>) -> Result<io::Error, Malformed> {
    Ok(match r.u8()? {
        0 => io::Error::from_raw_os_error(r.u32()?.cast_signed()),
        1 => {
            let fault = Fault::from_bytes(r.array()?).ok_or(Malformed::Invalid("fault"))?;
            io::Error::new(io::ErrorKind::InvalidData, fault)
        }
        2 => io::Error::other(r.text()?),
        _ => return Err(Malformed::Invalid("reason")),
    })
}
