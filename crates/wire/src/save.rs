//! A tunnel as bytes, for a successor process or a successor of the code.
//!
//! One version byte, then every field in order, numbers little-endian, times as distances from a `now`. A new field
//! means a new version; whoever reads it still reads the old ones.
//!
//! The format keeps the shape of version 1, whatever shape a tunnel has in memory; version 2 adds when each end was heard, version 3 the rate
//! and what has run into its bucket, version 4 the Close that is to come, version 5 what an operator wants it to say.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use crate::close::CloseCode;
use crate::frame::{MAX_CONTROL, MAX_HEADER, Violation};
use crate::outcome::{Cause, Ending, Outcome, Rtt, SideStats};
use crate::ping::{Awaited, Out, Pinger};
use crate::rate::{Bucket, Rate};
use crate::scanner::{Closing, Course, Held, Message, Scanner};
use crate::side::{Pair, Party, Side};
use crate::timer::{Time, Timer, Timers};
use crate::tunnel::{End, Life, Options, Ping, Planned, Tunnel};

/// The version that is written.
const VERSION: u8 = 5;

/// Why saved bytes are not a tunnel.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum RestoreError {
    /// Written by a version that this one does not know.
    Version(u8),
    /// The bytes end too early.
    Truncated,
    /// Bytes follow the tunnel.
    Excess,
    /// A value that no tunnel has; says which.
    Invalid(&'static str),
}

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RestoreError::Version(found) => {
                write!(f, "tunnel was saved in format {found}, this program reads formats 1 to {VERSION}")
            }
            RestoreError::Truncated => f.write_str("saved tunnel ends too early"),
            RestoreError::Excess => f.write_str("saved tunnel is followed by bytes that belong to nothing"),
            RestoreError::Invalid(what) => write!(f, "saved tunnel has an impossible {what}"),
        }
    }
}

impl core::error::Error for RestoreError {}

pub(crate) fn save(tunnel: &Tunnel, now: Time) -> Vec<u8> {
    let mut w = Writer { now, bytes: Vec::with_capacity(512) };
    w.u8(VERSION);
    tunnel.write(&mut w);
    for side in Side::BOTH {
        Some(tunnel.ends[side].heard).filter(|at| *at != Time::NEVER).write(&mut w);
    }
    tunnel.options.rate.write(&mut w);
    tunnel.bucket.as_deref().copied().write(&mut w);
    tunnel.planned.as_deref().cloned().write(&mut w);
    let planned = tunnel.planned.as_ref().and_then(|planned| planned.farewell.words.clone());
    planned.or_else(|| tunnel.ending.as_ref()?.words.clone()).write(&mut w);
    w.bytes
}

pub(crate) fn restore(bytes: &[u8], now: Time) -> Result<Tunnel, RestoreError> {
    let mut r = Reader { now, bytes };
    let version = u8::read(&mut r)?;
    if !(1..=VERSION).contains(&version) {
        return Err(RestoreError::Version(version));
    }
    let mut tunnel = Tunnel::read(&mut r)?;
    if version >= 2 {
        for side in Side::BOTH {
            tunnel.ends[side].heard = Option::read(&mut r)?.unwrap_or(Time::NEVER);
        }
    }
    if version >= 3 {
        Arc::make_mut(&mut tunnel.options).rate = Saved::read(&mut r)?;
        tunnel.bucket = Option::read(&mut r)?.map(Box::new);
    }
    if version >= 4 {
        tunnel.planned = Option::read(&mut r)?.map(Box::new);
    }
    if version >= 5 {
        let words = Option::read(&mut r)?;
        // What is decided is not planned any more.
        match (&mut tunnel.planned, &mut tunnel.ending) {
            (Some(planned), _) => planned.farewell.words = words,
            (None, Some(ending)) => ending.words = words,
            (None, None) => {}
        }
    }
    if r.bytes.is_empty() { Ok(tunnel) } else { Err(RestoreError::Excess) }
}

