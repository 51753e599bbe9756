//! What carries the bytes of a WebSocket connection once both handshakes are done.

mod relay;
mod table;

pub use relay::{Ends, Report, relay};
pub use table::{Entry, Live, Tunnels};
