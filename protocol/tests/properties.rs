//! What holds for all frames and all bytes: the same three properties as the fuzz targets, over
//! seeded inputs, so that they run without a nightly compiler.

use agentcom_protocol::{
    ClientDecoder, ClientFrame, Decoded, Filter, HeaderMap, Limits, Message, Publish,
    ServerDecoder, ServerFrame, Subject, Verb, encode,
};
use proptest::prelude::*;
use support::{Random, Side};

mod support;

/// Small limits, so that short inputs reach both sides of them.
const TIGHT: Limits = Limits { control_line_bytes_max: 40, payload_bytes_max: 30 };

#[test]
fn mutated_conversations_never_panic_and_never_depend_on_the_split() {
    const INPUTS: usize = 150_000;
    let mut random = Random::from_env();
    let seeds = seeds();
    for round in 0..INPUTS {
        let seed = random.0;
        let side = if random.below(3) == 0 { Side::Server } else { Side::Client };
        let limits = if random.below(4) == 0 { TIGHT } else { Limits::default() };
        let mut input = Vec::new();
        for _ in 0..=random.below(3) {
            let lines = &seeds[usize::from(side == Side::Server)];
            input.extend_from_slice(&lines[random.below(lines.len())]);
        }
        for _ in 0..random.below(4) {
            mutate(&mut input, &mut random);
        }
        let check = std::panic::AssertUnwindSafe(|| check_bytes(side, limits, &input, &mut random));
        if let Err(panic) = std::panic::catch_unwind(check) {
            eprintln!("round {round}: SEED={seed} repeats {:?}", input.escape_ascii());
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn random_bytes_never_panic_and_never_depend_on_the_split() {
    let mut random = Random::from_env();
    for _ in 0..100_000 {
        let alphabet: &[u8] = match random.below(3) {
            0 => b"PpUuBbHSNGIOKCERTAWLF+- \t\r\n0129a=.*>'{}\\\xff\0",
            1 => b" \r\nPUB0",
            _ => b"",
        };
        let input: Vec<u8> = (0..random.below(48))
            .map(|_| match alphabet {
                b"" => random.next() as u8,
                some => some[random.below(some.len())],
            })
            .collect();
        for side in [Side::Client, Side::Server] {
            check_bytes(side, TIGHT, &input, &mut random);
        }
    }
}

fn check_bytes(side: Side, limits: Limits, input: &[u8], random: &mut Random) {
    // Byte by byte and in random pieces is dear for long inputs; those have few short lines anyway.
    let whole = side.whole(limits, input);
    let longest = 1 + random.below(input.len().min(60));
    let (pieces, asked) = side.in_pieces(limits, input, &mut || 1 + random.below(longest));
    assert_eq!(pieces, whole, "{side:?} {limits:?} {:?}", input.escape_ascii());
    // Once for each byte that came, each frame, and the end.
    assert!(asked <= input.len() + whole.frames.len() + 2, "asked {asked} times");
    if random.below(8) == 0 {
        let (bytewise, _) = side.in_pieces(limits, input, &mut || 1);
        assert_eq!(bytewise, whole, "{side:?} {limits:?} {:?}", input.escape_ascii());
    }
}

/// The frames of the conversations, one input each, for either side.
fn seeds() -> [Vec<Vec<u8>>; 2] {
    let mut seeds = [Vec::new(), Vec::new()];
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    for entry in std::fs::read_dir(folder).expect("the conversations") {
        let text = std::fs::read_to_string(entry.expect("an entry").path()).expect("text");
        for line in text.lines() {
            let side = match line.get(..3) {
                Some("C: ") => 0,
                Some("S: ") => 1,
                _ => continue,
            };
            let bytes = line[3..].replace("\\r", "\r").replace("\\n", "\n").replace("\\t", "\t");
            // Long JSON has nothing to find in it.
            if bytes.len() < 200 {
                seeds[side].push(bytes.into_bytes());
            }
        }
    }
    seeds
}

fn mutate(input: &mut Vec<u8>, random: &mut Random) {
    const TOKENS: [&[u8]; 20] = [
        b" ",
        b"\t",
        b"\r\n",
        b"\n",
        b"\r",
        b"0",
        b"1",
        b"-1",
        b"9999999999",
        b"999999999",
        b"PUB ",
        b"HPUB a 0 1",
        b"TASK ",
        b"HELP",
        b"'",
        b"=",
        b"\xff",
        b"\0",
        b"*",
        b">",
    ];
    if input.is_empty() {
        return;
    }
    let at = random.below(input.len());
    match random.below(6) {
        0 => input[at] = random.next() as u8,
        1 => drop(input.remove(at)),
        2 => drop(input.splice(at..at, TOKENS[random.below(TOKENS.len())].iter().copied())),
        3 => input.truncate(at),
        4 => {
            let end = at + random.below(input.len() - at);
            let again = input[at..end].to_vec();
            input.splice(at..at, again);
        }
        _ => {
            let end = (at + random.below(8)).min(input.len());
            input.drain(at..end);
        }
    }
}

fn word() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        "[a-z0-9.*>$_-]{1,30}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 1..20).prop_map(|mut bytes| {
            bytes.retain(|byte| !matches!(byte, b' ' | b'\t' | b'\r' | b'\n'));
            bytes.push(b'x');
            bytes
        }),
    ]
}

