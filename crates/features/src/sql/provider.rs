//! The SQL planner's view of a catalog.

use std::sync::Arc;

use arrow::datatypes::{DataType, SchemaRef};
use datafusion_common::config::ConfigOptions;
use datafusion_common::{DFSchema, Result, TableReference, plan_err};
use datafusion_expr::logical_plan::builder::LogicalTableSource;
use datafusion_expr::planner::{ContextProvider, ExprPlanner, PlannerResult, RawFieldAccessExpr};
use datafusion_expr::{
    AggregateUDF, Expr, ExprSchemable, GetFieldAccess, HigherOrderUDF, LogicalPlan, ScalarUDF, TableSource, WindowUDF,
};
use datafusion_optimizer::analyzer::type_coercion::TypeCoercion;
use datafusion_optimizer::{Analyzer, AnalyzerRule};
use datafusion_sql::planner::{ParserOptions, SqlToRel};
use datafusion_sql::sqlparser::ast::{Query, Statement};

use super::functions::Functions;

/// Plans prepared queries over named schemas.
pub(crate) struct Planner {
    relations: Vec<(String, SchemaRef)>,
    options: ConfigOptions,
    expr_planners: Vec<Arc<dyn ExprPlanner>>,
    analyzer: Analyzer,
}

impl Planner {
    pub(crate) fn new(relations: Vec<(String, SchemaRef)>) -> Self {
        let expr_planners: Vec<Arc<dyn ExprPlanner>> = vec![
            Arc::new(datafusion_functions::core::planner::CoreFunctionPlanner::default()),
            Arc::new(StructFields),
            Arc::new(datafusion_functions::unicode::planner::UnicodeFunctionPlanner),
            Arc::new(datafusion_functions::datetime::planner::DatetimeFunctionPlanner),
            Arc::new(datafusion_functions_aggregate::planner::AggregateFunctionPlanner),
            Arc::new(datafusion_functions_window::planner::WindowFunctionPlanner),
        ];
        let rules: Vec<Arc<dyn AnalyzerRule + Send + Sync>> = vec![Arc::new(TypeCoercion::new())];
        Self { relations, options: ConfigOptions::default(), expr_planners, analyzer: Analyzer::with_rules(rules) }
    }

    /// A logical plan with all types settled.
    pub(crate) fn plan(&self, query: Query) -> Result<LogicalPlan> {
        let options = ParserOptions::new()
            .with_enable_ident_normalization(false)
            .with_collect_spans(true)
            .with_map_string_types_to_utf8view(false);
        let plan =
            SqlToRel::new_with_options(self, options).sql_statement_to_plan(Statement::Query(Box::new(query)))?;
        self.analyzer.execute_and_check(plan, &self.options, |_, _| {})
    }
}

/// `payment['amount']`, as `payment.amount`.
#[derive(Debug)]
struct StructFields;

impl ExprPlanner for StructFields {
    fn plan_field_access(
        &self,
        access: RawFieldAccessExpr,
        schema: &DFSchema,
    ) -> Result<PlannerResult<RawFieldAccessExpr>> {
        match &access.field_access {
            GetFieldAccess::NamedStructField { name }
                if matches!(access.expr.get_type(schema), Ok(DataType::Struct(_))) =>
            {
                let name = Expr::Literal(name.clone(), None);
                let get = datafusion_functions::core::get_field();
                Ok(PlannerResult::Planned(get.call(vec![access.expr, name])))
            }
            _ => plan_err!("only fields of structs are reached with [ ]: lists have no functions here"),
        }
    }
}

impl ContextProvider for Planner {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
        match self.relations.iter().find(|(known, _)| known == name.table()) {
            Some((_, schema)) => Ok(Arc::new(LogicalTableSource::new(schema.clone()))),
            None => plan_err!("there is no relation `{}`", name.table()),
        }
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &self.expr_planners
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        Functions::get().scalar(name)
    }

    fn get_higher_order_meta(&self, _name: &str) -> Option<Arc<HigherOrderUDF>> {
        None
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        Functions::get().aggregate(name)
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        Functions::get().window(name)
    }

    fn get_variable_type(&self, _variable_names: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        &self.options
    }

    fn udf_names(&self) -> Vec<String> {
        Functions::get().scalar_names()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udaf_names(&self) -> Vec<String> {
        Vec::new()
    }

    fn udwf_names(&self) -> Vec<String> {
        Vec::new()
    }
}
