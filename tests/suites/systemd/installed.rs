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
    for folder in folders.iter().chain(&["/srv/other", "/home/app/other"]) {
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
    let within = |program: &[&str]| {
        let all = [&["nsenter", "-t", &pid, "--mount", "--root"][..], program].concat();
        all.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    for folder in folders {
        let probe = format!("{folder}/probe");
        let touch = within(&["touch", &probe]);
        machine
            .done(&touch.iter().map(String::as_str).collect::<Vec<_>>())
            .await;
        machine.done(&["test", "-e", &probe]).await;
    }
    for other in [
        "/srv/other/probe",
        "/home/app/other/probe",
        "/etc/probe",
        "/usr/probe",
    ] {
        let touch = within(&["touch", other]);
        let (well, said) = machine
            .run(&touch.iter().map(String::as_str).collect::<Vec<_>>())
            .await;
        assert!(!well, "{other} was written: {said}");
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
