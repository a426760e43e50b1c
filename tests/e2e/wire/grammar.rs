//! What a line may look like, and what is not a line at all.

use agentcom_tests::{Broker, MODERN, Options, QUIET, Wire};

use super::Then::{Closes, Stays};
use super::check;

const UNKNOWN: &str = "-ERR 'Unknown Protocol Operation'\r\n";

#[test]
fn what_is_accepted_in_a_line() {
    check(
        MODERN,
        &[
            ("lower case", "sub a 1\r\npub a 2\r\nhi\r\n", Stays("MSG a 1 2\r\nhi\r\n")),
            (
                "mixed case",
                "sUb a 1\r\npUb a 2\r\nhi\r\nPiNg\r\n",
                Stays("MSG a 1 2\r\nhi\r\nPONG\r\n"),
            ),
            ("tabs", "SUB\ta\t1\r\nPUB\ta\t2\r\nhi\r\n", Stays("MSG a 1 2\r\nhi\r\n")),
            ("blanks", "SUB  a   1\r\nPUB \t a  2\r\nhi\r\n", Stays("MSG a 1 2\r\nhi\r\n")),
            ("bare LF", "SUB a 1\nPUB a 2\nhi\r\n", Stays("MSG a 1 2\r\nhi\r\n")),
            ("bare LF after PING", "PING\n", Stays("PONG\r\n")),
            ("size of 9 digits", "PUB a 000000002\r\nhi\r\nPING\r\n", Stays("PONG\r\n")),
            ("empty payload", "SUB a 1\r\nPUB a 0\r\n\r\n", Stays("MSG a 1 0\r\n\r\n")),
            ("PINGX", "PINGX\r\n", Stays("PONG\r\n")),
            ("PING with an argument", "PING foo\r\n", Stays("PONG\r\n")),
            ("PONG", "PONG\r\n", Stays("")),
            ("PONG with an argument", "PONG foo\r\n", Stays("")),
            ("+OK", "+OK\r\n", Stays("")),
            ("INFO", "INFO {}\r\n", Stays("")),
            (
                "sid that is no number",
                "SUB a xyz-9\r\nPUB a 2\r\nhi\r\n",
                Stays("MSG a xyz-9 2\r\nhi\r\n"),
            ),
            ("reply", "SUB a 1\r\nPUB a b 2\r\nhi\r\n", Stays("MSG a 1 b 2\r\nhi\r\n")),
            ("queue", "SUB a q 1\r\nPUB a 2\r\nhi\r\n", Stays("MSG a 1 2\r\nhi\r\n")),
            (
                "payload that looks like operations",
                "SUB a 1\r\nPUB a 18\r\n\r\nPUB a 2\r\nhi\r\n\0\r\n\r\n",
                Stays("MSG a 1 18\r\n\r\nPUB a 2\r\nhi\r\n\0\r\n\r\n"),
            ),
        ],
    );
}

#[test]
fn an_unknown_operation_is_named_and_closes() {
    check(
        MODERN,
        &[
            ("empty line", "\r\n", Closes(UNKNOWN)),
            ("empty line, bare LF", "\n", Closes(UNKNOWN)),
            ("unknown verb", "CABBAGE a 1\r\n", Closes(UNKNOWN)),
            ("verb with a tail", "SUBX a 1\r\n", Closes(UNKNOWN)),
            ("MSG", "MSG a 1 2\r\nhi\r\n", Closes(UNKNOWN)),
            ("RS+", "RS+ a\r\n", Closes(UNKNOWN)),
            ("LS+", "LS+ a\r\n", Closes(UNKNOWN)),
            ("A+", "A+ a\r\n", Closes(UNKNOWN)),
            ("payload too long for its size", "PUB a 2\r\nhix\r\n", Closes(UNKNOWN)),
            ("payload followed by bare LF", "PUB a 2\r\nhi\nPING\r\n", Closes(UNKNOWN)),
        ],
    );
}

