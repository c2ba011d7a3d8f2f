//! Conditions and projections over rows, and the way of rows into an output.
//!
//! A row on which an expression fails is refused by itself: it becomes a dead letter, and the others go on.

use arrow::array::{BooleanArray, RecordBatch};
use millstream_core::{Chunk, DeadLetter, Encoder, Error, Rejection, Result, Rows};
use millstream_features::{Predicate, Projection};

use crate::codes::CHECK_FAILED;
use crate::plan::PlannedOutput;

/// What a check says about the rows of a batch.
pub(crate) struct Checked {
    /// True where the row stays.
    pub(crate) kept: BooleanArray,
    /// Row numbers and why each is refused, in order.
    pub(crate) refused: Vec<(usize, Rejection)>,
}

/// Evaluates a check: false refuses, true and null pass, as with SQL's CHECK.
pub(crate) fn check(check: &Predicate, columns: &RecordBatch, name: &str) -> Result<Checked> {
    let outcome = check.evaluate(columns)?;
    let mut refused = outcome.failed;
    for (row, passed) in outcome.value.iter().enumerate() {
        if passed == Some(false) {
            let message = format!("check `{name}` is not true: {}", check.text());
            refused.push((row, Rejection { code: CHECK_FAILED, message }));
        }
    }
    refused.sort_by_key(|(row, _)| *row);
    let mut kept = vec![true; columns.num_rows()];
    for (row, _) in &refused {
        kept[*row] = false;
    }
    Ok(Checked { kept: kept.into(), refused })
}

/// Refuses some rows and gives the others.
pub(crate) fn letters(rows: Rows, failed: Vec<(usize, Rejection)>, rejected: &mut Vec<DeadLetter>) -> Result<Rows> {
    if failed.is_empty() {
        return Ok(rows);
    }
    let mut kept = vec![true; rows.len()];
    for (row, rejection) in failed {
        kept[row] = false;
        rejected.push(DeadLetter {
            record: rows.meta.record(row),
            trigger: rows.meta.trigger(row),
            step: String::new(),
            rejection,
        });
    }
    rows.filter(&kept.into()).map_err(|e| Error::new(CHECK_FAILED, "refused rows can't be taken out").because(e))
}

/// Evaluates a condition; rows on which it fails leave.
pub(crate) fn mask(predicate: &Predicate, rows: Rows, rejected: &mut Vec<DeadLetter>) -> Result<(BooleanArray, Rows)> {
    let outcome = predicate.evaluate(&rows.columns)?;
    if outcome.failed.is_empty() {
        return Ok((outcome.value, rows));
    }
    let rows = letters(rows, outcome.failed, rejected)?;
    Ok((predicate.evaluate(&rows.columns)?.value, rows))
}

/// Evaluates a projection; rows on which it fails leave.
pub(crate) fn project(projection: &Projection, rows: Rows, rejected: &mut Vec<DeadLetter>) -> Result<(RecordBatch, Rows)> {
    let outcome = projection.evaluate(&rows.columns)?;
    if outcome.failed.is_empty() {
        return Ok((outcome.value, rows));
    }
    let rows = letters(rows, outcome.failed, rejected)?;
    Ok((projection.evaluate(&rows.columns)?.value, rows))
}

/// Applies an output's `where:` and `select:` and encodes what is left.
pub(crate) fn write(
    output: &PlannedOutput,
    rows: &Rows,
    encoder: &mut dyn Encoder,
    chunk: &mut Chunk,
    refused: &mut Vec<DeadLetter>,
) -> Result<()> {
    let before = refused.len();
    let mut rows = rows.clone();
    if let Some(filter) = &output.filter {
        let (kept, all) = mask(filter, rows, refused)?;
        if kept.true_count() == 0 {
            rows = all.take(&[]).map_err(unfiltered)?;
        } else {
            rows = all.filter(&kept).map_err(unfiltered)?;
        }
    }
    if let (Some(select), false) = (&output.select, rows.is_empty()) {
        let (columns, kept) = project(select, rows, refused)?;
        rows = kept.with_columns(columns);
    }
    for letter in &mut refused[before..] {
        letter.step = format!("output {}", output.name);
    }
    if rows.is_empty() { Ok(()) } else { encoder.write(&rows, chunk) }
}

fn unfiltered(error: arrow::error::ArrowError) -> Error {
    Error::new(CHECK_FAILED, "rows can't be filtered").because(error)
}
