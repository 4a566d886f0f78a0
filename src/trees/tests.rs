mod edges;
mod votes;

use super::votes::Votes;
use super::*;

fn split(feature: u32, threshold: f64, rule: Rule, left: i32, right: i32) -> Split {
    Split { feature, threshold, rule, children: [left, right] }
}

fn stump(rule: Rule, threshold: f64) -> Ensemble {
    let mut trees = Builder::new("m", 1, 1, Link::Identity);
    trees.push(0..1, &[split(0, threshold, rule, -1, -2)], &[1.0, 2.0], &[vec![0b101]]).unwrap();
    trees.take_near_zero_for_zero();
    trees.finish().unwrap()
}

#[test]
fn missing_numbers_go_where_the_rule_says() {
    let cases = [
        (Rule::MissingIsZero, 1.0, [(f64::NAN, 1.0), (0.0, 1.0), (1.5, 2.0), (f64::NEG_INFINITY, 1.0)]),
        (Rule::MissingIsZero, -1.0, [(f64::NAN, 2.0), (0.0, 2.0), (-1.0, 1.0), (f64::INFINITY, 2.0)]),
        (Rule::ZeroLeft, -1.0, [(f64::NAN, 1.0), (-0.0, 1.0), (1.0, 2.0), (-2.0, 1.0)]),
        (Rule::ZeroRight, 1.0, [(f64::NAN, 2.0), (0.0, 2.0), (1.0, 1.0), (1e-36, 2.0)]),
        (Rule::MissingLeft, -1.0, [(f64::NAN, 1.0), (0.0, 2.0), (-1.0, 1.0), (5.0, 2.0)]),
        (Rule::MissingRight, 1.0, [(f64::NAN, 2.0), (0.0, 1.0), (1.0, 1.0), (5.0, 2.0)]),
        (Rule::Categories(0), 0.0, [(f64::NAN, 2.0), (0.0, 1.0), (1.0, 2.0), (2.9, 1.0)]),
        (Rule::CategoriesOrMissing(0), 0.0, [(f64::NAN, 1.0), (0.0, 1.0), (1.0, 2.0), (1e10, 2.0)]),
        (Rule::Categories(0), 0.0, [(-0.5, 1.0), (-1.0, 2.0), (1e10, 2.0), (33.0, 2.0)]),
    ];
    for (rule, threshold, values) in cases {
        for (value, expected) in values {
            let mut scores = [0.0];
            stump(rule, threshold).score(Rows::Doubles(&[value]), &mut scores);
            assert_eq!(scores[0].to_bits(), f64::to_bits(expected), "{rule:?} at {threshold}: {value}");
        }
    }
}

#[test]
fn broken_trees_are_refused() {
    let right = Rule::MissingRight;
    let cases: [(&str, &[Split], &[f64]); 9] = [
        ("expected one leaf more", &[], &[]),
        ("expected one leaf more", &[split(0, 0.0, right, -1, -2)], &[1.0]),
        ("finite", &[], &[f64::NAN]),
        ("no free node", &[split(0, 0.0, right, 0, -1)], &[1.0, 2.0]),
        ("no free node", &[split(0, 0.0, right, -1, -1)], &[1.0, 2.0]),
        ("no free node", &[split(0, 0.0, right, 7, i32::MIN)], &[1.0, 2.0]),
        ("no free node", &[split(0, 0.0, right, 1, -1), split(0, 0.0, right, 0, -2)], &[1.0, 2.0, 3.0]),
        ("column 1", &[split(1, 0.0, right, -1, -2)], &[1.0, 2.0]),
        ("set of categories", &[split(0, 0.0, Rule::Categories(0), -1, -2)], &[1.0, 2.0]),
    ];
    for (expected, splits, leaves) in cases {
        let mut trees = Builder::new("m", 1, 1, Link::Identity);
        let error = trees.push(0..1, splits, leaves, &[]).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert!(trees.is_empty(), "nothing of a refused tree is kept");
    }
}

