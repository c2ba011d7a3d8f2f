//! The kernels for AVX-512 with byte permutes (VBMI) and byte counts (BITALG): Intel since Ice Lake, AMD since Zen 4.
//!
//! `unsafe` here is loading and storing whole arrays, in the helpers at the end, and entering code for these instructions,
//! in [`Avx512::row`] and [`Avx512::block`]: that the processor has them is what [`Avx512`] stands for.

#![allow(unsafe_code)]

use std::arch::x86_64::*;

use super::bytes::{Batch, Bytes, Single};
use super::input::{Cells, Input};
use super::perfect::{Perfect, Tests};
use super::quant::{BLOCK_ROWS, Block, COLUMNS_MAX, Line, Quantiser, RowBytes, Table};
use super::scorer::{GROUP, Packed, Planes, Transposed};
use super::shape::Leaves;
use crate::forest::Real;

/// Proof that the processor has what the kernels use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Avx512(());

/// Trees whose answers are kept before they are walked.
const KEPT: usize = 32;

/// The answers of a tree's tests for 64 rows, a word for each test.
type Answers = [u64; 256];

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
        (Single::Table(table), _) => table.row(&bytes, leaves, sums),
        (Single::Ranked(ranked), _) => ranked.row(&mut bytes, sums),
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
fn count<const DOUBLE: bool>(bounds: __m512, value: __m512) -> u32 {
    let passed = if DOUBLE {
        _mm512_cmp_ps_mask::<_CMP_LT_OQ>(bounds, value)
    } else {
        _mm512_cmp_ps_mask::<_CMP_LE_OQ>(bounds, value)
    };
    u32::from(passed).count_ones()
}

/// The rank of a value among a table's thresholds in float32; see [`Quantiser::rank`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512cd,avx512vbmi,avx512bitalg,bmi1,bmi2,lzcnt,popcnt")]
fn rank<const DOUBLE: bool>(blocks: &[Block], table: &Table, coarse: __m512, single: f32) -> u32 {
    let value = _mm512_set1_ps(single);
    let block = count::<DOUBLE>(coarse, value);
    let within = count::<DOUBLE>(load_f32(&blocks[(table.first + block) as usize].0), value);
    block * 16 + within
}

