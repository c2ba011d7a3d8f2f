//! Predict steps: a model's inputs computed from a row, its number written beside it.
//!
//! Stateless and pure: the model is a fixed function, and the prediction id derives from pipeline, step and
//! position. Runs on the worker's thread as part of a task.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, DictionaryArray, Float64Array, Int32Array, RecordBatch, StringArray,
    StringBuilder, UInt32Array, new_null_array,
};
use arrow::compute::{filter, take};
use arrow::datatypes::{DataType, Field, Int32Type, Schema, SchemaRef};
use millstream_core::{DeadLetter, Error, Meta, OutputKind, Progress, Result, Rows, Step, StepOutput};
use millstream_features::Projection;

use crate::artifacts::Serving;
use crate::codes::MODEL_INPUTS;
use crate::plan::PlannedModel;
use crate::route::{self, Condition};

/// What a predict step computes, planned.
pub(crate) struct PredictPlan {
    pub(crate) scorer: Scorer,
    /// Rows for which this is not true get nulls.
    pub(crate) when: Option<Condition>,
    /// The step's columns: the input's, then the score, `prediction_id`, `model`, `model_version`, `model_digest`.
    pub(crate) schema: SchemaRef,
}

/// Where the number comes from.
#[derive(Clone)]
pub(crate) enum Scorer {
    /// A model: its inputs in its own order.
    Model { model: PlannedModel, inputs: Arc<Projection>, output: OutputKind },
    /// The first rule that is true says the score.
    Rules { name: String, version: String, digest: String, rules: Arc<Vec<(Condition, f64)>>, default: f64 },
}

/// The columns that a predict step adds after the score.
pub(crate) const PREDICTION_COLUMNS: [&str; 4] = ["prediction_id", "model", "model_version", "model_digest"];

/// The fields a predict step adds.
pub(crate) fn output_fields(score: &str, kind: DataType) -> Vec<Field> {
    let name = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let [id, model, version, digest] = PREDICTION_COLUMNS;
    vec![
        Field::new(score, kind, true),
        Field::new(id, DataType::Utf8, true),
        Field::new(model, name.clone(), true),
        Field::new(version, name.clone(), true),
        Field::new(digest, name, true),
    ]
}

impl PredictPlan {
    /// The model the step depends on; `None` for rules, which stand in the pipeline file itself.
    pub(crate) fn model_name(&self) -> Option<&str> {
        match &self.scorer {
            Scorer::Model { model, .. } => Some(&model.name),
            Scorer::Rules { .. } => None,
        }
    }

    /// The step, with the model that serves.
    pub(crate) fn build(&self, pipeline: &str, step: &str, serving: &Serving) -> Result<Box<dyn Step>> {
        let mut scorer = self.scorer.clone();
        if let Scorer::Model { model, output, .. } = &mut scorer {
            if let Some(now) = serving.models.get(&model.name) {
                *model = now.clone();
            }
            // The first prediction touches every page of the model: not on an event's time.
            let blank: Vec<ArrayRef> =
                model.model.signature().inputs.iter().map(|_| new_null_array(&DataType::Float64, 1)).collect();
            model.model.predict(&blank, *output)?;
        }
        let (model, version, digest) = match &scorer {
            Scorer::Model { model, .. } => (model.name.clone(), model.version.clone(), model.model.digest().to_owned()),
            Scorer::Rules { name, version, digest, .. } => (name.clone(), version.clone(), digest.clone()),
        };
        let constants = [model, version, digest].map(|s| Arc::new(StringArray::from(vec![s])) as ArrayRef);
        Ok(Box::new(PredictStep {
            scorer,
            when: self.when.clone(),
            schema: self.schema.clone(),
            id_prefix: format!("{pipeline}/{step}/"),
            constants,
        }))
    }
}

struct PredictStep {
    scorer: Scorer,
    when: Option<Condition>,
    schema: SchemaRef,
    id_prefix: String,
    /// Name, version and digest of the model: one-entry dictionaries.
    constants: [ArrayRef; 3],
}

impl Step for PredictStep {
    fn process(&mut self, rows: Rows, _progress: &Progress, out: &mut StepOutput) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let (rows, wanted) = match &self.when {
            None => (rows, None),
            Some(when) => {
                let (mask, rows) = route::mask(when, rows, &mut out.rejected)?;
                (rows, mask.iter().any(|m| m != Some(true)).then_some(mask))
            }
        };
        let (rows, score, wanted) = match wanted {
            None => {
                let (rows, score) = self.score(rows, &mut out.rejected)?;
                (rows, score, None)
            }
            // Only the rows that are wanted meet the model.
            Some(mask) => {
                let (rows, score, mask) = self.score_some(rows, mask, &mut out.rejected)?;
                (rows, score, Some(mask))
            }
        };
        if rows.is_empty() {
            return Ok(());
        }
        let mut columns = rows.columns.columns().to_vec();
        columns.push(score);
        columns.push(self.prediction_ids(&rows.meta, wanted.as_ref()));
        let keys: Int32Array = match &wanted {
            None => Int32Array::from(vec![0; rows.len()]),
            Some(mask) => (0..rows.len()).map(|i| is_true(mask, i).then_some(0)).collect(),
        };
        for values in &self.constants {
            let dictionary = DictionaryArray::<Int32Type>::try_new(keys.clone(), values.clone()).map_err(broken)?;
            columns.push(Arc::new(dictionary));
        }
        let batch = RecordBatch::try_new(self.schema.clone(), columns).map_err(broken)?;
        out.rows.push(rows.with_columns(batch));
        Ok(())
    }
}

