//! A stable text for what a column is made of. It names columns by what they are in the source, so renaming
//! and moving them changes nothing; it is ours, so a new version of the planner changes nothing either, unless
//! it plans other work. Fingerprints of state hang on it.

use arrow::datatypes::DataType;
use datafusion_common::{DFSchema, ScalarValue};
use datafusion_expr::expr::{Between, Case, InList, Like};
use datafusion_expr::{BinaryExpr, Expr};
use sha2::{Digest, Sha256};

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

fn bounded(text: String) -> String {
    if text.len() > TEXT_LENGTH_MAX { format!("#{}", digest(&text)) } else { text }
}

/// The text of an expression over columns that have the texts `columns`.
pub(crate) fn expr(e: &Expr, schema: &DFSchema, columns: &[String]) -> String {
    let r = |e: &Expr| expr(e, schema, columns);
    bounded(match e {
        Expr::Alias(alias) => return r(&alias.expr),
        Expr::Column(column) => match schema.index_of_column(column).ok().and_then(|i| columns.get(i)) {
            Some(text) => return text.clone(),
            None => format!("?{}", column.name),
        },
        Expr::Literal(value, _) => literal(value),
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => format!("({} {op} {})", r(left), r(right)),
        Expr::Not(e) => format!("not({})", r(e)),
        Expr::IsNull(e) => format!("is_null({})", r(e)),
        Expr::IsNotNull(e) => format!("is_not_null({})", r(e)),
        Expr::IsTrue(e) => format!("is_true({})", r(e)),
        Expr::IsNotTrue(e) => format!("is_not_true({})", r(e)),
        Expr::IsFalse(e) => format!("is_false({})", r(e)),
        Expr::IsNotFalse(e) => format!("is_not_false({})", r(e)),
        Expr::IsUnknown(e) => format!("is_unknown({})", r(e)),
        Expr::IsNotUnknown(e) => format!("is_not_unknown({})", r(e)),
        Expr::Negative(e) => format!("negative({})", r(e)),
        Expr::Between(Between { expr, negated, low, high }) => {
            format!("between{}({}, {}, {})", not(*negated), r(expr), r(low), r(high))
        }
        Expr::Like(like) => text_match("like", like, &r),
        Expr::SimilarTo(like) => text_match("similar", like, &r),
        Expr::Case(Case { expr, when_then_expr, else_expr }) => {
            let mut text = format!("case({}", expr.as_ref().map_or_else(String::new, |e| r(e)));
            for (when, then) in when_then_expr {
                text.push_str(&format!("; {} -> {}", r(when), r(then)));
            }
            format!("{text}; else {})", else_expr.as_ref().map_or_else(|| "null".to_owned(), |e| r(e)))
        }
        Expr::Cast(cast) => format!("cast({} as {})", r(&cast.expr), data_type(cast.field.data_type())),
        Expr::TryCast(cast) => format!("try_cast({} as {})", r(&cast.expr), data_type(cast.field.data_type())),
        Expr::InList(InList { expr, list, negated }) => {
            let list: Vec<String> = list.iter().map(r).collect();
            format!("in{}({}; {})", not(*negated), r(expr), list.join(", "))
        }
        Expr::ScalarFunction(f) => {
            let args: Vec<String> = f.args.iter().map(r).collect();
            format!("{}({})", f.func.name(), args.join(", "))
        }
        other => format!("other({other})"),
    })
}

fn not(negated: bool) -> &'static str {
    if negated { "_not" } else { "" }
}

fn text_match(name: &str, like: &Like, r: &dyn Fn(&Expr) -> String) -> String {
    let escape = like.escape_char.map_or_else(String::new, |c| format!(" escape {c}"));
    let case = if like.case_insensitive { "_i" } else { "" };
    format!("{name}{case}{}({}, {}{escape})", not(like.negated), r(&like.expr), r(&like.pattern))
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
