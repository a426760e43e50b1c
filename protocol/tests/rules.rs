//! The rules of `docs/protocol.md` that the decoders decide, one table each, both sides of every
//! edge. Each row is also fed in pieces: how bytes are split over reads changes nothing.

use agentcom_protocol::{ClientDecoder, ClientFrame, DecodeError, Decoded, Limits};
use support::{End, Random, Side};

mod support;

const UNKNOWN: DecodeError = DecodeError::UnknownOperation;

fn too_large(bytes: usize) -> DecodeError {
    DecodeError::PayloadTooLarge { bytes, bytes_max: Limits::default().payload_bytes_max }
}

fn too_long(bytes_max: usize) -> DecodeError {
    DecodeError::ControlLineTooLong { bytes: bytes_max + 1, bytes_max }
}

/// `input` is frames and nothing else; their descriptions are the debug form of the frame with
/// byte strings as text, and hold `expected`.
#[track_caller]
fn accepted(side: Side, input: &[u8], expected: &[&str]) {
    let outcome =
        side.assert_split_independent(Limits::default(), input, &mut Random(0x9e37_79b9_7f4a_7c15));
    let input = input.escape_ascii();
    assert_eq!(outcome.end, End::Left(0), "{side:?} {input}");
    assert_eq!(outcome.frames.len(), expected.len(), "{side:?} {input}: {:?}", outcome.frames);
    for (frame, expected) in outcome.frames.iter().zip(expected) {
        let frame = readable(frame);
        assert!(frame.contains(expected), "{side:?} {input}: {frame}, not {expected}");
    }
}

#[track_caller]
fn refused(side: Side, limits: Limits, input: &[u8], error: &DecodeError) {
    let outcome = side.assert_split_independent(limits, input, &mut Random(0x9e37_79b9_7f4a_7c15));
    let input = String::from_utf8_lossy(&input[..input.len().min(60)]).into_owned();
    assert_eq!(outcome.end, End::Error(error.clone()), "{side:?} {input:?}");
    assert_eq!(outcome.frames, Vec::<String>::new(), "{side:?} {input:?}");
}

#[track_caller]
fn unfinished(side: Side, limits: Limits, input: &[u8]) {
    let outcome = side.assert_split_independent(limits, input, &mut Random(0x9e37_79b9_7f4a_7c15));
    let text = String::from_utf8_lossy(&input[..input.len().min(60)]).into_owned();
    assert_eq!(outcome.end, End::Left(input.len()), "{side:?} {text:?}");
}

/// `[104, 105]` becomes `hi`: the debug form of a byte slice is a list of numbers.
fn readable(frame: &str) -> String {
    let mut text = String::new();
    let mut rest = frame;
    while let Some((before, behind)) = rest.split_once('[') {
        let (list, behind) = behind.split_once(']').expect("the end of a list");
        text.push_str(before);
        let bytes: Option<Vec<u8>> = list.split(", ").map(|byte| byte.parse().ok()).collect();
        match bytes {
            Some(bytes) => text.push_str(&bytes.escape_ascii().to_string()),
            None if list.is_empty() => text.push_str("nothing"),
            None => text.push_str(list),
        }
        rest = behind;
    }
    text.push_str(rest);
    text
}

