//! What a network computes: steps from memory to memory, for a block of rows at a time.

use super::share;
use super::view::{Place, Slot, View, Walk};
use crate::dense::{Binary, Finish, Instructions, Operand, Panels, Reduction, Target, Unary};
use crate::threads::Crew;

/// How a step makes the numbers of a slot.
#[derive(Debug)]
pub(super) enum Step {
    /// Rows of a value, `count` for each row of the block, times weights.
    Product { from: View, count: usize, stride: usize, weights: usize, finish: Finish, to: Slot },
    /// Matrices of two values, one for each index of the leading axes.
    Products { left: View, right: View, to: Slot },
    /// A function of each number, in place.
    Map { function: Unary, at: Slot },
    /// Arithmetic of two values.
    Combine { how: Binary, a: View, b: View, walk: Walk<3>, to: Slot },
    /// `to = to ∘ b`, or `b ∘ to` if it is reversed.
    Update { how: Binary, b: View, walk: Walk<2>, is_reversed: bool, to: Slot },
    /// Numbers to another place.
    Copy { from: View, walk: Walk<2>, to: Slot },
    /// Softmax of each `width` numbers, in place.
    Softmax { width: usize, at: Slot },
    /// Layer normalisation of each so many numbers as there are scales.
    Normalize { from: Slot, scale: Vec<f32>, bias: Vec<f32>, epsilon: f32, to: Slot },
    /// Reduces the middle axis of `[outer, count, inner]`.
    Reduce { how: Reduction, from: Slot, count: usize, inner: usize, to: Slot },
    /// Rows of a table of `width` numbers, by whole numbers; the walk's second view is where each begins.
    Look { table: usize, width: usize, ids: View, walk: Walk<2>, to: Slot },
    /// Whole numbers to floats.
    Number { from: View, walk: Walk<2>, to: Slot },
}

/// A whole model.
#[derive(Debug, Default)]
pub(super) struct Program {
    /// Numbers that each memory of floats has for a row.
    pub(super) floats: Vec<usize>,
    /// The same for whole numbers.
    pub(super) ints: Vec<usize>,
    pub(super) steps: Vec<Step>,
    pub(super) weights: Vec<Panels>,
    pub(super) constants: Vec<Vec<f32>>,
}

/// Memory for a block of rows.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pub(super) floats: Vec<Vec<f32>>,
    pub(super) ints: Vec<Vec<i64>>,
    /// The right matrix of a product of two values.
    panels: Panels,
    rows: usize,
}

/// Multiply-adds of products that may be shared, see [`share::work`].
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Work {
    pub(super) all: usize,
    /// Of those with large weights, which are always faster on several threads.
    pub(super) of_large: usize,
}

/// Why a run ended early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Interrupted {
    /// It was not to go on.
    Stopped,
    /// An id that no entry of a table has.
    OutOfRange { id: i64, entries: usize },
}

impl Memory {
    pub(super) fn new(program: &Program, rows: usize) -> Self {
        Self {
            floats: program.floats.iter().map(|size| vec![0.0; size * rows]).collect(),
            ints: program.ints.iter().map(|size| vec![0; size * rows]).collect(),
            panels: Panels::default(),
            rows,
        }
    }

    /// How many rows it is for, at most.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Numbers of a slot for `rows` rows.
    fn at(&mut self, slot: Slot, rows: usize) -> &mut [f32] {
        &mut self.floats[slot.memory][..slot.size * rows]
    }
}

impl Program {
    /// Numbers that all memories have for a row.
    pub(super) fn floats_per_row(&self) -> usize {
        self.floats.iter().fold(0, |all, size| all.saturating_add(*size))
    }

    /// Bytes that all memories have for a row.
    pub(super) fn bytes_per_row(&self) -> usize {
        let ints = self.ints.iter().fold(0, |all: usize, size| all.saturating_add(*size));
        let bytes = ints.saturating_mul(size_of::<i64>());
        bytes.saturating_add(self.floats_per_row().saturating_mul(size_of::<f32>()))
    }

    /// Bytes of all weights of products.
    pub(super) fn weight_bytes(&self) -> usize {
        self.weights.iter().map(Panels::bytes).sum()
    }

    /// Rows of the largest matrix that one row makes.
    pub(super) fn most_matrix_rows(&self) -> usize {
        let count = |step: &Step| if let Step::Product { count, .. } = step { *count } else { 1 };
        self.steps.iter().map(count).max().unwrap_or(1).max(1)
    }

