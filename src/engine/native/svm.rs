//! Support vector machines: kernels of a row with each support vector, in float64, and what is made of them.

use super::attributes::{int, only, plain};
use super::classes::{labels, name};
use super::planner::{Known, Planned, Planner, Value};
use super::program::{Block, Step, Trouble};
use super::shape::Axis;
use crate::onnx::{Classes, FullNode};
use crate::tensor::DType;

/// How a row and a support vector become a number.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kernel {
    Linear,
    /// `exp(-gamma * |a - b|²)`.
    Rbf(f64),
    /// `(gamma * a·b + coef0) ^ degree`.
    Polynomial(f64, f64, f64),
    /// `tanh(gamma * a·b + coef0)`.
    Sigmoid(f64, f64),
}

/// Vectors of as many columns as a row has: their numbers column by column, so that all go along with one number of the row.
#[derive(Debug)]
struct Vectors {
    kernel: Kernel,
    columns: usize,
    count: usize,
    all: Vec<f64>,
}

#[derive(Debug)]
struct Regressor {
    vectors: Vectors,
    coefficients: Vec<f64>,
    rho: f64,
    /// Whether the answer is only on which side of the surface a row is.
    is_one_class: bool,
    from: usize,
    to: usize,
}

#[derive(Debug)]
struct Classifier {
    vectors: Vectors,
    /// Where the vectors of each class end.
    ends: Vec<usize>,
    /// For each class but the last, a number for each vector.
    coefficients: Vec<f64>,
    /// For each pair of classes.
    rho: Vec<f64>,
    /// For each pair of classes, what makes a probability of a score, if there are to be any.
    platt: Option<Vec<(f64, f64)>>,
    labels: Classes,
    from: usize,
    label: usize,
    to: usize,
}

/// More pairs of classes than any model has.
const MOST_CLASSES: usize = 256;

fn doubles(node: &FullNode<'_>, name: &str) -> Planned<Vec<f64>> {
    let list = node.floats(name).ok_or_else(|| format!("no numbers in `{name}`"))?;
    Ok(list.iter().map(|value| f64::from(*value)).collect())
}

fn vectors(node: &FullNode<'_>, columns: usize) -> Planned<Vectors> {
    let parameters = doubles(node, "kernel_params")?;
    let (gamma, coef0, degree) = match parameters.as_slice() {
        [] if node.get("kernel_params").is_some() => (0.0, 0.0, 0.0),
        [gamma, coef0, degree] => (*gamma, *coef0, *degree),
        _ => return Err("other numbers in `kernel_params` than three".to_owned()),
    };
    let kernel = match node.text("kernel_type", "LINEAR") {
        Some("LINEAR") => Kernel::Linear,
        Some("RBF") => Kernel::Rbf(gamma),
        Some("POLY") => Kernel::Polynomial(gamma, coef0, degree),
        Some("SIGMOID") => Kernel::Sigmoid(gamma, coef0),
        _ => return Err("a kernel that is not known".to_owned()),
    };
    let all = doubles(node, "support_vectors")?;
    if all.len() % columns == 0 {
        Ok(Vectors::new(kernel, columns, &all))
    } else {
        Err("vectors of another length".to_owned())
    }
}

pub(super) fn regressor<'a>(planner: &mut Planner<'a>, node: &FullNode<'a>) -> Planned<()> {
    let known = ["kernel_type", "kernel_params", "n_supports", "support_vectors", "coefficients", "rho", "one_class"];
    only(node, &[&known[..], &["post_transform"]].concat())?;
    plain(node, "post_transform", "NONE")?;
    let (value, columns) = planner.matrix(node, 0)?;
    if value.dtype != DType::Float32 || node.inputs.len() != 1 {
        return Err("an input that is not of float32".to_owned());
    }
    let mut vectors = vectors(node, columns)?;
    let mut coefficients = doubles(node, "coefficients")?;
    if int(node, "n_supports", -1)? == 0 {
        // Without support vectors, the coefficients are one.
        vectors = Vectors::new(Kernel::Linear, columns, &std::mem::replace(&mut coefficients, vec![1.0]));
    } else if usize::try_from(int(node, "n_supports", -1)?) != Ok(vectors.count) {
        return Err("another number of vectors than it says".to_owned());
    }
    let rho = match doubles(node, "rho")?.as_slice() {
        [rho] if vectors.count == coefficients.len() && !coefficients.is_empty() => *rho,
        _ => return Err("lists of other lengths".to_owned()),
    };
    let is_one_class = int(node, "one_class", 0)? != 0;
    let shape = vec![Axis::Rows, Axis::Size(1)];
    let from = value.slot;
    planner.emit(node, DType::Float32, shape, |to| Regressor { vectors, coefficients, rho, is_one_class, from, to })
}

