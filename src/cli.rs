//! The command line: nginx's flags with nginx's meanings, `--to` for a proxy without a file, and the demonstration.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use longwire_conf::{Input, Loaded, Severity};

use crate::admin::console;
use crate::demo::Backend;
use crate::lifecycle::{Origin, Outcome, Signal, Startup, load, read_pid, run, send, show};
use crate::net::Endpoint;
use crate::tunnel::Tunnels;
use crate::{check, doctor, lifecycle};

const HELP: &str = "\
longwire: a reverse proxy for WebSocket

longwire                              demonstration on 127.0.0.1:8080 (--listen ADDR for another address)
longwire -c FILE                      serve by an nginx configuration, in the foreground
longwire --to [HOST:]PORT             a proxy without a file, on 127.0.0.1:8080 (--listen ADDR)
longwire doctor URL                   where the way to a WebSocket breaks, and what to write where (doctor -h)
longwire check FILE                   what in a configuration of nginx will break or weaken WebSockets (check -h says more)
longwire ls, longwire close, longwire top
                                      the open tunnels of a running process with \"admin\"; ending them; watching (ls -h)

  -c FILE        configuration file
  -t             test the configuration and exit
  -T             test, print every file that was read, and exit
  -q             with -t: say only what is wrong
  -s SIGNAL      send to the running process: stop, quit, reload, reopen, upgrade
  -p PREFIX      what relative paths in the configuration count from (default: the folder of FILE)
  -e FILE        error log until the configuration names one (\"stderr\" is standard error)
  -g DIRECTIVES  directives for the main context, behind those of the file
  --allow-unsupported
                 run a file although it has FastCGI, scripts and the like: what needs them answers 501
  -v, -V         version
  -h, -?         this text
";

/// Where `--to` and the demonstration listen.
const LISTEN: &str = "127.0.0.1:8080";

/// What was asked for, as typed.
#[derive(Debug, Default, PartialEq, Eq)]
struct Args {
    file: Option<PathBuf>,
    prefix: Option<PathBuf>,
    error_log: Option<String>,
    globals: Option<String>,
    signal: Option<String>,
    to: Option<String>,
    listen: Option<String>,
    allow_unsupported: bool,
    test: bool,
    dump: bool,
    quiet: bool,
    version: bool,
    help: bool,
}

/// Runs the program.
pub fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    if let Some((name, rest)) = args.split_first() {
        match name.to_str() {
            Some("check") => return check::command(rest),
            Some("doctor") => return doctor::command(rest),
            Some(name @ ("top" | "ls" | "close")) => return console::command(name, rest, load_file),
            _ => {}
        }
    }
    match parse(args).and_then(|args| dispatch(&args)) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Failed) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("longwire: {message}\nlongwire: longwire -h shows what can be said");
            ExitCode::FAILURE
        }
    }
}

fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Args, String> {
    use lexopt::prelude::*;
    let mut parser = lexopt::Parser::from_args(args);
    let mut parsed = Args::default();
    let text = |parser: &mut lexopt::Parser| -> Result<String, lexopt::Error> { parser.value()?.string() };
    let mut take = || -> Result<Args, lexopt::Error> {
        while let Some(arg) = parser.next()? {
            match arg {
                Short('c') => parsed.file = Some(parser.value()?.into()),
                Short('p') => parsed.prefix = Some(parser.value()?.into()),
                Short('e') => parsed.error_log = Some(text(&mut parser)?),
                Short('g') => parsed.globals = Some(text(&mut parser)?),
                Short('s') => parsed.signal = Some(text(&mut parser)?),
                Short('t') => parsed.test = true,
                Short('T') => (parsed.test, parsed.dump) = (true, true),
                Short('q') => parsed.quiet = true,
                Short('v' | 'V') | Long("version") => parsed.version = true,
                Short('h' | '?') | Long("help") => parsed.help = true,
                Long("to") => parsed.to = Some(text(&mut parser)?),
                Long("allow-unsupported") => parsed.allow_unsupported = true,
                Long("listen") => parsed.listen = Some(text(&mut parser)?),
                other => return Err(other.unexpected()),
            }
        }
        Ok(std::mem::take(&mut parsed))
    };
    take().map_err(|error| error.to_string())
}

fn dispatch(args: &Args) -> Result<Outcome, String> {
    if args.help {
        print!("{HELP}");
        return Ok(Outcome::Done);
    }
    if args.version {
        // nginx says it on standard error.
        eprintln!("longwire version: longwire/{}", env!("CARGO_PKG_VERSION"));
        return Ok(Outcome::Done);
    }
    match (&args.file, &args.to) {
        (Some(_), Some(_)) => Err("-c and --to exclude each other".into()),
        (Some(file), None) => with_file(args, file),
        (None, Some(to)) => without_file(args, to),
        (None, None) if args.test || args.signal.is_some() || args.globals.is_some() => {
            Err("no configuration file: name it with -c FILE".into())
        }
        (None, None) => demonstrate(args),
    }
}

