use super::*;

fn split(feature: u32, threshold: f64, rule: Rule, left: i32, right: i32) -> Split {
    Split { feature, threshold, rule, children: [left, right] }
}

fn stump(rule: Rule, threshold: f64) -> Ensemble {
    let mut trees = Ensemble::new("m", 1, 1, Link::Identity);
    trees.push(&[split(0, threshold, rule, -1, -2)], &[1.0, 2.0], vec![vec![0b101]]).unwrap();
    trees
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
        (Rule::Categories(0), 0.0, [(-0.5, 1.0), (-1.0, 2.0), (1e10, 2.0), (33.0, 2.0)]),
    ];
    for (rule, threshold, values) in cases {
        for (value, expected) in values {
            let mut scores = [0.0];
            stump(rule, threshold).score(&mut [value], &mut scores);
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
        let mut trees = Ensemble::new("m", 1, 1, Link::Identity);
        let error = trees.push(splits, leaves, Vec::new()).unwrap_err();
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
    ];
    for (link, expected) in cases {
        let mut trees = Ensemble::new("m", 1, 2, link);
        trees.push(&[], &[0.0], Vec::new()).unwrap();
        trees.push(&[], &[-2.0], Vec::new()).unwrap();
        let mut scores = [9.0; 4];
        trees.score(&mut [1.0, 2.0], &mut scores);
        assert_eq!(scores.map(f64::to_bits)[..2], scores.map(f64::to_bits)[2..]);
        for (score, expected) in scores.iter().zip(expected) {
            assert!((score - expected).abs() < 1e-15, "{link:?}: {score} {expected}");
        }
    }
}
