//! What the page shows, and that it goes on showing what is.

use squire_tests::process;

use crate::{
    browser::Browser,
    scene::{Scene, get, until_table},
};

const TABLES: &str =
    "[...document.querySelectorAll('#tables tr.row')].map(r => r.cells[1].innerText.split(' ')[0])";

/// A table's row, as an expression.
fn row(table: &str) -> String {
    format!(
        "[...document.querySelectorAll('#tables tr.row')].find(r => r.cells[1].innerText.startsWith('{table}'))"
    )
}

/// Opens the details of the chosen table by Enter, and closes them by Escape.
async fn open_and_close(browser: &Browser) {
    let details = "document.getElementById('detail').open";
    browser.press("\u{e007}").await;
    browser.until(details).await;
    browser.press("\u{e00c}").await;
    browser.until(&format!("!{details}")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_shows_what_is_there_follows_it_and_says_when_the_daemon_is_gone() {
    let scene = Scene::new();
    scene.write("docs", 2).await;
    scene.write("logs", 1).await;
    let daemon = scene.daemon("", None).await;
    until_table(&daemon, "docs", |table| table["fragments"] == 2).await;
    let browser = Browser::open(1440, 900).await;
    browser.visit(&daemon.listening).await;
    browser
        .until(&format!("{}?.cells[3].innerText === '2'", row("docs")))
        .await;
    browser
        .until("document.getElementById('live').dataset.is === 'live'")
        .await;
    browser
        .until("document.querySelector('#targets .uri.bad')?.innerText.includes('holds no graph')")
        .await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());

    scene.write("docs", 1).await;
    scene.write("fresh", 1).await;
    browser
        .until(&format!("{}?.cells[3].innerText === '3'", row("docs")))
        .await;
    browser.until(&format!("Boolean({})", row("fresh"))).await;
    std::fs::remove_dir_all(scene.lake().join("logs.lance")).unwrap();
    browser.until(&format!("!{}", row("logs"))).await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());

    browser
        .until("document.getElementById('read-only').hidden === false")
        .await;
    assert_eq!(
        browser
            .value("document.getElementById('pause-button').disabled")
            .await,
        true
    );
    daemon.kill().await.unwrap();
    browser
        .until("document.getElementById('live').dataset.is === 'gone'")
        .await;
    browser
        .until("!document.getElementById('alarm').hidden")
        .await;
    browser.picture("gone").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_says_that_a_configuration_was_refused_and_what_waits_for_a_restart() {
    let scene = Scene::new();
    let daemon = scene.daemon("", None).await;
    let browser = Browser::open(1440, 900).await;
    browser.visit(&daemon.listening).await;
    browser
        .until("document.getElementById('configured').innerText.endsWith('ago')")
        .await;
    let hidden =
        "document.getElementById('refused').hidden && document.getElementById('waits').hidden";
    assert_eq!(browser.value(hidden).await, true);

    let good = std::fs::read_to_string(scene.config()).unwrap();
    let reload = async |text: String| {
        std::fs::write(scene.config(), text).unwrap();
        process::signal(daemon.id().unwrap(), "HUP").await.unwrap();
    };
    reload(good.replace("hot_tick", "hot_tock")).await;
    browser
        .until("document.getElementById('refused').innerText.includes('hot_tock')")
        .await;
    browser.picture("refused").await;
    let waits = good.replace("[daemon]", "[daemon]\nmemory = \"2GiB\"");
    reload(waits).await;
    browser
        .until("document.getElementById('refused').hidden && document.getElementById('waits').innerText.includes('daemon.memory')")
        .await;
    assert_eq!(browser.complaints().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_sorted_filtered_and_chosen_by_mouse_and_by_keyboard() {
    let scene = Scene::new();
    for (table, fragments) in [("ants", 2), ("bees", 1), ("cats", 3)] {
        scene.write(table, fragments).await;
    }
    std::fs::create_dir_all(scene.lake().join("dogs.lance/_versions")).unwrap();
    std::fs::write(scene.lake().join("dogs.lance/_versions/1.manifest"), "none").unwrap();
    let daemon = scene.daemon("", None).await;
    until_table(&daemon, "cats", |table| table["fragments"] == 3).await;
    until_table(&daemon, "dogs", |table| table["health"] == "failing").await;
    let browser = Browser::open(1440, 900).await;
    browser.visit(&daemon.listening).await;
    browser
        .until(&format!("{TABLES}.join() === 'dogs,ants,bees,cats'"))
        .await;
    browser.click("#tables .c-fragments button").await;
    browser
        .until(&format!("{TABLES}.slice(0, 3).join() === 'cats,ants,bees'"))
        .await;
    browser.click("#tables .c-fragments button").await;
    browser
        .until(&format!("{TABLES}.slice(-3).join() === 'bees,ants,cats'"))
        .await;
    let sorted = browser
        .value("document.querySelector('#tables th[aria-sort]').ariaSort")
        .await;
    assert_eq!(sorted, "ascending");

    browser.press("/").await;
    assert_eq!(browser.value("document.activeElement.id").await, "filter");
    browser.press("a").await;
    browser.press("nts").await;
    browser.until(&format!("{TABLES}.join() === 'ants'")).await;
    browser.press("\u{e00c}").await;
    browser.press("\u{e00c}").await;
    browser.until(&format!("{TABLES}.length === 4")).await;
    browser.press("j").await;
    browser.press("j").await;
    browser.press("k").await;
    let chosen = "document.querySelector('#tables tr[aria-selected=true]').ariaRowIndex";
    assert_eq!(browser.value(chosen).await, "2");
    open_and_close(&browser).await;
    browser.press("?").await;
    browser
        .until("document.getElementById('help-dialog').open")
        .await;
    let complaints = browser.complaints().await;
    assert_eq!(complaints, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_markup_is_shown_as_it_is_and_runs_nothing() {
    const HOSTILE: [&str; 3] = [
        "<script>document.title='taken'<",
        "<img src=x onerror=document.title='taken'>",
        "\"><svg onload=document.title='taken'>",
    ];
    let scene = Scene::new();
    scene.write("docs", 2).await;
    scene.copy("docs", HOSTILE.map(str::to_owned));
    let daemon = scene.daemon("", None).await;
    until_table(&daemon, "docs", |table| table["fragments"] == 2).await;
    let pause = serde_json::json!({ "target": "lake", "for": "1h", "reason": HOSTILE[1] });
    let paused = reqwest::Client::new()
        .post(format!("http://{}/api/v1/pauses", daemon.listening))
        .json(&pause);
    assert_eq!(paused.send().await.unwrap().status(), 200);
    let told = get(&daemon, "/api/v1/tables").await.to_string();
    assert!(
        told.contains("onerror") && told.contains("onload"),
        "{told}"
    );
    let browser = Browser::open(1440, 900).await;
    browser.visit(&daemon.listening).await;
    browser
        .until("document.querySelectorAll('#tables tr.row').length === 4")
        .await;
    browser
        .until("document.getElementById('pauses').innerText.includes('<img src=x onerror')")
        .await;
    for _ in 0..4 {
        browser.press("j").await;
        open_and_close(&browser).await;
    }
    let made = "document.querySelectorAll('main img, main script, dialog img, svg[onload], [onerror]').length";
    assert_eq!(browser.value(made).await, 0);
    assert_eq!(browser.value("document.title").await, "Squire");
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    browser.picture("hostile").await;
}
