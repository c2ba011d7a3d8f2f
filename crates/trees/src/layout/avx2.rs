//! The kernels for AVX2: the quantiser and the scorer; for all else the portable code, compiled for its registers.
//!
//! `unsafe` here is entering code for these instructions, in [`Avx2::row`] and [`Avx2::run`] (that the processor has them
//! is what [`Avx2`] stands for), and loading and storing whole arrays, in the helpers at the end.

#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::bytes::{Bytes, Single};
use super::input::Input;
use super::quant::{Block, Line, RowBytes};
use super::scorer::{LANES, Lane, Lanes};
use super::shape::Leaves;
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

    /// Runs portable code, compiled for these instructions as far as it is compiled into the closure.
    #[inline]
    pub(crate) fn run<R>(self, code: impl FnOnce() -> R) -> R {
        #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
        fn run_avx2<R>(code: impl FnOnce() -> R) -> R {
            code()
        }
        // SAFETY: `self` exists, so the processor has the instructions (`detect`).
        unsafe { run_avx2(code) }
    }

    /// Adds the leaves of one row to `sums`.
    #[inline]
    pub(crate) fn row<T: Real>(self, model: &Bytes<T>, input: impl Input<T>, row: usize, sums: &mut [T]) {
        // SAFETY: `self` exists, so the processor has the instructions (`detect`).
        unsafe { row_avx2(model, input, row, sums) }
    }
}

#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
fn row_avx2<T: Real>(model: &Bytes<T>, input: impl Input<T>, row: usize, sums: &mut [T]) {
    let mut bytes: RowBytes = [Line([0; 64]); 2];
    let double = |bounds: &Block, value| passed::<true>(bounds, value);
    let single = |bounds: &Block, value| passed::<false>(bounds, value);
    model.quantise(input, row, (double, single), &mut bytes);
    let leaves = &model.leaves[model.single_leaves];
    match (&model.single, model.quantiser.columns.len()) {
        (Single::Lanes(lanes), 0..=16) => lanes_row::<T, 1>(lanes, &bytes, leaves, sums),
        (Single::Lanes(lanes), 17..=32) => lanes_row::<T, 2>(lanes, &bytes, leaves, sums),
        (Single::Lanes(lanes), 33..=64) => lanes_row::<T, 4>(lanes, &bytes, leaves, sums),
        (Single::Lanes(lanes), _) => lanes_row::<T, 8>(lanes, &bytes, leaves, sums),
        _ => model.sum_portable(&mut bytes, sums),
    }
}

/// Adds the leaves of a quantised row that has up to `SIXTEENS` times 16 columns.
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
fn lanes_row<T: Real, const SIXTEENS: usize>(lanes: &Lanes, bytes: &RowBytes, leaves: &Leaves<T>, sums: &mut [T]) {
    let row = twice::<SIXTEENS>(bytes);
    let answers = |columns: &Lane, codes: &Lane| {
        let mut answers = Lane([0; LANES]);
        store(&mut answers.0, answer(&row, load(&columns.0), load(&codes.0)));
        answers
    };
    lanes.row(answers, leaves, sums);
}

/// How many bounds are at most the value, or below it if `DOUBLE` is set.
#[inline]
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
fn passed<const DOUBLE: bool>(bounds: &Block, value: f32) -> u32 {
    let value = _mm256_set1_ps(value);
    let (halves, _) = bounds.0.as_chunks::<8>();
    let passed = |half: &[f32; 8]| {
        let bounds = load_f32(half);
        let passed = if DOUBLE {
            _mm256_cmp_ps::<_CMP_LT_OQ>(bounds, value)
        } else {
            _mm256_cmp_ps::<_CMP_LE_OQ>(bounds, value)
        };
        _mm256_movemask_ps(passed) as u32
    };
    (passed(&halves[0]) | passed(&halves[1]) << 8).count_ones()
}

/// A row's bytes, each 16 of them in both halves of a register.
#[inline]
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
fn twice<const SIXTEENS: usize>(bytes: &RowBytes) -> [__m256i; SIXTEENS] {
    let mut row = [_mm256_setzero_si256(); SIXTEENS];
    let bytes = bytes.iter().flat_map(|line| line.0.as_chunks::<16>().0);
    row.iter_mut().zip(bytes).for_each(|(row, bytes)| *row = _mm256_broadcastsi128_si256(load_half(bytes)));
    row
}

/// The row's bytes in the order of 32 tests, compared: 255 where a test sends the row right.
#[inline]
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
fn answer<const SIXTEENS: usize>(row: &[__m256i; SIXTEENS], columns: __m256i, codes: __m256i) -> __m256i {
    let mut values = _mm256_setzero_si256();
    for (number, &row) in (0u8..).zip(row) {
        // A shuffle looks at the lowest four bits, and gives 0 where the highest is set: where the column is not one of
        // these 16. (If there are no others, none is.)
        let place = if SIXTEENS == 1 {
            columns
        } else {
            let place = _mm256_xor_si256(columns, _mm256_set1_epi8((number * 16) as i8));
            _mm256_adds_epu8(place, _mm256_set1_epi8(0x70))
        };
        values = _mm256_or_si256(values, _mm256_shuffle_epi8(row, place));
    }
    _mm256_cmpeq_epi8(_mm256_max_epu8(values, codes), values)
}

#[inline]
#[target_feature(enable = "avx2")]
fn load(array: &[u8; 32]) -> __m256i {
    // SAFETY: the array is as large as the register, and the load needs no alignment.
    unsafe { _mm256_loadu_si256(std::ptr::from_ref(array).cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_half(array: &[u8; 16]) -> __m128i {
    // SAFETY: as above.
    unsafe { _mm_loadu_si128(std::ptr::from_ref(array).cast()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn load_f32(array: &[f32; 8]) -> __m256 {
    // SAFETY: as above.
    unsafe { _mm256_loadu_ps(array.as_ptr()) }
}

#[inline]
#[target_feature(enable = "avx2")]
fn store(array: &mut [u8; 32], register: __m256i) {
    // SAFETY: the array is as large as the register, any bits are a value of it, and the store needs no alignment.
    unsafe { _mm256_storeu_si256(std::ptr::from_mut(array).cast(), register) }
}