pub(super) fn classifier<'a>(planner: &mut Planner<'a>, node: &FullNode<'a>) -> Planned<()> {
    let known = ["kernel_type", "kernel_params", "vectors_per_class", "support_vectors", "coefficients", "rho"];
    let more = ["prob_a", "prob_b", "classlabels_ints", "classlabels_strings", "post_transform"];
    only(node, &[&known[..], &more].concat())?;
    plain(node, "post_transform", "NONE")?;
    let (value, columns) = planner.floats(node)?;
    let (labels, classes) = labels(node, "classlabels_ints")?;
    if classes > MOST_CLASSES {
        return Err(format!("{classes} classes"));
    }
    let vectors = vectors(node, columns)?;
    let mut ends = Vec::with_capacity(classes);
    let mut end = 0_usize;
    for count in node.ints("vectors_per_class").ok_or("no whole numbers in `vectors_per_class`")? {
        let count = usize::try_from(*count).map_err(|_| "a negative number of vectors")?;
        end = end.checked_add(count).ok_or("too many vectors")?;
        ends.push(end);
    }
    let pairs = classes * (classes - 1) / 2;
    let (coefficients, rho) = (doubles(node, "coefficients")?, doubles(node, "rho")?);
    let fits = ends.len() == classes
        && end > 0
        && end == vectors.count
        && end.checked_mul(classes - 1) == Some(coefficients.len())
        && rho.len() == pairs;
    let (a, b) = (doubles(node, "prob_a")?, doubles(node, "prob_b")?);
    let platt = match a.len() {
        0 => None,
        _ => Some(a.iter().copied().zip(b.iter().copied()).collect()),
    };
    if !fits || a.len() != b.len() || !(a.is_empty() || a.len() == pairs) {
        return Err("lists of other lengths".to_owned());
    }
    let scores = match (&platt, classes) {
        (Some(_), _) | (None, 2) => classes,
        (None, _) => pairs,
    };
    let columns = vec![Axis::Rows, Axis::Size(scores)];
    let dtype = if let Classes::Ints(_) = labels { DType::Int64 } else { DType::String };
    let (label, to) = (planner.slot(dtype, &[Axis::Rows])?, planner.slot(DType::Float32, &columns)?);
    planner.push(Classifier { vectors, ends, coefficients, rho, platt, labels, from: value.slot, label, to });
    planner.name(node, 0, Known::Value(Value { slot: label, dtype, shape: vec![Axis::Rows] }))?;
    planner.name(node, 1, Known::Value(Value { slot: to, dtype: DType::Float32, shape: columns }))
}

impl Vectors {
    fn new(kernel: Kernel, columns: usize, all: &[f64]) -> Self {
        let count = all.len() / columns;
        let by_columns = (0..columns).flat_map(|column| (0..count).map(move |at| all[at * columns + column]));
        Self { kernel, columns, count, all: by_columns.collect() }
    }

    /// A number for each vector. Each adds its products in the order of the columns.
    fn kernels(&self, row: &[f64], out: &mut Vec<f64>) {
        out.clear();
        out.resize(self.count, 0.0);
        let is_distance = matches!(self.kernel, Kernel::Rbf(_));
        for (value, column) in row.iter().zip(self.all.chunks_exact(self.count.max(1))) {
            for (sum, other) in out.iter_mut().zip(column) {
                *sum += if is_distance { (value - other) * (value - other) } else { value * other };
            }
        }
        let each: &dyn Fn(f64) -> f64 = match self.kernel {
            Kernel::Linear => return,
            Kernel::Rbf(gamma) => &move |square| (-gamma * square).exp(),
            Kernel::Polynomial(gamma, coef0, degree) => &move |dot| (gamma * dot + coef0).powf(degree),
            Kernel::Sigmoid(gamma, coef0) => &move |dot| (gamma * dot + coef0).tanh(),
        };
        for value in out {
            *value = each(*value);
        }
    }
}

impl Step for Regressor {
    #[allow(clippy::cast_possible_truncation, reason = "rounded once")]
    fn run<'a>(&'a self, block: &mut Block<'a>) -> Result<(), Trouble> {
        let (mut rows, mut kernels) = (std::mem::take(&mut block.scratch), Vec::new());
        block.numbers(self.from, &mut rows);
        block.make(self.to, |_, out: &mut Vec<f32>| {
            for row in rows.chunks_exact(self.vectors.columns) {
                self.vectors.kernels(row, &mut kernels);
                let sum: f64 = kernels.iter().zip(&self.coefficients).map(|(a, b)| a * b).sum();
                let score = sum + self.rho;
                out.push(match self.is_one_class {
                    true if score > 0.0 => 1.0,
                    true => -1.0,
                    false => score as f32,
                });
            }
        });
        block.scratch = rows;
        Ok(())
    }
}

