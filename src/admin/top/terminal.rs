//! The terminal of `longwire top`: a screen of its own, keys without Enter, and everything as before at the end.

use std::io::{self, Write as _};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr,
};

use super::screen::{Line, Style};

/// Another screen, an empty one; no cursor; lines are cut and not wrapped.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[2J";
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";

/// What a person did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// Nothing, for as long as was waited.
    Nothing,
    /// A key.
    Key(u8),
    /// The terminal is gone.
    Gone,
}

/// The terminal, as long as the screen is shown.
pub(super) struct Terminal {
    before: Termios,
    colours: bool,
}

impl Terminal {
    /// Takes the terminal over; `None` where standard input and output are none.
    pub(super) fn enter() -> io::Result<Option<Terminal>> {
        let (input, output) = (io::stdin(), io::stdout());
        if !isatty(&input) || !isatty(&output) {
            return Ok(None);
        }
        let before = tcgetattr(&input)?;
        let mut raw = before.clone();
        // Also Ctrl-C comes as a key, so that the way out is always the same.
        raw.local_modes &= !(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG);
        raw.special_codes[SpecialCodeIndex::VMIN] = 0;
        raw.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(&input, OptionalActions::Now, &raw)?;
        let terminal = Terminal { before, colours: std::env::var_os("NO_COLOR").is_none() };
        say(ENTER)?;
        Ok(Some(terminal))
    }

    /// Columns and rows.
    pub(super) fn size(&self) -> (usize, usize) {
        match tcgetwinsize(io::stdout()) {
            Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.into(), size.ws_row.into()),
            _ => (80, 24),
        }
    }

    /// Shows these lines and nothing else.
    pub(super) fn show(&self, lines: &[Line]) -> io::Result<()> {
        let mut text = "\x1b[H".to_owned();
        for (i, line) in lines.iter().enumerate() {
            text.push_str(if i == 0 { "" } else { "\r\n" });
            text.push_str(&styled(line, self.colours));
            text.push_str("\x1b[K");
        }
        text.push_str("\x1b[J");
        say(&text)
    }

    /// Waits for a key, or for so long.
    pub(super) fn wait(&self, most: Duration) -> io::Result<Event> {
        let input = io::stdin();
        let mut ready = [PollFd::new(&input, PollFlags::IN)];
        let most = Timespec {
            tv_sec: most.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: most.subsec_nanos().into(),
        };
        match poll(&mut ready, Some(&most)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(Event::Nothing),
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        let mut key = [0];
        match rustix::io::read(&input, &mut key)? {
            0 => Ok(Event::Gone),
            _ => Ok(Event::Key(key[0])),
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Nobody is left to tell that it did not work.
        let _ = say(LEAVE);
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }
}

/// A line as the terminal takes it. What clients and backends wrote must not speak to the terminal.
pub(super) fn styled((style, text): &Line, colours: bool) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    let code = match style {
        _ if !colours => return text,
        Style::Plain => return text,
        Style::Head => "1",
        Style::Bad => "31",
        Style::Soft => "2",
    };
    format!("\x1b[{code}m{text}\x1b[m")
}

fn say(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_speak_to_the_terminal() {
        let line = (Style::Plain, "evil\x1b[2J\r\nname\u{9b}".to_owned());
        assert_eq!(styled(&line, true), "evil?[2J??name?");
        assert_eq!(styled(&(Style::Bad, "down".to_owned()), true), "\x1b[31mdown\x1b[m");
        assert_eq!(styled(&(Style::Bad, "down".to_owned()), false), "down");
    }
}
