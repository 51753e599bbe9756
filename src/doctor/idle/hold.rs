//! Holds the sockets of an idle run and notes what becomes of them.

use std::time::Duration;

use longwire_wire::frame::OpCode;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::{Habit, Idle, Plan, Socket, Wake};
use crate::doctor::probe::{Dialer, Event, Request, WebSocket};
use crate::doctor::progress::Progress;
use crate::doctor::sticky::packet;

/// How long a socket that was silent may take to answer.
const WAKE_LIMIT: Duration = Duration::from_secs(5);
/// How long the end of TCP may come behind a Close frame.
const END_LIMIT: Duration = Duration::from_secs(1);
/// How often the progress is shown.
const TICK: Duration = Duration::from_millis(250);

/// Holds sockets open as planned, and gives what was seen.
pub async fn run(dialer: &Dialer, handshake: &Request, plan: &Plan, progress: &Progress) -> Idle {
    let began = Instant::now();
    let (stop, stopped) = watch::channel(false);
    let mut tasks = JoinSet::new();
    for (place, (habit, wake_ms)) in plan.sockets.iter().copied().enumerate() {
        let socket = Socket { habit, wake_ms, ..Socket::default() };
        let at = began + Duration::from_millis(plan.stagger_ms * place as u64);
        let holder = Holder {
            began,
            socket,
            every: Duration::from_millis(plan.every_ms),
            message: plan.message.clone(),
            socketio: packet::version_of(&handshake.path),
        };
        let (dialer, handshake, stopped) = (dialer.clone(), handshake.clone(), stopped.clone());
        tasks.spawn(async move { (place, holder.hold(at, &dialer, &handshake, stopped).await) });
    }
    let mut seen: Vec<(usize, Socket)> = Vec::new();
    while !tasks.is_empty() {
        let elapsed_ms = since(began);
        if plan.is_done(seen.iter().map(|(_, socket)| socket), elapsed_ms) {
            // Nobody else listens only when all are over.
            let _ = stop.send(true);
        }
        let ended = seen.iter().filter(|(_, socket)| socket.ended_ms.is_some()).count();
        progress.show(&plan.progress(elapsed_ms, ended));
        if let Ok(Some(Ok(one))) = timeout(TICK, tasks.join_next()).await {
            seen.push(one);
        }
    }
    let afterwards = match dialer.open(handshake).await {
        (exchange, Some(socket)) => {
            socket.close(END_LIMIT).await;
            exchange.status
        }
        (exchange, None) => exchange.status,
    };
    seen.sort_by_key(|(place, _)| *place);
    Idle {
        asked_ms: plan.asked_ms,
        stagger_ms: plan.stagger_ms,
        every_ms: plan.every_ms,
        message: plan.message.clone(),
        sockets: seen.into_iter().map(|(_, socket)| socket).collect(),
        afterwards,
        elapsed_ms: since(began),
    }
}

fn since(began: Instant) -> u64 {
    began.elapsed().as_millis() as u64
}

/// One socket and what it does.
struct Holder {
    began: Instant,
    socket: Socket,
    every: Duration,
    message: String,
    /// The version of Engine.IO that is spoken, if it is.
    socketio: Option<u8>,
}

impl Holder {
    async fn hold(
        mut self,
        at: Instant,
        dialer: &Dialer,
        handshake: &Request,
        mut stop: watch::Receiver<bool>,
    ) -> Socket {
        sleep_until(at).await;
        let (exchange, open) = dialer.open(handshake).await;
        self.socket.opened_ms = since(self.began);
        (self.socket.spoke_ms, self.socket.heard_ms) = (self.socket.opened_ms, self.socket.opened_ms);
        let Some(mut open) = open else {
            let status = exchange.status.map(|status| status.to_string());
            self.socket.refused = status.or(exchange.failure).or_else(|| Some("no answer".into()));
            self.socket.over_ms = self.socket.opened_ms;
            return self.socket;
        };
        if self.socketio == Some(4) {
            // A client that joins no namespace is thrown out after 45 s.
            self.say(&mut open, OpCode::Text, b"40").await;
        }
        self.watch(&mut open, &mut stop).await;
        self.socket.over_ms = self.socket.ended_ms.unwrap_or_else(|| since(self.began));
        if self.socket.ended_ms.is_none() {
            open.close(Duration::from_millis(300)).await;
        }
        self.socket
    }

    /// Until the far end ends it, or it has done its part.
    async fn watch(&mut self, open: &mut WebSocket, stop: &mut watch::Receiver<bool>) {
        let wake = Instant::now() + Duration::from_millis(self.socket.wake_ms);
        let mut due = Instant::now() + self.every;
        loop {
            let until = if self.socket.habit == Habit::Silent { wake } else { due };
            let event = tokio::select! {
                event = open.next(until.saturating_duration_since(Instant::now())) => event,
                _ = stop.wait_for(|stop| *stop) => return,
            };
            if event == Event::Timeout {
                if self.socket.habit == Habit::Silent {
                    return self.wake(open).await;
                }
                due = Instant::now() + self.every;
                self.socket.said += 1;
                let message = self.message.clone();
                match self.socket.habit {
                    Habit::Pinging => self.say(open, OpCode::Ping, b"longwire").await,
                    _ => self.say(open, OpCode::Text, message.as_bytes()).await,
                }
            } else if self.is_end(open, &event).await {
                return;
            }
        }
    }

    /// Notes an event. Whether it is the end.
    async fn is_end(&mut self, open: &mut WebSocket, event: &Event) -> bool {
        let now = since(self.began);
        match event {
            Event::Timeout => return false,
            Event::Violation(text) => {
                self.socket.refused = Some(text.clone());
                return true;
            }
            Event::End(_) | Event::Close { .. } => {
                self.socket.ended_ms = Some(now);
                // How TCP ends is seen a moment later.
                open.next(END_LIMIT).await;
                self.socket.ending = Some(open.ending());
                return true;
            }
            Event::Ping => {
                (self.socket.pings_heard, self.socket.spoke_ms) = (self.socket.pings_heard + 1, now)
            }
            Event::Pong(_) => self.socket.pongs_heard += 1,
            Event::Message { data, .. } => {
                self.socket.messages_heard += 1;
                // The heartbeat of socket.io, without whose answer the server ends the session.
                if self.socketio == Some(4) && data == b"2" {
                    self.socket.pings_heard += 1;
                    self.say(open, OpCode::Text, b"3").await;
                }
            }
        }
        self.socket.heard_ms = now;
        false
    }

    async fn say(&mut self, open: &mut WebSocket, opcode: OpCode, payload: &[u8]) {
        self.socket.spoke_ms = since(self.began);
        // That it did not leave is seen by whoever reads next.
        let _ = open.send(opcode, payload).await;
    }

    /// The silence is over: is anybody there?
    async fn wake(&mut self, open: &mut WebSocket) {
        let sent = open.send(OpCode::Ping, b"longwire").await;
        let answer = open.next(WAKE_LIMIT).await;
        self.socket.wake = Some(match (sent, &answer) {
            (Ok(()), Event::Timeout) => Wake::Unanswered,
            (Err(_), _) | (_, Event::End(_)) => Wake::Reset,
            _ => Wake::Answered,
        });
        if self.socket.wake != Some(Wake::Reset) {
            return;
        }
        self.socket.ended_ms = Some(since(self.began));
        self.socket.ending = Some(open.ending());
    }
}