#[test]
fn links_are_applied() {
    let cases = [
        (Link::Identity, [0.0, -2.0]),
        (Link::Sigmoid(1.0), [0.5, 1.0 / (1.0 + 2_f64.exp())]),
        (Link::Exp, [1.0, (-2_f64).exp()]),
        (Link::SignedSquare, [0.0, -4.0]),
        (Link::SoftPlus, [2_f64.ln(), (-2_f64).exp().ln_1p()]),
        (Link::Softmax, [1.0 / (1.0 + (-2_f64).exp()), (-2_f64).exp() / (1.0 + (-2_f64).exp())]),
        (Link::ScaledSoftmax(0.5), [1.0 / (1.0 + (-1_f64).exp()), (-1_f64).exp() / (1.0 + (-1_f64).exp())]),
        (Link::Isolation { expected: 2.0, offset: -0.5 }, [-0.5, -1.5]),
    ];
    for (link, expected) in cases {
        let mut trees = Builder::new("m", 1, 2, link);
        trees.push(0..1, &[], &[0.0], &[]).unwrap();
        trees.push(1..2, &[], &[-2.0], &[]).unwrap();
        let trees = trees.finish().unwrap();
        let mut scores = [9.0; 4];
        trees.score(Rows::Doubles(&[1.0, 2.0]), &mut scores);
        assert_eq!(scores.map(f64::to_bits)[..2], scores.map(f64::to_bits)[2..]);
        for (score, expected) in scores.iter().zip(expected) {
            assert!((score - expected).abs() < 1e-15, "{link:?}: {score} {expected}");
        }
    }
}

#[test]
#[allow(clippy::cast_possible_truncation, reason = "what it is about")]
fn links_of_float32_round_after_each_step() {
    let (a, b) = (0.3_f32, -100.0_f32);
    let cases = [
        (Link::Identity, [a, b]),
        (Link::Sigmoid(1.0), [1.0 / ((-a).exp() + 1.0), 1.0 / (88.7_f32.exp() + 1.0)]),
        (Link::Exp, [a.exp(), b.exp()]),
        (Link::Positive, [1.0, 0.0]),
        (Link::Softmax, [1.0, (b - a).exp()]),
    ];
    for (link, expected) in cases {
        let mut scores = [f64::from(a), f64::from(b)];
        link.apply_single(&mut scores);
        assert_eq!(scores.map(|score| (score as f32).to_bits()), expected.map(f32::to_bits), "{link:?}");
    }
}

/// Numbers that stand for all that a row may have.
const ODD: [f64; 10] = [f64::NAN, 0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, 1e-36, 5e-324, -1.0, 3.0, 1e300];

/// A small generator of numbers; the same ones in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
        usize::try_from(self.0 >> 33).unwrap() % end
    }

    #[allow(clippy::cast_precision_loss, reason = "small")]
    fn number(&mut self, kinds: usize) -> f64 {
        (self.below(kinds) as f64 - kinds as f64 / 2.0) / 4.0
    }
}

type Table = (Vec<Split>, Vec<f64>, Vec<Vec<u32>>);

fn random_tree(random: &mut Random, leaves: usize, features: usize, has_sets: bool, kinds: usize) -> Table {
    let sets: Vec<Vec<u32>> =
        (0..3).map(|length| (0..length).map(|_| u32::try_from(random.below(1 << 31)).unwrap()).collect()).collect();
    let rules = [Rule::MissingIsZero, Rule::ZeroLeft, Rule::ZeroRight, Rule::MissingLeft, Rule::MissingRight];
    let mut splits: Vec<Split> = Vec::new();
    // One of five is as deep as it can be.
    let is_chain = leaves < 1000 && random.below(5) == 0;
    // A free place is a node and a side; the first node has no place.
    let mut free: Vec<(usize, usize)> = Vec::new();
    for index in 0..leaves - 1 {
        if !free.is_empty() {
            let place =
                if is_chain { free.len() - 1 - random.below(2).min(free.len() - 1) } else { random.below(free.len()) };
            let (node, side) = free.swap_remove(place);
            splits[node].children[side] = i32::try_from(index).unwrap();
        }
        let rule = match random.below(8) {
            kind @ 0..3 if has_sets => {
                let set = u32::try_from(kind).unwrap();
                if random.below(2) == 0 { Rule::Categories(set) } else { Rule::CategoriesOrMissing(set) }
            }
            kind => rules[kind % 5],
        };
        let threshold = if random.below(20) == 0 { 0.0 } else { random.number(kinds) };
        splits.push(split(u32::try_from(random.below(features)).unwrap(), threshold, rule, 0, 0));
        free.extend([(index, 0), (index, 1)]);
    }
    for (leaf, (node, side)) in free.into_iter().enumerate() {
        splits[node].children[side] = !i32::try_from(leaf).unwrap();
    }
    let values = (0..leaves).map(|_| random.number(1000) / 3.0).collect();
    (splits, values, sets)
}