impl Classifier {
    /// A score for each pair of classes, and which class most of them are for.
    fn scores(&self, kernels: &[f64], scores: &mut Vec<f64>) -> usize {
        let classes = self.ends.len();
        scores.clear();
        let mut votes = vec![0_u32; classes];
        let vectors = |class: usize| class.checked_sub(1).map_or(0, |before| self.ends[before])..self.ends[class];
        let sum = |of: usize, with: usize| {
            let start = of * kernels.len();
            vectors(with).map(|at| self.coefficients[start + at] * kernels[at]).sum::<f64>()
        };
        for first in 0..classes {
            for second in first + 1..classes {
                let score = sum(second - 1, first) + sum(first, second) + self.rho[scores.len()];
                scores.push(score);
                votes[if score > 0.0 { first } else { second }] += 1;
            }
        }
        (1..classes).fold(0, |best, class| if votes[class] > votes[best] { class } else { best })
    }
}

/// Probabilities of classes from those of pairs, `r[i * k + j]` being that of `i` beside `j` (Wu, Lin and Weng 2004, as
/// libsvm has it).
#[allow(clippy::cast_precision_loss, reason = "few classes")]
fn couple(r: &[f64], k: usize) -> Vec<f64> {
    let mut q = vec![0.0; k * k];
    for i in 0..k {
        for j in (0..k).filter(|j| *j != i) {
            q[i * k + i] += r[j * k + i] * r[j * k + i];
            q[i * k + j] = -r[j * k + i] * r[i * k + j];
        }
    }
    let (mut p, mut qp) = (vec![1.0 / k as f64; k], vec![0.0; k]);
    let close = 0.005 / k as f64;
    for _ in 0..k.max(100) {
        for (qp, row) in qp.iter_mut().zip(q.chunks_exact(k)) {
            *qp = row.iter().zip(&p).map(|(q, p)| q * p).sum();
        }
        let mut pqp: f64 = p.iter().zip(&qp).map(|(p, qp)| p * qp).sum();
        if qp.iter().all(|qp| (qp - pqp).abs() < close) {
            break;
        }
        for t in 0..k {
            let diff = (pqp - qp[t]) / q[t * k + t];
            p[t] += diff;
            pqp = (pqp + diff * (diff * q[t * k + t] + 2.0 * qp[t])) / (1.0 + diff) / (1.0 + diff);
            for j in 0..k {
                qp[j] = (qp[j] + diff * q[t * k + j]) / (1.0 + diff);
                p[j] /= 1.0 + diff;
            }
        }
    }
    p
}

impl Step for Classifier {
    #[allow(clippy::cast_possible_truncation, reason = "rounded once")]
    fn run<'a>(&'a self, block: &mut Block<'a>) -> Result<(), Trouble> {
        const LEAST: f64 = 1e-7;
        let classes = self.ends.len();
        let (mut rows, mut kernels, mut scores) = (std::mem::take(&mut block.scratch), Vec::new(), Vec::new());
        let mut chosen = Vec::with_capacity(block.rows);
        block.numbers(self.from, &mut rows);
        block.make(self.to, |_, out: &mut Vec<f32>| {
            for row in rows.chunks_exact(self.vectors.columns) {
                self.vectors.kernels(row, &mut kernels);
                chosen.push(self.scores(&kernels, &mut scores));
                match &self.platt {
                    None if classes == 2 => out.extend(scores.iter().flat_map(|score| [-*score as f32, *score as f32])),
                    None => out.extend(scores.iter().map(|score| *score as f32)),
                    Some(platt) => {
                        let mut pairs = vec![0.0; classes * classes];
                        let mut all = scores.iter().zip(platt);
                        for first in 0..classes {
                            for second in first + 1..classes {
                                let Some((score, (a, b))) = all.next() else { continue };
                                let probability = 1.0 / (1.0 + (score * a + b).exp());
                                let probability = probability.clamp(LEAST, 1.0 - LEAST);
                                pairs[first * classes + second] = probability;
                                pairs[second * classes + first] = 1.0 - probability;
                            }
                        }
                        out.extend(couple(&pairs, classes).iter().map(|probability| *probability as f32));
                    }
                }
            }
        });
        block.scratch = rows;
        name(block, self.label, &chosen, &self.labels);
        Ok(())
    }
}
