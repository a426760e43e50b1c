//! What the tests of both decoders share: feeding bytes in pieces, and randomness with a seed.

use agentcom_protocol::{ClientDecoder, DecodeError, Decoded, Limits, ServerDecoder, binary};

/// Everything a decoder made of some bytes.
#[derive(Debug, PartialEq)]
pub(crate) struct Outcome {
    /// The frames, described.
    pub(crate) frames: Vec<String>,
    /// How it ended.
    pub(crate) end: End,
}

/// How it ended.
#[derive(Debug, PartialEq)]
pub(crate) enum End {
    /// The connection would be closed.
    Error(DecodeError),
    /// So many bytes are the start of a frame that is not all there.
    Left(usize),
}

/// One direction of a connection.
#[allow(dead_code, reason = "a fuzz target looks at one of them")]
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Side {
    /// What clients send.
    Client,
    /// What brokers send.
    Server,
    /// What clients send, in the binary framing.
    BinaryClient,
    /// What brokers send, in the binary framing.
    BinaryServer,
}

impl Side {
    /// Look at the front of `input` with the side's decoder, and describe what is there.
    pub(crate) fn decode(
        self,
        limits: Limits,
        input: &[u8],
    ) -> Result<Decoded<String>, DecodeError> {
        match self {
            Side::Client => ClientDecoder::new(limits).decode(input).map(described),
            Side::Server => ServerDecoder::new(limits).decode(input).map(described),
            Side::BinaryClient => binary::ClientDecoder::new(limits).decode(input).map(described),
            Side::BinaryServer => binary::ServerDecoder::new(limits).decode(input).map(described),
        }
    }

    /// What the decoder makes of bytes that are all there.
    pub(crate) fn whole(self, limits: Limits, input: &[u8]) -> Outcome {
        self.in_pieces(limits, input, &mut || input.len().max(1)).0
    }

    /// What the decoder makes of bytes that come in pieces of the sizes `next_size` gives, and how
    /// often it was asked. `needed` is honoured: nobody asks before it is there. Panics if a
    /// `needed` was no progress, or more than the frame turned out to have.
    pub(crate) fn in_pieces(
        self,
        limits: Limits,
        input: &[u8],
        next_size: &mut dyn FnMut() -> usize,
    ) -> (Outcome, usize) {
        let (mut frames, mut asked) = (Vec::new(), 0);
        let (mut start, mut end, mut needed) = (0, 0, 0);
        loop {
            let at_end = end == input.len();
            if end - start < needed && !at_end {
                end = input.len().min(end + next_size());
                continue;
            }
            asked += 1;
            match self.decode(limits, &input[start..end]) {
                Ok(Decoded::Frame { frame, consumed }) => {
                    assert!(consumed > 0 && consumed <= end - start, "{consumed} bytes consumed");
                    assert!(needed <= consumed, "{needed} bytes needed, frame has {consumed}");
                    frames.push(frame);
                    start += consumed;
                    needed = 0;
                    if start == end && at_end {
                        return (Outcome { frames, end: End::Left(0) }, asked);
                    }
                }
                Ok(Decoded::Incomplete { needed: more }) => {
                    assert!(more > end - start, "{more} needed, {} are there", end - start);
                    assert!(more >= needed, "{more} needed, {needed} before");
                    if at_end {
                        return (Outcome { frames, end: End::Left(end - start) }, asked);
                    }
                    needed = more;
                }
                Err(error) => return (Outcome { frames, end: End::Error(error) }, asked),
            }
        }
    }

    /// Assert that the outcome is the same whole, byte by byte and in random pieces.
    #[allow(dead_code, reason = "the fuzz targets choose their pieces themselves")]
    pub(crate) fn assert_split_independent(
        self,
        limits: Limits,
        input: &[u8],
        random: &mut Random,
    ) -> Outcome {
        let whole = self.whole(limits, input);
        let (bytewise, _) = self.in_pieces(limits, input, &mut || 1);
        assert_eq!(bytewise, whole, "{self:?}, byte by byte: {:?}", input.escape_ascii());
        let seed = random.0;
        let longest = 1 + random.below(40);
        let (pieces, _) = self.in_pieces(limits, input, &mut || 1 + random.below(longest));
        assert_eq!(pieces, whole, "{self:?}, pieces of SEED={seed}: {:?}", input.escape_ascii());
        whole
    }
}

fn described<F: std::fmt::Debug>(decoded: Decoded<F>) -> Decoded<String> {
    match decoded {
        Decoded::Frame { frame, consumed } => {
            Decoded::Frame { frame: format!("{frame:?}"), consumed }
        }
        Decoded::Incomplete { needed } => Decoded::Incomplete { needed },
    }
}

/// A small generator (xorshift64*), so that a run can be repeated from its seed.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// Seeded by the environment's SEED, else by the clock; says so on stderr, which the test
    /// runner shows when the test fails.
    #[allow(dead_code, reason = "not every user of this module wants a new seed each time")]
    pub(crate) fn from_env() -> Random {
        let seed = match std::env::var("SEED") {
            Ok(seed) => seed.parse().expect("SEED is a number"),
            Err(_) => std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .map_or(1, |elapsed| elapsed.as_nanos() as u64 | 1),
        };
        eprintln!("SEED={seed}");
        Random(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number from 0 to below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 32) as usize % bound.max(1)
    }
}