/// What the rules say, one node after the other. Numbers up to `zero` are zero, those from `least` on are categories.
fn walk_plainly((splits, leaves, sets): &Table, row: &[f64], zero: f64, least: f64) -> f64 {
    let Some(mut split) = splits.first() else { return leaves[0] };
    loop {
        let value = row[split.feature as usize];
        let value = if value.abs() <= zero { 0.0 } else { value };
        let goes_left = match split.rule {
            Rule::MissingRight => value <= split.threshold,
            Rule::MissingLeft => value.is_nan() || value <= split.threshold,
            Rule::MissingIsZero => (if value.is_nan() { 0.0 } else { value }) <= split.threshold,
            Rule::ZeroLeft => value.is_nan() || value == 0.0 || value <= split.threshold,
            Rule::ZeroRight => value != 0.0 && value <= split.threshold,
            Rule::CategoriesOrMissing(_) if value.is_nan() => true,
            Rule::Categories(set) | Rule::CategoriesOrMissing(set) => (0_u32..96).any(|category| {
                let bits = sets[set as usize].get(category as usize / 32).copied().unwrap_or_default();
                bits >> (category % 32) & 1 == 1
                    && value >= least
                    && (value.abs().trunc() - f64::from(category)).abs() < 0.5
            }),
        };
        match tree::Child::of(split.children[usize::from(!goes_left)]) {
            tree::Child::Leaf(leaf) => return leaves[leaf],
            tree::Child::Split(node) => split = &splits[node],
        }
    }
}

