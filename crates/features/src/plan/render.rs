//! A stable text for what a column is made of. It names columns by what they are in the source, so renaming
//! and moving them changes nothing; it is ours, so a new version of the planner changes nothing either, unless
//! it plans other work. Fingerprints of state hang on it.

use arrow::datatypes::DataType;
use datafusion_common::{DFSchema, ScalarValue};
use datafusion_expr::expr::{Between, Case, InList, Like};
use datafusion_expr::{BinaryExpr, Expr};
use sha2::{Digest, Sha256};

use super::compile::unalias;
use crate::names::type_name;

/// Longer texts are replaced by their digest.
const TEXT_LENGTH_MAX: usize = 400;

pub(crate) fn digest(text: &str) -> String {
    let mut hex = String::with_capacity(64);
    for byte in Sha256::digest(text.as_bytes()) {
        hex.push_str(&format!("{byte:02x}"));
    }
    hex
}

/// Whom a text is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    /// Fingerprints: every type is said, length is bounded.
    Stable,
    /// People.
    Words,
}

struct Renderer<'a> {
    schema: &'a DFSchema,
    columns: &'a [String],
    style: Style,
}

/// The stable text of an expression over columns that have the texts `columns`.
pub(crate) fn expr(e: &Expr, schema: &DFSchema, columns: &[String]) -> String {
    Renderer { schema, columns, style: Style::Stable }.expr(e)
}

/// An expression for people, over columns called `columns`.
pub(crate) fn words(e: &Expr, schema: &DFSchema, columns: &[String]) -> String {
    let text = Renderer { schema, columns, style: Style::Words }.expr(e);
    match text.strip_prefix('(').and_then(|t| t.strip_suffix(')')) {
        Some(inner) if matches!(unalias(e), Expr::BinaryExpr(_)) => inner.to_owned(),
        _ => text,
    }
}

impl Renderer<'_> {
    fn list(&self, exprs: &[Expr]) -> String {
        exprs.iter().map(|e| self.expr(e)).collect::<Vec<_>>().join(", ")
    }

    fn expr(&self, e: &Expr) -> String {
        let text = match e {
            Expr::Alias(alias) => return self.expr(&alias.expr),
            Expr::Column(column) => match self.schema.index_of_column(column).ok().and_then(|i| self.columns.get(i)) {
                Some(text) => return text.clone(),
                None => format!("?{}", column.name),
            },
            Expr::Literal(value, _) if self.style == Style::Words => spoken(value),
            Expr::Literal(value, _) => literal(value),
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
                format!("({} {op} {})", self.expr(left), self.expr(right))
            }
            Expr::Cast(cast) => match cast.expr.as_ref() {
                Expr::Literal(value, _) if self.style == Style::Words => spoken(value),
                inner => format!("cast({} as {})", self.expr(inner), data_type(cast.field.data_type())),
            },
            Expr::TryCast(cast) => {
                format!("try_cast({} as {})", self.expr(&cast.expr), data_type(cast.field.data_type()))
            }
            Expr::ScalarFunction(f) => format!("{}({})", f.func.name(), self.list(&f.args)),
            other => self.condition(other),
        };
        if self.style == Style::Stable && text.len() > TEXT_LENGTH_MAX {
            return format!("#{}", digest(&text));
        }
        text
    }

    fn condition(&self, e: &Expr) -> String {
        let one = |name: &str, e: &Expr| format!("{name}({})", self.expr(e));
        match e {
            Expr::Not(e) => one("not", e),
            Expr::IsNull(e) => one("is_null", e),
            Expr::IsNotNull(e) => one("is_not_null", e),
            Expr::IsTrue(e) => one("is_true", e),
            Expr::IsNotTrue(e) => one("is_not_true", e),
            Expr::IsFalse(e) => one("is_false", e),
            Expr::IsNotFalse(e) => one("is_not_false", e),
            Expr::IsUnknown(e) => one("is_unknown", e),
            Expr::IsNotUnknown(e) => one("is_not_unknown", e),
            Expr::Negative(e) => one("negative", e),
            Expr::Between(Between { expr, negated, low, high }) => {
                format!("between{}({}, {}, {})", not(*negated), self.expr(expr), self.expr(low), self.expr(high))
            }
            Expr::Like(like) => self.like("like", like),
            Expr::SimilarTo(like) => self.like("similar", like),
            Expr::InList(InList { expr, list, negated }) => {
                format!("in{}({}; {})", not(*negated), self.expr(expr), self.list(list))
            }
            Expr::Case(case) => self.case(case),
            other => format!("other({other})"),
        }
    }

    fn case(&self, Case { expr, when_then_expr, else_expr }: &Case) -> String {
        let mut text = format!("case({}", expr.as_ref().map_or_else(String::new, |e| self.expr(e)));
        for (when, then) in when_then_expr {
            text.push_str(&format!("; {} -> {}", self.expr(when), self.expr(then)));
        }
        format!("{text}; else {})", else_expr.as_ref().map_or_else(|| "null".to_owned(), |e| self.expr(e)))
    }

    fn like(&self, name: &str, like: &Like) -> String {
        let escape = like.escape_char.map_or_else(String::new, |c| format!(" escape {c}"));
        let case = if like.case_insensitive { "_i" } else { "" };
        let (value, pattern) = (self.expr(&like.expr), self.expr(&like.pattern));
        format!("{name}{case}{}({value}, {pattern}{escape})", not(like.negated))
    }
}

fn not(negated: bool) -> &'static str {
    if negated { "_not" } else { "" }
}

fn spoken(value: &ScalarValue) -> String {
    match value {
        ScalarValue::Utf8(Some(v)) | ScalarValue::LargeUtf8(Some(v)) | ScalarValue::Utf8View(Some(v)) => {
            format!("'{v}'")
        }
        other => other.to_string(),
    }
}

pub(crate) fn literal(value: &ScalarValue) -> String {
    let kind = data_type(&value.data_type());
    match value {
        ScalarValue::Float64(Some(v)) => format!("{kind} {v:?}"),
        ScalarValue::Float32(Some(v)) => format!("{kind} {v:?}"),
        ScalarValue::Utf8(Some(v)) | ScalarValue::LargeUtf8(Some(v)) | ScalarValue::Utf8View(Some(v)) => {
            format!("{kind} {v:?}")
        }
        other => format!("{kind} {other}"),
    }
}

pub(crate) fn data_type(kind: &DataType) -> String {
    match kind {
        DataType::LargeUtf8 => "large string".into(),
        DataType::Utf8View => "string view".into(),
        other => type_name(other),
    }
}
