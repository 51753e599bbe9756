//! The table of live tunnels: who is connected, how each one does, and the way to end it from outside.
//!
//! A pump has its tunnels to itself. Whoever wants to know or to change something leaves an [`Errand`] in its inbox, and
//! the pump runs it between two batches of events, some tunnels at a time. So nothing is published while nobody asks.
//! What runs as a task of the runtime is rare and stands in a list here.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use longwire_wire::{Cause, CloseCode, Farewell, Party, Planned, Stats, Time, Tunnel};
use tokio::sync::oneshot;

use super::drain::{Drain, Round, Spread};
use super::drive::{Ends, Report};
use super::pump::{Line, Parcel, Pumps};
use super::tally::{Tally, Traffic};
use super::walk::{Fold, Walk};
use crate::clock;
use crate::route::facts::Peer;

/// All tunnels of the process, and the pumps that drive them.
pub struct Tunnels {
    pumps: Pumps,
    tasks: Arc<Mutex<Tasks>>,
}

/// Tunnels that run as tasks of the runtime.
#[derive(Default)]
struct Tasks {
    live: BTreeMap<u64, Arc<Live>>,
    /// Asked of all of them, those that open now as well.
    wish: Option<Wish>,
    /// In force, for those that open now.
    drain: Option<Arc<Drain>>,
    /// What those that have ended carried.
    carried: Traffic,
}

/// What the one who opened a tunnel keeps for it: who it is, and what is to be done at its end.
pub trait Keeper: Send {
    /// [`About::id`].
    fn id(&self) -> u64;
    /// Who it is.
    fn about(&self) -> About;
    /// As bytes, for a keeper of another process; times are distances from `now_us`. `None`: it stays with this one.
    fn save(&self, now_us: u64) -> Option<Vec<u8>> {
        let _ = now_us;
        None
    }
    /// [`About::place`].
    fn place(&self) -> &Place;
    /// It has ended and has left the table. Runs on the pump's thread and must not wait.
    fn ended(self: Box<Self>, report: &Report);
}

/// Who a tunnel is: what does not change while it is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// Serial number of the client's connection, `$connection`: unique in the process, and in every line of the logs.
    pub id: u64,
    /// The client.
    pub client: Peer,
    /// When it opened, microseconds of the process's clock.
    pub opened_us: u64,
    /// Which way it goes.
    pub place: Arc<Place>,
    /// The version of TLS towards the client and towards the backend, by [`Side::index`](longwire_wire::Side::index);
    /// `None` without TLS.
    pub tls: [Option<&'static str>; 2],
}

/// The way that a tunnel takes through the configuration. Tunnels that take the same way share it.
#[derive(Debug, Default, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    /// First name of the server, empty when it has none.
    pub server: String,
    /// The location as written: `= /ws`.
    pub location: String,
    /// Name of the `upstream` block, or the host with its port as written in `proxy_pass`.
    pub group: String,
    /// Address of the server of that group, as connected to.
    pub backend: String,
    /// There is TLS towards it.
    pub https: bool,
}

impl Place {
    /// `http` or `https`, towards the backend.
    pub fn scheme(&self) -> &'static str {
        if self.https { "https" } else { "http" }
    }
}

/// A tunnel at the moment when somebody asked.
#[derive(Debug, Clone)]
pub struct Row {
    /// Who it is.
    pub about: About,
    /// What it counted.
    pub stats: Stats,
    /// How it is.
    pub state: State,
    /// When a byte last came from either end, answers to our pings included; `None` where that is not known.
    pub heard_us: Option<u64>,
    /// When it is to be closed, where that is set.
    pub closes_us: Option<u64>,
}

/// Whether a tunnel is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Frames flow.
    Open,
    /// Its end is decided, and Close frames are under way.
    Closing {
        /// Who ends it.
        by: Party,
        /// Why.
        cause: Cause,
    },
}

/// What somebody wishes of a tunnel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wish {
    /// A Close frame to both ends at the next frame boundary.
    Close(Farewell),
    /// The same at this time, microseconds of the process's clock; [`u64::MAX`] takes it back.
    CloseAt(Farewell, u64),
    /// Its end, now.
    Cut,
}

