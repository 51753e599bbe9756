//! Pure: what a run of held sockets shows.

use super::{Habit, Idle, Socket, Wake};

/// What held sockets showed.
#[derive(Clone, PartialEq, Debug)]
pub enum Finding {
    /// All of them were still open when the run was over.
    Kept,
    /// Silence ended them.
    IdleTimer {
        /// Milliseconds of silence.
        after_ms: u64,
        /// A ping now and then keeps a connection; unknown when no socket with pings could be held.
        pings_help: Option<bool>,
        /// A message now and then keeps a connection.
        messages_help: Option<bool>,
    },
    /// Their age ended them, busy or not.
    Lifetime {
        /// Milliseconds since they were opened.
        after_ms: u64,
    },
    /// All ended at one moment, whatever their age and habit.
    Together {
        /// Milliseconds since the run began.
        at_ms: u64,
    },
    /// Silent ones were forgotten on the way, and nobody was told.
    Forgotten {
        /// The longest silence, in milliseconds, after which one still answered; 0 when none did.
        alive_ms: u64,
        /// The shortest after which none did.
        dead_ms: u64,
        /// What was sent then was answered with RST; otherwise with nothing.
        reset: bool,
    },
    /// Nothing clear, and why.
    Unclear(String),
}

/// What the run shows: the gravest first, never empty.
pub fn findings(idle: &Idle) -> Vec<Finding> {
    let run = Run::new(idle);
    let opened = run.silent.len() + run.busy.len();
    if opened == 0 || run.silent.is_empty() {
        let wanted = idle.sockets.len();
        return vec![Finding::Unclear(format!("of {wanted} sockets only {opened} could be opened"))];
    }
    if let Some(found) = run.together() {
        return vec![found];
    }
    if let Some(found) = run.lifetime() {
        return vec![found];
    }
    let mut found: Vec<Finding> = run.idle_timer().into_iter().chain(run.late_lifetime()).collect();
    found.extend(run.forgotten().filter(|_| found.is_empty()));
    if found.is_empty() {
        found.push(run.rest());
    }
    found
}

/// The sockets that say something.
struct Run<'a> {
    /// Within which times count as the same, in milliseconds.
    same_ms: u64,
    /// Those that were to be silent.
    silent: Vec<&'a Socket>,
    /// Those that were not, without those that ended before they had said anything, or for what they said.
    busy: Vec<&'a Socket>,
}

impl<'a> Run<'a> {
    fn new(idle: &'a Idle) -> Run<'a> {
        let opened = || idle.sockets.iter().filter(|socket| socket.refused.is_none());
        Run {
            // Opened one after the other, sockets of the same age and sockets of the same moment are told apart by this.
            same_ms: (idle.stagger_ms / 3).max(400),
            silent: opened().filter(|socket| socket.habit == Habit::Silent).collect(),
            busy: opened().filter(|socket| socket.habit != Habit::Silent && socket.is_witness()).collect(),
        }
    }

    /// The silent ones that ended before anything was said to them.
    fn dead_silent(&self) -> Vec<&'a Socket> {
        self.silent.iter().copied().filter(|socket| socket.ended_by_far_end()).collect()
    }