#[test]
#[allow(clippy::cast_precision_loss, reason = "a few outputs")]
fn every_kernel_gives_the_same_bits() {
    // (trees, leaves of the largest, features, outputs, sets, different thresholds)
    // The last ones have runs of trees that are one leaf each.
    let cases = [
        (0, 1, 2, 1, false, 1),
        (1, 1, 1, 1, false, 10),
        (1, 2, 1, 1, false, 1),
        (40, 16, 3, 1, false, 50),
        (330, 12, 20, 1, false, 300),
        (200, 9, 40, 2, false, 700),
        (60, 33, 5, 3, false, 20),
        (20, 129, 9, 1, false, 5000),
        (12, 256, 4, 2, false, 3000),
        (9, 257, 4, 1, false, 100),
        (30, 40, 6, 1, true, 40),
        (50, 120, 3, 2, true, 400),
        (12, 256, 1, 1, true, 300),
        (500, 8, 50, 1, false, 200),
        (1, 70_000, 1, 1, false, 400_000),
        (6, 3000, 6, 3, false, 400),
        (5, 1500, 11, 1, false, 900),
        (4, 2000, 22, 2, false, 3000),
        (3, 700, 40, 1, false, 50),
        (70, 1, 2, 1, false, 10),
        (600, 2, 2, 1, false, 10),
        (700, 1, 1, 2, false, 10),
        (20_000, 3, 2, 1, false, 200),
        (60, 30, 5_000, 1, false, 50),
        // More lanes than 256, and than 512.
        (45, 30, 200, 1, false, 20),
        (60, 30, 900, 2, false, 20),
    ];
    for (number, (trees, most, features, outputs, has_sets, kinds)) in cases.into_iter().enumerate() {
        let mut random = Random(number as u64);
        let mut tables = Vec::new();
        let mut builder = Builder::new("m", features, outputs, Link::Identity);
        builder.take_near_zero_for_zero();
        let are_single = number % 3 == 2;
        if are_single {
            builder.add_as_float32(&vec![0.0; outputs]);
        }
        let rounded = |sum: f64| if are_single { single(sum) } else { sum };
        for tree in 0..trees {
            let leaves = if tree == 0 { most } else { 1 + random.below(most) };
            let table = random_tree(&mut random, leaves, features, has_sets, kinds);
            let output = tree % outputs;
            // Every third tree has leaves for all outputs.
            let to = if tree % 3 == 2 { 0..outputs } else { output..output + 1 };
            let leaves: Vec<f64> =
                table.1.iter().flat_map(|leaf| to.clone().map(move |at| rounded(leaf * (1 + at) as f64))).collect();
            builder.push(to.clone(), &table.0, &leaves, &table.2).unwrap();
            tables.push((table, to));
        }
        let ensemble = builder.finish().unwrap();
        let count = if trees * features > 10_000 { 66 } else { MOST_ROWS + 75 };
        let mut value = |_| if random.below(4) == 0 { ODD[random.below(10)] } else { random.number(kinds * 2) };
        let rows: Vec<f64> = (0..count * features).map(&mut value).collect();
        check_kernels(&format!("case {number}"), &ensemble, &rows, &|row, scores| {
            for (table, to) in &tables {
                let leaf = walk_plainly(table, row, ZERO, (-1_f64).next_up());
                to.clone().for_each(|at| scores[at] = rounded(scores[at] + rounded(leaf * (1 + at) as f64)));
            }
        });
    }
}

#[test]
#[allow(clippy::cast_precision_loss, reason = "a few outputs")]
fn outputs_that_take_turns_are_added_alike() {
    // (outputs, trees, whether each tree has leaves for all of them); the last ones miss a turn.
    let cases = [
        (2, 66, false),
        (2, 70, true),
        (3, 66, true),
        (4, 68, false),
        (5, 70, true),
        (6, 66, true),
        (9, 20, true),
        (3, 67, false),
    ];
    for (outputs, trees, are_shared) in cases {
        for are_single in [false, true] {
            let (mut random, mut tables) = (Random(trees as u64), Vec::new());
            let mut builder = Builder::new("m", 5, outputs, Link::Identity);
            if are_single {
                builder.add_as_float32(&vec![0.0; outputs]);
            }
            let rounded = |sum: f64| if are_single { single(sum) } else { sum };
            for tree in 0..trees {
                let most = 1 + random.below(9);
                let table = random_tree(&mut random, most, 5, false, 30);
                let output = tree % outputs;
                let to = if are_shared { 0..outputs } else { output..output + 1 };
                let of_leaf = |leaf: &f64| to.clone().map(|at| rounded(leaf * (1 + at) as f64)).collect::<Vec<_>>();
                let leaves: Vec<f64> = table.1.iter().flat_map(of_leaf).collect();
                builder.push(to.clone(), &table.0, &leaves, &[]).unwrap();
                tables.push((table, to));
            }
            let ensemble = builder.finish().unwrap();
            let rows: Vec<f64> = (0..11 * 5).map(|_| random.number(60)).collect();
            check_kernels(&format!("{outputs} outputs of {trees} trees"), &ensemble, &rows, &|row, scores| {
                for (table, to) in &tables {
                    let leaf = walk_plainly(table, row, 0.0, -1.0);
                    to.clone().for_each(|at| scores[at] = rounded(scores[at] + rounded(leaf * (1 + at) as f64)));
                }
            });
        }
    }
}

