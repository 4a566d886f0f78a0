//! How a tile of rows gets its ranks, and how one row does: once for each set of instructions, of which each has its own inner
//! loops (`kernels`).

/// Functions that rank a tile of rows, and one row by bytes or by 16 bits, for a set of instructions and a type of numbers:
/// `$count` says how many of a block a number is beyond; `$turn` makes columns of float32 of some columns of rows, and says
/// by bits which it could not; `$descend` ranks by a binary tree of so many levels; `$settle` makes bytes of ranks.
/// `$fetch_row` and `$abreast` are for one row: the first asks for it, the other ranks sixteen of its numbers.
macro_rules! ranking {
    (
        $tile:ident, ($row:ident, $words:ident), $float:ty, $count:ident,
        ($turn:ident, $descend:ident, $settle:ident), ($fetch_row:ident, $abreast:ident),
        $(#[$attribute:meta])*
    ) => {
        /// The bytes of up to 64 rows: `lanes` has `tiles` for each lane, of which it is the one with this number. `words` has
        /// 64 ranks for each column of them.
        $(#[$attribute])*
        pub(in crate::trees) fn $tile(
            ranker: &$crate::trees::search::Ranker<$float>,
            rows: &[$float],
            lanes: &mut [$crate::trees::search::Tile],
            (number, tiles): (usize, usize),
            words: &mut [[u16; $crate::trees::search::TILE]],
        ) {
            use $crate::trees::search::{Real, Singles, TILE, TURNED};
            let blocks = &ranker.blocks[..];
            let (mut values, mut ranks) = ([0.0; TILE], [0_u32; TILE]);
            let mut columns = [Singles([0.0; TILE]); TURNED];
            let (mut turned, mut others) = (usize::MAX, 0);
            let count = (rows.len() / ranker.width).min(TILE);
            let rows = &rows[..count * ranker.width];
            let near_zero = f32::below(ranker.near_zero.into());
            for feature in &ranker.features {
                let (part, column) = (feature.at / TURNED, feature.at % TURNED);
                if part != turned {
                    (turned, others) = (part, $turn(rows, ranker.width, part * TURNED, &mut columns));
                }
                if feature.depth > 0 && others >> column & 1 == 0 {
                    let values = &columns[column];
                    $descend(&ranker.heaps[feature.heap.clone()], feature.depth, values, &mut ranks);
                    for lane in feature.lanes.clone() {
                        let bytes = &mut lanes[lane * tiles + number];
                        $settle(ranker.kinds[lane], near_zero, values, &ranks, bytes);
                    }
                    for column in feature.words.clone() {
                        let (kind, words) = (ranker.wide_kinds[column], &mut words[column]);
                        for ((word, rank), value) in words.iter_mut().zip(&ranks).zip(&values.0) {
                            *word = kind.settle(*rank, value.abs() <= near_zero, value.is_nan());
                        }
                    }
                    continue;
                }
                let mut place = feature.at;
                for value in &mut values[..count] {
                    *value = rows[place];
                    place += ranker.width;
                }
                match *feature.levels {
                    [all] => {
                        for (rank, value) in ranks.iter_mut().zip(&values[..count]) {
                            *rank = $count(&blocks[all], *value);
                        }
                    }
                    [top, all] => {
                        for (rank, value) in ranks.iter_mut().zip(&values[..count]) {
                            let block = $count(&blocks[top], *value);
                            *rank = block * 16 + $count(&blocks[all + block as usize], *value);
                        }
                    }
                    ref levels => {
                        for (rank, value) in ranks.iter_mut().zip(&values[..count]) {
                            *rank = 0;
                            for level in levels {
                                *rank = *rank * 16 + $count(&blocks[level + *rank as usize], *value);
                            }
                        }
                    }
                }
                for lane in feature.lanes.clone() {
                    let (kind, bytes) = (ranker.kinds[lane], &mut lanes[lane * tiles + number].0);
                    for ((byte, rank), value) in bytes.iter_mut().zip(&ranks).zip(&values) {
                        *byte = kind.settle_byte(*rank, value.abs() <= ranker.near_zero, value.is_nan());
                    }
                }
                for column in feature.words.clone() {
                    let (kind, words) = (ranker.wide_kinds[column], &mut words[column]);
                    for ((word, rank), value) in words.iter_mut().zip(&ranks).zip(&values) {
                        *word = kind.settle(*rank, value.abs() <= ranker.near_zero, value.is_nan());
                    }
                }
            }
        }

        /// The bytes of one row, one for each lane.
        $(#[$attribute])*
        pub(in crate::trees) fn $row(
            ranker: &$crate::trees::search::Ranker<$float>,
            row: &[$float],
            bytes: &mut [u8],
        ) {
            if ranker.width >= $crate::trees::search::FETCHED {
                $fetch_row(row);
            }
            for group in &ranker.abreast.groups {
                let values = group.places.map(|place| row[place as usize]);
                let blocks = &ranker.abreast.blocks[group.thresholds.clone()];
                let settled = $abreast(group, blocks, ranker.near_zero, &values);
                for (lane, byte) in group.lanes.iter().zip(settled) {
                    bytes[*lane as usize] = byte;
                }
            }
            for feature in &ranker.abreast.alone {
                let value = row[feature.at];
                let mut rank = 0;
                for level in &feature.levels {
                    rank = rank * 16 + $count(&ranker.blocks[level + rank as usize], value);
                }
                let (is_zero, is_missing) = (value.abs() <= ranker.near_zero, value.is_nan());
                let lanes = feature.lanes.clone();
                for (byte, kind) in bytes[lanes.clone()].iter_mut().zip(&ranker.kinds[lanes]) {
                    *byte = kind.settle_byte(rank, is_zero, is_missing);
                }
            }
        }

        /// The ranks of one row, one for each column.
        $(#[$attribute])*
        pub(in crate::trees) fn $words(
            ranker: &$crate::trees::search::Ranker<$float>,
            row: &[$float],
            words: &mut [u16],
        ) {
            for group in &ranker.searches {
                let values = group.places.map(|place| row[place as usize]);
                let mut ranks = [0; $crate::trees::search::WIDTH];
                for level in &group.levels {
                    for ((rank, value), start) in ranks.iter_mut().zip(&values).zip(&level[..group.count]) {
                        *rank = *rank * 16 + $count(&ranker.blocks[(start + *rank) as usize], *value);
                    }
                }
                for ((value, rank), columns) in values.iter().zip(ranks).zip(&group.words[..group.count]) {
                    let (is_zero, is_missing) = (value.abs() <= ranker.near_zero, value.is_nan());
                    for (word, kind) in words[columns.clone()].iter_mut().zip(&ranker.wide_kinds[columns.clone()]) {
                        *word = kind.settle(rank, is_zero, is_missing);
                    }
                }
            }
        }
    };
}
pub(super) use ranking;
