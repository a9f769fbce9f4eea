//! A writer crashes and nobody heals it: somebody is told within minutes, and told again when it is over.

use squire_tests::{patience::until, place};

use crate::{scene::Scene, server::Server};

const ALERT: &str = "SquireSidecarAging";
/// Seconds instead of minutes: how old a sidecar may be, and the same in this test.
const SHORTER: [(&str, &str, &str); 1] = [(ALERT, "> 180", "> 2")];

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_fires_when_a_sidecar_is_left_to_age_and_goes_when_it_is_healed() {
    let scene = Scene::with_healing_held_off().await;
    let prometheus = Server::start(&scene.daemon.listening, &SHORTER).await;
    until("the daemon is scraped", async || {
        let up = prometheus
            .query("squire_target_up{target=\"flights\"} == 1")
            .await;
        let counted = prometheus
            .query("squire_sidecars{state=\"decided\"} == 0")
            .await;
        !up.is_empty() && !counted.is_empty()
    })
    .await;
    prometheus.until_judged().await;
    let before = prometheus.firing().await;
    assert!(before.is_empty(), "all is well: {before:?}");

    scene.crash().await;
    let aging = async || {
        let firing = prometheus.firing().await;
        firing
            .into_iter()
            .find(|alert| alert["labels"]["alertname"] == ALERT)
    };
    until("the alert fires", async || aging().await.is_some()).await;
    let alert = aging().await.expect("nobody heals it");
    for (label, value) in [
        ("target", "flights"),
        ("state", "decided"),
        ("severity", "critical"),
        ("job", "squire"),
    ] {
        assert_eq!(alert["labels"][label], value, "{alert}");
    }
    let told = alert["annotations"]["description"]
        .as_str()
        .expect("it is described");
    assert!(
        told.contains("graph flights") && told.contains("wait behind it"),
        "{told}"
    );
    assert_eq!(
        alert["annotations"]["runbook_url"],
        "docs/runbook.md#squiresidecaraging"
    );
    let others = prometheus.firing().await;
    let others: Vec<_> = others.iter().map(|a| &a["labels"]["alertname"]).collect();
    assert_eq!(others, [ALERT], "nothing else is wrong");

    // What the runbook says.
    let healed = scene.heal().await;
    assert!(
        healed.starts_with("rolled forward: Load ") && healed.contains("crashed"),
        "{healed}"
    );
    until("the alert goes", async || {
        prometheus.firing().await.is_empty()
    })
    .await;
    let rows = place::sums(&scene.graph).await;
    assert!(
        rows.0 > 3_000 && rows.1 > 20_000,
        "the dead writer's rows are in: {rows:?}"
    );
    drop(prometheus);
    scene.stop().await.expect("it stops");
}