/// A word that is text, as the words of our own verbs are.
fn text_word() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z0-9_-]{1,20}", "[a-zà-ö0-9.,:/-]{1,20}"]
}

fn fields() -> impl Strategy<Value = Vec<(String, String)>> {
    prop::collection::vec(("[a-z_]{1,10}", "[a-z0-9,=.-]{0,10}"), 0..4)
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..300)
}

fn json() -> impl Strategy<Value = Vec<u8>> {
    "\\{[ -~\t]{0,80}\\}".prop_map(String::into_bytes)
}

#[track_caller]
fn client_round_trip(bytes: &[u8], frame: ClientFrame<'_>) {
    let decoded = ClientDecoder::new(Limits::default()).decode(bytes);
    assert_eq!(decoded, Ok(Decoded::Frame { frame, consumed: bytes.len() }));
    Side::Client.assert_split_independent(Limits::default(), bytes, &mut Random(1));
}

#[track_caller]
fn server_round_trip(bytes: &[u8], frame: ServerFrame<'_>) {
    let decoded = ServerDecoder::new(Limits::default()).decode(bytes);
    assert_eq!(decoded, Ok(Decoded::Frame { frame, consumed: bytes.len() }));
    Side::Server.assert_split_independent(Limits::default(), bytes, &mut Random(1));
}

fn borrowed(fields: &[(String, String)]) -> Vec<(&str, &str)> {
    fields.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect()
}

/// The words of a line: `front`, then the fields.
fn line(front: &[&str], fields: &[(String, String)]) -> Vec<String> {
    let front = front.iter().map(|&word| word.to_owned());
    front.chain(fields.iter().map(|(key, value)| format!("{key}={value}"))).collect()
}

