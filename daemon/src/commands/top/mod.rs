//! `squire top`: the status page in a terminal.
//!
//! | room | what is in it |
//! |---|---|
//! | [`told`] | what the daemon tells, as far as it is shown |
//! | [`ask`] | asks it, again and again |
//! | [`panes`], [`columns`] | from what is told to rows of words |
//! | [`model`] | what a person has made of the screen; keys |
//! | [`draw`] | from all of this to cells |
//! | [`terminal`] | the terminal itself |
//!
//! `told`, `panes`, `columns`, `model` and `draw` are pure: they are tested without a terminal and without a daemon.

mod ask;
mod columns;
mod draw;
mod model;
mod panes;
mod terminal;
#[cfg(test)]
mod tests;
mod told;

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use tokio::sync::{Notify, mpsc};

use self::{
    ask::Asking,
    draw::Scene,
    model::{Act, View},
    terminal::{Input, Screen},
    told::Told,
};
use super::{Done, daemon::client::Client};
use crate::{cli::DaemonArg, exit::Failure, output};

/// So often the daemon is asked.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Shows a daemon until it is quit; with `once`, prints what there is and returns.
pub(super) async fn run(daemon: &DaemonArg, once: bool) -> Done {
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
        told: None,
        trouble: None,
        colour: has_colour(),
    };
    top.run(news).await
}

async fn print(client: &Client) -> Done {
    let told = Asking::new().ask(client).await?;
    let now = Utc::now();
    let scene = Scene {
        view: &View::default(),
        told: Some((&told, now)),
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

/// Asks until nobody listens; at once when `again` says so.
fn follow(client: Arc<Client>, again: Arc<Notify>) -> mpsc::Receiver<Result<Told, Failure>> {
    let (tell, news) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut asking = Asking::new();
        loop {
            let told = asking.ask(&client).await;
            if tell.send(told).await.is_err() {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(ASK_AGAIN) => {}
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
    told: Option<(Told, DateTime<Utc>)>,
    trouble: Option<String>,
    colour: bool,
}

impl Top {
    async fn run(mut self, mut news: mpsc::Receiver<Result<Told, Failure>>) -> Done {
        let mut inputs = terminal::inputs();
        let (note, mut notes) = mpsc::channel(8);
        let ended = terminal::told_to_end();
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
                        let none = Told::default();
                        let told = self.told.as_ref().map_or(&none, |(told, _)| told);
                        match self.view.press(key, told, Utc::now()) {
                            Some(Act::Quit) => return Ok(()),
                            Some(act) => self.act(act, note.clone()),
                            None => {}
                        }
                    }
                },
                told = news.recv() => match told {
                    Some(Ok(told)) => {
                        self.told = Some((told, Utc::now()));
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
            told: self.told.as_ref().map(|(told, at)| (told, *at)),
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
            let done = ask::act(&client, act).await;
            again.notify_one();
            let told = match done {
                Ok(done) => (done, true),
                Err(e) => (output::harmless(&e.to_string()).into_owned(), false),
            };
            // Whoever asked may have quit.
            let _ = note.send(told).await;
        });
    }
}
