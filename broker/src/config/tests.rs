//! The rules of `[config]`, each tried at both sides of its edge.

use std::time::Duration;

use clap::Parser;

use super::*;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    serve: ServeArgs,
}

/// What a broker makes of `file`, `environment` and `flags`: the configuration, or the complaints.
fn check(file: &str, environment: &[(&str, &str)], flags: &[&str]) -> Result<Loaded, String> {
    let args = Cli::try_parse_from([&["serve"], flags].concat()).map_err(|error| error.to_string());
    let mut loading = Loading::default();
    let read = file::read(Path::new("a.toml"), file, &mut loading);
    read.map_err(|error| error.to_string())?;
    loading.read_environment(environment.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())));
    loading.read_flags(&args?.serve);
    loading.finish().map_err(|error| error.to_string())
}

#[track_caller]
fn accepts(file: &str) -> Config {
    check(file, &[], &[]).unwrap_or_else(|error| panic!("{file}\n{error}")).config
}

#[track_caller]
fn refuses(file: &str, complaint: &str) {
    assert_eq!(check(file, &[], &[]).expect_err(file), complaint, "{file}");
}

#[test]
fn nothing_at_all_gives_the_defaults() {
    assert_eq!(accepts(""), Config::default());
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let file = "threads = 1\n[limits]\npayload_bytes_max = 64";
    let environment =
        [("AGENTCOM_THREADS", "2"), ("AGENTCOM_LIMITS_PAYLOAD_BYTES_MAX", "65"), ("PATH", "/bin")];
    let threads = |environment: &[(&str, &str)], flags: &[&str]| {
        check(file, environment, flags).unwrap().config.threads
    };
    assert_eq!(threads(&[], &[]), 1);
    assert_eq!(threads(&environment, &[]), 2);
    assert_eq!(threads(&environment, &["--threads", "3"]), 3);
    assert_eq!(threads(&environment, &["--set", "threads=4"]), 4);
    let loaded = check(file, &environment, &["--set", "limits.payload_bytes_max=66"]).unwrap();
    assert_eq!(loaded.config.limits.payload_bytes_max, 66);
}

#[test]
fn every_number_is_accepted_at_both_ends_of_its_range_and_not_beyond() {
    // A fault of the single value, not a contradiction with another, is what is looked for.
    let fits = |line: &str| match check(line, &[], &[]) {
        Ok(_) => true,
        Err(complaint) => !complaint.contains("a whole number"),
    };
    for (section, key, least, most) in [
        ("limits", "payload_bytes_max", 1_u64, 64 << 20),
        ("limits", "control_line_bytes_max", 64, 1 << 20),
        ("limits", "pending_bytes_max", 1 << 10, 4 << 30),
        ("limits", "subject_tokens_max", 1, 2048),
        ("limits", "http_connections_max", 1, 100_000),
        ("timeouts", "auth_ms", 1, 86_400_000),
        ("timeouts", "ping_interval_ms", 10, 86_400_000),
        ("timeouts", "ping_max", 1, 1_000),
        ("tasks", "grace_ms", 0, 86_400_000),
        ("tasks", "queue_tasks_max", 1, 100_000_000),
        ("tasks", "open_tasks_max", 1, 100_000_000),
    ] {
        let line = |value: u64| format!("[{section}]\n{key} = {value}");
        assert!(fits(&line(least)), "{key} = {least}");
        assert!(fits(&line(most)), "{key} = {most}");
        assert!(!fits(&line(most + 1)), "{key} = {most} + 1");
        assert!(least == 0 || !fits(&line(least - 1)), "{key} = {least} - 1");
    }
}

#[test]
fn numbers_may_be_spelled_as_toml_allows() {
    assert_eq!(accepts("[limits]\npayload_bytes_max = 65_536").limits.payload_bytes_max, 65_536);
    assert_eq!(accepts("[limits]\npayload_bytes_max = 0x100").limits.payload_bytes_max, 256);
    assert_eq!(accepts("[timeouts]\nauth_ms = 500").timeouts.auth, Duration::from_millis(500));
}

#[test]
fn an_unknown_key_names_the_line_and_what_was_probably_meant() {
    for (file, complaint) in [
        ("\nlisen = 1", "a.toml:2: there is no setting `lisen`; did you mean `listen`?"),
        (
            "[limits]\n\npayload_byte_max = 1",
            "a.toml:3: there is no setting `limits.payload_byte_max`; \
             did you mean `limits.payload_bytes_max`?",
        ),
        (
            "ping_max = 1",
            "a.toml:1: there is no setting `ping_max`; `ping_max` stands in the section [timeouts]",
        ),
        (
            "[limits]\nthreads = 1",
            "a.toml:2: there is no setting `limits.threads`; \
             `threads` stands above the first section",
        ),
        ("[limit]", "a.toml:1: there is no setting `limit`; did you mean `limits`?"),
        (
            "[tasks]\nretries = 1",
            "a.toml:2: there is no setting `tasks.retries`; known are tasks.offer_ms, \
             tasks.grace_ms, tasks.restart_grace_ms, tasks.cancel_ms, tasks.starve_ms, \
             tasks.releases_max, tasks.queue_tasks_max, tasks.open_tasks_max, tasks.waiting_max, tasks.watches_max",
        ),
    ] {
        refuses(file, complaint);
    }
}

