//! One row: perfect trees and the scorer.

use std::arch::x86_64::*;

use super::moves::*;
use crate::forest::Real;
use crate::layout::perfect::{Perfect, Tests};
use crate::layout::quant::RowBytes;
use crate::layout::scorer::{GROUP, Packed, Slot, Transposed};
use crate::layout::shape::Leaves;

/// Trees whose answers are kept before they are walked.
const KEPT: usize = 32;

/// The row's bytes in the order of 64 tests, compared: bit `k` says that test `k` sends the row right.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512cd,avx512vbmi,avx512bitalg,bmi1,bmi2,lzcnt,popcnt")]
fn answers<const WIDE: bool>(row: (__m512i, __m512i), tests: &Tests) -> u64 {
    let columns = load(&tests.columns);
    let values =
        if WIDE { _mm512_permutex2var_epi8(row.0, columns, row.1) } else { _mm512_permutexvar_epi8(columns, row.0) };
    _mm512_cmpge_epu8_mask(values, load(&tests.codes))
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512cd,avx512vbmi,avx512bitalg,bmi1,bmi2,lzcnt,popcnt")]
pub(super) fn perfect_row<T: Real, const BLOCKS: usize, const STRIDE: usize, const WIDE: bool>(
    perfect: &Perfect,
    bytes: &RowBytes,
    leaves: &Leaves<T>,
    sums: &mut [T],
) {
    let row = (load(&bytes[0]), load(&bytes[1]));
    let mut kept = [[[0u64; 8]; KEPT / 8]; BLOCKS];
    let mut exits = [0u8; KEPT];
    for (group, tests) in perfect.tests.chunks(KEPT * BLOCKS).enumerate() {
        let (trees, _) = tests.as_chunks::<BLOCKS>();
        for (tree, tests) in trees.iter().enumerate() {
            for (kept, tests) in kept.iter_mut().zip(tests) {
                kept[tree / 8 % (KEPT / 8)][tree % 8] = answers::<WIDE>(row, tests);
            }
        }
        let one = _mm512_set1_epi64(1);
        for (number, exits) in exits.as_chunks_mut::<8>().0.iter_mut().enumerate().take(trees.len().div_ceil(8)) {
            let block = |block: usize| load_u64(&kept[block][number]);
            let step = |place: __m512i, answers: __m512i| {
                let answer = _mm512_and_si512(_mm512_srlv_epi64(answers, place), one);
                _mm512_add_epi64(_mm512_add_epi64(place, place), answer)
            };
            // A shift by 64 or more gives nothing: places beyond the first block are brought down first.
            let within = |place| _mm512_and_si512(place, _mm512_set1_epi64(63));
            let deeper = |place: __m512i, answers: __m512i| {
                let answer = _mm512_and_si512(_mm512_srlv_epi64(answers, within(place)), one);
                _mm512_add_epi64(_mm512_add_epi64(place, place), answer)
            };
            let first = block(0);
            let mut place = one;
            for _ in 0..6 {
                place = step(place, first);
            }
            if BLOCKS > 1 {
                place = deeper(place, block(1));
            }
            if BLOCKS > 2 {
                let upper = _mm512_test_epi64_mask(place, _mm512_set1_epi64(64));
                place = deeper(place, _mm512_mask_blend_epi64(upper, block(2 % BLOCKS), block(3 % BLOCKS)));
            }
            *exits = store_low_bytes(place);
        }
        leaves.add::<STRIDE>(group * KEPT, &exits[..trees.len()], sums);
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512cd,avx512vbmi,avx512bitalg,bmi1,bmi2,lzcnt,popcnt")]
pub(super) fn transposed_row<T: Real, const WIDE: bool>(
    transposed: &Transposed,
    bytes: &RowBytes,
    leaves: &Leaves<T>,
    sums: &mut [T],
) {
    let row = (load(&bytes[0]), load(&bytes[1]));
    for (group, (slots, trees)) in transposed.groups.iter().enumerate() {
        let mut exits = [0u8; GROUP];
        match trees.div_ceil(16) {
            1 => transposed_group::<WIDE, 1>(row, slots, &mut exits),
            2 => transposed_group::<WIDE, 2>(row, slots, &mut exits),
            3 => transposed_group::<WIDE, 3>(row, slots, &mut exits),
            _ => transposed_group::<WIDE, 4>(row, slots, &mut exits),
        }
        leaves.add::<32>(group * GROUP, &exits[..*trees], sums);
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512cd,avx512vbmi,avx512bitalg,bmi1,bmi2,lzcnt,popcnt")]
fn transposed_group<const WIDE: bool, const QUARTERS: usize>(
    row: (__m512i, __m512i),
    slots: &[Slot],
    exits: &mut [u8; GROUP],
) {
    let mut ruled_out = [_mm512_setzero_si512(); QUARTERS];
    for slot in slots {
        let answers = answers::<WIDE>(row, &slot.tests);
        for (quarter, ruled_out) in ruled_out.iter_mut().enumerate() {
            let answers = (answers >> (16 * quarter)) as u16;
            *ruled_out = _mm512_mask_or_epi32(*ruled_out, answers, *ruled_out, load_u32(&slot.masks[quarter].0));
        }
    }
    for (exits, ruled_out) in exits.as_chunks_mut::<16>().0.iter_mut().zip(ruled_out) {
        let left_over = _mm512_xor_si512(ruled_out, _mm512_set1_epi32(-1));
        *exits = store_i8x16(_mm512_cvtepi32_epi8(_mm512_lzcnt_epi32(left_over)));
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512cd,avx512vbmi,avx512bitalg,bmi1,bmi2,lzcnt,popcnt")]
pub(super) fn packed_row<T: Real, const WIDE: bool>(
    packed: &Packed,
    bytes: &RowBytes,
    leaves: &Leaves<T>,
    sums: &mut [T],
) {
    let row = (load(&bytes[0]), load(&bytes[1]));
    let mut kept = [[0u64; 2]; KEPT];
    let mut exits = [0u8; KEPT];
    for (group, heads) in packed.heads.chunks(KEPT).enumerate() {
        for (head, kept) in heads.iter().zip(&mut kept) {
            let lines = &packed.lines[head.first as usize..];
            let (tests, lines) = lines.split_at(usize::from(head.tests));
            let low = _mm512_movm_epi8(answers::<WIDE>(row, &tests[0]));
            let high = tests.get(1).map_or(low, |tests| _mm512_movm_epi8(answers::<WIDE>(row, tests)));
            let mut ruled_out = _mm512_setzero_si512();
            for entry in &lines[..usize::from(head.entries)] {
                let answers = _mm512_permutex2var_epi8(low, load(&entry.columns), high);
                ruled_out = _mm512_ternarylogic_epi64::<0xF8>(ruled_out, answers, load(&entry.codes));
            }
            *kept = fold(ruled_out, head.planes);
        }
        for (exit, [low, high]) in exits.iter_mut().zip(&kept) {
            let low = low.trailing_ones();
            *exit = if low < 64 { low } else { 64 + high.trailing_ones() } as u8;
        }
        match leaves.stride {
            32 => leaves.add::<32>(group * KEPT, &exits[..heads.len()], sums),
            64 => leaves.add::<64>(group * KEPT, &exits[..heads.len()], sums),
            _ => leaves.add::<128>(group * KEPT, &exits[..heads.len()], sums),
        }
    }
}

/// Joins the repeats of `planes` bytes in a line.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512cd,avx512vbmi,avx512bitalg,bmi1,bmi2,lzcnt,popcnt")]
fn fold(line: __m512i, planes: u8) -> [u64; 2] {
    let half = _mm256_or_si256(_mm512_castsi512_si256(line), _mm512_extracti64x4_epi64::<1>(line));
    let mut joined = _mm_or_si128(_mm256_castsi256_si128(half), _mm256_extracti128_si256::<1>(half));
    if planes < 16 {
        joined = _mm_or_si128(joined, _mm_unpackhi_epi64(joined, joined));
        if planes < 8 {
            joined = _mm_or_si128(joined, _mm_srli_epi64::<32>(joined));
        }
    }
    [_mm_cvtsi128_si64(joined) as u64, _mm_extract_epi64::<1>(joined) as u64]
}
