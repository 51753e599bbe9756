//! WebSocket (RFC 6455) as a proxy between two ends sees it: bytes, frames and time, without any I/O.
//!
//! No socket, no clock and no randomness live here: bytes, [`Time`] and random bytes are arguments. A driver reads
//! from its two sockets, hands what it read to a [`Tunnel`], and writes what the tunnel says.
//!
//! ```
//! use longwire_wire::{Options, Plan, Side, Time, Tunnel};
//!
//! let options = Options {
//!     ping: None,
//!     idle_us: 60_000_000,
//!     write_us: [60_000_000; 2],
//!     close_us: 5_000_000,
//!     max_message: None,
//!     rsv: 0,
//!     rate: None,
//! };
//! let mut tunnel = Tunnel::new(options, Time(0));
//! let mut plan = Plan::default(); // reused for every read
//! let mut random = || [0; 12]; // a real driver has real random bytes
//!
//! let input = b"\x81\x05Hello"; // read from the backend
//! tunnel.handle_read(Side::Backend, input, Time(10), &mut random, &mut plan);
//! assert!(plan.whole()); // write the input to the client as it is
//! for side in Side::BOTH {
//!     assert!(tunnel.poll_transmit(side, Time(10), &mut random).is_none()); // nothing of ours is due
//! }
//! assert_eq!(tunnel.poll_timeout(), Some(Time(60_000_010))); // then call `handle_timeout`
//! assert!(tunnel.outcome().is_none()); // not over
//! ```
//!
//! The floors, ground floor first: [`close`] and [`frame`] are the bytes; [`scanner`] follows the frames of one
//! direction; [`timer`] holds the deadlines; [`tunnel`] joins two directions; [`handshake`] stands beside them.
//!
//! | word      | meaning                                                                                  |
//! |-----------|------------------------------------------------------------------------------------------|
//! | end, side | one of the two peers of a tunnel: the client (browser, app) or the backend (server)      |
//! | direction | the bytes from one end to the other; the direction of an end is what that end sends      |
//! | boundary  | a place in a direction between two frames, the only place where a frame of ours may land |
//! | held      | bytes that were read but not passed on yet: part of a header, or a pong that may be ours |

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod close;
pub mod frame;
pub mod handshake;
mod judge;
mod outcome;
mod ping;
mod plan;
mod rate;
mod save;
pub mod scanner;
mod side;
pub mod timer;
pub mod tunnel;

pub use close::CloseCode;
pub use frame::Violation;
pub use outcome::{Cause, Farewell, Outcome, Rtt, SideStats, Stats};
pub use plan::{OwnFrame, Plan};
pub use rate::Rate;
pub use save::RestoreError;
pub use side::{Pair, Party, Side};
pub use timer::Time;
pub use tunnel::{Options, Ping, Planned, SideState, Tunnel};
