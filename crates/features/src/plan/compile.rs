//! Logical expressions to physical ones.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::DataType;
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_common::{DFSchemaRef, Result, ScalarValue};
use datafusion_expr::execution_props::ExecutionProps;
use datafusion_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion_expr::simplify::SimplifyContext;
use datafusion_expr::{Expr, ExprSchemable, Operator};
use datafusion_optimizer::simplify_expressions::ExprSimplifier;
use datafusion_physical_expr::expressions::BinaryExpr;
use datafusion_physical_expr::{PhysicalExpr, create_physical_expr};

use crate::exec::eval::Output;

static PROPS: LazyLock<ExecutionProps> = LazyLock::new(ExecutionProps::new);
static CONTEXT: LazyLock<PhysicalPlanningContext> = LazyLock::new(PhysicalPlanningContext::default);

pub(crate) fn simplify(expr: Expr, schema: &DFSchemaRef) -> Result<Expr> {
    ExprSimplifier::new(SimplifyContext::builder().with_schema(schema.clone()).build()).simplify(expr)
}

/// A physical expression over batches of `schema`. Integer arithmetic that overflows is an error of the row,
/// not a wrapped number.
pub(crate) fn compile(expr: &Expr, schema: &DFSchemaRef) -> Result<Output> {
    let expr = simplify(unalias(expr).clone(), schema)?;
    if let Expr::Column(column) = unalias(&expr) {
        return schema.index_of_column(column).map(Output::Column);
    }
    let physical = create_physical_expr(&expr, schema, &PROPS, &CONTEXT)?;
    let checked = physical.transform_up(|node: Arc<dyn PhysicalExpr>| {
        Ok(match node.downcast_ref::<BinaryExpr>() {
            Some(b) if matches!(b.op(), Operator::Plus | Operator::Minus | Operator::Multiply) => {
                Transformed::yes(Arc::new(b.clone().with_fail_on_overflow(true)) as Arc<dyn PhysicalExpr>)
            }
            _ => Transformed::no(node),
        })
    })?;
    Ok(Output::Expr(checked.data))
}

pub(crate) fn unalias(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => unalias(&alias.expr),
        other => other,
    }
}

/// The value of an expression without columns.
pub(crate) fn constant(expr: &Expr, schema: &DFSchemaRef) -> Option<ScalarValue> {
    match simplify(unalias(expr).clone(), schema).ok()? {
        Expr::Literal(value, _) => Some(value),
        _ => None,
    }
}

/// The type of an expression.
pub(crate) fn type_of(expr: &Expr, schema: &DFSchemaRef) -> Result<DataType> {
    expr.get_type(schema.as_ref())
}
