use super::super::tree::{Child, Rule};
use super::super::{Builder, Link};
use super::*;

/// Numbers that look random.
struct Noise(u64);

impl Noise {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }

    fn number(&mut self) -> f64 {
        f64::from(u32::try_from(self.next(2001)).unwrap()) / 100.0 - 10.0
    }
}

struct Example {
    splits: Vec<Split>,
    leaves: Vec<f64>,
    covers: [Vec<f64>; 2],
    sets: Vec<Vec<u32>>,
}

/// A tree grown at random leaves; covers need not add up.
fn example(noise: &mut Noise, count: usize, features: u64) -> Example {
    const RULES: [Rule; 6] = [
        Rule::MissingIsZero,
        Rule::ZeroLeft,
        Rule::ZeroRight,
        Rule::MissingLeft,
        Rule::MissingRight,
        Rule::Categories(0),
    ];
    let mut splits: Vec<Split> = Vec::new();
    // Which child each leaf is.
    let mut places: Vec<Option<(usize, usize)>> = vec![None];
    for at in 0..i32::try_from(count).unwrap() {
        let leaf = usize::try_from(noise.next(places.len() as u64)).unwrap();
        if let Some((parent, side)) = places[leaf] {
            splits[parent].children[side] = at;
        }
        let rule = RULES[usize::try_from(noise.next(6)).unwrap()];
        let feature = u32::try_from(noise.next(features)).unwrap();
        let children = [-1 - i32::try_from(leaf).unwrap(), -1 - i32::try_from(places.len()).unwrap()];
        splits.push(Split { feature, threshold: noise.number(), rule, children });
        places[leaf] = Some((splits.len() - 1, 0));
        places.push(Some((splits.len() - 1, 1)));
    }
    let mut covers = || (0..count).map(|_| noise.number() + 10.01).collect::<Vec<_>>();
    let covers = [covers(), [covers(), vec![3.0]].concat()];
    let leaves = (0..=count).map(|_| noise.number()).collect();
    Example { splits, leaves, covers, sets: vec![vec![0b1011]] }
}

fn contributions(examples: &[Example], features: usize) -> Contributions {
    let mut trees = Builder::new("m", features, 1, Link::Identity);
    trees.explain();
    for Example { splits, leaves, covers, sets } in examples {
        trees.push(0..1, splits, leaves, sets).unwrap();
        trees.cover(Covers { splits: &covers[0], leaves: &covers[1] }).unwrap();
    }
    trees.finish_explained().unwrap()
}

fn goes_left(split: &Split, value: f64) -> bool {
    let is_missing = value.is_nan();
    match split.rule {
        Rule::Categories(_) => value > -1.0 && value < 4.0 && [0.0, 1.0, 3.0].contains(&value.trunc().abs()),
        Rule::ZeroLeft if is_missing || value == 0.0 => true,
        Rule::ZeroRight if is_missing || value == 0.0 => false,
        Rule::MissingLeft if is_missing => true,
        Rule::MissingRight if is_missing => false,
        _ => (if is_missing { 0.0 } else { value }) <= split.threshold,
    }
}

/// What is expected of a tree if only the features of `known` are.
fn expected(example: &Example, row: &[f64], known: u64, child: Child) -> f64 {
    let at = match child {
        Child::Leaf(at) => return example.leaves[at],
        Child::Split(at) => at,
    };
    let split = &example.splits[at];
    let side = |side: usize| expected(example, row, known, Child::of(split.children[side]));
    if known >> split.feature & 1 == 1 {
        return side(usize::from(!goes_left(split, row[split.feature as usize])));
    }
    let share = |side: usize| match Child::of(split.children[side]) {
        Child::Split(child) => example.covers[0][child] / example.covers[0][at],
        Child::Leaf(child) => example.covers[1][child] / example.covers[0][at],
    };
    share(0) * side(0) + share(1) * side(1)
}

