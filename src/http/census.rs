//! Who is here: what `stub_status` tells.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::exchange::{Exchange, Step};
use super::phases::answered;
use crate::route::answer::{Answer, plain_text};

/// Counts of the process. Whoever holds a clone of a mark is counted by it.
#[derive(Debug, Default)]
pub(crate) struct Census {
    /// Connections that were accepted, ever.
    pub(crate) accepted: AtomicU64,
    /// Requests, ever.
    pub(crate) requests: AtomicU64,
    /// Connections that are open and no tunnels.
    pub(crate) open: Arc<()>,
    /// Connections whose request head has begun and is not whole.
    pub(crate) reading: Arc<()>,
    /// Requests in work.
    pub(crate) working: Arc<()>,
}

impl Census {
    /// Connections that were accepted, and requests, ever.
    pub(crate) fn counts(&self) -> [u64; 2] {
        [self.accepted.load(Relaxed), self.requests.load(Relaxed)]
    }

    /// Counts what another process has counted.
    pub(crate) fn add(&self, [accepted, requests]: [u64; 2]) {
        self.accepted.fetch_add(accepted, Relaxed);
        self.requests.fetch_add(requests, Relaxed);
    }

    /// The page, in nginx's words: a tunnel counts as a connection that is being written to.
    fn page(&self, tunnels: usize) -> String {
        let holders = |mark: &Arc<()>| Arc::strong_count(mark) - 1;
        let active = holders(&self.open) + tunnels;
        let (reading, writing) = (holders(&self.reading), holders(&self.working) + tunnels);
        let waiting = active.saturating_sub(reading + writing);
        let accepted = self.accepted.load(Relaxed);
        let requests = self.requests.load(Relaxed);
        format!(
            "Active connections: {active} \nserver accepts handled requests\n {accepted} {accepted} {requests} \n\
             Reading: {reading} Writing: {writing} Waiting: {waiting} \n"
        )
    }
}

/// Answers with the counts; only GET and HEAD are understood.
pub(super) fn status(x: &mut Exchange) -> Step {
    x.blame("configuration", format_args!("\"stub_status\" answers at this place, nothing is proxied here"));
    if !matches!(x.method.as_str(), "GET" | "HEAD") {
        return Step::Status(405, None);
    }
    x.drop_body();
    let page = x.service.census.page(x.service.tunnels.count());
    let reply = plain_text(page.into_bytes(), &x.settings, &x.scope());
    answered(Answer::Reply(reply))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_count_their_holders() {
        let census = Census::default();
        census.accepted.store(9, Relaxed);
        census.requests.store(20, Relaxed);
        let held = [census.open.clone(), census.open.clone(), census.open.clone()];
        let (reading, working) = (census.reading.clone(), census.working.clone());
        let page = "Active connections: 5 \nserver accepts handled requests\n 9 9 20 \nReading: 1 Writing: 3 Waiting: 1 \n";
        assert_eq!(census.page(2), page);
        drop((held, reading, working));
        assert!(census.page(0).starts_with("Active connections: 0 \n"));
    }
}
