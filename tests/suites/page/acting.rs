//! What a person does on the page, with the daemon's token.

use fantoccini::Locator;
use serde_json::json;

use crate::{
    browser::Browser,
    scene::{Scene, TOKEN, get, until, until_table},
};

async fn give(browser: &Browser, token: &str) {
    browser
        .until("document.getElementById('token-dialog').open")
        .await;
    let input = browser
        .page
        .find(Locator::Css("#token-input"))
        .await
        .unwrap();
    input.send_keys(token).await.unwrap();
    browser.click("#token-form button.main-act").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_paused_resumed_and_run_with_the_token_and_not_with_another() {
    let scene = Scene::new();
    scene.write("docs", 3).await;
    let daemon = scene.daemon("", Some(TOKEN)).await;
    until_table(&daemon, "docs", |table| table["fragments"] == 3).await;
    let browser = Browser::open(1440, 900).await;
    browser.visit(&daemon.listening).await;
    browser
        .until("document.querySelectorAll('#tables tr.row').length === 1")
        .await;
    browser.press("j").await;
    browser.press("p").await;
    give(&browser, "a-token-of-nobody-that-is-long-enough").await;
    browser
        .until("document.getElementById('token-why').innerText.includes('does not know')")
        .await;
    let pauses = async || get(&daemon, "/api/v1/pauses").await["pauses"].clone();
    assert_eq!(pauses().await, json!([]));
    give(&browser, TOKEN).await;
    browser
        .until("document.getElementById('pause-dialog').open")
        .await;
    let reason = browser.page.find(Locator::Css("#pause-reason")).await;
    reason.unwrap().send_keys("backup\u{202e}").await.unwrap();
    browser.click("#pause-form button.main-act").await;
    until("the table is paused", async || {
        pauses().await[0]["reason"] == "backup\u{202e}"
    })
    .await;
    browser
        .until("document.querySelector('#pauses')?.innerText.includes('backup\\\\u202e')")
        .await;
    browser
        .until(
            "document.querySelector('#tables tr.row').cells[10].innerText.startsWith('paused for')",
        )
        .await;
    browser.picture("paused").await;

    browser.press("p").await;
    until("the table is resumed", async || pauses().await == json!([])).await;
    browser
        .until("document.getElementById('pauses-section').hidden")
        .await;
    browser.press("r").await;
    browser
        .until("document.getElementById('run-dialog').open")
        .await;
    browser.click("#run-form button.main-act").await;
    browser
        .until("document.querySelector('#tables tr.row').cells[3].innerText === '1'")
        .await;
    browser
        .until("document.querySelector('#runs').innerText.includes('3 → 1 fragments')")
        .await;
    let refused = |line: &&String| !line.contains("401");
    let complaints = browser.complaints().await;
    let others: Vec<_> = complaints.iter().filter(refused).collect();
    assert!(others.is_empty(), "{others:?}");
    assert_eq!(
        browser.value("location.href.includes('token')").await,
        false
    );
    browser.press("\u{e007}").await;
    browser
        .until("document.getElementById('detail').open")
        .await;
    browser.picture("detail").await;
}