/// By the definition: the mean over all orders of what knowing the feature adds.
fn by_definition(example: &Example, row: &[f64], feature: usize) -> f64 {
    let root = if example.splits.is_empty() { Child::Leaf(0) } else { Child::Split(0) };
    let factorial = |number: u32| (1..=number).map(f64::from).product::<f64>();
    let count = u32::try_from(row.len()).unwrap();
    let others = (0..1_u64 << row.len()).filter(|known| known >> feature & 1 == 0);
    let each = |known: u64| {
        let size = known.count_ones();
        let weight = factorial(size) * factorial(count - size - 1) / factorial(count);
        weight * (expected(example, row, known | 1 << feature, root) - expected(example, row, known, root))
    };
    others.map(each).sum()
}

fn row(noise: &mut Noise, features: usize) -> Vec<f64> {
    let value = |noise: &mut Noise| match noise.next(6) {
        0 => f64::NAN,
        1 => 0.0,
        2 => f64::from(u32::try_from(noise.next(5)).unwrap()),
        _ => noise.number(),
    };
    (0..features).map(|_| value(noise)).collect()
}

#[test]
fn contributions_are_those_of_the_definition() {
    let mut noise = Noise(7);
    for (count, features) in [(0, 1), (1, 1), (5, 1), (6, 3), (12, 9), (20, 3), (25, 9), (40, 11)] {
        for _ in 0..4 {
            let tree = example(&mut noise, count, features as u64);
            let made = contributions(std::slice::from_ref(&tree), features);
            let row = row(&mut noise, features);
            let mut sums = vec![9.0; features + 1];
            assert!(made.explain(&mut row.clone(), &mut sums, &mut || true));
            let scale = tree.leaves.iter().fold(1.0, |most: f64, leaf| most.max(leaf.abs())) * 100.0;
            let root = if count == 0 { Child::Leaf(0) } else { Child::Split(0) };
            for (feature, sum) in sums[..features].iter().enumerate() {
                let wanted = by_definition(&tree, &row, feature);
                assert!((sum - wanted).abs() < 1e-11 * scale, "{count} {features}: {sum} {wanted}");
            }
            let (all, none) = (expected(&tree, &row, u64::MAX, root), expected(&tree, &row, 0, root));
            assert!((sums[features] - none).abs() < 1e-11 * none.abs().max(scale), "{} {none}", sums[features]);
            assert!((sums.iter().sum::<f64>() - all).abs() < 1e-11 * none.abs().max(scale), "{count} {features}");
        }
    }
}

/// A path of `count` different features, each with half of the cover.
fn chain(count: usize) -> Example {
    let number = |at: usize| i32::try_from(at).unwrap();
    let split = |at: usize| {
        let next = if at + 1 == count { -1 - number(count) } else { number(at + 1) };
        let feature = u32::try_from(at).unwrap();
        Split { feature, threshold: 0.0, rule: Rule::MissingRight, children: [-1 - number(at), next] }
    };
    let mut leaves = vec![0.0; count];
    leaves.push(1.0);
    let covers = |count: usize| (0..count).map(|at| 0.5_f64.powi(number(at))).collect::<Vec<_>>();
    let of_leaves = (0..=count).map(|at| 0.5_f64.powi(number(at.min(count - 1)) + 1)).collect();
    Example { splits: (0..count).map(split).collect(), leaves, covers: [covers(count), of_leaves], sets: Vec::new() }
}

#[test]
fn long_paths_are_exact() {
    // All features are needed for the one leaf: they share what is above the expected alike.
    for count in [2, 9, 16, 17, 33, 100, 512] {
        let made = contributions(&[chain(count)], count);
        let mut sums = vec![0.0; count + 1];
        assert!(made.explain(&mut vec![1.0; count], &mut sums, &mut || true));
        let all = 1.0 - 0.5_f64.powi(i32::try_from(count).unwrap());
        let each = all / f64::from(u32::try_from(count).unwrap());
        for sum in &sums[..count] {
            assert!((sum - each).abs() < 1e-13, "{count}: {sum} {each}");
        }
    }
    let mut trees = Builder::new("m", 2000, 1, Link::Identity);
    trees.explain();
    let Example { splits, leaves, covers, .. } = chain(1030);
    trees.push(0..1, &splits, &leaves, &[]).unwrap();
    let error = trees.cover(Covers { splits: &covers[0], leaves: &covers[1] }).unwrap_err();
    assert!(error.to_string().contains("1030 columns on one path"), "{error}");
}

