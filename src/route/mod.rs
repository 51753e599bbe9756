//! Pure: request facts -> server, location, variables.

pub mod answer;
pub mod calendar;
mod expires;
pub mod facts;
mod fields;
pub mod files;
pub mod headers;
mod known;
pub mod location;
mod map;
pub mod proxy;
pub mod redirect;
pub mod rewrite;
pub mod server;
pub mod uri;
pub mod variables;

#[cfg(test)]
pub(crate) mod fixture;
