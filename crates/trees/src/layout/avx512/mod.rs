//! The kernels for AVX-512 with byte permutes (VBMI) and byte counts (BITALG): Intel since Ice Lake, AMD since Zen 4.
//!
//! `unsafe` here is entering code for these instructions, in [`Avx512::row`] and [`Avx512::block`] (that the processor has
//! them is what [`Avx512`] stands for), and loading and storing whole arrays, in [`moves`].

#![allow(unsafe_code)]

mod blocks;
mod moves;
mod rows;

use std::arch::x86_64::*;

use super::bytes::{Batch, Bytes, Single};
use super::input::Input;
use super::quant::{Block, COLUMNS_MAX, Line, Quantiser, RowBytes, Singles};
use crate::forest::Real;
use blocks::{planes_block, quantise_block, sliced_block};
use moves::*;
use rows::{packed_row, perfect_row, transposed_row};

/// Proof that the processor has what the kernels use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx512(());

impl Avx512 {
    /// The proof, if there is one.
    pub(crate) fn detect() -> Option<Self> {
        let has = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512cd")
            && is_x86_feature_detected!("avx512vbmi")
            && is_x86_feature_detected!("avx512bitalg")
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
        unsafe { predict_row(model, input, row, sums) }
    }

    /// Adds the leaves of up to 64 rows from `first` on to `sums`: [`BLOCK_ROWS`] numbers for each output.
    #[inline]
    pub(crate) fn block<T: Real>(
        self,
        model: &Bytes<T>,
        batch: &(Batch, usize),
        input: impl Input<T>,
        rows: (usize, usize),
        columns: &mut [Line; COLUMNS_MAX],
        sums: &mut [T],
    ) {
        // SAFETY: as above.
        unsafe { predict_block(model, batch, input, rows, columns, sums) }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512cd,avx512vbmi,avx512bitalg,bmi1,bmi2,lzcnt,popcnt")]
fn predict_row<T: Real>(model: &Bytes<T>, input: impl Input<T>, row: usize, sums: &mut [T]) {
    let mut bytes: RowBytes = [Line([0; 64]); 2];
    if model.quantiser.is_double() {
        quantise_row::<T, true>(&model.quantiser, input, row, &mut bytes);
    } else {
        quantise_row::<T, false>(&model.quantiser, input, row, &mut bytes);
    }
    let wide = model.quantiser.columns.len() > 64;
    let leaves = &model.leaves[model.single_leaves];
    match (&model.single, wide) {
        (Single::Perfect(perfect), false) => match perfect.blocks {
            1 => perfect_row::<T, 1, 64, false>(perfect, &bytes, leaves, sums),
            2 => perfect_row::<T, 2, 128, false>(perfect, &bytes, leaves, sums),
            _ => perfect_row::<T, 4, 256, false>(perfect, &bytes, leaves, sums),
        },
        (Single::Perfect(perfect), true) => match perfect.blocks {
            1 => perfect_row::<T, 1, 64, true>(perfect, &bytes, leaves, sums),
            2 => perfect_row::<T, 2, 128, true>(perfect, &bytes, leaves, sums),
            _ => perfect_row::<T, 4, 256, true>(perfect, &bytes, leaves, sums),
        },
        (Single::Transposed(transposed), false) => transposed_row::<T, false>(transposed, &bytes, leaves, sums),
        (Single::Transposed(transposed), true) => transposed_row::<T, true>(transposed, &bytes, leaves, sums),
        (Single::Packed(packed), false) => packed_row::<T, false>(packed, &bytes, leaves, sums),
        (Single::Packed(packed), true) => packed_row::<T, true>(packed, &bytes, leaves, sums),
        _ => model.sum_portable(&mut bytes, sums),
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512cd,avx512vbmi,avx512bitalg,bmi1,bmi2,lzcnt,popcnt")]
fn predict_block<T: Real>(
    model: &Bytes<T>,
    (batch, leaves): &(Batch, usize),
    input: impl Input<T>,
    rows: (usize, usize),
    columns: &mut [Line; COLUMNS_MAX],
    sums: &mut [T],
) {
    if model.quantiser.is_double() {
        quantise_block::<T, true>(&model.quantiser, input, rows, columns);
    } else {
        quantise_block::<T, false>(&model.quantiser, input, rows, columns);
    }
    let leaves = &model.leaves[*leaves];
    match batch {
        Batch::Sliced(perfect) => sliced_block(perfect, columns, leaves, sums),
        Batch::Planes(planes) => planes_block(planes, columns, leaves, sums),
    }
}

/// How many bounds are at most the value, or below it if `DOUBLE` is set.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512cd,avx512vbmi,avx512bitalg,bmi1,bmi2,lzcnt,popcnt")]
fn passed<const DOUBLE: bool>(bounds: &Block, value: f32) -> u32 {
    let (bounds, value) = (load_f32(&bounds.0), _mm512_set1_ps(value));
    let passed = if DOUBLE {
        _mm512_cmp_ps_mask::<_CMP_LT_OQ>(bounds, value)
    } else {
        _mm512_cmp_ps_mask::<_CMP_LE_OQ>(bounds, value)
    };
    u32::from(passed).count_ones()
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512cd,avx512vbmi,avx512bitalg,bmi1,bmi2,lzcnt,popcnt")]
fn quantise_row<T: Real, const DOUBLE: bool>(
    quantiser: &Quantiser,
    input: impl Input<T>,
    row: usize,
    out: &mut RowBytes,
) {
    let (mut ranks, mut single) = ([0u8; COLUMNS_MAX], Singles([0.0; COLUMNS_MAX]));
    let passed = |bounds: &Block, value| passed::<DOUBLE>(bounds, value);
    quantiser.ranks::<DOUBLE>(|feature| input.value(row, feature), passed, &mut ranks, &mut single);
    let mut left = [_mm512_setzero_si512(); 2];
    let mut right = [_mm512_setzero_si512(); 2];
    for ((half, ranks), values) in ranks.as_chunks::<64>().0.iter().enumerate().zip(single.0.as_chunks::<64>().0) {
        left[half] = load_bytes(ranks);
        right[half] = _mm512_mask_set1_epi8(left[half], missing(values), -1);
        if quantiser.tables.len() <= 64 {
            break;
        }
    }
    for (out, picks) in out.iter_mut().zip(quantiser.picks.as_chunks::<64>().0) {
        let picks = load_bytes(picks);
        let left = _mm512_permutex2var_epi8(left[0], picks, left[1]);
        let right = _mm512_permutex2var_epi8(right[0], picks, right[1]);
        store(out, _mm512_mask_blend_epi8(_mm512_movepi8_mask(picks), left, right));
        if quantiser.columns.len() <= 64 {
            break;
        }
    }
}

/// Which of 64 values are NaN.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512cd,avx512vbmi,avx512bitalg,bmi1,bmi2,lzcnt,popcnt")]
fn missing(values: &[f32; 64]) -> u64 {
    let mut missing = 0u64;
    for (quarter, values) in values.as_chunks::<16>().0.iter().enumerate() {
        let values = load_f32(values);
        missing |= u64::from(_mm512_cmp_ps_mask::<_CMP_UNORD_Q>(values, values)) << (quarter * 16);
    }
    missing
}