/// Compares what each kernel makes of rows, a few or many at once, as float64 and as float32, with what `add` adds to a row's
/// sums.
#[allow(clippy::cast_possible_truncation, reason = "float32")]
fn check_kernels(name: &str, ensemble: &Ensemble, doubles: &[f64], add: &dyn Fn(&[f64], &mut [f64])) {
    let (features, outputs) = (ensemble.features(), ensemble.outputs());
    let count = doubles.len() / features;
    let blocks = ensemble.batches().map(|batches| &batches.blocks);
    // Without optimisation, a call of many trees takes long.
    let calls = if ensemble.trees() > 10_000 { 2 } else { 8 };
    let ways = Instructions::available();
    let across: Vec<_> = ways.iter().filter_map(|how| Some((*how, Across::new(blocks?, *how)?))).collect();
    let planes = blocks.and_then(|blocks| blocks.new_planes(usize::MAX));
    assert!(
        planes.is_some() || blocks.is_none_or(|blocks| blocks.members().is_some()),
        "choices do all but categories"
    );
    let votes = Votes::new(&ensemble.forest, &ensemble.columns, features, &ensemble.sums);
    let is_moderate = ensemble.trees() <= 1000 && features <= 1000;
    let new_deep = |how, has_chunks| Deep::new(how, &ensemble.forest, &ensemble.columns, features, has_chunks);
    let deep_ways = ways.iter().flat_map(|how| [(*how, true), (*how, false)]).filter(|_| is_moderate);
    let deep: Vec<_> = deep_ways.filter_map(|(how, has_chunks)| Some((how, new_deep(how, has_chunks)?))).collect();
    assert!(!is_moderate || ensemble.forest.has_sets() || deep.len() == 2 * ways.len(), "tops do all but categories");
    let floats: Vec<f32> = doubles.iter().map(|value| *value as f32).collect();
    let rounded: Vec<f64> = floats.iter().map(|value| f64::from(*value)).collect();
    for (rows, of, as_doubles) in
        [(Rows::Doubles(doubles), "float64", doubles), (Rows::Floats(&floats), "float32", &rounded)]
    {
        let mut expected = vec![0.0; count * outputs];
        let sums = expected.chunks_exact_mut(outputs);
        as_doubles.chunks_exact(features).zip(sums).for_each(|(row, sums)| add(row, sums));
        let check = |how: &str, size: usize, score: &mut dyn FnMut(Rows<'_>, &mut [f64]) -> usize| {
            let count = count.min(calls * size);
            let (mut scores, mut done) = (vec![0.0; count * outputs], 0);
            while done < count {
                let end = count.min(done + size);
                done += score(rows.after(done * features), &mut scores[done * outputs..end * outputs]);
            }
            let differs =
                scores.iter().zip(&expected).position(|(score, expected)| score.to_bits() != expected.to_bits());
            assert_eq!(differs, None, "{name}, {size} rows of {of} at once, {how}");
        };
        assert!(blocks.is_some() || ensemble.forest.most_leaves() > 256, "blocks do all other models");
        for size in [1, 3, 70, count] {
            check("as usual", size, &mut |rows, scores| {
                ensemble.score(rows, scores);
                scores.len() / outputs
            });
            let members = blocks.and_then(Blocks::members).map(Some);
            for members in [Some(None), members].into_iter().flatten().filter(|_| size <= 70) {
                check("walks", size, &mut |rows, scores| ensemble.add_walks(rows, members, scores));
            }
            for (how, deep) in &deep {
                let way = format!("tops with {}", how.name());
                check(&way, size, &mut |rows, scores| {
                    let sums = deep::Sums::new(&ensemble.forest, scores, outputs, ensemble.sums.are_single);
                    deep.add(&ensemble.columns, rows, sums)
                });
            }
            for how in ways.iter().copied().filter(|how| how.chooses()) {
                let Some(votes) = &votes else { continue };
                let way = format!("votes with {}", how.name());
                check(&way, size, &mut |rows, scores| votes.add(how, &ensemble.columns, rows, scores));
            }
            for how in ways.iter().copied() {
                let Some(blocks) = blocks else { continue };
                let columns = &ensemble.columns;
                let way = format!("blocks with {}", how.name());
                check(&way, size, &mut |rows, scores| blocks.add_by(how, None, columns, rows, scores));
                if let Some(planes) = planes.as_ref().filter(|_| how.chooses()) {
                    let way = format!("planes with {}", how.name());
                    check(&way, size, &mut |rows, scores| blocks.add_by(how, Some(planes), columns, rows, scores));
                }
                if blocks.has_a_lane_for_each(columns) && size <= 70 {
                    let way = format!("walks by lanes with {}", how.name());
                    check(&way, size, &mut |rows, scores| {
                        ensemble.add_walk_by_lanes(how, blocks, rows, &mut scores[..outputs])
                    });
                }
                let Some(across) = across.iter().find(|(own, _)| *own == how && size < count) else { continue };
                let (across, way) = (&across.1, format!("across with {}", how.name()));
                check(&way, size, &mut |rows, scores| across.add(how, blocks, columns, rows, scores));
            }
        }
    }
}