struct Writer {
    now: Time,
    bytes: Vec<u8>,
}

impl Writer {
    fn u8(&mut self, value: u8) {
        self.bytes.push(value);
    }
}

struct Reader<'a> {
    now: Time,
    bytes: &'a [u8],
}

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], RestoreError> {
        let (array, rest) = self.bytes.split_first_chunk::<N>().ok_or(RestoreError::Truncated)?;
        self.bytes = rest;
        Ok(*array)
    }
}

/// A value that is saved and comes back.
trait Saved: Sized {
    fn write(&self, w: &mut Writer);
    fn read(r: &mut Reader<'_>) -> Result<Self, RestoreError>;
}

macro_rules! saved_numbers {
    ($($number:ty),*) => {$(
        impl Saved for $number {
            fn write(&self, w: &mut Writer) {
                w.bytes.extend_from_slice(&self.to_le_bytes());
            }

            fn read(r: &mut Reader<'_>) -> Result<Self, RestoreError> {
                r.array().map(<$number>::from_le_bytes)
            }
        }
    )*};
}

saved_numbers!(u8, u16, u64, i64);

/// A struct as its fields, in order.
macro_rules! saved_structs {
    ($($name:ident { $($field:ident),* })*) => {$(
        impl Saved for $name {
            fn write(&self, w: &mut Writer) {
                $(self.$field.write(w);)*
            }

            fn read(r: &mut Reader<'_>) -> Result<Self, RestoreError> {
                Ok($name { $($field: Saved::read(r)?),* })
            }
        }
    )*};
}

saved_structs! {
    Ping { interval_us, timeout_us }
    Rate { frames_milli, burst, bytes }
    Bucket { frames, bytes, at }
    Closing { code, seen }
    Out { payload, sent, repeated }
    Outcome { ended_by, cause, code_from, code_to }
    SideStats { bytes, messages, control, pings, pongs, rtt }
    Rtt { count, last, min, max, sum }
}

/// An enum as a number for its variant, then what the variant holds.
macro_rules! saved_enums {
    ($($name:ident { $($tag:literal => $variant:ident $(($inner:ident))?),* $(,)? })*) => {$(
        impl Saved for $name {
            fn write(&self, w: &mut Writer) {
                match self {
                    $($name::$variant $(($inner))? => {
                        w.u8($tag);
                        $($inner.write(w);)?
                    })*
                }
            }

            fn read(r: &mut Reader<'_>) -> Result<Self, RestoreError> {
                Ok(match u8::read(r)? {
                    $($tag => $name::$variant $({
                        0: { let $inner = Saved::read(r)?; $inner }
                    })?,)*
                    _ => return Err(RestoreError::Invalid(stringify!($name))),
                })
            }
        }
    )*};
}

saved_enums! {
    Side { 0 => Client, 1 => Backend }
    Party { 0 => Client, 1 => Backend, 2 => Proxy }
    Life { 0 => Open, 1 => Due(code), 2 => Sent, 3 => Closed, 4 => Finish, 5 => Drop }
    Cause {
        0 => Closed,
        1 => Fin,
        2 => Reset,
        3 => DeadPeer,
        4 => Idle,
        5 => WriteBlocked,
        6 => ProtocolViolation(violation),
        7 => MessageTooBig,
        8 => Shutdown,
        9 => Drain,
        10 => Operator,
        11 => TooFast,
    }
}

/// As in version 1; the rate comes behind the tunnel.
impl Saved for Options {
    fn write(&self, w: &mut Writer) {
        self.ping.write(w);
        self.idle_us.write(w);
        self.write_us.write(w);
        self.close_us.write(w);
        self.max_message.write(w);
        self.rsv.write(w);
    }

