//! What the values of directives without effect may be: what nginx would refuse stays a mistake, so that nobody believes in it.

use super::Entry;
use crate::build::Builder;
use crate::diagnostic::Diagnostic;
use crate::tree::Directive;

/// What nginx reads in a directive.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Flag,
    Number,
    Size,
    Time,
    /// A number and a size.
    Buffers,
    /// One or more of these.
    Words(&'static [&'static str]),
}

fn kind(name: &str) -> Option<Kind> {
    Some(match name {
        "sendfile"
        | "tcp_nopush"
        | "proxy_buffering"
        | "proxy_request_buffering"
        | "multi_accept"
        | "accept_mutex"
        | "daemon"
        | "master_process"
        | "pcre_jit"
        | "reset_timedout_connection"
        | "msie_padding"
        | "msie_refresh"
        | "chunked_transfer_encoding"
        | "log_subrequest"
        | "proxy_cache_lock"
        | "proxy_cache_revalidate"
        | "proxy_cache_background_update"
        | "proxy_force_ranges"
        | "ssl_stapling"
        | "ssl_stapling_verify"
        | "open_file_cache_errors"
        | "override_charset" => Kind::Flag,
        "worker_connections"
        | "types_hash_max_size"
        | "types_hash_bucket_size"
        | "server_names_hash_max_size"
        | "server_names_hash_bucket_size"
        | "variables_hash_max_size"
        | "variables_hash_bucket_size"
        | "map_hash_max_size"
        | "map_hash_bucket_size"
        | "proxy_headers_hash_max_size"
        | "proxy_headers_hash_bucket_size"
        | "open_file_cache_min_uses"
        | "proxy_cache_min_uses"
        | "max_headers" => Kind::Number,
        "client_header_buffer_size"
        | "client_body_buffer_size"
        | "connection_pool_size"
        | "request_pool_size"
        | "postpone_output"
        | "send_lowat"
        | "proxy_send_lowat"
        | "proxy_buffer_size"
        | "proxy_busy_buffers_size"
        | "proxy_temp_file_write_size"
        | "proxy_max_temp_file_size"
        | "ssl_buffer_size"
        | "sendfile_max_chunk"
        | "subrequest_output_buffer_size" => Kind::Size,
        "lingering_time"
        | "keepalive_time"
        | "keepalive_min_timeout"
        | "resolver_timeout"
        | "accept_mutex_delay"
        | "open_file_cache_valid"
        | "proxy_cache_lock_timeout"
        | "proxy_cache_lock_age" => Kind::Time,
        "proxy_buffers" | "gzip_buffers" | "output_buffers" | "gunzip_buffers" => Kind::Buffers,
        "gzip_static" => Kind::Words(&["off", "on", "always"]),
        "lingering_close" => Kind::Words(&["off", "on", "always"]),
        "keepalive_disable" => Kind::Words(&["none", "msie6", "safari"]),
        _ => return None,
    })
}

/// Reports what nginx would refuse in a directive without effect. Whether it may be passed over.
pub(crate) fn check(b: &mut Builder<'_>, directive: &Directive, entry: &Entry) -> bool {
    let Some(kind) = kind(entry.name) else { return true };
    let count = match kind {
        Kind::Buffers => 2,
        Kind::Words(_) => directive.args.len(),
        Kind::Flag | Kind::Number | Kind::Size | Kind::Time => 1,
    };
    if directive.args.len() != count {
        let message = format!("invalid number of arguments in \"{}\" directive", entry.name);
        b.report(Diagnostic::error(directive.span, message));
        return false;
    }
    if !matches!(kind, Kind::Words(_)) && b.is_duplicate(directive, entry) {
        return false;
    }
    match kind {
        Kind::Flag => b.flag(directive).is_some(),
        Kind::Number => b.number(directive).is_some(),
        Kind::Size => b.size(directive, &directive.args[0]).is_some(),
        Kind::Time => b.time(directive).is_some(),
        Kind::Buffers => b.number(directive).is_some() && b.size(directive, &directive.args[1]).is_some(),
        Kind::Words(known) => {
            let strange = directive.args.iter().find(|word| !known.contains(&word.value.as_str()));
            if let Some(word) = strange {
                let message = format!("invalid value \"{}\"", word.value);
                let help = format!("\"{}\" takes {}", entry.name, known.join(", "));
                b.report(Diagnostic::error(word.span, message).label("nginx would not take this").help(help));
            }
            strange.is_none()
        }
    }
}
