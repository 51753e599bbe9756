//! `longwire top`: the live view in the terminal.

mod screen;
mod terminal;
mod words;

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use lexopt::{Arg, ValueExt as _};
use serde::de::DeserializeOwned;

use super::console::client::{Client, Load, Target};
use screen::View;
use terminal::{Event, Terminal};

const HELP: &str = "\
longwire top: what a running process carries, kept up to date

  --admin ADDRESS   where it is asked: 127.0.0.1:9191, http://localhost:9191, unix:/path
  -c FILE           or: the configuration that has \"admin\" (default: /etc/longwire/longwire.conf)
  --every SECONDS   how often it looks (1)
  --once            look once, print, and end; so it is done where there is no terminal

Keys: n a i r m b sort the tunnels by number, age, idle time, round trip, messages, bytes, and again the other way
round; q ends.
";

/// Sizes of what is printed where there is no terminal.
const PAPER: (usize, usize) = (160, 60);

/// What was typed.
struct Typed {
    target: Target,
    every: Duration,
    once: bool,
    help: bool,
}

impl Typed {
    fn parse(args: &[OsString]) -> Result<Typed, lexopt::Error> {
        let mut parser = lexopt::Parser::from_args(args);
        let mut typed =
            Typed { target: Target::default(), every: Duration::from_secs(1), once: false, help: false };
        while let Some(arg) = parser.next()? {
            let name = match arg {
                Arg::Short(letter) => format!("-{letter}"),
                Arg::Long(name) => format!("--{name}"),
                other => return Err(other.unexpected()),
            };
            match name.as_str() {
                "--every" => typed.every = parser.value()?.parse_with(seconds)?,
                "--once" => typed.once = true,
                "-h" | "-?" | "--help" => typed.help = true,
                name if typed.target.take(name, &mut parser)? => {}
                name => return Err(format!("invalid option \"{name}\"").into()),
            }
        }
        Ok(typed)
    }
}

/// From a tenth of a second to an hour.
fn seconds(text: &str) -> Result<Duration, &'static str> {
    let seconds: f64 = text.parse().map_err(|_| "no number of seconds")?;
    let range = 0.1..=3600.0;
    if range.contains(&seconds) { Ok(Duration::from_secs_f64(seconds)) } else { Err("from 0.1 to 3600") }
}

/// Runs the command with what stands behind its name.
pub(super) fn command(args: &[OsString], load: Load) -> Result<ExitCode, String> {
    let typed = Typed::parse(args).map_err(|error| error.to_string())?;
    if typed.help {
        print!("{HELP}");
        return Ok(ExitCode::SUCCESS);
    }
    run(&Client::find(&typed.target, load)?, &typed)?;
    Ok(ExitCode::SUCCESS)
}

fn run(client: &Client, typed: &Typed) -> Result<(), String> {
    let mut sort = "-messages".to_owned();
    // A wrong address is told in plain words, before the screen is taken over.
    let mut view = look(client, &sort)?;
    let terminal = if typed.once { None } else { Terminal::enter().map_err(|error| error.to_string())? };
    let Some(terminal) = terminal else { return print(&view).map_err(|error| error.to_string()) };
    loop {
        let (columns, rows) = terminal.size();
        terminal.show(&screen::lines(&view, columns, rows)).map_err(|error| error.to_string())?;
        if !wait(&terminal, typed.every, &mut sort).map_err(|error| error.to_string())? {
            return Ok(());
        }
        match look(client, &sort) {
            Ok(next) => view = next,
            // It may come back: the last that was seen stays, with the reason above it.
            Err(words) => view.trouble = Some(words),
        }
    }
}

/// Waits until it is time to look again; false when a person wants to end.
fn wait(terminal: &Terminal, every: Duration, sort: &mut String) -> io::Result<bool> {
    let until = Instant::now() + every;
    loop {
        match terminal.wait(until.saturating_duration_since(Instant::now()))? {
            Event::Nothing => return Ok(true),
            Event::Gone | Event::Key(b'q' | b'Q' | 3 | 4) => return Ok(false),
            Event::Key(key) => {
                if let Some(by) = sorted(key, sort) {
                    *sort = by;
                    return Ok(true);
                }
            }
        }
    }
}

/// The order that a key asks for: the largest first, or the other way round when it is so already.
fn sorted(key: u8, now: &str) -> Option<String> {
    let by = match key {
        b'n' => "id",
        b'a' => "age",
        b'i' => "idle",
        b'r' => "rtt",
        b'm' => "messages",
        b'b' => "bytes",
        _ => return None,
    };
    Some(if now == format!("-{by}") { by.to_owned() } else { format!("-{by}") })
}

fn print(view: &View) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for line in screen::lines(view, PAPER.0, PAPER.1) {
        writeln!(out, "{}", terminal::styled(&line, false).trim_end())?;
    }
    Ok(())
}

/// Asks for everything that is shown.
fn look(client: &Client, sort: &str) -> Result<View, String> {
    Ok(View {
        overview: ask(client, "/api")?,
        counters: ask(client, "/api/counters")?,
        history: ask(client, "/api/history")?,
        groups: ask(client, "/api/upstreams")?,
        tunnels: ask(client, &format!("/api/tunnels?limit=100&sort={sort}"))?,
        sort: sort.to_owned(),
        trouble: None,
    })
}

fn ask<T: DeserializeOwned>(client: &Client, path: &str) -> Result<T, String> {
    let (status, body) = client.get(path)?;
    if status != 200 {
        return Err(format!("{path} answered {status}: {}", String::from_utf8_lossy(&body).trim()));
    }
    serde_json::from_slice(&body).map_err(|error| format!("{path} answered what is not understood: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_sorts_and_the_same_key_turns_it_round() {
        assert_eq!(sorted(b'i', "-messages").as_deref(), Some("-idle"));
        assert_eq!(sorted(b'i', "-idle").as_deref(), Some("idle"));
        assert_eq!(sorted(b'i', "idle").as_deref(), Some("-idle"));
        assert_eq!(sorted(b'x', "idle"), None);
    }
}
