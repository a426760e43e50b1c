//! The binary framing: the vectors of `vectors/*.txt`, which `docs/protocol.md` quotes, the rules
//! at both sides of their edges, and what holds for all frames and all bytes.
//!
//! A line `C: ` holds a frame from the client, `S: ` one from the broker, in hexadecimal. The lines
//! `=> ` behind it say which frame it is, or which error. `#` starts a comment.
//! `UPDATE=1 cargo test -p agentcom-protocol` rewrites the `=> ` lines.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use agentcom_protocol::binary::{
    self, ClientDecoder, ClientFrame, Message, Named, Publish, Request, ServerDecoder, ServerFrame,
    begins_frame, encode,
};
use agentcom_protocol::{Body, DecodeError, Decoded, Limits, Verb};
use frames::{encode_client, encode_server};
use proptest::prelude::*;
use support::{End, Random, Side};

#[path = "support/frames.rs"]
mod frames;
mod support;

/// Small limits, so that short inputs reach both sides of them.
const TIGHT: Limits = Limits { control_line_bytes_max: 12, payload_bytes_max: 10 };

#[test]
fn every_vector_decodes_as_written() {
    let update = std::env::var_os("UPDATE").is_some();
    for path in files() {
        let text = fs::read_to_string(&path).expect("a vector");
        let found = annotated(&text);
        if update {
            fs::write(&path, found).expect("write the vector");
        } else {
            assert_eq!(found, text, "{} (UPDATE=1 rewrites it)", path.display());
        }
    }
}

#[test]
fn a_vector_in_the_document_is_the_one_that_is_tested() {
    let document = fs::read_to_string(root().join("../docs/protocol.md")).expect("the document");
    let mut quoted = BTreeSet::new();
    let mut rest = document.as_str();
    while let Some((_, behind)) = rest.split_once("```vectors ") {
        let (name, behind) = behind.split_once('\n').expect("a name");
        let (text, behind) = behind.split_once("```\n").expect("an end of the block");
        let file = fs::read_to_string(folder().join(format!("{name}.txt"))).expect(name);
        assert_eq!(text, file, "vectors {name} in docs/protocol.md");
        quoted.insert(name.to_owned());
        rest = behind;
    }
    let name = |path: PathBuf| path.file_stem().expect("a name").to_string_lossy().into_owned();
    let written: BTreeSet<String> = files().into_iter().map(name).collect();
    assert_eq!(quoted, written, "vectors quoted and vectors there are");
}

#[test]
fn a_vector_split_at_any_byte_is_the_same_frame() {
    for (side, bytes) in vectors() {
        let whole = side.assert_split_independent(Limits::default(), &bytes, &mut Random(1));
        for at in 0..=bytes.len() {
            let mut pieces = [at, bytes.len() - at].into_iter().filter(|&piece| piece > 0);
            let mut next = || pieces.next().unwrap_or(1);
            let (split, _) = side.in_pieces(Limits::default(), &bytes, &mut next);
            assert_eq!(split, whole, "{side:?} {} split at {at}", hex(&bytes));
        }
    }
}

/// A vector that is a frame comes out of the encoder as it went into the decoder.
#[test]
fn a_vector_is_what_the_encoder_makes_of_its_frame() {
    let mut frames = 0;
    for (side, bytes) in vectors() {
        let mut encoded = Vec::new();
        match side {
            Side::BinaryClient => match ClientDecoder::new(Limits::default()).decode(&bytes) {
                Ok(Decoded::Frame { frame, .. }) => encode_client(&mut encoded, &frame),
                _ => continue,
            },
            _ => match ServerDecoder::new(Limits::default()).decode(&bytes) {
                Ok(Decoded::Frame { frame, .. }) => encode_server(&mut encoded, &frame),
                _ => continue,
            },
        }
        if !encoded.is_empty() {
            assert_eq!(hex(&encoded), hex(&bytes));
            frames += 1;
        }
    }
    assert!(frames >= 30, "{frames} frames");
}

