//! Targets that hang beside others: how much of the others' throughput they cost. It is printed.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use squire_tests::{daemon::Daemon, folder, patience::PATIENCE, plain, show};

const TARGETS: usize = 100;
const HANG: usize = 10;
/// Due tables of each target.
const TABLES: usize = 6;
const ROUNDS: usize = 2;

const DAEMON: &str = r#"
[daemon]
listen = "127.0.0.1:0"
tick = "1s"
hot_tick = "200ms"
look_timeout = "2s"
concurrency = 2
[defaults.compaction]
min_small_fragments = 4
[defaults.cleanup]
enabled = false
"#;

/// Starts a daemon for all targets, ten of which hang or are not there, and says how many jobs a second the others have.
async fn throughput(model: &Path, hang: bool) -> f64 {
    let dir = tempfile::tempdir().expect("there is a temporary folder");
    let mut config = DAEMON.to_owned();
    let first = if hang { 0 } else { HANG };
    for n in first..TARGETS {
        let root = dir.path().join(format!("t{n}"));
        for table in 0..TABLES {
            folder::copy(model, &root.join(format!("t{table}.lance"))).expect("it can be copied");
        }
        let (name, root) = (format!("t{n}"), root.display());
        config.push_str(&format!(
            "[[target]]\nname = \"{name}\"\nuri = \"{root}\"\n"
        ));
        if n < HANG {
            let real = fs::canonicalize(dir.path())
                .expect("it is there")
                .join(&name);
            let said = real.with_extension("hang");
            fs::write(said, real.display().to_string()).expect("the folder can be written");
        }
    }
    let file = dir.path().join("squire.toml");
    fs::write(&file, config).expect("the folder can be written");
    let mut daemon = Daemon::start(&file, &dir.path().join("log")).await;
    let daemon = daemon.as_mut().expect("the daemon starts");
    let (mut began, mut done) = (None, 0);
    let most = (TARGETS - HANG) * TABLES;
    while done < most {
        let line = tokio::time::timeout(PATIENCE, daemon.next_line()).await;
        let line = line.expect("jobs go on").expect("it runs");
        match line["message"].as_str() {
            Some("job started") if began.is_none() => began = Some(Instant::now()),
            Some("job done") => done += 1,
            _ => {}
        }
    }
    let took = began.map_or(Duration::ZERO, |began| began.elapsed());
    f64::from(u32::try_from(done).expect("it is a small number")) / took.as_secs_f64()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement: `make chaos` prints it"]
async fn ninety_targets_are_maintained_as_fast_beside_ten_that_hang() {
    let dir = tempfile::tempdir().expect("there is a temporary folder");
    for n in 0..6 {
        let rows = plain::rows(n * 100, 100);
        plain::append(dir.path(), "t", rows)
            .await
            .expect("it can be written");
    }
    let model = dir.path().join("t.lance");
    let mut rates = [Vec::new(), Vec::new()];
    // Once without counting: the disk's cache is cold.
    throughput(&model, false).await;
    for _ in 0..ROUNDS {
        for (hang, rates) in [false, true].into_iter().zip(&mut rates) {
            rates.push(throughput(&model, hang).await);
        }
    }
    let [alone, beside] = rates.map(|rates| rates.iter().sum::<f64>() / rates.len() as f64);
    show::say(format!(
        "jobs a second on ninety targets: {alone:.2}; beside ten that hang: {beside:.2}; ratio {:.3}",
        beside / alone
    ));
}
