//! Directives that tune what Longwire does by itself or does not do: accepted, so that files need no change.

use super::{ALL, ALL_IF, EVENTS, Entry, HTTP, HTTP_SERVER, MAIN, accepted};

const PROCESSES: &str = "Longwire is one process with threads";
const EVENT: &str = "connections are processed by the system's best method, all at once";
const GROWS: &str = "tables grow as needed";
const BUFFERS: &str = "buffers are as long as needed";
const GZIP: &str =
    "answers are compressed by \"gzip\" alone; packed files and other encodings only save bandwidth";
const BODY: &str = "request bodies are streamed, not stored";
const HTTP3: &str = "HTTP/3 is not served, clients use TCP instead";
const HTTP2: &str = "HTTP/2 has its own measures here: frames and windows are as long as is useful, keepalive_timeout, keepalive_requests, client_header_timeout and large_client_header_buffers hold for it, and nothing is pushed";
const LINGER: &str = "connections are always closed so that the last answer arrives";
const SUB: &str = "nothing answers by subrequests";

pub(super) const TABLE: &[Entry] = &[
    accepted(
        "daemon",
        MAIN,
        "Longwire stays in the foreground, and what starts it (systemd, a container) keeps it",
    ),
    accepted("master_process", MAIN, PROCESSES),
    accepted("worker_priority", MAIN, PROCESSES),
    accepted("worker_cpu_affinity", MAIN, PROCESSES),
    accepted("worker_rlimit_core", MAIN, PROCESSES),
    accepted("worker_aio_requests", MAIN, PROCESSES),
    accepted("working_directory", MAIN, PROCESSES),
    accepted("lock_file", MAIN, PROCESSES),
    accepted("env", MAIN, "the environment is kept as it is"),
    accepted("load_module", MAIN, "there are no modules; a directive that needs one is reported by itself"),
    accepted("pcre_jit", MAIN, "regular expressions are compiled in any case"),
    accepted("timer_resolution", MAIN, "timers are exact"),
    accepted("ssl_engine", MAIN, "it speaks to OpenSSL, which is not in use"),
    accepted("debug_points", MAIN, PROCESSES),
    accepted("worker_connections", EVENTS, "connections are limited by worker_rlimit_nofile and memory only"),
    accepted("multi_accept", EVENTS, EVENT),
    accepted("use", EVENTS, EVENT),
    accepted("accept_mutex", EVENTS, EVENT),
    accepted("accept_mutex_delay", EVENTS, EVENT),
    accepted("debug_connection", EVENTS, EVENT),
    accepted("open_log_file_cache", ALL, "logs stay open"),
    accepted("types_hash_max_size", ALL, GROWS),
    accepted("types_hash_bucket_size", ALL, GROWS),
    accepted("server_names_hash_max_size", HTTP, GROWS),
    accepted("server_names_hash_bucket_size", HTTP, GROWS),
    accepted("variables_hash_max_size", HTTP, GROWS),
    accepted("variables_hash_bucket_size", HTTP, GROWS),
    accepted("tcp_nopush", ALL, "an answer goes out in as few packets as it needs"),
    accepted("postpone_output", ALL, BUFFERS),
    accepted("output_buffers", ALL, BUFFERS),
    accepted("send_lowat", ALL, BUFFERS),
    accepted("subrequest_output_buffer_size", ALL, SUB),
    accepted("log_subrequest", ALL, SUB),
    accepted("connection_pool_size", HTTP_SERVER, BUFFERS),
    accepted("request_pool_size", HTTP_SERVER, BUFFERS),
    accepted(
        "client_header_buffer_size",
        HTTP_SERVER,
        "only large_client_header_buffers limits the head of a request",
    ),
    accepted("max_headers", HTTP_SERVER, "the length of the head limits their number"),
    accepted("client_body_buffer_size", ALL, BODY),
    accepted("client_body_temp_path", ALL, BODY),
    accepted("client_body_in_single_buffer", ALL, BODY),
    accepted("chunked_transfer_encoding", ALL, "answers of unknown length are chunked in HTTP/1.1"),
    accepted("lingering_close", ALL, LINGER),
    accepted("lingering_time", ALL, LINGER),
    accepted("reset_timedout_connection", ALL, LINGER),
    accepted("keepalive_disable", ALL, "it is about browsers that are gone"),
    accepted("keepalive_time", ALL, "connections have no longest age"),
    accepted("keepalive_min_timeout", ALL, "idle connections are not closed before their time"),
    accepted("msie_padding", ALL, "it is about browsers that are gone"),
    accepted("msie_refresh", ALL, "it is about browsers that are gone"),
    accepted("charset", ALL_IF, "answers are passed on with the charset that the backend says"),
    accepted("charset_types", ALL, "answers are passed on with the charset that the backend says"),
    accepted("override_charset", ALL_IF, "answers are passed on with the charset that the backend says"),
    accepted("gzip_buffers", ALL, BUFFERS),
    accepted("gzip_static", ALL, GZIP),
    accepted("gunzip_buffers", ALL, BUFFERS),
    accepted("brotli", ALL, GZIP),
    accepted("brotli_*", ALL, GZIP),
    accepted("zstd", ALL, GZIP),
    accepted("zstd_*", ALL, GZIP),
    accepted("http2_*", ALL, HTTP2),
    accepted("http3", HTTP_SERVER, HTTP3),
    accepted("http3_*", HTTP_SERVER, HTTP3),
    accepted("quic_*", HTTP_SERVER, HTTP3),
    accepted("fastcgi_*", ALL, "it is about FastCGI, which is not spoken"),
    accepted("uwsgi_*", ALL, "it is about uWSGI, which is not spoken"),
    accepted("scgi_*", ALL, "it is about SCGI, which is not spoken"),
    accepted("grpc_*", ALL, "it is about gRPC, which is not spoken"),
    accepted("memcached_*", ALL, "it is about memcached, which is not spoken"),
];
