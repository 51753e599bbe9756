//! Directives that Longwire will never have. They are refused; with `--allow-unsupported` what needs them answers 501
//! and the rest of the file runs.

use super::{ALL, Class, Context, Entry, HTTP, HTTP_SERVER, LOCATION, MAIN, accepted};
use crate::build::Builder;
use crate::diagnostic::Diagnostic;
use crate::level::TypedRule;
use crate::model::{Rule, Unsupported};
use crate::source::Span;
use crate::tree::Directive;

/// What is missing where a directive of this table stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lack {
    /// It would have a part in every request of its place and of the places inside.
    Requests,
    /// It would answer at its place.
    Content,
    /// It defines something, or works beside the requests: nobody misses it until something uses what it defines.
    Definition,
}

const PROTOCOLS: &str = "Longwire does not speak FastCGI, uWSGI, SCGI, gRPC or memcached, and will not. Keep nginx for these and pass to it by \"proxy_pass\"; with --allow-unsupported such a location answers 501, and the rest of the file runs";
const SCRIPTS: &str =
    "Longwire has no scripting, and will not have. Use \"map\" for decisions, or a backend of your own";
const BODIES: &str =
    "Longwire does not change bodies, and will not. Let the backend write what clients should read";
const STREAM: &str = "Longwire carries HTTP and WebSocket only, and will not carry others. Keep nginx for plain TCP, UDP and mail";

const fn requests(name: &'static str, contexts: &'static [Context], text: &'static str) -> Entry {
    Entry { class: Class::Unsupported(Lack::Requests), ..accepted(name, contexts, text) }
}

const fn content(name: &'static str, text: &'static str) -> Entry {
    Entry { class: Class::Unsupported(Lack::Content), ..accepted(name, LOCATION, text) }
}

const fn definition(name: &'static str, contexts: &'static [Context], text: &'static str) -> Entry {
    Entry { class: Class::Unsupported(Lack::Definition), ..accepted(name, contexts, text) }
}

pub(super) const TABLE: &[Entry] = &[
    content("fastcgi_pass", PROTOCOLS),
    content("uwsgi_pass", PROTOCOLS),
    content("scgi_pass", PROTOCOLS),
    content("grpc_pass", PROTOCOLS),
    content("memcached_pass", PROTOCOLS),
    requests("passenger_enabled", ALL, PROTOCOLS),
    definition("passenger_*", ALL, PROTOCOLS),
    content("js_content", SCRIPTS),
    requests("js_access", ALL, SCRIPTS),
    requests("js_header_filter", ALL, SCRIPTS),
    requests("js_body_filter", ALL, SCRIPTS),
    definition("js_*", ALL, SCRIPTS),
    definition("lua_*", HTTP_SERVER, SCRIPTS),
    definition("init_by_lua", HTTP, SCRIPTS),
    definition("init_by_lua_block", HTTP, SCRIPTS),
    definition("init_by_lua_file", HTTP, SCRIPTS),
    definition("init_worker_by_lua", HTTP, SCRIPTS),
    definition("init_worker_by_lua_block", HTTP, SCRIPTS),
    definition("init_worker_by_lua_file", HTTP, SCRIPTS),
    definition("exit_worker_by_lua_block", HTTP, SCRIPTS),
    definition("exit_worker_by_lua_file", HTTP, SCRIPTS),
    definition("set_by_lua", ALL, SCRIPTS),
    definition("set_by_lua_block", ALL, SCRIPTS),
    definition("set_by_lua_file", ALL, SCRIPTS),
    definition("log_by_lua", ALL, SCRIPTS),
    definition("log_by_lua_block", ALL, SCRIPTS),
    definition("log_by_lua_file", ALL, SCRIPTS),
    content("content_by_lua", SCRIPTS),
    content("content_by_lua_block", SCRIPTS),
    content("content_by_lua_file", SCRIPTS),
    requests("*_by_lua", ALL, SCRIPTS),
    requests("*_by_lua_block", ALL, SCRIPTS),
    requests("*_by_lua_file", ALL, SCRIPTS),
    content("perl", SCRIPTS),
    definition("perl_*", HTTP, SCRIPTS),
    requests("ssi", ALL, BODIES),
    definition("ssi_*", ALL, BODIES),
    requests("sub_filter", ALL, BODIES),
    accepted("sub_filter_*", ALL, "it is about replacing text, which is not done"),
    requests("add_before_body", ALL, BODIES),
    requests("add_after_body", ALL, BODIES),
    definition("addition_types", ALL, BODIES),
    requests("image_filter", LOCATION, BODIES),
    accepted("image_filter_*", ALL, "it is about changing pictures, which is not done"),
    requests("xslt_stylesheet", LOCATION, BODIES),
    definition("xslt_*", ALL, BODIES),
    definition("charset_map", HTTP, BODIES),
    requests("slice", ALL, BODIES),
    requests(
        "client_body_in_file_only",
        ALL,
        "Longwire does not keep request bodies in files, and will not. Let the backend store what it needs",
    ),
    definition("mail", MAIN, STREAM),
    definition("stream", MAIN, STREAM),
];