#[test]
fn verbs_are_taken_in_any_case_and_blanks_in_any_number() {
    let publish = "Publish { subject: a, reply: None, header_bytes: None, payload: hi }";
    let with_reply = "Publish { subject: a, reply: Some(b), header_bytes: None, payload: hi }";
    for (line, expected) in [
        ("PUB a 2\r\nhi\r\n", publish),
        ("pub a 2\r\nhi\r\n", publish),
        ("pUb a 2\r\nhi\r\n", publish),
        ("PUB\ta\t2\r\nhi\r\n", publish),
        ("PUB   a \t 2\r\nhi\r\n", publish),
        ("PUB a 2 \r\nhi\r\n", publish),
        ("PUB a 2\t \r\nhi\r\n", publish),
        ("PUB a 2\nhi\r\n", publish),
        ("PUB a 000000002\r\nhi\r\n", publish),
        ("PUB a b 2\r\nhi\r\n", with_reply),
        ("PUB a\t\tb  2 \nhi\r\n", with_reply),
        ("PUB a 0\r\n\r\n", "payload: nothing }"),
        ("PUB 0 0 0\r\n\r\n", "subject: 0, reply: Some(0), header_bytes: None, payload: nothing"),
        ("PUB abcdefghi jklmnopqrstuvwxyz 2\r\nhi\r\n", "subject: abcdefghi, reply: Some(jklmnop"),
        (
            "HPUB a 12 14\r\nNATS/1.0\r\n\r\nhi\r\n",
            "reply: None, header_bytes: Some(12), payload: NATS",
        ),
        ("hpub a b 12 14 \nNATS/1.0\r\n\r\nhi\r\n", "reply: Some(b), header_bytes: Some(12)"),
        ("HPUB a 0 1\r\nx\r\n", "header_bytes: Some(0), payload: x"),
        ("HPUB a 0 0\r\n\r\n", "header_bytes: Some(0), payload: nothing"),
        ("HPUB a 5 7\r\nHELLOhi\r\n", "header_bytes: Some(5), payload: HELLOhi"),
        ("HPUB a 2 2\r\nhi\r\n", "header_bytes: Some(2), payload: hi"),
        ("HPUB a 9 2 2\r\nhi\r\n", "reply: Some(9), header_bytes: Some(2), payload: hi"),
        ("SUB a 1\r\n", "Subscribe { filter: a, queue: None, sid: 1 }"),
        ("sub\ta \tq\t xyz-9 \n", "Subscribe { filter: a, queue: Some(q), sid: xyz-9 }"),
        ("UNSUB 1\r\n", "Unsubscribe { sid: 1, max: None }"),
        ("unsub 1 5\r\n", "Unsubscribe { sid: 1, max: Some(5) }"),
        ("UNSUB\t1  0 \r\n", "Unsubscribe { sid: 1, max: Some(0) }"),
        ("UNSUB 1 999999999\r\n", "max: Some(999999999)"),
        ("UNSUB 1 1000000000\r\n", "max: None"),
        ("UNSUB 1 x\r\n", "max: None"),
        ("UNSUB 1 -1\r\n", "max: None"),
        ("UNSUB 1 5x\r\n", "max: None"),
        ("PING\r\n", "Ping"),
        ("ping\n", "Ping"),
        ("PINGX\r\n", "Ping"),
        ("PING foo\r\n", "Ping"),
        ("PONG\r\n", "Pong"),
        ("pongfoo bar\r\n", "Pong"),
        ("+OK\r\n", "Ignored"),
        ("+ok whatever\r\n", "Ignored"),
        ("INFO {}\r\n", "Ignored"),
        ("info{}\r\n", "Ignored"),
        ("-ERR 'oh'\r\n", "Error"),
        ("-err\t\r\n", "Error"),
        ("CONNECT {}\r\n", "Connect({})"),
        ("CONNECT{}\r\n", "Connect({})"),
        ("connect \t {\"a\": 1} \t\n", "Connect({\\\"a\\\": 1})"),
        ("HELP\r\n", "Help(\"\")"),
        ("help\n", "Help(\"\")"),
        ("HELP \t task submit \r\n", "Help(\"task submit\")"),
        ("QUIT\r\n", "Quit"),
        ("quit now\r\n", "Quit"),
    ] {
        accepted(Side::Client, line.as_bytes(), &[expected]);
    }
}

#[test]
fn a_payload_may_look_like_the_protocol() {
    accepted(
        Side::Client,
        b"PUB a 18\r\n\r\nPUB a 2\r\nhi\r\n\0\r\n\r\nPING\r\n",
        &["payload: \\r\\nPUB a 2\\r\\nhi\\r\\n\\x00\\r\\n }", "Ping"],
    );
}

