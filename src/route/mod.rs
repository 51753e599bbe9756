//! Pure: request facts -> server, location, variables.

pub mod answer;
pub mod calendar;
pub mod facts;
pub mod headers;
pub mod location;
pub mod proxy;
pub mod redirect;
pub mod server;
pub mod uri;
mod fields;
mod map;
pub mod variables;

#[cfg(test)]
mod fixture;
