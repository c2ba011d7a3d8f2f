//! Joins of the stream with a table.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use datafusion_common::{JoinType, NullEquality};
use datafusion_expr::logical_plan::Join;
use datafusion_expr::utils::split_conjunction;
use datafusion_expr::{BinaryExpr, Expr, LogicalPlan, Operator};

use super::compile::{type_of, unalias};
use super::node::{Known, Node, Qualified, Required, Start, arrow, df_schema, field, reads};
use super::op::{JoinColumn, JoinPlan, Op, Residual, TableSide};
use super::render;
use super::translate::{Translated, Translator, condition};
use crate::codes;
use crate::exec::eval::{ExprSet, Output};
use crate::names::type_name;
use crate::problem::SqlProblem;

/// An equality between a side that is the stream's and one that is the table's.
struct Pair {
    stream: Expr,
    table: Expr,
}

/// The two sides of a join in the roles they play.
struct Sides<'p> {
    stream: &'p LogicalPlan,
    table: &'p LogicalPlan,
    /// Where each side's columns begin in the join's schema.
    stream_at: usize,
    table_at: usize,
}

fn stream_below(plan: &LogicalPlan, is_stream: &dyn Fn(&str) -> bool) -> bool {
    match plan {
        LogicalPlan::TableScan(scan) => is_stream(scan.table_name.table()),
        other => other.inputs().into_iter().any(|input| stream_below(input, is_stream)),
    }
}