#[test]
fn a_line_of_no_verb_is_an_unknown_operation() {
    for line in [
        "\r\n",
        "\n",
        "\rPING\r\n",
        " PING\r\n",
        "\tPING\r\n",
        "\0\r\n",
        "1\r\n",
        "\u{e9}\r\n",
        "PUB\r\n",
        "PUBX a 2\r\n",
        "PUB\0a 2\r\n",
        "HPUB\r\n",
        "HPUBX\r\n",
        "SUB\r\n",
        "SUBX a 1\r\n",
        "UNSUB\r\n",
        "UNSUBX\r\n",
        "PIN\r\n",
        "PIN G\r\n",
        "PON\r\n",
        "P\r\n",
        "H\r\n",
        "HE\r\n",
        "HEL\r\n",
        "HELPME\r\n",
        "HELLO\r\n",
        "S\r\n",
        "U\r\n",
        "C\r\n",
        "CONNEC {}\r\n",
        "CABBAGE a 1\r\n",
        "INF {}\r\n",
        "+\r\n",
        "+O\r\n",
        "+NO\r\n",
        "-\r\n",
        "-ERR\r\n",
        "-ERRX\r\n",
        "-OK\r\n",
        "MSG a 1 2\r\nhi\r\n",
        "HMSG a 1 2 2\r\n",
        "RS+ a\r\n",
        "LS+ a\r\n",
        "A+ a\r\n",
        "?\r\n",
    ] {
        refused(Side::Client, Limits::default(), line.as_bytes(), &UNKNOWN);
    }
}

#[test]
fn a_line_of_no_verb_is_refused_before_its_end() {
    for (hopeful, hopeless) in [
        ("", "L"),
        ("M", "MSG"),
        ("MESSAGE", "MESSAGES"),
        ("CH", "CHANGE"),
        ("CONFI", "CONFX"),
        ("PRES", "PREX"),
        ("PUB", "PUBX"),
        ("PUB ", "PUC"),
        ("HPUB", "HPUBL"),
        ("HELP", "HELPM"),
        ("HE", "HX"),
        ("HELP\r", "HELP\rX"),
        ("SUB\t", "SUBS"),
        ("UNSUB", "UNSUB1"),
        ("P", "PA"),
        ("PINGX", "PINK"),
        ("PONG!", "PONK"),
        ("+OKX", "+OX"),
        ("-ERR", "-ERRX"),
        ("CON", "COM"),
        ("connectx", "connekt"),
        ("INFO", "INFA"),
        ("INFOx", "INSO"),
        ("TASK", " TASK"),
        ("D", "R"),
        ("pub a 5", "\npub"),
        ("FROB 1", "LS+"),
        ("HPUB\t", "HP+"),
    ] {
        unfinished(Side::Client, Limits::default(), hopeful.as_bytes());
        refused(Side::Client, Limits::default(), hopeless.as_bytes(), &UNKNOWN);
    }
}

#[test]
fn wrong_arguments_of_a_nats_verb_close_without_a_word() {
    for (verb, line) in [
        ("PUB", "PUB \r\n"),
        ("PUB", "PUB \t\n"),
        ("PUB", "PUB a\r\n"),
        ("PUB", "PUB a \r\n"),
        ("PUB", "PUB a b c 2\r\nhi\r\n"),
        ("PUB", "PUB a b\r\n"),
        ("PUB", "PUB a 2 x\r\n"),
        ("PUB", "PUB a 2\r\r\n"),
        ("HPUB", "HPUB \r\n"),
        ("HPUB", "HPUB a\r\n"),
        ("HPUB", "HPUB a 2\r\nhi\r\n"),
        ("HPUB", "HPUB a b c 1 2\r\nhi\r\n"),
        ("HPUB", "HPUB a 3 2\r\nhi\r\n"),
        ("HPUB", "HPUB a b 3 2\r\nhi\r\n"),
        ("HPUB", "HPUB a -1 2\r\nhi\r\n"),
        ("HPUB", "HPUB a 1 x\r\n"),
        ("HPUB", "HPUB a b 1\r\n"),
        ("SUB", "SUB \r\n"),
        ("SUB", "SUB a\r\n"),
        ("SUB", "SUB a b c d\r\n"),
        ("UNSUB", "UNSUB \r\n"),
        ("UNSUB", "UNSUB 1 2 3\r\n"),
        ("CONNECT", "CONNECT\r\n"),
        ("CONNECT", "CONNECT \r\n"),
        ("CONNECT", "CONNECT []\r\n"),
        ("CONNECT", "CONNECTX\r\n"),
        ("INFO", "INFO\r\n"),
        ("INFO", "INFO x\r\n"),
        ("INFO", "INFOX\r\n"),
    ] {
        let error = DecodeError::Arguments { verb };
        assert_eq!(error.wire_text(), None);
        refused(Side::Client, Limits::default(), line.as_bytes(), &error);
    }
}

