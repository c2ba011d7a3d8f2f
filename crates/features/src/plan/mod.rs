//! Planning a query: from SQL text to a chain of operators that a task can run.

pub(crate) mod compile;
pub(crate) mod explain;
pub(crate) mod joins;
pub(crate) mod node;
pub(crate) mod op;
pub(crate) mod render;
pub(crate) mod translate;
pub(crate) mod windows;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion_expr::LogicalPlan;
use datafusion_sql::sqlparser::ast::Spanned;
use millstream_core::rows::MetaColumns;
use millstream_core::{Error, Meta, Result, Rows, Step};

use self::node::{Node, Required, Start};
use self::op::{JoinPlan, Op};
use self::translate::Translator;
use crate::catalog::{Catalog, QueryOptions};
use crate::codes;
use crate::exec::eval::{ExprSet, Output};
use crate::exec::join::Lookup;
use crate::exec::step::{QueryStep, Running};
use crate::problem::{Lines, SqlProblem};
use crate::sql::blame::{self, Blame};
use crate::sql::parse;
use crate::sql::prepare::Preparer;
use crate::sql::provider::Planner;
use crate::table::Table;
use crate::window::WindowOperator;

/// Tables by name, loaded.
pub type Tables = BTreeMap<String, Arc<Table>>;

/// What one window operator keeps, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateInfo {
    /// PARTITION BY, as SQL; empty for one state for all rows.
    pub keys: Vec<String>,
    /// Each function with its frame.
    pub windows: Vec<String>,
    /// When state goes away.
    pub eviction: String,
    /// `on_arrival` or `on_watermark`.
    pub emit: String,
    /// `drop` or `dead_letter`.
    pub late: String,
}

/// A planned query.
#[derive(Clone, Debug)]
pub struct QueryPlan {
    pub(crate) input: String,
    pub(crate) schema: SchemaRef,
    pub(crate) event_time: Option<usize>,
    pub(crate) partition_key: Option<usize>,
    pub(crate) ops: Arc<[Op]>,
    pub(crate) state: Vec<StateInfo>,
    pub(crate) state_text: String,
    pub(crate) row_text: String,
    pub(crate) tables: Vec<String>,
}

/// Plans a query over the relations and tables of a catalog. Pure: reads nothing but its arguments.
///
/// # Errors
/// Everything that is wrong with the query, as far as it can be found at once.
pub fn plan_query(sql: &str, catalog: &Catalog, options: &QueryOptions) -> Result<QueryPlan, Vec<SqlProblem>> {
    let lines = Lines::new(sql);
    let mut query = parse::query(&lines).map_err(|p| vec![p])?;
    let mut preparer = Preparer::new(catalog, &lines);
    let output = preparer.query(&mut query, true);
    let problems = preparer.problems;
    let relations = catalog.relations.iter().map(|r| (r.name.clone(), r.schema.clone()));
    let tables = catalog.tables.iter().map(|t| (t.name.clone(), t.schema.clone()));
    let planner = Planner::new(relations.chain(tables).collect());
    if !problems.is_empty() {
        // Types are checked all the same, for what can be planned on its own.
        let more =
            if output.known { Blame::new(&planner, &lines).knowing(&problems).types(&query) } else { Vec::new() };
        return Err(blame::merged(problems, more));
    }
    if !output.stream {
        let problem = SqlProblem::new(codes::NO_STREAM, "the query reads tables only, and rows come from a stream")
            .help_opt(catalog.relations.first().map(|r| format!("write FROM {} JOIN … ON …", r.name)));
        return Err(vec![problem]);
    }
    let plan = planner.plan(query.clone()).map_err(|error| Blame::new(&planner, &lines).all(&query, &error))?;
    let mut translator =
        Translator { catalog, options: *options, lines: &lines, problems: Vec::new(), tables: Vec::new() };
    let required: Required = (0..plan.schema().fields().len()).collect();
    match translator.node(&plan, &required) {
        Ok(node) => finish(node, &plan, translator.tables).map_err(|problem| {
            vec![
                problem.at(query
                    .body
                    .as_select()
                    .and_then(|s| s.projection.last())
                    .and_then(|i| lines.range(i.span()))),
            ]
        }),
        Err(_) => {
            let problems = translator.problems;
            let vague = problems.iter().any(|p| p.code == codes::PLANNER);
            let found = if vague { Blame::new(&planner, &lines).types(&query) } else { Vec::new() };
            Err(blame::merged(Vec::new(), if found.is_empty() { problems } else { found }))
        }
    }
}

/// Arrow has more kinds of strings than the rest of the pipeline wants to know.
fn plain_type(kind: &DataType) -> DataType {
    match kind {
        DataType::Utf8View | DataType::LargeUtf8 => DataType::Utf8,
        other => other.clone(),
    }
}

