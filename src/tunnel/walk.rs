//! Ways past all tunnels, as somebody else wants them: what is found is gathered by each pump, and brought back.

use std::sync::Arc;

use tokio::sync::oneshot;

use super::table::{Row, Wish};

/// What is done at each tunnel of a pump.
pub(super) trait Walk: Send {
    /// At a tunnel: what is wished of it.
    fn pass(&mut self, row: Row) -> Option<Wish>;
    /// Nobody waits for what is found.
    fn is_idle(&self) -> bool;
    /// All were passed: whoever waits is told.
    fn arrive(self: Box<Self>);
}

/// Gathers a value from tunnel to tunnel.
pub(super) struct Fold<T, F> {
    value: T,
    step: Arc<F>,
    to: oneshot::Sender<T>,
}

impl<T, F> Fold<T, F>
where
    T: Send + 'static,
    F: Fn(&mut T, Row) -> Option<Wish> + Send + Sync + 'static,
{
    /// A way that begins with this value, and who waits for what becomes of it.
    pub(super) fn begin(value: T, step: Arc<F>) -> (Box<dyn Walk>, oneshot::Receiver<T>) {
        let (to, answer) = oneshot::channel();
        (Box::new(Fold { value, step, to }), answer)
    }
}

impl<T, F> Walk for Fold<T, F>
where
    T: Send,
    F: Fn(&mut T, Row) -> Option<Wish> + Send + Sync,
{
    fn pass(&mut self, row: Row) -> Option<Wish> {
        (self.step)(&mut self.value, row)
    }

    fn is_idle(&self) -> bool {
        self.to.is_closed()
    }

    fn arrive(self: Box<Self>) {
        // Whoever asked may have left.
        let _ = self.to.send(self.value);
    }
}