#[test]
fn no_frame_begins_like_a_line() {
    for byte in (b' '..=b'~').chain(*b"\t\r\n") {
        assert!(!begins_frame(byte), "{byte:#04x}");
    }
    for (_, bytes) in vectors().into_iter().filter(|(_, bytes)| bytes != b"P") {
        assert!(begins_frame(bytes[0]), "{}", hex(&bytes));
    }
}

#[test]
fn limits_are_kept_by_what_is_known_first() {
    let line = |bytes| DecodeError::ControlLineTooLong { bytes, bytes_max: 12 };
    let payload = |bytes| DecodeError::PayloadTooLarge { bytes, bytes_max: 10 };
    let layout = |frame| DecodeError::Layout { frame };
    // The head, and where it needs one the fixed part, is all that is sent: no more is waited for.
    for (client, expected) in [
        (head(0x11, 0, 1, 10), Ok(18)),
        (head(0x11, 0, 1, 11), Err(payload(11))),
        (head(0x11, 0, 1, u32::MAX), Err(payload(u32::MAX as usize))),
        (head(0x10, 0, 0, 12), Ok(20)),
        (head(0x10, 0, 0, 13), Err(line(13))),
        (head(0x15, 0, 1, 13), Err(line(13))),
        (head(0x13, 0, 0, 20), Ok(28)),
        (head(0x13, 0, 0, 21), Err(line(13))),
        (head(0x13, 0, 0, 7), Err(layout("SUB"))),
        (head(0x14, 0, 0, 9), Err(layout("UNSUB"))),
        (head(0x14, 0, 0, 7), Err(layout("UNSUB"))),
        (head(0x12, 0, 0, 11), Err(layout("PUB"))),
        (head(0x12, 0, 0, 1000), Ok(20)),
        (publish_start(0, 34, 6, 6, 0), Ok(42)),
        (publish_start(0, 35, 6, 7, 0), Err(line(13))),
        (publish_start(0, 35, 6, 6, 0), Err(payload(11))),
        (publish_start(1, 22, 0, 0, 10), Ok(30)),
        (publish_start(1, 22, 0, 0, 11), Err(layout("PUB"))),
        (publish_start(1, 12, 0, 1, 0), Err(layout("PUB"))),
        (publish_start(1, 13, 1, 0, 0), Err(layout("PUB"))),
        (publish_start(0, 12, 0, 0, 0), Err(layout("PUB"))),
        (request(34, 10), Ok(42)),
        (request(35, 10), Err(line(13))),
        (request(34, 11), Err(payload(11))),
        (request(12, 1), Err(layout("REQUEST"))),
        (head(0x01, 0, 0, 1), Err(layout("PING"))),
        (head(0x02, 1, 0, 0), Err(layout("PONG"))),
        (head(0x00, 0, 0, 0), Err(DecodeError::UnknownOperation)),
        (head(0x17, 0, 0, 0), Err(DecodeError::UnknownOperation)),
        (head(0x81, 0, 0, 4), Err(DecodeError::UnknownOperation)),
    ] {
        check_begun(Side::BinaryClient, &client, &expected);
    }
    for (server, expected) in [
        (head(0x80, 0, 0, 48), Ok(56)),
        (head(0x80, 0, 0, 49), Err(DecodeError::ControlLineTooLong { bytes: 49, bytes_max: 48 })),
        (head(0x81, 0, 0, 3), Err(layout("MSG_SHORT"))),
        ([head(0x81, 0, 0, 14), vec![0; 4]].concat(), Ok(22)),
        ([head(0x81, 0, 0, 15), vec![0; 4]].concat(), Err(payload(11))),
        ([head(0x82, 0, 1, 17), vec![0; 4], vec![1], vec![0; 11]].concat(), Err(layout("MSG"))),
        (head(0x11, 0, 1, 0), Err(DecodeError::UnknownOperation)),
        (head(0x88, 0, 0, 0), Err(DecodeError::UnknownOperation)),
    ] {
        check_begun(Side::BinaryServer, &server, &expected);
    }
}

