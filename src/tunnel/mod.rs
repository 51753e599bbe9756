//! What carries the bytes of a WebSocket connection once both handshakes are done.

mod drain;
mod drive;
mod options;
mod pump;
mod relay;
mod table;
mod walk;
mod tally;

pub use drain::{Drain, Verdict};
pub use drive::{Ends, Report};
pub use options::shared;
pub use pump::{Line, Packed, Parcel, Secure, Socket, UnpackError};
pub use relay::relay;
pub use table::{About, Entry, Keeper, Live, Place, Row, State, Tunnels};
pub use tally::{Carried, Tally, Traffic};

#[cfg(test)]
mod speech;
