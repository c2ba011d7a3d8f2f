//! The kernel for NEON: the scorer. All else is portable code, which is compiled for NEON as it is.
//!
//! `unsafe` here is entering code for these instructions, in [`row`] (every AArch64 processor has them), and loading and
//! storing whole arrays, in the helpers at the end.

#![allow(unsafe_code)]

use std::arch::aarch64::*;

use super::bytes::{Bytes, Single};
use super::input::Input;
use super::quant::{Line, RowBytes, count};
use super::scorer::{LANES, Lane, Lanes};
use super::shape::Leaves;
use crate::forest::Real;

/// Adds the leaves of one row to `sums`.
#[inline]
pub(crate) fn row<T: Real>(model: &Bytes<T>, input: impl Input<T>, row: usize, sums: &mut [T]) {
    let mut bytes: RowBytes = [Line([0; 64]); 2];
    model.quantise(input, row, (count::<true>, count::<false>), &mut bytes);
    let Single::Lanes(lanes) = &model.single else { return model.sum_portable(&mut bytes, sums) };
    // SAFETY: NEON is part of AArch64's baseline.
    unsafe { any_lanes_row(lanes, model.quantiser.columns.len(), &bytes, &model.leaves[model.single_leaves], sums) }
}

#[target_feature(enable = "neon")]
fn any_lanes_row<T: Real>(lanes: &Lanes, columns: usize, bytes: &RowBytes, leaves: &Leaves<T>, sums: &mut [T]) {
    match columns {
        0..=16 => lanes_row(lanes, bytes, leaves, sums, |row, columns| columns_16(row, columns)),
        17..=32 => lanes_row(lanes, bytes, leaves, sums, |row, columns| columns_32(row, columns)),
        33..=64 => lanes_row(lanes, bytes, leaves, sums, |row, columns| columns_64(row, columns)),
        _ => lanes_row(lanes, bytes, leaves, sums, |row, columns| columns_128(row, columns)),
    }
}

/// Adds the leaves of a quantised row, whose bytes `look_up` brings in the order of columns.
#[inline]
#[target_feature(enable = "neon")]
fn lanes_row<T: Real>(
    lanes: &Lanes,
    bytes: &RowBytes,
    leaves: &Leaves<T>,
    sums: &mut [T],
    look_up: impl Fn(&[uint8x16x4_t; 2], uint8x16_t) -> uint8x16_t,
) {
    let row = [registers(&bytes[0]), registers(&bytes[1])];
    let answers = |columns: &Lane, codes: &Lane| {
        let mut answers = Lane([0; LANES]);
        let tests = columns.0.as_chunks().0.iter().zip(codes.0.as_chunks().0);
        for (answers, (columns, codes)) in answers.0.as_chunks_mut().0.iter_mut().zip(tests) {
            store(answers, vcgeq_u8(look_up(&row, load(columns)), load(codes)));
        }
        answers
    };
    lanes.row(answers, leaves, sums);
}

#[inline]
#[target_feature(enable = "neon")]
fn columns_16(row: &[uint8x16x4_t; 2], columns: uint8x16_t) -> uint8x16_t {
    vqtbl1q_u8(row[0].0, columns)
}

#[inline]
#[target_feature(enable = "neon")]
fn columns_32(row: &[uint8x16x4_t; 2], columns: uint8x16_t) -> uint8x16_t {
    vqtbl2q_u8(uint8x16x2_t(row[0].0, row[0].1), columns)
}

#[inline]
#[target_feature(enable = "neon")]
fn columns_64(row: &[uint8x16x4_t; 2], columns: uint8x16_t) -> uint8x16_t {
    vqtbl4q_u8(row[0], columns)
}

#[inline]
#[target_feature(enable = "neon")]
fn columns_128(row: &[uint8x16x4_t; 2], columns: uint8x16_t) -> uint8x16_t {
    // A place beyond the registers leaves what the first look-up found; below 64 the subtraction leads far beyond.
    vqtbx4q_u8(vqtbl4q_u8(row[0], columns), row[1], vsubq_u8(columns, vdupq_n_u8(64)))
}

#[inline]
#[target_feature(enable = "neon")]
fn registers(line: &Line) -> uint8x16x4_t {
    let (quarters, _) = line.0.as_chunks();
    uint8x16x4_t(load(&quarters[0]), load(&quarters[1]), load(&quarters[2]), load(&quarters[3]))
}

#[inline]
#[target_feature(enable = "neon")]
fn load(array: &[u8; 16]) -> uint8x16_t {
    // SAFETY: the array is as large as the register, and the load needs no alignment.
    unsafe { vld1q_u8(array.as_ptr()) }
}

#[inline]
#[target_feature(enable = "neon")]
fn store(array: &mut [u8; 16], register: uint8x16_t) {
    // SAFETY: the array is as large as the register, and the store needs no alignment.
    unsafe { vst1q_u8(array.as_mut_ptr(), register) }
}