    /// What the products of `rows` rows take that may be shared.
    pub(super) fn work(&self, rows: usize) -> Work {
        let mut work = Work::default();
        for step in &self.steps {
            if let Step::Product { count, weights, .. } = step {
                let weights = &self.weights[*weights];
                let of_step = share::work(rows * count, weights);
                work.all = work.all.saturating_add(of_step);
                if share::are_large(weights) {
                    work.of_large = work.of_large.saturating_add(of_step);
                }
            }
        }
        work
    }

    /// Runs all steps for `rows` rows; asks between them whether to go on.
    pub(super) fn run(
        &self,
        set: Instructions,
        crew: &Crew,
        memory: &mut Memory,
        rows: usize,
        goes_on: impl Fn() -> bool,
    ) -> Result<(), Interrupted> {
        for step in &self.steps {
            if !goes_on() {
                return Err(Interrupted::Stopped);
            }
            match step {
                Step::Map { function, at } => set.map(*function, memory.at(*at, rows)),
                Step::Softmax { width, at } => set.softmax(memory.at(*at, rows), *width),
                _ => {
                    // Out of the memory's hands while it is written, which nothing that is read lies in.
                    let to = step.target();
                    let mut numbers = std::mem::take(&mut memory.floats[to.memory]);
                    let made = self.make(step, (set, crew), memory, rows, &mut numbers[..to.size * rows]);
                    memory.floats[to.memory] = numbers;
                    made?;
                }
            }
        }
        Ok(())
    }

    fn make(
        &self,
        step: &Step,
        (set, crew): (Instructions, &Crew),
        memory: &mut Memory,
        rows: usize,
        to: &mut [f32],
    ) -> Result<(), Interrupted> {
        match step {
            Step::Map { .. } | Step::Softmax { .. } => {}
            Step::Product { from, count, stride, weights, finish, .. } => {
                let weights = &self.weights[*weights];
                let numbers = &self.numbers(memory, from)[from.offset..];
                let operand = Operand { numbers, stride: *stride, rows: rows * count };
                share::multiply(set, crew, operand, weights, *finish, to);
            }
            Step::Products { left, right, .. } => {
                let mut panels = std::mem::take(&mut memory.panels);
                let (a, b) = (self.numbers(memory, left), self.numbers(memory, right));
                products(set, (left, a), (right, b), to, rows, &mut panels);
                memory.panels = panels;
            }
            Step::Combine { how, a, b, walk, .. } => {
                let (left, right) = (self.numbers(memory, a), self.numbers(memory, b));
                walk.run(rows, |[a, b, at], length| {
                    let (a, b) = (run(left, a, length, walk.steps[0]), run(right, b, length, walk.steps[1]));
                    set.combine(*how, a, b, &mut to[at..at + length]);
                });
            }
            Step::Update { how, b, walk, is_reversed, .. } => {
                let right = self.numbers(memory, b);
                walk.run(rows, |[b, at], length| {
                    let (b, to) = (run(right, b, length, walk.steps[0]), &mut to[at..at + length]);
                    if *is_reversed { set.update_reversed(*how, to, b) } else { set.update(*how, to, b) }
                });
            }
            Step::Copy { from, walk, .. } => {
                let numbers = self.numbers(memory, from);
                walk.run(rows, |[from, at], length| match walk.steps {
                    [1, 1] => to[at..at + length].copy_from_slice(&numbers[from..from + length]),
                    [step, next] => (0..length).for_each(|one| to[at + one * next] = numbers[from + one * step]),
                });
            }
            Step::Normalize { from, scale, bias, epsilon, .. } => {
                set.normalize(memory.at(*from, rows), to, scale, bias, *epsilon);
            }
            Step::Reduce { how, from, count, inner, .. } => {
                set.reduce(*how, memory.at(*from, rows), to, *count, *inner);
            }
            Step::Look { table, width, ids, walk, .. } => {
                let numbers = whole_numbers(memory, ids);
                let mut all = Ok(());
                walk.run(rows, |[from, at], length| {
                    for one in 0..length {
                        let to = &mut to[at + one * walk.steps[1]..][..*width];
                        let looked = look(&self.constants[*table], numbers[from + one * walk.steps[0]], to);
                        all = all.and(looked);
                    }
                });
                return all;
            }
            Step::Number { from, walk, .. } => {
                let numbers = whole_numbers(memory, from);
                walk.run(rows, |[from, at], length| {
                    for one in 0..length {
                        #[allow(clippy::cast_precision_loss, reason = "what a cast of ONNX does")]
                        let number = numbers[from + one * walk.steps[0]] as f32;
                        to[at + one * walk.steps[1]] = number;
                    }
                });
            }
        }
        Ok(())
    }

