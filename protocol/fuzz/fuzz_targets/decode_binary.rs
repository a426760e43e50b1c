//! Whatever comes in the binary framing, from either side: no panic, the same frames and errors
//! however it is split, and a frame that is encoded and decoded again is the same.
#![no_main]

use agentcom_protocol::binary::{ClientDecoder, ServerDecoder};
use agentcom_protocol::{Decoded, Limits};
use frames::{encode_client, encode_server};
use libfuzzer_sys::fuzz_target;
use support::{Random, Side};

#[path = "../../tests/support/frames.rs"]
mod frames;
#[path = "../../tests/support/mod.rs"]
mod support;

fuzz_target!(|input: &[u8]| {
    // The first byte chooses the side, the limits and the pieces, so that the fuzzer can.
    let Some((&choice, input)) = input.split_first() else { return };
    let side = if choice % 2 == 0 { Side::BinaryClient } else { Side::BinaryServer };
    let limits = if choice / 2 % 2 == 0 {
        Limits::default()
    } else {
        Limits { control_line_bytes_max: 12, payload_bytes_max: 10 }
    };
    let longest = 1 + usize::from(choice / 4 % 16);
    let mut random = Random(u64::from(choice) + 1);
    let (pieces, _) = side.in_pieces(limits, input, &mut || 1 + random.below(longest));
    assert_eq!(pieces, side.whole(limits, input));
    let mut bytes = Vec::new();
    if side == Side::BinaryClient {
        let decoder = ClientDecoder::new(limits);
        if let Ok(Decoded::Frame { frame, .. }) = decoder.decode(input) {
            encode_client(&mut bytes, &frame);
            if !bytes.is_empty() {
                let consumed = bytes.len();
                assert_eq!(decoder.decode(&bytes), Ok(Decoded::Frame { frame, consumed }));
            }
        }
    } else {
        let decoder = ServerDecoder::new(limits);
        if let Ok(Decoded::Frame { frame, .. }) = decoder.decode(input) {
            encode_server(&mut bytes, &frame);
            // What was a number with zeros in front has become shorter.
            let consumed = bytes.len();
            assert_eq!(decoder.decode(&bytes), Ok(Decoded::Frame { frame, consumed }));
        }
    }
});
