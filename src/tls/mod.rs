//! TLS: handshakes by rustls, and what they need; one stream type over TLS and plain sockets; and a record layer of our
//! own for connections whose handshake is done and that have to cost little.

mod accept;
mod certificate;
mod client;
mod cipher;
mod connect;
mod extract;
mod fault;
mod keys;
mod names;
mod record;
mod save;
mod secrets;
mod session;
mod stream;
mod tap;
pub mod tickets;
mod x509;

pub use accept::{Hello, Offer, Resumption, handshake, offer, rejecting_offer, with_http2};
pub use certificate::{CertificateError, Found, Loaded, load, self_signed, system_roots};
pub use cipher::cool;
pub use client::{Asking, Client, Mistrust, asking};
pub use connect::{Connector, Fingerprint, connector, verifying};
pub use extract::Extracted;
pub use fault::Fault;
pub use keys::{Keys, Secret, Suite, Version};
pub use names::{groups, suites};
pub use record::{MAX_RECORD, Opened, Opener, Sealer, whole_record};
pub use save::{RestoreError, State, restore, save};
pub use stream::{Conn, Secured, Session};
pub use x509::ClientCertificate;
