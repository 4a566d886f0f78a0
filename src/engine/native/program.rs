//! What the native engine computes: steps from slot to slot, for a block of rows at a time.
//!
//! Every step looks at each row alone, so that blocks, pieces and threads change nothing.

use std::collections::BTreeMap;
use std::fmt::Debug;

use super::spare::Spare;
use super::values::{Constant, Element, Values};
use crate::onnx::Classes;
use crate::tensor::DType;

/// Rows that go through the steps at once: as many as trees score at once, unless they want more.
const BLOCK: usize = 512;
/// Bytes of all their values, at most, unless one row has more.
const BLOCK_BYTES: usize = 4 << 20;

/// What a value of a row cannot be computed from: the end of the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trouble {
    /// What was got, and what was expected.
    pub(super) problem: String,
    pub(super) fix: &'static str,
}

/// Makes slots of slots.
pub(super) trait Step: Debug + Send + Sync {
    fn run<'a>(&'a self, block: &mut Block<'a>) -> Result<(), Trouble>;

    /// How many rows it is best done with at once.
    fn most_rows(&self) -> usize {
        BLOCK
    }

    /// How trees are scored, in words.
    fn kernel(&self) -> Option<String> {
        None
    }
}

/// Rows on their way through the steps.
#[derive(Debug)]
pub(super) struct Block<'a> {
    pub(super) rows: usize,
    slots: Vec<Values<'a>>,
    spare: Box<Spare>,
    /// Numbers of a step and bytes of an input, whose memory the next block takes again.
    pub(super) scratch: Vec<f64>,
    pub(super) bytes: Vec<u8>,
}

/// What a slot holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) dtype: DType,
    /// Elements of a row.
    pub(super) each: usize,
}

/// Where a step finds a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) slot: usize,
    /// Elements of a row.
    pub(super) each: usize,
    /// Elements from one row to the next: none if it is a constant.
    pub(super) stride: usize,
}

/// How an output is made of a slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Form {
    /// `[rows, …]`, with what follows the rows.
    Tensor(Vec<usize>),
    /// A map for each row: its keys in their order, and which column each has.
    Maps(Classes, Vec<usize>),
}

/// An output.
#[derive(Debug, Clone)]
pub(super) struct Output {
    pub(super) slot: usize,
    pub(super) form: Form,
}

/// A whole model. The first slots are the inputs.
#[derive(Debug, Default)]
pub(super) struct Program {
    pub(super) slots: Vec<Kind>,
    /// What the slots hold that are the same for all rows.
    pub(super) constants: BTreeMap<usize, Constant>,
    pub(super) steps: Vec<Box<dyn Step>>,
    pub(super) outputs: Vec<Output>,
}

impl Program {
    /// Room for blocks, with the constants in their slots.
    pub(super) fn block(&self) -> Block<'_> {
        let mut spare = Spare::take();
        let mut slots = spare.take_slots();
        slots.resize_with(self.slots.len(), Values::default);
        for (slot, constant) in &self.constants {
            slots[*slot] = constant.values();
        }
        Block { rows: 0, slots, spare, scratch: Vec::new(), bytes: Vec::new() }
    }

    /// Makes all slots of those of the inputs.
    pub(super) fn run<'a>(&'a self, block: &mut Block<'a>) -> Result<(), Trouble> {
        self.steps.iter().try_for_each(|step| step.run(block))
    }

    /// How many of so many rows go through the steps at once: about as many each time.
    pub(super) fn block_of(&self, rows: usize) -> usize {
        let most = (BLOCK_BYTES / self.row_bytes().max(1)).clamp(1, self.wanted_rows());
        let blocks = rows.div_ceil(most).max(1);
        rows.div_ceil(blocks).next_multiple_of(BLOCK).min(most)
    }

    /// How many rows a piece of a batch should have at least, if a step gains from more of them than others do.
    pub(super) fn piece(&self) -> Option<usize> {
        (self.wanted_rows() > BLOCK).then_some(BLOCK)
    }

    fn wanted_rows(&self) -> usize {
        self.steps.iter().map(|step| step.most_rows()).fold(BLOCK, usize::max)
    }

    /// Bytes of all slots for one row.
    pub(super) fn row_bytes(&self) -> usize {
        let bytes = |kind: &Kind| kind.each.saturating_mul(kind.dtype.size().max(size_of::<usize>()));
        self.slots.iter().map(bytes).fold(0, usize::saturating_add)
    }
}

impl<'a> Block<'a> {
    /// The values of a slot.
    pub(super) fn slot(&self, slot: usize) -> &Values<'a> {
        &self.slots[slot]
    }

    /// The elements of a slot; none if they are of another kind, which no program has.
    pub(super) fn get<T: Element<'a>>(&self, slot: usize) -> &[T] {
        T::of(&self.slots[slot]).unwrap_or_default()
    }

    /// Fills a slot: `fill` appends all rows' elements.
    pub(super) fn make<T: Element<'a>, R>(&mut self, slot: usize, fill: impl FnOnce(&Self, &mut Vec<T>) -> R) -> R {
        let mut elements = T::reuse(std::mem::take(&mut self.slots[slot]));
        elements.clear();
        if elements.capacity() == 0
            && let Some(spare) = T::spare(&mut self.spare)
        {
            elements = spare;
        }
        let result = fill(self, &mut elements);
        self.slots[slot] = T::wrap(elements);
        result
    }

    /// The elements of a slot of numbers as float64.
    pub(super) fn numbers(&self, slot: usize, numbers: &mut Vec<f64>) {
        numbers.clear();
        match &self.slots[slot] {
            Values::Floats(elements) => numbers.extend(elements.iter().map(|value| f64::from(*value))),
            Values::Doubles(elements) => numbers.extend_from_slice(elements),
            #[allow(clippy::cast_precision_loss, reason = "what a cast of ONNX does")]
            Values::Ints(elements) => numbers.extend(elements.iter().map(|value| *value as f64)),
            Values::Bools(elements) => numbers.extend(elements.iter().map(|value| f64::from(u8::from(*value)))),
            Values::Texts(_) => {}
        }
    }

    /// Changes the elements of a slot of float64 where they are.
    pub(super) fn change(&mut self, slot: usize, change: impl FnOnce(&mut [f64])) {
        if let Values::Doubles(elements) = &mut self.slots[slot] {
            change(elements.to_mut());
        }
    }

    /// Keeps the memory for the next block of the thread.
    pub(super) fn keep(self) {
        self.spare.keep(self.slots);
    }

    pub(super) fn take(&mut self, slot: usize) -> Values<'a> {
        std::mem::take(&mut self.slots[slot])
    }
}

impl Source {
    /// The elements of a row.
    pub(super) fn row<'b, T>(&self, elements: &'b [T], row: usize) -> &'b [T] {
        let start = row * self.stride;
        elements.get(start..start + self.each).unwrap_or_default()
    }
}
