//! `squire explain`: what the running daemon decided last about each duty of each table, and why.

use chrono::Utc;

use crate::{
    api::{Health, TableInfo, Tables, TargetInfo},
    cli::DaemonArg,
    commands::daemon::client::Client,
    cron,
    exit::{Done, Failure},
    output,
};

pub(in crate::commands) async fn run(
    daemon: &DaemonArg,
    target: &str,
    table: Option<&str>,
) -> Done {
    let client = Client::find(daemon)?;
    let info: TargetInfo = client.get(&format!("/api/v1/targets/{target}")).await?;
    let Some(kind) = &info.kind else {
        return Err(Failure::Operator(format!(
            "{target} could not be opened yet: the daemon's log and /healthz say why"
        )));
    };
    if let Some(error) = &info.failing {
        output::say(&format!(
            "the last look at the target failed, and what is said of tables may be out of date: {error}\n"
        ));
    }
    let path = format!("/api/v1/tables?target={target}");
    let there: Tables = client.get(&path).await?;
    let wanted = |info: &&TableInfo| {
        let name = info.table.as_str();
        let bare = name.split_once(':').map_or(name, |(_, bare)| bare);
        table.is_none_or(|table| table == name || table == bare)
    };
    let (mut rows, now) = (Vec::new(), Utc::now());
    for info in there.tables.iter().filter(wanted) {
        // What is decided about duties says nothing of why nothing is decided.
        if let Some(health @ (Health::Stuck | Health::Failing)) = info.health.known() {
            let health = health.as_str().to_owned();
            let why = info.reason.clone().unwrap_or_default();
            rows.push(vec![info.table.clone(), "any".to_owned(), health, why]);
        }
        for duty in &info.duties {
            let what = if info.running.as_ref() == Some(&duty.duty) {
                "at work"
            } else if duty.due {
                "due"
            } else {
                "left alone"
            };
            let mut because = duty.because();
            if let Some(at) = duty.not_before.filter(|at| *at > now) {
                because = format!("{because}, not before {}", cron::shown(at));
            }
            let row = [&info.table, duty.duty.as_str(), what, &because];
            rows.push(row.map(str::to_owned).to_vec());
        }
    }
    if rows.is_empty() {
        if let Some(table) = table {
            return Err(Failure::Usage(format!(
                "{target} is a {kind} and has no table named {table} that was looked at; `squire explain {target}` lists those that were"
            )));
        }
        output::say(&format!(
            "{target} is a {kind} and has no table that was looked at"
        ));
        return Ok(());
    }
    output::say(&output::table(&["table", "duty", "is", "because"], rows));
    for schedule in &info.schedules {
        let next = schedule.next.map_or("never again".to_owned(), cron::shown);
        let (duty, cron) = (schedule.duty.as_str(), &schedule.cron);
        output::say(&format!(
            "the schedule \"{cron}\" calls for {duty}, next at {next}"
        ));
    }
    Ok(())
}
