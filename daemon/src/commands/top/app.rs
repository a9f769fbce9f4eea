//! The program: polls the daemon, draws, and acts on keys.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use tokio::sync::{Notify, mpsc};

use super::{
    draw::{self, Scene},
    poll::{self, Poller},
    snapshot::Snapshot,
    terminal::{self, Input, Screen},
    view::{Act, View},
};
use crate::{
    cli::DaemonArg,
    commands::daemon::client::Client,
    exit::{Done, Failure},
    output,
};

/// Interval at which the daemon is polled.
const POLL_EVERY: Duration = Duration::from_secs(1);

/// Shows a daemon until it is quit; with `once`, prints what there is and returns.
pub(in crate::commands) async fn run(daemon: &DaemonArg, once: bool) -> Done {
    let client = Arc::new(Client::find(daemon)?);
    if once {
        return print(&client).await;
    }
    let screen = Screen::open()?;
    let again = Arc::new(Notify::new());
    let news = follow(client.clone(), again.clone());
    let top = Top {
        screen,
        client,
        again,
        view: View::default(),
        snapshot: None,
        trouble: None,
        colour: has_colour(),
    };
    top.run(news).await
}

async fn print(client: &Client) -> Done {
    let snapshot = Poller::new().poll(client).await?;
    let now = Utc::now();
    let scene = Scene {
        view: &View::default(),
        snapshot: Some((&snapshot, now)),
        trouble: None,
        address: &client.address(),
        now,
        colour: false,
    };
    for line in draw::lines(terminal::width(), &scene) {
        output::say(&line);
    }
    Ok(())
}

/// See no-color.org.
fn has_colour() -> bool {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !unwanted && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Polls until the receiver is gone; at once when `again` says so.
fn follow(client: Arc<Client>, again: Arc<Notify>) -> mpsc::Receiver<Result<Snapshot, Failure>> {
    let (tell, news) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut poller = Poller::new();
        loop {
            let polled = poller.poll(&client).await;
            if tell.send(polled).await.is_err() {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(POLL_EVERY) => {}
                () = again.notified() => {}
            }
        }
    });
    news
}

/// The running program.
struct Top {
    screen: Screen,
    client: Arc<Client>,
    again: Arc<Notify>,
    view: View,
    snapshot: Option<(Snapshot, DateTime<Utc>)>,
    trouble: Option<String>,
    colour: bool,
}

impl Top {
    async fn run(mut self, mut news: mpsc::Receiver<Result<Snapshot, Failure>>) -> Done {
        let mut inputs = terminal::inputs();
        let (note, mut notes) = mpsc::channel(8);
        let ended = terminal::end_signal();
        tokio::pin!(ended);
        loop {
            self.draw()?;
            tokio::select! {
                _ = &mut ended => return Ok(()),
                input = inputs.recv() => match input {
                    // The terminal is gone.
                    None => return Ok(()),
                    Some(Input::Resized) => {}
                    Some(Input::Key(key)) => {
                        let none = Snapshot::default();
                        let shown = self.snapshot.as_ref().map_or(&none, |(snapshot, _)| snapshot);
                        match self.view.press(key, shown, Utc::now()) {
                            Some(Act::Quit) => return Ok(()),
                            Some(act) => self.act(act, note.clone()),
                            None => {}
                        }
                    }
                },
                polled = news.recv() => match polled {
                    Some(Ok(snapshot)) => {
                        self.snapshot = Some((snapshot, Utc::now()));
                        self.trouble = None;
                    }
                    Some(Err(e)) => self.trouble = Some(output::harmless(&e.to_string()).into_owned()),
                    None => return Ok(()),
                },
                Some(note) = notes.recv() => self.view.note = Some(note),
            }
        }
    }

    fn draw(&mut self) -> Done {
        let address = self.client.address();
        self.screen.draw(&Scene {
            view: &self.view,
            snapshot: self.snapshot.as_ref().map(|(snapshot, at)| (snapshot, *at)),
            trouble: self.trouble.as_deref(),
            address: &address,
            now: Utc::now(),
            colour: self.colour,
        })
    }

    /// Does what was asked for beside the screen, which goes on.
    fn act(&self, act: Act, note: mpsc::Sender<(String, bool)>) {
        let (client, again) = (self.client.clone(), self.again.clone());
        tokio::spawn(async move {
            let done = poll::act(&client, act).await;
            again.notify_one();
            let message = match done {
                Ok(done) => (output::one_line(&done), true),
                Err(e) => (output::harmless(&e.to_string()).into_owned(), false),
            };
            // The user may have quit.
            let _ = note.send(message).await;
        });
    }
}
