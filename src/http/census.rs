//! Who is here: what `stub_status` tells.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::exchange::{Exchange, Step};
use super::phases::answered;
use crate::metrics::HandshakeFault;
use crate::route::answer::{Answer, plain_text};

/// Counts of the process. Whoever holds a clone of a mark is counted by it.
#[derive(Debug, Default)]
pub(crate) struct Census {
    /// Connections that this process has accepted.
    pub(crate) accepted: AtomicU64,
    /// Requests to this process.
    pub(crate) requests: AtomicU64,
    /// Both of the processes before it, whose place it took.
    before: [AtomicU64; 2],
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
        let [accepted, requests] = &self.before;
        [(&self.accepted, accepted), (&self.requests, requests)]
            .map(|(own, before)| own.load(Relaxed) + before.load(Relaxed))
    }

    /// Counts what another process has counted.
    pub(crate) fn add(&self, counts: [u64; 2]) {
        for (before, count) in self.before.iter().zip(counts) {
            before.fetch_add(count, Relaxed);
        }
    }

    /// The same of this process alone.
    pub(crate) fn own(&self) -> [u64; 2] {
        [self.accepted.load(Relaxed), self.requests.load(Relaxed)]
    }

    /// Connections that are open and no tunnels, those whose request head has begun, and requests in work.
    pub(crate) fn present(&self) -> [usize; 3] {
        [&self.open, &self.reading, &self.working].map(|mark| Arc::strong_count(mark) - 1)
    }

    /// The page, in nginx's words: a tunnel counts as a connection that is being written to.
    fn page(&self, tunnels: usize) -> String {
        let [open, reading, working] = self.present();
        let (active, writing) = (open + tunnels, working + tunnels);
        let waiting = active.saturating_sub(reading + writing);
        let [accepted, requests] = self.counts();
        format!(
            "Active connections: {active} \nserver accepts handled requests\n {accepted} {accepted} {requests} \n\
             Reading: {reading} Writing: {writing} Waiting: {waiting} \n"
        )
    }
}

/// Answers with the counts; only GET and HEAD are understood.
pub(super) fn status(x: &mut Exchange) -> Step {
    x.blame(
        HandshakeFault::NotProxied,
        format_args!("\"stub_status\" answers at this place, nothing is proxied here"),
    );
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
        census.requests.store(19, Relaxed);
        census.add([0, 1]);
        let held = [census.open.clone(), census.open.clone(), census.open.clone()];
        let (reading, working) = (census.reading.clone(), census.working.clone());
        let page = "Active connections: 5 \nserver accepts handled requests\n 9 9 20 \nReading: 1 Writing: 3 Waiting: 1 \n";
        assert_eq!(census.page(2), page);
        drop((held, reading, working));
        assert!(census.page(0).starts_with("Active connections: 0 \n"));
    }
}
