use super::*;
use crate::tensor::{Elements, Strings};
use crate::testing::port;

fn symbol(name: &str) -> Dim {
    Dim::Symbol(name.to_owned())
}

fn given(index: usize, shape: &[i64]) -> InputTensor {
    InputTensor { index, shape: Shape::from_slice(shape), elements: Elements::Strings(Strings::default()) }
}

#[test]
fn shapes_are_fitted() {
    let matrix = [symbol("N"), Dim::Fixed(3)];
    let column = [Dim::Unknown, Dim::Fixed(1)];
    let free = [Dim::Unknown, Dim::Unknown];
    let cases: [(&[Dim], &[i64], Option<&[i64]>); 19] = [
        (&matrix, &[5, 3], Some(&[5, 3])),
        (&matrix, &[0, 3], Some(&[0, 3])),
        (&matrix, &[3], Some(&[1, 3])),
        (&matrix, &[4], None),
        (&matrix, &[5, 4], None),
        (&matrix, &[5, 3, 1], None),
        (&matrix, &[], None),
        (&column, &[5], Some(&[5, 1])),
        (&column, &[1], Some(&[1, 1])),
        (&column, &[], Some(&[1, 1])),
        (&column, &[5, 2], None),
        (&free, &[7], Some(&[1, 7])),
        (&[Dim::Fixed(2), Dim::Fixed(1)], &[2], Some(&[2, 1])),
        (&[Dim::Fixed(2), Dim::Fixed(1)], &[3], None),
        (&[symbol("N")], &[], Some(&[1])),
        (&[Dim::Fixed(1), Dim::Fixed(2), Dim::Fixed(3)], &[2, 3], None),
        (&[], &[4, 5], None),
        (&[], &[1], Some(&[])),
        (&[], &[], Some(&[])),
    ];
    for (dims, got, expected) in cases {
        let signature = Signature::new("m", vec![port("x", dims)], vec![]);
        let fitted = signature.fit_shape(0, got);
        match expected {
            Some(expected) => assert_eq!(fitted.as_deref(), Ok(expected), "{dims:?} {got:?}"),
            None => assert_eq!(fitted.map_err(|error| error.kind()), Err(ErrorKind::Input), "{dims:?} {got:?}"),
        }
    }
}

#[test]
fn output_shapes_follow_from_inputs() {
    let inputs = vec![port("a", &[symbol("N"), symbol("K")]), port("b", &[symbol("N"), Dim::Fixed(2)])];
    let cases: [(&[Dim], Option<i64>, Option<&[i64]>); 8] = [
        (&[symbol("N"), Dim::Fixed(4)], None, Some(&[5, 4])),
        (&[symbol("K"), symbol("N")], None, Some(&[3, 5])),
        (&[Dim::Fixed(1)], None, Some(&[1])),
        (&[symbol("M")], None, None),
        (&[Dim::Unknown, Dim::Fixed(4)], None, None),
        (&[Dim::Unknown, Dim::Fixed(4)], Some(5), Some(&[5, 4])),
        (&[symbol("N"), Dim::Unknown], Some(5), None),
        (&[], None, Some(&[])),
    ];
    for (dims, rows, expected) in cases {
        let signature = Signature::new("m", inputs.clone(), vec![port("y", dims)]);
        let shape = signature.output_shape(0, &[given(0, &[5, 3]), given(1, &[5, 2])], rows);
        assert_eq!(shape.as_deref(), expected, "{dims:?}");
    }
    let signature = Signature::new("m", inputs, vec![port("y", &[symbol("N")])]);
    assert_eq!(signature.output_shape(0, &[given(0, &[5, 3]), given(1, &[6, 2])], None), None, "sizes disagree");
}

#[test]
fn names_are_checked() {
    let mut default = port("scale", &[]);
    default.required = false;
    let signature = Signature::new("m.onnx", vec![port("amount", &[]), default], vec![port("score", &[])]);
    assert_eq!((signature.sole_input(), signature.input_index("scale")), (Ok(0), Ok(1)));
    let error = signature.input_index("amuont").unwrap_err().to_string();
    assert!(error.contains("`amuont`") && error.contains("did you mean `amount`?"), "{error}");
    let error = signature.output_index("zzz").unwrap_err().to_string();
    assert!(error.contains("expected outputs: `score`"), "{error}");
    assert!(signature.check_complete(&[given(0, &[])]).is_ok());
    let error = signature.check_complete(&[given(1, &[])]).unwrap_err().to_string();
    assert!(error.contains("missing input `amount`"), "{error}");
    let several = Signature::new("m", vec![port("a", &[]), port("b", &[])], vec![]);
    assert!(several.sole_input().unwrap_err().to_string().contains("mapping"));
}
