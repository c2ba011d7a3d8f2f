//! WindowAggr nodes to window operators.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use datafusion_common::{DFSchemaRef, ScalarValue};
use datafusion_expr::expr::{Case, NullTreatment, Sort, WindowFunction as PlannedFunction, WindowFunctionParams};
use datafusion_expr::logical_plan::Window;
use datafusion_expr::{Expr, LogicalPlan, WindowFrameBound, WindowFrameUnits};

use super::compile::{constant, unalias};
use super::explain::{state_info, window_text};
use super::node::{Known, Node, Qualified, Required, Start, arrow, df_schema, field, reads};
use super::op::{Op, WindowPlan};
use super::translate::{Stopped, Translated, Translator};
use crate::catalog::PartitionedBy;
use crate::codes;
use crate::exec::eval::ExprSet;
use crate::problem::SqlProblem;
use crate::window::WindowOperator;
use crate::window::spec::{Emit, Frame, Function, TieBreak, WindowFunction, WindowSpec};

/// The distinct expressions that windows read, in order of first use.
#[derive(Default)]
struct Arguments {
    exprs: Vec<Expr>,
    texts: Vec<String>,
}

impl Arguments {
    fn add(&mut self, expr: &Expr, node: &Node) -> usize {
        let text = node.text(expr);
        match self.texts.iter().position(|t| *t == text) {
            Some(i) => i,
            None => {
                self.exprs.push(unalias(expr).clone());
                self.texts.push(text);
                self.texts.len() - 1
            }
        }
    }
}

/// A function of the stack, with its place among the outputs of the top of the stack.
struct Planned<'a> {
    output: usize,
    function: &'a PlannedFunction,
}

fn planned(expr: &Expr) -> Option<&PlannedFunction> {
    match unalias(expr) {
        Expr::WindowFunction(function) => Some(function),
        _ => None,
    }
}

/// The windows of a stack that can be computed over the same input: from the top down, as long as nothing
/// reads what a lower window gives. Lowest first, with the input of the lowest.
fn group(plan: &LogicalPlan) -> (Vec<&Window>, &LogicalPlan) {
    let mut layers: Vec<&Window> = Vec::new();
    let mut next = plan;
    while let LogicalPlan::Window(window) = next {
        let width = window.input.schema().fields().len();
        let above = layers.iter().flat_map(|l| l.window_expr.iter());
        let independent =
            above.flat_map(|e| e.column_refs()).all(|c| window.schema.index_of_column(c).is_ok_and(|i| i < width));
        if !independent {
            break;
        }
        layers.push(window);
        next = &window.input;
    }
    layers.reverse();
    (layers, next)
}

