//! `longwire`: see `longwire -h`.

use std::process::ExitCode;

use tikv_jemallocator::Jemalloc;

/// Sorts allocations by size, so that what a tunnel keeps for weeks leaves no holes among what its handshake needed.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// Its settings: what is free goes back to the system within half a second, also when nothing happens any more.
// SAFETY: jemalloc reads a `const char *` of this name, and nobody else defines it: a pointer to text that ends in NUL.
#[unsafe(export_name = "malloc_conf")]
static SETTINGS: &u8 = &TEXT[0];
const TEXT: &[u8] = b"dirty_decay_ms:500,muzzy_decay_ms:0,background_thread:true\0";

fn main() -> ExitCode {
    longwire::cli::main()
}