#[test]
fn a_bad_value_names_what_was_found_and_what_would_be_accepted() {
    let number = "accepted is a whole number from 1 to 2048";
    for found in ["0", "2049", "\"many\"", "1.5", "true", "-1"] {
        refuses(
            &format!("[limits]\nsubject_tokens_max = {found}"),
            &format!("a.toml:2: `limits.subject_tokens_max` is {found}; {number}"),
        );
    }
    refuses(
        "listen = \"localhost:4222\"",
        "a.toml:1: `listen` is \"localhost:4222\"; accepted is an IP address and a port, such as \
         \"127.0.0.1:4222\" or \"[::1]:0\" (0: any free port)",
    );
    refuses(
        "data_dir = \"\"",
        "a.toml:1: `data_dir` is \"\"; accepted is the path of a file or a folder",
    );
    assert!(check("threads = ", &[], &[]).unwrap_err().starts_with("a.toml:1: not TOML: "));
}

#[test]
fn all_faults_are_reported_at_once() {
    let complaint =
        check("lisen = 1\nthreads = \"x\"", &[("AGENTCOM_LIMITS_X", "1")], &["--set", "theads=1"])
            .unwrap_err();
    let places: Vec<&str> =
        complaint.lines().map(|line| line.split(": ").next().unwrap()).collect();
    assert_eq!(places, ["a.toml:1", "a.toml:2", "AGENTCOM_LIMITS_X", "--set theads"]);
}

#[test]
fn a_message_must_fit_into_what_may_wait_and_that_into_the_budget() {
    let pending = |bytes: usize| format!("[limits]\npending_bytes_max = {bytes}");
    accepts(&pending(1 << 20));
    refuses(
        &pending((1 << 20) - 1),
        "default: `limits.payload_bytes_max` is 1048576; accepted is at most \
         `limits.pending_bytes_max`, which is 1048575: no client could ever receive the largest \
         message",
    );
    accepts(&pending(1 << 28));
    assert!(check(&pending((1 << 28) + 1), &[], &[]).unwrap_err().contains("memory_bytes_max"));
}

#[test]
fn an_address_that_others_can_reach_needs_credentials() {
    for address in ["127.0.0.1:0", "127.9.9.9:1", "[::1]:0", "[::ffff:127.0.0.1]:0"] {
        accepts(
            &format!("listen = {address:?}\nhttp_listen = {address:?}").replace(":1\"", ":0\""),
        );
    }
    for key in ["listen", "http_listen"] {
        for address in ["0.0.0.0:0", "10.0.0.1:0", "[::]:0", "[::ffff:10.0.0.1]:0"] {
            let file = format!("{key} = {address:?}");
            let complaint = check(&file, &[], &[]).unwrap_err();
            assert!(complaint.contains("nobody has to log in"), "{complaint}");
            accepts(&format!("{file}\n[auth]\ntoken = \"s3cret\""));
            accepts(&format!("{file}\n[[auth.users]]\nuser = \"a\"\npassword = \"b\""));
        }
    }
}

#[test]
fn the_two_doors_need_two_addresses() {
    refuses(
        "http_listen = \"127.0.0.1:4222\"",
        "a.toml:1: `http_listen` is 127.0.0.1:4222, and so is `listen`; \
         accepted are two different addresses",
    );
}

#[test]
fn users_are_read_with_their_permissions() {
    let config = accepts(
        "[[auth.users]]\nuser = \"ann\"\npassword = \"one\"\n\
         publish = { allow = [\"orders.>\"], deny = [\"orders.secret\"] }\n\
         [[auth.users]]\nuser = \"bob\"\npassword = \"two\"\n",
    );
    let ann = config.auth.admits_user("ann", "one").expect("ann is let in");
    assert_eq!(ann.publish.allow, ["orders.>"]);
    assert_eq!(ann.publish.deny, ["orders.secret"]);
    assert_eq!(ann.subscribe, Permissions::default());
    assert_eq!(config.auth.users.len(), 2);
}

