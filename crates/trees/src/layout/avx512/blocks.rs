//! Blocks of up to 64 rows: bit-sliced perfect trees and byte planes.

use std::arch::x86_64::*;

use super::moves::*;
use super::{missing, passed};
use crate::forest::Real;
use crate::layout::input::{Cells, Input};
use crate::layout::perfect::{Perfect, Tests};
use crate::layout::quant::{BLOCK_ROWS, Block, COLUMNS_MAX, Line, Quantiser};
use crate::layout::scorer::Planes;
use crate::layout::shape::Leaves;

/// The answers of a tree's tests for 64 rows, a word for each test.
type Answers = [u64; 256];

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512cd,avx512vbmi,avx512bitalg,bmi1,bmi2,lzcnt,popcnt")]
pub(super) fn quantise_block<T: Real, const DOUBLE: bool>(
    quantiser: &Quantiser,
    input: impl Input<T>,
    (first, count): (usize, usize),
    out: &mut [Line; COLUMNS_MAX],
) {
    let mut cells = Cells::default();
    let mut ranks = Line([0; 64]);
    let mut columns = quantiser.columns.iter().zip(out).peekable();
    for (number, (table, coarse)) in (0u8..).zip(quantiser.tables.iter().zip(&quantiser.coarse)) {
        input.fill::<DOUBLE>(table.feature, first, count, &mut cells);
        if table.zero_missing {
            cells.zero_is_missing::<DOUBLE>();
        }
        let passed = |bounds: &Block, value| passed::<DOUBLE>(bounds, value);
        for (rank, &single) in ranks.0.iter_mut().zip(&cells.single) {
            *rank = quantiser.rank(table, coarse, single, passed) as u8;
        }
        if DOUBLE {
            let exact = &quantiser.exact.as_flattened()[table.first as usize * 16..];
            for (rank, &double) in ranks.0.iter_mut().zip(&cells.double) {
                *rank += u8::from(exact[usize::from(*rank)] <= double);
            }
        }
        let missing = missing(&cells.single);
        let left = load(&ranks);
        while let Some((column, line)) = columns.next_if(|(column, _)| column.table == number) {
            let right = _mm512_mask_set1_epi8(left, missing, -1);
            store(line, if column.missing_right { right } else { left });
        }
    }
}

