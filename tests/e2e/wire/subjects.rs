//! Subjects and wildcards.

use agentcom_tests::{Broker, Options, QUIET};

use super::Then::Stays;
use super::check;

#[test]
fn which_subjects_a_pattern_matches() {
    let cases: [(&str, &[&str], &[&str]); 11] = [
        ("a", &["a"], &["A", "a.b", "b", "aa"]),
        ("a.b", &["a.b"], &["a", "a.B", "a.b.c"]),
        ("*", &["a", "*", ">", "é"], &["a.b"]),
        ("a.*", &["a.b", "a.*", "a.>"], &["a", "a.b.c", "b.b"]),
        ("*.b", &["a.b", "b.b"], &["b", "a.b.b", "a.c"]),
        ("a.*.c", &["a.b.c"], &["a.b", "a.c", "a.b.b.c"]),
        (">", &["a", "a.b", "a.b.c.d.e.f.g.h"], &[]),
        ("a.>", &["a.b", "a.b.c"], &["a", "b.a"]),
        ("*.*.>", &["a.b.c", "a.b.c.d"], &["a", "a.b"]),
        ("foo*.b>r", &["foo*.b>r"], &["foox.bar", "foo.b"]),
        ("été.日本", &["été.日本"], &["ete.日本", "Été.日本"]),
    ];
    let broker = Broker::start(Options::default());
    for (pattern, matching, others) in cases {
        let mut wire = broker.connect(QUIET).case(pattern);
        wire.send(format!("SUB {pattern} 1\r\n"));
        for subject in matching {
            wire.send(format!("PUB {subject} 0\r\n\r\n"));
            wire.expect(format!("MSG {subject} 1 0\r\n\r\n"));
        }
        for subject in others {
            wire.send(format!("PUB {subject} 0\r\n\r\n"));
        }
        wire.expect_nothing();
    }
}

#[test]
fn a_malformed_pattern_is_refused_and_the_connection_stays() {
    const INVALID: &str = "-ERR 'Invalid Subject'\r\n";
    check(
        QUIET,
        &[
            ("empty token", "SUB a..b 1\r\n", Stays(INVALID)),
            ("empty first token", "SUB .a 1\r\n", Stays(INVALID)),
            ("empty last token", "SUB a. 1\r\n", Stays(INVALID)),
            ("only a dot", "SUB . 1\r\n", Stays(INVALID)),
            ("> in the middle", "SUB a.>.b 1\r\n", Stays(INVALID)),
            ("> first of two", "SUB >.a 1\r\n", Stays(INVALID)),
            ("in a queue group", "SUB a..b q 1\r\n", Stays(INVALID)),
            (
                "its sid stays free",
                "SUB a..b 1\r\nSUB a 1\r\nPUB a 0\r\n\r\n",
                Stays("-ERR 'Invalid Subject'\r\nMSG a 1 0\r\n\r\n"),
            ),
        ],
    );
}

#[test]
fn a_publish_subject_is_not_checked() {
    check(
        QUIET,
        &[
            ("empty token reaches nobody", "SUB > 1\r\nPUB a..b 0\r\n\r\n", Stays("")),
            ("empty last token reaches nobody", "SUB > 1\r\nPUB a. 0\r\n\r\n", Stays("")),
            (
                "a wildcard is a literal",
                "SUB a.* 1\r\nSUB a.b 2\r\nPUB a.* 0\r\n\r\n",
                Stays("MSG a.* 1 0\r\n\r\n"),
            ),
        ],
    );
}

#[test]
fn prefixes_with_a_meaning_elsewhere_are_ordinary_here() {
    check(
        QUIET,
        &[
            (
                "_INBOX.",
                "SUB _INBOX.* 1\r\nPUB _INBOX.x 0\r\n\r\n",
                Stays("MSG _INBOX.x 1 0\r\n\r\n"),
            ),
            (
                "$SRV.",
                "SUB $SRV.* 1\r\nPUB $SRV.PING 0\r\n\r\n",
                Stays("MSG $SRV.PING 1 0\r\n\r\n"),
            ),
            ("$SYS.", "SUB $SYS.x 1\r\nPUB $SYS.x 0\r\n\r\n", Stays("MSG $SYS.x 1 0\r\n\r\n")),
        ],
    );
}

#[test]
fn a_subject_may_have_more_tokens_than_any_array_on_the_stack() {
    for tokens in [31, 32, 33, 500] {
        let subject = vec!["t"; tokens].join(".");
        let broker = Broker::start(Options::default());
        let mut wire = broker.connect(QUIET).case(&format!("{tokens} tokens"));
        wire.send(format!("SUB {subject} 1\r\nPUB {subject} 0\r\n\r\n"));
        wire.expect(format!("MSG {subject} 1 0\r\n\r\n"));
        wire.expect_nothing();
    }
}
