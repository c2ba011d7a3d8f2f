//! OVER windows as an incremental operator.
//!
//! The operator owns the rows that windows can still reach, one task's worth of them, on the worker's thread that
//! owns the task; it is called with batches and stops when it is dropped. It knows no SQL: the planner resolves
//! queries to a [`WindowSpec`](spec::WindowSpec).
//!
//! # What it computes
//!
//! Rows of a key (PARTITION BY) have an order: event time, then the further ORDER BY columns (*tie-breaks*), then
//! arrival. A *frame* is a range of that order which ends at the current row (ROWS) or at the last of its peers
//! (RANGE). A function sees the rows in the frame. That is the SQL standard; what a stream adds is *when* a row
//! is computed:
//!
//! * **on arrival**: at once, against the rows of its key that have arrived, placed by event time. A row that comes
//!   out of order (but is not late) is computed as of *its* time: it does not see rows after it, and rows after
//!   it that were computed already are not computed again;
//! * **on the watermark**: when no earlier row can come any more, in order of (event time, arrival). Then the result
//!   is that of the batch query over the same rows.
//!
//! ```text
//! rows --late? no time?--> [pending runs, until the watermark] --> stores --> output columns
//!             \-> refused                                             |
//!                                          one for each PARTITION BY: | key -> ring of rows, frames, accumulators
//! ```
//!
//! # How
//!
//! **One store of rows.** All functions over one PARTITION BY share a store ([`store`]); a key's rows lie in order
//! in a ring of 64-bit words ([`ring`]), each argument once however many windows read it. Strings are interned
//! ([`intern`]).
//!
//! **Frames move.** Every frame is a pair of positions and its accumulators ([`partition`]). To compute a row, the
//! frame is moved to end there: the new row goes in, a few old ones go out, amortised O(1). For a row out of order
//! it moves back over the rows that are ahead, and forth again with the next row.
//!
//! **Accumulators are exact** ([`exact`], [`accumulator`]), so that nothing depends on how a frame came to where
//! it is: not the results after ten million slides, not those after a restart. A snapshot ([`snapshot`]) holds rows
//! and no accumulators, but for what was folded from rows that are gone.
//!
//! **Some things are looked up instead of kept**: the greatest value when the one that was known has left, the
//! last value that is not null. A hierarchy of block summaries finds them in O(log n) ([`blocks`]).
//!
//! **State goes when nothing can reach it**: rows by event time against the watermark, when their key is touched or
//! when a calendar says so ([`expiry`]); keys with their last row.
//!
//! **The order of a hash map, the cuts between batches, the numbers of interned strings** never reach an output: keys
//! are computed in the order of rows, and a row's functions read nothing but its key's rows.
//!
//! # Rules where standards differ
//!
//! | Case | Here |
//! |---|---|
//! | NaN in MIN, MAX, ORDER BY, percentiles | greatest, all NaNs equal (as in DataFusion and DuckDB) |
//! | `-0.0` and `0.0` | one value as a key, tie-break or distinct value; MIN gives `-0.0`, MAX `0.0` |
//! | SUM of zeros of any sign | `0.0` |
//! | SUM, AVG with NaN, or with both infinities | NaN while they are in the frame, exact again after |
//! | VAR, STDDEV, COVAR, CORR, REGR_SLOPE with NaN or an infinity | NaN (CORR is never NULL for it) |
//! | VAR_SAMP, COVAR_SAMP, CORR, REGR_SLOPE of one row | NULL |
//! | CORR, REGR_SLOPE where a side does not vary | NULL |
//! | AVG of floats | the exact sum divided by n, rounded once |
//! | AVG of decimals | rounded toward zero (as in DataFusion) |
//! | SUM out of range of its integer or decimal type | that row is refused; it stays in the windows of others |
//! | APPROX_DISTINCT, APPROX_PERCENTILE_CONT | exact; percentiles of integers rounded to nearest, ties to even |
//! | LAG with IGNORE NULLS and offset 0 | the row itself |
//! | RANGE with a distance and tie-breaks | the distance is in time; the end takes in equal tie-breaks only |

mod accumulator;
mod blocks;
pub mod codes;
mod evaluate;
mod exact;
mod expiry;
mod intern;
mod key;
pub mod operator;
mod output;
mod partition;
mod pending;
mod plan;
mod prefetch;
mod ring;
pub(crate) mod snapshot;
pub mod spec;
mod store;
mod ties;
mod value;

pub use operator::WindowOperator;

#[cfg(test)]
mod tests;
