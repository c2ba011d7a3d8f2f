//! Where a row's values come from: rows one after another, or columns.

use crate::forest::{Real, ZERO_THRESHOLD};

use super::quant::BLOCK_ROWS;

/// A value in both precisions. In a model that compares float32 only `single` counts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Value {
    pub(crate) single: f32,
    pub(crate) double: f64,
}

impl Value {
    /// A value as a model sees it whose thresholds are of type `T`.
    #[inline(always)]
    fn of<T: Real>(x: f64) -> Self {
        let single = x as f32;
        let double = if size_of::<T>() == size_of::<f32>() { f64::from(single) } else { x };
        Self { single, double }
    }

    /// The value as a table sees it: zero may be a missing value.
    #[inline(always)]
    pub(crate) fn seen<const DOUBLE: bool>(self, zero_missing: bool) -> Self {
        let number = if DOUBLE { self.double } else { f64::from(self.single) };
        if zero_missing && number.abs() <= ZERO_THRESHOLD {
            return Self { single: f32::NAN, double: f64::NAN };
        }
        self
    }
}

/// One feature's values of a block of rows, in both precisions.
pub(crate) struct Cells {
    pub(crate) single: [f32; BLOCK_ROWS],
    pub(crate) double: [f64; BLOCK_ROWS],
}

impl Default for Cells {
    fn default() -> Self {
        Self { single: [0.0; BLOCK_ROWS], double: [0.0; BLOCK_ROWS] }
    }
}

impl Cells {
    #[inline(always)]
    fn set<const DOUBLE: bool>(&mut self, values: impl Iterator<Item = Value>) {
        for ((value, single), double) in values.zip(&mut self.single).zip(&mut self.double) {
            *single = value.single;
            if DOUBLE {
                *double = value.double;
            }
        }
    }

    /// Makes zeros missing values.
    pub(crate) fn zero_is_missing<const DOUBLE: bool>(&mut self) {
        for (single, double) in self.single.iter_mut().zip(&mut self.double) {
            let value = Value { single: *single, double: *double }.seen::<DOUBLE>(true);
            (*single, *double) = (value.single, value.double);
        }
    }
}

/// Rows of values, for a model whose thresholds are of type `T`.
pub(crate) trait Input<T: Real>: Copy {
    /// One value.
    fn value(self, row: usize, feature: u32) -> Value;
    /// A feature's values in `count` rows from `first` on, in float64 only if `DOUBLE` is set; what lies beyond them in
    /// `cells` is left as it is.
    fn fill<const DOUBLE: bool>(self, feature: u32, first: usize, count: usize, cells: &mut Cells);
}

/// float32 rows of a width, one after another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Singles<'a>(pub(crate) &'a [f32], pub(crate) usize);

/// float64 rows of a width, one after another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Doubles<'a>(pub(crate) &'a [f64], pub(crate) usize);

/// A column for each feature.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Columns<'a>(pub(crate) &'a [&'a [f64]]);

impl<T: Real> Input<T> for Singles<'_> {
    #[inline(always)]
    fn value(self, row: usize, feature: u32) -> Value {
        let single = self.0[row * self.1 + feature as usize];
        Value { single, double: f64::from(single) }
    }

    #[inline(always)]
    fn fill<const DOUBLE: bool>(self, feature: u32, first: usize, count: usize, cells: &mut Cells) {
        let values = self.0[first * self.1 + feature as usize..].iter().step_by(self.1).take(count);
        cells.set::<DOUBLE>(values.map(|&single| Value { single, double: f64::from(single) }));
    }
}

impl<T: Real> Input<T> for Doubles<'_> {
    #[inline(always)]
    fn value(self, row: usize, feature: u32) -> Value {
        Value::of::<T>(self.0[row * self.1 + feature as usize])
    }

    #[inline(always)]
    fn fill<const DOUBLE: bool>(self, feature: u32, first: usize, count: usize, cells: &mut Cells) {
        let values = self.0[first * self.1 + feature as usize..].iter().step_by(self.1).take(count);
        cells.set::<DOUBLE>(values.map(|&x| Value::of::<T>(x)));
    }
}

impl<T: Real> Input<T> for Columns<'_> {
    #[inline(always)]
    fn value(self, row: usize, feature: u32) -> Value {
        Value::of::<T>(self.0[feature as usize][row])
    }

    #[inline(always)]
    fn fill<const DOUBLE: bool>(self, feature: u32, first: usize, count: usize, cells: &mut Cells) {
        cells.set::<DOUBLE>(self.0[feature as usize][first..first + count].iter().map(|&x| Value::of::<T>(x)));
    }
}
