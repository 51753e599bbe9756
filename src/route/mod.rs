//! Pure: request facts -> server, location, variables.

pub mod answer;
pub mod calendar;
pub mod facts;
mod fields;
pub mod headers;
mod known;
pub mod location;
mod map;
pub mod proxy;
pub mod redirect;
pub mod server;
pub mod uri;
pub mod variables;

#[cfg(test)]
pub(crate) mod fixture;
