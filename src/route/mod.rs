//! Request facts -> server, location, variables. Pure, all of it.

pub mod facts;
