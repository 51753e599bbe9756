//! The main context and `events`.

use super::Context;
use super::{EVERYWHERE, Entry, MAIN, add, block, set};
use crate::build::Builder;
use crate::diagnostic::Diagnostic;
use crate::level::Level;
use crate::model::Spanned;
use crate::tree::Directive;

pub(super) const TABLE: &[Entry] = &[
    set(
        "user",
        MAIN,
        (1, 2),
        "NAME [GROUP]",
        "",
        "The user that Longwire becomes once its sockets are open, when it was started by root. Without it such a process stays root, where the workers of nginx become nobody. Unlike in nginx this user must be able to write the log files, or `-s reopen` fails.",
        user,
    ),
    set(
        "worker_processes",
        MAIN,
        (1, 1),
        "NUMBER | auto",
        "auto",
        "Threads that serve connections. Longwire is one process; nginx starts one process by default.",
        worker_processes,
    ),
    set(
        "worker_shutdown_timeout",
        MAIN,
        (1, 1),
        "TIME",
        "",
        "How long a graceful end (SIGQUIT) may take in all. Tunnels are told to go over `websocket_drain`, or over nine tenths of this where that is less, so that there is time for their answers; what is still open at the end is cut, requests in work as well. Without it only tunnels have a bound: `websocket_drain`, and then `websocket_close_timeout`.",
        |b, d| b.config.main.worker_shutdown_timeout = b.time(d),
    ),
    set(
        "worker_rlimit_nofile",
        MAIN,
        (1, 1),
        "NUMBER",
        "",
        "Most files and sockets that may be open.",
        |b, d| b.config.main.worker_rlimit_nofile = b.number(d),
    ),
    set(
        "pid",
        MAIN,
        (1, 1),
        "FILE",
        "",
        "Where the process number is written. Nothing is written by default.",
        |b, d| b.config.main.pid = Some(b.path(&d.args[0])),
    ),
    add(
        "include",
        EVERYWHERE,
        (1, 1),
        "FILE | MASK",
        "",
        "Reads other files in this place. A relative path counts from the folder of the configuration file. A mask that matches nothing is no mistake.",
        |_, _| {},
    ),
    block(
        "events",
        MAIN,
        (0, 0),
        "",
        "How connections are processed. Read as in nginx; nothing in it is needed.",
        |b, d| b.within(Context::Events, d),
    ),
    block(
        "http",
        MAIN,
        (0, 0),
        "",
        "Everything about HTTP. A file that begins with `server`, `map`, `upstream` or another directive of this block is read as its inside.",
        http,
    ),
];

fn user(b: &mut Builder<'_>, d: &Directive) {
    let name = d.args[0].value.clone();
    let group = d.args.get(1).map(|word| word.value.clone());
    b.config.main.user = Some(Spanned { value: (name, group), span: d.span });
}

fn worker_processes(b: &mut Builder<'_>, d: &Directive) {
    if d.args[0].value == "auto" {
        return;
    }
    match b.number(d) {
        Some(0) => b.invalid(d, &d.args[0], "a number of workers", "write 1 or more, or \"auto\""),
        number => b.config.main.worker_processes = number.map(|number| number as usize),
    }
}

fn http(b: &mut Builder<'_>, d: &Directive) {
    if b.http.is_some() {
        return b.report(
            Diagnostic::error(d.span, "\"http\" directive is duplicate")
                .label("there is one http block already"),
        );
    }
    let level = b.inside(Context::Http, d, Level::default());
    b.http = Some(level);
}
