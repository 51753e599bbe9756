//! What keeps the door: rates, slots and passwords, with what is remembered for them.

mod crypt;
mod rate;
mod slots;
mod users;

pub use rate::{RateZone, Verdict, judge};
pub use slots::{Denied, Slot, SlotZone};
pub use users::{Refusal, admit};

/// Bytes that a zone of nginx has for what it counts: pages of 4096 without their descriptions, the head of the zone
/// (704 bytes and one page) and `own`, which the module takes.
fn room(size: u64, own: u64) -> u64 {
    const PAGE: u64 = 4096;
    const HEAD: u64 = 704;
    let pages = size.saturating_sub(HEAD) / (PAGE + 24);
    let begin = (HEAD + 24 * pages).next_multiple_of(PAGE);
    let pages = pages.min(size.saturating_sub(begin) / PAGE);
    (pages.saturating_sub(1) * PAGE).saturating_sub(own)
}

/// Bytes that an entry takes of it: the next power of two, from two kilobytes on whole pages.
fn cost(bytes: usize) -> u64 {
    let bytes = bytes as u64;
    if bytes > 2048 { bytes.next_multiple_of(4096) } else { bytes.next_power_of_two() }
}
