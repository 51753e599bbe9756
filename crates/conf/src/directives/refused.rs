//! Directives that change what a file means and that Longwire does not have yet.

use super::{ALL, Entry, HTTP, LOCATION, SERVER_LOCATION, UPSTREAM, accepted, refused};

const FILES: &str =
    "Longwire does not have this way of serving files yet. Leave it to the backend or another server";
const FILMS: &str = "a film is sent as any file: players that ask for ranges may begin anywhere";
const ACCESS: &str = "Longwire does not have access rules yet. Leaving this out would let everybody in";
const LIMIT: &str =
    "Longwire does not have limits of requests and connections yet. Leaving this out would lift the limit";
const BALANCE: &str = "Longwire does not have this for groups yet. Balancing is by round robin, \"least_conn\", \"random\", \"hash\" or \"ip_hash\", with \"sticky\" for sessions";
const HEALTH: &str = "Longwire does not have this. \"health_check\" takes an answer of 200 to 399 for good, or with type=websocket a handshake and a ping; write it beside \"proxy_pass\"";
const VARIABLE: &str = "Longwire does not have this source of variables yet. Where there are few values, a \"map\" can make the variable";
const ANSWER: &str = "Longwire does not have this yet. Let the backend set these headers";
const COOKIES: &str =
    "Longwire does not rewrite cookies yet. Let the backend set them as clients should see them";
const STATUS: &str = "Longwire does not have a status page yet. Leave this location out";

pub(super) const TABLE: &[Entry] = &[
    refused("random_index", LOCATION, FILES),
    refused("auth_jwt", ALL, ACCESS),
    refused("auth_jwt_*", ALL, ACCESS),
    refused("secure_link", ALL, ACCESS),
    refused("secure_link_*", ALL, ACCESS),
    refused("valid_referers", SERVER_LOCATION, ACCESS),
    refused("modsecurity", ALL, ACCESS),
    refused("modsecurity_*", ALL, ACCESS),
    refused("limit_rate", ALL, LIMIT),
    accepted("limit_rate_after", ALL, "it serves limit_rate, which is reported by itself"),
    refused("least_time", UPSTREAM, BALANCE),
    refused(
        "sticky_cookie_insert",
        UPSTREAM,
        "Longwire has \"sticky cookie\" in place of this old name. Write \"sticky cookie\" with the same parameters",
    ),
    refused("queue", UPSTREAM, BALANCE),
    refused("ntlm", UPSTREAM, BALANCE),
    refused("state", UPSTREAM, BALANCE),
    refused("check", UPSTREAM, HEALTH),
    refused("match", HTTP, HEALTH),
    refused("geoip_*", HTTP, VARIABLE),
    refused("geoip2", HTTP, VARIABLE),
    refused("userid", ALL, VARIABLE),
    refused("userid_*", ALL, VARIABLE),
    refused("add_trailer", ALL, ANSWER),
    refused("add_header_inherit", ALL, ANSWER),
    refused("more_set_headers", ALL, ANSWER),
    refused("more_clear_headers", ALL, ANSWER),
    refused("more_set_input_headers", ALL, ANSWER),
    refused("proxy_cookie_path", ALL, COOKIES),
    refused("proxy_cookie_domain", ALL, COOKIES),
    refused("proxy_cookie_flags", ALL, COOKIES),
    refused(
        "proxy_set_body",
        ALL,
        "Longwire does not replace request bodies yet. Let the client send what the backend should read",
    ),
    refused(
        "proxy_pass_trailers",
        ALL,
        "Longwire does not pass trailers on yet. Let the backend use headers",
    ),
    refused("proxy_limit_rate", ALL, LIMIT),
    refused(
        "proxy_ignore_client_abort",
        ALL,
        "Longwire does not finish requests whose client is gone yet. Without it the connection to the backend is closed with the client's",
    ),
    refused(
        "gunzip",
        ALL,
        "Longwire does not unpack answers yet. To have them unpacked, write \"proxy_set_header Accept-Encoding '';\"",
    ),
    accepted("proxy_store_access", ALL, "it serves proxy_store, which is reported by itself"),
    refused("proxy_store", ALL, FILES),
    refused(
        "proxy_ssl_crl",
        ALL,
        "Longwire does not have revocation lists yet. Leaving this out would trust revoked certificates",
    ),
    refused(
        "proxy_ssl_password_file",
        ALL,
        "Longwire does not have encrypted keys yet. Store the key without a passphrase",
    ),
    refused(
        "mirror",
        ALL,
        "Longwire does not copy requests to a second backend yet. Leave this out if it only feeds a test",
    ),
    refused(
        "mirror_request_body",
        ALL,
        "Longwire does not copy requests to a second backend yet. Leave this out if it only feeds a test",
    ),
    refused("status", SERVER_LOCATION, STATUS),
    refused("status_zone", SERVER_LOCATION, STATUS),
    refused("api", LOCATION, STATUS),
    refused("empty_gif", LOCATION, FILES),
    Entry { args: (0, 0), ..accepted("mp4", LOCATION, FILMS) },
    accepted("mp4_*", ALL, FILMS),
    Entry { args: (0, 0), ..accepted("flv", LOCATION, FILMS) },
    refused("hls", LOCATION, FILES),
    refused("dav_methods", ALL, FILES),
];
