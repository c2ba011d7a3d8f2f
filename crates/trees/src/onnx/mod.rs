//! ONNX models of trees: the tree ensembles of `ai.onnx.ml` 1 to 5, with the operators that converters put around
//! them. A graph is read once and becomes one forest with a few steps before and after it; nothing of it is left that
//! would be walked node by node for every row.

mod arithmetic;
mod assemble;
mod builder;
mod engine;
mod ensemble;
mod graph;
mod lower;
mod ops;
mod place;
mod prepare;
mod program;
mod proto;
mod scores;
mod sparse;
mod unified;
mod value;
mod wire;

use std::sync::Arc;

use crate::error::{LoadError, Place};
use crate::feature::{Categories, CategoryNames, Feature};
use crate::forest::{Node, Real};
use crate::link::{Classes, Link};
use crate::model::{Description, Engine, Ensemble, Loaded};
use assemble::{Assembled, Facts, assemble};
use builder::{Builder, Draft, Input};
use engine::Core;
use graph::{Before, Graph};
use program::Step;
use proto::ModelProto;
use value::{Row, Type, Value};

pub(crate) use engine::{GraphBuffers, GraphEngine};

/// Whether bytes look like an ONNX model: a message whose first field is the version of the format.
pub(crate) fn looks_like_onnx(bytes: &[u8]) -> bool {
    matches!(bytes, [0x08, 1..=30, 0x12 | 0x1a | 0x22 | 0x28 | 0x32 | 0x3a | 0x42 | 0x72, ..])
}

/// Loads a model.
pub(crate) fn load(bytes: &[u8]) -> Result<Loaded, LoadError> {
    let model = ModelProto::parse(bytes)?;
    let mut builder = Builder::new(&model, bytes.len())?;
    builder.read()?;
    let outputs = Outputs::of(&mut builder)?;
    finish(builder, outputs)
}

/// The columns of a model's outputs.
struct Outputs {
    raw: Vec<u32>,
    prediction: Vec<u32>,
    class: Vec<u32>,
    class_names: Arc<[String]>,
    kind: &'static str,
}

impl Outputs {
    /// The first output is the label if it is no number with a fraction; the first one with fractions is the
    /// prediction (or all of them together, if each is the probability of one class).
    fn of(builder: &mut Builder<'_, '_>) -> Result<Self, LoadError> {
        let model = builder.model;
        let (mut label, mut scores) = (None, Vec::new());
        let mut sample_scores: Option<Row> = None;
        for (place, output) in model.outputs.iter().enumerate() {
            let row = match builder.output(output.name) {
                Ok(row) => row,
                // What comes after the prediction is not needed.
                Err(_) if !scores.is_empty() => continue,
                Err(error) => return Err(error),
            };
            match row.ty {
                Type::Single | Type::Double if output.name == "score_samples" => sample_scores = Some(row),
                Type::Single | Type::Double => scores.push(row),
                _ if place == 0 => label = Some(row),
                _ => {}
            }
        }
        let classes = label.as_ref().and_then(|label| label.labels.as_ref()).map_or(0, |labels| labels.len());
        let first = scores.first().or(sample_scores.as_ref()).or(label.as_ref()).cloned();
        let Some(mut first) = first else {
            return Err(LoadError::malformed(Place::part("graph.output"), "the graph has no outputs"));
        };
        let columns = scores.len() > 1 && scores.iter().all(|row| row.width() == 1);
        if columns && label.is_some() && (classes == 0 || classes == scores.len()) {
            first.registers = scores.iter().flat_map(|row| row.registers.iter().copied()).collect();
        }
        let inner = isolation_scores(builder, &first);
        let kind = match (&label, &inner, &sample_scores) {
            (_, Some(_), _) | (.., Some(_)) => "outlier",
            (Some(_), ..) => "classifier",
            _ => "regressor",
        };
        let raw = sample_scores.or(inner).or(match builder.raw.as_slice() {
            [raw] => Some(raw.clone()),
            _ => None,
        });
        let class_names: Arc<[String]> = match label.as_ref().and_then(|label| label.labels.as_deref()) {
            Some(names) => names.into(),
            None => Arc::new([]),
        };
        Ok(Self {
            raw: raw.map_or_else(|| first.registers.to_vec(), |row| row.registers.to_vec()),
            prediction: first.registers.to_vec(),
            class: label.map(|row| row.registers.to_vec()).unwrap_or_default(),
            class_names,
            kind,
        })
    }
}

/// The score of an isolation forest before its offset is added: `-2^(-depth)`.
fn isolation_scores(builder: &mut Builder<'_, '_>, scores: &Row) -> Option<Row> {
    if scores.width() != 1 {
        return None;
    }
    let model = builder.model;
    let output = model.outputs.iter().find_map(|output| match builder.find(output.name) {
        Some(Value::Row(row)) if row.registers == scores.registers => Some(output.name),
        _ => None,
    })?;
    let producer = |builder: &Builder<'_, '_>, name: &str, op: &str| {
        builder.producers.get(name).and_then(|&node| model.nodes.get(node)).filter(|node| node.op == op)
    };
    let add = producer(builder, output, "Add")?;
    add.inputs.iter().find_map(|&name| {
        let neg = producer(builder, name, "Neg")?;
        producer(builder, neg.inputs.first()?, "Pow")?;
        match builder.find(name) {
            Some(Value::Row(row)) => Some(row.clone()),
            _ => None,
        }
    })
}

/// Drops the steps whose results nobody needs. `live` says of each register whether it is needed.
fn prune(steps: &mut Vec<Step>, live: &mut [bool]) {
    let mut kept: Vec<Step> = Vec::new();
    while let Some(step) = steps.pop() {
        let (from, to) = (step.out as usize, (step.out + step.width) as usize);
        if live[from..to].contains(&true) {
            step.args.iter().flatten().for_each(|&register| live[register as usize] = true);
            kept.push(step);
        }
    }
    kept.reverse();
    *steps = kept;
}