    fn dead_busy(&self) -> Vec<&'a Socket> {
        self.busy.iter().copied().filter(|socket| socket.ended_by_far_end()).collect()
    }

    fn same(&self, times: impl Iterator<Item = u64> + Clone) -> bool {
        let (low, high) = (times.clone().min().unwrap_or_default(), times.max().unwrap_or_default());
        high - low <= self.same_ms
    }

    /// All that were open ended within a moment, and were of different ages.
    fn together(&self) -> Option<Finding> {
        let dead: Vec<&Socket> = self.dead_silent().into_iter().chain(self.dead_busy()).collect();
        let at_ms = middle(dead.iter().filter_map(|socket| socket.ended_ms))?;
        let open = self
            .silent
            .iter()
            .chain(&self.busy)
            .filter(|socket| socket.was_open_at(at_ms - self.same_ms.min(at_ms)));
        let all = open.clone().count();
        let enough = all >= 2 && dead.len() == all && (self.busy.is_empty() || !self.dead_busy().is_empty());
        let moment = self.same(dead.iter().filter_map(|socket| socket.ended_ms));
        let ages = self.same(open.map(|socket| socket.opened_ms));
        (enough && moment && !ages).then_some(Finding::Together { at_ms })
    }

    /// Busy and silent ones ended at the same age.
    fn lifetime(&self) -> Option<Finding> {
        let (silent, busy) = (self.dead_silent(), self.dead_busy());
        let dead = || silent.iter().chain(&busy).map(|socket| socket.age_ms());
        let all = busy.len() == self.busy.len() && !busy.is_empty() && !silent.is_empty();
        let after_ms = middle(dead())?;
        // Silent ones that were spoken to before that age are done, and say nothing.
        let none_older = self.silent.iter().all(|socket| socket.age_ms() <= after_ms + self.same_ms);
        (all && none_older && self.same(dead())).then_some(Finding::Lifetime { after_ms })
    }

    /// Silent ones ended, and at least one that was not lived on.
    fn idle_timer(&self) -> Option<Finding> {
        let dead = self.dead_silent();
        let after_ms = middle(dead.iter().map(|socket| socket.silence_ms()))?;
        let outlived = self.silent.iter().any(|socket| socket.silent_ms_survived() > after_ms + self.same_ms);
        let helps = |habit: Habit| {
            // One that ended before its silent sisters did so for another reason.
            let witness = |socket: &&&Socket| {
                socket.habit == habit
                    && (!socket.ended_by_far_end() || socket.age_ms() + self.same_ms >= after_ms)
            };
            let mut of_habit = self.busy.iter().filter(witness).peekable();
            of_habit.peek()?;
            Some(of_habit.all(|socket| socket.age_ms() > after_ms + self.same_ms))
        };
        let (pings_help, messages_help) = (helps(Habit::Pinging), helps(Habit::Sending));
        let lived_on = pings_help == Some(true) || messages_help == Some(true);
        (lived_on && !outlived).then_some(Finding::IdleTimer { after_ms, pings_help, messages_help })
    }

    /// Busy ones outlived the silent ones, and then ended at one age.
    fn late_lifetime(&self) -> Option<Finding> {
        let dead = self.dead_busy();
        let after_ms = middle(dead.iter().map(|socket| socket.age_ms()))?;
        let silence = middle(self.dead_silent().iter().map(|socket| socket.silence_ms()))?;
        let all = dead.len() == self.busy.len() && dead.len() >= 2;
        (all && after_ms > silence + self.same_ms && self.same(dead.iter().map(|socket| socket.age_ms())))
            .then_some(Finding::Lifetime { after_ms })
    }

    /// Nothing ended, but silent ones no longer answer when they are spoken to.
    fn forgotten(&self) -> Option<Finding> {
        let woken = |wake: Wake| self.silent.iter().filter(move |socket| socket.wake == Some(wake));
        let dead = || woken(Wake::Unanswered).chain(woken(Wake::Reset));
        let dead_ms = dead().map(|socket| socket.wake_ms).min()?;
        let alive_ms = woken(Wake::Answered).map(|socket| socket.wake_ms).max().unwrap_or(0);
        let reset = woken(Wake::Reset).next().is_some();
        // Where pings are never answered, an unanswered one says nothing.
        let answers = reset || alive_ms > 0 || self.busy.iter().any(|socket| socket.pongs_heard > 0);
        (self.dead_silent().is_empty() && alive_ms < dead_ms && answers).then_some(Finding::Forgotten {
            alive_ms,
            dead_ms,
            reset,
        })
    }

    fn rest(&self) -> Finding {
        let (silent, busy) = (self.dead_silent().len(), self.dead_busy().len());
        let of = |dead: usize, all: usize, what: &str| format!("{dead} of {all} {what} sockets were ended");
        let (all_silent, all_busy) = (self.silent.len(), self.busy.len());
        if silent == 0 && busy == 0 {
            return Finding::Kept;
        }
        let said = format!("{} and {}", of(silent, all_silent, "silent"), of(busy, all_busy, "busy"));
        Finding::Unclear(if self.busy.is_empty() {
            format!("{said}: without a busy one that lives, silence and age cannot be told apart")
        } else {
            format!("{said}, at times that follow no one rule")
        })
    }
}

