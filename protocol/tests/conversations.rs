//! The conversations of `testdata/*.txt`, which `docs/protocol.md` quotes.
//!
//! A line `C: ` holds bytes from the client, `S: ` bytes from the broker, with `\r`, `\n`, `\t`,
//! `\\` and `\xNN` for what cannot be seen. The lines `=> ` behind it say which frames are complete
//! with these bytes, or which error they are. `#` starts a comment.
//! `UPDATE=1 cargo test -p agentcom-protocol` rewrites the `=> ` lines.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use agentcom_protocol::{
    ClientDecoder, ClientFrame, DecodeError, Decoded, Limits, Message, Publish, ServerDecoder,
    ServerFrame,
};
use support::{Random, Side};

mod support;

#[test]
fn every_conversation_decodes_as_written() {
    let update = std::env::var_os("UPDATE").is_some();
    for path in files() {
        let text = fs::read_to_string(&path).expect("a conversation");
        let found = annotated(&text);
        if update {
            fs::write(&path, found).expect("write the conversation");
        } else {
            assert_eq!(found, text, "{} (UPDATE=1 rewrites it)", path.display());
        }
    }
}

#[test]
fn the_way_a_conversation_is_split_over_reads_changes_nothing() {
    let mut random = Random::from_env();
    for path in files() {
        let text = fs::read_to_string(&path).expect("a conversation");
        for side in [Side::Client, Side::Server] {
            let bytes: Vec<u8> = text
                .lines()
                .filter_map(|line| line.strip_prefix(prefix(side)))
                .flat_map(unescaped)
                .collect();
            for _ in 0..200 {
                side.assert_split_independent(Limits::default(), &bytes, &mut random);
            }
        }
    }
}

#[test]
fn a_conversation_in_the_document_is_the_one_that_is_tested() {
    let document = document();
    let mut quoted = BTreeSet::new();
    let mut rest = document.as_str();
    while let Some((_, behind)) = rest.split_once("```conversation ") {
        let (name, behind) = behind.split_once('\n').expect("a name");
        let (text, behind) = behind.split_once("```\n").expect("an end of the block");
        let file = fs::read_to_string(folder().join(format!("{name}.txt"))).expect(name);
        assert_eq!(text, file, "conversation {name} in docs/protocol.md");
        quoted.insert(name.to_owned());
        rest = behind;
    }
    let name = |path: PathBuf| path.file_stem().expect("a name").to_string_lossy().into_owned();
    let written: BTreeSet<String> = files().into_iter().map(name).collect();
    assert_eq!(quoted, written, "conversations quoted and conversations there are");
}

#[test]
fn the_grammar_in_the_document_is_the_one_in_the_code() {
    let document = document();
    let mut rest = document.as_str();
    for (file, rules_min) in [("src/grammar.rs", 20), ("src/binary/grammar.rs", 18)] {
        rest = quoted_rules(file, rules_min, rest);
    }
}

/// Assert that the rules of a grammar stand in the document in their order, from `rest` on. What
/// follows the last one.
fn quoted_rules<'a>(file: &str, rules_min: usize, mut rest: &'a str) -> &'a str {
    let code = fs::read_to_string(root().join(file)).expect(file);
    let mut lines = 0;
    for line in code.lines().filter_map(|line| line.strip_prefix("/// ")) {
        let is_rule = line.split_once(" = ").is_some_and(|(name, _)| !name.contains(' '));
        if is_rule {
            let (_, behind) = rest
                .split_once(&format!("\n{line}\n"))
                .unwrap_or_else(|| panic!("docs/protocol.md lacks, here or at all: {line}"));
            // The next line may start right behind this one.
            rest = &rest[rest.len() - behind.len() - 1..];
            lines += 1;
        }
    }
    assert!(lines >= rules_min, "{lines} lines of grammar in {file}");
    rest
}

