//! How answers are compressed.

use std::sync::Arc;

use crate::pattern::Pattern;

/// `gzip` and its like.
#[derive(Debug, Clone)]
pub struct Gzip {
    /// `gzip` (off).
    pub on: bool,
    /// `gzip_types` in lower case, with `text/html`; `*` is any.
    pub types: Arc<[String]>,
    /// `gzip_min_length` (20).
    pub min_length: u64,
    /// `gzip_comp_level` (1).
    pub level: u32,
    /// `gzip_vary` (off).
    pub vary: bool,
    /// `gzip_proxied` (off).
    pub proxied: GzipProxied,
    /// `gzip_disable`.
    pub disable: Arc<[Pattern]>,
    /// `gzip_http_version 1.0`.
    pub http10: bool,
}

/// `gzip_proxied`: which answers to other proxies are compressed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "named as their parameters")]
pub struct GzipProxied {
    pub expired: bool,
    pub no_cache: bool,
    pub no_store: bool,
    pub private: bool,
    pub no_last_modified: bool,
    pub no_etag: bool,
    pub auth: bool,
    pub any: bool,
}