/// `input` is the beginning of a frame that needs so many bytes, or an error however it goes on.
#[track_caller]
fn check_begun(side: Side, input: &[u8], expected: &Result<usize, DecodeError>) {
    let found = match side.decode(TIGHT, input) {
        Ok(Decoded::Incomplete { needed }) => Ok(needed),
        Ok(Decoded::Frame { frame, .. }) => panic!("{}: {frame}", hex(input)),
        Err(error) => Err(error),
    };
    assert_eq!(found, *expected, "{side:?} {}", hex(input));
    side.assert_split_independent(TIGHT, input, &mut Random(1));
}

#[test]
fn the_short_way_gives_what_the_long_one_does() {
    let decoder = ClientDecoder::new(TIGHT);
    for input in [
        &publish(Named::Alias(7), b"0123456789")[..],
        &publish(Named::Alias(7), b"01234567890"),
        &publish(Named::Alias(7), b""),
        &publish(Named::Alias(0), b"hi"),
        &publish(Named::Full(b"a"), b"hi"),
        &publish(Named::Full(b"a"), b"01234567890"),
        &publish(Named::Full(b"a subject too long"), b"hi"),
        &publish(Named::Full(b""), b"hi"),
        encode::fixed::PING,
        b"PUB",
        b"",
    ] {
        for end in 0..=input.len() {
            let long = match decoder.decode(&input[..end]) {
                Ok(Decoded::Frame { frame: ClientFrame::Publish(publish), consumed }) => {
                    Some((publish, consumed))
                }
                _ => None,
            };
            if input.first() == Some(&0x12) {
                assert_eq!(decoder.whole_publish(&input[..end]), long, "{}", hex(input));
                continue;
            }
            assert_eq!(decoder.whole_publish(&input[..end]), None, "{}", hex(input));
            let long = long.map(|(publish, consumed)| {
                let Named::Alias(alias) = publish.subject else { panic!("{publish:?}") };
                (alias, publish.payload, consumed)
            });
            assert_eq!(decoder.whole_short_publish(&input[..end]), long, "{}", hex(input));
        }
    }
}

#[test]
fn words_that_do_not_fill_their_place_are_no_words() {
    let request = |count: u8, words: &[u8]| {
        let mut bytes = head(0x16, count, 0, 12 + words.len() as u32);
        bytes.extend([1, 0, 0, 0]);
        bytes.extend(Verb::TaskShow.code().to_le_bytes());
        bytes.extend([0; 4]);
        bytes.extend(words);
        Side::BinaryClient.assert_split_independent(Limits::default(), &bytes, &mut Random(1)).end
    };
    let wrong = End::Error(DecodeError::Layout { frame: "REQUEST" });
    assert_eq!(request(1, b"\x02\0\0\x0017"), End::Left(0));
    assert_eq!(request(1, b"\x02\0\0\x00171"), wrong);
    assert_eq!(request(1, b"\x03\0\0\x0017"), wrong);
    assert_eq!(request(2, b"\x02\0\0\x0017"), wrong);
    assert_eq!(request(0, b"\x02\0\0\x0017"), wrong);
}

#[test]
fn mutated_vectors_never_panic_and_never_depend_on_the_split() {
    const INPUTS: usize = 100_000;
    let mut random = Random::from_env();
    let vectors = vectors();
    for _ in 0..INPUTS {
        let seed = random.0;
        let (side, mut input) = vectors[random.below(vectors.len())].clone();
        for _ in 0..random.below(3) {
            let (other, bytes) = &vectors[random.below(vectors.len())];
            if *other == side {
                input.extend(bytes);
            }
        }
        for _ in 0..random.below(4) {
            mutate(&mut input, &mut random);
        }
        let limits = if random.below(4) == 0 { TIGHT } else { Limits::default() };
        let whole = side.whole(limits, &input);
        let longest = 1 + random.below(input.len().min(60));
        let (pieces, asked) = side.in_pieces(limits, &input, &mut || 1 + random.below(longest));
        assert_eq!(pieces, whole, "SEED={seed} {side:?} {limits:?} {}", hex(&input));
        // For each frame its head, its fixed part and itself; and the end.
        assert!(asked <= 3 * (whole.frames.len() + 2), "SEED={seed} asked {asked} times");
    }
}

