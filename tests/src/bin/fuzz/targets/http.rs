//! Requests as bytes, to a real daemon: it answers or hangs up, an answer is HTTP and its JSON is JSON, nothing is an error
//! of the server's own, and it goes on to answer others.

use std::{path::PathBuf, time::Duration};

use async_trait::async_trait;
use rand::{Rng, rngs::StdRng, seq::IndexedRandom};
use serde_json::Value;
use squire_tests::{daemon::Daemon, plain};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::{Outcome, Target};
use crate::{json, mutate};

const TOKEN: &str = "f00dfeedf00dfeedf00dfeedf00dfeed";
/// Nothing is waited for inside the daemon for longer.
const PATIENCE: Duration = Duration::from_secs(50);
/// When nothing has come for so long, the daemon may be waiting, too.
const REST: Duration = Duration::from_millis(300);
/// What the daemon may take more than at its start, in KiB.
const MOST_GROWTH: u64 = 256 << 10;

const PATHS: [&str; 20] = [
    "/",
    "/metrics",
    "/healthz",
    "/api/v1/overview",
    "/api/v1/targets",
    "/api/v1/targets/t",
    "/api/v1/targets/t/queue",
    "/api/v1/targets/t/tables/rows",
    "/api/v1/tables",
    "/api/v1/tables?target=t",
    "/api/v1/running",
    "/api/v1/runs",
    "/api/v1/runs?target=t&table=rows&duty=compaction&since=1&limit=5",
    "/api/v1/pauses",
    "/api/v1/openapi.json",
    "/api/v1/overview?since=3&wait=1s",
    "/api/v1/../../etc/passwd",
    "/api/v1/targets/%2e%2e/tables/%00",
    "*",
    "http://other/api/v1/pauses",
];
const METHODS: [&str; 9] = [
    "GET", "POST", "DELETE", "HEAD", "PUT", "OPTIONS", "TRACE", "CONNECT", "PRI",
];
const HEADERS: [&str; 20] = [
    "Authorization: Bearer f00dfeedf00dfeedf00dfeedf00dfeed",
    "Authorization: Bearer wrong",
    "Authorization: Basic dTpw",
    "Content-Type: application/json",
    "Content-Type: text/plain",
    "Content-Length: 0",
    "Content-Length: 5",
    "Content-Length: 18446744073709551616",
    "Transfer-Encoding: chunked",
    "Expect: 100-continue",
    "Connection: upgrade",
    "Upgrade: h2c",
    "Origin: http://evil",
    "Sec-Fetch-Site: cross-site",
    "X-Forwarded-For: 1.2.3.4",
    "Accept-Encoding: gzip",
    "Range: bytes=0-99999999999",
    "If-None-Match: *",
    "Host: localhost",
    "Host: [::1",
];
const BODIES: [&str; 5] = [
    "{\"target\": \"t\", \"for\": \"2h\", \"reason\": \"a test\"}",
    "{\"target\": \"t\", \"table\": \"rows\", \"for\": \"1s\"}",
    "{\"target\": \"t\"}",
    "{\"target\": \"t\", \"table\": \"rows\", \"duty\": \"compaction\"}",
    "{\"target\": \"t\", \"duty\": \"cleanup\"}",
];
const WORDS: [&str; 20] = [
    "target",
    "table",
    "for",
    "reason",
    "duty",
    "compaction",
    "index",
    "cleanup",
    "t",
    "rows",
    "1h",
    "31d",
    "99999999999999999999y",
    "-1s",
    "0s",
    "\r\n\r\n",
    "HTTP/1.0",
    "HTTP/2.0",
    "%ff",
    "?since=18446744073709551615",
];

pub(super) struct Server {
    /// It is stopped with this.
    daemon: Daemon,
    log: PathBuf,
    begins_with: u64,
    _folder: TempDir,
}

impl Server {
    pub(super) async fn new() -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
        let lake = folder.path().join("lake");
        let filled = plain::append(&lake, "rows", plain::rows(0, 10)).await;
        filled.map_err(|e| e.to_string())?;
        let config = folder.path().join("squire.toml");
        let text = format!(
            "[daemon]\nlisten = \"127.0.0.1:0\"\ntick = \"100ms\"\n[[target]]\nname = \"t\"\nuri = \"{}\"\n",
            lake.display()
        );
        std::fs::write(&config, text).map_err(|e| e.to_string())?;
        let log = folder.path().join("log");
        let daemon = Daemon::start_in(&config, &log, [("SQUIRE_TOKEN", TOKEN)]).await;
        let daemon = daemon.map_err(|e| e.to_string())?;
        let mut server = Self {
            daemon,
            log,
            begins_with: 0,
            _folder: folder,
        };
        server.begins_with = server.memory_kib()?;
        Ok(server)
    }

    /// The most memory that the daemon had.
    fn memory_kib(&self) -> Result<u64, String> {
        let id = self.daemon.id().ok_or("the daemon ended")?;
        let status = std::fs::read_to_string(format!("/proc/{id}/status"));
        let status = status.map_err(|e| format!("the daemon ended: {e}"))?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = peak.and_then(|peak| peak.split_whitespace().next()?.parse().ok());
        kib.ok_or_else(|| "the daemon ended".to_owned())
    }

    /// Sends bytes, and reads until the daemon hangs up. When it has said nothing for a while, it is told that nothing more
    /// will come.
    async fn ask(&self, request: &[u8], rest: Duration) -> Result<Vec<u8>, String> {
        let stream = TcpStream::connect(&self.daemon.listening).await;
        let stream = stream.map_err(|e| format!("nobody listens any more: {e}"))?;
        let (mut answers, mut asks) = stream.into_split();
        // Who is not interested in the rest of a request hangs up.
        let asking = async {
            let _ = asks.write_all(request).await;
        };
        let mut answer = Vec::new();
        let reading = async {
            let mut part = vec![0; 64 << 10];
            loop {
                match timeout(rest, answers.read(&mut part)).await {
                    // The daemon waits for the rest of a request: it is told that there is none.
                    Err(_) => return,
                    Ok(Ok(length @ 1..)) => answer.extend_from_slice(&part[..length]),
                    Ok(_) => return,
                }
            }
        };
        tokio::join!(asking, reading);
        let ending = async {
            let _ = asks.shutdown().await;
            let _ = answers.read_to_end(&mut answer).await;
        };
        if timeout(PATIENCE, ending).await.is_err() {
            return Err("a request is neither answered nor hung up on".to_owned());
        }
        Ok(answer)
    }

    async fn is_well(&self) -> Result<(), String> {
        let request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        let answer = self.ask(request, PATIENCE).await?;
        let text = String::from_utf8_lossy(&answer);
        if !text.starts_with("HTTP/1.1 200") && !text.starts_with("HTTP/1.1 503") {
            return Err(format!("others are answered with {text:?}"));
        }
        let grown = self.memory_kib()?.saturating_sub(self.begins_with);
        if grown > MOST_GROWTH {
            return Err(format!("the daemon has grown by {} MiB", grown >> 10));
        }
        let log = std::fs::read_to_string(&self.log).map_err(|e| e.to_string())?;
        match log.lines().find(|line| line.contains("panicked")) {
            Some(line) => Err(format!("the daemon panics: {line}")),
            None => Ok(()),
        }
    }
}

