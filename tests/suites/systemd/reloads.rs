use squire_tests::{
    daemon::{self, Daemon},
    patience::{PATIENCE, until},
    plain, process,
};
use tokio::process::Command;

use crate::{Service, get, stop};

const EAGER: &str = "[target.compaction]\nmin_small_fragments = 2\ninterval_floor = \"100ms\"";

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_is_wrong_is_refused_with_its_place_and_nothing_changes() {
    let service = Service::new();
    let lake = service.target("lake", "");
    service.configure("", &lake);
    let daemon = service.start(&[]).await;
    for (wrong, says) in [
        ("tickk = \"5s\"", "did you mean"),
        ("lease = \"1ms\"", "daemon.lease"),
        ("log = \"lowd\"", "is no level"),
    ] {
        service.configure(wrong, &(lake.clone() + &service.target("more", "")));
        let (code, said) = service.reload().await;
        assert_eq!(code, Some(2), "{said}");
        assert!(
            said.contains("squire.toml:") && said.contains(says),
            "{said}"
        );
        let metrics = get(&daemon, "/metrics").await;
        assert!(
            metrics.contains("squire_config_reload_successful 0"),
            "{metrics}"
        );
        let targets = get(&daemon, "/api/v1/targets").await;
        assert!(!targets.contains("more"), "{targets}");
    }
    service.configure("", &lake);
    let (code, said) = service.reload().await;
    assert_eq!((code, said.trim()), (Some(0), "nothing changed"));
    let metrics = get(&daemon, "/metrics").await;
    assert!(metrics.contains("squire_config_reload_successful 1"));
    drop(daemon);
}

