//! `longwire top`, `longwire ls` and `longwire close`: the API of a running process in the terminal.

pub(super) mod client;
mod list;

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

use lexopt::Arg;
use serde_json::{Map, Value, json};

use super::top;
pub use client::Load;
use client::{Client, Target};

const LS: &str = "\
longwire ls: the open tunnels of a running process

  --admin ADDRESS   where it is asked: 127.0.0.1:9191, http://localhost:9191, unix:/path
  -c FILE           or: the configuration that has \"admin\" (default: /etc/longwire/longwire.conf)
  --token FILE      the token file, where the configuration does not say

Only those that are meant:
  --server NAME  --location LOCATION  --upstream NAME  --backend ADDRESS  --client ADDRESS|NETWORK  --state open|closing
  --min-age TIME  --min-idle TIME  --min-rtt TIME  -q TEXT (anywhere)

  --sort COLUMN     id, client, server, location, upstream, backend, age, idle, rtt, messages, bytes; -COLUMN: descending
  --limit N         how many at most (default: 1000)
  --json            as the API gives them
";

const CLOSE: &str = "\
longwire close: ends open tunnels of a running process with a Close frame to both ends

longwire close ID...            these tunnels
longwire close --upstream app   all that are meant: filters and addresses as in \"longwire ls -h\"
longwire close --all            all

  --code CODE       what the Close frame says (default: 1000)
  --reason TEXT     up to 123 bytes
  --rate N          how many in a second, where it is not by number (default: 100)
";

/// Runs one of the commands: `top`, `ls` or `close`, with what stands behind its name.
pub fn command(name: &str, args: &[OsString], load: Load) -> ExitCode {
    let done = match name {
        "top" => top::command(args, load),
        "ls" => ls(args, load),
        _ => close(args, load),
    };
    match done {
        Ok(code) => code,
        Err(words) => {
            eprintln!("longwire: {words}");
            ExitCode::from(2)
        }
    }
}

/// What was typed behind `ls` and `close`.
#[derive(Debug, Default)]
struct Typed {
    target: Target,
    ids: Vec<u64>,
    filter: Vec<(String, String)>,
    sort: Option<String>,
    limit: Option<usize>,
    json: bool,
    code: Option<u16>,
    reason: Option<String>,
    rate: Option<f64>,
    all: bool,
    help: bool,
}

impl Typed {
    fn parse(args: &[OsString]) -> Result<Typed, lexopt::Error> {
        use lexopt::ValueExt as _;
        let mut parser = lexopt::Parser::from_args(args);
        let mut typed = Typed::default();
        while let Some(arg) = parser.next()? {
            let name = match arg {
                Arg::Short(letter) => format!("-{letter}"),
                Arg::Long(name) => format!("--{name}"),
                Arg::Value(value) => {
                    typed.ids.push(value.parse()?);
                    continue;
                }
            };
            match name.as_str() {
                "--sort" => typed.sort = Some(parser.value()?.string()?),
                "--limit" => typed.limit = Some(parser.value()?.parse()?),
                "--json" => typed.json = true,
                "--code" => typed.code = Some(parser.value()?.parse()?),
                "--reason" => typed.reason = Some(parser.value()?.string()?),
                "--rate" => typed.rate = Some(parser.value()?.parse()?),
                "--all" => typed.all = true,
                "-h" | "-?" | "--help" => typed.help = true,
                "--server" | "--location" | "--upstream" | "--backend" | "--client" | "--state"
                | "--min-age" | "--min-idle" | "--min-rtt" | "-q" => {
                    let name = name.trim_start_matches('-').replace('-', "_");
                    typed.filter.push((name, parser.value()?.string()?));
                }
                name if typed.target.take(name, &mut parser)? => {}
                name => return Err(format!("invalid option \"{name}\"").into()),
            }
        }
        Ok(typed)
    }
}

/// The body of a good answer as JSON, or what the process says is wrong.
pub(super) fn good((status, body): (u16, Vec<u8>)) -> Result<Value, String> {
    let value: Value = serde_json::from_slice(&body).unwrap_or_default();
    match value.get("error").and_then(Value::as_str) {
        Some(words) => Err(words.to_owned()),
        None if status == 200 => Ok(value),
        None => Err(format!("the process answers {status}")),
    }
}

fn say(text: &str) {
    // Whoever reads it through a pipe may have seen enough.
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn ls(args: &[OsString], load: Load) -> Result<ExitCode, String> {
    let typed = Typed::parse(args).map_err(|error| error.to_string())?;
    if typed.help {
        say(LS);
        return Ok(ExitCode::SUCCESS);
    }
    if typed.all
        || typed.code.is_some()
        || typed.reason.is_some()
        || typed.rate.is_some()
        || !typed.ids.is_empty()
    {
        return Err("ls only shows tunnels: longwire ls -h has what can be said".into());
    }
    let client = Client::find(&typed.target, load)?;
    let found = list::gather(&client, &typed.filter, typed.sort.as_deref(), typed.limit.unwrap_or(1000))?;
    say(&if typed.json { list::json(&found) } else { list::table(&found) });
    Ok(ExitCode::SUCCESS)
}

fn close(args: &[OsString], load: Load) -> Result<ExitCode, String> {
    let typed = Typed::parse(args).map_err(|error| error.to_string())?;
    if typed.help {
        say(CLOSE);
        return Ok(ExitCode::SUCCESS);
    }
    let mut body = Map::new();
    body.extend(typed.code.map(|code| ("code".to_owned(), json!(code))));
    body.extend(typed.reason.as_ref().map(|reason| ("reason".to_owned(), json!(reason))));
    let client = || Client::find(&typed.target, load);
    match (&typed.ids[..], typed.all || !typed.filter.is_empty()) {
        ([], false) => {
            Err("which tunnels? longwire close ID..., or filters as in longwire ls -h, or --all".into())
        }
        ([], true) => {
            body.extend(typed.rate.map(|rate| ("rate".to_owned(), json!(rate))));
            body.insert("all".to_owned(), json!(typed.all));
            let filter: Map<_, _> =
                typed.filter.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
            body.insert("filter".to_owned(), Value::Object(filter));
            let said = good(client()?.post("/api/tunnels/close", &Value::Object(body))?)?;
            let (count, over) =
                (said["count"].as_u64().unwrap_or_default(), said["over"].as_f64().unwrap_or_default());
            say(&format!("{count} tunnels are told to close, over {over:.1} s\n"));
            Ok(ExitCode::SUCCESS)
        }
        (_, true) => Err("tunnels are named by number or by what they have in common, not both".into()),
        (ids, false) => {
            let (client, body) = (client()?, Value::Object(body));
            let mut outcome = ExitCode::SUCCESS;
            for id in ids {
                match good(client.post(&format!("/api/tunnels/{id}/close"), &body)?) {
                    Ok(row) => {
                        say(&format!("{id} of {} is told to close\n", row["client"].as_str().unwrap_or("?")))
                    }
                    Err(words) => {
                        eprintln!("longwire: {words}");
                        outcome = ExitCode::FAILURE;
                    }
                }
            }
            Ok(outcome)
        }
    }
}
