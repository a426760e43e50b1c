//! Sets of small numbers.

/// A set of numbers, one bit each.
#[derive(Clone, Debug, Default)]
pub(super) struct Bits {
    words: Vec<u64>,
}

impl Bits {
    /// Whether a number is in the set.
    pub(super) fn has(&self, number: u32) -> bool {
        let (word, bit) = place(number);
        self.words.get(word).is_some_and(|word| word & bit != 0)
    }

    /// Put a number in, or take it out.
    pub(super) fn set(&mut self, number: u32, is_in: bool) {
        let (word, bit) = place(number);
        if self.words.len() <= word {
            if !is_in {
                return;
            }
            self.words.resize(word + 1, 0);
        }
        if is_in {
            self.words[word] |= bit;
        } else {
            self.words[word] &= !bit;
        }
    }

    /// The numbers that are in both sets, smallest first.
    pub(super) fn and<'a>(&'a self, other: &'a Bits) -> impl Iterator<Item = u32> + 'a {
        let both = self.words.iter().zip(&other.words).map(|(one, other)| one & other);
        (0..).zip(both).flat_map(|(word, bits)| ones(bits).map(move |bit| word * 64 + bit))
    }
}

fn place(number: u32) -> (usize, u64) {
    (number as usize / 64, 1 << (number % 64))
}

/// Positions of the ones in a word, lowest first.
fn ones(mut bits: u64) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let lowest = bits.trailing_zeros();
        bits = bits.checked_sub(1).map_or(0, |below| bits & below);
        (lowest < 64).then_some(lowest)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_in_is_in_until_it_is_taken_out() {
        let mut bits = Bits::default();
        bits.set(130, false);
        for number in [0, 63, 64, 130] {
            bits.set(number, true);
        }
        bits.set(64, false);
        let found: Vec<u32> = (0..200).filter(|&number| bits.has(number)).collect();
        assert_eq!(found, [0, 63, 130]);
    }

    #[test]
    fn common_numbers_come_in_order_whatever_the_sizes() {
        let of = |numbers: &[u32]| {
            let mut bits = Bits::default();
            numbers.iter().for_each(|&number| bits.set(number, true));
            bits
        };
        let (long, short) = (of(&[1, 63, 64, 127, 500]), of(&[127, 64, 2, 63]));
        assert_eq!(long.and(&short).collect::<Vec<_>>(), [63, 64, 127]);
        assert_eq!(short.and(&long).collect::<Vec<_>>(), [63, 64, 127]);
        assert_eq!(long.and(&Bits::default()).count(), 0);
    }
}