/// The middle one of some times; `None` of none.
fn middle(times: impl Iterator<Item = u64>) -> Option<u64> {
    let mut times: Vec<u64> = times.collect();
    times.sort_unstable();
    times.get(times.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::facts::{End, Ending};
    use Habit::{Pinging, Sending, Silent};

    /// Five sockets as a run of 75 s opens them: three silent, one that pings, one that sends.
    fn run(mut fate: impl FnMut(&mut Socket)) -> Idle {
        let habits = [(Silent, 75_000), (Pinging, 0), (Silent, 75_000), (Sending, 0), (Silent, 37_500)];
        let mut sockets = Vec::new();
        for (n, (habit, wake_ms)) in habits.into_iter().enumerate() {
            let mut socket = Socket { habit, wake_ms, opened_ms: n as u64 * 3_750, ..Socket::default() };
            (socket.heard_ms, socket.spoke_ms) = (socket.opened_ms, socket.opened_ms);
            if habit == Silent {
                socket.wake = Some(Wake::Answered);
            } else {
                (socket.said, socket.pongs_heard) = (10, 10);
            }
            socket.over_ms = if habit == Silent { socket.opened_ms + wake_ms } else { 100_000 };
            fate(&mut socket);
            sockets.push(socket);
        }
        Idle { asked_ms: 75_000, stagger_ms: 3_750, sockets, ..Idle::default() }
    }

    fn end(socket: &mut Socket, at_ms: u64) {
        // What was spoken to before is done.
        if socket.habit == Silent && socket.opened_ms + socket.wake_ms < at_ms {
            return;
        }
        socket.wake = None;
        socket.ended_ms = Some(at_ms);
        socket.over_ms = at_ms;
        if socket.habit != Silent {
            (socket.heard_ms, socket.spoke_ms) = (at_ms - 100, at_ms - 120);
        }
        socket.ending = Some(Ending { end: Some(End::Fin), ..Ending::default() });
    }

    #[test]
    fn what_stays_open_is_kept() {
        assert_eq!(findings(&run(|_| {})), [Finding::Kept]);
    }

    #[test]
    fn silence_that_ends_only_silent_ones_is_a_timer() {
        let idle = run(|socket| {
            if socket.habit == Silent {
                end(socket, socket.opened_ms + 60_020);
            }
        });
        let timer =
            Finding::IdleTimer { after_ms: 60_020, pings_help: Some(true), messages_help: Some(true) };
        assert_eq!(findings(&idle), [timer]);
    }

    #[test]
    fn pings_may_not_help() {
        let idle = run(|socket| {
            if socket.habit != Sending {
                end(socket, socket.opened_ms + 60_020);
            }
        });
        let timer =
            Finding::IdleTimer { after_ms: 60_020, pings_help: Some(false), messages_help: Some(true) };
        assert_eq!(findings(&idle), [timer]);
    }

    #[test]
    fn one_that_was_thrown_out_for_its_words_is_no_witness() {
        let idle = run(|socket| match socket.habit {
            Silent => end(socket, socket.opened_ms + 60_020),
            Sending => {
                end(socket, socket.opened_ms + 50);
                socket.said = 1;
                socket.spoke_ms = socket.opened_ms + 10;
                socket.ending = Some(Ending { code: Some(4400), ..Ending::default() });
            }
            Pinging => {}
        });
        let timer = Finding::IdleTimer { after_ms: 60_020, pings_help: Some(true), messages_help: None };
        assert_eq!(findings(&idle), [timer]);
    }

    #[test]
    fn one_that_had_said_nothing_yet_is_no_witness() {
        let idle = run(|socket| {
            end(socket, socket.opened_ms + 800);
            socket.said = 0;
        });
        assert!(matches!(findings(&idle)[..], [Finding::Unclear(_)]), "{:?}", findings(&idle));
    }

    #[test]
    fn one_that_ended_before_the_silent_ones_says_nothing_of_their_timer() {
        let idle = run(|socket| match socket.habit {
            Silent => end(socket, socket.opened_ms + 60_020),
            Sending => end(socket, socket.opened_ms + 20_000),
            Pinging => {}
        });
        let timer = Finding::IdleTimer { after_ms: 60_020, pings_help: Some(true), messages_help: None };
        assert_eq!(findings(&idle), [timer]);
    }

    #[test]
    fn one_age_for_all_is_a_lifetime() {
        let idle = run(|socket| end(socket, socket.opened_ms + 30_010));
        assert_eq!(findings(&idle), [Finding::Lifetime { after_ms: 30_010 }]);
    }

    #[test]
    fn a_timer_and_a_lifetime_are_both_found() {
        let idle = run(|socket| {
            let after = if socket.habit == Silent { 40_000 } else { 70_000 };
            end(socket, socket.opened_ms + after);
        });
        let found = findings(&idle);
        assert!(matches!(found[0], Finding::IdleTimer { after_ms: 40_000, .. }), "{found:?}");
        assert_eq!(found[1..], [Finding::Lifetime { after_ms: 70_000 }]);
    }

    #[test]
    fn one_moment_for_all_is_a_reload() {
        assert_eq!(findings(&run(|socket| end(socket, 30_000))), [Finding::Together { at_ms: 30_000 }]);
        // One that had been spoken to and closed before does not speak against it.
        assert_eq!(findings(&run(|socket| end(socket, 60_000))), [Finding::Together { at_ms: 60_000 }]);
    }

    #[test]
    fn of_sockets_of_one_age_a_moment_says_nothing() {
        let idle = run(|socket| {
            (socket.opened_ms, socket.wake_ms) = (0, 75_000);
            end(socket, 30_000);
        });
        assert_eq!(findings(&idle), [Finding::Lifetime { after_ms: 30_000 }]);
    }

    #[test]
    fn a_sweep_that_spares_the_busy_is_a_timer() {
        let idle = run(|socket| {
            if socket.habit == Silent {
                end(socket, 60_000);
            }
        });
        assert!(matches!(findings(&idle)[..], [Finding::IdleTimer { .. }]), "{:?}", findings(&idle));
    }

    #[test]
    fn silence_after_silence_was_forgotten() {
        for (wake, reset) in [(Wake::Unanswered, false), (Wake::Reset, true)] {
            let idle = run(|socket| {
                if socket.habit == Silent && socket.wake_ms == 75_000 {
                    socket.wake = Some(wake);
                }
            });
            assert_eq!(findings(&idle), [Finding::Forgotten { alive_ms: 37_500, dead_ms: 75_000, reset }]);
        }
    }

    #[test]
    fn where_pings_are_never_answered_silence_says_nothing() {
        let idle = run(|socket| {
            socket.pongs_heard = 0;
            if socket.habit == Silent {
                socket.wake = Some(Wake::Unanswered);
            }
        });
        assert_eq!(findings(&idle), [Finding::Kept]);
    }

    #[test]
    fn what_follows_no_rule_is_unclear() {
        let mut first = true;
        let one = run(|socket| {
            if std::mem::take(&mut first) {
                end(socket, 20_000);
            }
        });
        assert!(matches!(findings(&one)[..], [Finding::Unclear(_)]), "{:?}", findings(&one));
        let refused = run(|socket| socket.refused = Some("503".into()));
        assert!(matches!(findings(&refused)[..], [Finding::Unclear(_)]));
        assert!(matches!(findings(&Idle::default())[..], [Finding::Unclear(_)]));
    }
}