/// A way round the tunnels of a pump: it does what is wished of them, and gathers what somebody wants to know.
pub(super) struct Errand {
    /// Only the tunnel of this number; `None` goes to all.
    pub(super) only: Option<u64>,
    pub(super) wish: Option<Wish>,
    /// A drain, and who waits for the number of tunnels that were set a time.
    pub(super) drain: Option<(Box<Round>, oneshot::Sender<usize>)>,
    pub(super) walk: Option<Box<dyn Walk>>,
    /// The slot where it goes on.
    pub(super) next: usize,
}

impl Errand {
    pub(super) fn new(only: Option<u64>, wish: Option<Wish>) -> Errand {
        Errand { only, wish, drain: None, walk: None, next: 0 }
    }

    /// Nobody waits for it any more, and nothing is wished.
    pub(super) fn is_idle(&self) -> bool {
        self.wish.is_none() && self.drain.is_none() && self.walk.as_ref().is_none_or(|walk| walk.is_idle())
    }
}

impl Tunnels {
    /// An empty table with this many pumps.
    pub fn start(threads: usize) -> io::Result<Tunnels> {
        Ok(Tunnels { pumps: Pumps::start(threads)?, tasks: Arc::default() })
    }

    /// Hands a tunnel to the pump with the fewest; `keeper` is told when it has ended.
    pub fn place(&self, tunnel: Tunnel, ends: Ends<Line>, keeper: Box<dyn Keeper>) {
        self.pumps.place(tunnel, ends, keeper);
    }

    /// Enters a tunnel that runs as a task; it leaves when the guard is dropped.
    pub fn enter(&self, about: About) -> Entry {
        let live = Arc::new(Live::new(about));
        let mut tasks = lock(&self.tasks);
        tasks.live.insert(live.about.id, live.clone());
        let about = &live.about;
        let late = |drain: &Arc<Drain>| drain.late(&about.place, about.id, clock::now_us());
        if let Some(wish) = tasks.wish.clone().or_else(|| tasks.drain.as_ref().and_then(late)) {
            live.wish(wish);
        }
        drop(tasks);
        Entry { live, tasks: self.tasks.clone() }
    }

    /// Takes up to so many tunnels out of the pumps, except those with these numbers. When they are fewer there are no
    /// others: what runs as a task stays.
    pub async fn park(&self, most: usize, except: &Arc<HashSet<u64>>) -> Vec<Parcel> {
        self.pumps.park(most, except).await
    }

    /// Goes on with tunnels exactly where they stopped.
    pub fn resume(&self, parcels: Vec<Parcel>) {
        self.pumps.resume(parcels);
    }

    /// How many are open, or on their way to a pump.
    pub fn count(&self) -> usize {
        self.pumps.count() + lock(&self.tasks).live.len()
    }

    /// What all have carried in this process, those that have ended included; and how many are open on each way.
    pub async fn tally(&self) -> Tally {
        let mut tally = self.pumps.tally().await;
        tally += lock(&self.tasks).tally();
        tally
    }

    /// All that are open, in no order. Each row is true for a moment of its own: what opens or ends while the list is
    /// made may be in it or not, but nothing is in it twice.
    pub async fn list(&self) -> Vec<Row> {
        self.fold(Vec::new, |rows: &mut Vec<Row>, row| rows.push(row)).await.concat()
    }

