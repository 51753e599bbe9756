//! Which of the two ends.

use core::ops::{Index, IndexMut};

/// One of the two ends of a tunnel.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum Side {
    /// The end that asked for the connection. Its frames are masked.
    Client,
    /// The end that the connection was opened to. Its frames are not masked.
    Backend,
}

impl Side {
    /// Both sides, in the order of [`Side::index`].
    pub const BOTH: [Side; 2] = [Side::Client, Side::Backend];

    /// The opposite side.
    pub fn other(self) -> Side {
        match self {
            Side::Client => Side::Backend,
            Side::Backend => Side::Client,
        }
    }

    /// 0 for the client, 1 for the backend.
    pub fn index(self) -> usize {
        match self {
            Side::Client => 0,
            Side::Backend => 1,
        }
    }
}

/// One value for each side, indexed by [`Side`].
#[derive(Copy, Clone, PartialEq, Eq, Default, Debug)]
pub struct Pair<T> {
    /// The client's.
    pub client: T,
    /// The backend's.
    pub backend: T,
}

impl<T> Index<Side> for Pair<T> {
    type Output = T;

    fn index(&self, side: Side) -> &T {
        match side {
            Side::Client => &self.client,
            Side::Backend => &self.backend,
        }
    }
}

impl<T> IndexMut<Side> for Pair<T> {
    fn index_mut(&mut self, side: Side) -> &mut T {
        match side {
            Side::Client => &mut self.client,
            Side::Backend => &mut self.backend,
        }
    }
}

/// Who ended a tunnel.
#[derive(Copy, Clone, PartialEq, Eq, Hash, Debug)]
pub enum Party {
    /// The client closed, vanished or misbehaved.
    Client,
    /// The backend closed, vanished or misbehaved.
    Backend,
    /// The proxy decided: a timer, a shutdown, an operator.
    Proxy,
}

impl From<Side> for Party {
    fn from(side: Side) -> Party {
        match side {
            Side::Client => Party::Client,
            Side::Backend => Party::Backend,
        }
    }
}

impl Party {
    /// `client`, `backend` or `proxy`, for logs.
    pub fn name(self) -> &'static str {
        match self {
            Party::Client => "client",
            Party::Backend => "backend",
            Party::Proxy => "proxy",
        }
    }
}
