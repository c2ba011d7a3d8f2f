//! Conditions over rows, and the way of rows into an output.
//!
//! A row on which an expression fails is refused by itself: it becomes a dead letter, and the others go on.

use arrow::array::{BooleanArray, RecordBatch};
use millstream_core::{Chunk, DeadLetter, Encoder, Error, Meta, Rejection, Result, Rows};
use millstream_features::{Predicate, RowError, codes::ROW};

use crate::codes::CHECK_FAILED;
use crate::plan::PlannedOutput;

/// A condition with its text, for messages.
#[derive(Clone)]
pub(crate) struct Condition {
    pub(crate) text: String,
    pub(crate) predicate: Predicate,
}

/// Row numbers, rising, and why each is refused.
pub(crate) type Refusals = Vec<(usize, Rejection)>;

fn rejection(error: RowError) -> (usize, Rejection) {
    (error.row, Rejection { code: ROW, message: error.message })
}

/// Evaluates a check: false refuses, true and null pass, as with SQL's CHECK.
pub(crate) fn check(check: &Condition, columns: &RecordBatch, name: &str) -> Result<Refusals> {
    let (mask, failed) = check.predicate.evaluate(columns)?;
    let mut refused: Refusals = failed.into_iter().map(rejection).collect();
    if mask.false_count() > 0 {
        let message = format!("check `{name}` is not true: {}", check.text);
        let broken = mask.iter().enumerate().filter(|(_, passed)| *passed == Some(false));
        refused.extend(broken.map(|(row, _)| (row, Rejection { code: CHECK_FAILED, message: message.clone() })));
        refused.sort_by_key(|(row, _)| *row);
    }
    Ok(refused)
}

/// True for the rows that are not refused.
pub(crate) fn kept(rows: usize, refused: &Refusals) -> BooleanArray {
    let mut kept = vec![true; rows];
    for (row, _) in refused {
        if let Some(slot) = kept.get_mut(*row) {
            *slot = false;
        }
    }
    kept.into()
}

/// Evaluates a condition; rows on which it fails become dead letters and leave.
pub(crate) fn mask(condition: &Condition, rows: Rows, rejected: &mut Vec<DeadLetter>) -> Result<(BooleanArray, Rows)> {
    let (mask, failed) = condition.predicate.evaluate(&rows.columns)?;
    if failed.is_empty() {
        return Ok((mask, rows));
    }
    let mut kept = vec![true; rows.len()];
    failed.iter().for_each(|error| kept[error.row] = false);
    let kept = BooleanArray::from(kept);
    refuse(&rows.meta, failed, rejected);
    let mask = arrow::compute::filter(&mask, &kept).map_err(unfiltered)?;
    let mask = arrow::array::AsArray::as_boolean(&mask).clone();
    Ok((mask, rows.filter(&kept).map_err(unfiltered)?))
}

/// Makes dead letters of rows that failed; the engine fills in the step.
pub(crate) fn refuse(meta: &Meta, failed: Vec<RowError>, rejected: &mut Vec<DeadLetter>) {
    rejected.extend(failed.into_iter().map(|error| {
        let (row, rejection) = rejection(error);
        DeadLetter { record: meta.record(row), trigger: meta.trigger(row), step: String::new(), rejection }
    }));
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
        let (wanted, all) = mask(filter, rows, refused)?;
        rows = match wanted.true_count() {
            0 => all.take(&[]).map_err(unfiltered)?,
            n if n == all.len() => all,
            _ => all.filter(&wanted).map_err(unfiltered)?,
        };
    }
    if let (Some(select), false) = (&output.select, rows.is_empty()) {
        rows = select.apply(rows, refused)?;
    }
    for letter in refused.iter_mut().skip(before) {
        letter.step = format!("output {}", output.name);
    }
    if rows.is_empty() { Ok(()) } else { encoder.write(&rows, chunk) }
}

fn unfiltered(error: arrow::error::ArrowError) -> Error {
    Error::new(CHECK_FAILED, "rows can't be filtered").because(error)
}