fn finish(mut node: Node, plan: &LogicalPlan, tables: Vec<String>) -> Result<QueryPlan, SqlProblem> {
    let Start::Stream(input) = node.start.clone() else {
        return Err(SqlProblem::new(codes::NO_STREAM, "the query reads tables only, and rows come from a stream"));
    };
    let mut fields: Vec<Field> = Vec::new();
    for (field, named) in node.schema.fields().iter().zip(plan.schema().fields()) {
        if field.data_type() == &DataType::Null {
            let message = format!("column `{}` is always NULL and has no type", named.name());
            return Err(SqlProblem::new(codes::TYPE, message).help("give it one: CAST(NULL AS DOUBLE)"));
        }
        fields.push(Field::new(named.name(), plain_type(field.data_type()), field.is_nullable()));
    }
    let schema = Arc::new(Schema::new(fields));
    let exprs: Vec<Output> = (0..schema.fields().len()).map(|i| output(&node, i, &schema)).collect();
    let renamed = match node.ops.last() {
        Some(Op::Project(set)) => set.schema != schema,
        _ => true,
    };
    if renamed {
        let words = node.known.iter().map(|k| k.label.clone()).collect();
        node.ops.push(Op::Project(ExprSet { outputs: exprs, schema: schema.clone(), words }));
    }
    let columns = node.known.iter().map(|k| k.text.clone());
    Ok(QueryPlan {
        input,
        row_text: node.lines.iter().cloned().chain(columns).collect::<Vec<_>>().join("\n"),
        event_time: node.known.iter().position(|k| k.event_time),
        partition_key: node.known.iter().position(|k| k.key),
        schema,
        state: node.state,
        state_text: node.lines.get(..node.state_lines).unwrap_or_default().join("\n"),
        ops: node.ops.into(),
        tables,
    })
}

fn output(node: &Node, index: usize, schema: &Schema) -> Output {
    let (from, to) = (node.schema.field(index).data_type(), schema.field(index).data_type());
    if from == to {
        return Output::Column(index);
    }
    let column = datafusion_physical_expr::expressions::Column::new(schema.field(index).name(), index);
    Output::Expr(Arc::new(datafusion_physical_expr::expressions::CastExpr::new(Arc::new(column), to.clone(), None)))
}

impl QueryPlan {
    /// The relation the query reads.
    pub fn input(&self) -> &str {
        &self.input
    }

    /// The columns that come out.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Which output column still is the event time.
    pub fn event_time(&self) -> Option<usize> {
        self.event_time
    }

    /// Which output column still is the key that the input is partitioned by.
    pub fn partition_key(&self) -> Option<usize> {
        self.partition_key
    }

    /// Whether the step keeps anything between batches.
    pub fn is_stateful(&self) -> bool {
        !self.state.is_empty()
    }

    /// What it keeps.
    pub fn state(&self) -> Vec<StateInfo> {
        self.state.clone()
    }

    /// The plan in words, one operator a line.
    pub fn explain(&self) -> String {
        explain::explain(self)
    }

    /// Digest of everything that determines what the state holds: two plans with one fingerprint can read each
    /// other's state. What comes after the last window, and names, don't count.
    pub fn fingerprint(&self) -> String {
        const STATE_VERSION: u32 = 1;
        render::digest(&format!("windows v{STATE_VERSION}\n{}", self.state_text))
    }

    /// Digest of which rows come out and what is in them, whatever the columns are called. State of a later step
    /// hangs on it.
    pub fn rows_fingerprint(&self) -> String {
        render::digest(&self.row_text)
    }

    /// The tables the query joins.
    pub fn tables(&self) -> &[String] {
        &self.tables
    }

    /// Makes a step that runs the plan, with empty state. One for each task.
    ///
    /// # Errors
    /// A table is not there, or not of the shape the query was planned with.
    pub fn build(&self, tables: &Tables) -> Result<Box<dyn Step>> {
        let mut running = Vec::with_capacity(self.ops.len());
        for op in self.ops.iter() {
            running.push(match op {
                Op::Project(_) | Op::Filter(_) => Running::Stateless,
                Op::Join(plan) => Running::Join(lookup(plan, tables)?),
                Op::Window(plan) => Running::Window {
                    operator: Box::new(WindowOperator::new(plan.spec.clone())?),
                    nothing: Rows {
                        columns: RecordBatch::new_empty(plan.before.clone()),
                        meta: Meta::from(MetaColumns::default()),
                    },
                },
            });
        }
        Ok(Box::new(QueryStep::new(self.ops.clone(), running)))
    }
}

fn lookup(plan: &JoinPlan, tables: &Tables) -> Result<Arc<Lookup>> {
    let side = &plan.table;
    let name = &side.name;
    let table = tables.get(name).ok_or_else(|| {
        Error::new(codes::TABLE_CHANGED, format!("table `{name}` is not loaded")).help("declare it under `tables:`")
    })?;
    let shape = |s: &Schema| s.fields().iter().map(|f| (f.name().clone(), f.data_type().clone())).collect::<Vec<_>>();
    if shape(&side.declared) != shape(table.schema()) {
        return Err(Error::new(
            codes::TABLE_CHANGED,
            format!("table `{name}` has other columns than the query was planned with"),
        )
        .help("plan again, or declare its `schema:`"));
    }
    crate::table::side::prepare(side, table).map(Arc::new)
}
