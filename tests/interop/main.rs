//! The NATS clients that other people wrote, run unmodified against our broker.
//!
//! Every client goes through the same cases. Those of the Rust client are tests of their own
//! (`rust.rs`). Those of other languages are one script each, run by `script.rs`, which prints a
//! line for each case that went well. `make interop-deps` installs what the scripts need into the
//! target folder; where Python or Node is missing, their tests say `SKIPPED` and pass, except
//! where `CI=true`: there a skip is a failure.

mod rust;
mod script;

use agentcom_tests::Options;
use script::Script;

/// What every script must report, in this order.
const CASES: [&str; 11] = [
    "publish and subscribe",
    "wildcards",
    "queue groups",
    "request and reply",
    "no responders",
    "headers",
    "big payloads",
    "drain",
    "token",
    "user and password",
    "reconnect",
];

#[test]
fn the_python_client_works_unmodified() {
    run(Script {
        interpreter: "python3",
        installed: "venv/bin/python",
        file: "python/client.py",
        package: "",
    });
}

#[test]
fn the_worker_of_the_documents_works() {
    let script = Script {
        interpreter: "python3",
        installed: "venv/bin/python",
        file: "python/client.py",
        package: "worker",
    };
    match script.command() {
        Ok(command) => assert_eq!(script::cases_of(command), ["example worker"]),
        Err(missing) => script::skip(&missing),
    }
}

/// Agents of the hub that came before, as their WebSocket client sees it.
#[test]
fn legacy_agents_work_unmodified() {
    if agentcom_tests::oracle::skips("it has no WebSocket for agents of the hub") {
        return;
    }
    let script = Script {
        interpreter: "python3",
        installed: "venv/bin/python",
        file: "python/legacy.py",
        package: "",
    };
    let cases = [
        "mistakes",
        "presence",
        "messages",
        "channels",
        "doors",
        "tasks",
        "reconnect",
        "mixed",
        "restart",
    ];
    match script.command() {
        Ok(command) => assert_eq!(script::cases_of(command), cases),
        Err(missing) => script::skip(&missing),
    }
}

/// What pages and scripts of the hub read off it, and the socket of its dashboard.
#[test]
fn figures_alerts_and_the_dashboard_are_those_of_the_hub() {
    if agentcom_tests::oracle::skips("it has no figures of agents") {
        return;
    }
    let script = Script {
        interpreter: "python3",
        installed: "venv/bin/python",
        file: "python/dashboard.py",
        package: "",
    };
    match script.command() {
        Ok(command) => {
            let cases = ["analytics", "figures", "dashboard", "alerts"];
            assert_eq!(script::cases_of(command), cases);
        }
        Err(missing) => script::skip(&missing),
    }
}

/// How often agents of the hub may send frames, with the limits that a broker has by itself.
#[test]
fn agents_that_send_too_often_are_told_to_wait() {
    if agentcom_tests::oracle::skips("it limits no agents") {
        return;
    }
    let script = Script {
        interpreter: "python3",
        installed: "venv/bin/python",
        file: "python/rates.py",
        package: "",
    };
    match script.command() {
        Ok(command) => {
            assert_eq!(script::cases_with(command, Options::default().rated()), ["rates"])
        }
        Err(missing) => script::skip(&missing),
    }
}

/// The document of all routes, as tools that read OpenAPI see it.
#[test]
fn the_document_of_all_routes_is_valid() {
    if agentcom_tests::oracle::skips("it has no HTTP routes of agents") {
        return;
    }
    let script = Script {
        interpreter: "python3",
        installed: "venv/bin/python",
        file: "python/openapi.py",
        package: "",
    };
    match script.command() {
        Ok(command) => assert_eq!(script::cases_of(command), ["valid"]),
        Err(missing) => script::skip(&missing),
    }
}

/// The page of the dashboard, in a browser that people use.
#[test]
fn a_person_sees_and_changes_tasks_in_the_dashboard() {
    if agentcom_tests::oracle::skips("it has no dashboard") {
        return;
    }
    let script = Script {
        interpreter: "node",
        installed: "node/node_modules",
        file: "node/dashboard.cjs",
        package: "",
    };
    let Some(chromium) = script::program(&["chromium", "chromium-browser", "google-chrome"]) else {
        return script::skip("Chromium is missing");
    };
    match script.command() {
        Ok(mut command) => {
            command.env("CHROMIUM", chromium);
            assert_eq!(script::cases_of(command), ["page", "live", "cancel", "retry", "discard"]);
        }
        Err(missing) => script::skip(&missing),
    }
}

#[test]
fn the_node_client_of_version_3_works_unmodified() {
    run(node("@nats-io/transport-node"));
}

#[test]
fn the_node_client_of_version_2_works_unmodified() {
    run(node("nats"));
}

fn node(package: &'static str) -> Script {
    Script { interpreter: "node", installed: "node/node_modules", file: "node/client.cjs", package }
}

#[track_caller]
fn run(script: Script) {
    match script.command() {
        Ok(command) => assert_eq!(script::cases_of(command), CASES),
        Err(missing) => script::skip(&missing),
    }
}
