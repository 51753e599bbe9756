//! The admin address: API, metrics and the live page; and the commands that use it.

pub mod console;