fn finish(mut builder: Builder<'_, '_>, outputs: Outputs) -> Result<Loaded, LoadError> {
    let inputs = builder.inputs.len();
    let mut live = vec![false; builder.template.len()];
    for &register in outputs.raw.iter().chain(&outputs.prediction).chain(&outputs.class) {
        live[register as usize] = true;
    }
    prune(&mut builder.after, &mut live);
    builder.features.iter().for_each(|&register| live[register as usize] = true);
    prune(&mut builder.before, &mut live);
    let single: Vec<bool> = builder.inputs.iter().map(|input| input.ty == Type::Single).collect();
    let direct = builder.before.is_empty() && builder.features.iter().all(|&register| (register as usize) < inputs);
    let features = features(&mut builder);
    let sums = std::mem::take(&mut builder.sums);
    let (core, sums, facts) = if sums.is_empty() {
        // No trees: what comes before them is all there is.
        let mut steps = std::mem::take(&mut builder.before);
        steps.append(&mut builder.after);
        builder.after = steps;
        let facts = Facts { trees: 0, depth: 0, leaves: 0, outputs: Vec::new() };
        (Core::Inputs(single.clone()), (0..inputs as u32).collect(), facts)
    } else {
        let remap = direct.then(|| (builder.features.clone(), inputs));
        forest(&mut builder, sums, remap)?
    };
    let before = (!direct && !matches!(core, Core::Inputs(_))).then(|| Before {
        single,
        steps: std::mem::take(&mut builder.before),
        features: std::mem::take(&mut builder.features),
    });
    let short = |text: &str| text.lines().next().unwrap_or_default().chars().take(40).collect::<String>();
    let mut producer = short(builder.model.producer);
    // CatBoost has a page of text in the place of a version.
    if builder.model.producer_version.starts_with(|first: char| first.is_ascii_digit()) {
        producer = format!("{producer} {}", short(builder.model.producer_version));
    }
    let description = Description {
        framework: "onnx",
        version: Some(producer).filter(|text| !text.is_empty()),
        objective: outputs.kind.to_owned(),
        trees: facts.trees,
        trees_in_file: facts.trees,
        depth: facts.depth,
        leaves: facts.leaves,
    };
    let graph = Graph {
        before,
        after: builder.after,
        template: builder.template,
        sums,
        raw: outputs.raw,
        prediction: outputs.prediction,
        class: outputs.class,
        class_names: outputs.class_names,
    };
    let engine = Engine::Graph(Box::new(GraphEngine { core, graph }));
    Ok(Loaded { engine, features, link: Link::Identity, classes: Classes::None, description })
}

/// Builds what computes the sums, in the number type of the trees.
fn forest(
    builder: &mut Builder<'_, '_>,
    mut sums: Vec<u32>,
    remap: Option<(Vec<u32>, usize)>,
) -> Result<(Core, Vec<u32>, Facts), LoadError> {
    let (core, facts) = if builder.double.trees.is_empty() {
        let draft = std::mem::replace(&mut builder.single, Draft { trees: Vec::new(), uses: Vec::new() });
        match assembled(builder, draft, sums.len(), remap)? {
            (Assembled::Plain(forest), facts) => (Core::Single(Ensemble::new(forest)), facts),
            (Assembled::Sparse(sparse), facts) => (Core::SparseSingle(sparse), facts),
        }
    } else {
        let draft = std::mem::replace(&mut builder.double, Draft { trees: Vec::new(), uses: Vec::new() });
        match assembled(builder, draft, sums.len(), remap)? {
            (Assembled::Plain(forest), facts) => (Core::Double(Ensemble::new(forest)), facts),
            (Assembled::Sparse(sparse), facts) => (Core::SparseDouble(sparse), facts),
        }
    };
    sums = facts.outputs.iter().map(|&output| sums[output as usize]).collect();
    if matches!(core, Core::SparseSingle(_) | Core::SparseDouble(_)) {
        // A forest with lists of weights tells of each sum whether any leaf gave to it.
        sums.extend_from_slice(&builder.has);
    }
    Ok((core, sums, facts))
}

/// Builds the forest; if its features are inputs as they are, it gets those.
fn assembled<T: Real>(
    builder: &mut Builder<'_, '_>,
    mut draft: Draft<T>,
    outputs: usize,
    remap: Option<(Vec<u32>, usize)>,
) -> Result<(Assembled<T>, Facts), LoadError> {
    let mut features = builder.features.len();
    if let Some((inputs, count)) = remap {
        features = count;
        for node in draft.trees.iter_mut().flat_map(|tree| &mut tree.nodes) {
            if let Node::Numeric { feature, .. } | Node::Category { feature, .. } = node {
                *feature = inputs[*feature as usize];
            }
        }
    }
    let (has, template) = (&builder.has, &mut builder.template);
    let mut mark = |output: u32| template[has[output as usize] as usize] = 1.0;
    assemble(draft, &builder.ensembles, features, outputs, &mut mark)
}

/// The model's inputs.
fn features(builder: &mut Builder<'_, '_>) -> Vec<Feature> {
    let inputs = std::mem::take(&mut builder.inputs);
    let mut texts = |number: u32| {
        let names = builder.texts.remove(&number).unwrap_or_default().names;
        Arc::new(Categories::Text(CategoryNames::new(names)))
    };
    let feature = |(number, input): (u32, Input)| {
        let categorical = input.ty == Type::Text;
        Feature { name: input.name, categorical, categories: categorical.then(|| texts(number)) }
    };
    (0u32..).zip(inputs).map(feature).collect()
}
