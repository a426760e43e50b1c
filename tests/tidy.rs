//! Promises of `ARCHITECTURE.md` that a compiler cannot check, over the sources as they are.
//!
//! Only code counts: what stands in comments and in quotes is blanked out first, so that a module
//! may say what it does without.

use std::fs;
use std::path::{Path, PathBuf};

/// Longest source file, in lines. Longer ones have two subjects.
const LINES_MAX: usize = 900;

/// Folders that are made, not written.
const MADE: [&str; 6] = [".git", "target", "node_modules", "__pycache__", ".agentcom", "corpus"];

/// One file of the source tree.
struct Source {
    /// Its path from the root of the workspace, with slashes.
    path: String,
    text: String,
}

impl Source {
    fn is_in(&self, folders: &[&str]) -> bool {
        folders.iter().any(|folder| self.path.starts_with(folder))
    }

    fn code(&self) -> String {
        code_of(&self.text)
    }
}

fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("the root of the workspace is above tests/").to_owned()
}

/// Every file that is written by hand and is text, in the order of its path.
fn sources() -> Vec<Source> {
    let root = root();
    let mut folders = vec![root.clone()];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder that can be read") {
            let entry = entry.expect("an entry that can be read");
            let (path, kind) = (entry.path(), entry.file_type().expect("its type"));
            // A file, too: what `.git` is in a linked checkout.
            if MADE.iter().any(|made| entry.file_name() == *made) {
                continue;
            }
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file()
                && let Ok(text) = fs::read_to_string(&path)
            {
                let path = path.strip_prefix(&root).expect("a path below the root");
                let path = path.to_str().expect("a path in UTF-8").to_owned();
                sources.push(Source { path, text });
            }
        }
    }
    sources.sort_by(|left, right| left.path.cmp(&right.path));
    sources
}

fn rust_sources() -> Vec<Source> {
    let mut sources = sources();
    sources.retain(|source| source.path.ends_with(".rs"));
    assert!(sources.len() > 50, "only {} source files found", sources.len());
    sources
}