/// The values of a row, one for each table.
#[repr(C, align(64))]
struct Values<T>([T; COLUMNS_MAX]);

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512cd,avx512vbmi,avx512bitalg,bmi1,bmi2,lzcnt,popcnt")]
fn quantise_row<T: Real, const DOUBLE: bool>(
    quantiser: &Quantiser,
    input: impl Input<T>,
    row: usize,
    out: &mut RowBytes,
) {
    // In passes over the tables, so that many loads that wait for others' results are under way at once.
    let mut single = Values([0f32; COLUMNS_MAX]);
    let mut double = Values([0f64; COLUMNS_MAX]);
    let mut ranks = [0u8; COLUMNS_MAX];
    let tables = quantiser.tables.as_slice();
    let tables = &tables[..tables.len().min(COLUMNS_MAX)];
    for ((table, single), k) in tables.iter().zip(&mut single.0).zip(0..) {
        let mut value = input.value(row, table.feature);
        if quantiser.zero_missing {
            value = value.seen::<DOUBLE>(table.zero_missing);
        }
        *single = value.single;
        if DOUBLE {
            double.0[k] = value.double;
        }
    }
    for (((table, coarse), rank), &single) in tables.iter().zip(&quantiser.coarse).zip(&mut ranks).zip(&single.0) {
        *rank = self::rank::<DOUBLE>(&quantiser.blocks, table, load_f32(&coarse.0), single) as u8;
    }
    if DOUBLE {
        let exact = quantiser.exact.as_flattened();
        for ((table, rank), &double) in tables.iter().zip(&mut ranks).zip(&double.0) {
            *rank += u8::from(exact[table.first as usize * 16 + usize::from(*rank)] <= double);
        }
    }
    let mut left = [_mm512_setzero_si512(); 2];
    let mut right = [_mm512_setzero_si512(); 2];
    for ((half, ranks), values) in ranks.as_chunks::<64>().0.iter().enumerate().zip(single.0.as_chunks::<64>().0) {
        left[half] = load_bytes(ranks);
        right[half] = _mm512_mask_set1_epi8(left[half], missing(values), -1);
        if tables.len() <= 64 {
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

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512cd,avx512vbmi,avx512bitalg,bmi1,bmi2,lzcnt,popcnt")]
fn quantise_block<T: Real, const DOUBLE: bool>(
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
        let coarse = load_f32(&coarse.0);
        for (rank, &single) in ranks.0.iter_mut().zip(&cells.single) {
            *rank = self::rank::<DOUBLE>(&quantiser.blocks, table, coarse, single) as u8;
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
fn perfect_row<T: Real, const BLOCKS: usize, const STRIDE: usize, const WIDE: bool>(
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
fn transposed_row<T: Real, const WIDE: bool>(
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
    slots: &[super::scorer::Slot],
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
fn packed_row<T: Real, const WIDE: bool>(packed: &Packed, bytes: &RowBytes, leaves: &Leaves<T>, sums: &mut [T]) {
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

/// The answers of a test for 64 rows.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512cd,avx512vbmi,avx512bitalg,bmi1,bmi2,lzcnt,popcnt")]
fn answer_rows(columns: &[Line; COLUMNS_MAX], column: u8, code: u8) -> u64 {
    let values = load(&columns[usize::from(column) % COLUMNS_MAX]);
    _mm512_cmpge_epu8_mask(values, _mm512_set1_epi8(code as i8))
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512cd,avx512vbmi,avx512bitalg,bmi1,bmi2,lzcnt,popcnt")]
fn sliced_block<T: Real>(perfect: &Perfect, columns: &[Line; COLUMNS_MAX], leaves: &Leaves<T>, sums: &mut [T]) {
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
fn planes_block<T: Real>(model: &Planes, columns: &[Line; COLUMNS_MAX], leaves: &Leaves<T>, sums: &mut [T]) {
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

/// Declares loads and stores of whole arrays.
macro_rules! moves {
    ($($name:ident($array:ty) -> $register:ty: $load:ident;)*) => {$(
        #[inline]
        #[target_feature(enable = "avx512f,avx512bw")]
        fn $name(array: &$array) -> $register {
            const { assert!(size_of::<$array>() == size_of::<$register>()) };
            // SAFETY: the array is as large as the register, and the load needs no alignment.
            unsafe { $load(std::ptr::from_ref(array).cast()) }
        }
    )*};
    (mut $($name:ident($array:ty, $register:ty): $store:ident;)*) => {$(
        #[inline]
        #[target_feature(enable = "avx512f,avx512bw")]
        fn $name(array: &mut $array, register: $register) {
            const { assert!(size_of::<$array>() == size_of::<$register>()) };
            // SAFETY: the array is as large as the register, any bits are a value of it, and the store needs no alignment.
            unsafe { $store(std::ptr::from_mut(array).cast(), register) }
        }
    )*};
}

moves! {
    load(Line) -> __m512i: _mm512_loadu_si512;
    load_bytes([u8; 64]) -> __m512i: _mm512_loadu_si512;
    load_u32([u32; 16]) -> __m512i: _mm512_loadu_si512;
    load_u64([u64; 8]) -> __m512i: _mm512_loadu_si512;
    load_f32([f32; 16]) -> __m512: _mm512_loadu_ps;
}

moves! { mut
    store(Line, __m512i): _mm512_storeu_si512;
    store_u64([u64; 8], __m512i): _mm512_storeu_si512;
    store_f32([f32; 16], __m512): _mm512_storeu_ps;
}

/// The lowest bytes of eight numbers.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn store_low_bytes(numbers: __m512i) -> [u8; 8] {
    (_mm_cvtsi128_si64(_mm512_cvtepi64_epi8(numbers)) as u64).to_le_bytes()
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn store_i8x16(bytes: __m128i) -> [u8; 16] {
    let (low, high) = (_mm_cvtsi128_si64(bytes) as u64, _mm_extract_epi64::<1>(bytes) as u64);
    (u128::from(low) | u128::from(high) << 64).to_le_bytes()
}
