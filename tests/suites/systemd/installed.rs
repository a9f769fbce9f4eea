use squire_tests::patience::until;

use crate::booted::Machine;

/// A systemd within namespaces has no devices to keep to itself.
const DROP_IN: &str = "[Service]\nPrivateDevices=no\n";
const ODD: &str = "/srv/my \"odd\" 100% la\\ke: $HOME";
const HIDDEN: &str = "/home/app/db: one";
const TEMPORARY: &str = "/tmp/try";

#[tokio::test(flavor = "multi_thread")]
async fn an_installed_service_runs_writes_its_targets_and_nothing_else_and_is_removed() {
    let drop_in = "etc/systemd/system/squire.service.d/local.conf";
    let Some(machine) = Machine::boot_with(&[(drop_in, DROP_IN)]).await else {
        return;
    };
    let folders = [ODD, HIDDEN, TEMPORARY];
    for folder in folders.iter().chain(&["/srv/other", "/tmp/other"]) {
        machine.done(&["mkdir", "-p", folder]).await;
        machine.done(&["chown", "squire:squire", folder]).await;
    }
    let install = [&["squire", "service", "install"][..], &folders].concat();
    let said = machine.done(&install).await;
    assert!(said.contains("It runs as the user squire"), "{said}");
    assert_eq!(machine.property("ActiveState").await, "active");
    assert_eq!(machine.property("UnitFileState").await, "enabled");
    until("it knows all three", async || {
        machine.property("StatusText").await.contains("3 targets")
    })
    .await;

    // What the process sees, even root could not change elsewhere.
    let pid = machine.property("MainPID").await;
    for folder in folders {
        let probe = format!("{folder}/probe");
        let seen = format!("/proc/{pid}/root{probe}");
        machine.done(&["touch", &seen]).await;
        machine.done(&["test", "-e", &probe]).await;
    }
    for other in ["/srv/other", "/home/app", "/tmp/other", "/etc", "/usr"] {
        let seen = format!("/proc/{pid}/root{other}/probe");
        machine.run(&["touch", &seen]).await;
        let written = machine
            .run(&["test", "-e", &format!("{other}/probe")])
            .await;
        assert!(!written.0, "{other} was written");
    }
    machine.done(&["systemctl", "reload", "squire"]).await;

    // Once more, as after a change of the targets, it is another process.
    machine.done(&["squire", "service", "install"]).await;
    assert_eq!(machine.property("ActiveState").await, "active");
    assert_ne!(machine.property("MainPID").await, pid);

    machine.done(&["squire", "service", "remove"]).await;
    assert_eq!(machine.property("ActiveState").await, "inactive");
    for gone in [
        "/etc/systemd/system/squire.service",
        "/etc/squire/squire.toml",
    ] {
        machine.done(&["test", "!", "-e", gone]).await;
    }
    for kept in [
        &format!("{ODD}/probe"),
        "/etc/systemd/system/squire.service.d/local.conf",
    ] {
        machine.done(&["test", "-e", kept]).await;
    }
}

/// Starts a service manager of a user of this machine, as a login does, and makes `as-app` run programs in its session.
const LOGIN: &str = r#"
useradd --create-home app
runtime=/run/user/$(id -u app)
install -d -m 700 -o app -g app "$runtime"
# What a machine has had that came up as a whole: a service with a file system of its own.
systemd-run --quiet --wait --property=PrivateTmp=yes true
systemd-run --quiet --unit=session --uid=app --gid=app --property=Delegate=yes --working-directory=/home/app \
    --setenv=XDG_RUNTIME_DIR="$runtime" --setenv=HOME=/home/app /lib/systemd/systemd --user --unit=basic.target
cat >/usr/local/bin/as-app <<END
#!/bin/sh
exec runuser -u app -- env HOME=/home/app XDG_RUNTIME_DIR=$runtime "\$@"
END
chmod +x /usr/local/bin/as-app
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_users_own_service_runs_in_the_users_session_behind_the_same_walls() {
    let Some(machine) = Machine::boot_with(&[]).await else {
        return;
    };
    machine.done(&["bash", "-ec", LOGIN]).await;
    until("the session is up", async || {
        let up = ["as-app", "systemctl", "--user", "is-active", "basic.target"];
        machine.run(&up).await.0
    })
    .await;
    machine
        .done(&["as-app", "mkdir", "/home/app/lake", "/home/app/other"])
        .await;
    let as_app = async |words: &[&str]| machine.done(&[&["as-app"], words].concat()).await;
    let said = as_app(&["squire", "service", "install", "--user", "/home/app/lake"]).await;
    assert!(said.contains("enable-linger"), "{said}");
    let property = async |name: &str| {
        let show = [
            "systemctl",
            "--user",
            "show",
            "squire",
            "--value",
            "-p",
            name,
        ];
        as_app(&show).await.trim().to_owned()
    };
    assert_eq!(property("ActiveState").await, "active");
    let pid = property("MainPID").await;
    let owner = machine.done(&["ps", "-o", "user=", "-p", &pid]).await;
    assert_eq!(owner.trim(), "app");
    for (folder, open) in [("/home/app/lake", true), ("/home/app/other", false)] {
        let mounted = format!("/proc/{pid}/root{folder}/probe");
        let (well, said) = machine.run(&["touch", &mounted]).await;
        assert_eq!(well, open, "{folder}: {said}");
    }
    as_app(&["systemctl", "--user", "reload", "squire"]).await;
    as_app(&["squire", "service", "remove", "--user"]).await;
    assert_eq!(property("ActiveState").await, "inactive");
    let left = machine
        .done(&["find", "/home/app/.config", "-name", "squire.*"])
        .await;
    assert_eq!(left, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_does_not_come_up_is_a_failure_that_says_where_to_look() {
    // An address that this machine does not have.
    let config = "[daemon]\nlisten = \"192.0.2.1:9464\"\nplaintext_behind_proxy = true\n[[target]]\nname = \"lake\"\nuri = \"/srv\"\n";
    let Some(machine) = Machine::boot_with(&[("etc/squire/squire.toml", config)]).await else {
        return;
    };
    let (well, said) = machine.run(&["squire", "service", "install"]).await;
    assert!(!well, "{said}");
    assert!(said.contains("journalctl -u squire -n 50"), "{said}");
    let said = machine.done(&["squire", "service", "remove"]).await;
    assert!(
        said.contains("removed /etc/systemd/system/squire.service"),
        "{said}"
    );
}
