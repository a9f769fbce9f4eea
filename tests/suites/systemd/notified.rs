use std::{collections::BTreeSet, os::unix::net::UnixDatagram, path::Path};

use squire_tests::{patience::until, process};

use crate::{Service, stop};

/// A socket in the place of the service manager.
struct Manager {
    socket: UnixDatagram,
    heard: Vec<String>,
}

impl Manager {
    fn listen(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self {
            socket,
            heard: Vec::new(),
        }
    }

    /// Takes in what was said since.
    fn hear(&mut self) -> &[String] {
        let mut said = [0; 4096];
        while let Ok(n) = self.socket.recv(&mut said) {
            self.heard
                .push(String::from_utf8(said[..n].to_vec()).unwrap());
        }
        &self.heard
    }

    fn has_heard(&mut self, what: &str) -> bool {
        self.hear().iter().any(|said| said.contains(what))
    }

    /// How many messages hold this so far.
    fn count(&mut self, what: &str) -> usize {
        self.hear()
            .iter()
            .filter(|said| said.contains(what))
            .count()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_manager_hears_of_start_work_reload_and_stop_in_this_order() {
    let service = Service::new();
    let lake = service.target("lake", "");
    service.configure("", &lake);
    let path = service.path("notify");
    let mut manager = Manager::listen(&path);
    let daemon = service
        .start(&[
            ("NOTIFY_SOCKET", path.to_str().unwrap()),
            ("WATCHDOG_USEC", "400000"),
        ])
        .await;
    until("it is ready", async || manager.has_heard("READY=1")).await;
    until("it says how it is", async || {
        manager.has_heard("STATUS=1 target, 0 tables; nothing to do")
    })
    .await;
    until("the watchdog is fed", async || {
        manager.count("WATCHDOG=1") > 2
    })
    .await;

    service.configure("", &(lake.clone() + &service.target("more", "")));
    process::signal(daemon.id().unwrap(), "HUP").await.unwrap();
    until("it reloads", async || manager.has_heard("RELOADING=1")).await;
    until("it is ready again", async || manager.count("READY=1") == 2).await;
    until("it keeps two", async || {
        manager.has_heard("STATUS=2 targets")
    })
    .await;

    service.configure("tick = 5", &lake);
    process::signal(daemon.id().unwrap(), "HUP").await.unwrap();
    until("a refusal ends a reload, too", async || {
        manager.count("READY=1") == 3
    })
    .await;
    assert!(manager.has_heard("the new configuration was refused, the old one holds"));

    stop(daemon, &service).await;
    assert!(manager.has_heard("STOPPING=1"));
    let place = |what: &str| {
        manager
            .heard
            .iter()
            .position(|said| said.contains(what))
            .unwrap()
    };
    assert!(place("READY=1") < place("RELOADING=1") && place("RELOADING=1") < place("STOPPING=1"));
    let monotonic = &manager.heard[place("RELOADING=1")];
    assert!(monotonic.contains("MONOTONIC_USEC="), "{monotonic}");
}

/// A store that takes every request and answers none.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_does_not_answer_is_named_and_starves_no_watchdog() {
    let deaf = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", deaf.local_addr().unwrap());
    let held = tokio::spawn(async move {
        let mut connections = Vec::new();
        while let Ok(connection) = deaf.accept().await {
            connections.push(connection);
        }
    });
    let service = Service::new();
    let far = "[[target]]\nname = \"far\"\nuri = \"s3://bucket/lake\"\n";
    service.configure("look_timeout = \"1s\"", far);
    let path = service.path("notify");
    let mut manager = Manager::listen(&path);
    let daemon = service
        .start(&[
            ("NOTIFY_SOCKET", path.to_str().unwrap()),
            ("WATCHDOG_USEC", "400000"),
            ("AWS_ENDPOINT", &endpoint),
            ("AWS_ALLOW_HTTP", "true"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "id"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
        ])
        .await;
    until("at first it is fed", async || {
        manager.has_heard("WATCHDOG=1")
    })
    .await;
    until("it says who does not answer", async || {
        manager.has_heard("STATUS=STUCK: far")
    })
    .await;
    let fed = manager.count("WATCHDOG=1");
    until("it is fed all the same", async || {
        manager.count("WATCHDOG=1") > fed + 2
    })
    .await;
    let said: BTreeSet<_> = manager.heard.iter().collect();
    assert!(said.iter().all(|said| !said.contains("secret")));
    daemon.kill().await.unwrap();
    held.abort();
}