    /// What a view's offsets count in.
    pub(super) fn numbers<'a>(&'a self, memory: &'a Memory, view: &View) -> &'a [f32] {
        match view.place {
            Place::Block(slot) => &memory.floats[slot.memory],
            Place::Constant(constant) => &self.constants[constant],
        }
    }
}

/// What a view's offsets count in; constants are floats.
fn whole_numbers<'a>(memory: &'a Memory, view: &View) -> &'a [i64] {
    match view.place {
        Place::Block(slot) => &memory.ints[slot.memory],
        Place::Constant(_) => &[],
    }
}

impl Step {
    /// The memories of floats that it reads.
    pub(super) fn sources(&self) -> [Option<usize>; 2] {
        let of = |view: &View| if let Place::Block(slot) = view.place { Some(slot.memory) } else { None };
        match self {
            Self::Map { at, .. } | Self::Softmax { at, .. } => [Some(at.memory), None],
            Self::Normalize { from, .. } | Self::Reduce { from, .. } => [Some(from.memory), None],
            Self::Product { from, .. } | Self::Copy { from, .. } => [of(from), None],
            Self::Products { left, right, .. } => [of(left), of(right)],
            Self::Combine { a, b, .. } => [of(a), of(b)],
            Self::Update { b, to, .. } => [of(b), Some(to.memory)],
            // Whole numbers have memories of their own.
            Self::Look { .. } | Self::Number { .. } => [None; 2],
        }
    }

    /// Where its numbers go.
    pub(super) fn target(&self) -> Slot {
        match self {
            Self::Map { at, .. } | Self::Softmax { at, .. } => *at,
            Self::Product { to, .. }
            | Self::Products { to, .. }
            | Self::Combine { to, .. }
            | Self::Update { to, .. }
            | Self::Copy { to, .. }
            | Self::Normalize { to, .. }
            | Self::Reduce { to, .. }
            | Self::Look { to, .. }
            | Self::Number { to, .. } => *to,
        }
    }
}

/// A run of numbers, or the one that stands for all of them.
fn run(numbers: &[f32], at: usize, length: usize, step: usize) -> &[f32] {
    if step == 0 { &numbers[at..=at] } else { &numbers[at..at + length] }
}

/// One row of a table; numbers below 0 count from its end.
fn look(table: &[f32], id: i64, to: &mut [f32]) -> Result<(), Interrupted> {
    let entries = table.len() / to.len();
    let count = i64::try_from(entries).unwrap_or(i64::MAX);
    let at = if id < 0 { id.checked_add(count) } else { Some(id) };
    match at.and_then(|at| usize::try_from(at).ok()).filter(|at| *at < entries) {
        Some(at) => {
            let from = &table[at * to.len()..][..to.len()];
            let ((lines, rest), (all, more)) = (from.as_chunks::<16>(), to.as_chunks_mut::<16>());
            // In place of a call for a few numbers.
            all.iter_mut().zip(lines).for_each(|(to, from)| *to = *from);
            more.copy_from_slice(rest);
            Ok(())
        }
        None => Err(Interrupted::OutOfRange { id, entries }),
    }
}

/// The product of two matrices for each row of the block and each index of the leading axes; one after the other.
fn products(
    set: Instructions,
    (left, a): (&View, &[f32]),
    (right, b): (&View, &[f32]),
    to: &mut [f32],
    rows: usize,
    panels: &mut Panels,
) {
    let rank = left.dims.len();
    let (depth, columns, lines) = (left.dims[rank - 1], right.dims[rank - 1], left.dims[rank - 2]);
    let (down, across) = (right.strides[rank - 2], right.strides[rank - 1]);
    let corner = |view: &View| {
        let mut corner = view.clone();
        corner.dims[rank - 2..].fill(1);
        corner
    };
    let walk = Walk::new([&corner(left), &corner(right)]);
    let mut all = to.chunks_exact_mut(lines * columns);
    walk.run(rows, |starts, length| {
        for one in 0..length {
            let [left_at, right_at] = std::array::from_fn(|view| starts[view] + one * walk.steps[view]);
            let Some(to) = all.next() else { return };
            let b = &b[right_at..];
            panels.fill(depth, columns, b, (down, across));
            let operand = Operand { numbers: &a[left_at..], stride: left.strides[rank - 2], rows: lines };
            set.multiply(operand, panels, 0..panels.count(), Finish::Sum, Target::new(to, lines, columns, columns));
        }
    });
}
