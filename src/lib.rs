//! Longwire: a reverse proxy for WebSocket. The order of the modules is the order of the floors, ground floor first:
//! a module imports only from those above it in this list.

pub mod cli;
pub mod clock;
pub mod demo;
pub mod http;
pub mod lifecycle;
pub mod log;
pub mod net;
pub mod route;
pub mod server;
pub mod snapshot;
pub mod tls;
pub mod tunnel;
pub mod upstream;
