//! Whatever a broker sends: no panic, and the same frames and errors however it is split.
#![no_main]

use agentcom_protocol::Limits;
use libfuzzer_sys::fuzz_target;
use support::{Random, Side};

#[path = "../../tests/support/mod.rs"]
mod support;

fuzz_target!(|input: &[u8]| {
    // The first byte chooses the limits and the pieces, so that the fuzzer can.
    let Some((&choice, input)) = input.split_first() else { return };
    let limits = if choice % 2 == 0 {
        Limits::default()
    } else {
        Limits { control_line_bytes_max: 40, payload_bytes_max: 30 }
    };
    let longest = 1 + usize::from(choice / 2 % 16);
    let mut random = Random(u64::from(choice) + 1);
    let (pieces, _) = Side::Server.in_pieces(limits, input, &mut || 1 + random.below(longest));
    assert_eq!(pieces, Side::Server.whole(limits, input));
});
