//! Rows that are objects: from names of features to values, or from names of inputs.

use super::names::{Named, Names};
use super::refusals::{misplaced, row_error};
use super::{Place, RowsBuilder};
use crate::error::Result;

impl RowsBuilder<'_> {
    /// Opens an object, which is always a row.
    pub fn begin_object(&mut self) -> Result<()> {
        match self.place {
            Place::Between => {
                self.place = Place::Object;
                Ok(())
            }
            Place::Sole(_) | Place::Tuple(_) | Place::Input(_) | Place::Feature(_) => {
                let problem = "got an object inside a row, expected values or lists of them";
                let fix = "make each row one object, or one list";
                Err(row_error(self.signature, self.rows, problem, fix))
            }
            Place::Object | Place::Features | Place::Inputs => Err(misplaced(self.signature)),
        }
    }

    /// The name of the value that comes next.
    #[inline]
    pub fn key(&mut self, name: &str) -> Result<()> {
        match self.place {
            Place::Features => self.feature(name),
            Place::Inputs => self.input(name),
            Place::Object => self.first_key(name),
            _ => Err(misplaced(self.signature)),
        }
    }

    fn first_key(&mut self, name: &str) -> Result<()> {
        let is_input = || self.signature.inputs().iter().any(|port| port.name == name);
        // A row of features goes on as one, whatever its first name is.
        let are_features =
            !self.features.is_empty() && (self.features.iter().any(|known| known == name) || !is_input());
        if are_features {
            self.place = Place::Features;
            self.seen.0.clear();
            self.seen.0.resize(self.features.len(), false);
            self.seen.1 = 0;
            if let [sole] = *self.positional {
                self.column(sole)?.begin_slots();
            }
            let (named, order) = (Named::Features(self.features), self.signature.feature_order());
            self.feature_names.get_or_insert_with(|| Names::new(named, order)).restart();
            return self.feature(name);
        }
        self.place = Place::Inputs;
        let (named, order) = (Named::Inputs(self.signature.inputs()), self.signature.input_order());
        self.input_names.get_or_insert_with(|| Names::new(named, order)).restart();
        self.input(name)
    }

    fn feature(&mut self, name: &str) -> Result<()> {
        let Some(slot) = self.feature_names.as_mut().and_then(|names| names.find(name)) else {
            return Err(self.unknown("feature", name, self.feature_names.as_ref()));
        };
        if std::mem::replace(&mut self.seen.0[slot], true) {
            return Err(self.duplicate("feature", name));
        }
        self.seen.1 += 1;
        self.place = Place::Feature(slot);
        Ok(())
    }

    fn input(&mut self, name: &str) -> Result<()> {
        let Some(index) = self.input_names.as_mut().and_then(|names| names.find(name)) else {
            return Err(self.unknown("input", name, self.input_names.as_ref()));
        };
        let rows = self.rows;
        if self.column(index)?.rows() > rows {
            return Err(self.duplicate("input", name));
        }
        self.place = Place::Input(index);
        Ok(())
    }

    /// Closes the row's object.
    pub fn end_object(&mut self) -> Result<()> {
        match self.place {
            Place::Features => {
                if self.seen.1 < self.features.len() {
                    let named = self.features.iter().zip(&self.seen.0);
                    let missing: Vec<&str> = named.filter(|(_, seen)| !**seen).map(|(name, _)| name.as_str()).collect();
                    return Err(self.missing("feature", &missing));
                }
                if let [sole] = *self.positional {
                    self.column(sole)?.end_slots();
                }
                self.end_row()
            }
            Place::Inputs => self.end_row(),
            Place::Object => {
                let names: Vec<&str> = if self.features.is_empty() {
                    self.positional.iter().map(|index| self.signature.inputs()[*index].name.as_str()).collect()
                } else {
                    self.features.iter().map(String::as_str).collect()
                };
                Err(self.missing(if self.features.is_empty() { "input" } else { "feature" }, &names))
            }
            _ => Err(misplaced(self.signature)),
        }
    }
}