    /// Goes past all that are open, as [`list`](Self::list), and gathers something from each: every pump begins with a
    /// value of its own, and does its share between its other work, some tunnels at a time.
    pub async fn fold<T: Send + 'static>(
        &self,
        start: impl FnMut() -> T,
        step: impl Fn(&mut T, Row) + Send + Sync + 'static,
    ) -> Vec<T> {
        let step = move |value: &mut T, row: Row| {
            step(value, row);
            None
        };
        self.walk((None, None), start, step).await
    }

    /// The tunnel of a client's connection.
    pub async fn find(&self, id: u64) -> Option<Row> {
        self.visit(id, None).await
    }

    /// Asks a tunnel to end with a Close frame to both ends at the next frame boundary. Gives it as it then is; `None`
    /// when there is none of that number.
    pub async fn close(&self, id: u64, farewell: impl Into<Farewell>) -> Option<Row> {
        self.visit(id, Some(Wish::Close(farewell.into()))).await
    }

    /// Asks all that are open, and of which `which` is true, to end with a Close frame: so many of them in a second,
    /// one after the other. Gives how many, and the microseconds until the last one is told.
    pub async fn close_where(
        &self,
        which: impl Fn(&Row) -> bool + Send + Sync + 'static,
        farewell: Farewell,
        a_second: f64,
    ) -> (usize, u64) {
        let which = Arc::new(move |row: &Row| row.state == State::Open && which(row));
        let is_one = which.clone();
        let counts = self.fold(|| 0u64, move |count, row| *count += u64::from(is_one(&row))).await;
        let (count, begun_us) = (counts.iter().sum::<u64>(), clock::now_us());
        let over_us = (count as f64 / a_second.max(f64::MIN_POSITIVE) * 1e6) as u64;
        let chance = getrandom::u64().unwrap_or_default();
        let mut spreads = counts.into_iter().map(|count| Spread::new(over_us, count));
        let step = move |spread: &mut Spread, row: Row| {
            let after_us = which(&row).then(|| spread.next(chance))?;
            Some(Wish::CloseAt(farewell.clone(), begun_us.saturating_add(after_us)))
        };
        let spreads = self.walk((None, None), || spreads.next().unwrap_or_default(), step).await;
        (spreads.iter().map(Spread::given).sum(), over_us)
    }

    /// Asks every tunnel, also those that open later, to end with a Close frame at the next frame boundary.
    pub fn close_all(&self, code: CloseCode, cause: Cause) {
        self.wish_all(Wish::Close((code, cause).into()));
    }

    /// Begins a drain, which takes the place of the one before. Gives how many tunnels were set a time.
    ///
    /// Each pump has its tunnels spread evenly over the time; as they have equally many, all together are.
    pub async fn drain(&self, drain: Drain) -> usize {
        let drain = Arc::new(drain);
        let mut answers = Vec::new();
        self.pumps.send(|| {
            let (to, answer) = oneshot::channel();
            answers.push(answer);
            let round = Box::new(Round::new(drain.clone()));
            Errand { drain: Some((round, to)), ..Errand::new(None, None) }
        });
        let mut count = lock(&self.tasks).drain(drain);
        for answer in answers {
            count += answer.await.unwrap_or_default();
        }
        count
    }

    /// Ends every tunnel now, where the time for Close frames is up.
    pub fn cut_all(&self) {
        self.wish_all(Wish::Cut);
    }

    fn wish_all(&self, wish: Wish) {
        self.pumps.send(|| Errand::new(None, Some(wish.clone())));
        let mut tasks = lock(&self.tasks);
        tasks.live.values().for_each(|live| live.wish(wish.clone()));
        tasks.wish = Some(wish);
    }

    async fn visit(&self, id: u64, wish: Option<Wish>) -> Option<Row> {
        let step = |found: &mut Option<Row>, row| {
            *found = Some(row);
            None
        };
        self.walk((Some(id), wish), || None, step).await.into_iter().flatten().next()
    }

    /// Goes past all tunnels, or past one only, with something to wish of them before they are looked at. Gives what
    /// each pump has gathered, and last what the tasks had to give.
    async fn walk<T: Send + 'static>(
        &self,
        (only, wish): (Option<u64>, Option<Wish>),
        mut start: impl FnMut() -> T,
        step: impl Fn(&mut T, Row) -> Option<Wish> + Send + Sync + 'static,
    ) -> Vec<T> {
        let step = Arc::new(step);
        let mut answers = Vec::new();
        self.pumps.send(|| {
            let (walk, answer) = Fold::begin(start(), step.clone());
            answers.push(answer);
            Errand { walk: Some(walk), ..Errand::new(only, wish.clone()) }
        });
        let mut last = start();
        for live in lock(&self.tasks).live.values().filter(|live| only.is_none_or(|id| id == live.about.id)) {
            wish.iter().for_each(|wish| live.wish(wish.clone()));
            step(&mut last, live.row()).into_iter().for_each(|wish| live.wish(wish));
        }
        let mut found = Vec::new();
        for answer in answers {
            // A pump that has ended has no tunnels.
            found.extend(answer.await);
        }
        found.push(last);
        found
    }
}

