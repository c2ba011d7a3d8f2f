//! What stands under `steps:`: queries and predictions.

use millstream_core::OutputKind;
use serde_json::{Value as Json, json};

use super::model::{which, without_other_kind};
use crate::codes::STRUCTURE;
use crate::decode::{Cx, Decode, Map, Name, Place, choice, choice_schema};
use crate::span::Spanned;
use crate::text::Text;
use crate::tree::{Node, Value};
use crate::{spec, spec_enum};

spec! {
    /// A step that runs a query.
    pub(crate) struct SqlFields {
        /// The step's name. Later steps and outputs refer to it, and its state is found by it.
        name: Spanned<Name> = required,
        /// The query. Its FROM names the source or an earlier step; tables may be joined.
        sql: Text = required,
        /// When rows of a query with windows come out. Default: `on_arrival`.
        emit: Spanned<Emit> = optional,
        /// What happens to rows that come later than `lateness` allows, in a query with windows. Default: `dead_letter` if there is a `dead_letters` output, `drop` otherwise.
        late: Spanned<Late> = optional,
    }
}

spec! {
    /// A step that scores rows with a model. It appends the score and the columns `prediction_id`, `model`, `model_version`, `model_digest`.
    pub(crate) struct PredictFields {
        /// The step's name. Later steps and outputs refer to it.
        name: Spanned<Name> = required,
        /// The model.
        predict: Text = required,
        /// Whose rows are scored: the source or an earlier step. Default: the step before, or the source.
        from: Text = optional,
        /// The column of the score. Default: `score`.
        r#as: Spanned<Name> = optional,
        /// Which of the model's numbers. Default: `prediction`.
        output: Spanned<OutputKind> = optional,
        /// An SQL expression over the input's columns for a feature of the model. Default: the column with the feature's name.
        inputs: Map<Text> = default(Map::default()),
        /// An SQL condition. Rows for which it is not true get no score (NULL).
        when: Text = optional,
    }
}

spec_enum! {
    /// When rows of a query with windows come out.
    pub enum Emit {
        /// At once: an event sees everything of its key that arrived before it. Lowest latency.
        OnArrival = "on_arrival",
        /// When no earlier event is expected any more, in order of event time: equal to the batch query.
        OnWatermark = "on_watermark",
    }
}

spec_enum! {
    /// What happens to late rows.
    pub enum Late {
        /// They are dropped and counted.
        Drop = "drop",
        /// They go to the `dead_letters` output.
        DeadLetter = "dead_letter",
    }
}

const OUTPUTS: [(&str, OutputKind); 3] =
    [("prediction", OutputKind::Prediction), ("raw", OutputKind::Raw), ("class", OutputKind::Class)];

impl Decode for OutputKind {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        choice(node, cx, &OUTPUTS)
    }

    fn schema() -> Json {
        choice_schema(&[
            (
                "prediction",
                "What the framework's own `predict` gives: a probability, a value, a list of class probabilities.",
            ),
            ("raw", "The margin, before the link function."),
            ("class", "The most likely class, as a whole number."),
        ])
    }

    fn describe() -> String {
        crate::suggest::list(OUTPUTS.iter().map(|(name, _)| *name), "or")
    }

    fn show(&self) -> Json {
        OUTPUTS.iter().find(|(_, kind)| kind == self).map_or(Json::Null, |(name, _)| json!(name))
    }
}

/// A step; keeps its name when it can't be read, so that references to it still resolve.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct StepSpec {
    pub(crate) name: Option<Spanned<String>>,
    pub(crate) kind: Option<StepFields>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum StepFields {
    Sql(SqlFields),
    Predict(Box<PredictFields>),
}

impl Decode for StepSpec {
    fn decode(node: &Node, cx: &mut Cx) -> Option<Self> {
        let name = node.get("name").and_then(|node| match &node.value {
            Value::Scalar(scalar) => Some(Spanned::new(scalar.text.value.clone(), node.span)),
            _ => None,
        });
        let kind = match (&name, cx.path().last().cloned()) {
            // `step `features`` says more than `item 2 of `steps``.
            (Some(name), Some(place)) => {
                let place = Place { name: format!("the step `{}`", crate::decode::shorten(name)), span: place.span };
                cx.within(place, |cx| decode_kind(node, cx))
            }
            _ => decode_kind(node, cx),
        };
        Some(Self { name, kind })
    }

    fn schema() -> Json {
        json!({ "oneOf": [SqlFields::schema(), PredictFields::schema()] })
    }

    fn describe() -> String {
        "a map with a `name`, and `sql` or `predict`".to_owned()
    }
}

fn decode_kind(node: &Node, cx: &mut Cx) -> Option<StepFields> {
    let predict = match which(node, ["sql", "predict"]) {
        Ok(which) => which == "predict",
        Err(how_many) => {
            let message = format!("{} has {how_many} of `sql` and `predict`", cx.name());
            let span = cx.key_span().unwrap_or(node.span);
            cx.error(STRUCTURE, span, message, "a step runs a query (`sql: SELECT …`), or a model (`predict: NAME`)");
            return None;
        }
    };
    if predict {
        let node = without_other_kind::<PredictFields, SqlFields>(node, cx, "a step that predicts");
        PredictFields::decode(&node, cx).map(|fields| StepFields::Predict(Box::new(fields)))
    } else {
        let node = without_other_kind::<SqlFields, PredictFields>(node, cx, "a step that runs SQL");
        SqlFields::decode(&node, cx).map(StepFields::Sql)
    }
}