#[test]
fn the_document_names_every_error_and_every_verb() {
    let document = document();
    let errors = [
        DecodeError::UnknownOperation,
        DecodeError::ControlLineTooLong { bytes: 2, bytes_max: 1 },
        DecodeError::PayloadTooLarge { bytes: 2, bytes_max: 1 },
        DecodeError::Layout { frame: "PUB" },
    ];
    for error in errors {
        let text = error.wire_text().expect("a text");
        assert!(document.contains(&format!("| `{text}` |")), "{text}");
    }
    let list = agentcom_protocol::help("");
    let verbs = list.lines().filter_map(|line| line.strip_prefix("#   ")?.split_once(": "));
    let mut count = 0;
    for (verb, _) in verbs.filter(|(verb, _)| !verb.contains('{')) {
        let help = agentcom_protocol::help(verb);
        let usage = help.lines().next().and_then(|line| line.strip_prefix("# ")).expect("a usage");
        assert!(document.contains(&format!("\n{usage}\n")), "docs/protocol.md lacks: {usage}");
        count += 1;
    }
    assert_eq!(count, 64, "{list}");
}

/// The text with its `=> ` lines as the decoders see it. Each side is one stream of bytes.
fn annotated(text: &str) -> String {
    let mut found = String::new();
    let (mut client, mut server) = (Some(Vec::new()), Some(Vec::new()));
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("=> ")).collect();
    for (at, line) in lines.iter().enumerate() {
        found.push_str(line);
        found.push('\n');
        for (side, stream) in [(Side::Client, &mut client), (Side::Server, &mut server)] {
            let Some(escaped) = line.strip_prefix(prefix(side)) else { continue };
            let buffer = stream.as_mut().expect("nothing comes behind an error");
            buffer.extend(unescaped(escaped));
            let goes_on = lines.get(at + 1).is_some_and(|line| line.starts_with(prefix(side)));
            if goes_on {
                continue;
            }
            let failed = frames(side, buffer, &mut found);
            if failed {
                *stream = None;
            }
        }
    }
    found
}

/// Take the frames off `buffer` and append their lines; whether an error ended it.
fn frames(side: Side, buffer: &mut Vec<u8>, lines: &mut String) -> bool {
    let limits = Limits::default();
    loop {
        if buffer.is_empty() {
            return false;
        }
        let decoded = if side == Side::Client {
            ClientDecoder::new(limits).decode(buffer).map(|decoded| match decoded {
                Decoded::Frame { frame, consumed } => Some((client_frame(&frame), consumed)),
                Decoded::Incomplete { .. } => None,
            })
        } else {
            ServerDecoder::new(limits).decode(buffer).map(|decoded| match decoded {
                Decoded::Frame { frame, consumed } => Some((server_frame(&frame), consumed)),
                Decoded::Incomplete { .. } => None,
            })
        };
        match decoded {
            Ok(Some((frame, consumed))) => {
                lines.push_str(&format!("=> {frame}\n"));
                buffer.drain(..consumed);
            }
            Ok(None) => return false,
            Err(error) => {
                lines.push_str(&format!("=> error: {error}\n"));
                return true;
            }
        }
    }
}

fn client_frame(frame: &ClientFrame<'_>) -> String {
    match frame {
        ClientFrame::Connect(json) => format!("Connect {}", escaped(json)),
        ClientFrame::Publish(Publish { subject, reply, header_bytes, payload }) => {
            let words = [("subject", Some(*subject)), ("reply", *reply)];
            format!("Publish {}{}", named(&words), sized(*header_bytes, payload))
        }
        ClientFrame::Subscribe { filter, queue, sid } => {
            let words = [("filter", Some(*filter)), ("queue", *queue), ("sid", Some(*sid))];
            format!("Subscribe {}", named(&words).trim_end())
        }
        ClientFrame::Unsubscribe { sid, max } => {
            let max = max.map_or_else(|| "now".to_owned(), |max| format!("max={max}"));
            format!("Unsubscribe sid={} {max}", escaped(sid))
        }
        ClientFrame::Request(request) => {
            let names = request.verb.arguments();
            let mut text = format!("Request {} tag={}", request.verb.name(), request.tag);
            for (name, value) in names
                .iter()
                .zip(&request.arguments)
                .chain(request.options.iter().map(|(key, value)| (key, value)).collect::<Vec<_>>())
            {
                text.push_str(&format!(" {name}={value}"));
            }
            if request.verb.body() == agentcom_protocol::Body::Sized {
                text.push_str(&format!(" body=\"{}\"", escaped(request.body)));
            }
            text
        }
        ClientFrame::Mistyped { tag, mistake } => {
            format!("Mistyped tag={tag} code={} {mistake}", mistake.code())
        }
        other => format!("{other:?}"),
    }
}