/// The answers of a test for 64 rows.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512cd,avx512vbmi,avx512bitalg,bmi1,bmi2,lzcnt,popcnt")]
fn answer_rows(columns: &[Line; COLUMNS_MAX], column: u8, code: u8) -> u64 {
    let values = load(&columns[usize::from(column) % COLUMNS_MAX]);
    _mm512_cmpge_epu8_mask(values, _mm512_set1_epi8(code as i8))
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512cd,avx512vbmi,avx512bitalg,bmi1,bmi2,lzcnt,popcnt")]
pub(super) fn sliced_block<T: Real>(
    perfect: &Perfect,
    columns: &[Line; COLUMNS_MAX],
    leaves: &Leaves<T>,
    sums: &mut [T],
) {
    // The answers of one tree are written while those of the tree before are used: a word is read long after its write.
    let mut buffers = [[0u64; 64]; 2];
    let all = |tests: &Tests, buffer: &mut [u64; 64]| {
        // By index: iterators that skip the first are taken apart by the compiler's vectoriser, and slow.
        #[allow(clippy::needless_range_loop)]
        for k in 1..64 {
            buffer[k] = answer_rows(columns, tests.columns.0[k], tests.codes.0[k]);
        }
    };
    if let Some(tests) = perfect.tests.first() {
        all(tests, &mut buffers[0]);
    }
    for tree in 0..perfect.tests.len() {
        let [even, odd] = &mut buffers;
        let (now, next) = if tree % 2 == 0 { (even, odd) } else { (odd, even) };
        if let Some(tests) = perfect.tests.get(tree + 1) {
            all(tests, next);
        }
        add_block::<T>(leaves, tree, sliced_exits(now), sums);
    }
}

/// From the answers of a perfect tree of six levels to the places where 64 rows leave it.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512cd,avx512vbmi,avx512bitalg,bmi1,bmi2,lzcnt,popcnt")]
fn sliced_exits(answers: &[u64; 64]) -> __m512i {
    // Each level has the bit of every place it may be at; the bits of the levels above choose the row's own.
    let mut bits = [0u64; 6];
    bits[0] = answers[1];
    bits[1] = choose(bits[0], answers[2], answers[3]);
    let four: [u64; 2] = std::array::from_fn(|k| choose(bits[0], answers[4 + k], answers[6 + k]));
    bits[2] = choose(bits[1], four[0], four[1]);
    let eight: [u64; 4] = std::array::from_fn(|k| choose(bits[0], answers[8 + k], answers[12 + k]));
    let eight: [u64; 2] = std::array::from_fn(|k| choose(bits[1], eight[k], eight[2 + k]));
    bits[3] = choose(bits[2], eight[0], eight[1]);
    let (lines, _) = answers.as_chunks::<8>();
    let line = |k: usize| load_u64(&lines[k]);
    let choose8 = |bit: u64, low, high| _mm512_ternarylogic_epi64::<0xCA>(_mm512_set1_epi64(bit as i64), high, low);
    let mut eight = [0u64; 8];
    store_u64(&mut eight, choose8(bits[0], line(2), line(3)));
    bits[4] = choose_of_8(&eight, [bits[1], bits[2], bits[3]]);
    let (low, high) = (choose8(bits[0], line(4), line(6)), choose8(bits[0], line(5), line(7)));
    store_u64(&mut eight, choose8(bits[1], low, high));
    bits[5] = choose_of_8(&eight, [bits[2], bits[3], bits[4]]);
    let mut place = _mm512_setzero_si512();
    for (level, &bit) in bits.iter().enumerate() {
        place = _mm512_or_si512(place, _mm512_maskz_set1_epi8(bit, 32 >> level));
    }
    place
}

#[inline(always)]
fn choose(bit: u64, low: u64, high: u64) -> u64 {
    low ^ ((low ^ high) & bit)
}

#[inline(always)]
fn choose_of_8(words: &[u64; 8], bits: [u64; 3]) -> u64 {
    let four: [u64; 4] = std::array::from_fn(|k| choose(bits[0], words[k], words[4 + k]));
    let two: [u64; 2] = std::array::from_fn(|k| choose(bits[1], four[k], four[2 + k]));
    choose(bits[2], two[0], two[1])
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512cd,avx512vbmi,avx512bitalg,bmi1,bmi2,lzcnt,popcnt")]
pub(super) fn planes_block<T: Real>(model: &Planes, columns: &[Line; COLUMNS_MAX], leaves: &Leaves<T>, sums: &mut [T]) {
    let mut buffers: [Answers; 2] = [[0; 256]; 2];
    let all = |from: usize, to: usize, buffer: &mut Answers| {
        for (answer, test) in buffer.iter_mut().zip(&model.tests[from..to]) {
            *answer = answer_rows(columns, test.column, test.code);
        }
    };
    let (mut plane, mut entry) = (0usize, 0usize);
    if let Some(end) = model.trees.first() {
        all(0, end.tests as usize, &mut buffers[0]);
    }
    for (tree, end) in model.trees.iter().enumerate() {
        let [even, odd] = &mut buffers;
        let (now, next) = if tree % 2 == 0 { (even, odd) } else { (odd, even) };
        if let Some(after) = model.trees.get(tree + 1) {
            all(end.tests as usize, after.tests as usize, next);
        }
        let planes = &model.planes[plane..end.planes as usize];
        plane = end.planes as usize;
        let mut place = _mm512_setzero_si512();
        let mut open = !0u64;
        for (number, &end) in planes.iter().enumerate() {
            let mut ruled_out = _mm512_setzero_si512();
            for &(test, mask) in &model.entries[entry..end as usize] {
                let mask = _mm512_maskz_set1_epi8(now[usize::from(test)], mask as i8);
                ruled_out = _mm512_or_si512(ruled_out, mask);
            }
            entry = end as usize;
            let found = open & _mm512_cmpneq_epu8_mask(ruled_out, _mm512_set1_epi8(-1));
            // Ones below the lowest zero: how many leaves of the plane come before the exit.
            let before = _mm512_andnot_si512(_mm512_add_epi8(ruled_out, _mm512_set1_epi8(1)), ruled_out);
            let first = _mm512_set1_epi8((number * 8) as u8 as i8);
            place = _mm512_mask_add_epi8(place, found, _mm512_popcnt_epi8(before), first);
            open &= !found;
        }
        add_block::<T>(leaves, tree, place, sums);
    }
}

/// Adds the leaves where 64 rows leave a tree.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512cd,avx512vbmi,avx512bitalg,bmi1,bmi2,lzcnt,popcnt")]
fn add_block<T: Real>(leaves: &Leaves<T>, tree: usize, exits: __m512i, sums: &mut [T]) {
    if leaves.width > 1 {
        let mut places = Line([0; 64]);
        store(&mut places, exits);
        for (row, &place) in places.0.iter().enumerate() {
            let sums = sums.iter_mut().skip(row).step_by(BLOCK_ROWS);
            sums.zip(leaves.vector(tree, place)).for_each(|(sum, &number)| *sum += number);
        }
        return;
    }
    let values = &leaves.values[tree * leaves.stride..][..leaves.stride];
    let output = leaves.outputs[tree] as usize * BLOCK_ROWS;
    let Some(sums) = sums[output..].first_chunk_mut::<BLOCK_ROWS>() else { return };
    if let (Some(values), Some(sums)) = (T::as_singles(values), T::as_singles_mut(sums)) {
        if let Ok(values) = <&[f32; 64]>::try_from(values) {
            return add_64(values, exits, sums);
        }
        if let Ok(values) = <&[f32; 32]>::try_from(values) {
            return add_32(values, exits, sums);
        }
    }
    let mut places = Line([0; 64]);
    store(&mut places, exits);
    let mask = leaves.stride - 1;
    for (sum, &place) in sums.iter_mut().zip(&places.0) {
        *sum += values[usize::from(place) & mask];
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512cd,avx512vbmi,avx512bitalg,bmi1,bmi2,lzcnt,popcnt")]
fn add_64(values: &[f32; 64], exits: __m512i, sums: &mut [f32]) {
    let (values, _) = values.as_chunks::<16>();
    let [a, b, c, d] = std::array::from_fn(|k| load_f32(&values[k]));
    for (sums, exits) in sums.as_chunks_mut::<16>().0.iter_mut().zip(quarters(exits)) {
        let upper = _mm512_test_epi32_mask(exits, _mm512_set1_epi32(32));
        let low = _mm512_permutex2var_ps(a, exits, b);
        let high = _mm512_permutex2var_ps(c, exits, d);
        let leaf = _mm512_mask_blend_ps(upper, low, high);
        store_f32(sums, _mm512_add_ps(load_f32(sums), leaf));
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512cd,avx512vbmi,avx512bitalg,bmi1,bmi2,lzcnt,popcnt")]
fn add_32(values: &[f32; 32], exits: __m512i, sums: &mut [f32]) {
    let (values, _) = values.as_chunks::<16>();
    let [a, b] = std::array::from_fn(|k| load_f32(&values[k]));
    for (sums, exits) in sums.as_chunks_mut::<16>().0.iter_mut().zip(quarters(exits)) {
        store_f32(sums, _mm512_add_ps(load_f32(sums), _mm512_permutex2var_ps(a, exits, b)));
    }
}

/// 64 bytes as four times 16 numbers.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512cd,avx512vbmi,avx512bitalg,bmi1,bmi2,lzcnt,popcnt")]
fn quarters(bytes: __m512i) -> [__m512i; 4] {
    [
        _mm512_cvtepu8_epi32(_mm512_castsi512_si128(bytes)),
        _mm512_cvtepu8_epi32(_mm512_extracti32x4_epi32::<1>(bytes)),
        _mm512_cvtepu8_epi32(_mm512_extracti32x4_epi32::<2>(bytes)),
        _mm512_cvtepu8_epi32(_mm512_extracti32x4_epi32::<3>(bytes)),
    ]
}
