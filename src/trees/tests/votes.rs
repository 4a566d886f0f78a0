//! Forests whose leaves are votes, and those that nearly are.

use super::*;

/// What a forest is like.
#[derive(Debug, Clone, Copy)]
struct Shape {
    trees: usize,
    /// Leaves of the largest.
    leaves: usize,
    outputs: usize,
    /// Whether each tree has leaves for all outputs.
    are_shared: bool,
    are_single: bool,
    start: f64,
}

const SHAPE: Shape = Shape { trees: 30, leaves: 40, outputs: 3, are_shared: true, are_single: false, start: 0.0 };

/// A forest, with its trees and what leaves add: of one leaf of five nothing, of one for two outputs.
fn forest(shape: Shape, seed: u64) -> (Ensemble, Vec<(Table, Vec<Vec<f64>>)>) {
    let Shape { trees, leaves, outputs, are_shared, are_single, start } = shape;
    let (mut random, mut tables) = (Random(seed), Vec::new());
    let mut builder = Builder::new("m", 7, outputs, Link::Identity);
    if are_single {
        builder.add_as_float32(&vec![single(start); outputs]);
    } else {
        builder.start_with(&vec![start; outputs]);
    }
    let vote = |output: usize| {
        let value = if output % 4 == 3 { -0.1 } else { 1.0 / (3.0 + f64::from(u8::try_from(output).unwrap())) };
        if are_single { single(value) } else { value }
    };
    for tree in 0..trees {
        let most = if tree == 0 { leaves } else { 1 + random.below(leaves) };
        let mut table = random_tree(&mut random, most, 7, false, 60);
        let own = tree % outputs;
        let to = if are_shared { 0..outputs } else { own..own + 1 };
        let mut added = vec![vec![0.0; outputs]; most];
        for added in &mut added {
            let votes = [1, 1, 1, 2, 0][random.below(5)];
            for _ in 0..votes {
                let output = to.start + random.below(to.len());
                added[output] = vote(output);
            }
        }
        let values: Vec<f64> = added.iter().flat_map(|added| added[to.clone()].iter().copied()).collect();
        builder.push(to, &table.0, &values, &[]).unwrap();
        table.1 = (0..u32::try_from(most).unwrap()).map(f64::from).collect();
        tables.push((table, added));
    }
    (builder.finish().unwrap(), tables)
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "numbers of leaves")]
fn add(shape: Shape, tables: &[(Table, Vec<Vec<f64>>)], row: &[f64], sums: &mut [f64]) {
    let rounded = |sum: f64| if shape.are_single { single(sum) } else { sum };
    sums.fill(rounded(shape.start));
    for (table, added) in tables {
        let leaf = walk_plainly(table, row, 0.0, -1.0) as usize;
        sums.iter_mut().zip(&added[leaf]).for_each(|(sum, added)| *sum = rounded(*sum + added));
    }
}

fn votes_of(ensemble: &Ensemble) -> Option<Votes> {
    Votes::new(&ensemble.forest, &ensemble.columns, ensemble.features(), &ensemble.sums)
}

fn rows(random: &mut Random, count: usize) -> Vec<f64> {
    let mut value = |_| if random.below(4) == 0 { ODD[random.below(10)] } else { random.number(120) };
    (0..count * 7).map(&mut value).collect()
}

#[test]
fn votes_give_the_same_bits_as_all_else() {
    let shapes = [
        Shape { outputs: 1, ..SHAPE },
        Shape { outputs: 2, start: -0.7, ..SHAPE },
        Shape { trees: 1, ..SHAPE },
        Shape { trees: 17, leaves: 1, ..SHAPE },
        Shape { trees: 300, leaves: 20, start: 0.3, ..SHAPE },
        Shape { trees: 70, outputs: 2, leaves: 3, are_single: true, ..SHAPE },
        Shape { outputs: 6, are_shared: false, ..SHAPE },
        Shape { outputs: 17, are_shared: false, trees: 40, ..SHAPE },
        Shape { leaves: 700, trees: 9, are_single: true, start: 0.1, ..SHAPE },
        Shape { leaves: 250, trees: 10, outputs: 4, ..SHAPE },
    ];
    for (seed, shape) in (0..).zip(shapes) {
        let (ensemble, tables) = forest(shape, seed);
        assert!(votes_of(&ensemble).is_some(), "{shape:?}");
        let rows = rows(&mut Random(seed), MOST_ROWS + 75);
        check(shape, &ensemble, &tables, &rows);
    }
}

