//! Numbers at the edges of what floats can be, as thresholds and in rows, and categories that there are not.

use super::*;

/// Zeros, subnormal numbers of both types, the ends of their ranges, and what is beyond float32 on either side.
const EDGES: [f64; 12] = [
    0.0,
    5e-324,
    f64::MIN_POSITIVE,
    1e-45,
    1e-40,
    f32::MIN_POSITIVE as f64,
    1e-35,
    16_777_217.0,
    f32::MAX as f64,
    1e39,
    f64::MAX,
    f64::INFINITY,
];

#[test]
fn numbers_at_the_edges_are_compared_alike_by_every_kernel() {
    let thresholds: Vec<f64> = EDGES.into_iter().flat_map(|edge| [edge, -edge]).collect();
    // Thresholds, their neighbours, and those as float32.
    #[allow(clippy::cast_possible_truncation, reason = "what it is about")]
    let near = |threshold: &f64| {
        let single = *threshold as f32;
        let singles = [single, single.next_up(), single.next_down()].map(f64::from);
        [[*threshold, threshold.next_up(), threshold.next_down()], singles].concat()
    };
    let values: Vec<f64> = thresholds.iter().flat_map(near).chain([f64::NAN]).collect();
    let features = 3;
    for (seed, is_near_zero_zero) in [(0, false), (1, true), (2, false), (3, true)] {
        let (mut random, mut tables) = (Random(seed), Vec::new());
        let mut builder = Builder::new("m", features, 1, Link::Identity);
        if is_near_zero_zero {
            builder.take_near_zero_for_zero();
        }
        for tree in 0..80 {
            // The first trees look at one threshold each.
            let leaves = if tree < thresholds.len() { 2 } else { 2 + random.below(30) };
            let mut table = random_tree(&mut random, leaves, features, false, 10);
            for split in &mut table.0 {
                let which = if tree < thresholds.len() { tree } else { random.below(thresholds.len()) };
                split.threshold = thresholds[which];
            }
            builder.push(0..1, &table.0, &table.1, &[]).unwrap();
            tables.push(table);
        }
        let ensemble = builder.finish().unwrap();
        let rows: Vec<f64> = (0..values.len() * features).map(|_| values[random.below(values.len())]).collect();
        // Each value by itself as well.
        let rows = [values.iter().flat_map(|value| [*value; 3]).collect(), rows].concat();
        let zero = if is_near_zero_zero { ZERO } else { 0.0 };
        check_kernels(&format!("near zero is zero: {is_near_zero_zero}"), &ensemble, &rows, &|row, sums| {
            for table in &tables {
                sums[0] += walk_plainly(table, row, zero, -1.0);
            }
        });
    }
}

#[test]
fn categories_that_there_are_not_go_where_every_other_does() {
    let values = [
        -0.0,
        0.0,
        5e-324,
        -5e-324,
        -0.5,
        -0.999,
        -1.0,
        -1.5,
        -2.0,
        -33.0,
        -1e300,
        0.9,
        1.0,
        31.0,
        31.9,
        32.0,
        63.0,
        64.0,
        95.0,
        96.0,
        1e6,
        2_147_483_647.0,
        2_147_483_648.0,
        4_294_967_295.0,
        4_294_967_296.0,
        4_294_967_328.0,
        9e15,
        1e300,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::NAN,
    ];
    for (seed, refuses_negative) in [(0, false), (1, true), (2, false), (3, true)] {
        let (mut random, mut tables) = (Random(seed), Vec::new());
        let mut builder = Builder::new("m", 2, 1, Link::Identity);
        if refuses_negative {
            builder.refuse_negative_categories();
        }
        for _ in 0..70 {
            let leaves = 2 + random.below(20);
            let table = random_tree(&mut random, leaves, 2, true, 200);
            builder.push(0..1, &table.0, &table.1, &table.2).unwrap();
            tables.push(table);
        }
        let ensemble = builder.finish().unwrap();
        let others = (0..200).map(|_| values[random.below(values.len())]);
        let rows: Vec<f64> = values.iter().flat_map(|value| [*value; 2]).chain(others).collect();
        let least = if refuses_negative { 0.0 } else { (-1_f64).next_up() };
        check_kernels(&format!("negative ones are refused: {refuses_negative}"), &ensemble, &rows, &|row, sums| {
            for table in &tables {
                sums[0] += walk_plainly(table, row, 0.0, least);
            }
        });
    }
}