fn request(rng: &mut StdRng) -> Vec<u8> {
    let path = PATHS.choose(rng).unwrap_or(&"/");
    let method = match rng.random_range(0..4) {
        0 => METHODS.choose(rng).unwrap_or(&"GET"),
        1 => "POST",
        2 => "DELETE",
        _ => "GET",
    };
    let path = if method == "POST" || method == "DELETE" {
        *["/api/v1/pauses", "/api/v1/runs"]
            .choose(rng)
            .unwrap_or(path)
    } else {
        path
    };
    let mut body = Vec::new();
    if method != "GET" {
        let whole = BODIES.choose(rng).unwrap_or(&"").as_bytes();
        body = if rng.random_ratio(1, 4) {
            whole.to_vec()
        } else {
            json::spoil(whole, &WORDS, rng)
        };
    }
    let mut head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    if rng.random_ratio(5, 6) {
        head += HEADERS[0];
        head += "\r\n";
    }
    if !body.is_empty() {
        head += &format!("{}\r\nContent-Length: {}\r\n", HEADERS[3], body.len());
    }
    for _ in 0..rng.random_range(0..3) {
        head += HEADERS.choose(rng).unwrap_or(&"");
        head += "\r\n";
    }
    head += "\r\n";
    [head.as_bytes(), &body].concat()
}

#[async_trait]
impl Target for Server {
    fn fresh(&self, seeds: &[Vec<u8>], rng: &mut StdRng) -> Vec<u8> {
        let whole = if seeds.is_empty() || rng.random_ratio(9, 10) {
            request(rng)
        } else {
            mutate::pick(seeds, rng)
        };
        if rng.random_ratio(1, 3) {
            mutate::bytes(&whole, &WORDS, rng)
        } else {
            whole
        }
    }

    async fn hold(&self, input: &[u8]) -> Result<Outcome, String> {
        let answer = self.ask(input, REST).await?;
        self.is_well().await?;
        if answer.is_empty() {
            return Ok(Outcome::Refused);
        }
        let outcome = check(&answer)?;
        // The token is shown by whoever asks, and by nobody else.
        let shows = answer
            .windows(TOKEN.len())
            .any(|part| part == TOKEN.as_bytes());
        let asks = String::from_utf8_lossy(input).matches(TOKEN).count();
        let proves = String::from_utf8_lossy(input).matches(HEADERS[0]).count();
        if shows && asks == proves {
            return Err("an answer repeats the token".to_owned());
        }
        Ok(outcome)
    }
}

/// Looks at an answer; after the first one, others may follow.
fn check(answer: &[u8]) -> Result<Outcome, String> {
    let told: String = String::from_utf8_lossy(answer).chars().take(400).collect();
    let status = told
        .strip_prefix("HTTP/1.1 ")
        .or(told.strip_prefix("HTTP/1.0 "));
    let code = status.and_then(|status| status.get(..3)?.parse::<u16>().ok());
    let Some(code) = code else {
        return Err(format!("an answer is no HTTP: {told:?}"));
    };
    // Not all is known in the first moment: that is told so.
    if code >= 500 && code != 503 {
        return Err(format!("an error of the daemon's own: {told:?}"));
    }
    let split = answer.windows(4).position(|part| part == b"\r\n\r\n");
    let Some(split) = split.filter(|_| code >= 200) else {
        return Ok(Outcome::Taken);
    };
    let head = String::from_utf8_lossy(&answer[..split]).to_ascii_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let length = length.and_then(|length| length.parse::<usize>().ok());
    let body = &answer[split + 4..];
    let body = length
        .and_then(|length| body.get(..length))
        .unwrap_or_default();
    if head.contains("content-type: application/json") && !body.is_empty() {
        let parsed = serde_json::from_slice::<Value>(body);
        let parsed = parsed.map_err(|e| format!("an answer's JSON is none ({e}): {told:?}"))?;
        if code >= 400 && code != 503 && parsed["error"].as_str().is_none_or(str::is_empty) {
            return Err(format!("a refusal says no reason: {told:?}"));
        }
    }
    Ok(if code < 400 {
        Outcome::Taken
    } else {
        Outcome::Refused
    })
}