/// Compares what votes make of rows with their sums, and a few with what all other ways make of them.
fn check(shape: Shape, ensemble: &Ensemble, tables: &[(Table, Vec<Vec<f64>>)], rows: &[f64]) {
    // Other ways add to sums that are 0 there.
    if shape.start == 0.0 {
        check_kernels(&format!("{shape:?}"), ensemble, &rows[..70 * 7], &|row, sums| add(shape, tables, row, sums));
    }
    let count = rows.len() / 7;
    let mut expected = vec![0.0; count * shape.outputs];
    let pairs = rows.chunks_exact(7).zip(expected.chunks_exact_mut(shape.outputs));
    pairs.for_each(|(row, sums)| add(shape, tables, row, sums));
    let votes = votes_of(ensemble).unwrap();
    for how in Instructions::available().into_iter().filter(|how| how.chooses()) {
        for size in [1, 48, 63, 64, 65, 128, 129, 200, 256, 257, 300, 511, 512, 513, 559, 560, 587] {
            let (mut scores, mut done) = (vec![9.0; size * shape.outputs], 0);
            while done < size {
                let rows = Rows::Doubles(&rows[done * 7..size * 7]);
                done += votes.add(how, &ensemble.columns, rows, &mut scores[done * shape.outputs..]);
            }
            let differs = scores.iter().zip(&expected).position(|(score, sum)| score.to_bits() != sum.to_bits());
            assert_eq!(differs, None, "{shape:?}, {size} rows with {}", how.name());
        }
    }
}

#[test]
fn many_kinds_of_leaves_are_too_many() {
    let (ensemble, _) = forest(Shape { outputs: 17, trees: 40, ..SHAPE }, 1);
    assert!(votes_of(&ensemble).is_none());
}

#[test]
fn more_sums_than_nodes_are_too_many() {
    // One leaf each: two nodes for three hundred sums.
    for (trees, is_vote) in [(50, true), (60, false)] {
        let mut builder = Builder::new("m", 1, 300, Link::Identity);
        for tree in 0..trees {
            builder.push(tree % 8..tree % 8 + 1, &[], &[1.0], &[]).unwrap();
        }
        assert_eq!(votes_of(&builder.finish().unwrap()).is_some(), is_vote, "{trees} trees");
    }
}

#[test]
fn trees_that_nearly_vote_do_not() {
    // What the other leaf of the last tree adds, what sums begin with, whether they are float32, and whether all are votes.
    let cases = [
        (0.25, 0.0, false, true),
        (0.0, 0.0, false, true),
        (0.25_f64.next_up(), 0.0, false, false),
        (-0.25, 0.0, false, false),
        (-0.0, 0.0, false, false),
        (0.25, 0.1, false, true),
        (0.25, -0.0, false, false),
        (0.25, 0.5, true, true),
        (0.25, 0.1, true, false),
    ];
    for (other, start, are_single, is_vote) in cases {
        let mut builder = Builder::new("m", 1, 2, Link::Identity);
        if are_single {
            builder.add_as_float32(&[0.0, start]);
        } else {
            builder.start_with(&[0.0, start]);
        }
        let splits = [split(0, 0.5, Rule::MissingRight, -1, -2)];
        for _ in 0..3 {
            builder.push(0..2, &splits, &[1.0, 0.0, 0.0, 0.25], &[]).unwrap();
        }
        builder.push(1..2, &splits, &[0.25, other], &[]).unwrap();
        let ensemble = builder.finish().unwrap();
        assert_eq!(votes_of(&ensemble).is_some(), is_vote, "{other} {start} {are_single}");
        let rows = [0.0, 1.0].repeat(8500);
        let mut scores = vec![0.0; 2 * rows.len()];
        ensemble.score(Rows::Doubles(&rows), &mut scores);
        let rounded = |sum: f64| if are_single { single(sum) } else { sum };
        let sum = |leaves: [f64; 4]| leaves.into_iter().fold(start, |sum, leaf| rounded(sum + leaf));
        for (scores, row) in scores.chunks_exact(2).zip(&rows) {
            let expected = if *row == 0.0 { sum([0.0, 0.0, 0.0, 0.25]) } else { sum([0.25, 0.25, 0.25, other]) };
            let expected = [3.0 * (1.0 - row), expected].map(f64::to_bits);
            assert_eq!([scores[0], scores[1]].map(f64::to_bits), expected, "{other} {start} {are_single}");
        }
    }
}

#[test]
fn sets_of_categories_are_no_votes() {
    let mut builder = Builder::new("m", 1, 1, Link::Identity);
    builder.push(0..1, &[split(0, 0.0, Rule::Categories(0), -1, -2)], &[0.0, 1.0], &[vec![5]]).unwrap();
    assert!(votes_of(&builder.finish().unwrap()).is_none());
}
