//! What stands under `models:`: a file, or rules.

use serde_json::{Value as Json, json};

use super::ModelKind;
use crate::codes::{NO_EFFECT, STRUCTURE};
use crate::decode::{Cx, Decode};
use crate::diagnostic::Diagnostic;
use crate::span::Spanned;
use crate::spec::{FieldDoc, Spec};
use crate::text::Text;
use crate::tree::{Entry, Node, Value};
use crate::{spec, spec_enum, suggest};

spec! {
    /// A model in a file.
    pub(crate) struct FileModelFields {
        /// The file, relative to the pipeline file.
        path: Text = required,
        /// The file's format. Default: by its content.
        format: Spanned<ModelFormat> = optional,
        /// The version that predictions carry.
        version: String = default("1".to_owned()),
    }
}

spec! {
    /// Rules instead of a trained model: the first one that is true gives the score.
    pub(crate) struct RuleModelFields {
        /// The rules, in order.
        rules: Vec<RuleSpec> = required,
        /// The score where no rule is true.
        default: f64 = default(0.0),
        /// The version that predictions carry.
        version: String = default("1".to_owned()),
    }
}

spec! {
    /// A rule.
    pub struct RuleSpec {
        /// The SQL condition, over the columns of the step's input.
        when: Text = required,
        /// The score of a row for which it is true.
        score: f64 = required,
    }
}

spec_enum! {
    /// The format of a model's file.
    pub enum ModelFormat {
        /// XGBoost, saved as JSON.
        XgboostJson = "xgboost_json",
        /// XGBoost, saved as UBJSON.
        XgboostUbj = "xgboost_ubj",
        /// LightGBM, saved as text.
        LightgbmText = "lightgbm_text",
        /// CatBoost, saved as CBM.
        CatboostCbm = "catboost_cbm",
        /// CatBoost, saved as JSON.
        CatboostJson = "catboost_json",
        /// ONNX, of trees.
        Onnx = "onnx",
    }
}

/// A model: a file or rules.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ModelSpec {
    pub(crate) version: String,
    pub(crate) kind: ModelKind,
}

impl Decode for ModelSpec {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let rules = match which(node, ["path", "rules"]) {
            Ok(which) => which == "rules",
            Err(how_many) => {
                let message = format!("{} has {how_many} of `path` and `rules`", cx.name());
                let span = cx.key_span().unwrap_or(node.span);
                cx.error(STRUCTURE, span, message, "a model is a file (`path: model.json`), or a list of `rules`");
                return None;
            }
        };
        if rules {
            let node = without_other_kind::<RuleModelFields, FileModelFields>(node, cx, "a model of rules");
            let fields = RuleModelFields::decode(&node, cx)?;
            if node.get("rules").is_some_and(|rules| !rules.has_entries()) {
                let message = format!("{} has no rules", cx.name());
                cx.error(STRUCTURE, node.span, message, "give at least one: `- { when: amount > 1000, score: 0.9 }`");
            }
            let kind = ModelKind::Rules { rules: fields.rules, default: fields.default };
            return Some(Self { version: fields.version, kind });
        }
        let node = without_other_kind::<FileModelFields, RuleModelFields>(node, cx, "a model in a file");
        let fields = FileModelFields::decode(&node, cx)?;
        Some(Self { version: fields.version, kind: ModelKind::File { path: fields.path, format: fields.format } })
    }

    fn schema() -> Json {
        json!({ "oneOf": [FileModelFields::schema(), RuleModelFields::schema()] })
    }

    fn describe() -> String {
        "a map of fields".to_owned()
    }
}

/// Which of two fields, that tell what a thing is, a map has; `Err` says `both` or `neither`. One that is misspelt
/// counts if it is the only one.
pub(crate) fn which(node: &Node, fields: [&'static str; 2]) -> Result<&'static str, &'static str> {
    match fields.map(|field| node.get(field).is_some()) {
        [true, true] => Err("both"),
        [true, false] => Ok(fields[0]),
        [false, true] => Ok(fields[1]),
        [false, false] if !matches!(node.value, Value::Map(_)) => Ok(fields[0]),
        [false, false] => {
            let near =
                |entry: &Entry| fields.into_iter().find(|field| suggest::nearest(&entry.key.value, [*field]).is_some());
            node.entries().iter().find_map(near).ok_or("neither")
        }
    }
}

/// Reports the fields that mean something for another kind of thing and nothing for this one, and gives the node
/// without them. `here` is what this one is, for people.
pub(crate) fn without_other_kind<This: Spec, Other: Spec>(node: &Node, cx: &mut Cx, here: &str) -> Node {
    let Value::Map(entries) = &node.value else { return node.clone() };
    let has = |docs: &[FieldDoc], entry: &Entry| docs.iter().any(|doc| doc.name == entry.key.value);
    let (these, others) = (This::docs(), Other::docs());
    let (kept, foreign): (Vec<Entry>, Vec<Entry>) =
        entries.iter().cloned().partition(|entry| has(&these, entry) || !has(&others, entry));
    for entry in foreign {
        no_effect(&entry, here, cx);
    }
    Node { value: Value::Map(kept), span: node.span }
}

/// Says that a field means nothing where it stands.
pub(crate) fn no_effect(entry: &Entry, here: &str, cx: &mut Cx) {
    let message = format!("`{}` has no effect on {here}", entry.key.value);
    cx.push(Diagnostic::error(NO_EFFECT, entry.key.span, message).label("no effect here").help("leave it out"));
}