/// A configuration file, for those that only want to know what is in it.
fn load_file(file: &Path, prefix: Option<&Path>) -> Loaded {
    load(&Origin {
        file: file.to_owned(),
        prefix: prefix_of(file, prefix),
        globals: None,
        allow_unsupported: true,
    })
}

/// `-p`, or the folder of the file.
fn prefix_of(file: &Path, prefix: Option<&Path>) -> PathBuf {
    let folder = file.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    prefix.unwrap_or(folder).to_owned()
}

fn with_file(args: &Args, file: &Path) -> Result<Outcome, String> {
    if args.listen.is_some() {
        return Err("--listen goes with --to or the demonstration; a file has its \"listen\"".into());
    }
    let origin = Origin {
        file: file.to_owned(),
        prefix: prefix_of(file, args.prefix.as_deref()),
        globals: globals(args),
        allow_unsupported: args.allow_unsupported,
    };
    let loaded = load(&origin);
    if let Some(name) = &args.signal {
        return signal(name, loaded);
    }
    if let (Some(log), None) = (&args.error_log, &loaded.config) {
        record(&origin.prefix.join(log), &loaded);
    }
    if !args.test {
        return Ok(run(Startup { loaded, origin: Some(origin), ready: Box::new(|_, _| {}) }));
    }
    let shown = file.display();
    let parsed = loaded.config.is_some();
    let dump = args.dump.then(|| dump(&loaded));
    let outcome = lifecycle::check(loaded, args.quiet);
    if outcome == Outcome::Failed {
        eprintln!("longwire: configuration file {shown} test failed");
    } else if !args.quiet {
        if parsed {
            eprintln!("longwire: the configuration file {shown} syntax is ok");
        }
        eprintln!("longwire: configuration file {shown} test is successful");
    }
    if outcome == Outcome::Done {
        print!("{}", dump.unwrap_or_default());
    }
    Ok(outcome)
}

/// `-g`, with `-e` as the error log where the configuration has none.
fn globals(args: &Args) -> Option<String> {
    let log = args.error_log.as_ref().map(|path| format!("error_log \"{path}\";"));
    match (&args.globals, log) {
        (None, log) => log,
        // A directive of -g goes before -e, as it does in nginx.
        (Some(globals), Some(_)) if globals.contains("error_log") => Some(globals.clone()),
        (Some(globals), log) => Some(format!("{globals}\n{}", log.unwrap_or_default())),
    }
}

/// `-e`: what is wrong with the configuration goes to that log as well; standard error has it anyway.
fn record(log: &Path, loaded: &Loaded) {
    let errors = loaded.diagnostics.iter().filter(|d| d.severity == Severity::Error);
    let lines: String = errors.map(|d| format!("[emerg] {}\n", d.line(&loaded.sources))).collect();
    let file = std::fs::OpenOptions::new().create(true).append(true).open(log);
    if let Err(error) = file.and_then(|mut file| std::io::Write::write_all(&mut file, lines.as_bytes())) {
        eprintln!("longwire: [alert] could not open error log file {}: {error}", log.display());
    }
}

/// `-T`: the files as they were read.
fn dump(loaded: &Loaded) -> String {
    let show = |file: &longwire_conf::source::File| {
        format!("# configuration file {}:\n{}\n", file.path.display(), file.text)
    };
    loaded.sources.files().iter().map(show).collect()
}

/// `-s`: finds the process by the pid file.
fn signal(name: &str, loaded: Loaded) -> Result<Outcome, String> {
    let signal = Signal::parse(name).ok_or_else(|| {
        format!("invalid option: \"-s {name}\": it takes stop, quit, reload, reopen or upgrade")
    })?;
    show(&loaded.diagnostics, &loaded.sources, Severity::Error);
    let Some(config) = loaded.config else { return Ok(Outcome::Failed) };
    let Some(pid) = config.main.pid else {
        return Err("the configuration has no \"pid\": -s finds the process through that file".into());
    };
    let path = pid.value;
    let pid = read_pid(&path)
        .map_err(|error| format!("the pid file {} cannot be read: {error}", path.display()))?;
    send(pid, signal)
        .map_err(|error| format!("process {pid} of {} cannot be signalled: {error}", path.display()))?;
    Ok(Outcome::Done)
}

