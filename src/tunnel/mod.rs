//! What carries the bytes of a WebSocket connection once both handshakes are done.

mod drain;
mod drive;
mod options;
mod pump;
mod relay;
mod table;
mod walk;

pub use drain::{Drain, Verdict};
pub use drive::{Ends, Report};
pub use options::shared;
pub use pump::{Line, Packed, Parcel, Secure, Socket, UnpackError};
pub use relay::relay;
pub use table::{About, Entry, Keeper, Live, Place, Row, State, Tunnels};

#[cfg(test)]
mod speech;
