//! Credentials for S3 come from the environment, or from files of the service manager, and are shown to nobody.

use std::fs;

use squire_tests::daemon;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    process::Command,
    sync::mpsc,
};

use crate::site::{Ran, Site};

const DENIED: &str = "<Error><Code>AccessDenied</Code><Message>no</Message></Error>";

/// Refuses every request, and tells the `Authorization` header of each.
async fn refusing(listener: TcpListener, tell: mpsc::Sender<String>) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let tell = tell.clone();
        tokio::spawn(async move {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                match stream.read_u8().await {
                    Ok(byte) => request.push(byte),
                    Err(_) => return,
                }
            }
            let request = String::from_utf8_lossy(&request).to_lowercase();
            let header = request
                .lines()
                .find(|line| line.starts_with("authorization:"));
            let _ = tell.try_send(header.unwrap_or_default().to_owned());
            let length = DENIED.len();
            let answer = format!(
                "HTTP/1.1 403 Forbidden\r\ncontent-type: application/xml\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{DENIED}"
            );
            let _ = stream.write_all(answer.as_bytes()).await;
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_credentials_come_from_files_of_the_service_manager_unless_the_environment_has_them() {
    let site = Site::new();
    fs::create_dir(site.path("credentials")).unwrap();
    site.write("credentials/AWS_ACCESS_KEY_ID", "keyoffile\n");
    site.write("credentials/AWS_SECRET_ACCESS_KEY", "hush-of-file\n");
    let config = site.write(
        "squire.toml",
        "[[target]]\nname = 'a'\nuri = 's3://bucket/x'\n",
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (tell, mut headers) = mpsc::channel(1_000);
    tokio::spawn(refusing(listener, tell));
    let own = [
        ("AWS_ACCESS_KEY_ID", "keyofvariable"),
        ("AWS_SECRET_ACCESS_KEY", "hush-of-variable"),
    ];
    for (variables, key) in [(&[][..], "keyoffile"), (&own[..], "keyofvariable")] {
        for command in ["status", "probe"] {
            let args = match command {
                "status" => vec!["status", "s3://bucket/x"],
                _ => vec![
                    "check",
                    "--probe",
                    "--listen",
                    "127.0.0.1:0",
                    "--config",
                    &config,
                ],
            };
            let ran: Ran = Command::new(daemon::squire().unwrap())
                .args(args)
                .env_remove("AWS_ACCESS_KEY_ID")
                .env_remove("AWS_SECRET_ACCESS_KEY")
                .envs([("AWS_ALLOW_HTTP", "true"), ("AWS_REGION", "us-east-1")])
                .env("AWS_ENDPOINT", &endpoint)
                .env("CREDENTIALS_DIRECTORY", site.path("credentials"))
                .envs(variables.iter().copied())
                .output()
                .await
                .unwrap()
                .into();
            assert_ne!(ran.code, Some(0), "{ran:?}");
            let signed = headers
                .try_recv()
                .unwrap_or_else(|e| panic!("{e}: {ran:?}"));
            assert!(signed.contains(&format!("credential={key}/")), "{signed}");
            let told = format!("{ran:?}");
            assert!(!told.contains("hush"), "{told}");
            while headers.try_recv().is_ok() {}
        }
    }
}