#[test]
fn a_bad_user_is_refused_with_the_line_and_without_the_secret() {
    let user = "[[auth.users]]\nuser = \"ann\"\n";
    for (rest, place, part) in [
        ("", "a.toml:1", "`auth.users.password` is missing"),
        ("password = \"\"", "a.toml:3", "not usable"),
        ("password = \"sha256:12ab\"", "a.toml:3", "not usable"),
        ("password = \"x\"\npasword = \"y\"", "a.toml:4", "did you mean `password`?"),
        ("password = \"x\"\npublish = [\"a\"]", "a.toml:4", "{ allow = [..], deny = [..] }"),
        ("password = \"x\"\npublish = { alow = [] }", "a.toml:4", "did you mean `allow`?"),
        ("password = \"x\"\npublish = { allow = \"a\" }", "a.toml:4", "a list of subjects"),
        ("password = \"x\"\npublish = { deny = [\"a..b\"] }", "a.toml:4", "an empty token"),
        (
            "password = \"x\"\n[[auth.users]]\nuser = \"ann\"\npassword = \"y\"",
            "a.toml:4",
            "second",
        ),
    ] {
        let complaint = check(&format!("{user}{rest}"), &[], &[]).expect_err(rest);
        assert!(complaint.starts_with(place), "{rest}: {complaint}");
        assert!(complaint.contains(part), "{rest}: {complaint}");
        assert!(!complaint.contains("12ab"), "{rest}: {complaint}");
    }
    assert!(check("[auth]\nusers = 1", &[], &[]).unwrap_err().contains("[[auth.users]]"));
}

#[test]
fn a_secret_is_never_quoted_and_never_taken_from_the_command_line() {
    let complaint = check("[auth]\ntoken = \"sha256:12ab\"", &[], &[]).unwrap_err();
    assert!(complaint.starts_with("a.toml:2: `auth.token` is not usable"), "{complaint}");
    assert!(!complaint.contains("12ab"), "{complaint}");
    let complaint = check("", &[], &["--set", "auth.token=hunter2"]).unwrap_err();
    assert!(complaint.contains("AGENTCOM_AUTH_TOKEN"), "{complaint}");
    assert!(!complaint.contains("hunter2"), "{complaint}");
    let loaded = check("", &[("AGENTCOM_AUTH_TOKEN", "hunter2")], &[]).unwrap();
    assert!(loaded.config.auth.admits_token("hunter2"));
    assert!(!format!("{loaded:?}{}", loaded.to_toml()).contains("hunter2"));
}

#[test]
fn the_printed_configuration_is_toml_that_names_every_origin() {
    let file = "threads = 2\n[limits]\npayload_bytes_max = 64\n\
                [[auth.users]]\nuser = \"a\\\"b\"\npassword = \"hunter2\"\n\
                publish = { deny = [\"x.>\"] }";
    let environment = [("AGENTCOM_TIMEOUTS_AUTH_MS", "7")];
    let loaded = check(file, &environment, &["--listen", "127.0.0.1:1"]).unwrap();
    let printed = loaded.to_toml();
    for line in [
        "listen = \"127.0.0.1:1\"  # --listen",
        "threads = 2  # a.toml:1",
        "payload_bytes_max = 64  # a.toml:3",
        "auth_ms = 7  # AGENTCOM_TIMEOUTS_AUTH_MS",
        "ping_max = 2  # default",
        "# ports_file =  # not set",
        "password = \"********\"",
        "publish = { allow = [], deny = [\"x.>\"] }",
    ] {
        assert!(printed.lines().any(|found| found == line), "{line}\n---\n{printed}");
    }
    assert!(!printed.contains("hunter2"));
    let again = accepts(&printed);
    assert_eq!(again.auth.users[0].user, "a\"b");
    assert_eq!(
        Config { auth: Auth::default(), ..again },
        Config { auth: Auth::default(), ..loaded.config }
    );
}

/// `docs/agentcom.toml.example` is what `agentcom serve --print-config` prints with no settings
/// at all; run that to bring it up to date.
#[test]
fn the_example_is_the_printed_defaults() {
    let example =
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/agentcom.toml.example"));
    assert_eq!(accepts(example), Config::default());
    assert_eq!(example, Loaded::default().to_toml());
}

#[test]
fn admins_are_named_by_us_or_by_the_variable_of_the_hub() {
    let names = |loaded: &Loaded| -> Vec<String> {
        loaded.config.legacy.admin_agents.0.iter().map(ToString::to_string).collect()
    };
    let ours = ("AGENTCOM_LEGACY_ADMIN_AGENTS", "carol");
    let hubs = ("ADMIN_AGENTS", "alice, bob,");
    assert_eq!(names(&check("", &[hubs], &[]).unwrap()), ["alice", "bob"]);
    for both in [[ours, hubs], [hubs, ours]] {
        assert_eq!(names(&check("", &both, &[]).unwrap()), ["carol"]);
    }
    let file = "[legacy]\nadmin_agents = \"dave\"\nany_token_is_admin = true";
    let loaded = check(file, &[], &[]).unwrap();
    assert_eq!(
        (names(&loaded), loaded.config.legacy.any_token_is_admin),
        (vec!["dave".to_owned()], true)
    );
    let complaint = check("", &[("ADMIN_AGENTS", "a b")], &[]).unwrap_err();
    assert!(complaint.contains("ADMIN_AGENTS") && complaint.contains("alice,bob"), "{complaint}");
    let complaint = check("[legacy]\nany_token_is_admin = 1", &[], &[]).unwrap_err();
    assert!(complaint.contains("true or false"), "{complaint}");
}
