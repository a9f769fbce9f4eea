//! `squire pause`, `squire resume` and `squire pauses`.

use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::Method;

use super::client::Client;
use crate::{
    api::{Pause, PauseRequest, Paused, ResumeRequest},
    cli::DaemonArg,
    exit::Done,
    output,
};

const PATH: &str = "/api/v1/pauses";

pub(in crate::commands) async fn pause(
    daemon: &DaemonArg,
    target: String,
    table: Option<String>,
    lasts: Duration,
    reason: Option<String>,
) -> Done {
    let request = PauseRequest {
        target,
        table,
        lasts,
        reason,
    };
    let paused: Paused = Client::find(daemon)?
        .send(Method::POST, PATH, &request)
        .await?;
    say(&paused);
    for job in &paused.running {
        output::say(&format!(
            "\nthe {} of {} is at work already, and will be finished",
            job.duty.as_str(),
            job.table
        ));
    }
    say_whether_kept(&paused);
    Ok(())
}

/// Without a target, all that is paused goes on.
pub(in crate::commands) async fn resume(
    daemon: &DaemonArg,
    target: Option<String>,
    table: Option<String>,
) -> Done {
    let request = ResumeRequest { target, table };
    let paused: Paused = Client::find(daemon)?
        .send(Method::DELETE, PATH, &request)
        .await?;
    say(&paused);
    if paused.not_kept.is_some() {
        say_whether_kept(&paused);
    }
    Ok(())
}

pub(in crate::commands) async fn list(daemon: &DaemonArg) -> Done {
    let paused: Paused = Client::find(daemon)?.get(PATH).await?;
    say(&paused);
    if paused.not_kept.is_some() {
        say_whether_kept(&paused);
    }
    Ok(())
}

fn say_whether_kept(paused: &Paused) {
    let why = paused.not_kept.as_deref();
    if !paused.kept {
        let why = why.unwrap_or("daemon.state_dir is off");
        output::say(&format!("\na restart of the daemon forgets this: {why}"));
    }
}

fn say(paused: &Paused) {
    if let Some(why) = &paused.unreadable {
        output::say(&format!(
            "every target is paused: the pauses cannot be read ({why}).\nFix the file and restart the daemon, or let everything go on with `squire resume`."
        ));
    }
    if paused.pauses.is_empty() {
        if paused.unreadable.is_some() {
            return;
        }
        output::say("nothing is paused");
        return;
    }
    let now = Utc::now();
    let rows = paused.pauses.iter().map(|pause| row(pause, now)).collect();
    let header = ["target", "table", "for another", "until", "because"];
    output::say(&output::table(&header, rows));
}

fn row(pause: &Pause, now: DateTime<Utc>) -> Vec<String> {
    let left = (pause.until - now).num_seconds().max(0);
    vec![
        pause.target.clone(),
        pause.table.clone().unwrap_or_else(|| "all".to_owned()),
        output::duration(Duration::from_secs(u64::try_from(left).unwrap_or(0))),
        pause.until.format("%Y-%m-%d %H:%M UTC").to_string(),
        pause.reason.clone().unwrap_or_default(),
    ]
}