#[test]
fn random_bytes_never_panic_and_never_depend_on_the_split() {
    const KINDS: [u8; 17] = [
        0x01, 0x02, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85,
        0x86, 0x87,
    ];
    let mut random = Random::from_env();
    for _ in 0..100_000 {
        let mut input: Vec<u8> = (0..random.below(40))
            .map(|_| if random.below(2) == 0 { 0 } else { random.next() as u8 >> random.below(8) })
            .collect();
        if let Some(first) = input.first_mut() {
            *first = KINDS[random.below(KINDS.len())];
        }
        for side in [Side::BinaryClient, Side::BinaryServer] {
            side.assert_split_independent(TIGHT, &input, &mut random);
        }
    }
}

fn mutate(input: &mut Vec<u8>, random: &mut Random) {
    if input.is_empty() {
        return;
    }
    let at = random.below(input.len());
    match random.below(5) {
        0 => input[at] = random.next() as u8,
        1 => input[at] = random.next() as u8 % 4,
        2 => drop(input.remove(at)),
        3 => input.insert(at, random.next() as u8),
        _ => input.truncate(at),
    }
}

fn word() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        "[a-z0-9.*>$_-]{1,30}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 1..20),
    ]
}

fn named() -> impl Strategy<Value = (u16, Vec<u8>)> {
    prop_oneof![(1..=u16::MAX).prop_map(|alias| (alias, Vec::new())), word().prop_map(|w| (0, w))]
}

fn as_named((alias, subject): &(u16, Vec<u8>)) -> Named<'_> {
    if *alias == 0 { Named::Full(subject) } else { Named::Alias(*alias) }
}

fn text() -> impl Strategy<Value = String> {
    "[ -~à-ö]{0,30}"
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..300)
}

fn fields() -> impl Strategy<Value = Vec<(String, String)>> {
    prop::collection::vec(("[a-z_]{1,10}", "[ a-z0-9,=.-]{0,10}"), 0..4)
}

#[track_caller]
fn client_round_trip(frame: &ClientFrame<'_>) {
    let mut bytes = Vec::new();
    encode_client(&mut bytes, frame);
    let decoded = ClientDecoder::new(Limits::default()).decode(&bytes);
    assert_eq!(decoded, Ok(Decoded::Frame { frame: frame.clone(), consumed: bytes.len() }));
    Side::BinaryClient.assert_split_independent(Limits::default(), &bytes, &mut Random(1));
}

