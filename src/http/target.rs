//! Pure: the target of a request line on its way to hyper.
//!
//! hyper's type for URIs cannot hold every byte that nginx takes, and forgets what follows a `#`. So the target is kept as it
//! was sent, and hyper sees another byte in the place of one that it would stumble over: no head changes its length.

/// What hyper sees instead; any host, path and argument may have it.
const STAND_IN: u8 = b'_';

/// Where in a request line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Method,
    Target,
    Rest,
}

/// Follows one request line.
#[derive(Debug)]
pub(super) struct Watched {
    part: Part,
    sent: Vec<u8>,
}

impl Watched {
    /// Before the first byte of a head.
    pub(super) fn new() -> Watched {
        Watched { part: Part::Method, sent: Vec::new() }
    }

    /// The next bytes of the head. In the target, what hyper cannot take is replaced.
    pub(super) fn pass(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            match (self.part, *byte) {
                (Part::Rest, _) => return,
                (_, b'\n' | b'\r') => self.part = Part::Rest,
                (Part::Method, b' ') => self.part = Part::Target,
                (Part::Target, b' ') => self.part = Part::Rest,
                (Part::Method, _) => {}
                (Part::Target, sent) => {
                    self.sent.push(sent);
                    if sent >= 0x80 || b"\"#<>\\^`{|}".contains(&sent) {
                        *byte = STAND_IN;
                    }
                }
            }
        }
    }

    /// The target as it was sent.
    pub(super) fn into_sent(self) -> Vec<u8> {
        self.sent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pass(head: &[u8], size: usize) -> (Vec<u8>, Vec<u8>) {
        let (mut watched, mut seen) = (Watched::new(), head.to_vec());
        seen.chunks_mut(size).for_each(|bytes| watched.pass(bytes));
        (seen, watched.into_sent())
    }

    #[test]
    fn hyper_sees_a_target_that_it_can_hold() {
        let head = b"GET /<a>?\xff#\"{ HTTP/1.1\r\nX: <\xff\r\n\r\n";
        for size in [1, 3, head.len()] {
            let (seen, sent) = pass(head, size);
            assert_eq!(seen, b"GET /_a_?____ HTTP/1.1\r\nX: <\xff\r\n\r\n");
            assert_eq!(sent, b"/<a>?\xff#\"{");
        }
        assert_eq!(pass(b"GET\r\n<\r\n\r\n", 2), (b"GET\r\n<\r\n\r\n".to_vec(), Vec::new()));
    }
}
