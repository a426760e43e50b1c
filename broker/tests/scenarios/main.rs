//! Scenarios of the core, as text: commands in, effects out, pretend time.
//!
//! Each file in `testdata/core/` is a list of blocks. A block is some lines of commands, a line
//! `----`, and the effects in the order in which they came, up to an empty line. After a change
//! of behaviour, `UPDATE_SCENARIOS=1 cargo test --release --test scenarios` writes the effects
//! anew; the difference is what to review.
//!
//! ```text
//! config   offer=10s grace=15s backoff=1s declines=2 cancel=30s ...  (first, if at all)
//! submit   q "payload" [band=0] [needs=a,b] [labels=mem>=16] [limits=repo:1] [attempts=3] [lease=30s]
//!          [rates=api:2/10s] [uses=cores:2] [prefer=3:os=linux] [assign=alice/10s] [sticky=5s]
//!          [headers={}] [attempt=] [progress=] [queue=] [total=] [delay=5s] [at=+1h] [key=k]
//!          [dedup=k] [mode=return] [window=1h] [max=1m] [after=1,2:any,3:cancel,4:fail]
//! + q ...                  the same, kept for the batch; after=#1 is the first of the batch
//! batch                    all of them at once
//! attach   alice [can=a,b] [labels=os:linux] [capacity=cores:4] [queues=q] [credit=1] [login=l] [session=5]
//!          [holding=1:1,2:3]
//! detach   alice           leave alice           heartbeat alice
//! accept   1 gen=1 by=alice        progress 1 gen=1 by=alice [seq=1] "30 %"
//! busy     1 gen=1 by=alice for=10s     checkpoint 1 gen=1 by=alice [seq=1] "page 3"
//! complete 1 gen=1 by=alice "result"    stopped 1 gen=1 by=alice "half"
//! decline  1 gen=1 by=alice [after=5s] "why"
//! fail     1 gen=1 by=alice "why" [fatal] [after=5s] [throttled=5s]
//! release  1 gen=1 by=alice [delay=5s]  extend 1 gen=1 by=alice lease=1m
//! ack      1 gen=1 by=alice             nack 1 gen=1 by=alice [delay=5s] "why"
//! take     q by=bob [max=1] [wait=10s] [lease=1m]
//! show     1         await 1 [timeout=10s]       watch 1 by=bob [from=3]     unwatch 1 by=bob
//! cancel   1 [grace=5s] "why"      reclaim 1     redrive 1 [delay=5s]        discard 1
//! park     1 gen=1 by=alice [ask=colour,size:large] [children=true] [hold=5m] [park=1h]
//!          [timeout=default]            answer 1 colour "red"
//! spawn    1 gen=1 by=alice [detach=true]    makes parts of the task out of the batch
//! edit     1 [version=0] [band=] [key=] [delay=] [attempts=] [lease=] ...     why 1
//! schedule nightly to=q cron=0_3_*_*_* | every=1m [missed=skip] [overlap=skip] "payload"
//! unschedule nightly
//! set      q [paused=true] [leases=5] [order=fair] [keep=1h] [keep_dead=1h]
//! queue    q         queues        peek q [limit=10]      purge q [limit=10]
//! advance  10s       crash         jump +1h      (time; loss of everything but the store; the
//!                                                 wall clock alone)
//! ```
//!
//! `by` names who speaks, from its newest session unless `session=5` says which. An answer to a
//! request of an earlier line says to which one.

mod line;
mod show;
mod stage;

use std::fs;
use std::path::Path;

use self::line::Line;
use self::stage::Stage;

#[test]
fn every_scenario_tells_what_the_core_does() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/core");
    let update = std::env::var_os("UPDATE_SCENARIOS").is_some();
    let mut files: Vec<_> =
        fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 10, "the scenarios are in {}", folder.display());
    for file in files {
        let written = fs::read_to_string(&file).unwrap();
        let played = play(&written);
        if update {
            fs::write(&file, played).unwrap();
        } else {
            assert!(written == played, "{}\n{}", file.display(), difference(&written, &played));
        }
    }
}

/// The first lines that differ, with what stands around them.
fn difference(written: &str, played: &str) -> String {
    let same = written.lines().zip(played.lines()).take_while(|(one, other)| one == other).count();
    let around = |text: &str| {
        text.lines().skip(same.saturating_sub(4)).take(9).collect::<Vec<_>>().join("\n    ")
    };
    let (written, played) = (around(written), around(played));
    format!("line {}\nwritten:\n    {written}\nplayed:\n    {played}", same + 1)
}

/// The same text, with the effects as they are.
fn play(text: &str) -> String {
    let mut stage = Stage::new();
    let mut output = String::new();
    let mut in_effects = false;
    for line in text.lines() {
        if line.is_empty() {
            in_effects = false;
        }
        if in_effects {
            continue;
        }
        output.push_str(line);
        output.push('\n');
        if line == "----" {
            in_effects = true;
            output.push_str(&std::mem::take(&mut stage.heard));
        } else if !line.is_empty() && !line.starts_with('#') {
            stage.command(&Line::parse(line));
        }
    }
    output
}