#[track_caller]
fn server_round_trip(frame: &ServerFrame<'_>) {
    let mut bytes = Vec::new();
    encode_server(&mut bytes, frame);
    let decoded = ServerDecoder::new(Limits::default()).decode(&bytes);
    assert_eq!(decoded, Ok(Decoded::Frame { frame: frame.clone(), consumed: bytes.len() }));
    Side::BinaryServer.assert_split_independent(Limits::default(), &bytes, &mut Random(1));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..Default::default() })]

    #[test]
    fn a_publish_and_a_message_survive_the_round_trip(
        subject in named(),
        is_of_filter in any::<bool>(),
        sid in any::<u32>(),
        reply in prop::option::of(word()),
        header_share in prop::option::of(0.0..=1.0f64),
        payload in payload(),
    ) {
        let header_bytes = header_share.map(|share| (payload.len() as f64 * share) as usize);
        let header_bytes = header_bytes.filter(|&bytes| bytes > 0);
        let (reply, payload) = (reply.as_deref(), &payload[..]);
        let subject = as_named(&subject);
        client_round_trip(&ClientFrame::Publish(Publish { subject, reply, header_bytes, payload }));
        let subject = (!is_of_filter).then_some(subject);
        server_round_trip(
            &ServerFrame::Message(Message { sid, subject, reply, header_bytes, payload }),
        );
    }

    #[test]
    fn the_other_frames_survive_the_round_trip(
        filter in word(),
        queue in prop::option::of(word()),
        sid in any::<u32>(),
        max in prop::option::of(1..=u64::from(u32::MAX)),
        number in 1..=u16::MAX,
        json in payload(),
        text in text(),
        tag in any::<u32>(),
        code in "[a-z_]{0,16}",
        fields in fields(),
        body in payload(),
    ) {
        use agentcom_protocol::ServerFrame as Common;

        let queue = queue.as_deref();
        client_round_trip(&ClientFrame::Subscribe { sid, queue, filter: &filter });
        client_round_trip(&ClientFrame::Unsubscribe { sid, max });
        client_round_trip(&ClientFrame::Alias { number, subject: &filter });
        client_round_trip(&ClientFrame::Connect(&json));
        client_round_trip(&ClientFrame::Ping);
        client_round_trip(&ClientFrame::Pong);
        let fields: Vec<(&str, &str)> =
            fields.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        for frame in [
            ServerFrame::Granted { tag, fields: fields.clone(), body: &body },
            ServerFrame::Declined { tag, code: &code, sentence: &text },
            ServerFrame::Common(Common::Info(&json)),
            ServerFrame::Common(Common::Error(&text)),
            ServerFrame::Common(Common::Ping),
            ServerFrame::Common(Common::Pong),
            ServerFrame::Common(Common::Ok),
            ServerFrame::Common(Common::Replaced),
            ServerFrame::Common(Common::Revoked {
                task: u64::from(tag),
                generation: u64::MAX,
                fields: fields.clone(),
            }),
            ServerFrame::Common(Common::Offer { task: 1, generation: 2, fields, body: &body }),
        ] {
            server_round_trip(&frame);
        }
    }

    /// Whatever row of the table: nothing here knows one.
    #[test]
    fn a_request_survives_the_round_trip(
        at in 0..Verb::all().count(),
        tag in any::<u32>(),
        argument in text(),
        values in prop::collection::vec(text(), 0..6),
        body in payload(),
    ) {
        let verb = Verb::all().nth(at).expect("a verb");
        let arguments = vec![argument.as_str(); verb.arguments().len()];
        let keys = verb.options().iter().cycle();
        let options = match verb.options() {
            [] => Vec::new(),
            _ => keys.zip(&values).map(|(&key, value)| (key, value.as_str())).collect(),
        };
        let body = if verb.body() == Body::Sized { &body[..] } else { &[] };
        client_round_trip(&ClientFrame::Request(Request { verb, tag, arguments, options, body }));
    }
}

#[test]
fn what_is_worded_as_a_line_is_said_as_a_frame() {
    for (line, expected) in [
        ("OK 7 task=17\r\n", "Granted { tag: 7, fields: [(\"task\", \"17\")], body: [] }"),
        ("OK 7 2\r\nhi\r\n", "Granted { tag: 7, fields: [], body: [104, 105] }"),
        (
            "ERR 7 busy 'later on'\r\n",
            "Declined { tag: 7, code: \"busy\", sentence: \"later on\" }",
        ),
        (
            "MSG a 9 b 2\r\nhi\r\n",
            "Message(Message { sid: 9, subject: Some(Full([97])), reply: Some([98]), \
             header_bytes: None, payload: [104, 105] })",
        ),
        ("REVOKED 1 2 state=ready\r\n", "Common(Revoked { task: 1, generation: 2, "),
    ] {
        let text = agentcom_protocol::ServerDecoder::new(Limits::default());
        let Ok(Decoded::Frame { frame, .. }) = text.decode(line.as_bytes()) else {
            panic!("{line} is a frame");
        };
        let mut bytes = Vec::new();
        encode::translated(&mut bytes, &frame).expect("a number");
        let outcome = Side::BinaryServer.whole(Limits::default(), &bytes);
        assert!(outcome.frames[0].starts_with(expected), "{}", outcome.frames[0]);
    }
    let word = agentcom_protocol::ServerFrame::Granted { tag: "x", fields: Vec::new(), body: b"" };
    assert_eq!(encode::translated(&mut Vec::new(), &word), Err(encode::NoNumber));
}