/// `text` with blanks for comments and for what stands in quotes. Line breaks stay.
fn code_of(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = blank_length(rest, code.chars().next_back()).unwrap_or(0);
        if length > 0 {
            code.extend(rest[..length].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
            rest = &rest[length..];
        } else {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    code
}

/// The length of the comment or literal that `rest` begins with, if it begins with one.
fn blank_length(rest: &str, before: Option<char>) -> Option<usize> {
    let up_to = |end: &str, from: usize| {
        rest[from..].find(end).map_or(rest.len(), |found| from + found + end.len())
    };
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return Some(up_to("*/", 2));
    }
    let is_in_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    if let Some(raw) = rest.strip_prefix('r').filter(|_| !is_in_word || before == Some('b')) {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if raw[hashes..].starts_with('"') {
            return Some(up_to(&format!("\"{}", "#".repeat(hashes)), hashes + 2));
        }
    }
    if rest.starts_with('"') {
        return Some(quoted_length(rest, '"').unwrap_or(rest.len()));
    }
    // A lifetime has no second quote where a character has it.
    let mut chars = rest.strip_prefix('\'')?.chars();
    match (chars.next()?, chars.next()?) {
        ('\\', _) => quoted_length(rest, '\''),
        (character, '\'') => Some(2 + character.len_utf8()),
        _ => None,
    }
}

/// The length of what begins with `quote` and ends with the next one that is not escaped.
fn quoted_length(rest: &str, quote: char) -> Option<usize> {
    let mut chars = rest.char_indices().skip(1);
    while let Some((at, found)) = chars.next() {
        if found == '\\' {
            chars.next();
        } else if found == quote {
            return Some(at + 1);
        }
    }
    None
}

/// Where `code` has `name` as whole words, such as `tokio` or `std::net`.
fn has_name(code: &str, name: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(name).any(|(at, _)| {
        let (before, behind) = (&code[..at], &code[at + name.len()..]);
        !before.chars().next_back().is_some_and(is_part)
            && !behind.chars().next().is_some_and(is_part)
    })
}

/// None of `names` stands in the code of any file of `folders`.
#[track_caller]
fn check_absent(folders: &[&str], names: &[&str], why: &str) {
    let mut files = 0;
    for source in rust_sources() {
        if source.is_in(folders) {
            files += 1;
            let code = source.code();
            for name in names {
                assert!(!has_name(&code, name), "{}: `{name}`: {why}", source.path);
            }
        }
    }
    assert!(files > 0, "no files in {folders:?}");
}

#[test]
fn the_protocol_and_the_core_never_wait_and_never_look() {
    let names = [
        "tokio",
        "std::net",
        "std::fs",
        "std::thread",
        "Instant",
        "SystemTime",
        "Mutex",
        "rand",
        "rocksdb",
    ];
    let folders = ["protocol/src/", "broker/src/core/", "broker/src/board/"];
    check_absent(&folders, &names, "it belongs in a shell");
}

#[test]
fn a_session_knows_neither_socket_nor_clock() {
    let names = ["tokio", "Instant", "SystemTime", "TcpStream", "TcpListener", "std::thread"];
    check_absent(&["broker/src/session/"], &names, "it belongs in net/");
}

#[test]
fn knowledge_points_inwards() {
    for (folder, strangers) in [
        (
            "broker/src/core/",
            &[
                "cli",
                "commit",
                "config",
                "durable",
                "http",
                "net",
                "routing",
                "server",
                "session",
                "store",
                "translate",
            ][..],
        ),
        ("broker/src/store/", &["cli", "durable", "http", "net", "routing", "server", "session"]),
        (
            "broker/src/routing/",
            &["cli", "commit", "durable", "http", "server", "session", "store"],
        ),
        (
            "broker/src/cli/",
            &["commit", "core", "durable", "http", "net", "routing", "session", "store"],
        ),
    ] {
        let names: Vec<String> = strangers.iter().map(|name| format!("crate::{name}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        check_absent(&[folder], &names, "it must not know that");
    }
}

#[test]
fn each_foreign_format_is_named_in_one_place() {
    for (name, home) in
        [("rocksdb", "broker/src/store/rocks"), ("bincode", "broker/src/store/row/")]
    {
        let is_named = |source: &Source| {
            source.is_in(&["broker/src/", "protocol/src/", "client/src/", "bench/src/"])
                && has_name(&source.code(), name)
        };
        let mut strangers = rust_sources().into_iter().filter(is_named).map(|source| source.path);
        let stranger = strangers.find(|path| !path.starts_with(home));
        assert_eq!(stranger, None, "`{name}` belongs to {home}");
    }
}

#[test]
fn the_crates_depend_on_each_other_in_one_direction() {
    for (manifest, strangers) in [
        ("protocol/Cargo.toml", &["tokio", "agentcom-broker", "agentcom-client", "rocksdb"][..]),
        ("client/Cargo.toml", &["agentcom-broker", "rocksdb"]),
        ("bench/Cargo.toml", &["agentcom-broker", "agentcom-client", "agentcom-protocol"]),
        ("tests/Cargo.toml", &["agentcom-broker", "rocksdb"]),
    ] {
        let text = fs::read_to_string(root().join(manifest)).expect("a manifest");
        // What only tests and benchmarks use stands in other sections.
        let (_, dependencies) = text.split_once("[dependencies]\n").expect("a section");
        let dependencies = dependencies.split("\n[").next().unwrap_or_default();
        for stranger in strangers {
            let depends = dependencies.lines().any(|line| {
                line.strip_prefix(stranger).is_some_and(|rest| rest.starts_with(['.', ' ', '=']))
            });
            assert!(!depends, "{manifest} depends on {stranger}");
        }
    }
}

#[test]
fn nothing_is_unsafe_unfinished_or_left_over() {
    for source in rust_sources() {
        let code = source.code();
        for name in ["unsafe", "todo!", "unimplemented!", "dbg!"] {
            // A word with its exclamation mark ends there.
            let word = name.trim_end_matches('!');
            let is_there = has_name(&code, word) && (word == name || code.contains(name));
            assert!(!is_there, "{}: `{name}`", source.path);
        }
        assert!(!code.contains("#[ignore"), "{}: a test that does not run", source.path);
    }
}

#[test]
fn tests_do_not_sleep() {
    for source in rust_sources() {
        let is_test = source.path.starts_with("tests/")
            || source.path.contains("/tests/")
            || source.path.ends_with("/tests.rs");
        let code = source.code();
        let code = match code.find("#[cfg(test)]") {
            _ if is_test => code.as_str(),
            Some(tests) => &code[tests..],
            None => continue,
        };
        for name in ["thread::sleep", "time::sleep", "sleep", "sleep_until"] {
            assert!(!has_name(code, name), "{}: `{name}`; wait for an event", source.path);
        }
    }
}

#[test]
fn every_file_has_one_subject_and_says_which() {
    for Source { path, text } in rust_sources() {
        let lines = text.lines().count();
        assert!(lines <= LINES_MAX, "{path} has {lines} lines; split it");
        assert!(text.starts_with("//!") || text.starts_with("#!"), "{path}: what is it about?");
    }
}

#[test]
fn the_map_shows_what_is_there() {
    let map = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let sources = sources();
    let mut paths = 0;
    for word in map.split('`').skip(1).step_by(2) {
        let is_path = word.ends_with(".rs") || word.ends_with(".md") || word.ends_with('/');
        if is_path && !word.contains(' ') {
            paths += 1;
            let is_there = sources.iter().any(|source| leads_to(word, &source.path));
            assert!(is_there, "ARCHITECTURE.md names `{word}`, which is not there");
        }
    }
    assert!(paths > 20, "only {paths} paths in ARCHITECTURE.md");
}

/// Whether `path` is what `word` means, which may leave folders out. A folder leads to its files.
fn leads_to(word: &str, path: &str) -> bool {
    let is_folder = word.ends_with('/');
    let mut found = path.split('/');
    let in_order = word.trim_end_matches('/').split('/').all(|part| found.any(|at| at == part));
    in_order && found.next().is_some() == is_folder
}

#[test]
fn nothing_tells_where_it_was_written() {
    // Put together here so that this file passes.
    let folders =
        [["/ho", "me/"], ["/ro", "ot/"], ["/wo", "rk/"], ["/Use", "rs/"], ["/tmp/", "wt"]];
    for Source { path, text } in sources() {
        for folder in folders.map(|parts| parts.concat()) {
            let is_absolute = |(at, _): (usize, &str)| {
                let before = text[..at].chars().next_back();
                !before.is_some_and(|c| {
                    c.is_alphanumeric() || matches!(c, '.' | '/' | '_' | '-' | '}')
                })
            };
            let is_there = text.match_indices(&folder).any(is_absolute);
            assert!(!is_there, "{path} names a folder of its author: {folder}");
        }
        // Where packages come from is the machine's business, not the project's.
        for setting in [["\"resol", "ved\":"], ["index-", "url"], ["[sour", "ce."]] {
            assert!(!text.contains(&setting.concat()), "{path} names a registry: {setting:?}");
        }
        let crates_io = "registry+https://github.com/rust-lang/crates.io-index";
        if path.ends_with("Cargo.lock") {
            for line in text.lines().filter(|line| line.starts_with("source = ")) {
                assert_eq!(line, format!("source = \"{crates_io}\""), "in {path}");
            }
        }
    }
}

#[test]
fn comments_and_quotes_are_no_code() {
    for (text, code) in [
        ("a // b\nc", "a     \nc"),
        ("a /* b\nc */ d", "a     \n     d"),
        ("let a = \"b // c\"; d", "let a =         ; d"),
        (r#"x("a\"b", c)"#, "x(      , c)"),
        ("r#\"a\"b\"# c", "         c"),
        ("br\"a\\\" c", "b      c"),
        ("'a' 'b '\\'' c<'d>", "    'b      c<'d>"),
        ("for r in raw", "for r in raw"),
    ] {
        assert_eq!(code_of(text), code, "{text}");
    }
    assert!(has_name("use tokio::net;", "tokio") && !has_name("tokio_util", "tokio"));
}