#[test]
fn malformed_arguments_close_without_a_word() {
    check(
        MODERN,
        &[
            ("-ERR from a client", "-ERR 'oh'\r\n", Closes("")),
            ("PUB without arguments", "PUB \r\n", Closes("")),
            ("PUB without a size", "PUB a\r\n", Closes("")),
            ("PUB with four arguments", "PUB a b c 2\r\nhi\r\n", Closes("")),
            ("HPUB without a total", "HPUB a 2\r\nhi\r\n", Closes("")),
            ("HPUB with five arguments", "HPUB a b c 1 2\r\nhi\r\n", Closes("")),
            ("SUB without a sid", "SUB a\r\n", Closes("")),
            ("SUB with four arguments", "SUB a b c d\r\n", Closes("")),
            ("UNSUB without arguments", "UNSUB \r\n", Closes("")),
            ("UNSUB with three arguments", "UNSUB 1 2 3\r\n", Closes("")),
            ("CONNECT with bad JSON", "CONNECT {\"verbose\":\r\n", Closes("")),
            (
                "CONNECT with a field of the wrong type",
                "CONNECT {\"verbose\":\"no\"}\r\n",
                Closes(""),
            ),
            ("negative size", "PUB a -1\r\n", Closes("")),
            ("signed size", "PUB a +2\r\nhi\r\n", Closes("")),
            ("hexadecimal size", "PUB a 0x2\r\nhi\r\n", Closes("")),
            ("size that is a word", "PUB a two\r\nhi\r\n", Closes("")),
            ("size of 10 digits", "PUB a 0000000002\r\nhi\r\n", Closes("")),
            ("header size over the total", "HPUB a 3 2\r\nhi\r\n", Closes("")),
            ("negative header size", "HPUB a -1 2\r\nhi\r\n", Closes("")),
        ],
    );
}

#[test]
fn a_client_without_headers_may_not_send_them() {
    check(QUIET, &[("HPUB", "HPUB a 12 14\r\nNATS/1.0\r\n\r\nhi\r\n", Closes(""))]);
}

#[test]
fn the_way_bytes_are_split_over_reads_changes_nothing() {
    let conversation = concat!(
        "CONNECT {\"verbose\":true,\"pedantic\":false,\"headers\":true,\"no_responders\":true}\r\n",
        "PING\r\nsub a.* 1\nSUB\ta.b q 2\r\nSUB inbox 3\r\nUNSUB 2 1\r\nSUB b..c 4\r\n",
        "PUB a.b inbox 5\r\nhello\r\nPUB a.b 0\r\n\r\n",
        "HPUB a.c 12 14\r\nNATS/1.0\r\n\r\nhi\r\nHPUB a.c 0 1\r\nx\r\n",
        "PUB nobody inbox 4\r\n\r\n\r\n\r\nPUB a.* 1\r\n!\r\n",
        "UNSUB 1\r\nPUB a.b 2\r\nno\r\nPINGX\r\n+OK\r\nPONG\r\n\r\n",
    );
    let broker = Broker::start(Options::default());
    let answer = |size: usize| {
        let mut wire: Wire = broker.connect_raw().case(&format!("pieces of {size} bytes"));
        for piece in conversation.as_bytes().chunks(size) {
            wire.send(piece);
        }
        String::from_utf8(wire.read_to_end()).expect("the answer is text")
    };
    let whole = answer(conversation.len());
    assert!(whole.contains("MSG a.c 1 1\r\nx\r\n"), "{whole}");
    assert!(whole.ends_with("-ERR 'Unknown Protocol Operation'\r\n"), "{whole}");
    for size in [1, 2, 3, 5, 7, 64] {
        assert_eq!(answer(size), whole, "in pieces of {size} bytes");
    }
}

#[test]
fn an_operation_cut_in_two_anywhere_is_the_same_operation() {
    let broker = Broker::start(Options::default());
    let mut wire = broker.connect(MODERN);
    wire.send("SUB a 1\r\n");
    let publish = "HPUB a b 17 19\r\nNATS/1.0\r\nA:b\r\n\r\nhi\r\n";
    for cut in 1..publish.len() {
        let (front, back) = publish.split_at(cut);
        wire.send(front);
        wire.send(back);
        wire.expect("HMSG a 1 b 17 19\r\nNATS/1.0\r\nA:b\r\n\r\nhi\r\n");
    }
}