    fn read(r: &mut Reader<'_>) -> Result<Options, RestoreError> {
        Ok(Options {
            ping: Saved::read(r)?,
            idle_us: Saved::read(r)?,
            write_us: Saved::read(r)?,
            close_us: Saved::read(r)?,
            max_message: Saved::read(r)?,
            rsv: Saved::read(r)?,
            rate: None,
        })
    }
}

impl Saved for Tunnel {
    fn write(&self, w: &mut Writer) {
        self.options.write(w);
        for side in Side::BOTH {
            write_end(&self.ends[side], side, &self.options, w);
        }
        self.timers.write(w);
        self.stats.write(w);
        // Here version 1 has whose Close came first; the scanners tell that as well.
        None::<Side>.write(w);
        self.ending.as_ref().map(|ending| ending.outcome).write(w);
    }

    fn read(r: &mut Reader<'_>) -> Result<Tunnel, RestoreError> {
        let options = Arc::new(Options::read(r)?);
        let ends = Pair { client: read_end(r)?, backend: read_end(r)? };
        let (timers, stats) = (Timers::read(r)?, Saved::read(r)?);
        let _: Option<Side> = Saved::read(r)?;
        let ending = Option::read(r)?.map(|outcome| Box::new(Ending { outcome, words: None }));
        Ok(Tunnel { options, ends, timers, stats, bucket: None, planned: None, ending })
    }
}

/// As in version 4; the words come behind everything.
impl Saved for Planned {
    fn write(&self, w: &mut Writer) {
        self.at.write(w);
        self.farewell.code.write(w);
        self.farewell.cause.write(w);
    }

