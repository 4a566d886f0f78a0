//! The inputs of a run from rows of plain scalars, as JSON and Python's own sequences bring them, without a tree between.
//!
//! A row is told as it is read: `begin_list`, `scalar`, …, `end_list`, or `begin_object`, `key`, a value, …, `end_object`,
//! or one `scalar`. It is complete with its last event; the next one begins the next row.

mod cell;
mod column;
mod names;
mod objects;
mod records;
mod refusals;

pub use cell::Scalar;
pub(crate) use column::Column;
use names::Names;
pub(crate) use records::Records;
pub(crate) use refusals::too_many;
use refusals::{NAMES_SHOWN, misplaced, row_error, unfit_features};

use crate::error::{ErrorKind, Result, list_names};
use crate::signature::Signature;
use crate::tensor::InputTensor;

/// Builds the inputs of a run row by row. After an error it is of no more use.
///
/// What a row is depends on the model:
/// - one required input `[N, k]`: a list of k scalars, or an object from feature names to scalars; `[N]`: a scalar;
///   `[N, 1]`: either; `[N, a, b]`: nested lists;
/// - several required inputs, all `[N]` or `[N, 1]`: a list of scalars in their order;
/// - any inputs: an object from input name to value, which is a scalar or the nested lists of one row.
#[derive(Debug)]
pub struct RowsBuilder<'a> {
    signature: &'a Signature,
    features: &'a [String],
    /// By input; those that no row has named yet are empty.
    columns: Vec<Option<Column<'a>>>,
    /// The inputs that a list or scalar means: the required ones, or all if none is.
    positional: &'a [usize],
    place: Place,
    rows: usize,
    /// How many rows there may be.
    most: usize,
    /// Made by the first object.
    feature_names: Option<Names<'a>>,
    input_names: Option<Names<'a>>,
    /// Features that the row has named, and how many.
    seen: (Vec<bool>, usize),
}

/// What the next event belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The next event begins a row.
    Between,
    /// Inside the lists of the only positional input.
    Sole(usize),
    /// In a list over the positional inputs, at this one of them.
    Tuple(usize),
    /// In an object whose first key decides what it is.
    Object,
    /// In an object of features, between two.
    Features,
    /// After the name of this feature.
    Feature(usize),
    /// In an object of inputs, between two.
    Inputs,
    /// In the value of this input.
    Input(usize),
}

impl<'a> RowsBuilder<'a> {
    /// `features` names the columns of the one required input `[N, k]`.
    pub fn new(signature: &'a Signature, features: Option<&'a [String]>) -> Result<Self> {
        let count = signature.inputs().len();
        let positional = signature.positional();
        let mut columns: Vec<Option<Column<'a>>> = (0..count).map(|_| None).collect();
        if let [sole] = *positional {
            columns[sole] = Some(Column::of_rows(signature, sole)?);
        }
        let features = features.unwrap_or_default();
        if !features.is_empty() {
            let sole = if let [sole] = *positional { columns[sole].as_mut() } else { None };
            if sole.and_then(|column| column.name_elements(features)).is_none() {
                return Err(unfit_features(signature, features));
            }
        }
        Ok(Self {
            signature,
            features,
            columns,
            positional,
            place: Place::Between,
            rows: 0,
            most: usize::MAX,
            feature_names: None,
            input_names: None,
            seen: (Vec::new(), 0),
        })
    }

    /// Refuses more than `most` rows, at the first one that is too much.
    #[must_use]
    pub fn at_most(mut self, most: usize) -> Self {
        self.most = most;
        self
    }

    /// How many rows are complete.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Whether a row of the model may be one scalar.
    pub fn takes_scalar_rows(&self) -> bool {
        self.sole().is_some_and(Column::is_scalar_row)
    }

