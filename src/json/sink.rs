//! Who values are told to as they are read.

use crate::error::Result;
use crate::rows::{Column, RowsBuilder, Scalar};

/// What values are told to.
pub(super) trait Sink {
    fn scalar(&mut self, scalar: Scalar<'_>) -> Result<()>;
    /// Room for the next elements of the open list, if it takes float32, to be filled without telling each.
    fn slots(&mut self) -> Option<&mut [[u8; 4]]>;
    /// So many of the slots are filled.
    fn advance(&mut self, written: usize);
    fn begin_list(&mut self) -> Result<()>;
    fn end_list(&mut self) -> Result<()>;
    /// Opens an object; says whether this sink takes any.
    fn begin_object(&mut self) -> Result<bool>;
    fn key(&mut self, name: &str) -> Result<()>;
    fn end_object(&mut self) -> Result<()>;
}

impl Sink for RowsBuilder<'_> {
    #[inline]
    fn scalar(&mut self, scalar: Scalar<'_>) -> Result<()> {
        RowsBuilder::scalar(self, scalar)
    }

    #[inline]
    fn slots(&mut self) -> Option<&mut [[u8; 4]]> {
        RowsBuilder::slots(self)
    }

    #[inline]
    fn advance(&mut self, written: usize) {
        RowsBuilder::advance(self, written);
    }

    fn begin_list(&mut self) -> Result<()> {
        RowsBuilder::begin_list(self)
    }

    fn end_list(&mut self) -> Result<()> {
        RowsBuilder::end_list(self)
    }

    fn begin_object(&mut self) -> Result<bool> {
        RowsBuilder::begin_object(self).map(|()| true)
    }

    fn key(&mut self, name: &str) -> Result<()> {
        RowsBuilder::key(self, name)
    }

    fn end_object(&mut self) -> Result<()> {
        RowsBuilder::end_object(self)
    }
}

impl Sink for Column<'_> {
    #[inline]
    fn scalar(&mut self, scalar: Scalar<'_>) -> Result<()> {
        Column::scalar(self, scalar)
    }

    #[inline]
    fn slots(&mut self) -> Option<&mut [[u8; 4]]> {
        Column::slots(self)
    }

    #[inline]
    fn advance(&mut self, written: usize) {
        Column::advance(self, written);
    }

    fn begin_list(&mut self) -> Result<()> {
        Column::begin_list(self)
    }

    fn end_list(&mut self) -> Result<()> {
        Column::end_list(self)
    }

    fn begin_object(&mut self) -> Result<bool> {
        Ok(false)
    }

    fn key(&mut self, _name: &str) -> Result<()> {
        Ok(())
    }

    fn end_object(&mut self) -> Result<()> {
        Ok(())
    }
}
