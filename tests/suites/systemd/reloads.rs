use squire_tests::{patience::until, plain};

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
