//! The operator: rows in, rows with the functions' columns out.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use millstream_core::error::Result;
use millstream_core::{Progress, Rows, StateReader, StateSize, StateWriter, StepOutput};

use super::spec::WindowSpec;

/// Computes OVER windows incrementally.
#[derive(Debug)]
pub struct WindowOperator {
    schema: SchemaRef,
}

impl WindowOperator {
    /// Builds the operator of a plan.
    ///
    /// # Errors
    /// The plan asks for something the operator can't compute (a type it can't store, say).
    pub fn new(spec: WindowSpec) -> Result<Self> {
        let fields = spec.input.fields().iter().cloned();
        let fields: Vec<_> = fields.chain(spec.functions.iter().map(|f| f.output.clone())).collect();
        Ok(Self { schema: Arc::new(Schema::new(fields)) })
    }

    /// The columns that come out: the input's, then one for each function.
    pub fn output_schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    /// Takes the rows that arrived with their arguments (as many rows), then lets the watermark act.
    ///
    /// # Errors
    /// Only what no single row is to blame for.
    pub fn process(
        &mut self,
        _rows: Rows,
        _arguments: RecordBatch,
        _progress: &Progress,
        _out: &mut StepOutput,
    ) -> Result<()> {
        Ok(())
    }

    /// Writes the state.
    pub fn snapshot(&self, _out: &mut StateWriter) {}

    /// Reads what [`WindowOperator::snapshot`] wrote for the same spec.
    ///
    /// # Errors
    /// The bytes are damaged.
    pub fn restore(&mut self, _state: &mut StateReader<'_>) -> Result<()> {
        Ok(())
    }

    /// How much state there is.
    pub fn state_size(&self) -> StateSize {
        StateSize::default()
    }
}