impl Translator<'_> {
    pub(crate) fn window(&mut self, plan: &LogicalPlan, required: &Required) -> Translated {
        let (layers, base) = group(plan);
        let width = base.schema().fields().len();
        let mut functions: Vec<Planned<'_>> = Vec::new();
        let mut output = width;
        for layer in &layers {
            for expr in &layer.window_expr {
                let Some(function) = planned(expr) else {
                    return self.stop(SqlProblem::new(codes::PLANNER, format!("`{expr}` is not a window function")));
                };
                if required.contains(&output) {
                    functions.push(Planned { output, function });
                }
                output += 1;
            }
        }
        let mut passed: Required = required.iter().copied().filter(|&i| i < width).collect();
        let padded = passed.is_empty();
        if padded {
            // Rows without any column can't be told how many they are.
            passed.insert(0);
        }
        if functions.is_empty() {
            return self.node(base, &passed);
        }
        let mut below = passed.clone();
        for f in &functions {
            let expr = Expr::WindowFunction(Box::new(f.function.clone()));
            let read = reads(&expr, base.schema(), &mut below);
            self.planner(read)?;
        }
        let node = self.node(base, &below)?;
        if let Start::Table(name) = &node.start {
            return self.stop(
                SqlProblem::new(
                    codes::NO_STREAM,
                    format!("`{name}` is a table, and windows are computed over streams"),
                )
                .help("compute the column when the table is made"),
            );
        }
        let node = self.operator(plan, node, &functions, &below, &passed)?;
        if !padded {
            return Ok(node);
        }
        let columns: Vec<usize> = (1..node.schema.fields().len()).collect();
        let narrowed = node.narrowed(&columns);
        self.planner(narrowed)
    }

    fn operator(
        &mut self,
        plan: &LogicalPlan,
        mut node: Node,
        planned: &[Planned<'_>],
        below: &Required,
        passed: &Required,
    ) -> Translated {
        let mut arguments = Arguments::default();
        let mut functions = Vec::with_capacity(planned.len());
        let mut stopped = false;
        for f in planned {
            let (_, named) = field(plan.schema(), f.output);
            let output = Arc::new(named.as_ref().clone().with_nullable(true));
            match self.function(f.function, &node, &mut arguments, output) {
                Ok(function) => functions.push(function),
                Err(Stopped) => stopped = true,
            }
        }
        if stopped {
            return Err(Stopped);
        }
        let exprs: Vec<&Expr> = arguments.exprs.iter().collect();
        let set = self.argument_set(&node, &exprs)?;
        let input: Vec<usize> = below.iter().enumerate().filter(|(_, c)| passed.contains(c)).map(|(i, _)| i).collect();
        let mut fields: Vec<Qualified> = input.iter().map(|&i| field(&node.schema, i)).collect();
        let input_schema = Arc::new(Schema::new(fields.iter().map(|(_, f)| f.clone()).collect::<Vec<_>>()));
        let spec = WindowSpec {
            functions,
            input: input_schema,
            arguments: set.schema.clone(),
            emit: self.options.emit,
            late: self.options.late,
        };
        if let Err(error) = WindowOperator::new(spec.clone()) {
            let span = self.span_of(arguments.exprs.iter());
            let help = error.help_text().map(str::to_owned);
            return self.stop(SqlProblem::new(codes::WINDOW_ARGUMENT, error.to_string()).help_opt(help).at(span));
        }
        let mut known: Vec<Known> = input.iter().filter_map(|&i| node.known.get(i).cloned()).collect();
        node.state.extend(state_info(&spec));
        if spec.emit == Emit::OnWatermark {
            let buffered: Vec<&str> = known.iter().map(|k| k.text.as_str()).collect();
            node.lines.push(format!("buffer {}", buffered.join(", ")));
        }
        node.lines.push(format!("windows {:?} {:?}", spec.emit, spec.late));
        for (f, p) in spec.functions.iter().zip(planned) {
            let text = window_text(f, &arguments.texts);
            node.windows += 1;
            known.push(Known { text: format!("({text})"), label: format!("w{}", node.windows), ..Known::default() });
            node.lines.push(text);
            fields.push((field(plan.schema(), p.output).0, f.output.clone()));
        }
        node.state_lines = node.lines.len();
        let before = arrow(&node.schema);
        node.schema = self.planner(df_schema(fields))?;
        node.known = known;
        let first_label = node.windows - spec.functions.len() + 1;
        node.ops.push(Op::Window(Box::new(WindowPlan { spec, arguments: set, input, before, first_label })));
        Ok(node)
    }

    fn argument_set(&mut self, node: &Node, exprs: &[&Expr]) -> Result<ExprSet, Stopped> {
        let mut fields = Vec::with_capacity(exprs.len());
        for expr in exprs {
            let kind = super::compile::type_of(expr, &node.schema);
            let kind = self.planner(kind)?;
            fields.push(Arc::new(Field::new(node.words(expr), kind, true)));
        }
        let set = node.set(exprs, fields);
        self.planner(set)
    }

    fn function(
        &mut self,
        planned: &PlannedFunction,
        node: &Node,
        arguments: &mut Arguments,
        output: Arc<Field>,
    ) -> Result<WindowFunction, Stopped> {
        let params = &planned.params;
        self.check_order(planned, node)?;
        self.check_partition(planned, node)?;
        let frame = self.frame(planned)?;
        let (function, values) = self.what(planned, &node.schema, &output)?;
        let arguments_of = values.iter().map(|e| arguments.add(&guarded(e, params.filter.as_deref()), node)).collect();
        let tie_breaks = params
            .order_by
            .iter()
            .skip(1)
            .map(|Sort { expr, asc, nulls_first }| TieBreak {
                argument: arguments.add(expr, node),
                descending: !asc,
                nulls_first: *nulls_first,
            })
            .collect();
        Ok(WindowFunction {
            function,
            arguments: arguments_of,
            filter: params.filter.as_ref().map(|e| arguments.add(e, node)),
            ignore_nulls: params.null_treatment == Some(NullTreatment::IgnoreNulls),
            partition_by: params.partition_by.iter().map(|e| arguments.add(e, node)).collect(),
            tie_breaks,
            frame,
            output,
        })
    }

    /// The name of a function as the user knows it, and where it stands.
    fn refuse<T>(
        &mut self,
        planned: &PlannedFunction,
        code: millstream_core::Code,
        message: impl Into<String>,
        help: &str,
    ) -> Result<T, Stopped> {
        let whole = Expr::WindowFunction(Box::new(planned.clone()));
        let span = self.span_of(&planned.params.args).or_else(|| self.span_of([&whole]));
        self.stop(SqlProblem::new(code, message).help(help).at(span))
    }

    fn check_order(&mut self, planned: &PlannedFunction, node: &Node) -> Result<(), Stopped> {
        let first = planned.params.order_by.first();
        let by_time = first.is_some_and(|sort| match unalias(&sort.expr) {
            Expr::Column(column) if sort.asc => {
                node.schema.index_of_column(column).ok().and_then(|i| node.known.get(i)).is_some_and(|k| k.event_time)
            }
            _ => false,
        });
        if by_time {
            return Ok(());
        }
        let message = "the window is not ordered by the event time, ascending";
        self.refuse(planned, codes::WINDOW_ORDER, message, "write ORDER BY <event time> inside OVER")
    }

    fn check_partition(&mut self, planned: &PlannedFunction, node: &Node) -> Result<(), Stopped> {
        let Start::Stream(name) = &node.start else { return Ok(()) };
        let by_key = planned.params.partition_by.iter().any(|e| match unalias(e) {
            Expr::Column(column) => {
                node.schema.index_of_column(column).ok().and_then(|i| node.known.get(i)).is_some_and(|k| k.key)
            }
            _ => false,
        });
        match self.catalog.relation(name).map(|r| r.partitioned_by) {
            Some(PartitionedBy::Single) => Ok(()),
            Some(PartitionedBy::Key(_)) if by_key => Ok(()),
            _ => {
                let message = "the window would see only the rows of one partition of the input";
                self.refuse(planned, codes::WINDOW_PARTITION, message, "PARTITION BY the record's key")
            }
        }
    }

    fn frame(&mut self, planned: &PlannedFunction) -> Result<Frame, Stopped> {
        let frame = &planned.params.window_frame;
        let range = match (&frame.units, &frame.start_bound, &frame.end_bound) {
            (WindowFrameUnits::Range, WindowFrameBound::Preceding(v), WindowFrameBound::CurrentRow) if v.is_null() => {
                Some(Frame::Range(None))
            }
            (WindowFrameUnits::Range, WindowFrameBound::CurrentRow, WindowFrameBound::CurrentRow) => {
                Some(Frame::Range(Some(0)))
            }
            (WindowFrameUnits::Range, WindowFrameBound::Preceding(v), WindowFrameBound::CurrentRow) => {
                interval_ns(v).map(|ns| Frame::Range(Some(ns)))
            }
            (WindowFrameUnits::Rows, WindowFrameBound::CurrentRow, WindowFrameBound::CurrentRow) => {
                Some(Frame::Rows(Some(0)))
            }
            (WindowFrameUnits::Rows, WindowFrameBound::Preceding(v), WindowFrameBound::CurrentRow) if v.is_null() => {
                Some(Frame::Rows(None))
            }
            (
                WindowFrameUnits::Rows,
                WindowFrameBound::Preceding(ScalarValue::UInt64(Some(n))),
                WindowFrameBound::CurrentRow,
            ) => Some(Frame::Rows(Some(*n))),
            _ => None,
        };
        match range {
            Some(frame) => Ok(frame),
            None => self.refuse(
                planned,
                codes::WINDOW_FRAME,
                format!("the frame `{}` is not possible on a stream", planned.params.window_frame),
                "write RANGE BETWEEN INTERVAL '5 minutes' PRECEDING AND CURRENT ROW",
            ),
        }
    }

    /// Which function it is, and the expressions it reads.
    fn what<'e>(
        &mut self,
        planned: &'e PlannedFunction,
        schema: &DFSchemaRef,
        output: &Field,
    ) -> Result<(Function, &'e [Expr]), Stopped> {
        let params = &planned.params;
        let args = params.args.as_slice();
        let simple = |function: Function, count: usize| (function, args.get(..count).unwrap_or(args));
        Ok(match planned.fun.name() {
            "count" => match args {
                [one] if constant(one, schema).is_some_and(|v| !v.is_null()) => simple(Function::Count, 0),
                [] => simple(Function::Count, 0),
                [_] if params.distinct => simple(Function::CountDistinct, 1),
                [_] => simple(Function::Count, 1),
                _ => {
                    let help = "write COUNT(*) FILTER (WHERE a IS NOT NULL AND b IS NOT NULL)";
                    return self.refuse(planned, codes::WINDOW_ARGUMENT, "COUNT OVER takes one argument", help);
                }
            },
            "sum" => simple(Function::Sum, 1),
            "avg" => simple(Function::Avg, 1),
            "min" => simple(Function::Min, 1),
            "max" => simple(Function::Max, 1),
            "var" | "var_samp" => simple(Function::Variance { sample: true, root: false }, 1),
            "var_pop" => simple(Function::Variance { sample: false, root: false }, 1),
            "stddev" | "stddev_samp" => simple(Function::Variance { sample: true, root: true }, 1),
            "stddev_pop" => simple(Function::Variance { sample: false, root: true }, 1),
            "covar_samp" => simple(Function::Covariance { sample: true }, 2),
            "covar_pop" => simple(Function::Covariance { sample: false }, 2),
            "corr" => simple(Function::Correlation, 2),
            "regr_slope" => simple(Function::RegressionSlope, 2),
            "first_value" => simple(Function::FirstValue, 1),
            "last_value" => simple(Function::LastValue, 1),
            "nth_value" => match args.get(1).and_then(|e| whole(e, schema)).and_then(|n| u64::try_from(n).ok()) {
                Some(n) if n >= 1 => simple(Function::NthValue(n), 1),
                _ => {
                    let message = "the second argument of NTH_VALUE is not a whole number from 1";
                    return self.refuse(planned, codes::WINDOW_ARGUMENT, message, "write NTH_VALUE(x, 2)");
                }
            },
            "lag" => (self.lag(planned, schema, output.data_type())?, args.get(..1).unwrap_or(args)),
            "row_number" => simple(Function::RowNumber, 0),
            "approx_distinct" => simple(Function::ApproxDistinct, 1),
            "approx_percentile_cont" => (self.percentile(planned, schema)?, args.get(..1).unwrap_or(args)),
            other => {
                let message = format!("`{}` is not computed over streams", other.to_uppercase());
                return self.refuse(planned, codes::WINDOW_FUNCTION, message, "use another function");
            }
        })
    }

    fn lag(&mut self, planned: &PlannedFunction, schema: &DFSchemaRef, kind: &DataType) -> Result<Function, Stopped> {
        let WindowFunctionParams { args, .. } = &planned.params;
        let offset = match args.get(1) {
            None => Some(1),
            Some(e) => whole(e, schema).and_then(|n| u64::try_from(n).ok()),
        };
        let Some(offset) = offset else {
            let message = "the second argument of LAG is not a whole number from 0";
            let help = "write LAG(x, 1); a negative offset would look ahead";
            return self.refuse(planned, codes::WINDOW_ARGUMENT, message, help);
        };
        let default = match args.get(2) {
            None => ScalarValue::try_from(kind).ok(),
            Some(e) => constant(e, schema).and_then(|v| v.cast_to(kind).ok()),
        };
        match default {
            Some(default) => Ok(Function::Lag { offset, default }),
            None => {
                let message = format!("the default of LAG is not a constant {}", crate::names::type_name(kind));
                self.refuse(planned, codes::WINDOW_ARGUMENT, message, "write COALESCE(LAG(x) OVER (…), <expression>)")
            }
        }
    }

    fn percentile(&mut self, planned: &PlannedFunction, schema: &DFSchemaRef) -> Result<Function, Stopped> {
        let args = &planned.params.args;
        if args.len() > 2 {
            let message = "APPROX_PERCENTILE_CONT OVER takes a value and a percentile, and no size";
            return self.refuse(planned, codes::WINDOW_ARGUMENT, message, "leave the third argument out");
        }
        let p = args.get(1).and_then(|e| constant(e, schema)).and_then(|v| v.cast_to(&DataType::Float64).ok());
        match p {
            Some(ScalarValue::Float64(Some(p))) if (0.0..=1.0).contains(&p) => Ok(Function::ApproxPercentile(p)),
            _ => {
                let message = "the percentile of APPROX_PERCENTILE_CONT is not a number from 0 to 1";
                self.refuse(planned, codes::WINDOW_ARGUMENT, message, "write APPROX_PERCENTILE_CONT(x, 0.95) OVER (…)")
            }
        }
    }
}

/// What FILTER leaves out is not even evaluated: `SUM(a / b) FILTER (WHERE b <> 0)` has no row that fails.
fn guarded(argument: &Expr, filter: Option<&Expr>) -> Expr {
    match (unalias(argument), filter) {
        (Expr::Column(_), _) | (_, None) => argument.clone(),
        (argument, Some(filter)) => {
            let branch = (Box::new(filter.clone()), Box::new(argument.clone()));
            Expr::Case(Case { expr: None, when_then_expr: vec![branch], else_expr: None })
        }
    }
}

fn whole(expr: &Expr, schema: &DFSchemaRef) -> Option<i64> {
    match constant(expr, schema)? {
        value if value.data_type().is_integer() => match value.cast_to(&DataType::Int64).ok()? {
            ScalarValue::Int64(n) => n,
            _ => None,
        },
        _ => None,
    }
}

fn interval_ns(value: &ScalarValue) -> Option<i64> {
    match value {
        ScalarValue::IntervalMonthDayNano(Some(v)) if v.months == 0 => {
            let ns = i64::from(v.days).checked_mul(86_400_000_000_000)?.checked_add(v.nanoseconds)?;
            (ns >= 0).then_some(ns)
        }
        _ => None,
    }
}
