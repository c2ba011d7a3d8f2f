//! The operators a query becomes. Planned once, shared by all tasks.

use arrow::datatypes::SchemaRef;

use crate::exec::eval::ExprSet;
use crate::window::spec::WindowSpec;

/// One operator.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Project(ExprSet),
    Filter(FilterPlan),
    Join(Box<JoinPlan>),
    Window(Box<WindowPlan>),
}

/// Keeps the rows for which a condition is true, and of those only some columns.
#[derive(Clone, Debug)]
pub(crate) struct FilterPlan {
    /// One boolean column.
    pub(crate) predicate: ExprSet,
    /// Columns that later operators need, where those are not all.
    pub(crate) keep: Option<Vec<usize>>,
    pub(crate) schema: SchemaRef,
}

/// A column of a pair of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum JoinColumn {
    Stream(usize),
    Table(usize),
}

/// A join of the stream with a table on the table's unique key.
#[derive(Clone, Debug)]
pub(crate) struct JoinPlan {
    pub(crate) table: TableSide,
    /// Whether rows without a match stay (LEFT JOIN).
    pub(crate) outer: bool,
    /// The stream's side of the key, in the order of the table's key.
    pub(crate) keys: ExprSet,
    pub(crate) residual: Option<Residual>,
    pub(crate) outputs: Vec<JoinColumn>,
    pub(crate) schema: SchemaRef,
}

/// Conditions of a join beyond its key.
#[derive(Clone, Debug)]
pub(crate) struct Residual {
    /// What the condition is evaluated over.
    pub(crate) columns: Vec<JoinColumn>,
    pub(crate) schema: SchemaRef,
    /// One boolean column.
    pub(crate) condition: ExprSet,
}

/// What is done to a table before the first row comes.
#[derive(Clone, Debug)]
pub(crate) struct TableSide {
    pub(crate) name: String,
    /// The whole table's columns, as planned.
    pub(crate) declared: SchemaRef,
    /// Projections and filters over all of its columns.
    pub(crate) ops: Vec<Op>,
    /// The table's side of the key over what `ops` give.
    pub(crate) keys: ExprSet,
    /// Whether the table's own index serves: all its rows, and its key columns as they are.
    pub(crate) own_index: bool,
}

/// A window operator with what is evaluated for it.
#[derive(Clone, Debug)]
pub(crate) struct WindowPlan {
    pub(crate) spec: WindowSpec,
    pub(crate) arguments: ExprSet,
    /// The columns that pass through.
    pub(crate) input: Vec<usize>,
    /// The columns of the rows that come.
    pub(crate) before: SchemaRef,
    /// `explain` calls the functions w1, w2, … from this number on.
    pub(crate) first_label: usize,
}