/// `--to HOST:PORT`.
fn without_file(args: &Args, to: &str) -> Result<Outcome, String> {
    let listen = args.listen.as_deref().unwrap_or(LISTEN);
    let text = proxy_configuration(to, listen)?;
    let loaded = load_text(&text, "the configuration made for --to", globals(args).as_deref());
    if args.test {
        let outcome = lifecycle::check(loaded, args.quiet);
        if outcome == Outcome::Done && !args.quiet {
            eprintln!("longwire: the test of --to {to} is successful");
        }
        return Ok(outcome);
    }
    let to = to.to_owned();
    let ready = Box::new(move |addresses: &[Endpoint], _: &Arc<Tunnels>| {
        for address in addresses {
            println!("Longwire: http://{address} -> {to}, WebSockets pinged every 30 s at both ends");
        }
    });
    Ok(run(Startup { loaded, origin: None, ready }))
}

/// The configuration that `--to` stands for.
fn proxy_configuration(to: &str, listen: &str) -> Result<String, String> {
    let to =
        if to.bytes().all(|byte| byte.is_ascii_digit()) { format!("127.0.0.1:{to}") } else { to.to_owned() };
    let to = if to.contains("://") { to } else { format!("http://{to}") };
    if [&to, listen].iter().any(|text| text.contains(|c: char| c.is_whitespace() || "{};'\"$".contains(c))) {
        return Err(format!(
            "\"{to}\" and \"{listen}\" must be addresses, like localhost:3000 and 127.0.0.1:8080"
        ));
    }
    Ok(format!(
        "\
server {{
    listen {listen};
    location / {{
        proxy_pass {to};
        proxy_set_header Host $http_host;
        proxy_set_header X-Real-IP $remote_addr;
        proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        proxy_set_header X-Forwarded-Proto $scheme;
    }}
}}
"
    ))
}

/// The demonstration.
fn demonstrate(args: &Args) -> Result<Outcome, String> {
    let listen = args.listen.as_deref().unwrap_or(LISTEN);
    let backend = Backend::bind().map_err(|error| format!("the echo backend cannot be started: {error}"))?;
    let text = backend.configuration(listen);
    let loaded = load_text(&text, "demonstration", globals(args).as_deref());
    let ready = Box::new(move |addresses: &[Endpoint], tunnels: &Arc<Tunnels>| {
        if let Err(error) = backend.serve(tunnels.clone()) {
            eprintln!("longwire: the echo backend cannot be started: {error}");
        }
        for address in addresses {
            println!("{}", introduction(&address.to_string(), &text));
        }
    });
    Ok(run(Startup { loaded, origin: None, ready }))
}

fn introduction(address: &str, configuration: &str) -> String {
    let program = std::env::args().next().unwrap_or_else(|| "longwire".into());
    format!(
        "\
Longwire demonstration. Open http://{address}/ in a browser: a WebSocket runs through the proxy to an echo backend
in this same program, and both of its ends are pinged every 2 s.

Things to try:
  - press \"Fall silent for 90 s\" on the page: nginx would have cut the connection after 60 s
  - stop this process with Ctrl-C and look at the page: it gets a Close frame with a code, not a broken line
  - put Longwire before an application of yours:  {program} --to localhost:3000
  - or run the nginx configuration that you have: {program} -t -c /etc/nginx/nginx.conf

The configuration in force:

{configuration}"
    )
}

/// Loads a configuration that is no file.
fn load_text(text: &str, name: &str, globals: Option<&str>) -> Loaded {
    let (file, prefix) = (Path::new(name), Path::new("."));
    longwire_conf::load(&Text(text), Input { file, prefix, globals, allow_unsupported: false })
}

/// A reader that knows one text.
struct Text<'a>(&'a str);

impl longwire_conf::Reader for Text<'_> {
    fn read(&self, _path: &Path) -> std::io::Result<Vec<u8>> {
        Ok(self.0.as_bytes().to_vec())
    }

    fn glob(&self, _pattern: &Path) -> std::io::Result<Vec<PathBuf>> {
        Ok(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Args, String> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn flags_are_those_of_nginx() {
        let args = parsed("-tq -c a.conf -p /x -g daemon;").unwrap();
        assert!(args.test && args.quiet && !args.dump);
        assert_eq!(args.file.as_deref(), Some(Path::new("a.conf")));
        assert_eq!(args.globals.as_deref(), Some("daemon;"));
        assert!(parsed("-T -c a").unwrap().dump);
        assert!(parsed("-x").is_err());
        assert!(parsed("stray").is_err());
    }

    #[test]
    fn addresses_cannot_smuggle_directives() {
        assert!(proxy_configuration("localhost:3000", "127.0.0.1:1").is_ok());
        assert!(proxy_configuration("3000", "127.0.0.1:1").unwrap().contains("http://127.0.0.1:3000;"));
        assert!(proxy_configuration("a; daemon on", "127.0.0.1:1").is_err());
        assert!(proxy_configuration("a", "127.0.0.1:1;").is_err());
    }
}