/// Threat T5: sizes that overflow, change sign or are not decimal.
#[test]
fn a_size_is_one_to_nine_decimal_digits_within_the_payload_limit() {
    let max = Limits::default().payload_bytes_max;
    for size in ["0", "1", "00", "000000000", "000000001", "1048576", "001048576"] {
        let value: usize = size.parse().expect("a number");
        let payload = "x".repeat(value);
        for line in [
            format!("PUB a {size}\r\n{payload}\r\n"),
            format!("HPUB a 0 {size}\r\n{payload}\r\n"),
            format!("HPUB a {size} {size}\r\n{payload}\r\n"),
            format!("TASK SUBMIT 1 q {size}\r\n{payload}\r\n"),
        ] {
            let decoded = Side::Client.whole(Limits::default(), line.as_bytes());
            assert_eq!((decoded.frames.len(), decoded.end), (1, End::Left(0)), "{size}");
        }
    }
    for size in ["1048577", "001048577", "999999999"] {
        let error = too_large(size.parse().expect("a number"));
        for line in [
            format!("PUB a {size}\r\n"),
            format!("PUB a b {size}\r\n"),
            format!("HPUB a 1 {size}\r\n"),
            format!("HPUB a {size} {size}\r\n"),
            format!("TASK SUBMIT 1 q {size}\r\n"),
            format!("TASK SUBMIT 1 q color=red {size}\r\n"),
            format!("TASK COMPLETE 1 1 1 {size}\r\n"),
        ] {
            refused(Side::Client, Limits::default(), line.as_bytes(), &error);
        }
        let line = format!("MSG a 1 {size}\r\n");
        refused(Side::Server, Limits::default(), line.as_bytes(), &error);
        let line = format!("OFFER 1 1 {size}\r\n");
        refused(Side::Server, Limits::default(), line.as_bytes(), &error);
    }
    assert_eq!(max, 1_048_576);
    for size in [
        "0000000002",
        "1000000000",
        "2147483648",
        "4294967295",
        "4294967296",
        "4294967298",
        "9223372036854775808",
        "18446744073709551615",
        "18446744073709551616",
        "18446744073709551618",
        "-0",
        "-1",
        "-2147483648",
        "+2",
        "0x2",
        "2h",
        "2.0",
        "2e0",
        "1_0",
        "1,0",
        "two",
        "\u{662}",
        "\u{ff12}",
        "2\0",
        "2;",
        "NaN",
    ] {
        for line in [format!("PUB a {size}\r\nhi\r\n"), format!("PUB a b {size}\r\nhi\r\n")] {
            let error = DecodeError::Arguments { verb: "PUB" };
            refused(Side::Client, Limits::default(), line.as_bytes(), &error);
        }
        for line in [
            format!("HPUB a {size} 2\r\nhi\r\n"),
            format!("HPUB a 0 {size}\r\nhi\r\n"),
            format!("HPUB a {size} {size}\r\nhi\r\n"),
        ] {
            let error = DecodeError::Arguments { verb: "HPUB" };
            refused(Side::Client, Limits::default(), line.as_bytes(), &error);
        }
        let line = format!("MSG a 1 {size}\r\nhi\r\n");
        let error = DecodeError::Arguments { verb: "MSG" };
        refused(Side::Server, Limits::default(), line.as_bytes(), &error);
        let line = format!("HMSG a 1 0 {size}\r\nhi\r\n");
        let error = DecodeError::Arguments { verb: "HMSG" };
        refused(Side::Server, Limits::default(), line.as_bytes(), &error);
        for (verb, line) in [
            ("OK", format!("OK 1 {size}\r\nhi\r\n")),
            ("OFFER", format!("OFFER 1 1 {size}\r\nhi\r\n")),
        ] {
            let error = DecodeError::Arguments { verb };
            refused(Side::Server, Limits::default(), line.as_bytes(), &error);
        }
    }
}

