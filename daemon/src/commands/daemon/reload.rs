//! `squire reload`: another configuration for the running daemon, and what came of it.

use std::{io, path::Path};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
};

use crate::{
    api::Loaded,
    exit::{Done, Failure},
    output,
    service::reload::socket::{ASKED, SOCKET},
};

pub(in crate::commands) async fn run(folder: &Path) -> Done {
    let socket = folder.join(SOCKET);
    let answer = ask(&socket).await.map_err(|e| {
        Failure::Machine(format!(
            "no daemon answers at {}: {e}; name its runtime folder with --runtime-dir, run this as its user, or send it SIGHUP",
            socket.display()
        ))
    })?;
    let loaded: Loaded = serde_json::from_slice(&answer).map_err(|_| {
        Failure::Machine("the daemon ended before the configuration was loaded".to_owned())
    })?;
    if let Some(error) = loaded.error {
        let refused = "the new configuration is refused, and the one before stays in force";
        return Err(Failure::Usage(format!("{refused}:\n{error}")));
    }
    match &loaded.changes[..] {
        [] => output::say("nothing changed"),
        changes => changes.iter().for_each(|change| output::say(change)),
    }
    for key in &loaded.waits_for_restart {
        output::say(&format!("{key}: waits for a restart"));
    }
    Ok(())
}

/// Asks, and waits for as long as it takes: a reload ends by itself.
async fn ask(socket: &Path) -> io::Result<Vec<u8>> {
    let mut stream = UnixStream::connect(socket).await?;
    stream.write_all(ASKED.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(answer)
}