impl Translator<'_> {
    fn sides<'p>(&mut self, join: &'p Join) -> Result<Sides<'p>, super::translate::Stopped> {
        let is_stream = |name: &str| self.catalog.relation(name).is_some();
        let (left, right) = (stream_below(&join.left, &is_stream), stream_below(&join.right, &is_stream));
        let width = join.left.schema().fields().len();
        match (left, right, join.join_type) {
            (true, false, JoinType::Inner | JoinType::Left) => {
                Ok(Sides { stream: &join.left, table: &join.right, stream_at: 0, table_at: width })
            }
            (false, true, JoinType::Inner) => {
                Ok(Sides { stream: &join.right, table: &join.left, stream_at: width, table_at: 0 })
            }
            (true, true, _) => self.stop(
                SqlProblem::new(codes::STREAM_JOIN, "a stream can be joined with tables only")
                    .help("use OVER windows to look at other rows of the stream"),
            ),
            (false, false, _) => self.stop(
                SqlProblem::new(codes::JOIN_KIND, "two tables can't be joined with one another here")
                    .help("join the stream with each of them: FROM <stream> JOIN <table> ON … JOIN <table> ON …"),
            ),
            (_, _, kind) => self.stop(
                SqlProblem::new(codes::JOIN_KIND, format!("{kind} join is not possible on a stream"))
                    .help("use LEFT JOIN or JOIN, the stream first"),
            ),
        }
    }

    pub(crate) fn join(&mut self, join: &Join, required: &Required) -> Translated {
        let sides = self.sides(join)?;
        let all: Vec<&Expr> = join.on.iter().flat_map(|(l, r)| [l, r]).chain(&join.filter).collect();
        let span = self.span_of(all.iter().copied());
        if join.null_equality == NullEquality::NullEqualsNull {
            return self.stop(
                SqlProblem::new(codes::JOIN_KEY, "a join that finds NULL by NULL is not possible")
                    .help("use =")
                    .at(span),
            );
        }
        let (pairs, rest) = conditions(join, &sides);
        let (mut of_stream, mut of_table) = (Required::new(), Required::new());
        for &column in required {
            self.side_of(&sides, column, &mut of_stream, &mut of_table);
        }
        let mut of_rest = Required::new();
        for expr in &rest {
            let read = reads(expr, &join.schema, &mut of_rest);
            self.planner(read)?;
        }
        for &column in &of_rest {
            self.side_of(&sides, column, &mut of_stream, &mut of_table);
        }
        for pair in &pairs {
            let read = reads(&pair.stream, sides.stream.schema(), &mut of_stream);
            self.planner(read)?;
            let read = reads(&pair.table, sides.table.schema(), &mut of_table);
            self.planner(read)?;
        }
        if of_stream.is_empty() {
            of_stream.insert(0);
        }
        let stream = self.node(sides.stream, &of_stream)?;
        let table = self.node(sides.table, &of_table)?;
        let (keys, extra) = self.key_pairs(&table, pairs, span)?;
        let rest: Vec<Expr> = rest.into_iter().chain(extra).collect();
        let keys = self.keys(&stream, &table, keys)?;
        let columns = |of: JoinColumn| match of {
            JoinColumn::Stream(i) => of_stream.iter().nth(i).map(|c| c + sides.stream_at),
            JoinColumn::Table(i) => of_table.iter().nth(i).map(|c| c + sides.table_at),
        };
        let pair_columns: Vec<(JoinColumn, usize)> = (0..of_stream.len())
            .map(JoinColumn::Stream)
            .chain((0..of_table.len()).map(JoinColumn::Table))
            .filter_map(|c| columns(c).map(|i| (c, i)))
            .collect();
        self.assemble(join, stream, table, keys, &rest, &pair_columns, required)
    }

    fn side_of(&self, sides: &Sides<'_>, column: usize, of_stream: &mut Required, of_table: &mut Required) {
        let in_table =
            if sides.table_at > sides.stream_at { column >= sides.table_at } else { column < sides.stream_at };
        if in_table {
            of_table.insert(column - sides.table_at);
        } else {
            of_stream.insert(column - sides.stream_at);
        }
    }

    /// Chooses for each column of the table's key the pair that finds it; the other pairs are conditions.
    fn key_pairs(
        &mut self,
        table: &Node,
        pairs: Vec<Pair>,
        span: Option<std::ops::Range<usize>>,
    ) -> Result<(Vec<Pair>, Vec<Expr>), super::translate::Stopped> {
        let Start::Table(name) = table.start.clone() else {
            return self.stop(SqlProblem::new(codes::STREAM_JOIN, "a stream can be joined with tables only").at(span));
        };
        let (declared, key) = match self.catalog.table(&name) {
            Some(t) => (t.schema.clone(), t.key.clone()),
            None => return self.stop(SqlProblem::new(codes::PLANNER, format!("there is no table `{name}`"))),
        };
        let mut found: Vec<Option<Pair>> = key.iter().map(|_| None).collect();
        let mut extra = Vec::new();
        for pair in pairs {
            let place = match uncast(&pair.table) {
                Expr::Column(c) => {
                    table.schema.index_of_column(c).ok().and_then(|i| table.known.get(i)).and_then(|k| k.table_key)
                }
                _ => None,
            };
            match place.and_then(|p| found.get_mut(p)) {
                Some(slot @ None) => *slot = Some(pair),
                _ => extra.push(pair.stream.eq(pair.table)),
            }
        }
        if !found.is_empty() && found.iter().all(Option::is_some) {
            return Ok((found.into_iter().flatten().collect(), extra));
        }
        let names: Vec<String> =
            key.iter().filter_map(|&k| declared.fields().get(k)).map(|f| format!("`{}`", f.name())).collect();
        let names = names.join(" and ");
        let equalities =
            "write an equality between a column of the stream and the key: ON <stream>.<column> = <table>.<key>";
        self.stop(
            SqlProblem::new(
                codes::JOIN_KEY,
                format!("the join does not find rows of `{name}` by their key, which is {names}"),
            )
            .help(format!(
                "{equalities}; further conditions may be added with AND. A table can be given another key with `key:`"
            ))
            .at(span),
        )
    }

    fn keys(
        &mut self,
        stream: &Node,
        table: &Node,
        mut pairs: Vec<Pair>,
    ) -> Result<(ExprSet, ExprSet), super::translate::Stopped> {
        for pair in &mut pairs {
            let (a, b) = (type_of(&pair.stream, &stream.schema), type_of(&pair.table, &table.schema));
            let (a, b) = (self.planner(a)?, self.planner(b)?);
            if matches!(&a, DataType::Dictionary(_, value) if **value == b) {
                pair.stream = datafusion_expr::cast(pair.stream.clone(), b);
            }
        }
        let mut sets = Vec::with_capacity(2);
        for (node, of_stream) in [(stream, true), (table, false)] {
            let exprs: Vec<&Expr> = pairs.iter().map(|p| if of_stream { &p.stream } else { &p.table }).collect();
            let mut fields = Vec::with_capacity(exprs.len());
            for expr in &exprs {
                let kind = type_of(expr, &node.schema);
                fields.push(Arc::new(Field::new(node.words(expr), self.planner(kind)?, true)));
            }
            let set = node.set(&exprs, fields);
            sets.push(self.planner(set)?);
        }
        let (Some(of_table), Some(of_stream)) = (sets.pop(), sets.pop()) else {
            return self.stop(SqlProblem::new(codes::PLANNER, "a join has no key"));
        };
        for (a, b) in of_stream.schema.fields().iter().zip(of_table.schema.fields()) {
            if a.data_type() != b.data_type() {
                let (a, b) = (type_name(a.data_type()), type_name(b.data_type()));
                return self.stop(
                    SqlProblem::new(codes::TYPE, format!("a {a} of the stream can't be looked up in a {b} key"))
                        .help("CAST the stream's side"),
                );
            }
        }
        Ok((of_stream, of_table))
    }

    #[allow(clippy::too_many_arguments, reason = "the parts of one join, each of which has a name")]
    fn assemble(
        &mut self,
        join: &Join,
        mut stream: Node,
        table: Node,
        (keys, table_keys): (ExprSet, ExprSet),
        rest: &[Expr],
        pair_columns: &[(JoinColumn, usize)],
        required: &Required,
    ) -> Translated {
        let Start::Table(name) = table.start.clone() else {
            return self.stop(SqlProblem::new(codes::STREAM_JOIN, "a stream can be joined with tables only"));
        };
        let outer = join.join_type == JoinType::Left;
        let knowledge = |column: JoinColumn| match column {
            JoinColumn::Stream(i) => stream.known.get(i).cloned().unwrap_or_default(),
            JoinColumn::Table(i) => {
                let known = table.known.get(i).cloned().unwrap_or_default();
                Known { text: known.text, label: known.label, ..Known::default() }
            }
        };
        let pair_fields: Vec<Qualified> = pair_columns.iter().map(|&(_, i)| field(&join.schema, i)).collect();
        let pairs_schema = self.planner(df_schema(pair_fields))?;
        let pairs = Node {
            start: stream.start.clone(),
            ops: Vec::new(),
            schema: pairs_schema,
            known: pair_columns.iter().map(|&(c, _)| knowledge(c)).collect(),
            filtered: false,
            lines: Vec::new(),
            state_lines: 0,
            state: Vec::new(),
            windows: 0,
        };
        let mut line = join_line(outer, &name, &stream, &table, &keys, &table_keys);
        let mut residual = None;
        if let Some(all) = rest.iter().cloned().reduce(Expr::and) {
            self.check_boolean(&all, &pairs)?;
            let compiled = condition(&pairs, &all);
            let set = self.planner(compiled)?;
            line.push_str(&format!(" if {}", pairs.text(&all)));
            let columns = pair_columns.iter().map(|&(c, _)| c).collect();
            residual = Some(Residual { columns, schema: arrow(&pairs.schema), condition: set });
        }
        let kept: Vec<(JoinColumn, usize)> =
            pair_columns.iter().copied().filter(|(_, i)| required.contains(i)).collect();
        let mut kept = kept;
        kept.sort_by_key(|&(_, i)| i);
        let fields: Vec<Qualified> = kept
            .iter()
            .map(|&(column, i)| {
                let (qualifier, named) = field(&join.schema, i);
                let nullable = match column {
                    JoinColumn::Stream(s) => stream.schema.field(s).is_nullable(),
                    JoinColumn::Table(_) => true,
                };
                (qualifier, Arc::new(named.as_ref().clone().with_nullable(nullable)))
            })
            .collect();
        let known = kept.iter().map(|&(c, _)| knowledge(c)).collect();
        let schema = self.planner(df_schema(fields))?;
        let declared = match self.catalog.table(&name) {
            Some(t) => t.schema.clone(),
            None => return self.stop(SqlProblem::new(codes::PLANNER, format!("there is no table `{name}`"))),
        };
        let own_index = !table.filtered && table_keys.is_pure_selection();
        let table = TableSide { name, declared, ops: table.ops, keys: table_keys, own_index };
        let outputs = kept.iter().map(|&(c, _)| c).collect();
        let plan = JoinPlan { table, outer, keys, residual, outputs, schema: arrow(&schema) };
        stream.ops.push(Op::Join(Box::new(plan)));
        stream.lines.push(line);
        stream.schema = schema;
        stream.known = known;
        stream.filtered |= !outer;
        Ok(stream)
    }
}

