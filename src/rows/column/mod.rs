//! One input under construction: elements as they come, and the shape that their nesting says.

mod refusals;
mod slots;

use smallvec::SmallVec;

use super::cell::{self, Misfit, Scalar};
use crate::error::{Error, ErrorKind, Result};
use crate::signature::{Dim, Signature};
use crate::tensor::{Buffer, DType, Elements, InputTensor, Shape, Strings};

/// Most dimensions of an input whose rank the model leaves open; deeper nesting is no tensor.
const MOST_DIMS: usize = 32;
/// Bytes to begin with: a row of the usual size.
const FIRST_BYTES: usize = 256;
/// The same where a row is one value: what needs no memory elsewhere.
const FIRST_SCALARS: usize = 16;

/// Builds one input.
///
/// The first axis is either told like the others, as a list of its own, or left open by whoever counts the rows.
#[derive(Debug)]
pub(crate) struct Column<'a> {
    signature: &'a Signature,
    index: usize,
    dtype: DType,
    /// Names of the elements of a row `[k]`, for errors.
    names: &'a [String],
    /// Sizes of the axes as far as they are known; their number is the rank once `has_rank`.
    sizes: SmallVec<[Option<usize>; 3]>,
    has_rank: bool,
    /// The caller said the sizes.
    is_sized: bool,
    /// Elements of a row where all rows are in one list.
    flat_row: Option<usize>,
    /// Complete elements along each open axis.
    counts: SmallVec<[usize; 3]>,
    /// Lists that are open when a value begins: 1 if rows are counted from outside.
    base: usize,
    /// Where the elements of a row that comes by name are, and the texts among them.
    slots: (usize, Vec<String>),
    bytes: Buffer,
    end: usize,
    strings: Strings,
}

impl<'a> Column<'a> {
    /// Input `index`, row by row: each value is one row.
    pub(crate) fn of_rows(signature: &'a Signature, index: usize) -> Result<Self> {
        let mut column = Self::whole(signature, index)?;
        column.base = 1;
        column.counts.push(0);
        if column.sizes.is_empty() {
            column.sizes.push(None);
        } else {
            // How many rows there are is known, and checked, at the end.
            column.sizes[0] = None;
        }
        Ok(column)
    }

    /// Input `index` as one value with all its axes.
    pub(crate) fn whole(signature: &'a Signature, index: usize) -> Result<Self> {
        let port = &signature.inputs()[index];
        let size = |dim: &Dim| match dim {
            Dim::Fixed(size) => usize::try_from(*size).ok(),
            Dim::Symbol(_) | Dim::Unknown => None,
        };
        Ok(Self {
            signature,
            index,
            dtype: signature.input_dtype(index)?,
            names: &[],
            sizes: port.dims().unwrap_or_default().iter().map(size).collect(),
            has_rank: port.dims().is_some(),
            is_sized: false,
            flat_row: None,
            counts: SmallVec::new(),
            base: 0,
            slots: (0, Vec::new()),
            bytes: Buffer::default(),
            end: 0,
            strings: Strings::default(),
        })
    }

    /// Input `index` as one value of exactly these sizes; all elements in one list if it `is_flat`.
    pub(crate) fn sized(signature: &'a Signature, index: usize, sizes: &[usize], is_flat: bool) -> Result<Self> {
        let mut column = Self::whole(signature, index)?;
        column.sizes = sizes.iter().copied().map(Some).collect();
        column.has_rank = true;
        column.is_sized = true;
        if is_flat {
            column.sizes = SmallVec::from_slice(&[sizes.iter().try_fold(1_usize, |all, size| all.checked_mul(*size))]);
            column.flat_row =
                sizes.get(1..).map(|row| row.iter().fold(1, |all: usize, size| all.saturating_mul(*size)));
        }
        Ok(column)
    }

    /// Names the elements of a row, of which there have to be as many; `None` if rows are not `[k]`.
    pub(crate) fn name_elements(&mut self, names: &'a [String]) -> Option<()> {
        if !self.has_rank {
            (self.sizes, self.has_rank) = (SmallVec::from_slice(&[None; 2]), true);
        }
        let [_, size] = self.sizes[..] else { return None };
        if size.is_some_and(|size| size != names.len()) {
            return None;
        }
        self.sizes[1] = Some(names.len());
        self.names = names;
        Some(())
    }

    /// Complete elements along the first axis.
    pub(crate) fn rows(&self) -> usize {
        self.counts.first().copied().unwrap_or(0)
    }

    /// Whether no value is half told.
    pub(crate) fn is_between(&self) -> bool {
        self.counts.len() == self.base
    }

    /// Whether a row may be one scalar: `[N]`, `[N, 1]`, any rank.
    pub(crate) fn is_scalar_row(&self) -> bool {
        !self.has_rank || self.sizes.len() == 1 || self.is_single()
    }

    /// `[N, 1]`, whose rows may be told without their list.
    fn is_single(&self) -> bool {
        matches!(self.sizes[..], [_, Some(1)]) && self.has_rank
    }

