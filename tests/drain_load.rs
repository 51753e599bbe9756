//! Thousands have to go, and come back at once: no second is worse than another, and who is not meant notices nothing.
//!
//! The long form, 2,000 tunnels over 20 s and 3,000 over three backends:
//! `LONGWIRE_LONG=1 cargo test --release --test drain_load -- --nocapture --test-threads 1`
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::io;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use support::frames::upgrade_request;
use support::{Longwire, WAIT, is_long, site};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

/// What becomes of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum News {
    Open,
    /// By the code of a Close frame; `None` where the connection ended without.
    Told(Option<u16>),
    Back,
}

/// Clients on one thread. Whoever loses its connection comes back at once, to `home`.
struct Flock {
    news: Receiver<(Instant, News)>,
    home: watch::Sender<SocketAddr>,
}

impl Flock {
    /// All are open. `addr`: where they go, by the address of a backend that they bring along.
    fn new(count: usize, addr: impl FnOnce(SocketAddr) -> SocketAddr) -> Flock {
        let (tell, news) = sync_channel(count * 4);
        let (started, backend) = sync_channel(1);
        let (home, homes) = watch::channel(SocketAddr::from(([127, 0, 0, 1], 0)));
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                started.send(listener.local_addr().unwrap()).unwrap();
                tokio::spawn(serve(listener));
                let mut homes = homes;
                homes.changed().await.unwrap();
                // Not more at a time than wait in the queue of a listening socket.
                let gate = Arc::new(Semaphore::new(64));
                for _ in 0..count {
                    tokio::spawn(bird(homes.clone(), tell.clone(), gate.clone()));
                }
                // Until the test has ended.
                while homes.changed().await.is_ok() {}
            });
        });
        let backend = backend.recv().unwrap();
        home.send_replace(addr(backend));
        let flock = Flock { news, home };
        (0..count).for_each(|_| assert_eq!(flock.next().1, News::Open));
        flock
    }

    fn next(&self) -> (Instant, News) {
        self.news.recv_timeout(WAIT).expect("something happens")
    }

    /// Waits until so many have gone and come back. Gives when they were told, by which code, and when they were back.
    fn storm(&self, count: usize, begun: Instant) -> (Vec<Duration>, Vec<Option<u16>>, Vec<Duration>) {
        let (mut told, mut codes, mut back) = (Vec::new(), Vec::new(), Vec::new());
        while back.len() < count {
            match self.next() {
                (at, News::Told(code)) => {
                    told.push(at - begun);
                    codes.push(code);
                }
                (at, News::Back) => back.push(at - begun),
                (_, News::Open) => panic!("all were open"),
            }
        }
        assert_eq!(told.len(), count, "nobody else was told anything");
        (told, codes, back)
    }
}

async fn bird(
    mut home: watch::Receiver<SocketAddr>,
    tell: SyncSender<(Instant, News)>,
    gate: Arc<Semaphore>,
) {
    let pass = gate.acquire().await.unwrap();
    let say = |news| tell.send((Instant::now(), news)).unwrap();
    let addr = *home.borrow();
    let mut stream = knock(addr).await.unwrap();
    say(News::Open);
    drop(pass);
    say(News::Told(listen(&mut stream).await));
    drop(stream);
    let addr = *home.borrow();
    let mut stream = knock(addr).await.unwrap();
    say(News::Back);
    // It stays until the test has ended.
    tokio::select! {
        code = listen(&mut stream) => say(News::Told(code)),
        () = async { while home.changed().await.is_ok() {} } => {}
    }
}

async fn knock(addr: SocketAddr) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(addr).await?;
    stream.write_all(upgrade_request("/", "").as_bytes()).await?;
    let head = head(&mut stream).await?;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    Ok(stream)
}

async fn head(stream: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

/// Until the connection ends: answers pings, echoes a Close and gives its code.
async fn listen(stream: &mut TcpStream) -> Option<u16> {
    let mut code = None;
    loop {
        let Ok(first) = stream.read_u8().await else { return code };
        let size = usize::from(stream.read_u8().await.ok()?);
        let mut payload = vec![0; size];
        stream.read_exact(&mut payload).await.ok()?;
        let answer = match first {
            0x88 => {
                code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
                0x88
            }
            0x89 => 0x8a,
            other => panic!("a frame that nobody sends: {other:x}"),
        };
        // Masked with zeros.
        let frame = [&[answer, 0x80 | size as u8, 0, 0, 0, 0], &payload[..]].concat();
        let _ = stream.write_all(&frame).await;
    }
}

/// A backend that has nothing to say.
async fn serve(listener: TcpListener) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        tokio::spawn(async move {
            let head = head(&mut stream).await?;
            let key = head.lines().find_map(|line| {
                line.split_once(": ").filter(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"))
            });
            let key = key.map_or("", |(_, key)| key);
            stream.write_all(support::backend::switching(key, "").as_bytes()).await?;
            loop {
                let (first, size) = (stream.read_u8().await?, stream.read_u8().await? & 0x7f);
                let mut rest = vec![0; 4 + usize::from(size)];
                stream.read_exact(&mut rest).await?;
                let (mask, payload) = rest.split_at_mut(4);
                payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
                // A Ping is answered, a Close is echoed.
                let answer = if first == 0x89 { 0x8a } else { first };
                stream.write_all(&[&[answer, size], &*payload].concat()).await?;
                if first == 0x88 {
                    return io::Result::Ok(());
                }
            }
        });
    }
}