/// The text with its `=> ` lines as the decoders see it, each frame for itself.
fn annotated(text: &str) -> String {
    let mut found = String::new();
    for line in text.lines().filter(|line| !line.starts_with("=> ")) {
        found.push_str(line);
        found.push('\n');
        let Some((side, bytes)) = vector(line) else { continue };
        let described = match side {
            Side::BinaryClient => {
                described(ClientDecoder::new(Limits::default()).decode(&bytes), client_frame)
            }
            _ => described(ServerDecoder::new(Limits::default()).decode(&bytes), server_frame),
        };
        found.push_str(&format!("=> {described}\n"));
    }
    found
}

fn described<F>(
    decoded: Result<Decoded<F>, DecodeError>,
    describe: impl Fn(&F) -> String,
) -> String {
    match decoded {
        Ok(Decoded::Frame { frame, .. }) => describe(&frame),
        Ok(Decoded::Incomplete { needed }) => format!("incomplete: {needed} bytes are needed"),
        Err(error) => format!("error: {error}"),
    }
}

fn client_frame(frame: &ClientFrame<'_>) -> String {
    match frame {
        ClientFrame::Connect(json) => format!("Connect {}", escaped(json)),
        ClientFrame::Publish(Publish { subject, reply, header_bytes, payload }) => {
            format!("Publish {}{}", name(*subject), message(*reply, *header_bytes, payload))
        }
        ClientFrame::Subscribe { sid, queue, filter } => {
            let queue = queue.map(|queue| format!(" queue={}", escaped(queue)));
            let filter = escaped(filter);
            format!("Subscribe sid={sid}{} filter={filter}", queue.unwrap_or_default())
        }
        ClientFrame::Unsubscribe { sid, max } => {
            let max = max.map_or_else(|| "now".to_owned(), |max| format!("max={max}"));
            format!("Unsubscribe sid={sid} {max}")
        }
        ClientFrame::Alias { number, subject } => {
            format!("Alias number={number} subject={}", escaped(subject))
        }
        ClientFrame::Request(request) => {
            let mut text = format!("Request {} tag={}", request.verb.name(), request.tag);
            for (name, value) in request.verb.arguments().iter().zip(&request.arguments) {
                text.push_str(&format!(" {name}={value:?}"));
            }
            for (key, value) in &request.options {
                text.push_str(&format!(" {key}={value:?}"));
            }
            format!("{text} body=\"{}\"", escaped(request.body))
        }
        ClientFrame::Mistyped { tag, mistake } => {
            format!("Mistyped tag={tag} code={} {mistake}", mistake.code())
        }
        other => format!("{other:?}"),
    }
}

