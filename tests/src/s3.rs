//! A server that speaks S3, on loopback and in memory: `ministack`, from the packages of `tests/python/services.txt`. It honours
//! conditional puts, and ends with its test.

use std::{collections::HashMap, io, net::SocketAddr, process::Stdio, time::Duration};

use tokio::{
    net::TcpListener,
    process::{Child, Command},
    time::{sleep, timeout},
};

use crate::{lancedb::python, patience::PATIENCE};

/// The one bucket that there is.
pub const BUCKET: &str = "bucket";
/// Any key is taken.
const KEY: &str = "test";
const REGION: &str = "us-east-1";

/// A running server.
#[derive(Debug)]
pub struct S3 {
    _server: Child,
    /// Where it listens.
    pub address: SocketAddr,
}

impl S3 {
    /// Starts a server with one empty bucket, [`BUCKET`].
    ///
    /// # Errors
    /// When its packages cannot be installed, or it does not start.
    pub async fn start() -> io::Result<Self> {
        let python = python::services().await?;
        let free = TcpListener::bind("127.0.0.1:0").await?;
        let address = free.local_addr()?;
        drop(free);
        let server = Command::new(python.with_file_name("ministack"))
            .env("BIND_HOST", "127.0.0.1")
            .env("GATEWAY_PORT", address.port().to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let bucket = format!("http://{address}/{BUCKET}");
        let made = async {
            loop {
                let put = reqwest::Client::new().put(&bucket).send().await;
                if put.is_ok_and(|answer| answer.status().is_success()) {
                    return;
                }
                sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(PATIENCE, made)
            .await
            .map_err(|_| io::Error::other("ministack does not answer"))?;
        Ok(Self {
            _server: server,
            address,
        })
    }
}

/// The environment of a program that uses the S3 server at this address.
pub fn environment(address: SocketAddr) -> [(&'static str, String); 5] {
    [
        ("AWS_ENDPOINT", format!("http://{address}")),
        ("AWS_ALLOW_HTTP", "true".to_owned()),
        ("AWS_ACCESS_KEY_ID", KEY.to_owned()),
        ("AWS_SECRET_ACCESS_KEY", KEY.to_owned()),
        ("AWS_REGION", REGION.to_owned()),
    ]
}

/// The same, as Lance's storage options.
pub fn storage_options(address: SocketAddr) -> HashMap<String, String> {
    let variables = environment(address).into_iter();
    variables
        .map(|(name, value)| (name.to_lowercase(), value))
        .collect()
}
