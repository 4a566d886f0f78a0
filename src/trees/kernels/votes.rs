//! Votes, for vectors of some width: the same code, once for each set of instructions.

/// A module `$name` whose `vote` takes `$tiles` tiles, in vectors of `$width` words. There are no closures, of which the
/// compiler made functions without the instructions: batches took 40 times as long.
macro_rules! vote {
    (
        $name:ident, $features:literal, ($tiles:literal, $width:literal), ($load:ident, $store:ident, $all:ident),
        ($choose:ident, $odd:ident, $most:ident, $differs:ident, $and:ident, $xor:ident)
    ) => {
        #[allow(unsafe_code, reason = "it loads and stores vectors")]
        #[allow(clippy::cast_ptr_alignment, reason = "lines are aligned as the widest vector")]
        #[allow(
            clippy::needless_range_loop,
            reason = "an iterator over vectors leads the compiler to keep them in memory"
        )]
        mod $name {
            use super::*;
            use crate::trees::planes::Line;
            use crate::trees::votes::{Ballot, LOW, TOGETHER};

            #[inline]
            #[target_feature(enable = $features)]
            pub(super) fn vote(ballot: Ballot<'_>, lines: &mut [Line], counts: &mut [Line]) {
                match ballot.bits() {
                    1 => vote_bits::<1>(ballot, lines, counts),
                    2 => vote_bits::<2>(ballot, lines, counts),
                    3 => vote_bits::<3>(ballot, lines, counts),
                    4 => vote_bits::<4>(ballot, lines, counts),
                    _ => vote_bits::<5>(ballot, lines, counts),
                }
            }

            #[inline(never)]
            #[target_feature(enable = $features)]
            fn vote_bits<const BITS: usize>(ballot: Ballot<'_>, lines: &mut [Line], counts: &mut [Line]) {
                assert!(ballot.bits() >= BITS, "places are of so many bits");
                assert!(ballot.places() * $tiles <= lines.len() * 8, "as many places as there are");
                let words = lines.as_mut_ptr().cast::<u64>();
                for node in ballot.nodes() {
                    let [by, beyond, otherwise, to] = node.places;
                    // SAFETY: a ballot's places, with all bits of theirs, are less than there are, and each is as far from a
                    // line's start as its vectors are wide.
                    unsafe {
                        let by = words.add(usize::from(by) * $tiles);
                        let beyond = words.add(usize::from(beyond) * $tiles);
                        let otherwise = words.add(usize::from(otherwise) * $tiles);
                        let to = words.add(usize::from(to) * $tiles);
                        for part in (0..$tiles).step_by($width) {
                            let by = $load(by.add(part).cast());
                            for bit in 0..BITS {
                                let beyond = $load(beyond.add(bit * $tiles + part).cast());
                                let otherwise = $load(otherwise.add(bit * $tiles + part).cast());
                                $store(to.add(bit * $tiles + part).cast(), $choose(by, beyond, otherwise));
                            }
                        }
                    }
                }
                assert!(ballot.height() >= LOW, "a count has these bits at least");
                for (kind, counts) in (1..ballot.kinds()).zip(counts.chunks_exact_mut(ballot.height())) {
                    let mut flips = [$all(0); BITS];
                    for bit in 0..BITS {
                        flips[bit] = $all(if kind >> bit & 1 == 1 { 0 } else { -1 });
                    }
                    for part in (0..$tiles).step_by($width) {
                        let mut votes = [$all(-1); TOGETHER];
                        for tree in 0..TOGETHER {
                            for bit in 0..BITS {
                                let place = usize::from(ballot.roots()[tree]) + bit;
                                // SAFETY: as above.
                                let bits = unsafe { $load(words.add(place * $tiles + part).cast()) };
                                votes[tree] = $differs(votes[tree], bits, flips[bit]);
                            }
                        }
                        let mut low = [$all(0); LOW];
                        for bit in 0..LOW {
                            // SAFETY: a line has so many words from there on.
                            low[bit] = unsafe { $load(counts[bit].0[part..][..$width].as_ptr().cast()) };
                        }
                        let (mut twos, mut fours) = ([low[1]; TOGETHER / 2], [low[2]; TOGETHER / 4]);
                        for pair in 0..TOGETHER / 2 {
                            let [one, other] = [votes[2 * pair], votes[2 * pair + 1]];
                            twos[pair] = $most(low[0], one, other);
                            low[0] = $odd(low[0], one, other);
                        }
                        for pair in 0..TOGETHER / 4 {
                            let [one, other] = [twos[2 * pair], twos[2 * pair + 1]];
                            fours[pair] = $most(low[1], one, other);
                            low[1] = $odd(low[1], one, other);
                        }
                        let mut carry = $most(low[2], fours[0], fours[1]);
                        low[2] = $odd(low[2], fours[0], fours[1]);
                        for bit in 0..LOW {
                            // SAFETY: as above, and borrowed by nobody else.
                            unsafe { $store(counts[bit].0[part..][..$width].as_mut_ptr().cast(), low[bit]) };
                        }
                        for line in &mut counts[LOW..] {
                            // SAFETY: as above.
                            let high = unsafe { $load(line.0[part..][..$width].as_ptr().cast()) };
                            // SAFETY: as above, and borrowed by nobody else.
                            unsafe { $store(line.0[part..][..$width].as_mut_ptr().cast(), $xor(high, carry)) };
                            carry = $and(high, carry);
                        }
                    }
                }
            }
        }
    };
}

pub(super) use vote;
