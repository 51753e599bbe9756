//! One copy of the options for all tunnels that behave alike.

use std::collections::HashSet;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use longwire_wire::Options;

static KNOWN: LazyLock<Mutex<HashSet<Arc<Options>>>> = LazyLock::new(Mutex::default);

/// These options, shared with every open tunnel that has the same.
pub fn shared(options: Options) -> Arc<Options> {
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(found) = known.get(&options) {
        return found.clone();
    }
    // Something new is rare, and then those that nobody uses any more go.
    known.retain(|options| Arc::strong_count(options) > 1);
    let fresh = Arc::new(options);
    known.insert(fresh.clone());
    fresh
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_are_alike_are_one() {
        let options = |close_us| Options {
            ping: None,
            idle_us: 1,
            write_us: [2; 2],
            close_us,
            max_message: None,
            rate: None,
            rsv: 0,
        };
        let first = shared(options(7_000_001));
        assert!(Arc::ptr_eq(&first, &shared(options(7_000_001))));
        let second = shared(options(7_000_002));
        assert_ne!(first, second);
        let gone = Arc::downgrade(&second);
        drop(second);
        let _third = shared(options(7_000_003));
        assert!(gone.upgrade().is_none(), "what no tunnel uses is forgotten");
        assert!(Arc::ptr_eq(&first, &shared(options(7_000_001))));
    }
}
