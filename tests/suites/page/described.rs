//! What the daemon answers is what its description says.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};

use crate::scene::{Scene, get, until, until_table};

/// Compacts at once, and knows versions.
const EAGER: &str = "[target.compaction]\nmin_small_fragments = 4\ninterval_floor = \"100ms\"\n\
                     [target.cleanup]\nkeep_versions = 1\n";

/// What is wrong with an answer, as the description has it.
fn faults(described: &Value, path: &str, method: &str, code: u16, answer: &Value) -> Vec<String> {
    let responses = &described["paths"][path][method]["responses"];
    let mut schema = responses[code.to_string()]["content"]["application/json"]["schema"].clone();
    assert!(
        schema.is_object(),
        "{method} {path} is not described to answer with {code}"
    );
    schema["components"] = described["components"].clone();
    strict(&mut schema);
    let validator = jsonschema::validator_for(&schema).expect("it is a schema");
    let errors = validator.iter_errors(answer);
    errors
        .map(|e| format!("{path}: {} {e}", e.instance_path()))
        .collect()
}

/// Fields that are not described are not to be there.
fn strict(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            if map.get("type") == Some(&json!("object")) && map.contains_key("properties") {
                map.insert("additionalProperties".to_owned(), json!(false));
            }
            map.values_mut().for_each(strict);
        }
        Value::Array(list) => list.iter_mut().for_each(strict),
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_is_as_the_description_says() {
    let scene = Scene::new();
    scene.write("docs", 6).await;
    let daemon = scene.daemon(EAGER, None).await;
    until_table(&daemon, "docs", |table| table["fragments"] == 1).await;
    until("the run is told with what it left", async || {
        let runs = get(&daemon, "/api/v1/runs").await;
        runs[0]["after"]["fragments"] == 1
    })
    .await;
    let described = get(&daemon, "/api/v1/openapi.json").await;
    let asked = [
        (Method::GET, "overview", "", 200),
        (Method::GET, "targets", "", 200),
        (Method::GET, "targets/{target}", "targets/lake", 200),
        (Method::GET, "targets/{target}", "targets/sea", 404),
        (Method::GET, "targets/{target}", "targets/%FF", 400),
        (
            Method::GET,
            "targets/{target}/queue",
            "targets/lake/queue",
            200,
        ),
        (
            Method::GET,
            "targets/{target}/tables/{table}",
            "targets/lake/tables/docs",
            200,
        ),
        (
            Method::GET,
            "targets/{target}/tables/{table}",
            "targets/lake/tables/dogs",
            404,
        ),
        (
            Method::GET,
            "targets/{target}/tables/{table}",
            "targets/lost/tables/docs",
            503,
        ),
        (Method::GET, "tables", "", 200),
        (Method::GET, "tables", "tables?target=lake&since=1", 200),
        (Method::GET, "tables", "tables?colour=red", 400),
        (Method::GET, "running", "", 200),
        (Method::GET, "runs", "runs?limit=1", 200),
        (Method::GET, "pauses", "", 200),
    ];
    let mut answered = BTreeSet::new();
    let client = reqwest::Client::new();
    let mut ask = async |method: Method, path: &str, at: &str, body: Option<Value>, code: u16| {
        let at = if at.is_empty() { path } else { at };
        let url = format!("http://{}/api/v1/{at}", daemon.listening);
        let request = client.request(method.clone(), url);
        let request = match body {
            Some(body) => request.json(&body),
            None => request,
        };
        let answer = request.send().await.expect("the daemon answers");
        assert_eq!(answer.status().as_u16(), code, "{method} {at}");
        let answer = answer.json().await.expect("it is JSON");
        let (method, path) = (method.as_str().to_lowercase(), format!("/api/v1/{path}"));
        let faults = faults(&described, &path, &method, code, &answer);
        assert!(faults.is_empty(), "{faults:#?} in {answer:#}");
        answered.insert((path, method));
        answer
    };
    for (method, path, at, code) in asked {
        ask(method, path, at, None, code).await;
    }
    let docs = json!({ "target": "lake", "table": "docs" });
    let pause = json!({ "target": "lake", "table": "docs", "for": "1h", "reason": "backup" });
    let post = || Method::POST;
    ask(post(), "runs", "", Some(docs.clone()), 202).await;
    let paused = ask(post(), "pauses", "", Some(pause), 200).await;
    assert_eq!(paused["pauses"][0]["reason"], "backup");
    ask(post(), "runs", "", Some(docs.clone()), 409).await;
    ask(Method::DELETE, "pauses", "", Some(docs.clone()), 200).await;
    ask(Method::DELETE, "pauses", "", Some(docs), 404).await;
    ask(post(), "runs", "", Some(json!({ "target": 1 })), 400).await;
    let huge = json!({ "target": "x".repeat(100_000) });
    ask(post(), "runs", "", Some(huge), 413).await;

    let paths = described["paths"].as_object().expect("there are paths");
    let all = paths.iter().flat_map(|(path, item)| {
        let methods = item.as_object().expect("each has methods").keys();
        methods.map(|method| (path.clone(), method.clone()))
    });
    assert_eq!(answered, all.collect(), "every route was asked");
    let (code, body) = daemon.get("/api/v1/nothing").await.unwrap();
    assert_eq!(code, 404);
    assert!(body.contains("openapi.json"), "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_calls_for_a_compaction_that_no_threshold_would_ask_for() {
    let scene = Scene::new();
    scene.write("docs", 3).await;
    let daemon = scene.daemon("", None).await;
    until_table(&daemon, "docs", |table| {
        table["health"] == "ok" && table["fragments"] == 3
    })
    .await;
    let called = reqwest::Client::new()
        .post(format!("http://{}/api/v1/runs", daemon.listening))
        .json(&json!({ "target": "lake", "table": "docs", "duty": "compaction" }));
    assert_eq!(called.send().await.unwrap().status(), 202);
    until_table(&daemon, "docs", |table| table["fragments"] == 1).await;
    let runs = get(&daemon, "/api/v1/runs").await;
    assert_eq!(
        (&runs[0]["forced"], &runs[0]["outcome"]),
        (&json!(true), &json!("done"))
    );
}