#[test]
fn a_payload_is_followed_by_exactly_cr_lf() {
    for input in [
        "PUB a 2\r\nhix\r\n",
        "PUB a 2\r\nhi\nPING\r\n",
        "PUB a 2\r\nhi\rx",
        "PUB a 2\r\nhi\r\r\n",
        "PUB a 0\r\nx",
        "PUB a 0\r\n\n",
        "HPUB a 0 2\r\nhi \r\n",
        "TASK SUBMIT 1 q 2\r\nhix\r\n",
        "TASK SUBMIT 1 q color=red 0\r\nx",
    ] {
        refused(Side::Client, Limits::default(), input.as_bytes(), &UNKNOWN);
    }
    for input in ["PUB a 2\r\nh", "PUB a 2\r\nhi", "PUB a 2\r\nhi\r", "TASK SUBMIT 1 q 2\r\nhi\r"] {
        unfinished(Side::Client, Limits::default(), input.as_bytes());
    }
    refused(Side::Server, Limits::default(), b"MSG a 1 2\r\nhix\r\n", &UNKNOWN);
    refused(Side::Server, Limits::default(), b"OK 1 2\r\nhix\r\n", &UNKNOWN);
    refused(Side::Server, Limits::default(), b"OFFER 1 1 0\r\nx", &UNKNOWN);
}

/// The limit counts what stands behind the verb and one blank; a line end does not count.
#[test]
fn a_control_line_may_be_as_long_as_the_limit_and_no_longer() {
    for bytes_max in [16, 4096] {
        let limits = Limits { control_line_bytes_max: bytes_max, ..Limits::default() };
        let fill = |front: &str, back: &str, arguments: usize| {
            format!("{front}{}{back}", "x".repeat(arguments - back.len()))
        };
        for (front, back) in [
            ("PUB ", " 0"),
            ("pub\t", "  0"),
            ("HPUB ", " 0 0"),
            ("SUB ", " 1"),
            ("UNSUB ", " 1"),
            ("CONNECT {", "}"),
            ("INFO {", "}"),
            ("PING ", ""),
            ("PINGx", ""),
            ("PONG ", ""),
            ("+OK ", ""),
            ("-ERR ", ""),
            ("PUB  ", " 0"),
            ("SUB \t ", " 1 "),
        ] {
            // Blanks and a brace that stand behind the verb and its first blank count.
            let verb = front.trim_end_matches([' ', '\t', '{', 'x']);
            let arguments = bytes_max - (front.len() - verb.len() - 1);
            let payload =
                if verb.eq_ignore_ascii_case("PUB") || verb == "HPUB" { "\r\n" } else { "" };
            for end in ["\r\n", "\n"] {
                let inside = fill(front, back, arguments) + end + payload;
                let outcome = Side::Client.assert_split_independent(
                    limits,
                    inside.as_bytes(),
                    &mut Random(7),
                );
                assert_eq!((outcome.frames.len(), outcome.end), (1, End::Left(0)), "{front:?}");
                let outside = fill(front, back, arguments + 1) + end + payload;
                refused(Side::Client, limits, outside.as_bytes(), &too_long(bytes_max));
            }
            let growing = fill(front, back, arguments);
            unfinished(Side::Client, limits, growing.as_bytes());
            unfinished(Side::Client, limits, (growing.clone() + "\r").as_bytes());
            refused(Side::Client, limits, (growing.clone() + "x").as_bytes(), &too_long(bytes_max));
            refused(Side::Client, limits, (growing + "\r\r").as_bytes(), &too_long(bytes_max));
        }
        for verb in ["HELP ", "TASK SHOW 1 ", "QUIT ", "Z"] {
            let inside = format!("{verb:x<bytes_max$}\r\n");
            let outcome =
                Side::Client.assert_split_independent(limits, inside.as_bytes(), &mut Random(7));
            assert_eq!((outcome.frames.len(), outcome.end), (1, End::Left(0)), "{verb:?}");
            let outside = format!("{verb:x<width$}\r\n", width = bytes_max + 1);
            refused(Side::Client, limits, outside.as_bytes(), &too_long(bytes_max));
            refused(Side::Client, limits, outside.trim_end().as_bytes(), &too_long(bytes_max));
        }
    }
}

