//! The table of rules.

use super::Rule;

mod backend;
mod balance;
mod capacity;
mod handshake;
mod levels;
mod paths;
mod servers;
mod timers;
mod traps;

/// All rules, by what they are about.
pub(super) const TABLE: &[&[&Rule]] = &[
    handshake::RULES,
    levels::RULES,
    servers::RULES,
    paths::RULES,
    backend::RULES,
    balance::RULES,
    timers::RULES,
    traps::RULES,
    capacity::RULES,
];
