//! The rules of the opening handshake (RFC 6455, section 4), over header values; the HTTP around it is the caller's.
