//! From DataFusion's logical plan to a chain of our operators, with unused columns left out early.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion_common::DataFusionError;
use datafusion_expr::logical_plan::{Filter, Projection, TableScan};
use datafusion_expr::{Expr, LogicalPlan};

use super::compile::{type_of, unalias};
use super::node::{Known, Node, Qualified, Required, Start, arrow, df_schema, field, reads};
use super::op::{FilterPlan, Op};
use crate::catalog::{Catalog, PartitionedBy, QueryOptions};
use crate::codes;
use crate::names::type_name;
use crate::problem::{Lines, SqlProblem};
use crate::sql::blame::clean;

pub(crate) struct Translator<'a> {
    pub(crate) catalog: &'a Catalog,
    pub(crate) options: QueryOptions,
    pub(crate) lines: &'a Lines<'a>,
    pub(crate) problems: Vec<SqlProblem>,
    /// Tables met, in order.
    pub(crate) tables: Vec<String>,
}

/// The translation came to a stop; why stands in `problems`.
pub(crate) struct Stopped;

pub(crate) type Translated = Result<Node, Stopped>;

impl Translator<'_> {
    pub(crate) fn stop<T>(&mut self, problem: SqlProblem) -> Result<T, Stopped> {
        self.problems.push(problem);
        Err(Stopped)
    }

    pub(crate) fn planner<T>(&mut self, result: Result<T, DataFusionError>) -> Result<T, Stopped> {
        match result {
            Ok(value) => Ok(value),
            Err(error) => self.stop(SqlProblem::new(codes::PLANNER, clean(&error))),
        }
    }

    /// The bytes that the columns of some expressions stand on, from the first to the last.
    pub(crate) fn span_of<'e>(&self, exprs: impl IntoIterator<Item = &'e Expr>) -> Option<std::ops::Range<usize>> {
        let spans = exprs.into_iter().flat_map(|e| {
            let spans: Vec<_> = e.column_refs().into_iter().filter_map(|c| c.spans().first()).collect();
            spans
        });
        spans.filter_map(|s| self.lines.planner_range(s)).reduce(|a, b| a.start.min(b.start)..a.end.max(b.end))
    }

    /// Translates `plan`, keeping only the required columns of its output.
    pub(crate) fn node(&mut self, plan: &LogicalPlan, required: &Required) -> Translated {
        match plan {
            LogicalPlan::TableScan(scan) => self.scan(scan, required),
            LogicalPlan::SubqueryAlias(alias) => {
                let mut node = self.node(&alias.input, required)?;
                let fields = required.iter().zip(node.schema.fields()).map(|(&i, below)| {
                    let (qualifier, named) = field(&alias.schema, i);
                    (qualifier, Arc::new(named.as_ref().clone().with_nullable(below.is_nullable())))
                });
                let fields: Vec<Qualified> = fields.collect();
                node.schema = self.planner(df_schema(fields))?;
                Ok(node)
            }
            LogicalPlan::Projection(projection) => self.projection(projection, required),
            LogicalPlan::Filter(filter) => self.filter(filter, required),
            LogicalPlan::Window(_) => self.window(plan, required),
            LogicalPlan::Join(join) => self.join(join, required),
            LogicalPlan::EmptyRelation(_) => {
                self.stop(SqlProblem::new(codes::NO_STREAM, "the query reads nothing").help("write FROM <stream>"))
            }
            other => {
                let display = other.display().to_string();
                let kind = display.split([':', ' ']).next().unwrap_or_default().to_owned();
                self.stop(
                    SqlProblem::new(codes::UNSUPPORTED, format!("`{kind}` is not possible on a stream"))
                        .help("a step may project, filter, join tables, and compute OVER windows"),
                )
            }
        }
    }

    fn scan(&mut self, scan: &TableScan, required: &Required) -> Translated {
        let name = scan.table_name.table().to_owned();
        let relation = self.catalog.relation(&name);
        let table = self.catalog.table(&name);
        let (start, width) = match (relation, table) {
            (Some(relation), _) => (Start::Stream(name.clone()), relation.schema.fields().len()),
            (None, Some(table)) => {
                if !self.tables.contains(&name) {
                    self.tables.push(name.clone());
                }
                (Start::Table(name.clone()), table.schema.fields().len())
            }
            (None, None) => {
                return self.stop(SqlProblem::new(codes::UNKNOWN_RELATION, format!("there is no relation `{name}`")));
            }
        };
        let prefix = match &start {
            Start::Stream(_) => "input".to_owned(),
            Start::Table(_) => format!("table {name}"),
        };
        let all: Vec<Qualified> = (0..width).map(|i| field(&scan.projected_schema, i)).collect();
        let known = all
            .iter()
            .enumerate()
            .map(|(i, (_, f))| Known {
                event_time: relation.is_some_and(|r| r.event_time == Some(i)),
                key: relation.is_some_and(|r| r.partitioned_by == PartitionedBy::Key(i)),
                table_key: table.and_then(|t| t.key.iter().position(|&k| k == i)),
                text: format!("{prefix}.{:?} {}", f.name(), type_name(f.data_type())),
                label: if relation.is_some() { f.name().clone() } else { format!("{name}.{}", f.name()) },
            })
            .collect();
        let schema = self.planner(df_schema(all))?;
        let (ops, lines, state) = (Vec::new(), Vec::new(), Vec::new());
        let node = Node { start, ops, schema, known, filtered: false, lines, state_lines: 0, state, windows: 0 };
        let columns: Vec<usize> = required.iter().copied().collect();
        let narrowed = node.narrowed(&columns);
        self.planner(narrowed)
    }

    fn projection(&mut self, projection: &Projection, required: &Required) -> Translated {
        let wanted: Vec<(usize, &Expr)> =
            required.iter().filter_map(|&i| projection.expr.get(i).map(|e| (i, e))).collect();
        let mut below = Required::new();
        for (_, expr) in &wanted {
            let read = reads(expr, projection.input.schema(), &mut below);
            self.planner(read)?;
        }
        if below.is_empty() {
            // Constants still need rows to stand in, and rows need a column to be counted by.
            below.insert(0);
        }
        let mut node = self.node(&projection.input, &below)?;
        let exprs: Vec<&Expr> = wanted.iter().map(|(_, e)| *e).collect();
        let compiled = node.set(&exprs, Vec::new());
        let mut set = self.planner(compiled)?;
        let mut fields: Vec<Qualified> = Vec::with_capacity(wanted.len());
        let mut known = Vec::with_capacity(wanted.len());
        for ((i, expr), output) in wanted.iter().zip(&set.outputs) {
            let (qualifier, named) = field(&projection.schema, *i);
            let nullable = match output {
                crate::exec::eval::Output::Column(c) => node.schema.field(*c).is_nullable(),
                // What the planner infers is a hint; what comes out is checked against it.
                crate::exec::eval::Output::Expr(_) => true,
            };
            fields.push((qualifier, Arc::new(named.as_ref().clone().with_nullable(nullable))));
            known.push(node.knowledge(expr, output));
        }
        let schema = self.planner(df_schema(fields))?;
        set.schema = arrow(&schema);
        if node.push_project(set) {
            for (known, named) in known.iter_mut().zip(schema.fields()) {
                known.label.clone_from(named.name());
            }
        }
        node.schema = schema;
        node.known = known;
        Ok(node)
    }

    fn filter(&mut self, filter: &Filter, required: &Required) -> Translated {
        let mut below = required.clone();
        let read = reads(&filter.predicate, filter.input.schema(), &mut below);
        self.planner(read)?;
        let mut node = self.node(&filter.input, &below)?;
        self.check_boolean(&filter.predicate, &node)?;
        let compiled = condition(&node, &filter.predicate);
        let predicate = self.planner(compiled)?;
        let text = node.text(&filter.predicate);
        let kept: Vec<usize> = below.iter().enumerate().filter(|(_, c)| required.contains(c)).map(|(i, _)| i).collect();
        let fields: Vec<Qualified> = kept.iter().map(|&i| field(&node.schema, i)).collect();
        let schema = self.planner(df_schema(fields))?;
        let keep = (kept.len() < below.len()).then(|| kept.clone());
        node.ops.push(Op::Filter(FilterPlan { predicate, keep, schema: arrow(&schema) }));
        node.known = kept.iter().filter_map(|&i| node.known.get(i).cloned()).collect();
        node.schema = schema;
        node.filtered = true;
        node.lines.push(format!("filter {text}"));
        Ok(node)
    }

    pub(crate) fn check_boolean(&mut self, expr: &Expr, node: &Node) -> Result<(), Stopped> {
        let kind = type_of(expr, &node.schema);
        let kind = self.planner(kind)?;
        if matches!(kind, DataType::Boolean | DataType::Null) {
            return Ok(());
        }
        let span = self.span_of([expr]);
        self.stop(
            SqlProblem::new(codes::NOT_BOOLEAN, format!("the condition is {}, not a boolean", type_name(&kind)))
                .help("compare it with something")
                .at(span),
        )
    }
}

/// A one-column boolean set.
pub(crate) fn condition(node: &Node, expr: &Expr) -> Result<crate::exec::eval::ExprSet, DataFusionError> {
    let cast;
    let mut boolean = unalias(expr);
    if type_of(boolean, &node.schema)? == DataType::Null {
        cast = datafusion_expr::cast(boolean.clone(), DataType::Boolean);
        boolean = &cast;
    }
    let name = node.words(boolean);
    node.set(&[boolean], vec![Arc::new(Field::new(name, DataType::Boolean, true))])
}