#[tokio::test(flavor = "multi_thread")]
async fn targets_come_go_and_get_other_policies_while_the_daemon_runs() {
    let service = Service::new();
    let (first, second) = (
        service.target("first", "[target.compaction]\nenabled = false"),
        service.target("second", EAGER),
    );
    service.configure("", &first);
    let daemon = service.start(&[]).await;
    for name in ["first", "second"] {
        for n in 0..6 {
            let root = service.path(name);
            plain::append(&root, "docs", plain::rows(n * 10, 10))
                .await
                .unwrap();
        }
    }
    let fragments = async |name: &str| {
        let dataset = plain::open(&service.path(name), "docs").await.unwrap();
        dataset.get_fragments().len()
    };
    until("the first is looked at", async || {
        get(&daemon, "/api/v1/tables").await.contains("docs")
    })
    .await;

    service.configure("", &(first.clone() + &second));
    let (code, said) = service.reload().await;
    assert_eq!(
        (code, said.trim()),
        (Some(0), "target second: kept from now on")
    );
    until("the second is compacted", async || {
        fragments("second").await == 1
    })
    .await;
    assert_eq!(fragments("first").await, 6, "it is disabled there");

    service.configure("", &service.target("first", EAGER));
    let (code, said) = service.reload().await;
    assert_eq!(code, Some(0));
    assert!(
        said.contains("first: other policies") && said.contains("second: let go of"),
        "{said}"
    );
    until("the first is compacted by its new policies", async || {
        fragments("first").await == 1
    })
    .await;
    until("nothing of the second is shown", async || {
        let metrics = get(&daemon, "/metrics").await;
        let targets = get(&daemon, "/api/v1/targets").await;
        !metrics.contains("target=\"second\"") && !targets.contains("second")
    })
    .await;

    let listen = service.target("first", EAGER);
    service.configure("concurrency = 1\nmemory = \"2GiB\"", &listen);
    let (code, said) = service.reload().await;
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("daemon.memory: waits for a restart") && said.contains("daemon.concurrency"),
        "{said}"
    );
    stop(daemon, &service).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_at_work_is_finished_when_its_target_is_let_go_of() {
    let service = Service::new();
    let (lake, other) = (service.target("lake", EAGER), service.target("other", ""));
    for n in 0..6 {
        plain::append(&service.path("lake"), "docs", plain::rows(n * 10, 10))
            .await
            .unwrap();
    }
    let go = service.path("go");
    let held = format!("after-rewrite=return({})", go.display());
    service.configure("", &(lake + &other));
    let daemon = service.start(&[("FAILPOINTS", &held)]).await;
    until("the rewrite is held", async || {
        service.log().contains("failpoint after-rewrite reached")
    })
    .await;
    service.configure("", &other);
    let (code, said) = service.reload().await;
    assert_eq!(code, Some(0), "{said}");
    assert!(
        !service.log().contains("let go of a target"),
        "its job is at work"
    );
    std::fs::write(&go, "").unwrap();
    until("it is let go of", async || {
        service.log().contains("let go of a target")
    })
    .await;
    let done = service.log();
    assert!(done.contains("job done"), "{done}");
    let dataset = plain::open(&service.path("lake"), "docs").await.unwrap();
    assert_eq!(dataset.get_fragments().len(), 1);
    assert!(!get(&daemon, "/api/v1/targets").await.contains("lake\""));
    stop(daemon, &service).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_that_hangs_does_not_keep_the_daemon_from_its_end() {
    let service = Service::new();
    service.configure("reload_timeout = \"1h\"", &service.target("lake", ""));
    let hangs = format!("before-reload=return({})", service.path("never").display());
    let daemon = service.start(&[("FAILPOINTS", &hangs)]).await;
    let (asked, _) = tokio::join!(service.reload(), async {
        until("the reload hangs", async || {
            service.log().contains("failpoint before-reload reached")
        })
        .await;
        stop(daemon, &service).await;
    });
    let log = service.log();
    let given_up = log
        .lines()
        .find(|line| line.contains("a reload is given up"));
    let given_up = given_up.unwrap_or_else(|| panic!("{log}"));
    assert!(given_up.contains("squire.toml"), "{given_up}");
    assert_eq!(asked.0, Some(1), "{}", asked.1);
    assert!(asked.1.contains("the daemon ended"), "{}", asked.1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_that_takes_too_long_is_refused_with_the_file_that_it_waits_for() {
    let service = Service::new();
    service.configure("reload_timeout = \"200ms\"", &service.target("lake", ""));
    let once = format!(
        "before-reload=1*return({})",
        service.path("never").display()
    );
    let daemon = service.start(&[("FAILPOINTS", &once)]).await;
    let (code, said) = service.reload().await;
    assert_eq!(code, Some(2), "{said}");
    for part in ["squire.toml", "200ms", "daemon.reload_timeout"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let metrics = get(&daemon, "/metrics").await;
    assert!(
        metrics.contains("squire_config_reload_successful 0"),
        "{metrics}"
    );
    service.configure("reload_timeout = \"1m\"", &service.target("lake", ""));
    let reloaded = async || service.reload().await.0 == Some(0);
    until("the next one is taken", reloaded).await;
    stop(daemon, &service).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hangup_in_the_midst_of_a_reload_is_remembered() {
    let service = Service::new();
    service.configure("", &service.target("lake", ""));
    let go = service.path("go");
    let held = format!("before-reload=1*return({})", go.display());
    let daemon = service.start(&[("FAILPOINTS", &held)]).await;
    let id = daemon.id().unwrap();
    process::signal(id, "HUP").await.unwrap();
    until("the reload is held", async || {
        service.log().contains("failpoint before-reload reached")
    })
    .await;
    process::signal(id, "HUP").await.unwrap();
    std::fs::write(&go, "").unwrap();
    until("there were two", async || {
        service
            .log()
            .matches("the configuration is reloaded")
            .count()
            == 2
    })
    .await;
    stop(daemon, &service).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipe_in_the_place_of_a_file_is_refused_at_once() {
    let service = Service::new();
    let lake = service.target("lake", "");
    service.configure("reload_timeout = \"1h\"", &lake);
    let daemon = service.start(&[]).await;
    std::fs::create_dir(service.path("conf.d")).unwrap();
    let pipes = [service.path("pipe.pem"), service.path("conf.d/pipe.toml")];
    for pipe in &pipes {
        let made = Command::new("mkfifo").arg(pipe).status().await.unwrap();
        assert!(made.success());
    }
    let refused = async |what: &str| {
        let (code, said) = tokio::time::timeout(PATIENCE, service.reload())
            .await
            .unwrap_or_else(|_| panic!("{what}: it waits for whoever writes into the pipe"));
        assert_eq!(code, Some(2), "{said}");
        assert!(
            said.contains(what) && said.contains("no regular file"),
            "{said}"
        );
    };
    refused("pipe.toml").await;
    std::fs::remove_file(&pipes[1]).unwrap();
    let tls = format!(
        "reload_timeout = \"1h\"\n[daemon.tls]\ncertificate = \"{0}\"\nkey = \"{0}\"\n",
        pipes[0].display()
    );
    service.configure(&tls, &lake);
    refused("pipe.pem").await;
    service.configure("", &lake);
    stop(daemon, &service).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hangup_before_the_daemon_is_up_does_not_end_it() {
    let service = Service::new();
    service.configure("", &service.target("lake", ""));
    let go = service.path("go");
    let held = format!("before-start=return({})", go.display());
    let log = std::fs::File::create(service.path("log")).unwrap();
    let mut starting = Command::new(daemon::squire().unwrap())
        .args(["run", "--config"])
        .arg(service.path("squire.toml"))
        .env("FAILPOINTS", held)
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    until("it is about to start", async || {
        service.log().contains("failpoint before-start reached")
    })
    .await;
    process::signal(starting.id().unwrap(), "HUP")
        .await
        .unwrap();
    std::fs::write(&go, "").unwrap();
    until("it is up", async || {
        assert_eq!(starting.try_wait().unwrap(), None, "{}", service.log());
        service.log().contains("squire is running")
    })
    .await;
    process::signal(starting.id().unwrap(), "TERM")
        .await
        .unwrap();
    assert!(starting.wait().await.unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_that_is_cut_off_names_what_it_left() {
    let service = Service::new();
    let lake = service.target("lake", EAGER);
    for n in 0..6 {
        plain::append(&service.path("lake"), "docs", plain::rows(n * 10, 10))
            .await
            .unwrap();
    }
    service.configure("shutdown_grace = \"200ms\"", &lake);
    // What is committed is not given up.
    let held = format!("before-land=return({})", service.path("never").display());
    let daemon: Daemon = service.start(&[("FAILPOINTS", &held)]).await;
    until("the commit is held", async || {
        service.log().contains("failpoint before-land reached")
    })
    .await;
    stop(daemon, &service).await;
    let log = service.log();
    let over = log
        .lines()
        .find(|line| line.contains("the shutdown grace is over"));
    let over = over.unwrap_or_else(|| panic!("{log}"));
    let over: serde_json::Value = serde_json::from_str(over).unwrap();
    assert_eq!(over["targets"], "lake");
    assert_eq!(over["jobs"], "compaction of lake/docs");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_has_nothing_of_how_schedules_work_inside() {
    let service = Service::new();
    let cron = "[target.compaction]\ncron = \"0 0 3 * * *\"";
    service.configure("", &service.target("lake", cron));
    let daemon = service.start(&[]).await;
    until("it is kept", async || {
        service.log().contains("keeping a target")
    })
    .await;
    stop(daemon, &service).await;
    let log = service.log();
    for inside in ["Uninited", "Job creator created"] {
        assert!(!log.contains(inside), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_that_adds_a_place_for_the_second_time_is_refused_with_both_names() {
    let service = Service::new();
    let lake = service.target("lake", "");
    service.configure("", &lake);
    let daemon = service.start(&[]).await;
    let again = lake.replace("\"lake\"", "\"again\"");
    service.configure("", &(lake + &again));
    let (code, said) = service.reload().await;
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains("\"lake\"") && said.contains("\"again\""),
        "{said}"
    );
    assert!(!get(&daemon, "/api/v1/targets").await.contains("again"));
    stop(daemon, &service).await;
}