#[test]
fn blanks_without_end_are_no_way_around_the_line_limit() {
    for verb in ["PUB", "SUB", "CONNECT", "PING", "TASK", "HELP"] {
        let line = format!("{verb}{}", " \t".repeat(4096));
        refused(Side::Client, Limits::default(), line.as_bytes(), &too_long(4096));
    }
}

#[test]
fn the_lines_of_a_broker_have_four_times_the_limit() {
    let limits = Limits { control_line_bytes_max: 16, ..Limits::default() };
    for (front, back) in
        [("INFO {", "}"), ("MSG ", " 1 0"), ("-ERR ", ""), ("OK 1 a=", ""), ("PING", "")]
    {
        let line = |bytes: usize| {
            let x = "x".repeat(bytes - front.len() - back.len());
            let body = if front == "MSG " { "\r\n" } else { "" };
            format!("{front}{x}{back}\r\n{body}").into_bytes()
        };
        let outcome = Side::Server.assert_split_independent(limits, &line(64), &mut Random(7));
        assert_eq!((outcome.frames.len(), outcome.end), (1, End::Left(0)), "{front:?}");
        refused(Side::Server, limits, &line(65), &too_long(64));
    }
    unfinished(Side::Server, limits, &[b'x'; 64]);
    refused(Side::Server, limits, &[b'x'; 65], &too_long(64));
}

#[test]
fn what_brokers_send_is_understood() {
    for (input, expected) in [
        ("INFO {\"a\":1} \r\n", "Info({\\\"a\\\":1})"),
        ("info {}\n", "Info({})"),
        ("MSG a 1 2\r\nhi\r\n", "subject: a, sid: 1, reply: None, header_bytes: None, payload: hi"),
        ("msg a x b 2\nhi\r\n", "sid: x, reply: Some(b), header_bytes: None, payload: hi"),
        ("MSG a 1 0\r\n\r\n", "payload: nothing"),
        ("HMSG a 1 2 4\r\nxxhi\r\n", "reply: None, header_bytes: Some(2), payload: xxhi"),
        ("HMSG a 1 b 2 4\r\nxxhi\r\n", "reply: Some(b), header_bytes: Some(2)"),
        ("PING\r\n", "Ping"),
        ("PONG\r\n", "Pong"),
        ("+OK\r\n", "Ok"),
        ("-ERR 'Stale Connection'\r\n", "Error(\"Stale Connection\")"),
        ("-ERR 'it's' \r\n", "Error(\"it's\")"),
        ("-ERR unquoted\r\n", "Error(\"unquoted\")"),
        ("-ERR\r\n", "Error(\"\")"),
        ("-ERR \u{e9}\r\n", "Error(\"\u{e9}\")"),
        ("OK 1\r\n", "Granted { tag: \"1\", fields: nothing, body: nothing }"),
        ("OK 1 \r\n", "Granted { tag: \"1\", fields: nothing, body: nothing }"),
        ("OK 1 a=b c=\r\n", "fields: (\"a\", \"b\"), (\"c\", \"\"), body: nothing"),
        ("OK 1 2\r\nhi\r\n", "fields: nothing, body: hi"),
        ("OK 1 0\r\n\r\n", "fields: nothing, body: nothing"),
        ("OK 5 a=7 2\r\nhi\r\n", "fields: (\"a\", \"7\"), body: hi"),
        ("ERR 1 busy 'later'\r\n", "Declined { tag: \"1\", code: \"busy\", sentence: \"later\" }"),
        ("ERR  -  busy  'it's late' \r\n", "tag: \"-\", code: \"busy\", sentence: \"it's late\""),
        ("ERR 1 busy\r\n", "code: \"busy\", sentence: \"\""),
        (
            "OFFER 17 2 queue=q 2\r\nhi\r\n",
            "Offer { task: 17, generation: 2, fields: (\"queue\", \"q\"), body: hi",
        ),
        (
            "OFFER 18446744073709551615 0 0\r\n\r\n",
            "Offer { task: 18446744073709551615, generation: 0",
        ),
        (
            "REVOKED 17 2 state=ready\r\n",
            "Revoked { task: 17, generation: 2, fields: (\"state\", \"ready\") }",
        ),
        ("REVOKED 17 2\r\n", "Revoked { task: 17, generation: 2, fields: nothing }"),
        ("REPLACED\r\n", "Replaced"),
        ("ITEM t 17 2 queue=q 2\r\nhi\r\n", "Item { tag: \"t\", task: 17, generation: 2"),
        ("CANCEL 17 2 grace_ms=5 2\r\nhi\r\n", "Cancel { task: 17, generation: 2"),
        ("ANSWERED 17 2 2\r\n[]\r\n", "Answered { task: 17, generation: 2"),
        ("EVENT 17 seq=1 0\r\n\r\n", "Event { task: 17, fields: (\"seq\", \"1\"), body: nothing"),
    ] {
        accepted(Side::Server, input.as_bytes(), &[expected]);
    }
}

