//! `squire check`: what is wrong with a configuration, with its targets, and with this machine; it changes
//! nothing.

use chrono::Utc;
use serde_json::{Value, json};
use squire_config::{ConfigError, Loaded, Place, Problem, Setting};

use super::{
    finding::{self, Finding, Seen},
    machine, schedules, targets,
};
use crate::{
    cli::CheckArg,
    configuration,
    exit::{Done, Failure},
    output,
    service::http::access::listener::Listener,
};

pub(in crate::commands) async fn run(args: &CheckArg) -> Done {
    if args.schema {
        say_json(&squire_config::json_schema());
        return Ok(());
    }
    let layers = configuration::layers_with_flags(&args.layers);
    let file = layers.file();
    let loaded = layers.load();
    if args.has_targets {
        return match loaded {
            Ok(loaded) if loaded.settings.targets.is_empty() => Err(Failure::Machine(format!(
                "there is no target in {} or in conf.d beside it, so there is nothing to maintain: add a [[target]]",
                file.display()
            ))),
            _ => Ok(()),
        };
    }
    let loaded = loaded.and_then(|loaded| {
        loaded.settings.require_targets(file)?;
        loaded.require_separate_places(file)?;
        Ok(loaded)
    });
    let loaded = match loaded {
        Ok(loaded) => loaded,
        Err(error) => {
            if args.json {
                say_json(&refused(&error));
            }
            return Err(error.into());
        }
    };
    let lacking = match Listener::open(&loaded.settings.daemon) {
        Ok(_) => None,
        Err(e) if e.is_lack() => Some(e),
        Err(e) => return Err(e.into()),
    };
    let found = if args.probe {
        let _working = output::Working::on("asking targets");
        let (targets, mut machine) = tokio::join!(
            targets::probe(&loaded.settings, args.timeout),
            machine::probe(&loaded.settings.daemon),
        );
        // The user who checks may not have the secrets that the service has.
        machine.extend(
            lacking
                .as_ref()
                .map(|e| Finding::note("start", e.to_string())),
        );
        Some((targets, machine))
    } else {
        None
    };
    let done = found.as_ref().map_or(Ok(()), |(targets, machine)| {
        finding::verdict(targets.iter().map(|t| &t.finding).chain(machine))
    });
    if args.json {
        say_json(&json_of(&loaded, args.show, found.as_ref(), done.is_ok()));
        return done;
    }
    let schedules = schedules::of(&loaded.settings, Utc::now());
    if args.show {
        output::say(loaded.shown().to_string().trim_end());
        for schedule in &schedules {
            // What is shown is a file that can be loaded.
            output::say(&format!("# {schedule}"));
        }
        return done;
    }
    match &found {
        Some((targets, machine)) => {
            output::say(&finding::table(targets));
            output::say("");
            for finding in machine {
                output::say(&finding.to_string());
            }
        }
        None => {
            for target in &loaded.settings.targets {
                output::say(&format!("{}: {}", target.name, target.uri));
            }
        }
    }
    for schedule in &schedules {
        output::say(&schedule.to_string());
    }
    if let Some(lacking) = lacking {
        output::say(&format!(
            "`squire run` would refuse to start here: {lacking}"
        ));
    }
    if done.is_ok() {
        output::say(&format!("{} is good", file.display()));
    }
    done
}

fn say_json(value: &Value) {
    output::say(&format!("{value:#}"));
}

/// A configuration that is refused, for programs.
fn refused(error: &ConfigError) -> Value {
    let problems: Vec<_> = error.problems().iter().map(problem).collect();
    json!({"good": false, "problems": problems})
}

fn problem(problem: &Problem) -> Value {
    let mut report = place(&problem.place);
    report["key"] = json!(problem.key);
    report["what"] = json!(problem.what);
    report["fix"] = json!(problem.fix);
    report
}

/// A place, for programs: a file with line and column, a variable, or a flag.
fn place(place: &Place) -> Value {
    match place {
        Place::File { path, line, column } => json!({"file": path, "line": line, "column": column}),
        Place::Path(path) => json!({"file": path}),
        Place::Variable(name) => json!({"variable": name}),
        Place::Flag(key) => json!({"flag": format!("--set {key}")}),
    }
}

fn json_of(
    loaded: &Loaded,
    show: bool,
    found: Option<&(Vec<Seen>, Vec<Finding>)>,
    good: bool,
) -> Value {
    let targets: Vec<_> = match found {
        Some((targets, _)) => targets.iter().map(|seen| json!(seen)).collect(),
        None => {
            let targets = loaded.settings.targets.iter();
            targets
                .map(|t| json!({"name": t.name, "uri": t.uri}))
                .collect()
        }
    };
    let mut report = json!({"good": good, "problems": [], "targets": targets});
    if let Some((_, machine)) = found {
        report["machine"] = json!(machine);
    }
    report["schedules"] = json!(schedules::of(&loaded.settings, Utc::now()));
    if show {
        let shown = loaded.shown();
        report["settings"] = shown.settings().iter().map(setting).collect();
    }
    report
}

fn setting(setting: &Setting) -> Value {
    let place = setting.place.as_ref().map(place);
    json!({"key": setting.path, "value": setting.value, "place": place})
}