/// Variables that modules of this table bring with them.
pub(crate) const VARIABLES: &[(&str, &str)] = &[
    ("fastcgi_script_name", "fastcgi_pass"),
    ("fastcgi_path_info", "fastcgi_pass"),
    ("slice_range", "slice"),
    ("date_local", "ssi"),
    ("date_gmt", "ssi"),
];

/// Directives whose variables only go into logs, or become a variable that is looked at by itself.
const APART: &[&str] = &["log_format", "access_log", "map", "geo", "split_clients"];
/// Directives of the rewrite module: what they miss is missed in their turn.
const RULES: &[&str] = &["set", "if", "rewrite", "return"];

impl Builder<'_> {
    /// Takes a directive of this table under `--allow-unsupported`.
    pub(crate) fn unsupported(&mut self, d: &Directive, entry: &Entry, lack: Lack) {
        let name = &d.name.value;
        let reason = entry.text.split(". ").next().unwrap_or("");
        let at_place = lack != Lack::Definition && !matches!(self.context, Context::Main | Context::Events);
        let warning = Diagnostic::warning(d.span, format!("\"{name}\" is left out: {reason}"));
        self.report(if at_place {
            warning.label(match self.context {
                Context::Http => "every request is answered 501",
                Context::Server => "requests of this server are answered 501",
                Context::Upstream => "requests that go to this group are answered 501",
                _ => "requests at this place are answered 501",
            })
        } else if directives_of_variables(name) {
            warning.label("what uses its variable is answered 501")
        } else {
            warning
        });
        if at_place {
            let lack_of = self.lack_of(format!("\"{name}\""), reason, d.span);
            match (lack, self.context) {
                (_, Context::IfServer) => {
                    self.level.rules.push(TypedRule::Plain(Rule::Unsupported(lack_of)));
                }
                (Lack::Content, Context::Location | Context::IfLocation | Context::LimitExcept) => {
                    self.level.unsupported = Some(lack_of);
                }
                _ => self.level.layer.unsupported.put(entry.name, Some(lack_of)),
            }
        }
    }

    /// `off` says that an outer one does not hold here.
    pub(crate) fn supported(&mut self, entry: &Entry) {
        self.level.layer.unsupported.put(entry.name, None);
    }

    fn lack_of(&self, name: String, reason: &str, span: Span) -> Unsupported {
        Unsupported { name, reason: reason.to_owned(), at: self.at(span) }
    }

    /// A directive has been read in which a variable stands that nothing here makes.
    pub(crate) fn uses_unsupported(&mut self, d: &Directive, variable: &str, span: Span) {
        let name = d.name.value.as_str();
        let Some(maker) = self.names.unsupported.get(variable) else { return };
        let reason = format!("its value comes from \"{maker}\", which Longwire does not have");
        let warning = Diagnostic::warning(span, format!("\"${variable}\" has no value: {reason}"));
        if APART.contains(&name) {
            return self.report(warning.label("it is empty here"));
        }
        self.report(warning.label("what needs it is answered 501"));
        let lack = self.lack_of(format!("\"${variable}\""), &reason, span);
        if RULES.contains(&name) {
            // The rule itself, if there is one already, stands last: this one comes before it.
            let rules = &mut self.level.rules;
            let last = rules.len().saturating_sub(1);
            rules.insert(last, TypedRule::Plain(Rule::Unsupported(lack)));
        } else {
            self.level.layer.unsupported.put("$", Some(lack));
        }
    }
}

/// Whether a directive makes a variable.
pub(crate) fn directives_of_variables(name: &str) -> bool {
    matches!(name, "js_set" | "js_var" | "perl_set") || name.starts_with("set_by_lua")
}
