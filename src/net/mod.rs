//! Sockets: listening, accepting, connecting, and one stream type for TCP and Unix sockets.

mod listen;
mod stream;

pub use listen::{Endpoint, Listener, Options, bind};
pub use stream::{Stream, connect, os_text};
