//! The document of all routes says what they really do.

use agentcom_tests::{Answer, Broker, Options, oracle};
use serde_json::Value;

use crate::http::{JSON, register};

/// What `method path` answers to an empty object.
fn ask(broker: &Broker, method: &str, path: &str, token: &str) -> Answer {
    let headers = token.to_owned() + JSON;
    match method {
        "get" => broker.http_get(path, token),
        "post" => broker.http_post(path, &headers, "{}"),
        "put" => broker.http_put(path, &headers, "{}"),
        "delete" => broker.http_delete(path, token),
        other => panic!("no such method: {other}"),
    }
}

#[test]
fn every_route_lets_in_whom_the_document_says_and_answers_as_it_says() {
    if oracle::skips("it has no HTTP routes of agents") {
        return;
    }
    let broker = Broker::start(Options::default());
    let document = broker.http_get("/api/openapi.json", "").json();
    assert_eq!(document["openapi"], "3.1.0");
    let (agent, _) = register(&broker, "ann");
    let paths = document["paths"].as_object().expect("paths");
    assert!(paths.len() > 70, "{}", paths.len());
    for (path, operations) in paths {
        for (method, operation) in operations.as_object().expect("operations") {
            let path = path.replace("{id}", "nobody");
            let route = format!("{method} {path}");
            let is_public = operation["security"].as_array().is_some_and(Vec::is_empty);
            let is_admins = operation["description"] == "For admins.";
            let expect = |token: &str| {
                let answer = ask(&broker, method, &path, token);
                let status = answer.status;
                assert!(status < 500 || status == 503, "{route}: {answer:?}");
                if !route.contains("/ws") && status < 400 {
                    let listed = &operation["responses"][status.to_string()];
                    assert!(listed.is_object(), "{route}: {status} is not listed");
                    let media = listed["content"].as_object().expect("a body").keys().next();
                    let media = format!("content-type: {}", media.expect("a media type"));
                    assert!(answer.head.contains(&media), "{route}: {answer:?}");
                }
                status
            };
            assert_eq!(expect("") == 401, !is_public, "{route}: who may ask");
            let of_agent = expect(&agent);
            // What is about nobody in particular is known only once the body was read.
            assert!(!is_admins || of_agent == 403, "{route}: {of_agent} for an agent");
            let has_403 = operation["responses"]["403"].is_object();
            assert!(of_agent != 403 || has_403, "{route}: 403 is not listed");
            // A broker that starts anew answers nothing meanwhile.
            if path != "/api/admin/reset" {
                assert_ne!(expect(&broker.bearer()), 403, "{route}");
            }
        }
    }
}

#[test]
fn the_fields_of_a_body_are_those_of_the_schemas() {
    if oracle::skips("it has no HTTP routes of agents") {
        return;
    }
    let broker = Broker::start(Options::default());
    let document = broker.http_get("/api/openapi.json", "").json();
    let schemas = broker.http_get("/api/schemas", "").json();
    for body in schemas["schemas"]["http"].as_array().expect("bodies") {
        let (key, path) = (body["key"].as_str().unwrap(), body["path"].as_str().unwrap());
        let method = body["method"].as_str().unwrap().to_ascii_lowercase();
        let taken = &document["paths"][path][method.as_str()]["requestBody"]["content"];
        let reference = format!("#/components/schemas/{key}");
        assert_eq!(taken["application/json"]["schema"]["$ref"], reference, "{key}");
        let schema = &document["components"]["schemas"][key];
        let names = |list: &str| -> Vec<Value> {
            let fields = body[list].as_array().expect("fields");
            fields.iter().map(|field| field["name"].clone()).collect()
        };
        assert_eq!(schema["required"], Value::from(names("required_fields")), "{key}");
        for name in names("required_fields").into_iter().chain(names("optional_fields")) {
            let name = name.as_str().expect("a name");
            assert!(schema["properties"][name].is_object(), "{key}: {name}");
        }
    }
}

#[test]
fn every_field_of_a_body_has_the_type_that_the_schemas_say() {
    if oracle::skips("it has no HTTP routes of agents") {
        return;
    }
    let broker = Broker::start(Options::default());
    let (ann, _) = register(&broker, "ann");
    let (ann, operator) = (ann + JSON, broker.bearer() + JSON);
    broker.http_post("/api/channels", &operator, r#"{"name":"dev"}"#);
    let schemas = broker.http_get("/api/schemas", "").json();
    let mut others: Vec<String> = Vec::new();
    for body in schemas["schemas"]["http"].as_array().expect("bodies") {
        let path = body["path"].as_str().expect("a path");
        let id = if path.contains("/channels/") { "dev" } else { "ann" };
        let path = path.replace("{id}", id);
        // A mailbox is its agent's own.
        let headers = if path.contains("/mailbox/") { &ann } else { &operator };
        let fields = |list: &str| body[list].as_array().expect("fields").clone();
        for field in [fields("required_fields"), fields("optional_fields")].concat() {
            let (name, kind) = (field["name"].as_str().unwrap(), field["type"].as_str().unwrap());
            let wrong = if kind == "string" { Value::from(7) } else { "x".into() };
            let text = serde_json::json!({ name: wrong }).to_string();
            let answer = match body["method"].as_str() {
                Some("POST") => broker.http_post(&path, headers, &text),
                _ => broker.http_put(&path, headers, &text),
            };
            let errors = answer.json()["errors"].clone();
            let of_field = |error: &&Value| {
                error["field"].as_str().is_some_and(|found| found.split('.').next() == Some(name))
            };
            let error = errors.as_array().and_then(|errors| errors.iter().find(of_field));
            let expected = kind.split('<').next().unwrap_or(kind).replace('_', " ");
            let is_as_said = error.is_some_and(|error| {
                let detail = error["detail"].as_str().unwrap_or_default();
                error["error"] == "wrong_type"
                    && detail.starts_with(&format!("expected {expected}"))
            });
            if !is_as_said {
                others.push(format!("{path} {name} ({kind}): {}", answer.body));
            }
        }
    }
    assert!(others.is_empty(), "{}", others.join("\n"));
}
