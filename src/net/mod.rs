//! Sockets: listening, accepting, connecting, and one stream type for TCP and Unix sockets.

mod listen;
mod proxy_protocol;
mod stream;

pub use listen::{Endpoint, Inherited, Listener, Options, bind};
pub use proxy_protocol::{Announced, Version, announce, read_announced};
pub use stream::{Stream, connect, os_text};
