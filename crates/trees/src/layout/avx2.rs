//! The kernels for AVX2: the portable code, compiled for its registers.
//!
//! `unsafe` here is entering that code: that the processor has the instructions is what [`Avx2`] stands for.

#![allow(unsafe_code)]

use super::bytes::Bytes;
use super::input::Input;
use super::quant::{COLUMNS_MAX, Line};
use crate::forest::Real;

/// Proof that the processor has what the kernels use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx2(());

impl Avx2 {
    /// The proof, if there is one.
    pub(crate) fn detect() -> Option<Self> {
        let has = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("bmi2")
            && is_x86_feature_detected!("lzcnt")
            && is_x86_feature_detected!("popcnt");
        has.then_some(Self(()))
    }

    /// Adds the leaves of one row to `sums`.
    #[inline]
    pub(crate) fn row<T: Real>(self, model: &Bytes<T>, input: impl Input<T>, row: usize, sums: &mut [T]) {
        // SAFETY: `self` exists, so the processor has the instructions (`detect`).
        unsafe { row_avx2(model, input, row, sums) }
    }

    /// [`Bytes::block_portable`].
    #[inline]
    pub(crate) fn block<T: Real>(
        self,
        model: &Bytes<T>,
        input: impl Input<T>,
        rows: (usize, usize),
        lines: &mut [Line; COLUMNS_MAX],
        sums: &mut [T],
    ) -> bool {
        // SAFETY: as above.
        unsafe { block_avx2(model, input, rows, lines, sums) }
    }
}

#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
fn row_avx2<T: Real>(model: &Bytes<T>, input: impl Input<T>, row: usize, sums: &mut [T]) {
    model.row_portable(input, row, sums);
}

#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
fn block_avx2<T: Real>(
    model: &Bytes<T>,
    input: impl Input<T>,
    rows: (usize, usize),
    lines: &mut [Line; COLUMNS_MAX],
    sums: &mut [T],
) -> bool {
    model.block_portable(input, rows, lines, sums)
}
