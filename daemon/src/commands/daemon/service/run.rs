//! `squire service install` and `squire service remove`: Squire as a service of systemd.

use std::{
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use squire_config::Settings;
use squire_engine::Kind;
use url::Url;

use super::{
    account,
    layout::{self, Layout, UNIT, Written},
    manager::{self, Manager},
    reach::Reach,
    settings,
    unit::{self, CONFIG, RunBy, Wanted},
};
use crate::{
    cli::{ServiceArg, ServiceCommand},
    configuration,
    exit::{Done, Failure},
    output,
};

pub(in crate::commands) fn run(command: &ServiceCommand) -> Done {
    match command {
        ServiceCommand::Install {
            place,
            folders,
            as_user,
            dry_run,
        } => install(place, folders, as_user.as_deref(), *dry_run),
        ServiceCommand::Remove { place } => remove(place),
    }
}

/// What is to be written, and what to say of it.
struct Plan {
    files: Vec<Written>,
    /// The unit as systemd is to read it, and its drop-in.
    verified: (String, Option<String>),
    /// Makes the user of the service.
    sysusers: Option<PathBuf>,
    notes: Vec<String>,
}

fn install(place: &ServiceArg, folders: &[PathBuf], as_user: Option<&str>, dry_run: bool) -> Done {
    let layout = Layout::of(place)?;
    let plan = plan(&layout, folders, as_user)?;
    let steps: [&[&str]; 3] = [&["daemon-reload"], &["enable", UNIT], &["restart", UNIT]];
    if dry_run {
        show(&layout, &plan, &steps);
        return Ok(());
    }
    let manager = if layout.is_below_another_root() {
        None
    } else {
        let instead = format!("squire run --config {}", layout.config().display());
        Some(Manager::running(layout.is_of_user(), &instead)?)
    };
    for file in &plan.files {
        layout.may_be_written(&file.path)?;
    }
    let (unit, drop_in) = &plan.verified;
    match manager::verified(unit, drop_in.as_deref(), layout.is_of_user()) {
        Some(verdict) => verdict?,
        None => output::say("systemd-analyze could not be asked whether it reads the unit"),
    }
    for file in &plan.files {
        layout.write(file)?;
        output::say(&format!("wrote {}", file.path.display()));
    }
    match &manager {
        Some(manager) => {
            if let Some(users) = &plan.sysusers {
                manager::make_users(users)?;
            }
            for step in steps {
                manager.tell(step).map_err(|e| started_not(&layout, &e))?;
            }
            // A service that is passed over is no failure to systemd.
            if !manager.is_active() {
                let passed = Failure::Machine(format!("{UNIT} did not stay up"));
                return Err(started_not(&layout, &passed));
            }
            output::say(&format!("{UNIT} runs, and starts by itself from now on"));
        }
        None => output::say("nothing was started: this is another root"),
    }
    for note in &plan.notes {
        output::say(note);
    }
    Ok(())
}

/// The unit is there, and does not run.
fn started_not(layout: &Layout, e: &Failure) -> Failure {
    let user = if layout.is_of_user() { " --user" } else { "" };
    Failure::Machine(format!(
        "{e}\nWhat was written stays. `journalctl{user} -u squire -n 50` says why; fix it and run this again, or take it \
         away with `squire service remove{user}`"
    ))
}

/// Shows what would be written and run.
fn show(layout: &Layout, plan: &Plan, steps: &[&[&str]]) {
    for file in &plan.files {
        output::say(&format!("# would write {}\n", file.path.display()));
        output::say(&file.text);
    }
    if !layout.is_below_another_root() {
        if let Some(users) = &plan.sysusers {
            output::say(&format!(
                "# would run: systemd-sysusers {}",
                users.display()
            ));
        }
        for step in steps {
            let typed = manager::typed(layout.is_of_user(), step);
            output::say(&format!("# would run: {typed}"));
        }
    }
    for note in &plan.notes {
        output::say(&format!("# {note}"));
    }
}

/// Decides all of it, and writes nothing.
fn plan(layout: &Layout, folders: &[PathBuf], as_user: Option<&str>) -> Result<Plan, Failure> {
    let folders = folders_of(layout, folders)?;
    let (settings, config) = settings(layout, &folders)?;
    let packaged = layout.packaged();
    if packaged.is_some() && (as_user.is_some() || layout.config() != Path::new(CONFIG)) {
        return Err(Failure::Usage(format!(
            "the package's {UNIT} runs as `squire` with {CONFIG}: give that one the targets, run one more as \
             squire@NAME with /etc/squire/NAME.toml, or use `systemctl edit squire`"
        )));
    }
    let program = program(layout)?;
    let mut reach = reach_of(&settings, layout);
    if packaged.is_none() {
        reach.read.push(program.clone());
    }
    let owners = owners(layout, &reach.written);
    // Who runs as its user can read what it is given, so a service that holds credentials of a store has one of its own.
    let all_local = settings.targets.iter().all(|t| local(&t.uri).is_some());
    let user = user(as_user, if all_local { &owners } else { &[] })?;
    let exists = account_exists(layout, &user);
    let makes = packaged.is_none() && !layout.is_of_user() && !exists;
    if makes && user != account::OWN {
        return Err(Failure::Usage(format!(
            "there is no user {user}: make one, or name another with --as"
        )));
    }
    let run_by = if layout.is_of_user() {
        RunBy::User
    } else {
        let group = exists.then(|| manager::id(&["-gn"], &user)).flatten();
        RunBy::Machine {
            group: group.unwrap_or_else(|| user.clone()),
            user: user.clone(),
        }
    };
    let wanted = Wanted {
        run_by,
        program: &program.to_string_lossy(),
        config: &layout.config().to_string_lossy(),
        memory: settings.daemon.memory,
        reach: &reach,
    };
    let unit = match packaged {
        Some(packaged) => (packaged, Some(wanted.drop_in())),
        None => (wanted.unit(), None),
    };
    let file = |path: PathBuf, text: String| Written { path, text };
    let mut files: Vec<_> = config.into_iter().collect();
    files.extend(makes.then(|| file(layout.sysusers(), unit::sysusers(&user))));
    files.push(match &unit {
        (_, Some(drop_in)) => file(layout.drop_in(), drop_in.clone()),
        (unit, None) => file(layout.unit(), unit.clone()),
    });
    Ok(Plan {
        files,
        verified: unit,
        sysusers: makes.then(|| layout.sysusers()),
        notes: notes(layout, &settings, &user, &owners),
    })
}

/// The folders of the command line, which are there.
fn folders_of(layout: &Layout, folders: &[PathBuf]) -> Result<Vec<String>, Failure> {
    let mut found = Vec::new();
    for folder in folders {
        let path = layout::absolute(folder)?;
        if !layout.on_disk(&path).is_dir() {
            return Err(Failure::Usage(format!(
                "{} is no folder: make it, or name another; targets that are on no local disk go into {}",
                path.display(),
                layout.config().display()
            )));
        }
        found.push(path.to_string_lossy().into_owned());
    }
    Ok(found)
}

/// The configuration: the one that is there, or a small one that is to be written. The service has no environment of this
/// command's.
fn settings(layout: &Layout, folders: &[String]) -> Result<(Settings, Option<Written>), Failure> {
    let path = layout.config();
    let on_disk = layout.on_disk(path);
    let there = layout.read(path)?;
    // A folder in which there is nothing yet is known by its kind only.
    let is_empty = |folder: &str| {
        let entries = std::fs::read_dir(layout.on_disk(Path::new(folder)));
        entries.is_ok_and(|mut entries| entries.next().is_none())
    };
    let kinds = folders.iter().map(|folder| match is_empty(folder) {
        true => (folder.clone(), Some(Kind::Directory)),
        false => (folder.clone(), None),
    });
    let small = settings::small(&kinds.collect::<Vec<_>>());
    if there.is_none() {
        if folders.is_empty() {
            return Err(Failure::Usage(format!(
                "there is no {}: name the folders to maintain, as in `squire service install /var/lib/lancedb`, or \
                 write it first",
                path.display()
            )));
        }
        let dir = tempfile::tempdir().map_err(|e| Failure::Machine(e.to_string()))?;
        let file = dir.path().join("squire.toml");
        std::fs::write(&file, &small).map_err(|e| Failure::Machine(e.to_string()))?;
        let loaded = configuration::layers_of_file(&file).load()?;
        let written = Written {
            path: path.to_owned(),
            text: small,
        };
        return Ok((loaded.settings, Some(written)));
    }
    let loaded = configuration::layers_of_file(&on_disk).load()?;
    let has = |folder: &&String| {
        let mut local = loaded.settings.targets.iter().filter_map(|t| local(&t.uri));
        local.any(|target| layout.as_seen(&target) == Path::new(folder))
    };
    let lacking: Vec<_> = folders.iter().filter(|folder| !has(folder)).collect();
    if !lacking.is_empty() {
        let lines: Vec<_> = lacking
            .iter()
            .map(|folder| settings::lines_for(folder))
            .collect();
        return Err(Failure::Usage(format!(
            "{} is there, and is yours to change. Add to it, and run this again:\n{}",
            path.display(),
            lines.join("\n")
        )));
    }
    loaded.settings.require_targets(path)?;
    Ok((loaded.settings, None))
}

/// This program, where the service finds it.
fn program(layout: &Layout) -> Result<PathBuf, Failure> {
    let program = std::env::current_exe()
        .map_err(|e| Failure::Machine(format!("this program does not know where it is: {e}")))?;
    if !unit::can_be_run(&program) {
        return Err(Failure::Usage(format!(
            "systemd cannot run {}: copy the program to /usr/local/bin, and run it from there",
            program.display()
        )));
    }
    Ok(layout.as_seen(&program))
}

/// The folder of a target, or a file's, on a local disk.
fn local(uri: &str) -> Option<PathBuf> {
    match Url::parse(uri) {
        Ok(url) if url.scheme() == "file" => url.to_file_path().ok(),
        Ok(_) => None,
        Err(_) => Some(PathBuf::from(uri)),
    }
}

/// What the service has to reach, as the configuration says. A folder behind a link is reached by both of its names.
fn reach_of(settings: &Settings, layout: &Layout) -> Reach {
    let both = |path: PathBuf| {
        let seen = layout.as_seen(&path);
        let resolved = layout.on_disk(&seen).canonicalize();
        let resolved = resolved.map(|path| layout.as_seen(&path)).ok();
        let resolved = resolved.filter(|path| *path != seen);
        std::iter::once(seen).chain(resolved)
    };
    let daemon = &settings.daemon;
    let targets = settings.targets.iter().filter_map(|t| local(&t.uri));
    let links = settings.targets.iter().flat_map(|t| t.follow_links.clone());
    let written = targets.chain(links).chain(daemon.state_dir.clone());
    let bases = settings.targets.iter().flat_map(|t| &t.allow_bases);
    let bases = bases.filter_map(|base| local(base));
    let tls = [&daemon.tls.certificate, &daemon.tls.key];
    let tls = tls.into_iter().flatten().cloned();
    let config = layout.config().parent().map(Path::to_owned);
    Reach {
        written: written.flat_map(both).collect(),
        read: bases.chain(tls).chain(config).flat_map(both).collect(),
    }
}

/// Who owns what the service writes, as far as it is there: the folder, the number and the name.
fn owners(layout: &Layout, written: &[PathBuf]) -> Vec<(PathBuf, Option<String>)> {
    let owner = |path: &PathBuf| {
        let uid = std::fs::metadata(layout.on_disk(path)).ok()?.uid();
        // The numbers of another root have their names there.
        let here = !layout.is_below_another_root();
        let name = here
            .then(|| manager::id(&["-un"], &uid.to_string()))
            .flatten();
        Some((path.clone(), name))
    };
    written.iter().filter_map(owner).collect()
}

fn user(asked: Option<&str>, owners: &[(PathBuf, Option<String>)]) -> Result<String, Failure> {
    let names: Vec<_> = owners.iter().map(|(_, name)| name.clone()).collect();
    let user = account::chosen(asked, &names);
    if account::is_name(&user) {
        Ok(user)
    } else {
        Err(Failure::Usage(format!(
            "{user} is no name of a user that a unit can have: name one with --as"
        )))
    }
}

fn account_exists(layout: &Layout, user: &str) -> bool {
    match layout.root() {
        None => manager::id(&["-u"], user).is_some(),
        Some(root) => {
            let users = std::fs::read_to_string(root.join("etc/passwd")).unwrap_or_default();
            users
                .lines()
                .any(|line| line.split(':').next() == Some(user))
        }
    }
}

/// What the operator has to know besides.
fn notes(
    layout: &Layout,
    settings: &Settings,
    user: &str,
    owners: &[(PathBuf, Option<String>)],
) -> Vec<String> {
    let mut notes = Vec::new();
    if layout.is_of_user() {
        notes.push(
            "It runs while you are logged in; `loginctl enable-linger` keeps it running. See it with \
             `systemctl --user status squire`"
                .to_owned(),
        );
    } else {
        notes.push(format!(
            "It runs as the user {user}. See it with `systemctl status squire`"
        ));
        let other = |owner: &Option<String>| owner.as_deref().is_some_and(|owner| owner != user);
        for (path, owner) in owners.iter().filter(|(_, owner)| other(owner)) {
            notes.push(format!(
                "{} belongs to {}: {user} must be able to read and write all of it. Make a group of both the group of that \
                 folder (`chgrp -R`, `chmod -R g+rwX`), and of the service, with `Group=` in `systemctl edit squire`: as a \
                 further group of {user} it would not apply to new files. Or give the folder away with `chown`",
                path.display(),
                owner.as_deref().unwrap_or_default()
            ));
        }
    }
    let stores = settings.targets.iter().filter(|t| t.uri.starts_with("s3:"));
    let stores: Vec<_> = stores.map(|t| t.name.as_str()).collect();
    if !stores.is_empty() {
        notes.push(format!(
            "{}: the credentials of the store are the machine's role, or are handed over with LoadCredential= in \
             `systemctl edit squire`",
            stores.join(", ")
        ));
    }
    notes
}

fn remove(place: &ServiceArg) -> Done {
    let layout = Layout::of(place)?;
    let (mut ours, mut foreign) = (Vec::new(), false);
    let mut files = vec![layout.unit(), layout.drop_in()];
    if !layout.is_of_user() {
        files.push(layout.sysusers());
    }
    for path in files {
        match layout.read(&path)? {
            Some(text) if unit::is_ours(&text) => ours.push(path),
            Some(_) => {
                foreign |= path == layout.unit();
                output::say(&format!(
                    "{} stays: `squire service install` did not write it",
                    path.display()
                ));
            }
            None => {}
        }
    }
    // A unit that stays needs its configuration.
    if !foreign {
        ours.extend(untouched_config(&layout)?);
    }
    if ours.is_empty() {
        output::say("there is nothing that `squire service install` wrote");
        return Ok(());
    }
    let whole = ours.contains(&layout.unit());
    let runs = !layout.is_below_another_root();
    let manager = runs
        .then(|| Manager::running(layout.is_of_user(), "").ok())
        .flatten();
    if let Some(manager) = manager.as_ref().filter(|_| whole) {
        manager.tell(&["disable", "--now", UNIT])?;
    }
    for path in &ours {
        layout.remove(path)?;
        output::say(&format!("removed {}", path.display()));
    }
    if let Some(manager) = &manager {
        manager.tell(&["daemon-reload"])?;
        if !whole && ours.contains(&layout.drop_in()) {
            manager.tell(&["try-restart", UNIT])?;
        }
    }
    output::say("tables, state and the user of the service stay as they are");
    Ok(())
}

/// The configuration, when `squire service install` wrote it and it has not changed since.
fn untouched_config(layout: &Layout) -> Result<Option<PathBuf>, Failure> {
    let path = layout.config().to_owned();
    let Some(text) = layout.read(&path)?.filter(|text| unit::is_ours(text)) else {
        return Ok(None);
    };
    let loaded = configuration::layers_of_file(&layout.on_disk(&path)).load();
    let targets = loaded.map(|loaded| {
        let targets = loaded.settings.targets.into_iter();
        targets.map(|t| (t.uri, t.kind)).collect::<Vec<_>>()
    });
    if targets.is_ok_and(|targets| settings::small(&targets) == text) {
        return Ok(Some(path));
    }
    output::say(&format!("{} stays: it was changed", path.display()));
    Ok(None)
}
