//! Fast forms of an ensemble, each equal to the plain evaluator to the last bit, and which of them a model gets.
//!
//! Nothing here starts a thread or waits; everything is decided when a model is loaded.

mod bytes;
mod input;
mod instructions;
mod perfect;
mod quant;
mod ranked;
mod scorer;
mod shape;
mod table;
#[cfg(test)]
mod tests;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(all(target_arch = "aarch64", target_endian = "little"))]
mod neon;

pub(crate) use input::{Columns, Doubles, Input, Singles};
pub use instructions::Instructions;
pub(crate) use instructions::Level;

use crate::error::{LoadError, Place};
use crate::forest::{Forest, Real};
use crate::interleaved::Interleaved;
use crate::model::Layout;
use bytes::Bytes;
use quant::{BLOCK_ROWS, COLUMNS_MAX, Line};

/// Rows from which on a block pays: it costs as much with one row as with 64.
const BATCH_ROWS_MIN: usize = 24;

/// A forest in a fast form.
#[derive(Clone, Debug)]
pub(crate) enum Fast<T> {
    /// The plain evaluator itself.
    Plain,
    Walked(Box<Interleaved<T>>),
    Bytes(Box<Bytes<T>>),
}

/// Memory that predictions reuse.
#[derive(Debug, Default)]
pub(crate) struct Buffers<T> {
    rows: Vec<T>,
    sums: Vec<T>,
    columns: Vec<Line>,
}

impl<T: Real> Fast<T> {
    /// The form that is wanted.
    pub(crate) fn new(forest: &Forest<T>, layout: Layout, level: Level) -> Result<Self, LoadError> {
        let bytes = || Bytes::new(forest, layout, level).map(|bytes| Self::Bytes(Box::new(bytes)));
        let walked = || Interleaved::new(forest).map(|walked| Self::Walked(Box::new(walked)));
        let found = match layout {
            Layout::Plain => Some(Self::Plain),
            Layout::Auto => bytes().or_else(walked).or(Some(Self::Plain)),
            Layout::Interleaved => walked(),
            Layout::Ranked | Layout::Table | Layout::Perfect | Layout::Scorer => bytes(),
        };
        found.ok_or_else(|| {
            LoadError::unsupported(Place::part("layout"), format!("layout {layout:?} for this model on this processor"))
        })
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Walked(_) => "interleaved",
            Self::Bytes(bytes) => bytes.name(),
        }
    }

    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Plain => 0,
            Self::Walked(walked) => walked.bytes(),
            Self::Bytes(bytes) => bytes.bytes(),
        }
    }

    /// Writes the raw outputs of `count` rows from `first` on into `raw`, row after row. `count` is at most
    /// [`crate::interleaved::BLOCK_ROWS`].
    #[inline]
    pub(crate) fn raw(
        &self,
        forest: &Forest<T>,
        input: impl Input<T>,
        first: usize,
        buffers: &mut Buffers<T>,
        raw: &mut [f64],
    ) {
        let outputs = forest.outputs;
        let count = raw.len() / outputs;
        match self {
            Self::Bytes(bytes) => {
                if count >= BATCH_ROWS_MIN && block(bytes, forest, input, (first, count), buffers, raw) {
                    return;
                }
                for (row, raw) in (first..).zip(raw.chunks_exact_mut(outputs)) {
                    if let ([raw], &[start]) = (&mut *raw, forest.start.as_slice()) {
                        let mut sum = [start];
                        bytes.row(input, row, &mut sum);
                        *raw = sum[0].to_f64();
                        continue;
                    }
                    buffers.sums.clear();
                    buffers.sums.extend_from_slice(&forest.start);
                    bytes.row(input, row, &mut buffers.sums);
                    raw.iter_mut().zip(&buffers.sums).for_each(|(raw, sum)| *raw = sum.to_f64());
                }
            }
            Self::Walked(walked) => {
                let width = walked.slots();
                buffers.rows.resize(count * width, T::default());
                buffers.sums.resize(count * outputs, T::default());
                for (row, slots) in (first..).zip(buffers.rows.chunks_exact_mut(width)) {
                    walked.fill(slots, |feature| T::from_f64(input.value(row, feature).double));
                }
                walked.sum_block(&buffers.rows, &mut buffers.sums);
                raw.iter_mut().zip(&buffers.sums).for_each(|(raw, sum)| *raw = sum.to_f64());
            }
            Self::Plain => {
                buffers.rows.resize(forest.features, T::default());
                for (row, raw) in (first..).zip(raw.chunks_exact_mut(outputs)) {
                    for (feature, x) in (0u32..).zip(&mut buffers.rows) {
                        *x = forest.seen(T::from_f64(input.value(row, feature).double));
                    }
                    buffers.sums.clear();
                    buffers.sums.extend_from_slice(&forest.start);
                    forest.add_row(&buffers.rows, &mut buffers.sums);
                    raw.iter_mut().zip(&buffers.sums).for_each(|(raw, sum)| *raw = sum.to_f64());
                }
            }
        }
    }
}

/// Evaluates a block of rows, if there is a way to.
fn block<T: Real>(
    bytes: &Bytes<T>,
    forest: &Forest<T>,
    input: impl Input<T>,
    rows: (usize, usize),
    buffers: &mut Buffers<T>,
    raw: &mut [f64],
) -> bool {
    buffers.columns.resize(COLUMNS_MAX, Line([0; 64]));
    buffers.sums.resize(forest.outputs * BLOCK_ROWS, T::default());
    let Some(columns) = buffers.columns.first_chunk_mut() else { return false };
    let (sums, _) = buffers.sums.as_chunks_mut::<BLOCK_ROWS>();
    sums.iter_mut().zip(&forest.start).for_each(|(sums, &start)| sums.fill(start));
    if !bytes.block(input, rows, columns, sums.as_flattened_mut()) {
        return false;
    }
    for (output, sums) in sums.iter().enumerate() {
        let raw = raw.iter_mut().skip(output).step_by(forest.outputs);
        raw.zip(sums).for_each(|(raw, sum)| *raw = sum.to_f64());
    }
    true
}