/// How many in each of equal times of so many seconds.
fn parts(times: &[Duration], seconds: u64) -> Vec<usize> {
    let part = |time: &Duration| (time.as_secs() / seconds) as usize;
    let mut found = vec![0; times.iter().max().map_or(0, |last| part(last) + 1)];
    times.iter().for_each(|time| found[part(time)] += 1);
    found
}

/// Close frames per second within a tenth of even; those who come back at once make no second larger than that.
#[test]
fn a_drain_is_even_and_so_is_the_return() {
    // The machine of the short form has other work: it may be late by half a second, and looks at two at a time.
    let (count, time, part, most) = if is_long() { (2000, 20, 1, 0.1) } else { (200, 8, 2, 0.3) };
    let conf = |backend| site(backend, &format!("websocket_drain {time}s;"));
    let mut programs = Vec::new();
    let flock = Flock::new(count, |backend| {
        programs.extend([0, 1].map(|_| Longwire::start(&conf(backend))));
        programs[0].addr()
    });
    let [longwire, neighbour] = &mut programs[..] else { panic!() };
    flock.home.send_replace(neighbour.addr());
    let begun = Instant::now();
    longwire.signal(Signal::SIGQUIT);
    let (told, codes, back) = flock.storm(count, begun);
    let even = count as f64 / (time / part) as f64;
    let (told, back) = (parts(&told, part), parts(&back, part));
    println!("even: {even}; told {told:?}, back {back:?}");
    assert!(codes.iter().all(|code| *code == Some(1001)), "{codes:?}");
    let bounds = even * (1.0 - most)..=even * (1.0 + most);
    assert!(told[..(time / part) as usize].iter().all(|n| bounds.contains(&(*n as f64))), "{told:?}");
    assert!(back.iter().all(|n| *n as f64 <= even * (1.0 + most)), "{back:?}");
    assert_eq!(longwire.wait_exit(WAIT).code(), Some(0));
}

/// A backend as a process of its own, which can be killed: this program once more.
struct Process(Child, SocketAddr);

/// Where such a process listens.
const LISTENS: &str = "LONGWIRE_TEST_BACKEND";

#[test]
#[ignore = "a process that the test of a killed backend starts"]
fn a_backend_as_a_process() {
    let Ok(addr) = std::env::var(LISTENS) else { return };
    // It ends with the test that has started it.
    let (ends, ended) = tokio::sync::oneshot::channel();
    std::thread::spawn(|| {
        let _ = io::stdin().read_line(&mut String::new());
        ends.send(())
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        tokio::select! {
            () = serve(TcpListener::bind(addr).await.unwrap()) => {}
            _ = ended => {}
        }
    });
}

impl Process {
    fn start() -> Process {
        let addr = support::backend::nobody();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--ignored", "--exact", "a_backend_as_a_process"]).env(LISTENS, addr.to_string());
        let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let process = Process(child, addr);
        support::until("it listens", || std::net::TcpStream::connect(addr).is_ok());
        process
    }

    fn kill(&mut self) {
        // SIGKILL.
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Its clients are told at once by whom they were left; the others hear of nothing.
#[test]
fn a_backend_that_is_killed_leaves_only_its_own_clients() {
    let count = if is_long() { 3000 } else { 150 };
    let mut backends = [0; 3].map(|_| Process::start());
    let servers: String = backends.iter().map(|backend| format!("server {}; ", backend.1)).collect();
    let conf = format!(
        "upstream app {{ {servers} }} server {{ listen 127.0.0.1:0; location / {{ proxy_pass http://app; }} }}"
    );
    let longwire = Longwire::start(&conf);
    let flock = Flock::new(count, |_| longwire.addr());
    let begun = Instant::now();
    backends[0].kill();
    let (told, codes, back) = flock.storm(count / 3, begun);
    let (told, back) = (told.iter().max().unwrap(), back.iter().max().unwrap());
    println!("{} of {count} told within {told:?}, back within {back:?}", codes.len());
    assert!(codes.iter().all(|code| *code == Some(1014)), "{codes:?}");
    assert!(*told < Duration::from_secs(5), "{told:?}");
    let after = flock.news.recv_timeout(Duration::from_secs(2));
    assert!(after.is_err(), "the others hear of nothing: {after:?}");
    longwire.wait_log(&["temporarily disabled", &backends[0].1.to_string()]);
}
