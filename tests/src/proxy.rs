//! An HTTP proxy before a store, which does harm to some requests: it holds them, delays them, answers that the store is
//! overloaded, or resets the connection.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::sleep,
};

const LONGEST_HEAD: usize = 64 << 10;
const BETWEEN: Duration = Duration::from_millis(20);
const OVERLOADED: &[u8] =
    b"HTTP/1.1 503 Slow Down\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// What is done to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Harm {
    /// It is held until the harm is over, and its connection closed then.
    Hang,
    /// It is passed on so much later.
    Delay(Duration),
    /// It is answered with 503.
    Overload,
    /// Its connection is reset.
    Reset,
}

/// A running proxy; it ends when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    /// Where it listens.
    pub address: SocketAddr,
    harms: Harms,
    task: JoinHandle<()>,
}

/// By what a request's target must contain.
type Harms = Arc<Mutex<BTreeMap<String, Harm>>>;

impl Proxy {
    /// Starts a proxy before a server; it does no harm yet.
    ///
    /// # Errors
    /// When there is no free port.
    pub async fn start(server: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let harms = Harms::default();
        let shared = harms.clone();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                // A client that goes away, or a server that does, ends one connection.
                let harms = shared.clone();
                tokio::spawn(async move { pass(client, server, &harms).await });
            }
        });
        Ok(Self {
            address,
            harms,
            task,
        })
    }

    /// Does harm to requests whose target (path and query) has this in it, or none any more.
    pub fn harm(&self, part: &str, harm: Option<Harm>) {
        let mut harms = self.harms.lock().unwrap_or_else(PoisonError::into_inner);
        match harm {
            Some(harm) => drop(harms.insert(part.to_owned(), harm)),
            None => drop(harms.remove(part)),
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn harm_of(harms: &Harms, head: &str) -> Option<Harm> {
    let target = head.lines().next().unwrap_or_default();
    let target = target.replace("%2F", "/");
    let harms = harms.lock().unwrap_or_else(PoisonError::into_inner);
    let mut harms = harms.iter();
    harms.find_map(|(part, harm)| target.contains(part.as_str()).then_some(*harm))
}

/// Passes one request on. Each has a connection of its own, so that each can be judged by its head.
async fn pass(mut client: TcpStream, server: SocketAddr, harms: &Harms) -> io::Result<()> {
    let mut read = Vec::new();
    let end = loop {
        if let Some(end) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        if read.len() > LONGEST_HEAD || client.read_buf(&mut read).await? == 0 {
            return Ok(());
        }
    };
    let head = String::from_utf8_lossy(&read[..end]).into_owned();
    match harm_of(harms, &head) {
        None => {}
        Some(Harm::Delay(delay)) => sleep(delay).await,
        Some(Harm::Overload) => return client.write_all(OVERLOADED).await,
        Some(Harm::Reset) => {
            client.set_zero_linger()?;
            return Ok(());
        }
        Some(Harm::Hang) => {
            while harm_of(harms, &head) == Some(Harm::Hang) {
                sleep(BETWEEN).await;
            }
            return Ok(());
        }
    }
    let mut server = TcpStream::connect(server).await?;
    let kept = head
        .lines()
        .filter(|line| !line.to_ascii_lowercase().starts_with("connection:"));
    for line in kept {
        server.write_all(line.as_bytes()).await?;
        server.write_all(b"\r\n").await?;
    }
    server.write_all(b"connection: close\r\n\r\n").await?;
    server.write_all(&read[end + 4..]).await?;
    copy_bidirectional(&mut client, &mut server).await?;
    Ok(())
}