#[test]
fn what_no_broker_sends_is_an_error() {
    for line in [
        "\r\n",
        "OK\r\n",
        "ERR\r\n",
        "OFFER\r\n",
        "REVOKED\r\n",
        "ITEM\r\n",
        "CANCEL\r\n",
        "ANSWERED\r\n",
        "EVENT\r\n",
        "REPLACEDX\r\n",
        "PUB a 0\r\n",
        "# help\r\n",
    ] {
        refused(Side::Server, Limits::default(), line.as_bytes(), &UNKNOWN);
    }
    for (verb, line) in [
        ("OK", "OK \r\n"),
        ("OK", "OK 1 surprise\r\n"),
        ("OK", "OK 1 2 a=b\r\n"),
        ("ERR", "ERR 1\r\n"),
        ("OFFER", "OFFER 1\r\n"),
        ("OFFER", "OFFER 1 1\r\n"),
        ("OFFER", "OFFER 1 x 0\r\n"),
        ("OFFER", "OFFER +1 1 0\r\n"),
        ("OFFER", "OFFER 18446744073709551616 1 0\r\n"),
        ("REVOKED", "REVOKED 1\r\n"),
        ("REVOKED", "REVOKED 1 x\r\n"),
        ("REVOKED", "REVOKED 1 1 5\r\n"),
        ("MSG", "MSG a 1\r\n"),
        ("MSG", "MSG a 1 b c 0\r\n"),
        ("HMSG", "HMSG a 1 0\r\n"),
        ("HMSG", "HMSG a 1 3 2\r\nhi\r\n"),
        ("INFO", "INFO x\r\n"),
    ] {
        let error = DecodeError::Arguments { verb };
        refused(Side::Server, Limits::default(), line.as_bytes(), &error);
    }
}

