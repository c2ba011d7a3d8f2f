//! The table side of a join, made ready before the first row: projections, filters, index.

use std::sync::Arc;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use millstream_core::{Error, Result};

use super::Table;
use super::index::KeyIndex;
use crate::codes;
use crate::exec::eval::{Evaluated, ExprSet, internal, kept_by, mask_of, select};
use crate::exec::join::Lookup;
use crate::plan::op::{Op, TableSide};

pub(crate) fn prepare(side: &TableSide, table: &Table) -> Result<Lookup> {
    let mut columns = table.batch().clone();
    for op in &side.ops {
        columns = match op {
            Op::Project(set) => evaluate(set, &columns, &side.name)?,
            Op::Filter(plan) => {
                let mask = evaluate(&plan.predicate, &columns, &side.name)?;
                let kept = kept_by(mask_of(&mask)?);
                let narrowed = match &plan.keep {
                    Some(keep) => select(&columns, keep, &plan.schema)?,
                    None => columns,
                };
                match kept {
                    Some(kept) => take_record_batch(&narrowed, &UInt32Array::from(kept)).map_err(internal)?,
                    None => narrowed,
                }
            }
            Op::Join(_) | Op::Window(_) => return Err(internal("a table side with a join or a window")),
        };
    }
    if side.own_index {
        return Ok(Lookup { columns, index: table.index().clone() });
    }
    let keys = evaluate(&side.keys, &columns, &side.name)?;
    let index = KeyIndex::build(keys.columns())?.map_err(|_| {
        Error::new(codes::TABLE_DUPLICATE_KEY, format!("two rows of table `{}` have one key after a cast", side.name))
            .help("give the stream's column the type of the table's key")
    })?;
    Ok(Lookup { columns, index: Arc::new(index) })
}

fn evaluate(set: &ExprSet, batch: &RecordBatch, name: &str) -> Result<RecordBatch> {
    match set.evaluate(batch)? {
        Evaluated::All(done) => Ok(done),
        Evaluated::Some { failed, .. } => {
            let first =
                failed.into_iter().next().map(|e| format!("row {}: {}", e.row + 1, e.message)).unwrap_or_default();
            Err(Error::new(codes::TABLE_CHANGED, format!("an expression over table `{name}` failed: {first}"))
                .help("TRY_CAST gives NULL where CAST fails"))
        }
    }
}
