//! What the planner asks of the window operator: OVER windows resolved to column indexes, durations and
//! functions. Nothing here knows SQL, and nothing in the operator does either.
//!
//! The operator receives, next to the rows themselves, a batch of *arguments*: one column for each distinct
//! expression that a window reads (partition keys, tie-breaks, function arguments, FILTER conditions). Two
//! windows that read the same expression over the same key share one stored value.

use arrow::datatypes::{FieldRef, SchemaRef};
use datafusion_common::ScalarValue;

/// When rows come out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Emit {
    /// At once: against everything of the row's key that arrived before it, placed by event time.
    OnArrival,
    /// When the watermark has passed the row, in order of (event time, arrival): equal to the batch query.
    OnWatermark,
}

/// What happens to rows that come behind the watermark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LatePolicy {
    /// Dropped and counted.
    Drop,
    /// Refused with their original bytes.
    DeadLetter,
}

/// The rows a function sees, relative to the current row, in order of (event time, tie-breaks, arrival).
/// Every frame ends at the current row; RANGE frames take in the row's peers that have arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Frame {
    /// `RANGE BETWEEN <ns> PRECEDING AND CURRENT ROW`: event times in `[t - ns, t]`; `None` is UNBOUNDED.
    Range(Option<i64>),
    /// `ROWS BETWEEN <n> PRECEDING AND CURRENT ROW`; `None` is UNBOUNDED.
    Rows(Option<u64>),
}

/// A window function.
#[derive(Clone, Debug, PartialEq)]
pub enum Function {
    /// `COUNT(*)` with no argument, `COUNT(x)` with one.
    Count,
    /// `COUNT(DISTINCT x)`
    CountDistinct,
    /// `SUM(x)`; the output type is what the planner says (Int64, UInt64, Float64, Decimal128).
    Sum,
    /// `AVG(x)`
    Avg,
    /// `MIN(x)`
    Min,
    /// `MAX(x)`
    Max,
    /// `VAR_POP`, `VAR_SAMP`, `STDDEV_POP`, `STDDEV_SAMP`.
    Variance {
        /// Divide by n - 1 instead of n.
        sample: bool,
        /// Take the square root.
        root: bool,
    },
    /// `COVAR_POP(y, x)`, `COVAR_SAMP(y, x)`
    Covariance {
        /// Divide by n - 1 instead of n.
        sample: bool,
    },
    /// `CORR(y, x)`
    Correlation,
    /// `REGR_SLOPE(y, x)`
    RegressionSlope,
    /// `FIRST_VALUE(x)`
    FirstValue,
    /// `LAST_VALUE(x)`
    LastValue,
    /// `NTH_VALUE(x, n)`, n from 1.
    NthValue(u64),
    /// `LAG(x, offset, default)`: no frame.
    Lag {
        /// Rows back; 0 is the row itself.
        offset: u64,
        /// Where there is no such row; of the output's type.
        default: ScalarValue,
    },
    /// `ROW_NUMBER()`: no frame.
    RowNumber,
    /// `APPROX_DISTINCT(x)`
    ApproxDistinct,
    /// `APPROX_PERCENTILE_CONT(x, p)`, p in 0..=1.
    ApproxPercentile(f64),
}

/// A further ORDER BY column after the event time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TieBreak {
    /// Column of the argument batch.
    pub argument: usize,
    /// Greatest first.
    pub descending: bool,
    /// Nulls before values.
    pub nulls_first: bool,
}

/// One window function with its window.
#[derive(Clone, Debug)]
pub struct WindowFunction {
    /// What is computed.
    pub function: Function,
    /// Its value arguments, as columns of the argument batch.
    pub arguments: Vec<usize>,
    /// `FILTER (WHERE …)`: a boolean column of the argument batch; rows where it is not true don't count.
    pub filter: Option<usize>,
    /// `IGNORE NULLS` of FIRST_VALUE, LAST_VALUE, NTH_VALUE, LAG.
    pub ignore_nulls: bool,
    /// `PARTITION BY`, as columns of the argument batch; empty is one partition. Nulls are one key.
    pub partition_by: Vec<usize>,
    /// `ORDER BY` after the event time, which always comes first and ascending.
    pub tie_breaks: Vec<TieBreak>,
    /// The frame; ignored by LAG and ROW_NUMBER.
    pub frame: Frame,
    /// Name and type of the output column.
    pub output: FieldRef,
}

/// All window functions that one operator computes over the same input rows.
#[derive(Clone, Debug)]
pub struct WindowSpec {
    /// The functions, in order of their output columns.
    pub functions: Vec<WindowFunction>,
    /// Columns that pass through, before the functions' columns.
    pub input: SchemaRef,
    /// Columns of the argument batch.
    pub arguments: SchemaRef,
    /// When rows come out.
    pub emit: Emit,
    /// What happens to late rows.
    pub late: LatePolicy,
}

impl Function {
    /// The SQL name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Count => "COUNT",
            Self::CountDistinct => "COUNT(DISTINCT)",
            Self::Sum => "SUM",
            Self::Avg => "AVG",
            Self::Min => "MIN",
            Self::Max => "MAX",
            Self::Variance { sample: false, root: false } => "VAR_POP",
            Self::Variance { sample: true, root: false } => "VAR_SAMP",
            Self::Variance { sample: false, root: true } => "STDDEV_POP",
            Self::Variance { sample: true, root: true } => "STDDEV_SAMP",
            Self::Covariance { sample: false } => "COVAR_POP",
            Self::Covariance { sample: true } => "COVAR_SAMP",
            Self::Correlation => "CORR",
            Self::RegressionSlope => "REGR_SLOPE",
            Self::FirstValue => "FIRST_VALUE",
            Self::LastValue => "LAST_VALUE",
            Self::NthValue(_) => "NTH_VALUE",
            Self::Lag { .. } => "LAG",
            Self::RowNumber => "ROW_NUMBER",
            Self::ApproxDistinct => "APPROX_DISTINCT",
            Self::ApproxPercentile(_) => "APPROX_PERCENTILE_CONT",
        }
    }
}