#[test]
fn all_instructions_give_the_same_bits() {
    let mut noise = Noise(3);
    for features in [4, 40] {
        let tree = example(&mut noise, 200, features as u64);
        let made = contributions(&[tree], features);
        let rows: Vec<f64> = (0..17).flat_map(|_| row(&mut noise, features)).collect();
        let mut settled = Vec::new();
        rows.chunks(features).for_each(|row| made.columns.settle(row, &mut settled));
        let (tree, mut answers) = (&made.trees[0], Vec::new());
        for how in Instructions::available() {
            let (mut few, mut many) = (Scratch::default(), Scratch::default());
            let mut sums = vec![0.0; 17 * (features + 1)];
            let settled = (&settled[..], made.columns.len());
            for points in &made.many[tree.sweeps()] {
                how.explain_many(&tree.table, &tree.leaves, points, &mut many, settled, (&mut sums, features + 1, 0));
            }
            how.explain_few(&tree.table, &tree.leaves, &made.few, &mut few, settled, (&mut sums, features + 1, 0));
            answers.push(sums.iter().map(|sum| sum.to_bits()).collect::<Vec<_>>());
        }
        assert!(answers.windows(2).all(|pair| pair[0] == pair[1]));
        let mut together = vec![0.0; 17 * (features + 1)];
        assert!(made.explain(&mut rows.clone(), &mut together, &mut || true));
        for (row, expected) in rows.chunks(features).zip(together.chunks(features + 1)) {
            let mut alone = vec![0.0; features + 1];
            assert!(made.explain(&mut row.to_vec(), &mut alone, &mut || true));
            assert_eq!(
                alone.iter().map(|sum| sum.to_bits()).collect::<Vec<_>>(),
                expected.iter().map(|sum| sum.to_bits()).collect::<Vec<_>>()
            );
        }
    }
}

#[test]
fn covers_are_checked() {
    let right = Rule::MissingRight;
    let split = Split { feature: 0, threshold: 0.0, rule: right, children: [-1, -2] };
    let cases: [(&str, &[f64], &[f64]); 5] = [
        ("covers of 0 splits", &[], &[1.0, 1.0]),
        ("1 leaves", &[2.0], &[1.0]),
        ("the cover -1", &[2.0], &[3.0, -1.0]),
        ("the cover NaN", &[f64::NAN], &[3.0, 1.0]),
        ("no covers", &[0.0], &[0.0, 0.0]),
    ];
    for (expected, splits, leaves) in cases {
        let mut trees = Builder::new("m", 1, 1, Link::Identity);
        trees.explain();
        trees.push(0..1, &[split], &[1.0, 2.0], &[]).unwrap();
        let error = trees.cover(Covers { splits, leaves }).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
    let mut trees = Builder::new("m", 1, 1, Link::Identity);
    trees.explain();
    trees.push(0..1, &[split], &[1.0, 2.0], &[]).unwrap();
    assert!(trees.finish_explained().unwrap_err().to_string().contains("no covers"));
}

#[test]
fn nodes_that_nobody_came_by_are_no_trouble() {
    let splits = [
        Split { feature: 0, threshold: 0.0, rule: Rule::MissingRight, children: [-1, 1] },
        Split { feature: 1, threshold: 0.0, rule: Rule::MissingRight, children: [-2, -3] },
    ];
    let tree = Example {
        splits: splits.to_vec(),
        leaves: vec![1.0, 2.0, 4.0],
        covers: [vec![5.0, 0.0], vec![5.0, 0.0, 0.0]],
        sets: Vec::new(),
    };
    let mut sums = [0.0; 3];
    assert!(contributions(&[tree], 2).explain(&mut [1.0, 1.0], &mut sums, &mut || true));
    let wanted = [2.5, 0.5, 1.0];
    assert!(sums.iter().zip(wanted).all(|(sum, wanted)| (sum - wanted).abs() < 1e-14), "{sums:?}");
    let one = Example { splits: Vec::new(), leaves: vec![7.0], covers: [Vec::new(), Vec::new()], sets: Vec::new() };
    assert!(contributions(&[one], 2).explain(&mut [1.0, 1.0], &mut sums, &mut || true));
    assert_eq!(sums.map(f64::to_bits), [0.0, 0.0, 7.0_f64].map(f64::to_bits));
}