fn server_frame(frame: &ServerFrame<'_>) -> String {
    use agentcom_protocol::ServerFrame as Common;
    match frame {
        ServerFrame::Message(Message { sid, subject, reply, header_bytes, payload }) => {
            let subject = subject.map_or_else(|| "subject=filter".to_owned(), name);
            format!("Message sid={sid} {subject}{}", message(*reply, *header_bytes, payload))
        }
        ServerFrame::Granted { tag, fields, body } => {
            format!("Granted tag={tag}{} body=\"{}\"", pairs(fields), escaped(body))
        }
        ServerFrame::Declined { tag, code, sentence } => {
            format!("Declined tag={tag} code={code} sentence={sentence:?}")
        }
        ServerFrame::Common(Common::Info(json)) => format!("Info {}", escaped(json)),
        ServerFrame::Common(Common::Offer { task, generation, fields, body }) => {
            let (fields, body) = (pairs(fields), escaped(body));
            format!("Offer task={task} generation={generation}{fields} body=\"{body}\"")
        }
        ServerFrame::Common(Common::Revoked { task, generation, fields }) => {
            format!("Revoked task={task} generation={generation}{}", pairs(fields))
        }
        ServerFrame::Common(other) => format!("{other:?}"),
    }
}

fn name(named: Named<'_>) -> String {
    match named {
        Named::Alias(number) => format!("alias={number}"),
        Named::Full(subject) => format!("subject={}", escaped(subject)),
    }
}

fn message(reply: Option<&[u8]>, header_bytes: Option<usize>, payload: &[u8]) -> String {
    let reply = reply.map(|reply| format!(" reply={}", escaped(reply)));
    let header = header_bytes.map(|bytes| format!(" header=\"{}\"", escaped(&payload[..bytes])));
    let body = escaped(&payload[header_bytes.unwrap_or_default()..]);
    format!("{}{} body=\"{body}\"", reply.unwrap_or_default(), header.unwrap_or_default())
}

fn pairs(fields: &[(&str, &str)]) -> String {
    fields.iter().map(|(key, value)| format!(" {key}={value}")).collect()
}

fn escaped(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string().replace("\\\"", "\"")
}

/// The frames of all vectors.
fn vectors() -> Vec<(Side, Vec<u8>)> {
    let text = |path| fs::read_to_string(path).expect("a vector");
    let lines: Vec<String> = files().into_iter().map(text).collect();
    lines.iter().flat_map(|text| text.lines()).filter_map(vector).collect()
}

fn vector(line: &str) -> Option<(Side, Vec<u8>)> {
    let side = match line.get(..3)? {
        "C: " => Side::BinaryClient,
        "S: " => Side::BinaryServer,
        _ => return None,
    };
    let byte = |digits| u8::from_str_radix(digits, 16).expect("two hexadecimal digits");
    Some((side, line[3..].split_whitespace().map(byte).collect()))
}

fn hex(bytes: &[u8]) -> String {
    let bytes: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    bytes.join(" ")
}

fn head(kind: u8, count: u8, number: u16, length: u32) -> Vec<u8> {
    let [low, high] = number.to_le_bytes();
    let mut head = vec![kind, count, low, high];
    head.extend(length.to_le_bytes());
    head
}

fn publish(subject: Named<'_>, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let publish = Publish { subject, reply: None, header_bytes: None, payload };
    encode::publish(&mut bytes, &publish);
    bytes
}

/// Head and sizes of a PUB.
fn publish_start(alias: u16, length: u32, subject: u32, reply: u32, header: u32) -> Vec<u8> {
    let mut start = head(0x12, 0, alias, length);
    start.extend(subject.to_le_bytes());
    start.extend(reply.to_le_bytes());
    start.extend(header.to_le_bytes());
    start
}

/// Head and fixed part of a REQUEST.
fn request(length: u32, body: u32) -> Vec<u8> {
    let mut start = head(0x16, 1, 0, length);
    start.extend([0; 8]);
    start.extend(body.to_le_bytes());
    start
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn folder() -> PathBuf {
    root().join("vectors")
}

fn files() -> Vec<PathBuf> {
    let entries = fs::read_dir(folder()).expect("the folder of the vectors");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

#[test]
fn the_framing_has_the_name_that_the_document_gives_it() {
    let document = fs::read_to_string(root().join("../docs/protocol.md")).expect("the document");
    assert!(document.contains(&format!("`{}`", binary::NAME)));
}
