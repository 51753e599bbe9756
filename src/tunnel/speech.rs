//! What applications say in tests of tunnels: random frames, and how to read them back.

use fastrand::Rng;
use longwire_wire::Side;
use longwire_wire::frame::{Header, MAX_HEADER, OpCode, apply_mask};

/// Frames of one application, together at least `bytes` long. No message stays unfinished.
pub(super) fn script(rng: &mut Rng, side: Side, bytes: usize) -> Vec<Vec<u8>> {
    let mut in_message = false;
    let mut total = 0;
    let mut script = Vec::new();
    while total < bytes {
        let (fin, opcode) = match rng.u8(..10) {
            0 => (true, OpCode::Ping),
            1 => (true, OpCode::Pong),
            _ if in_message => (rng.bool(), OpCode::Continuation),
            _ => (rng.bool(), [OpCode::Text, OpCode::Binary][rng.usize(..2)]),
        };
        let len = match rng.u8(..10) {
            0 => 0,
            _ if opcode.is_control() => rng.usize(..=125),
            1..5 => rng.usize(..300),
            5..9 => rng.usize(..5000),
            _ => rng.usize(..70_000),
        };
        // A ping of eight bytes is one of ours.
        let len = if opcode == OpCode::Ping && len == 8 { 9 } else { len };
        let mut payload = vec![0; len];
        rng.fill(&mut payload);
        if !opcode.is_control() {
            in_message = !fin;
        }
        let frame = frame(rng, side, fin, opcode, payload);
        total += frame.len();
        script.push(frame);
    }
    if in_message {
        script.push(frame(rng, side, true, OpCode::Continuation, Vec::new()));
    }
    script
}

pub(super) fn frame(rng: &mut Rng, from: Side, fin: bool, opcode: OpCode, mut payload: Vec<u8>) -> Vec<u8> {
    let mask = (from == Side::Client).then(|| rng.u32(..).to_be_bytes());
    let mut head = [0; MAX_HEADER];
    let size = Header { fin, rsv: 0, opcode, mask, len: payload.len() as u64 }.write(&mut head);
    apply_mask(mask.unwrap_or_default(), 0, &mut payload);
    [&head[..size], &payload].concat()
}

/// The whole frames of `wire`, and what is left of it.
pub(super) fn frames(wire: &[u8]) -> (Vec<(Header, &[u8])>, &[u8]) {
    let (mut found, mut rest) = (Vec::new(), wire);
    while let Some((header, size)) = Header::parse(rest).expect("a valid frame") {
        let Some((frame, more)) = rest.split_at_checked(size + header.len as usize) else { break };
        found.push((header, frame));
        rest = more;
    }
    (found, rest)
}

pub(super) fn is_our_ping(header: &Header) -> bool {
    header.opcode == OpCode::Ping && header.len == 8
}