fn server_frame(frame: &ServerFrame<'_>) -> String {
    match frame {
        ServerFrame::Info(json) => format!("Info {}", escaped(json)),
        ServerFrame::Message(Message { subject, sid, reply, header_bytes, payload }) => {
            let words = [("subject", Some(*subject)), ("sid", Some(*sid)), ("reply", *reply)];
            format!("Message {}{}", named(&words), sized(*header_bytes, payload))
        }
        ServerFrame::Granted { tag, fields, body } => {
            format!("Granted tag={tag}{} body=\"{}\"", pairs(fields), escaped(body))
        }
        ServerFrame::Declined { tag, code, sentence } => {
            format!("Declined tag={tag} code={code} sentence={sentence:?}")
        }
        ServerFrame::Offer { task, generation, fields, body } => {
            let (fields, body) = (pairs(fields), escaped(body));
            format!("Offer task={task} generation={generation}{fields} body=\"{body}\"")
        }
        ServerFrame::Item { tag, task, generation, fields, body } => {
            let (fields, body) = (pairs(fields), escaped(body));
            format!("Item tag={tag} task={task} generation={generation}{fields} body=\"{body}\"")
        }
        ServerFrame::Cancel { task, generation, fields, body } => {
            let (fields, body) = (pairs(fields), escaped(body));
            format!("Cancel task={task} generation={generation}{fields} body=\"{body}\"")
        }
        ServerFrame::Answered { task, generation, fields, body } => {
            let (fields, body) = (pairs(fields), escaped(body));
            format!("Answered task={task} generation={generation}{fields} body=\"{body}\"")
        }
        ServerFrame::Event { task, fields, body } => {
            format!("Event task={task}{} body=\"{}\"", pairs(fields), escaped(body))
        }
        ServerFrame::Revoked { task, generation, fields } => {
            format!("Revoked task={task} generation={generation}{}", pairs(fields))
        }
        other => format!("{other:?}"),
    }
}

fn named(words: &[(&str, Option<&[u8]>)]) -> String {
    let word =
        |(name, word): &(&str, Option<&[u8]>)| word.map(|w| format!("{name}={} ", escaped(w)));
    words.iter().filter_map(word).collect()
}

fn sized(header_bytes: Option<usize>, payload: &[u8]) -> String {
    let header = header_bytes.map(|bytes| format!("header=\"{}\" ", escaped(&payload[..bytes])));
    let body = escaped(&payload[header_bytes.unwrap_or_default()..]);
    format!("{}body=\"{body}\"", header.unwrap_or_default())
}

fn pairs(fields: &[(&str, &str)]) -> String {
    fields.iter().map(|(key, value)| format!(" {key}={value}")).collect()
}

fn escaped(bytes: &[u8]) -> String {
    let text = bytes.escape_ascii().to_string();
    text.replace("\\\"", "\"").replace("\\'", "'")
}

fn unescaped(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        rest = behind;
        if *first != b'\\' {
            bytes.push(*first);
            continue;
        }
        let (kind, behind) = rest.split_first().expect("an escape");
        rest = behind;
        bytes.push(match kind {
            b'r' => b'\r',
            b'n' => b'\n',
            b't' => b'\t',
            b'\\' => b'\\',
            b'x' => {
                let (digits, behind) = rest.split_at(2);
                rest = behind;
                let digits = std::str::from_utf8(digits).expect("two digits");
                u8::from_str_radix(digits, 16).expect("two hexadecimal digits")
            }
            other => panic!("\\{} in {text}", char::from(*other)),
        });
    }
    bytes
}

fn prefix(side: Side) -> &'static str {
    if side == Side::Client { "C: " } else { "S: " }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn folder() -> PathBuf {
    root().join("testdata")
}

fn document() -> String {
    fs::read_to_string(root().join("../docs/protocol.md")).expect("docs/protocol.md")
}

fn files() -> Vec<PathBuf> {
    let entries = fs::read_dir(folder()).expect("the folder of the conversations");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    assert!(!files.is_empty());
    files
}