    /// An element.
    #[inline]
    pub(crate) fn scalar(&mut self, scalar: Scalar<'_>) -> Result<()> {
        let depth = self.counts.len();
        if (depth != self.sizes.len() && !(depth == 1 && self.is_single())) || !self.has_rank {
            self.check_scalar_depth(depth, scalar)?;
        }
        if let Err(misfit) = self.write(scalar) {
            return Err(self.located(self.misfit(misfit, scalar, &self.place())));
        }
        if let Some(count) = self.counts.last_mut() {
            *count += 1;
        }
        Ok(())
    }

    #[cold]
    fn check_scalar_depth(&mut self, depth: usize, scalar: Scalar<'_>) -> Result<()> {
        if !self.has_rank {
            self.has_rank = true;
            self.sizes.resize(depth, None);
            return Ok(());
        }
        if depth == self.sizes.len() || (self.is_single() && depth == 1) {
            return Ok(());
        }
        let expected = self.expected(depth);
        let problem = format!("got {scalar}, expected {expected}");
        Err(self.located(Error::new(ErrorKind::Input, self.place(), problem, "put the values of a row into a list")))
    }

    /// Opens a list.
    pub(crate) fn begin_list(&mut self) -> Result<()> {
        let depth = self.counts.len();
        if self.has_rank {
            if depth >= self.sizes.len() {
                let problem = format!("got a list, expected {}", self.expected(depth));
                return Err(self.located(Error::new(
                    ErrorKind::Input,
                    self.place(),
                    problem,
                    "nest the values less deeply",
                )));
            }
        } else if depth >= MOST_DIMS {
            let problem = format!("got lists nested {depth} deep, expected at most {MOST_DIMS}");
            return Err(self.located(Error::new(
                ErrorKind::Input,
                self.place(),
                problem,
                "nest the values less deeply",
            )));
        } else if depth == self.sizes.len() {
            self.sizes.push(None);
        }
        self.counts.push(0);
        Ok(())
    }

    /// Closes the innermost list.
    pub(crate) fn end_list(&mut self) -> Result<()> {
        let Some(count) = self.counts.pop() else { return Ok(()) };
        let axis = self.counts.len();
        // A list without elements says how deep lists go here.
        self.has_rank = true;
        match self.sizes[axis] {
            None => self.sizes[axis] = Some(count),
            Some(size) if size == count => {}
            Some(size) => return Err(self.length(count, size)),
        }
        if let Some(outer) = self.counts.last_mut() {
            *outer += 1;
        }
        Ok(())
    }

    /// The rows that were told, as an input.
    pub(crate) fn finish(&mut self) -> Result<InputTensor> {
        let dims = self.signature.inputs()[self.index].dims();
        let mut shape: Shape = if self.base == 1 && dims.is_some_and(<[Dim]>::is_empty) {
            if self.rows() != 1 {
                let problem = format!("got {} rows, expected one: the input has no row axis", self.rows());
                return Err(Error::new(ErrorKind::Input, self.subject(), problem, "pass one row per call"));
            }
            Shape::new()
        } else {
            // A size that nobody told is that of a list without elements.
            self.sizes.iter().map(|size| i64::try_from(size.unwrap_or(0)).unwrap_or(i64::MAX)).collect()
        };
        if self.base == 1 {
            let rows = i64::try_from(self.rows()).unwrap_or(i64::MAX);
            if let Some(first) = shape.first_mut() {
                *first = rows;
            }
            if let Some(Dim::Fixed(size)) = dims.and_then(<[Dim]>::first)
                && *size != rows
            {
                let problem = format!("got {rows} rows, expected {size}");
                let fix = format!("pass exactly {size} rows per call, or export the model with a free first dimension");
                return Err(Error::new(ErrorKind::Input, self.subject(), problem, fix));
            }
        }
        self.bytes.truncate(self.end);
        let elements = if self.dtype == DType::String {
            Elements::Strings(std::mem::take(&mut self.strings))
        } else {
            Elements::Owned(std::mem::take(&mut self.bytes))
        };
        Ok(InputTensor { index: self.index, shape, elements })
    }

    #[inline]
    fn write(&mut self, scalar: Scalar<'_>) -> Result<(), Misfit> {
        let size = self.dtype.size();
        let end = self.end + size;
        if size == 0 {
            return self.write_text(scalar);
        }
        if end > self.bytes.as_bytes().len() {
            self.make_room(size);
        }
        cell::write(self.dtype, scalar, &mut self.bytes.as_bytes_mut()[self.end..end])?;
        self.end = end;
        Ok(())
    }

    fn write_text(&mut self, scalar: Scalar<'_>) -> Result<(), Misfit> {
        match scalar {
            Scalar::Text(text) => self.strings.push(text),
            Scalar::Null => return Err(Misfit::Null),
            _ => return Err(Misfit::Kind),
        }
        Ok(())
    }

    /// Doubles the memory, so that adding takes the same time however much is there.
    fn make_room(&mut self, more: usize) {
        let (have, need) = (self.bytes.as_bytes().len(), self.end + more);
        if need > have {
            let first = if self.is_scalar_row() { FIRST_SCALARS } else { FIRST_BYTES };
            self.bytes.grow((need - have).max(have).max(first));
        }
    }
}
