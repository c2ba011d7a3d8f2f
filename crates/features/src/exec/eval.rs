//! Evaluating expressions over a batch, so that a row that fails takes no other row with it.
//!
//! What a row gives is what it gives *alone*. A whole batch is evaluated at once; only if that fails is it
//! cut in halves until the failing rows stand alone. That is the same thing: evaluation skips parts of an
//! expression (CASE branches, the right side of AND) for a row alone wherever it skips them in a batch, so a
//! batch that succeeds has evaluated everything that each row alone would.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use datafusion_common::DataFusionError;
use datafusion_physical_expr::PhysicalExpr;
use millstream_core::{DeadLetter, Error, Meta, Rejection, Result};

use crate::codes::{PLANNER, ROW};
use crate::sql::blame::clean;

/// One output column.
#[derive(Clone, Debug)]
pub(crate) enum Output {
    /// An input column, as it is.
    Column(usize),
    /// A computed column.
    Expr(Arc<dyn PhysicalExpr>),
}

/// Expressions over one input, with the batch they make.
#[derive(Clone, Debug)]
pub(crate) struct ExprSet {
    pub(crate) outputs: Vec<Output>,
    pub(crate) schema: SchemaRef,
    /// Each output for people, for `explain`; may be left empty.
    pub(crate) words: Arc<[String]>,
}

/// A row that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowError {
    /// Its place in the batch.
    pub row: usize,
    /// What failed and how.
    pub message: String,
}

/// What came of evaluating a batch.
pub(crate) enum Evaluated {
    /// Every row has its values.
    All(RecordBatch),
    /// Some rows failed.
    Some {
        /// The values of the others, in order.
        batch: RecordBatch,
        /// Which rows those are.
        kept: Vec<u32>,
        /// The failed rows, rising.
        failed: Vec<RowError>,
    },
}

pub(crate) fn internal(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(PLANNER, "a planned query does not fit its rows").because(error)
}

thread_local! {
    static CATCHING: Cell<bool> = const { Cell::new(false) };
}

/// Whether a panic on this thread would become the error of a row: a panic hook need not call it a bug of ours.
pub fn panic_is_caught() -> bool {
    CATCHING.get()
}

/// Runs an expression. Some functions panic on odd arguments (`lpad` to a negative length); that must take the row
/// with it, not the pipeline, which would meet the same row again after every restart.
fn caught<T>(evaluate: impl FnOnce() -> Result<T, DataFusionError>) -> Result<T, DataFusionError> {
    CATCHING.set(true);
    // Expressions are immutable, and what a failed one has built is dropped.
    let result = catch_unwind(AssertUnwindSafe(evaluate));
    CATCHING.set(false);
    result.unwrap_or_else(|panic| Err(DataFusionError::Execution(words_of(panic.as_ref()).to_owned())))
}

fn words_of(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("the function failed")
}

/// A batch with an explicit number of rows, for it may have no columns.
pub(crate) fn batch_of(schema: SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(schema, columns, &options).map_err(internal)
}

/// `batch` with only these columns, under another schema. Copies no data.
pub(crate) fn select(batch: &RecordBatch, columns: &[usize], schema: &SchemaRef) -> Result<RecordBatch> {
    let picked = columns.iter().filter_map(|&i| batch.columns().get(i).cloned()).collect();
    batch_of(schema.clone(), picked, batch.num_rows())
}

impl ExprSet {
    pub(crate) fn new(outputs: Vec<Output>, schema: SchemaRef) -> Self {
        Self { outputs, schema, words: Arc::default() }
    }

    pub(crate) fn is_pure_selection(&self) -> bool {
        self.outputs.iter().all(|o| matches!(o, Output::Column(_)))
    }

    /// Whether the outputs are the first `width` input columns, in order, and there are no others.
    pub(crate) fn is_identity(&self, width: usize) -> bool {
        self.outputs.len() == width
            && self.outputs.iter().enumerate().all(|(i, o)| matches!(o, Output::Column(c) if *c == i))
    }

    fn try_evaluate(&self, batch: &RecordBatch) -> Result<Result<RecordBatch>, (usize, DataFusionError)> {
        let rows = batch.num_rows();
        let mut columns = Vec::with_capacity(self.outputs.len());
        for (i, output) in self.outputs.iter().enumerate() {
            let column = match output {
                Output::Column(c) => match batch.columns().get(*c) {
                    Some(column) => column.clone(),
                    None => return Ok(Err(internal(format!("column {c} is not there")))),
                },
                Output::Expr(expr) => {
                    let value = caught(|| expr.evaluate(batch).and_then(|value| value.into_array(rows)));
                    value.map_err(|error| (i, error))?
                }
            };
            columns.push(column);
        }
        Ok(batch_of(self.schema.clone(), columns, rows))
    }

    /// Evaluates a batch, isolating the rows that fail.
    pub(crate) fn evaluate(&self, batch: &RecordBatch) -> Result<Evaluated> {
        match self.try_evaluate(batch) {
            Ok(done) => done.map(Evaluated::All),
            Err(_) => self.isolate(batch),
        }
    }

    #[cold]
    fn isolate(&self, batch: &RecordBatch) -> Result<Evaluated> {
        let (mut parts, mut kept, mut failed) = (Vec::new(), Vec::new(), Vec::new());
        // Ranges still to do, the next one on top.
        let mut todo = vec![(0, batch.num_rows())];
        while let Some((start, length)) = todo.pop() {
            match self.try_evaluate(&batch.slice(start, length)) {
                Ok(part) => {
                    parts.push(part?);
                    kept.extend((start..start + length).map(|i| i as u32));
                }
                Err((output, error)) if length == 1 => {
                    failed.push(RowError { row: start, message: self.describe(output, &error) });
                }
                Err(_) => {
                    let half = length / 2;
                    todo.push((start + half, length - half));
                    todo.push((start, half));
                }
            }
        }
        let batch = concat_batches(&self.schema, &parts).map_err(internal)?;
        Ok(Evaluated::Some { batch, kept, failed })
    }

    fn describe(&self, output: usize, error: &DataFusionError) -> String {
        let name = self.schema.fields().get(output).map(|f| f.name().as_str()).unwrap_or_default();
        format!("`{name}`: {}", clean(error))
    }
}

/// The mask that a one-column boolean set gave.
pub(crate) fn mask_of(batch: &RecordBatch) -> Result<&BooleanArray> {
    batch
        .columns()
        .first()
        .and_then(|column| column.as_any().downcast_ref())
        .ok_or_else(|| internal("a condition gave no booleans"))
}

/// Which rows a mask keeps; `None` for all of them. Null counts as false.
pub(crate) fn kept_by(mask: &BooleanArray) -> Option<Vec<u32>> {
    if mask.null_count() == 0 && mask.true_count() == mask.len() {
        return None;
    }
    Some((0..mask.len()).filter(|&i| mask.is_valid(i) && mask.value(i)).map(|i| i as u32).collect())
}

/// Makes dead letters of failed rows.
pub(crate) fn reject(meta: &Meta, failed: Vec<RowError>, out: &mut Vec<DeadLetter>) {
    out.extend(failed.into_iter().map(|error| DeadLetter {
        record: meta.record(error.row),
        trigger: meta.trigger(error.row),
        step: String::new(),
        rejection: Rejection { code: ROW, message: error.message },
    }));
}