fn encoded(words: &[String], body: Option<&[u8]>) -> Vec<u8> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut bytes = Vec::new();
    encode::words(&mut bytes, &words, body);
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_publish_survives_the_round_trip(
        subject in word(),
        reply in prop::option::of(word()),
        header_share in prop::option::of(0.0..=1.0f64),
        payload in payload(),
    ) {
        let header_bytes = header_share.map(|share| (payload.len() as f64 * share) as usize);
        let publish =
            Publish { subject: &subject, reply: reply.as_deref(), header_bytes, payload: &payload };
        let mut bytes = Vec::new();
        encode::publish(&mut bytes, &publish);
        client_round_trip(&bytes, ClientFrame::Publish(publish));
    }

    #[test]
    fn a_message_survives_the_round_trip(
        subject in word(),
        sid in word(),
        reply in prop::option::of(word()),
        header_share in prop::option::of(0.0..=1.0f64),
        payload in payload(),
    ) {
        let header_bytes = header_share.map(|share| (payload.len() as f64 * share) as usize);
        let reply = reply.as_deref();
        let message = Message { subject: &subject, sid: &sid, reply, header_bytes, payload: &payload };
        let mut bytes = Vec::new();
        encode::message(&mut bytes, &message);
        server_round_trip(&bytes, ServerFrame::Message(message));
    }

    #[test]
    fn the_other_nats_lines_survive_the_round_trip(
        filter in word(),
        queue in prop::option::of(word()),
        sid in word(),
        max in prop::option::of(0..=999_999_999u64),
        json in json(),
        text in "([!-~][ -~]{0,40})?[!-~]",
    ) {
        let mut bytes = Vec::new();
        encode::subscribe(&mut bytes, &filter, queue.as_deref(), &sid);
        let frame = ClientFrame::Subscribe { filter: &filter, queue: queue.as_deref(), sid: &sid };
        client_round_trip(&bytes, frame);

        bytes.clear();
        encode::unsubscribe(&mut bytes, &sid, max);
        client_round_trip(&bytes, ClientFrame::Unsubscribe { sid: &sid, max });

        bytes.clear();
        encode::connect(&mut bytes, &json);
        client_round_trip(&bytes, ClientFrame::Connect(&json));

        bytes.clear();
        encode::info(&mut bytes, &json);
        server_round_trip(&bytes, ServerFrame::Info(&json));

        bytes.clear();
        encode::error(&mut bytes, &text);
        server_round_trip(&bytes, ServerFrame::Error(&text));
    }

    #[test]
    fn answers_and_pushes_survive_the_round_trip(
        tag in text_word(),
        code in "[a-z_]{1,16}",
        sentence in "([!-~à-ö][ -~à-ö]{0,40})?[!-~à-ö]",
        task in any::<u64>(),
        generation in any::<u64>(),
        fields in fields(),
        body in prop::option::of(payload()),
    ) {
        let body_or_empty = body.as_deref().unwrap_or_default();
        let (task_word, generation_word) = (task.to_string(), generation.to_string());

        let bytes = encoded(&line(&["OK", &tag], &fields), body.as_deref());
        let granted =
            ServerFrame::Granted { tag: &tag, fields: borrowed(&fields), body: body_or_empty };
        server_round_trip(&bytes, granted);

        let mut bytes = Vec::new();
        encode::declined(&mut bytes, &tag, &code, &sentence);
        server_round_trip(
            &bytes,
            ServerFrame::Declined { tag: &tag, code: &code, sentence: &sentence },
        );

        let words = line(&["OFFER", &task_word, &generation_word], &fields);
        let bytes = encoded(&words, Some(body_or_empty));
        let fields_found = borrowed(&fields);
        let offer =
            ServerFrame::Offer { task, generation, fields: fields_found, body: body_or_empty };
        server_round_trip(&bytes, offer);

        let words = line(&["ITEM", &tag, &task_word, &generation_word], &fields);
        let bytes = encoded(&words, Some(body_or_empty));
        let (fields_found, body) = (borrowed(&fields), body_or_empty);
        let item = ServerFrame::Item { tag: &tag, task, generation, fields: fields_found, body };
        server_round_trip(&bytes, item);

        let words = line(&["CANCEL", &task_word, &generation_word], &fields);
        let bytes = encoded(&words, Some(body));
        let fields_found = borrowed(&fields);
        let cancel = ServerFrame::Cancel { task, generation, fields: fields_found, body };
        server_round_trip(&bytes, cancel);

        let words = line(&["ANSWERED", &task_word, &generation_word], &fields);
        let bytes = encoded(&words, Some(body));
        let fields_found = borrowed(&fields);
        let answered = ServerFrame::Answered { task, generation, fields: fields_found, body };
        server_round_trip(&bytes, answered);

        let bytes = encoded(&line(&["EVENT", &task_word], &fields), Some(body));
        let fields_found = borrowed(&fields);
        server_round_trip(&bytes, ServerFrame::Event { task, fields: fields_found, body });

        let bytes = encoded(&line(&["REVOKED", &task_word, &generation_word], &fields), None);
        let fields = borrowed(&fields);
        server_round_trip(&bytes, ServerFrame::Revoked { task, generation, fields });
    }

    #[test]
    fn a_request_survives_the_round_trip(
        at in 0..VERBS.len(),
        tag in text_word().prop_filter("a tag", |tag| tag != "-"),
        argument in text_word(),
        values in prop::collection::vec("[a-z0-9,=.-]{0,10}", 0..6),
        body in payload(),
    ) {
        let verb = VERBS[at];
        let arguments = vec![argument.as_str(); verb.arguments().len()];
        let keys = verb.options().iter().cycle();
        let options: Vec<(String, String)> = match verb.options() {
            [] => Vec::new(),
            _ => keys.zip(&values).map(|(key, value)| (key.to_string(), value.clone())).collect(),
        };
        let name = verb.name();
        let front = [&[name.as_str(), tag.as_str()], &arguments[..]].concat();
        let sized = verb.body() == agentcom_protocol::Body::Sized;
        let bytes = encoded(&line(&front, &options), sized.then_some(&body[..]));
        let request = agentcom_protocol::Request {
            verb,
            tag: &tag,
            arguments,
            options: borrowed(&options),
            body: if sized { &body } else { &[] },
        };
        client_round_trip(&bytes, ClientFrame::Request(request));
    }

    #[test]
    fn a_header_block_survives_the_round_trip(
        fields in prop::collection::vec(("[!-9;-~à-ö]{1,10}", "([!-~à-ö]([ -~à-ö]{0,10}[!-~à-ö])?)?"), 0..5),
    ) {
        let mut map = HeaderMap::new();
        for (name, value) in &fields {
            map.append(name.as_str(), value.as_str()).expect("a legal field");
        }
        let mut block = Vec::new();
        prop_assert_eq!(map.encode(&mut block), block.len());
        prop_assert_eq!(HeaderMap::parse(&block), Ok(map));
    }

    #[test]
    fn no_header_block_makes_the_parser_panic(block in payload(), text in "(NATS/1.0)?[ 0-9]{0,5}\r?\n?[A-z: \r\n]{0,40}(\r\n){0,2}") {
        let _ = HeaderMap::parse(&block);
        if let Ok(map) = HeaderMap::parse(text.as_bytes()) {
            let mut again = Vec::new();
            map.encode(&mut again);
            prop_assert_eq!(HeaderMap::parse(&again), Ok(map));
        }
    }

    /// One filter covers another, overlaps it, or not: so says the list of all short subjects.
    #[test]
    fn covering_and_overlapping_agree_with_matching(
        left in "(\\*|a|b)(\\.(\\*|a|b)){0,2}(\\.>)?",
        right in "(\\*|a|b)(\\.(\\*|a|b)){0,2}(\\.>)?",
    ) {
        let wide = Filter::parse(left.as_bytes()).expect("a filter");
        let narrow = Filter::parse(right.as_bytes()).expect("a filter");
        let subjects = subjects();
        let covers =
            subjects.iter().all(|s| wide.matches(s) || !narrow.matches(s));
        let overlaps = subjects.iter().any(|s| wide.matches(s) && narrow.matches(s));
        prop_assert_eq!(wide.covers(&right), covers);
        prop_assert_eq!(wide.overlaps(&right), overlaps);
    }

    #[test]
    fn what_is_a_subject_cannot_forge_a_line(bytes in prop::collection::vec(any::<u8>(), 0..12)) {
        if let Ok(subject) = Subject::parse(&bytes) {
            prop_assert!(!subject.as_str().chars().any(|c| c.is_control() || c == ' '));
            prop_assert!(subject.as_str().split('.').all(|token| !token.is_empty()));
            prop_assert_eq!(subject.as_str().as_bytes(), &bytes[..]);
        }
    }
}

