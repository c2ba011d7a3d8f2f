//! A stretch of a plan under construction: a chain of operators with what is known of its output columns.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion_common::{DFSchema, DFSchemaRef, DataFusionError, TableReference};
use datafusion_expr::Expr;

use super::StateInfo;
use super::compile::compile;
use super::op::Op;
use super::render;
use crate::exec::eval::{ExprSet, Output};

/// Column indexes.
pub(crate) type Required = BTreeSet<usize>;

/// What is known of an output column.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    /// Still the stream's event time.
    pub(crate) event_time: bool,
    /// Still the stream's partition key.
    pub(crate) key: bool,
    /// Still this column of a table's unique key.
    pub(crate) table_key: Option<usize>,
    /// What it is made of; see [`render`].
    pub(crate) text: String,
    /// What `explain` calls it.
    pub(crate) label: String,
}

/// What a chain of operators starts from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    Stream(String),
    Table(String),
}

/// A chain with its output.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) start: Start,
    pub(crate) ops: Vec<Op>,
    /// Names and types of the columns that come out.
    pub(crate) schema: DFSchemaRef,
    /// As many as `schema` has fields.
    pub(crate) known: Vec<Known>,
    /// Whether rows may have been lost (a filter).
    pub(crate) filtered: bool,
    /// What determines which rows come out, line by line; see [`render`].
    pub(crate) lines: Vec<String>,
    /// How many of `lines` determine the content of state: those up to the last window.
    pub(crate) state_lines: usize,
    /// What each window operator keeps.
    pub(crate) state: Vec<StateInfo>,
    /// How many window functions there are so far.
    pub(crate) windows: usize,
}

pub(crate) type Qualified = (Option<TableReference>, Arc<Field>);

pub(crate) fn df_schema(fields: Vec<Qualified>) -> Result<DFSchemaRef, DataFusionError> {
    DFSchema::new_with_metadata(fields, HashMap::new()).map(Arc::new)
}

pub(crate) fn field(schema: &DFSchema, index: usize) -> Qualified {
    let (qualifier, field) = schema.qualified_field(index);
    (qualifier.cloned(), field.clone())
}

/// The plain Arrow schema of qualified fields.
pub(crate) fn arrow(schema: &DFSchema) -> SchemaRef {
    Arc::new(Schema::new(schema.fields().iter().cloned().collect::<Vec<_>>()))
}

/// The columns of `schema` that an expression reads.
pub(crate) fn reads(expr: &Expr, schema: &DFSchema, into: &mut Required) -> Result<(), DataFusionError> {
    for column in expr.column_refs() {
        into.insert(schema.index_of_column(column)?);
    }
    Ok(())
}

impl Node {
    pub(crate) fn texts(&self) -> Vec<String> {
        self.known.iter().map(|k| k.text.clone()).collect()
    }

    pub(crate) fn text(&self, expr: &Expr) -> String {
        render::expr(expr, &self.schema, &self.texts())
    }

    /// What is known of the value of an expression.
    pub(crate) fn knowledge(&self, expr: &Expr, output: &Output) -> Known {
        match output {
            Output::Column(i) => self.known.get(*i).cloned().unwrap_or_default(),
            Output::Expr(_) => Known { text: self.text(expr), label: self.words(expr), ..Known::default() },
        }
    }

    /// An expression for people.
    pub(crate) fn words(&self, expr: &Expr) -> String {
        let labels: Vec<String> = self.known.iter().map(|k| k.label.clone()).collect();
        render::words(expr, &self.schema, &labels)
    }

    /// Compiles expressions over the output; fields are named and typed by `fields`.
    pub(crate) fn set(&self, exprs: &[&Expr], fields: Vec<Arc<Field>>) -> Result<ExprSet, DataFusionError> {
        let outputs = exprs.iter().map(|e| compile(e, &self.schema)).collect::<Result<Vec<_>, _>>()?;
        let words = exprs.iter().map(|e| self.words(e)).collect();
        Ok(ExprSet { outputs, schema: Arc::new(Schema::new(fields)), words })
    }

    /// Appends a projection, unless it would change nothing but names; says whether it did.
    pub(crate) fn push_project(&mut self, set: ExprSet) -> bool {
        let changes = !set.is_identity(self.schema.fields().len());
        if changes {
            self.ops.push(Op::Project(set));
        }
        changes
    }

    /// The same node with only these columns, in this order.
    pub(crate) fn narrowed(mut self, columns: &[usize]) -> Result<Self, DataFusionError> {
        let fields: Vec<Qualified> = columns.iter().map(|&i| field(&self.schema, i)).collect();
        let schema = df_schema(fields)?;
        let mut set = ExprSet::new(columns.iter().map(|&i| Output::Column(i)).collect(), arrow(&schema));
        set.words = columns.iter().filter_map(|&i| self.known.get(i)).map(|k| k.label.clone()).collect();
        self.push_project(set);
        self.known = columns.iter().filter_map(|&i| self.known.get(i).cloned()).collect();
        self.schema = schema;
        Ok(self)
    }
}
