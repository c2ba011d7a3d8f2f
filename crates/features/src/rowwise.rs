//! SQL over single rows, outside of queries: conditions and select items of outputs, checks, rules and inputs.

use std::sync::Arc;

use arrow::array::{Array, BooleanArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion_common::DataFusionError;
use datafusion_expr::LogicalPlan;
use datafusion_sql::sqlparser::ast::{Expr, Query, SelectItem, SetExpr, VisitMut};
use millstream_core::{DeadLetter, Result, Rows};

use crate::catalog::{Catalog, PartitionedBy, Relation};
use crate::codes;
use crate::exec::eval::{Evaluated, ExprSet, Output, RowError, mask_of};
use crate::exec::step::project;
use crate::plan::compile::compile;
use crate::problem::{Lines, SqlProblem};
use crate::sql::blame::{Blame, merged};
use crate::sql::parse;
use crate::sql::prepare::Preparer;
use crate::sql::provider::Planner;
use crate::sql::scope::{self, Column, ROW, Rel, Scope};
use crate::sql::walk::{Clause, Walk, Windows};

/// A condition over a row. Null is not true.
#[derive(Clone, Debug)]
pub struct Predicate {
    set: ExprSet,
}

/// Expressions over a row.
#[derive(Clone, Debug)]
pub struct Projection {
    set: ExprSet,
    /// Which input column each output is, where it is one.
    sources: Vec<Option<usize>>,
}

/// What came of projecting a batch.
#[derive(Debug)]
pub struct Projected {
    /// The rows that did not fail, in order.
    pub columns: RecordBatch,
    /// Which rows those are, where some failed.
    pub kept: Option<Vec<u32>>,
    /// The rows that failed, rising.
    pub failed: Vec<RowError>,
}

/// Plans a condition over the columns of `schema`.
///
/// # Errors
/// What is wrong with the text, with bytes in it; a condition that is not boolean among that.
pub fn plan_predicate(sql: &str, schema: &Schema) -> Result<Predicate, Vec<SqlProblem>> {
    let lines = Lines::new(sql);
    let expr = parse::expression(&lines).map_err(|p| vec![p])?;
    let item = SelectItem::UnnamedExpr(expr);
    let (planned, _) = plan_item(item, &lines, schema, true)?;
    let kind = planned.schema.fields().first().map(|f| f.data_type().clone());
    if kind == Some(DataType::Boolean) {
        let named = Field::new(sql.trim(), DataType::Boolean, true);
        let set = ExprSet::new(planned.outputs, Arc::new(Schema::new(vec![named])));
        return Ok(Predicate { set });
    }
    let kind = kind.map(|k| crate::names::type_name(&k)).unwrap_or_default();
    Err(vec![
        SqlProblem::new(codes::NOT_BOOLEAN, format!("the condition is {kind}, not a boolean"))
            .help("compare it with something, as in `amount > 100`")
            .at(Some(0..sql.len())),
    ])
}

/// Plans select items (`a`, `a + b AS c`, `*`) over the columns of `schema`. The problems' `item` says which
/// text they are about.
///
/// # Errors
/// What is wrong with the texts; two outputs of one name among that.
pub fn plan_projection(items: &[String], schema: &Schema) -> Result<Projection, Vec<SqlProblem>> {
    let (mut outputs, mut fields, mut sources) = (Vec::new(), Vec::<Field>::new(), Vec::new());
    let mut problems = Vec::new();
    for (number, text) in items.iter().enumerate() {
        let lines = Lines::new(text);
        let planned = parse::select_item(&lines).map_err(|p| vec![p]);
        match planned.and_then(|item| plan_item(item, &lines, schema, false)) {
            Ok((set, from)) => {
                for field in set.schema.fields() {
                    if fields.iter().any(|f| f.name() == field.name()) {
                        let message = format!("two columns of the result are called `{}`", field.name());
                        let problem = SqlProblem::new(codes::DUPLICATE_COLUMN, message)
                            .help("give one of them another name with AS")
                            .at(Some(0..text.len()));
                        problems.push(SqlProblem { item: number, ..problem });
                    }
                    fields.push(field.as_ref().clone());
                }
                outputs.extend(set.outputs);
                sources.extend(from);
            }
            Err(found) => problems.extend(found.into_iter().map(|p| SqlProblem { item: number, ..p })),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(Projection { set: ExprSet::new(outputs, Arc::new(Schema::new(fields))), sources })
}

type Item = (ExprSet, Vec<Option<usize>>);

/// Plans one select item as `SELECT item FROM row`.
fn plan_item(item: SelectItem, lines: &Lines<'_>, schema: &Schema, boolean: bool) -> Result<Item, Vec<SqlProblem>> {
    let schema: SchemaRef = Arc::new(schema.clone());
    let relation = Relation {
        name: ROW.to_owned(),
        schema: schema.clone(),
        event_time: None,
        partitioned_by: PartitionedBy::Single,
    };
    let catalog = Catalog { relations: vec![relation], tables: Vec::new() };
    let planner = Planner::new(vec![(ROW.to_owned(), schema.clone())]);
    let mut query = prepared(item, lines, &schema, &catalog)?;
    if boolean {
        cast_null(&mut query);
    }
    let blame = Blame::new(&planner, lines);
    let plan = planner.plan(query.clone()).map_err(|error| blame.all(&query, &error))?;
    row_set(&plan, schema.fields().len()).map_err(|error| blame.all(&query, &error))
}

/// The outputs of `SELECT item FROM row` as one set over the row.
fn row_set(plan: &LogicalPlan, width: usize) -> Result<Item, DataFusionError> {
    let LogicalPlan::Projection(projection) = plan else {
        let sources: Vec<usize> = (0..width).collect();
        let outputs = sources.iter().map(|&i| Output::Column(i)).collect();
        let set = ExprSet::new(outputs, Arc::new(plan.schema().as_arrow().clone()));
        return Ok((set, sources.into_iter().map(Some).collect()));
    };
    let input = projection.input.schema();
    let (mut outputs, mut fields, mut sources) = (Vec::new(), Vec::new(), Vec::new());
    for (expr, field) in projection.expr.iter().zip(projection.schema.fields()) {
        let output = compile(expr, input)?;
        let (source, nullable) = match &output {
            Output::Column(i) => (Some(*i), input.field(*i).is_nullable()),
            Output::Expr(_) => (None, true),
        };
        fields.push(field.as_ref().clone().with_nullable(nullable));
        outputs.push(output);
        sources.push(source);
    }
    Ok((ExprSet::new(outputs, Arc::new(Schema::new(fields))), sources))
}

/// `WHERE NULL` is a condition: never true.
fn cast_null(query: &mut Query) {
    let SetExpr::Select(select) = query.body.as_mut() else { return };
    for item in &mut select.projection {
        if let SelectItem::ExprWithAlias { expr, .. } = item
            && matches!(expr, Expr::Value(v) if v.value == datafusion_sql::sqlparser::ast::Value::Null)
        {
            *expr = Expr::Cast {
                kind: datafusion_sql::sqlparser::ast::CastKind::Cast,
                expr: Box::new(expr.clone()),
                data_type: datafusion_sql::sqlparser::ast::DataType::Boolean,
                array: false,
                format: None,
            };
        }
    }
}

fn prepared(item: SelectItem, lines: &Lines<'_>, schema: &Schema, catalog: &Catalog) -> Result<Query, Vec<SqlProblem>> {
    let frame = Lines::new("SELECT 1 FROM row");
    let mut query = parse::query(&frame).map_err(|p| vec![p])?;
    let mut preparer = Preparer::new(catalog, lines);
    let columns = schema.fields().iter().map(|f| Column::plain(f.name())).collect();
    let output = scope::Output { columns, stream: true, known: true };
    let rel = Rel { qualifier: ROW.to_owned(), output, merged: Vec::new() };
    let scope = Scope { rels: vec![rel], ..Scope::default() };
    if let SetExpr::Select(select) = query.body.as_mut() {
        select.projection = vec![item];
        let windows = Windows::new();
        let mut walk = Walk::new(&mut preparer, &scope, &windows, Clause::Row);
        for item in &mut select.projection {
            let _ = item.visit(&mut walk);
        }
        preparer.projection(select, &scope);
    }
    if preparer.problems.is_empty() { Ok(query) } else { Err(merged(Vec::new(), preparer.problems)) }
}

impl Predicate {
    /// Looks at every row. A row that fails is null in the mask, and listed.
    ///
    /// # Errors
    /// The batch is not of the schema the condition was planned over.
    pub fn evaluate(&self, batch: &RecordBatch) -> Result<(BooleanArray, Vec<RowError>)> {
        match self.set.evaluate(batch)? {
            Evaluated::All(values) => Ok((mask_of(&values)?.clone(), Vec::new())),
            Evaluated::Some { batch: values, kept, failed } => {
                let some = mask_of(&values)?;
                let mut all: Vec<Option<bool>> = vec![None; batch.num_rows()];
                for (i, &row) in kept.iter().enumerate() {
                    if let Some(slot) = all.get_mut(row as usize) {
                        *slot = some.is_valid(i).then(|| some.value(i));
                    }
                }
                Ok((BooleanArray::from(all), failed))
            }
        }
    }
}

impl Projection {
    /// The columns that come out.
    pub fn schema(&self) -> &SchemaRef {
        &self.set.schema
    }

    /// Which input column an output is, if it is one unchanged.
    pub fn source_of(&self, output: usize) -> Option<usize> {
        self.sources.get(output).copied().flatten()
    }

    /// Computes the outputs of every row.
    ///
    /// # Errors
    /// The batch is not of the schema the items were planned over.
    pub fn evaluate(&self, batch: &RecordBatch) -> Result<Projected> {
        Ok(match self.set.evaluate(batch)? {
            Evaluated::All(columns) => Projected { columns, kept: None, failed: Vec::new() },
            Evaluated::Some { batch, kept, failed } => Projected { columns: batch, kept: Some(kept), failed },
        })
    }

    /// Projects rows; those that fail become dead letters.
    ///
    /// # Errors
    /// As for [`Projection::evaluate`].
    pub fn apply(&self, mut rows: Rows, rejected: &mut Vec<DeadLetter>) -> Result<Rows> {
        project(&self.set, &mut rows, rejected)?;
        Ok(rows)
    }
}