#[test]
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "numbers of leaves")]
fn leaves_keep_their_numbers_where_those_that_are_alike_are_kept_once() {
    // (leaves of each tree, kinds of leaves)
    for (leaves, kinds) in [([300, 1000, 2], 7), ([5000, 300, 1], 5000)] {
        let mut random = Random(7);
        let mut trees = Builder::new("m", 3, 2, Link::Identity);
        let mut tables = Vec::new();
        for leaves in leaves {
            let (splits, _, _) = random_tree(&mut random, leaves, 3, false, 400);
            let values: Vec<f64> = (0..leaves).flat_map(|leaf| [f64::from(leaf as u32 % kinds), 0.5]).collect();
            trees.push(0..2, &splits, &values, &[]).unwrap();
            tables.push((splits, (0..leaves).map(|leaf| f64::from(leaf as u32)).collect(), Vec::new()));
        }
        let trees = trees.finish().unwrap();
        let rows: Vec<f64> = (0..3 * 70).map(|_| random.number(800)).collect();
        let (mut scores, mut found) = (vec![0.0; 2 * 70], vec![0; 3 * 70]);
        trees.score(Rows::Doubles(&rows), &mut scores);
        trees.leaves(&mut rows.clone(), &mut found);
        for ((row, scores), found) in rows.chunks(3).zip(scores.chunks(2)).zip(found.chunks(3)) {
            let expected: Vec<u32> = tables.iter().map(|table| walk_plainly(table, row, 0.0, 0.0) as u32).collect();
            assert_eq!(found, expected);
            let sum: f64 = expected.iter().map(|leaf| f64::from(leaf % kinds)).sum();
            assert_eq!(scores.iter().map(|score| score.to_bits()).collect::<Vec<_>>(), [sum, 1.5].map(f64::to_bits));
        }
    }
}

#[test]
fn sets_of_far_categories_are_walked() {
    // (largest category, whether blocks know it)
    for (largest, is_known) in [(40, true), (900_000, true), ((1 << 24) - 1, false)] {
        let mut set = vec![0; largest / 32 + 1];
        set[largest / 32] = 1 << (largest % 32);
        let mut trees = Builder::new("m", 1, 1, Link::Identity);
        trees.push(0..1, &[split(0, 0.0, Rule::Categories(0), -1, -2)], &[1.0, 2.0], &[set]).unwrap();
        let trees = trees.finish().unwrap();
        assert_eq!(trees.kernel().contains("blocks"), is_known, "{}", trees.kernel());
        let category = f64::from(u32::try_from(largest).unwrap());
        let kinds =
            [(category, 1.0_f64), (category + 0.5, 1.0), (category - 1.0, 2.0), (-category, 2.0), (f64::NAN, 2.0)];
        let rows: Vec<f64> = kinds.iter().cycle().take(200).map(|(value, _)| *value).collect();
        let mut scores = [0.0; 200];
        trees.score(Rows::Doubles(&rows), &mut scores);
        let expected = kinds.iter().cycle().map(|(_, expected)| expected.to_bits());
        assert!(scores.map(f64::to_bits).into_iter().eq(expected.take(200)), "{largest}: {scores:?}");
    }
}
