//! `GET /api/openapi.json`: all routes as an OpenAPI 3.1 document, for programs that make clients and
//! tests. It is made of the table of routes and of the bodies of `GET /api/schemas`, and says
//! nothing that is not in one of them.

use std::sync::OnceLock;

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::error::reply;
use super::routes::{Access, Route, table};
use super::schemas::{BODIES, Field};
use super::{DurableCalls, limits};

/// `GET /api/openapi.json`: for everybody.
pub(super) async fn show<D: DurableCalls>() -> Response {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    reply(StatusCode::OK, DOCUMENT.get_or_init(|| document(&table::<D>().routes)))
}

fn document(routes: &[Route]) -> Value {
    let mut paths = Map::new();
    for route in routes {
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method.as_str().to_ascii_lowercase()] = operation(route);
    }
    let bodies = BODIES.iter().map(|body| {
        let properties = properties(body.required.iter().chain(body.optional));
        let required: Vec<&str> = body.required.iter().map(|(name, _)| *name).collect();
        let schema = json!({"type": "object", "description": body.description,
            "properties": properties, "required": required});
        (body.key.to_owned(), schema)
    });
    let mut schemas: Map<String, Value> = bodies.collect();
    schemas.insert("error".to_owned(), error());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "AgentCom",
            "version": env!("CARGO_PKG_VERSION"),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "token_in_query": {"type": "apiKey", "in": "query", "name": "token"},
            },
        },
    })
}

fn operation(route: &Route) -> Value {
    let about = &route.about;
    let method = route.method.as_str().to_ascii_lowercase();
    let words = route.path.split(|letter: char| !letter.is_alphanumeric());
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    let mut operation = json!({
        "operationId": format!("{method}_{}", words.join("_")),
        "summary": about.summary,
        "security": security(about.access),
        "responses": responses(route),
    });
    if let Some(words) = who(about.access) {
        operation["description"] = words.into();
    }
    let mut parameters: Vec<Value> = parameters_of_path(route.path)
        .map(|name| {
            json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}})
        })
        .collect();
    parameters.extend(
        about
            .query
            .iter()
            .map(|(name, kind)| json!({"name": name, "in": "query", "schema": schema(kind)})),
    );
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    if let Some(schema) = body(route) {
        let content = json!({"application/json": {"schema": schema}});
        operation["requestBody"] = json!({"required": !about.takes_any, "content": content});
    }
    operation
}

/// What it takes, if it takes anything.
fn body(route: &Route) -> Option<Value> {
    let same = |body: &&super::schemas::Body| {
        body.path == route.path && body.method == route.method.as_str()
    };
    match BODIES.iter().find(same) {
        Some(body) => Some(json!({"$ref": format!("#/components/schemas/{}", body.key)})),
        None => route.about.takes_any.then(|| json!({"type": "object"})),
    }
}

fn responses(route: &Route) -> Value {
    let about = &route.about;
    let mut responses = Map::new();
    let mut done = json!({"description": about.status.canonical_reason().unwrap_or_default()});
    if let Some(media) = about.media {
        let schema = if media == "application/json" { "object" } else { "string" };
        done["content"] = json!({media: {"schema": {"type": schema}}});
    }
    responses.insert(about.status.as_str().to_owned(), done);
    let takes = body(route).is_some();
    let has_fields = takes || !about.query.is_empty();
    for (is_possible, status, meaning) in [
        (has_fields, "400", "A field or a parameter is not accepted"),
        (about.access != Access::Public, "401", "There is no token, or it opens nothing here"),
        (
            matches!(about.access, Access::Own | Access::Admin),
            "403",
            "The token is of an agent that may not do this",
        ),
        (
            parameters_of_path(route.path).next().is_some(),
            "404",
            "What the path names is not there",
        ),
        (
            limits::action(&route.method, route.path).is_some(),
            "429",
            "Too often; `retry_after_ms` says when again",
        ),
    ] {
        if is_possible {
            responses.insert(status.to_owned(), refusal(meaning));
        }
    }
    // Such as 503 when the disk is full.
    responses.insert("default".to_owned(), refusal("Any other refusal"));
    responses.into()
}

fn refusal(meaning: &str) -> Value {
    let schema = json!({"$ref": "#/components/schemas/error"});
    json!({"description": meaning, "content": {"application/json": {"schema": schema}}})
}

/// What every refusal is.
fn error() -> Value {
    json!({
        "type": "object",
        "description": "Why a request is not granted",
        "properties": {
            "error": {"type": "string", "description": "The kind of refusal, for programs"},
            "detail": {"type": "string", "description": "A sentence for people"},
            "errors": {
                "type": "array",
                "description": "Every field that is not accepted",
                "items": {
                    "type": "object",
                    "properties": properties(&[("field", "string"), ("error", "string"), ("detail", "string"), ("value", "any")]),
                    "required": ["field", "error", "detail"],
                },
            },
        },
        "required": ["error"],
    })
}

fn security(access: Access) -> Value {
    match access {
        Access::Public => json!([]),
        Access::TokenInQuery => json!([{"token": []}, {"token_in_query": []}]),
        Access::Token | Access::Own | Access::Admin => json!([{"token": []}]),
    }
}

fn who(access: Access) -> Option<&'static str> {
    match access {
        Access::Public | Access::Token | Access::TokenInQuery => None,
        Access::Own => Some("For the agent that it is about, and for admins."),
        Access::Admin => Some("For admins."),
    }
}

fn parameters_of_path(path: &'static str) -> impl Iterator<Item = &'static str> {
    path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}

fn properties<'a>(fields: impl IntoIterator<Item = &'a Field>) -> Map<String, Value> {
    fields.into_iter().map(|(name, kind)| ((*name).to_owned(), schema(kind))).collect()
}

/// The schema for a word of `GET /api/schemas`.
fn schema(kind: &str) -> Value {
    if let Some(item) = kind.strip_prefix("array<").and_then(|rest| rest.strip_suffix('>')) {
        return json!({"type": "array", "items": schema(item)});
    }
    match kind {
        "any" => json!({}),
        "positive_integer" => json!({"type": "integer", "minimum": 1}),
        kind => json!({"type": kind}),
    }
}