/// Each row is a mistake in one of our verbs and its code, then `PING`: the connection lives on,
/// and a body that was announced has been skipped.
#[test]
fn a_mistake_in_our_own_verbs_keeps_the_connection_and_the_boundary() {
    for (input, tag, code, sentence) in [
        ("FROB\r\n", "-", "unknown_verb", "unknown verb FROB; HELP lists the verbs"),
        ("GET / HTTP/1.1\r\n", "-", "unknown_verb", "unknown verb GET"),
        ("TASK\r\n", "-", "unknown_verb", "found nothing"),
        ("task frob\r\n", "-", "unknown_verb", "TASK is followed by one of SUBMIT, SHOW"),
        ("WORKER STOP\r\n", "-", "invalid", "tag is missing; usage: WORKER STOP tag"),
        ("TASK SHOW\r\n", "-", "invalid", "tag is missing"),
        ("TASK SHOW 1\r\n", "1", "invalid", "task is missing; usage: TASK SHOW tag task"),
        ("TASK SHOW 1 17 x\r\n", "1", "invalid", "x is one word too many"),
        ("TASK SHOW 1 17 a=b\r\n", "1", "invalid", "there is no option a"),
        ("TASK SUBMIT\r\n", "-", "invalid", "tag is missing"),
        ("TASK SUBMIT 1\r\n", "1", "invalid", "queue is missing"),
        ("TASK SUBMIT 1 q\r\n", "1", "invalid", "size of the body in bytes; found q"),
        ("TASK SUBMIT 1 q x\r\n", "1", "invalid", "found x"),
        ("TASK SUBMIT 1 q 0000000005\r\n", "1", "invalid", "found 0000000005"),
        ("TASK SUBMIT 1 q -5\r\n", "1", "invalid", "found -5"),
        ("TASK SUBMIT 1 5\r\nhello\r\n", "1", "invalid", "queue is missing"),
        ("TASK SUBMIT 1 two words 5\r\nhello\r\n", "1", "invalid", "words is one word too many"),
        ("TASK SUBMIT 1 q color=red 5\r\nhello\r\n", "1", "invalid", "there is no option color"),
        ("TASK SUBMIT 1 q color=red 0\r\n\r\n", "1", "invalid", "there is no option color"),
        ("TASK SUBMIT 1 q\x01 6\r\nPUB a \r\n", "-", "invalid", "not printable text"),
        ("TASK SUBMIT 1 q\r1 6\r\nPUB a \r\n", "-", "invalid", "not printable text"),
        ("TASK SUBMIT 1 q\x01 0\r\n\r\n", "-", "invalid", "not printable text"),
        ("TASK SUBMIT 1 q\u{85} 2\r\nhi\r\n", "-", "invalid", "not printable text"),
        ("TASK SHOW 1 \x7f 5\r\n", "-", "invalid", "not printable text"),
        ("TASK SUBMIT 1 \x01\r\n", "-", "invalid", "not printable text"),
    ] {
        check_mistake(input.as_bytes(), tag, code, sentence);
    }
    check_mistake(b"TASK SUBMIT 1 \xff 2\r\nhi\r\n", "-", "invalid", "not printable text");
    check_mistake(b"Z\xff\r\n", "-", "invalid", "not printable text");
}

#[track_caller]
fn check_mistake(input: &[u8], tag: &str, code: &str, sentence: &str) {
    let input = [input, b"PING\r\n"].concat();
    accepted(Side::Client, &input, &["Mistyped", "Ping"]);
    let decoded = ClientDecoder::new(Limits::default()).decode(&input);
    match decoded {
        Ok(Decoded::Frame { frame: ClientFrame::Mistyped { tag: found, mistake }, .. }) => {
            assert_eq!((found, mistake.code()), (tag, code), "{:?}", input.escape_ascii());
            assert!(mistake.to_string().contains(sentence), "{mistake}, not {sentence}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn requests_are_taken_apart_into_their_words() {
    for (input, expected) in [
        (
            "TASK SUBMIT 1 q 2\r\nhi\r\n",
            "verb: TaskSubmit, tag: \"1\", arguments: \"q\", options: nothing, body: hi",
        ),
        (
            "task\tsubmit  x-1  q  needs=a,b  priority=high 0 \n\r\n",
            "tag: \"x-1\", arguments: \"q\", options: (\"needs\", \"a,b\"), (\"priority\", \"high\"), body: nothing",
        ),
        ("TASK SUBMIT 1 a=b 2\r\nhi\r\n", "arguments: \"a=b\", options: nothing"),
        (
            "TASK SUBMIT 1 q needs= needs=a=b 0\r\n\r\n",
            "options: (\"needs\", \"\"), (\"needs\", \"a=b\")",
        ),
        (
            "TASK FAIL 7 17 1 class=fatal 7\r\nno file\r\n",
            "arguments: \"17\", \"1\", options: (\"class\", \"fatal\"), body: no file",
        ),
        ("TASK SHOW \u{e9} 17\r\n", "tag: \"\u{e9}\", arguments: \"17\""),
        (
            "WORKER STOP 9\r\n",
            "verb: WorkerStop, tag: \"9\", arguments: nothing, options: nothing, body: nothing",
        ),
    ] {
        accepted(Side::Client, input.as_bytes(), &[expected]);
    }
}

#[test]
fn a_payload_on_its_way_is_not_asked_for_again_and_again() {
    let payload = vec![b'x'; 1024 * 1024];
    let line = b"PUB a 1048576\r\n";
    let input = [line, &payload[..], b"\r\n"].concat();
    let (outcome, asked) = Side::Client.in_pieces(Limits::default(), &input, &mut || 1);
    assert_eq!(outcome.frames.len(), 1);
    assert!(asked <= line.len() + 2, "asked {asked} times");
}
