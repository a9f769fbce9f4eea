//! A headless Chromium, driven by chromedriver.

use std::{
    io::{Read, Write},
    net::TcpStream,
    path::PathBuf,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use fantoccini::{
    Client, ClientBuilder, Locator,
    error::CmdError,
    wd::{Capabilities, WebDriverCompatibleCommand},
};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::{sleep, timeout},
};

use crate::scene::PATIENCE;

/// A browser with one page, until it is dropped.
pub(crate) struct Browser {
    pub(crate) page: Client,
    _driver: Driver,
    _profile: TempDir,
}

/// The chromedriver, until it is dropped. Its browsers go with it.
struct Driver {
    process: Child,
    port: u16,
}

impl Driver {
    async fn start() -> Self {
        let mut process = Command::new("chromedriver")
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("chromedriver is installed: `make setup-tests`");
        let out = process.stdout.take().expect("it is piped");
        let port = timeout(PATIENCE, port(BufReader::new(out)));
        let port = port.await.expect("chromedriver says where it listens");
        Self { process, port }
    }

    /// Asks it to end.
    fn shut_down(&self) -> std::io::Result<()> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream
            .write_all(b"GET /shutdown HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")?;
        stream.read(&mut [0; 64]).map(drop)
    }
}

impl Drop for Driver {
    /// One that is only killed leaves its browsers behind, and they stay for ever.
    fn drop(&mut self) {
        if self.shut_down().is_err() {
            return;
        }
        let asked = Instant::now();
        while matches!(self.process.try_wait(), Ok(None)) && asked.elapsed() < PATIENCE {
            #[allow(clippy::disallowed_methods, reason = "who is dropped cannot await")]
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// A command of Chromium's own protocol.
#[derive(Debug)]
struct DevTools(&'static str, Value);

impl WebDriverCompatibleCommand for DevTools {
    fn endpoint(
        &self,
        base: &url::Url,
        session: Option<&str>,
    ) -> Result<url::Url, url::ParseError> {
        let session = session.unwrap_or_default();
        base.join(&format!("session/{session}/goog/cdp/execute"))
    }

    fn method_and_body(&self, _: &url::Url) -> (reqwest::Method, Option<String>) {
        let Self(command, params) = self;
        let body = json!({ "cmd": command, "params": params });
        (reqwest::Method::POST, Some(body.to_string()))
    }
}

/// What the page has logged since it was asked last.
#[derive(Debug)]
struct Log;

impl WebDriverCompatibleCommand for Log {
    fn endpoint(
        &self,
        base: &url::Url,
        session: Option<&str>,
    ) -> Result<url::Url, url::ParseError> {
        base.join(&format!("session/{}/se/log", session.unwrap_or_default()))
    }

    fn method_and_body(&self, _: &url::Url) -> (reqwest::Method, Option<String>) {
        (
            reqwest::Method::POST,
            Some(json!({ "type": "browser" }).to_string()),
        )
    }
}

impl Browser {
    /// A browser with a window of this size.
    pub(crate) async fn open(width: u32, height: u32) -> Self {
        let profile = tempfile::tempdir().expect("there is a temporary folder");
        let driver = Driver::start().await;
        let options = json!({
            "args": [
                "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
                "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--hide-scrollbars",
                format!("--user-data-dir={}", profile.path().display()), format!("--window-size={width},{height}"),
            ],
        });
        let wanted =
            json!({ "goog:chromeOptions": options, "goog:loggingPrefs": { "browser": "ALL" } });
        let wanted: Capabilities = wanted.as_object().expect("it is an object").clone();
        let page = ClientBuilder::new(HttpConnector::new())
            .capabilities(wanted)
            .connect(&format!("http://127.0.0.1:{}", driver.port))
            .await
            .expect("chromium starts");
        let browser = Self {
            page,
            _driver: driver,
            _profile: profile,
        };
        let size =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        browser
            .tools("Emulation.setDeviceMetricsOverride", size)
            .await;
        browser
    }

    /// A command of Chromium's own protocol.
    pub(crate) async fn tools(&self, command: &'static str, params: Value) -> Value {
        let answer = self.page.issue_cmd(DevTools(command, params)).await;
        answer.unwrap_or_else(|e| panic!("{command}: {e}"))
    }

    /// Goes to the status page of a daemon.
    pub(crate) async fn visit(&self, address: &str) {
        let page = self.page.goto(&format!("http://{address}/")).await;
        page.expect("the page loads");
    }

    /// Warnings and errors that the page has logged.
    pub(crate) async fn complaints(&self) -> Vec<String> {
        let log = self.page.issue_cmd(Log).await.expect("the log can be read");
        let lines = log.as_array().expect("it is a list").iter();
        let bad = lines.filter(|line| line["level"] == "SEVERE" || line["level"] == "WARNING");
        bad.map(|line| line["message"].to_string()).collect()
    }

    /// What an expression is on the page.
    pub(crate) async fn value(&self, expression: &str) -> Value {
        let script = format!("return {expression};");
        let value = self.page.execute(&script, Vec::new()).await;
        value.unwrap_or_else(|e| panic!("{expression}: {e}"))
    }

    /// Waits until an expression is true on the page.
    pub(crate) async fn until(&self, expression: &str) {
        let so = timeout(PATIENCE, async {
            while self.value(expression).await != true {
                sleep(Duration::from_millis(50)).await;
            }
        });
        if so.await.is_err() {
            let page = self.value("document.body.innerText").await;
            panic!("never true on the page: {expression}; it shows {page}");
        }
    }

    /// Presses keys, wherever the page listens.
    pub(crate) async fn press(&self, keys: &str) {
        let at = self
            .page
            .active_element()
            .await
            .expect("something is active");
        at.send_keys(keys).await.expect("keys can be pressed");
    }

    /// Clicks on the first thing that a selector finds.
    pub(crate) async fn click(&self, css: &str) {
        let clicked: Result<(), CmdError> =
            async { self.page.find(Locator::Css(css)).await?.click().await }.await;
        clicked.unwrap_or_else(|e| panic!("{css} cannot be clicked: {e}"));
    }

    /// Keeps a picture of the page with the suites' other output, for whoever wants to look at it.
    pub(crate) async fn picture(&self, name: &str) {
        let picture = self.page.screenshot().await.expect("there is a picture");
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("page");
        std::fs::create_dir_all(&folder).expect("the folder can be made");
        std::fs::write(folder.join(format!("{name}.png")), picture).expect("it can be written");
    }

    /// Light or dark, as the person's machine says.
    pub(crate) async fn prefer(&self, scheme: &str) {
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.tools("Emulation.setEmulatedMedia", features).await;
    }
}

/// The port, from what chromedriver says when it has started; the rest of what it says is read and let go.
async fn port(out: BufReader<tokio::process::ChildStdout>) -> u16 {
    let mut lines = out.lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let port = line.split("on port ").nth(1);
        let port = port.and_then(|rest| rest.trim_end_matches('.').parse().ok());
        if let Some(port) = port.filter(|port| *port != 0) {
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return port;
        }
    }
    panic!("chromedriver ended before it listened");
}
