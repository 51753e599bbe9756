//! TLS connections by rustls whose records a test holds in its hands.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, Connection, ServerConnection, SupportedProtocolVersion};

use super::conn::Conn;
use super::tls::Identity;

/// A TLS connection that one thread reads from and another writes to.
#[derive(Clone)]
pub struct Duplex {
    pub tls: Arc<Mutex<Connection>>,
    pub tcp: Arc<TcpStream>,
    /// Decrypted, not read: rustls holds no more than a little.
    data: Arc<Mutex<VecDeque<u8>>>,
}

impl Duplex {
    fn new(mut tls: Connection, mut tcp: TcpStream) -> Duplex {
        while tls.is_handshaking() {
            tls.complete_io(&mut tcp).unwrap();
        }
        while tls.wants_write() {
            tls.write_tls(&mut tcp).unwrap();
        }
        Duplex { tls: Arc::new(Mutex::new(tls)), tcp: Arc::new(tcp), data: Arc::default() }
    }

    pub fn connect(
        addr: SocketAddr,
        identity: &Identity,
        version: &'static SupportedProtocolVersion,
    ) -> Duplex {
        let name = ServerName::try_from("example.com").unwrap();
        let tls = ClientConnection::new(Arc::new(identity.client_config(&[version])), name).unwrap();
        Duplex::new(tls.into(), TcpStream::connect(addr).unwrap())
    }

    pub fn accept(conn: &Conn, identity: &Identity, version: &'static SupportedProtocolVersion) -> Duplex {
        let tls = ServerConnection::new(Arc::new(identity.server_config(&[version]))).unwrap();
        Duplex::new(tls.into(), conn.tcp().try_clone().unwrap())
    }

    pub fn conn(&self, masks: bool) -> Conn {
        let mut conn = Conn::with(self.tcp.try_clone().unwrap(), Box::new(self.clone()));
        conn.masks = masks;
        conn
    }

    /// Changes our keys and asks the peer to change its own, where TLS can.
    pub fn refresh(&self) {
        let mut tls = self.tls.lock().unwrap();
        if tls.protocol_version() == Some(rustls::ProtocolVersion::TLSv1_3) {
            tls.refresh_traffic_keys().unwrap();
        }
    }

    /// The records that carry these data, not sent.
    pub fn records(&self, data: &[u8]) -> Vec<u8> {
        let mut tls = self.tls.lock().unwrap();
        let mut wire = Vec::new();
        for piece in data.chunks(16 * 1024) {
            tls.writer().write_all(piece).unwrap();
            while tls.wants_write() {
                tls.write_tls(&mut wire).unwrap();
            }
        }
        wire
    }

    /// Sends bytes as they are.
    pub fn send_raw(&self, bytes: &[u8]) {
        (&*self.tcp).write_all(bytes).unwrap();
    }
}

impl Read for Duplex {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        loop {
            let count = self.data.lock().unwrap().read(buf)?;
            if count > 0 {
                return Ok(count);
            }
            match self.tls.lock().unwrap().reader().read(buf) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                result => return result,
            }
            let mut chunk = [0; 16 * 1024];
            let count = (&*self.tcp).read(&mut chunk)?;
            let (mut tls, mut data) = (self.tls.lock().unwrap(), self.data.lock().unwrap());
            let mut rest = &chunk[..count];
            loop {
                tls.read_tls(&mut rest)?;
                tls.process_new_packets().map_err(std::io::Error::other)?;
                let mut fresh = Vec::new();
                let _ = tls.reader().read_to_end(&mut fresh);
                data.extend(fresh);
                if rest.is_empty() {
                    break;
                }
            }
        }
    }
}

impl Write for Duplex {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        let records = self.records(buf);
        (&*self.tcp).write_all(&records)?;
        Ok(buf.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
