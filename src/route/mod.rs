//! Pure: request facts -> server, location, variables.

pub mod answer;
pub mod calendar;
mod choice;
mod expires;
pub mod facts;
pub mod fields;
pub mod files;
pub mod gzip;
pub mod headers;
mod known;
pub mod location;
mod map;
pub mod origin;
pub mod proxy;
pub mod realip;
pub mod redirect;
pub mod rewrite;
pub mod server;
pub mod trace;
pub mod uri;
pub mod variables;

#[cfg(test)]
pub(crate) mod fixture;