impl Tasks {
    fn tally(&self) -> Tally {
        let mut tally = Tally { traffic: self.carried, ..Tally::default() };
        for live in self.live.values() {
            let Shown { stats, state, .. } = *lock(&live.shown);
            tally.traffic.add(&stats);
            tally.closing += usize::from(state != State::Open);
            tally.places.push((live.about.place.clone(), 1));
        }
        tally
    }

    /// Begins a drain. Gives how many were set a time.
    fn drain(&mut self, drain: Arc<Drain>) -> usize {
        let mut round = Round::new(drain.clone());
        self.drain = Some(drain);
        loop {
            for live in self.live.values().filter(|live| live.row().state == State::Open) {
                let wish = round.pass(&live.about.place, live.planned().as_ref());
                wish.into_iter().for_each(|wish| live.wish(wish));
            }
            if let Some(count) = round.turn() {
                return count;
            }
        }
    }
}

/// Keeps a tunnel in the table that runs as a task.
pub struct Entry {
    /// The tunnel.
    pub live: Arc<Live>,
    tasks: Arc<Mutex<Tasks>>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut tasks = lock(&self.tasks);
        if tasks.live.remove(&self.live.about.id).is_some() {
            let Shown { stats, .. } = *lock(&self.live.shown);
            tasks.carried.add(&stats);
        }
    }
}

/// A tunnel that runs as a task, as others see it meanwhile.
pub struct Live {
    about: About,
    shown: Mutex<Shown>,
    command: Mutex<Command>,
}

/// What its driver shows of a tunnel.
#[derive(Clone, Copy)]
pub(super) struct Shown {
    /// What it counted.
    pub(super) stats: Stats,
    /// How it is.
    pub(super) state: State,
    /// [`Row::heard_us`].
    pub(super) heard_us: Option<u64>,
}

#[derive(Default)]
struct Command {
    wish: Option<Wish>,
    /// The last time that was set for it, as its driver will know it.
    planned: Option<Planned>,
    driver: Option<Waker>,
}

impl Live {
    /// A tunnel that has counted nothing yet.
    pub fn new(about: About) -> Live {
        let shown = Shown { stats: Stats::default(), state: State::Open, heard_us: Some(about.opened_us) };
        Live { about, shown: Mutex::new(shown), command: Mutex::default() }
    }

    /// Asks for a Close frame with this code to both ends.
    pub fn close(&self, code: CloseCode, cause: Cause) {
        self.wish(Wish::Close((code, cause).into()));
    }

    fn wish(&self, wish: Wish) {
        let mut command = lock(&self.command);
        if let Wish::CloseAt(farewell, at_us) = &wish {
            let planned = Planned { at: Time(*at_us), farewell: farewell.clone() };
            command.planned = (*at_us != u64::MAX).then_some(planned);
        }
        // What is to end now does not end more slowly because somebody asks for that as well.
        let is_slower = matches!(
            (&command.wish, &wish),
            (Some(Wish::Cut), _) | (Some(Wish::Close(..)), Wish::CloseAt(..))
        );
        if !is_slower {
            command.wish = Some(wish);
        }
        if let Some(driver) = command.driver.take() {
            driver.wake();
        }
    }

    fn planned(&self) -> Option<Planned> {
        lock(&self.command).planned.clone()
    }

    fn row(&self) -> Row {
        let Shown { stats, state, heard_us } = *lock(&self.shown);
        let closes_us = self.planned().map(|planned| planned.at.0).filter(|_| state == State::Open);
        Row { about: self.about.clone(), stats, state, heard_us, closes_us }
    }

    /// The driver takes what was asked of it, and is woken at the next wish.
    pub(super) fn take_command(&self, driver: &Waker) -> Option<Wish> {
        let mut command = lock(&self.command);
        if !command.driver.as_ref().is_some_and(|d| d.will_wake(driver)) {
            command.driver = Some(driver.clone());
        }
        command.wish.take()
    }

    /// The driver shows its figures.
    pub(super) fn publish(&self, shown: Shown) {
        *lock(&self.shown) = shown;
    }
}

/// A panic while the lock was held cannot leave these half-changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
