//! x
pub mod clock;
pub mod net;
pub mod tls;
pub mod route; pub mod log; pub mod upstream;pub mod tunnel; pub mod snapshot; pub mod http; pub mod server;
