//! TLS by rustls: certificates, what a server offers, how a backend is reached, and one stream type over both.

mod accept;
mod certificate;
mod connect;
mod stream;

pub use accept::{Offer, offer, rejecting_offer};
pub use certificate::{CertificateError, load, self_signed};
pub use connect::{Connector, connector};
pub use stream::{Conn, Session};