    fn sole(&self) -> Option<&Column<'a>> {
        match *self.positional {
            [sole] => self.columns[sole].as_ref(),
            _ => None,
        }
    }

    /// The column that values of this place go to; it exists by then.
    fn column(&mut self, index: usize) -> Result<&mut Column<'a>> {
        let (rows, signature) = (self.rows, self.signature);
        let place = &mut self.columns[index];
        if place.is_none() {
            if rows > 0 {
                let name = &signature.inputs()[index].name;
                let problem = format!("got input `{name}`, which the rows before do not have");
                let fix = "give an optional input in all rows or in none";
                return Err(row_error(signature, rows, problem, fix));
            }
            *place = Some(Column::of_rows(signature, index)?);
        }
        place.as_mut().ok_or_else(|| misplaced(signature))
    }

    /// A scalar: an element of the innermost open list, the value of the last key, or a row of its own.
    #[inline]
    pub fn scalar(&mut self, scalar: Scalar<'_>) -> Result<()> {
        match self.place {
            Place::Sole(index) => self.column(index)?.scalar(scalar),
            Place::Feature(slot) => {
                self.place = Place::Features;
                match *self.positional {
                    [sole] => self.column(sole)?.put(slot, scalar),
                    _ => Err(misplaced(self.signature)),
                }
            }
            Place::Input(index) => {
                let column = self.column(index)?;
                column.scalar(scalar)?;
                if column.is_between() {
                    self.place = Place::Inputs;
                }
                Ok(())
            }
            Place::Tuple(position) => self.tuple_scalar(position, scalar),
            Place::Between => self.scalar_row(scalar),
            Place::Object | Place::Features | Place::Inputs => Err(misplaced(self.signature)),
        }
    }

    /// Room for the next elements of the open list, where they are float32 and of one input; see [`Column::slots`].
    #[inline]
    pub(crate) fn slots(&mut self) -> Option<&mut [[u8; 4]]> {
        match self.place {
            Place::Sole(index) => self.columns[index].as_mut()?.slots(),
            _ => None,
        }
    }

    /// So many of the slots are written.
    #[inline]
    pub(crate) fn advance(&mut self, written: usize) {
        if let Place::Sole(index) = self.place
            && let Some(column) = &mut self.columns[index]
        {
            column.advance(written);
        }
    }

    fn tuple_scalar(&mut self, position: usize, scalar: Scalar<'_>) -> Result<()> {
        self.place = Place::Tuple(position + 1);
        match self.positional.get(position) {
            Some(index) => {
                let index = *index;
                self.column(index)?.scalar(scalar)
            }
            // Counted, and refused at the end of the list.
            None => Ok(()),
        }
    }

    fn scalar_row(&mut self, scalar: Scalar<'_>) -> Result<()> {
        let [sole] = *self.positional else {
            return Err(self.unfit_row(&scalar.to_string()));
        };
        self.column(sole)?.scalar(scalar)?;
        self.end_row()
    }

    /// Takes a whole row `[k]` of floats at once, where that is what the model's rows are.
    ///
    /// `false` says that nothing was taken, since a value is `None` or does not fit: the row is to be told as any other,
    /// which finds its fault and place.
    #[inline]
    pub fn float_row(&mut self, count: usize, values: impl Iterator<Item = Option<f64>>) -> Result<bool> {
        let (Place::Between, [sole]) = (self.place, self.positional) else { return Ok(false) };
        if !self.columns[*sole].as_mut().is_some_and(|column| column.float_row(count, values)) {
            return Ok(false);
        }
        self.end_row().map(|()| true)
    }

    /// Opens a list: a row, the value of the last key, or an element of the list that is open.
    pub fn begin_list(&mut self) -> Result<()> {
        match self.place {
            Place::Between => {
                if let [sole] = *self.positional {
                    self.place = Place::Sole(sole);
                    return self.column(sole)?.begin_list();
                }
                if !self.rows_are_tuples()? {
                    return Err(self.unfit_row("a list"));
                }
                self.place = Place::Tuple(0);
                Ok(())
            }
            Place::Sole(index) | Place::Input(index) => self.column(index)?.begin_list(),
            Place::Feature(_) => {
                Err(self.refusal(ErrorKind::Input, "got a list, expected one value", "give each feature one value"))
            }
            Place::Tuple(_) => {
                Err(self.refusal(ErrorKind::Input, "got a list, expected one value", "give each input one value"))
            }
            Place::Object | Place::Features | Place::Inputs => Err(misplaced(self.signature)),
        }
    }

    fn rows_are_tuples(&mut self) -> Result<bool> {
        for position in 0..self.positional.len() {
            let index = self.positional[position];
            if !self.column(index)?.is_scalar_row() {
                return Ok(false);
            }
        }
        Ok(!self.positional.is_empty())
    }

    /// Closes the innermost list.
    pub fn end_list(&mut self) -> Result<()> {
        match self.place {
            Place::Sole(index) => {
                let column = self.column(index)?;
                column.end_list()?;
                if column.is_between() { self.end_row() } else { Ok(()) }
            }
            Place::Input(index) => {
                let column = self.column(index)?;
                column.end_list()?;
                if column.is_between() {
                    self.place = Place::Inputs;
                }
                Ok(())
            }
            Place::Tuple(count) => {
                if count == self.positional.len() {
                    return self.end_row();
                }
                let names = self.positional.iter().map(|index| self.signature.inputs()[*index].name.as_str());
                let problem = format!("got {count} values, expected {}", self.positional.len());
                let fix = format!("give one value for each of {}", list_names(names, NAMES_SHOWN));
                Err(row_error(self.signature, self.rows, problem, fix))
            }
            _ => Err(misplaced(self.signature)),
        }
    }

    /// Checks that the row has what it must have and what the rows before had.
    #[inline]
    fn end_row(&mut self) -> Result<()> {
        let rows = self.rows + 1;
        let complete = |(index, column): (usize, &Option<Column<'a>>)| match column {
            Some(column) => column.rows() == rows,
            None => !self.signature.inputs()[index].required,
        };
        if !self.columns.iter().enumerate().all(complete) {
            let missing: Vec<&str> = self
                .columns
                .iter()
                .enumerate()
                .filter(|column| !complete(*column))
                .map(|(index, _)| self.signature.inputs()[index].name.as_str())
                .collect();
            return Err(self.missing("input", &missing));
        }
        if rows > self.most {
            return Err(too_many(self.signature.model(), None, self.most));
        }
        self.rows = rows;
        self.place = Place::Between;
        Ok(())
    }

    /// The inputs, in the order of the signature, each with all rows; inputs that no row had are not among them.
    pub fn finish(mut self) -> Result<Vec<InputTensor>> {
        if self.place != Place::Between {
            return Err(misplaced(self.signature));
        }
        if self.rows == 0 {
            for position in 0..self.positional.len() {
                let index = self.positional[position];
                if self.signature.inputs()[index].required {
                    self.column(index)?;
                }
            }
        }
        let mut inputs = Vec::with_capacity(self.columns.len());
        for column in self.columns.iter_mut().flatten() {
            inputs.push(column.finish()?);
        }
        Ok(inputs)
    }
}

#[cfg(test)]
mod tests;
