//! Connections that leave rustls at awkward moments: no byte is lost, and none is accepted twice.

use std::net::SocketAddr;
use std::pin::Pin;
use std::task::Poll;

use longwire_conf::model::{Protocols, ProxySsl, Tls};
use tokio::io::{AsyncRead as _, AsyncReadExt as _, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpListener;

use super::super::{Conn, Resumption, connector, handshake, offer, self_signed};
use super::*;
use crate::net::{Endpoint, connect};

/// A client and a server, both by rustls.
async fn pair(tls13: bool) -> (Box<Secured>, Box<Secured>) {
    let protocols = Protocols { tls12: !tls13, tls13 };
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let address = listener.local_addr().unwrap();
    let settings = ProxySsl {
        verify: false,
        trusted: None,
        name: None,
        server_name: false,
        protocols,
        session_reuse: false,
        certificate: None,
    };
    let client = async move {
        let stream = connect(&Endpoint::Tcp(address), None).await.unwrap();
        connector(&settings).unwrap().connect(stream, "localhost").await.unwrap()
    };
    let server = async move {
        let (stream, _) = listener.accept().await.unwrap();
        let tls = Tls { protocols, ..Tls::default() };
        let offer = offer(&tls, vec![self_signed(&[]).unwrap()], None, Resumption::default()).unwrap();
        handshake(Stream::Tcp(stream), |_| Ok(offer)).await.unwrap()
    };
    match tokio::join!(client, server) {
        (Conn::Tls(client), (Conn::Tls(server), _)) => (client, server),
        _ => panic!("no TLS"),
    }
}

fn refresh(secured: &mut Secured) {
    match &mut secured.stream {
        TlsStream::Client(tls) => tls.get_mut().1.refresh_traffic_keys().unwrap(),
        TlsStream::Server(tls) => tls.get_mut().1.refresh_traffic_keys().unwrap(),
    }
}

/// Sends through rustls, and reads through it.
async fn pass(from: &mut Secured, to: &mut Secured, data: &[u8]) {
    from.stream.write_all(data).await.unwrap();
    from.stream.flush().await.unwrap();
    let mut got = vec![0; data.len()];
    to.stream.read_exact(&mut got).await.unwrap();
    assert_eq!(got, data);
}

/// What the one sends reaches the other, through the sockets.
async fn talk(from: &mut Extracted, to: &mut Extracted, data: &[u8]) {
    let mut records = std::mem::take(&mut from.unsent);
    from.sealer.seal(data, &mut records).unwrap();
    from.socket.write_all(&records).await.unwrap();
    expect(to, data).await;
}

/// These data come, and no more.
async fn expect(to: &mut Extracted, data: &[u8]) {
    let mut wire = std::mem::take(&mut to.received);
    let mut got = std::mem::take(&mut to.data);
    loop {
        let opened = to.opener.open(&mut wire);
        assert_eq!(opened.end, None);
        if opened.update_requested {
            to.sealer.owe_update();
        }
        got.extend_from_slice(&wire[..opened.data]);
        wire.drain(..opened.used);
        if got.len() >= data.len() {
            break;
        }
        assert!(to.socket.read_buf(&mut wire).await.unwrap() > 0, "the stream ended");
    }
    to.received = wire;
    assert_eq!(got, data);
}

#[tokio::test]
async fn both_ends_leave_and_go_on() {
    for tls13 in [true, false] {
        let (mut client, mut server) = pair(tls13).await;
        pass(&mut client, &mut server, b"one").await;
        pass(&mut server, &mut client, b"two").await;
        assert_eq!((client.obstacle(), server.obstacle()), (None, None));
        let (mut client, mut server) = (client.extract().unwrap(), server.extract().unwrap());
        for size in [1, 100, 50_000] {
            talk(&mut client, &mut server, &vec![7; size]).await;
            talk(&mut server, &mut client, &vec![8; size]).await;
        }
    }
}

/// The secrets are those of the handshake; the keys are younger. The answer to the last update is still owed.
#[tokio::test]
async fn keys_that_were_updated_before_are_found() {
    let (mut client, mut server) = pair(true).await;
    for round in 0..11 {
        refresh(&mut client);
        pass(&mut client, &mut server, b"to the server").await;
        if round % 3 == 0 {
            pass(&mut server, &mut client, b"to the client").await;
        }
    }
    let mut server = server.extract().unwrap();
    assert!(!server.unsent.is_empty(), "an update is owed");
    let mut client = client.extract().unwrap();
    talk(&mut server, &mut client, b"under new keys").await;
    talk(&mut client, &mut server, b"and back").await;
}

/// Records that came with those that were read: decrypted, whole and cut.
#[tokio::test]
async fn what_is_under_way_is_carried_over() {
    for tls13 in [true, false] {
        for cut in [1, 4, 5, 6, 30] {
            let (mut client, mut server) = pair(tls13).await;
            pass(&mut server, &mut client, b"hello").await;
            let mut client = client.extract().unwrap();
            let mut wire = Vec::new();
            for piece in [&b"first, of which a part is read"[..], b"second", b"third"] {
                client.sealer.seal(piece, &mut wire).unwrap();
            }
            let whole = wire.len();
            client.sealer.seal(&[b'x'; 100], &mut wire).unwrap();
            let (now, later) = wire.split_at(whole + cut);
            client.socket.write_all(now).await.unwrap();
            let mut some = [0; 5];
            server.stream.read_exact(&mut some).await.unwrap();
            assert_eq!(&some, b"first");
            let mut server = server.extract().unwrap();
            client.socket.write_all(later).await.unwrap();
            let mut rest = b", of which a part is readsecondthird".to_vec();
            rest.extend([b'x'; 100]);
            expect(&mut server, &rest).await;
            talk(&mut client, &mut server, b"more").await;
        }
    }
}

#[tokio::test]
async fn an_end_that_was_told_is_remembered() {
    for tls13 in [true, false] {
        let (mut client, mut server) = pair(tls13).await;
        client.stream.write_all(b"last").await.unwrap();
        client.stream.shutdown().await.unwrap();
        let mut got = Vec::new();
        server.stream.read_to_end(&mut got).await.unwrap();
        assert_eq!(got, b"last");
        assert!(server.extract().unwrap().ended);
    }
}

#[tokio::test]
async fn without_secrets_it_stays() {
    let (mut client, _server) = pair(true).await;
    assert_eq!(client.obstacle(), None);
    client.secrets.client = None;
    assert_eq!(client.obstacle(), Some("the TLS 1.3 traffic secrets are unknown"));
    client.secrets.client = Secret::new(&[1; 32]);
    assert!(client.extract().is_err(), "a secret that is another connection's");
}

/// A ticket in pieces, of which rustls has read some: the rest of it is understood, and what follows.
#[tokio::test]
async fn a_message_that_is_half_read_goes_on() {
    let ticket = [&[4, 0, 0, 200][..], &[7; 200]].concat();
    for pieces_before in 0..5 {
        let (mut client, server) = pair(true).await;
        let mut server = server.extract().unwrap();
        let mut wire = std::mem::take(&mut server.unsent);
        server.sealer.seal(b"first", &mut wire).unwrap();
        let mut pieces = ticket.chunks(ticket.len().div_ceil(5));
        for piece in pieces.by_ref().take(pieces_before) {
            server.sealer.record(22, piece, &mut wire).unwrap();
        }
        server.socket.write_all(&wire).await.unwrap();
        let mut conn = Conn::Tls(client);
        let mut got = [0; 5];
        conn.read_exact(&mut got).await.unwrap();
        let records = |conn: &Conn| match conn {
            Conn::Tls(client) => last_records(client.stream.get_ref().0.given().unwrap(), u64::MAX).len(),
            Conn::Plain(_) => panic!("TLS"),
        };
        std::future::poll_fn(|cx| {
            let polled = Pin::new(&mut conn).poll_read(cx, &mut ReadBuf::new(&mut [0; 5]));
            assert!(polled.is_pending(), "nothing more was said");
            // The socket wakes us when the rest of the pieces is there.
            if records(&conn) < pieces_before { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
        client = match conn {
            Conn::Tls(client) => client,
            Conn::Plain(_) => panic!("TLS"),
        };
        assert_eq!(client.obstacle(), None);
        let mut client = client.extract().unwrap();
        let mut wire = Vec::new();
        pieces.for_each(|piece| server.sealer.record(22, piece, &mut wire).unwrap());
        server.sealer.seal(b"second", &mut wire).unwrap();
        server.socket.write_all(&wire).await.unwrap();
        expect(&mut client, b"second").await;
        talk(&mut client, &mut server, b"back").await;
        talk(&mut server, &mut client, b"third").await;
    }
}

/// So much that it is not remembered: rustls goes on with it.
#[tokio::test]
async fn too_much_without_data_stays_until_data_come() {
    let (mut client, server) = pair(true).await;
    let mut server = server.extract().unwrap();
    let mut wire = std::mem::take(&mut server.unsent);
    // A ticket that is longer than what is remembered, but for its end.
    server.sealer.record(22, &[&[4, 0, 20, 1][..], &[7; 5120]].concat(), &mut wire).unwrap();
    server.socket.write_all(&wire).await.unwrap();
    std::future::poll_fn(|cx| {
        let _ = Pin::new(&mut client.stream).poll_read(cx, &mut ReadBuf::new(&mut [0; 5]));
        if client.stream.get_ref().0.given().is_some() { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    assert_eq!(client.obstacle(), Some("a TLS message may be half read"));
}
