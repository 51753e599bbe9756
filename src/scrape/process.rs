//! What the system knows of this process. What it does not tell is left out.

use std::fs;
use std::time::Duration;

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage};

/// What the process uses.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Usage {
    /// Open descriptors.
    pub(super) descriptors: Option<u64>,
    /// How many there may be.
    pub(super) max_descriptors: Option<u64>,
    /// Memory that is there, in bytes.
    pub(super) resident_bytes: Option<u64>,
    /// Memory that has addresses, in bytes.
    pub(super) virtual_bytes: Option<u64>,
    /// Time on processors, of all threads.
    pub(super) cpu: Option<Duration>,
}

impl Usage {
    /// As it is now.
    pub(super) fn now() -> Usage {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let cpu = getrusage(UsageWho::RUSAGE_SELF).ok().map(|usage| {
            let times = [usage.user_time(), usage.system_time()];
            times.map(|t| Duration::new(t.tv_sec().unsigned_abs(), t.tv_usec() as u32 * 1000)).iter().sum()
        });
        Usage {
            descriptors: descriptors(),
            max_descriptors: getrlimit(Resource::RLIMIT_NOFILE).ok().map(|(soft, _)| soft),
            resident_bytes: kilobytes(&status, "VmRSS:"),
            virtual_bytes: kilobytes(&status, "VmSize:"),
            cpu,
        }
    }
}

/// How many descriptors are open.
fn descriptors() -> Option<u64> {
    const FOLDER: &str = "/proc/self/fd";
    // Linux tells it as the size since 6.2; before that, each is counted.
    match fs::metadata(FOLDER).ok()?.len() {
        0 => Some(fs::read_dir(FOLDER).ok()?.count() as u64),
        count => Some(count),
    }
}

/// A line of `/proc/self/status`: `VmRSS:     1234 kB`.
fn kilobytes(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let number: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(number * 1024)
}

/// How many local ports there are for connections to one address: `ip_local_port_range`, less those that are reserved.
pub(super) fn local_ports() -> Option<u64> {
    let read = |name: &str| fs::read_to_string(format!("/proc/sys/net/ipv4/{name}"));
    let range = read("ip_local_port_range").ok()?;
    Some(ports(&range, &read("ip_local_reserved_ports").unwrap_or_default())).filter(|count| *count > 0)
}

fn ports(range: &str, reserved: &str) -> u64 {
    let mut bounds = range.split_ascii_whitespace().map_while(|word| word.parse::<u64>().ok());
    let (Some(first), Some(last)) = (bounds.next(), bounds.next()) else { return 0 };
    let taken = reserved.trim().split(',').filter_map(|part| {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let (from, to) = (from.parse::<u64>().ok()?.max(first), to.parse::<u64>().ok()?.min(last));
        Some((to + 1).saturating_sub(from))
    });
    (last + 1).saturating_sub(first).saturating_sub(taken.sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_tells_of_this_process() {
        let usage = Usage::now();
        let open = fs::read_dir("/proc/self/fd").unwrap().count() as u64;
        // The folder itself was open while it was read.
        assert!(usage.descriptors.is_some_and(|count| count.abs_diff(open) <= 1), "{usage:?} {open}");
        assert!(usage.max_descriptors >= usage.descriptors);
        assert!(usage.resident_bytes.is_some_and(|bytes| bytes > 1 << 20), "{usage:?}");
        assert!(usage.virtual_bytes >= usage.resident_bytes && usage.cpu.is_some());
    }

    #[test]
    fn reserved_ports_are_not_there() {
        assert_eq!(ports("32768\t60999\n", "\n"), 28232);
        assert_eq!(ports("32768 60999", "8080,40000-40009,60990-61100\n"), 28232 - 10 - 10);
        assert_eq!(ports("", ""), 0);
    }
}