const VERBS: [Verb; 9] = [
    Verb::TaskSubmit,
    Verb::TaskShow,
    Verb::TaskAccept,
    Verb::TaskDecline,
    Verb::TaskProgress,
    Verb::TaskComplete,
    Verb::TaskFail,
    Verb::WorkerStart,
    Verb::WorkerStop,
];

/// Every subject of one to five tokens out of three: one token more than the filters name, and one
/// letter that they do not.
fn subjects() -> Vec<String> {
    let mut all = vec![String::new()];
    let mut longest = all.clone();
    for _ in 0..5 {
        longest = longest
            .iter()
            .flat_map(|front| ["a", "b", "c"].map(|token| format!("{front}.{token}")))
            .collect();
        all.extend(longest.iter().cloned());
    }
    all.into_iter().filter_map(|subject| subject.strip_prefix('.').map(str::to_owned)).collect()
}

#[test]
fn a_maximum_beyond_nine_digits_is_cut_and_not_read_as_now() {
    for (max, found) in
        [(999_999_999, 999_999_999), (1_000_000_000, 999_999_999), (u64::MAX, 999_999_999)]
    {
        let mut bytes = Vec::new();
        encode::unsubscribe(&mut bytes, b"1", Some(max));
        client_round_trip(&bytes, ClientFrame::Unsubscribe { sid: b"1", max: Some(found) });
    }
}

#[test]
fn a_declined_sentence_stays_on_its_line() {
    let mut bytes = Vec::new();
    encode::declined(&mut bytes, "1", "invalid", "a\r\nPUB b 0\u{9b}");
    server_round_trip(
        &bytes,
        ServerFrame::Declined { tag: "1", code: "invalid", sentence: "a??PUB b 0?" },
    );
}
