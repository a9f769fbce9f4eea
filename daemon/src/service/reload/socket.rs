//! The socket `reload.sock` in the runtime folder: a client that connects and says `reload` is answered when it has
//! ended.
//!
//! A signal has no answer. `squire reload` asks here, so that it can fail with the reason when a configuration is refused.

use std::{io, os::unix::fs::PermissionsExt, path::Path, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    sync::{mpsc, oneshot},
    time::timeout,
};

use crate::api::Loaded;

/// Its name in the runtime folder.
pub(crate) const SOCKET: &str = "reload.sock";
/// What is asked.
pub(crate) const ASKED: &str = "reload\n";
/// A client says at once what it wants.
const PATIENCE: Duration = Duration::from_secs(5);

/// One who waits for the outcome of a reload.
pub(in crate::service) type Asker = oneshot::Sender<Loaded>;

/// Begins to listen in the runtime folder; askers come out of the channel.
///
/// # Errors
/// When the socket cannot be made.
pub(in crate::service) fn listen(folder: &Path) -> io::Result<mpsc::Receiver<Asker>> {
    let path = folder.join(SOCKET);
    // One that an earlier daemon left, which was killed.
    match std::fs::remove_file(&path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    let (ask, askers) = mpsc::channel(16);
    tokio::spawn(accept(listener, Arc::new(ask)));
    Ok(askers)
}

async fn accept(listener: UnixListener, ask: Arc<mpsc::Sender<Asker>>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let ask = ask.clone();
                tokio::spawn(async move {
                    if let Err(e) = answer(stream, &ask).await {
                        tracing::warn!(error = %e, "the client that asked for a reload could not be answered");
                    }
                });
            }
            Err(e) => {
                tracing::warn!(error = %e, "a connection to {SOCKET} failed");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn answer(stream: UnixStream, ask: &mpsc::Sender<Asker>) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut asked = String::new();
    let most = u64::try_from(ASKED.len()).unwrap_or(u64::MAX);
    timeout(PATIENCE, (&mut stream).take(most).read_line(&mut asked)).await??;
    if asked != ASKED {
        return Err(io::Error::other("it did not say `reload`"));
    }
    let (tell, reply) = oneshot::channel();
    let stops = || io::Error::other("the daemon stops");
    ask.send(tell).await.map_err(|_| stops())?;
    let loaded = reply.await.map_err(|_| stops())?;
    stream.write_all(&serde_json::to_vec(&loaded)?).await?;
    stream.shutdown().await
}
