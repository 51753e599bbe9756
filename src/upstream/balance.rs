//! Pure: nginx's smooth weighted round robin, with `max_fails`, `fail_timeout`, `backup` and `down`.

/// What the configuration says of a server.
#[derive(Debug, Clone, Copy)]
pub struct Params {
    /// `weight`.
    pub weight: u32,
    /// `max_fails`; 0 turns the accounting off.
    pub max_fails: u32,
    /// `fail_timeout` in microseconds: the window of the count, and how long a failed server is left alone.
    pub fail_timeout_us: u64,
    /// `backup`.
    pub backup: bool,
    /// `down`.
    pub down: bool,
}

/// Chooses servers in turn.
#[derive(Debug)]
pub struct Balancer {
    servers: Vec<State>,
}

#[derive(Debug)]
struct State {
    params: Params,
    current: i64,
    /// Falls with each failure and recovers with each round.
    effective: i64,
    fails: u32,
    failed_us: u64,
    checked_us: u64,
}

impl Balancer {
    /// One entry per server; they are named by index from here on.
    pub fn new(servers: impl IntoIterator<Item = Params>) -> Balancer {
        let state = |params: Params| State {
            params,
            current: 0,
            effective: params.weight.into(),
            fails: 0,
            failed_us: 0,
            checked_us: 0,
        };
        Balancer { servers: servers.into_iter().map(state).collect() }
    }

    /// The next server that is not among `tried`; backups only when no other is left.
    pub fn pick(&mut self, now_us: u64, tried: &[usize]) -> Option<usize> {
        if let [only] = self.servers.as_slice() {
            // nginx: a lone server is used whatever it failed.
            return (!only.params.down && tried.is_empty()).then_some(0);
        }
        self.round(now_us, tried, false).or_else(|| self.round(now_us, tried, true))
    }

    /// A connection to the server, or its answer, failed.
    pub fn failed(&mut self, index: usize, now_us: u64) {
        let Some(server) = self.servers.get_mut(index) else { return };
        server.fails = server.fails.saturating_add(1);
        server.failed_us = now_us;
        server.checked_us = now_us;
        let step = server.params.weight.checked_div(server.params.max_fails).unwrap_or(0);
        server.effective = (server.effective - i64::from(step)).max(0);
    }

    /// The server answered.
    pub fn succeeded(&mut self, index: usize) {
        if let Some(server) = self.servers.get_mut(index)
            && server.failed_us < server.checked_us
        {
            server.fails = 0;
        }
    }

    fn round(&mut self, now_us: u64, tried: &[usize], backup: bool) -> Option<usize> {
        let mut total = 0;
        let mut best: Option<usize> = None;
        for index in 0..self.servers.len() {
            let server = &mut self.servers[index];
            if server.params.backup != backup || tried.contains(&index) || !server.is_usable(now_us) {
                continue;
            }
            server.current += server.effective;
            total += server.effective;
            if server.effective < server.params.weight.into() {
                server.effective += 1;
            }
            let current = server.current;
            if best.is_none_or(|b| current > self.servers[b].current) {
                best = Some(index);
            }
        }
        let server = &mut self.servers[best?];
        server.current -= total;
        if now_us.saturating_sub(server.checked_us) > server.params.fail_timeout_us {
            server.checked_us = now_us;
        }
        best
    }
}

impl State {
    fn is_usable(&self, now_us: u64) -> bool {
        let resting = self.params.max_fails > 0
            && self.fails >= self.params.max_fails
            && now_us.saturating_sub(self.checked_us) <= self.params.fail_timeout_us;
        !self.params.down && !resting
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    fn plain(weight: u32) -> Params {
        Params { weight, max_fails: 1, fail_timeout_us: 10 * SECOND, backup: false, down: false }
    }

    fn picks(balancer: &mut Balancer, count: usize) -> Vec<usize> {
        (0..count).filter_map(|_| balancer.pick(SECOND, &[])).collect()
    }

    #[test]
    fn weights_are_spread_smoothly() {
        let mut balancer = Balancer::new([plain(5), plain(1), plain(1)]);
        // The sequence that nginx gives for weights 5, 1, 1.
        assert_eq!(picks(&mut balancer, 7), [0, 0, 1, 0, 2, 0, 0]);
    }

    #[test]
    fn a_failed_server_rests_for_its_fail_timeout() {
        let mut balancer = Balancer::new([plain(1), plain(1)]);
        balancer.failed(0, SECOND);
        assert_eq!(picks(&mut balancer, 3), [1, 1, 1]);
        let later: Vec<_> = (0..4).filter_map(|_| balancer.pick(12 * SECOND, &[])).collect();
        assert!(later.contains(&0), "{later:?}");
    }

    #[test]
    fn a_backup_serves_only_when_the_others_cannot() {
        let backup = Params { backup: true, ..plain(1) };
        let mut balancer = Balancer::new([plain(1), backup]);
        assert_eq!(picks(&mut balancer, 2), [0, 0]);
        assert_eq!(balancer.pick(SECOND, &[0]), Some(1));
        balancer.failed(0, SECOND);
        assert_eq!(picks(&mut balancer, 2), [1, 1]);
    }

    #[test]
    fn down_and_tried_servers_are_left_out() {
        let down = Params { down: true, ..plain(1) };
        let mut balancer = Balancer::new([down, plain(1), plain(1)]);
        let all = picks(&mut balancer, 4);
        assert!(!all.contains(&0), "{all:?}");
        assert_eq!(balancer.pick(SECOND, &[1, 2]), None);
    }

    #[test]
    fn a_lone_server_ignores_its_failures() {
        let mut balancer = Balancer::new([plain(1)]);
        balancer.failed(0, SECOND);
        assert_eq!(balancer.pick(SECOND, &[]), Some(0));
    }

    #[test]
    fn success_after_the_rest_clears_the_count() {
        let mut balancer = Balancer::new([Params { max_fails: 2, ..plain(1) }, plain(1)]);
        balancer.failed(0, SECOND);
        while balancer.pick(20 * SECOND, &[]) != Some(0) {}
        balancer.succeeded(0);
        balancer.failed(0, 21 * SECOND);
        assert!((0..4).any(|_| balancer.pick(22 * SECOND, &[]) == Some(0)));
    }
}