    fn read(r: &mut Reader<'_>) -> Result<Planned, RestoreError> {
        let (at, code, cause): (_, CloseCode, Cause) = (Saved::read(r)?, Saved::read(r)?, Saved::read(r)?);
        Ok(Planned { at, farewell: (code, cause).into() })
    }
}

impl Saved for Arc<str> {
    fn write(&self, w: &mut Writer) {
        // Whoever has more to say is cut short in the frame as well.
        let len = self.floor_char_boundary(MAX_CONTROL);
        w.u8(len as u8);
        w.bytes.extend_from_slice(&self.as_bytes()[..len]);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, RestoreError> {
        let len = usize::from(u8::read(r)?);
        let (words, rest) = r.bytes.split_at_checked(len).ok_or(RestoreError::Truncated)?;
        r.bytes = rest;
        core::str::from_utf8(words).map(Arc::from).map_err(|_| RestoreError::Invalid("reason"))
    }
}

fn write_end(end: &End, side: Side, options: &Options, w: &mut Writer) {
    let Scanner { held, left, message, course } = &end.scanner;
    side.write(w);
    options.rsv.write(w);
    options.max_message.write(w);
    held.as_deref().copied().unwrap_or_default().write(w);
    left.write(w);
    message.announced().write(w);
    let (closing, over) = match *course {
        Course::Flowing => (None, None),
        Course::Closing(closing) => (Some(closing), None),
        Course::Closed(code) => (None, Some(Some(code))),
        Course::Broken => (None, Some(None)),
    };
    closing.write(w);
    over.is_some().write(w);
    if let Some(code) = over {
        code.is_none().write(w);
        code.iter().for_each(|code| code.write(w));
    }
    let Awaited { out, late } = end.pinger.awaited();
    end.pinger.due.write(w);
    out.write(w);
    late.write(w);
    end.pinger.answered.write(w);
    end.life.write(w);
    end.blocked.write(w);
}

fn read_end(r: &mut Reader<'_>) -> Result<End, RestoreError> {
    // The rules are those of the tunnel's options.
    let _: (Side, u8, Option<u64>) = (Saved::read(r)?, Saved::read(r)?, Saved::read(r)?);
    let held = Held::read(r)?;
    let held = (!held.is_empty()).then(|| Box::new(held));
    let (left, message) = (Saved::read(r)?, Message::new(Saved::read(r)?));
    let closing: Option<Closing> = Saved::read(r)?;
    let course = match (closing, bool::read(r)?) {
        (None, false) => Course::Flowing,
        (Some(closing), false) => Course::Closing(closing),
        (_, true) if bool::read(r)? => Course::Broken,
        (_, true) => Course::Closed(Saved::read(r)?),
    };
    let (due, out, late, answered) = (Saved::read(r)?, Saved::read(r)?, Saved::read(r)?, Saved::read(r)?);
    Ok(End {
        scanner: Scanner { held, left, message, course },
        pinger: Pinger::new(due, answered, Awaited { out, late }),
        heard: Time::NEVER,
        life: Saved::read(r)?,
        blocked: Saved::read(r)?,
    })
}

/// In the format a count has eight bytes.
impl Saved for u32 {
    fn write(&self, w: &mut Writer) {
        u64::from(*self).write(w);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, RestoreError> {
        u64::read(r).map(|value| u32::try_from(value).unwrap_or(u32::MAX))
    }
}

impl Saved for bool {
    fn write(&self, w: &mut Writer) {
        w.u8((*self).into());
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, RestoreError> {
        match u8::read(r)? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(RestoreError::Invalid("flag")),
        }
    }
}

impl<T: Saved> Saved for Option<T> {
    fn write(&self, w: &mut Writer) {
        self.is_some().write(w);
        if let Some(value) = self {
            value.write(w);
        }
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, RestoreError> {
        if bool::read(r)? { T::read(r).map(Some) } else { Ok(None) }
    }
}

impl<T: Saved + Copy + Default, const N: usize> Saved for [T; N] {
    fn write(&self, w: &mut Writer) {
        self.iter().for_each(|value| value.write(w));
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, RestoreError> {
        let mut array = [T::default(); N];
        for value in &mut array {
            *value = T::read(r)?;
        }
        Ok(array)
    }
}

impl<T: Saved> Saved for Pair<T> {
    fn write(&self, w: &mut Writer) {
        self.client.write(w);
        self.backend.write(w);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, RestoreError> {
        Ok(Pair { client: T::read(r)?, backend: T::read(r)? })
    }
}

impl Saved for Time {
    fn write(&self, w: &mut Writer) {
        let distance = i128::from(self.0) - i128::from(w.now.0);
        let clamped = distance.clamp(i64::MIN.into(), i64::MAX.into());
        (clamped as i64).write(w); // fits after the clamp
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, RestoreError> {
        let distance = i64::read(r)?;
        Ok(Time(r.now.0.saturating_add_signed(distance)))
    }
}

impl Saved for Timers {
    fn write(&self, w: &mut Writer) {
        Timer::ALL.iter().for_each(|&timer| self.at(timer).write(w));
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, RestoreError> {
        let mut timers = Timers::default();
        for timer in Timer::ALL {
            if let Some(at) = Saved::read(r)? {
                timers.set(timer, at);
            }
        }
        Ok(timers)
    }
}

impl Saved for CloseCode {
    fn write(&self, w: &mut Writer) {
        self.0.write(w);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, RestoreError> {
        u16::read(r).map(CloseCode)
    }
}

impl Saved for Violation {
    fn write(&self, w: &mut Writer) {
        let place = Violation::ALL.iter().position(|violation| violation == self);
        w.u8(place.unwrap_or_default() as u8);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, RestoreError> {
        let place = usize::from(u8::read(r)?);
        Violation::ALL.get(place).copied().ok_or(RestoreError::Invalid("Violation"))
    }
}

impl Saved for Held {
    fn write(&self, w: &mut Writer) {
        w.u8(self.len);
        self.bytes.write(w);
    }

    fn read(r: &mut Reader<'_>) -> Result<Self, RestoreError> {
        let len = u8::read(r)?;
        let bytes = <[u8; MAX_HEADER]>::read(r)?;
        // 14 held bytes would be a header that is complete.
        if usize::from(len) < MAX_HEADER {
            Ok(Held { bytes, len })
        } else {
            Err(RestoreError::Invalid("held length"))
        }
    }
}