fn is_true(mask: &BooleanArray, i: usize) -> bool {
    !mask.is_null(i) && mask.value(i)
}

fn broken(error: arrow::error::ArrowError) -> Error {
    Error::new(MODEL_INPUTS, "a predict step's columns don't fit together").because(error)
}

impl PredictStep {
    /// Scores rows. Those on which an input or a rule fails become dead letters and leave.
    fn score(&self, rows: Rows, rejected: &mut Vec<DeadLetter>) -> Result<(Rows, ArrayRef)> {
        match &self.scorer {
            Scorer::Model { model, inputs, output } => {
                let inputs = inputs.evaluate(&rows.columns)?;
                let rows = match &inputs.kept {
                    None => rows,
                    Some(kept) => {
                        route::refuse(&rows.meta, inputs.failed, rejected);
                        rows.take(kept).map_err(broken)?
                    }
                };
                let score = if rows.is_empty() {
                    new_null_array(self.score_type(), 0)
                } else {
                    model.model.predict(inputs.columns.columns(), *output)?
                };
                Ok((rows, score))
            }
            Scorer::Rules { rules, default, .. } => {
                let mut rows = rows;
                let mut masks: Vec<BooleanArray> = Vec::with_capacity(rules.len());
                for (condition, _) in rules.iter() {
                    let before = rows.len();
                    let (mask, left) = route::mask(condition, rows, rejected)?;
                    if left.len() < before {
                        // A row that a rule can't judge has no score; the others are judged from the start.
                        return self.score(left, rejected);
                    }
                    rows = left;
                    masks.push(mask);
                }
                let first = |row| masks.iter().position(|m| is_true(m, row)).and_then(|i| rules.get(i));
                let score: Float64Array =
                    (0..rows.len()).map(|row| Some(first(row).map_or(*default, |r| r.1))).collect();
                Ok((rows, Arc::new(score)))
            }
        }
    }

    fn score_type(&self) -> &DataType {
        let score = self.schema.fields().len() - PREDICTION_COLUMNS.len() - 1;
        self.schema.field(score).data_type()
    }

    /// Scores the rows where `mask` is true; the others stay, with nulls.
    fn score_some(
        &self,
        rows: Rows,
        mask: BooleanArray,
        rejected: &mut Vec<DeadLetter>,
    ) -> Result<(Rows, ArrayRef, BooleanArray)> {
        let wanted = rows.filter(&mask).map_err(broken)?;
        let asked: Vec<u64> = (0..wanted.len()).map(|i| wanted.meta.offset(i)).collect();
        let (scored, scores) = self.score(wanted, rejected)?;
        let (mut rows, mut mask) = (rows, mask);
        if scored.len() < asked.len() {
            let stayed: HashSet<u64> = (0..scored.len()).map(|i| scored.meta.offset(i)).collect();
            let gone: HashSet<u64> = asked.into_iter().filter(|o| !stayed.contains(o)).collect();
            let kept: BooleanArray = (0..rows.len()).map(|i| Some(!gone.contains(&rows.meta.offset(i)))).collect();
            mask = filter(&mask, &kept).map_err(broken)?.as_boolean().clone();
            rows = rows.filter(&kept).map_err(broken)?;
        }
        let mut next = 0;
        let place = |i| {
            is_true(&mask, i).then(|| {
                next += 1;
                next - 1
            })
        };
        let places: UInt32Array = (0..rows.len()).map(place).collect();
        let scores = take(&scores, &places, None).map_err(broken)?;
        Ok((rows, scores, mask))
    }

    fn prediction_ids(&self, meta: &Meta, wanted: Option<&BooleanArray>) -> ArrayRef {
        let mut ids = StringBuilder::with_capacity(meta.len(), meta.len() * (self.id_prefix.len() + 12));
        let mut number = itoa::Buffer::new();
        for row in 0..meta.len() {
            if wanted.is_some_and(|mask| !is_true(mask, row)) {
                ids.append_null();
                continue;
            }
            let (batch, index) = meta.raw(row);
            // Writing to a builder can't fail.
            let _ = ids.write_str(&self.id_prefix);
            if batch.task.topic != 0 {
                let _ = ids.write_str(batch.topic.as_deref().unwrap_or_default());
                let _ = ids.write_str("/");
            }
            let _ = ids.write_str(number.format(batch.partition()));
            let _ = ids.write_str("/");
            let _ = ids.write_str(number.format(batch.offset(index)));
            ids.append_value("");
        }
        Arc::new(ids.finish())
    }
}

/// The columns of a predict step over `input`, or the first name that would stand twice.
pub(crate) fn schema(input: &Schema, score: &str, kind: DataType) -> Result<SchemaRef, String> {
    let added = output_fields(score, kind);
    if let Some(twice) = added.iter().find(|f| input.column_with_name(f.name()).is_some()) {
        return Err(twice.name().clone());
    }
    let fields = input.fields().iter().map(|f| f.as_ref().clone()).chain(added);
    Ok(Arc::new(Schema::new(fields.collect::<Vec<_>>())))
}
