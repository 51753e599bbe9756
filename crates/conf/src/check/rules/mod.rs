//! The table of rules.

use super::Rule;

mod balance;
mod capacity;
mod handshake;
mod levels;
mod paths;
mod timers;

/// All rules, by what they are about.
pub(super) const TABLE: &[&[&Rule]] =
    &[handshake::RULES, levels::RULES, paths::RULES, balance::RULES, capacity::RULES, timers::RULES];