fn join_line(outer: bool, name: &str, stream: &Node, table: &Node, keys: &ExprSet, table_keys: &ExprSet) -> String {
    let side = |node: &Node, set: &ExprSet| -> String {
        let texts: Vec<String> = set
            .outputs
            .iter()
            .zip(set.schema.fields())
            .map(|(output, f)| match output {
                Output::Column(i) => node.known.get(*i).map(|k| k.text.clone()).unwrap_or_default(),
                Output::Expr(_) => format!("cast {}", render::data_type(f.data_type())),
            })
            .collect();
        texts.join(", ")
    };
    let kind = if outer { "left" } else { "inner" };
    let filters = table.lines.join("; ");
    format!("{kind} join {name} [{filters}] on ({}) = ({})", side(stream, keys), side(table, table_keys))
}

/// The equalities between the sides, and all other conditions.
fn conditions(join: &Join, sides: &Sides<'_>) -> (Vec<Pair>, Vec<Expr>) {
    let (mut pairs, mut rest) = (Vec::new(), Vec::new());
    let left_is_stream = sides.stream_at == 0;
    for (left, right) in &join.on {
        let (stream, table) = if left_is_stream { (left, right) } else { (right, left) };
        pairs.push(Pair { stream: stream.clone(), table: table.clone() });
    }
    let within =
        |e: &Expr, plan: &LogicalPlan| e.column_refs().iter().all(|c| plan.schema().index_of_column(c).is_ok());
    // The stream's side may be a constant, the table's may not.
    let across = |stream: &Expr, table: &Expr| {
        within(stream, sides.stream) && within(table, sides.table) && !table.column_refs().is_empty()
    };
    for conjunct in join.filter.iter().flat_map(split_conjunction) {
        match unalias(conjunct) {
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) if across(left, right) => {
                pairs.push(Pair { stream: (**left).clone(), table: (**right).clone() });
            }
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) if across(right, left) => {
                pairs.push(Pair { stream: (**right).clone(), table: (**left).clone() });
            }
            other => rest.push(other.clone()),
        }
    }
    (pairs, rest)
}

/// An expression without the casts around it. A cast of a key to a type that both sides share keeps it unique,
/// or else building the index says so.
fn uncast(expr: &Expr) -> &Expr {
    match expr {
        Expr::Cast(cast) => uncast(&cast.expr),
        Expr::Alias(alias) => uncast(&alias.expr),
        other => other,
    }
}
