//! Handing everything to a new process of the program.

mod channel;
mod message;
