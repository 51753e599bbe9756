//! Longwire: a reverse proxy for WebSocket. The order of the modules is the order of the floors, ground floor first:
//! a module imports only from those above it in this list.

pub mod clock;
pub mod saved;
pub mod net;
pub mod tls;
pub mod route;
pub mod guard;
pub mod log;
pub mod metrics;
pub mod trace;
pub mod upstream;
pub mod tunnel;
pub mod snapshot;
pub mod http;
pub mod parting;
pub mod scrape;
pub mod admin;
pub mod server;
pub mod lifecycle;
pub mod demo;
pub mod check;
pub mod doctor;
pub mod cli;
