//! From a [`WindowSpec`] to what is stored and computed: which stores there are, what a row of each holds, which
//! frames move over it, and which accumulators each frame keeps.
//!
//! Sharing happens here. Functions over one partition share a store of rows; functions over one frame share its
//! place and, where they read the same argument under the same filter, their accumulators: `AVG(x)`, `SUM(x)` and
//! `STDDEV(x)` over an hour are one sum, one sum of squares and one count.

mod build;

use super::output::Fallback;
use super::spec::Frame;
use super::value::Kind;
pub use build::plan;

/// One store: the rows of every key of one PARTITION BY, in one order.
#[derive(Debug, Default)]
pub struct StorePlan {
    /// Columns of the argument batch that make the key, ascending.
    pub partition_by: Vec<usize>,
    /// What orders rows of one time.
    pub ties: Vec<TiePlan>,
    /// Values that a row holds.
    pub cells: Vec<CellPlan>,
    /// Flags that a row holds, all in one word.
    pub flags: Vec<FlagPlan>,
    /// Words a row has: the time, the flags if there are any, the cells.
    pub stride: usize,
    /// What is looked up in ranges of rows.
    pub indexes: Vec<IndexPlan>,
    /// The frames.
    pub frames: Vec<FramePlan>,
    /// Rows this far behind the watermark can still be in a frame; `None` if no frame reaches back in time.
    pub reach_ns: Option<i64>,
    /// As many rows before the watermark can still be in a frame.
    pub reach_rows: u64,
    /// Whether something of a key outlives its rows, or its last rows stay: such keys never vanish.
    pub permanent: bool,
    /// Whether the first row that is not behind the watermark has to be known.
    pub tracks_settled: bool,
    /// Whether any cell is interned.
    pub interns: bool,
    /// Whether rows hold strings that only break ties.
    pub forgets_ties: bool,
}

/// A tie-break.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TiePlan {
    pub argument: usize,
    pub descending: bool,
    pub nulls_first: bool,
    pub kind: Kind,
    /// Where a row holds it; meaningless when rows come in order and need not.
    pub word: usize,
    /// The flag that it is not null; 0 if it never is.
    pub valid: u64,
}

/// A stored value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CellPlan {
    pub argument: usize,
    pub kind: Kind,
    /// Only orders rows of one time: not needed once no more such rows can come.
    pub tie_only: bool,
    /// The flag that there is a value; 0 if there always is.
    pub held: u64,
}

/// A stored flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlagPlan {
    pub argument: usize,
    pub set: FlagSet,
}

/// Where a flag is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlagSet {
    /// Where the column is not null.
    Valid,
    /// The same, until the row's tie-breaks are let go.
    Tied,
    /// Where the column is true.
    True,
}

/// Something that is found in a range of rows without looking at each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexPlan {
    pub what: Indexed,
    /// Flags that a row must have to count.
    pub need: u64,
}

/// What an index finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Indexed {
    /// The row with the greatest or least value.
    Extreme { word: usize, kind: Kind, greatest: bool },
    /// The k-th row that counts.
    Rank,
}

/// Where a frame ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// At the current row.
    Row,
    /// At the last row of its time.
    Time,
    /// At the last row of its time and tie-breaks.
    Peers,
}

/// A frame with what is computed over it.
#[derive(Debug)]
pub struct FramePlan {
    pub frame: Frame,
    pub end: End,
    /// Where its accumulators start among the key's.
    pub first: usize,
    pub accumulators: Vec<AccumulatorPlan>,
    pub functions: Vec<FunctionPlan>,
}

impl FramePlan {
    /// Whether the frame reaches back to the beginning.
    #[inline]
    pub fn unbounded(&self) -> bool {
        matches!(self.frame, Frame::Range(None) | Frame::Rows(None))
    }
}

/// A value of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    pub word: usize,
    pub kind: Kind,
    /// The flag that it is not null; 0 if it never is.
    pub valid: u64,
}

/// An accumulator.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AccumulatorPlan {
    pub operation: Operation,
    /// Flags that a row must have to count.
    pub need: u64,
    pub cell: Cell,
    /// The second value of a pair.
    pub other: Cell,
}

/// What an accumulator keeps.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Operation {
    Count,
    Integers,
    WideIntegers,
    Floats,
    Squares,
    Moments,
    Distinct,
    Sorted,
    Extreme {
        greatest: bool,
    },
    /// The n-th row that was dropped.
    DroppedNth(u64),
    /// The last `n` rows that were dropped.
    DroppedLast(u64),
    /// The greatest or least value of the rows that were dropped.
    DroppedExtreme {
        greatest: bool,
    },
}

impl Operation {
    /// Whether it is fed by rows that are dropped instead of rows in the frame.
    pub fn of_dropped(self) -> bool {
        matches!(self, Self::DroppedNth(_) | Self::DroppedLast(_) | Self::DroppedExtreme { .. })
    }
}

/// A function.
#[derive(Debug)]
pub struct FunctionPlan {
    /// Its output column.
    pub index: usize,
    pub result: Computed,
}

/// How a result is made. Numbers named `*_at` say which accumulator of the frame, `index` which index.
#[derive(Debug)]
pub enum Computed {
    CountRows,
    Count {
        at: usize,
    },
    Distinct {
        at: usize,
    },
    FloatSum {
        at: usize,
    },
    FloatMean {
        at: usize,
    },
    /// Into Int64, or UInt64.
    IntegerSum {
        at: usize,
        signed: bool,
    },
    IntegerMean {
        at: usize,
    },
    /// Into a decimal of this precision.
    DecimalSum {
        at: usize,
        precision: u8,
    },
    /// Into a decimal of this precision, with so many more digits after the point.
    DecimalMean {
        at: usize,
        precision: u8,
        digits: u32,
    },
    Variance {
        sum_at: usize,
        squares_at: usize,
        sample: bool,
        root: bool,
    },
    Covariance {
        at: usize,
        sample: bool,
    },
    Correlation {
        at: usize,
    },
    Slope {
        at: usize,
    },
    Extreme {
        at: usize,
        dropped_at: Option<usize>,
        index: usize,
        cell: Cell,
    },
    /// The n-th row (from 1) with the flags.
    Nth {
        n: u64,
        cell: Cell,
        need: u64,
        index: usize,
        dropped_at: Option<usize>,
    },
    Last {
        cell: Cell,
        need: u64,
        index: usize,
        dropped_at: Option<usize>,
    },
    Lag {
        offset: u64,
        cell: Cell,
        need: u64,
        index: usize,
        dropped_at: Option<usize>,
        default: Fallback,
    },
    RowNumber,
    Percentile {
        at: usize,
        p: f64,
        kind: Kind,
    },
}
