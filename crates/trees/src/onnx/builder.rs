//! Reads a graph node by node and turns it into trees and steps. What depends on one tree only is computed here, for
//! each of its leaves: the 27 nodes that scikit-learn's isolation forest has for every tree become leaf values.

use std::collections::HashMap;
use std::rc::Rc;

use super::arithmetic::{Kind, Unary};
use super::ensemble::{Aggregate, Spec};
use super::program::{Op, Step};
use super::proto::{ModelProto, NodeProto, ValueProto};
use super::value::{Constant, Leaves, Row, Stage, Type, Value};
use crate::error::{LoadError, Place};
use crate::forest::Tree;

/// What the leaves of a tree give when it is used.
pub(super) enum Given {
    /// A number for each leaf, to one output.
    Numbers { output: u32, values: Rc<[f64]>, aggregate: Aggregate },
    /// For each leaf a range of the ensemble's weights, to outputs from `first` on.
    Lists { first: u32, ensemble: usize, ranges: Vec<(u32, u32)> },
}

/// A tree in use: which one, and what it gives.
pub(super) struct Use {
    pub(super) tree: usize,
    pub(super) given: Given,
}

/// The trees of one number type.
pub(super) struct Draft<T> {
    pub(super) trees: Vec<Tree<T>>,
    pub(super) uses: Vec<Use>,
}

/// One input of the graph's row.
#[derive(Clone, Debug)]
pub(super) struct Input {
    pub(super) name: Option<String>,
    pub(super) ty: Type,
}

/// The categories of an input that is a string, in the order they were met.
#[derive(Debug, Default)]
pub(super) struct Texts {
    pub(super) names: Vec<String>,
    codes: HashMap<String, usize>,
}

/// More columns than this can't be meant for dense rows; it also bounds what a hostile header can claim.
const INPUTS_MAX: usize = 1 << 18;

/// Everything learnt of a graph so far.
pub(super) struct Builder<'m, 'a> {
    pub(super) model: &'m ModelProto<'a>,
    values: HashMap<&'a str, Value>,
    pub(super) producers: HashMap<&'a str, usize>,
    pub(super) inputs: Vec<Input>,
    /// The categories of inputs that are strings, by the input's number.
    pub(super) texts: HashMap<u32, Texts>,
    /// What each register holds before a row is predicted: constants, mostly.
    pub(super) template: Vec<f64>,
    pub(super) before: Vec<Step>,
    pub(super) after: Vec<Step>,
    /// The registers that are the forest's features, and the feature that each is.
    pub(super) features: Vec<u32>,
    pub(super) feature_of: HashMap<u32, u32>,
    /// The registers of the forest's sums, and of whether any leaf gave to them.
    pub(super) sums: Vec<u32>,
    pub(super) has: Vec<u32>,
    pub(super) single: Draft<f32>,
    pub(super) double: Draft<f64>,
    pub(super) ensembles: Vec<Rc<Spec>>,
    /// Raw scores of the ensembles that have them.
    pub(super) raw: Vec<Row>,
    /// What may still be allocated, in numbers: keeps small files from using much memory.
    budget: usize,
}

impl<'m, 'a> Builder<'m, 'a> {
    pub(super) fn new(model: &'m ModelProto<'a>, bytes: usize) -> Result<Self, LoadError> {
        let mut builder = Self {
            model,
            values: HashMap::new(),
            producers: HashMap::new(),
            inputs: Vec::new(),
            texts: HashMap::new(),
            template: Vec::new(),
            before: Vec::new(),
            after: Vec::new(),
            features: Vec::new(),
            feature_of: HashMap::new(),
            sums: Vec::new(),
            has: Vec::new(),
            single: Draft { trees: Vec::new(), uses: Vec::new() },
            double: Draft { trees: Vec::new(), uses: Vec::new() },
            ensembles: Vec::new(),
            raw: Vec::new(),
            budget: bytes.saturating_mul(4).saturating_add(1 << 20),
        };
        for tensor in &model.constants {
            let value = Constant::of(tensor).map(|constant| Value::Constant(Rc::new(constant)));
            builder.values.insert(tensor.name, value.or_else(bad)?);
        }
        let constants: Vec<&str> = model.constants.iter().map(|tensor| tensor.name).collect();
        let constants: std::collections::HashSet<&str> = constants.into_iter().collect();
        let inputs: Vec<&ValueProto<'a>> = model.inputs.iter().filter(|i| !constants.contains(i.name)).collect();
        for input in &inputs {
            builder.input(input, inputs.len())?;
        }
        if builder.inputs.is_empty() {
            return Err(LoadError::malformed(Place::part("graph.input"), "the graph has no inputs"));
        }
        Ok(builder)
    }

    /// Reads all nodes. A node that is not supported is an error only if its result is needed.
    pub(super) fn read(&mut self) -> Result<(), LoadError> {
        for node in &self.model.nodes {
            let results = match self.node(node) {
                Ok(results) => results,
                Err(error) => vec![bad(error)?; node.outputs.len()],
            };
            for (&name, value) in node.outputs.iter().zip(results) {
                if !name.is_empty() {
                    self.values.insert(name, value);
                    self.producers.insert(name, node.index);
                }
            }
        }
        Ok(())
    }

    fn input(&mut self, value: &ValueProto<'a>, inputs: usize) -> Result<(), LoadError> {
        let place = || Place::part(format!("graph.input `{}`", value.name.chars().take(60).collect::<String>()));
        let ty = Type::of_element(value.elements);
        let ty = ty.ok_or_else(|| LoadError::unsupported(place(), format!("an input of type {}", value.elements)))?;
        let width = match value.dims.as_slice() {
            [_, Some(width)] if *width > 0 => usize::try_from(*width).unwrap_or(usize::MAX),
            [] | [_, _] if inputs == 1 => self.features_used()?,
            [] | [_] | [_, _] => 1,
            dims => return Err(LoadError::unsupported(place(), format!("an input of {} dimensions", dims.len()))),
        };
        if width > INPUTS_MAX - self.inputs.len().min(INPUTS_MAX) {
            return Err(LoadError::unsupported(place(), format!("more than {INPUTS_MAX} input columns")));
        }
        let first = self.template.len() as u32;
        let name = (inputs > 1 && width == 1).then(|| value.name.to_owned());
        self.inputs.reserve_exact(width);
        self.inputs.resize(self.inputs.len() + width, Input { name, ty });
        self.template.reserve_exact(width);
        self.template.resize(self.template.len() + width, 0.0);
        let row = Row {
            ty,
            stage: Stage::Before,
            registers: (first..first + width as u32).collect(),
            rounded: ty == Type::Single,
            lazy: false,
            labels: None,
        };
        self.values.insert(value.name, Value::Row(row));
        Ok(())
    }

    /// Columns that an input without a width must have: as many as the ensembles use.
    fn features_used(&self) -> Result<usize, LoadError> {
        let mut most = 0;
        for node in &self.model.nodes {
            most = most.max(node.ints("nodes_featureids")?.into_iter().max().unwrap_or(0));
        }
        Ok(usize::try_from(most).unwrap_or(0).min(INPUTS_MAX) + 1)
    }

    /// The number that stands for a category of a string input.
    pub(super) fn category(&mut self, register: u32, name: &str) -> Option<f64> {
        self.inputs.get(register as usize)?;
        let texts = self.texts.entry(register).or_default();
        if let Some(&code) = texts.codes.get(name) {
            return Some(code as f64);
        }
        let code = texts.names.len();
        texts.codes.insert(name.to_owned(), code);
        texts.names.push(name.to_owned());
        Some(code as f64)
    }

    /// Takes from the budget.
    pub(super) fn spend(&mut self, numbers: usize) -> Result<(), LoadError> {
        self.budget = self.budget.checked_sub(numbers).ok_or_else(|| {
            LoadError::unsupported(Place::part("graph"), "a graph that multiplies its few numbers into so many")
        })?;
        Ok(())
    }

    /// New registers; the first one's number.
    pub(super) fn registers(&mut self, count: usize) -> Result<u32, LoadError> {
        self.spend(count.saturating_mul(2))?;
        let first = self.template.len();
        self.template.resize(first + count, 0.0);
        Ok(first as u32)
    }

    pub(super) fn constants(&mut self, numbers: &[f64]) -> Result<Box<[u32]>, LoadError> {
        let first = self.registers(numbers.len())?;
        self.template[first as usize..].copy_from_slice(numbers);
        Ok((first..first + numbers.len() as u32).collect())
    }

    /// An input of a node.
    pub(super) fn value(&self, node: &NodeProto<'_>, which: usize) -> Result<Value, LoadError> {
        let name = node.inputs.get(which).copied().unwrap_or_default();
        match self.values.get(name) {
            Some(Value::Bad(why)) => Err(LoadError::unsupported(why.0.clone(), why.1.clone())),
            Some(value) => Ok(value.clone()),
            None => {
                let name: String = name.chars().take(60).collect();
                Err(node.malformed("input", format!("`{name}` is no value that was computed before")))
            }
        }
    }

    pub(super) fn find(&self, name: &str) -> Option<&Value> {
        self.values.get(name)
    }

    /// An input of a node that must be a constant.
    pub(super) fn constant(&self, node: &NodeProto<'_>, which: usize) -> Result<Rc<Constant>, LoadError> {
        match self.value(node, which)? {
            Value::Constant(constant) => Ok(constant),
            _ => Err(node.unsupported("", "an input that is not a constant")),
        }
    }

    /// An input of a node as columns.
    pub(super) fn row(&mut self, node: &NodeProto<'a>, which: usize) -> Result<Row, LoadError> {
        match self.value(node, which)? {
            Value::Leaves(leaves) => {
                let row = self.place(leaves)?;
                self.values.insert(node.inputs[which], Value::Row(row.clone()));
                Ok(row)
            }
            value => self.settle(node, value),
        }
    }

    /// The value as columns, whose registers hold what the type says.
    pub(super) fn settle(&mut self, node: &NodeProto<'a>, value: Value) -> Result<Row, LoadError> {
        match value {
            Value::Row(row) if row.lazy => self.step(Op::Unary(Unary::Cast), Type::Single, &[&row], row.width()),
            Value::Row(row) => Ok(row),
            Value::Leaves(leaves) => self.place(leaves),
            Value::Constant(constant) => {
                let one_row = constant.dims.last().copied().unwrap_or(1) == constant.dims.iter().product::<usize>();
                let numbers = constant.numbers().filter(|_| one_row);
                let numbers =
                    numbers.ok_or_else(|| node.unsupported("", "a constant of several rows, or of strings"))?;
                let registers = self.constants(numbers)?.into();
                let ty = constant.ty;
                Ok(Row {
                    ty,
                    stage: Stage::Constant,
                    registers,
                    rounded: ty == Type::Single,
                    lazy: false,
                    labels: None,
                })
            }
            Value::Bad(why) => Err(LoadError::unsupported(why.0.clone(), why.1.clone())),
        }
    }

    /// An output of the graph as columns.
    pub(super) fn output(&mut self, name: &'a str) -> Result<Row, LoadError> {
        let node = NodeProto::output(name);
        self.row(&node, 0)
    }

    /// Puts a sum of trees to use: it becomes an output of the forest.
    fn place(&mut self, leaves: Leaves) -> Result<Row, LoadError> {
        let output = self.sums.len() as u32;
        let register = self.registers(1)?;
        let has = self.registers(1)?;
        self.template[has as usize] = 1.0;
        self.sums.push(register);
        self.has.push(has);
        let double = leaves.ty == Type::Double;
        for (tree, values) in leaves.parts.iter().cloned() {
            let nodes = if double { self.double.trees[tree].nodes.len() } else { self.single.trees[tree].nodes.len() };
            self.spend(nodes.saturating_mul(4))?;
            let uses = if double { &mut self.double.uses } else { &mut self.single.uses };
            uses.push(Use { tree, given: Given::Numbers { output, values, aggregate: Aggregate::Sum } });
        }
        let ty = leaves.ty;
        Ok(Row { ty, stage: Stage::After, registers: [register].into(), rounded: true, lazy: false, labels: None })
    }

    /// Adds a step; its result.
    pub(super) fn step(&mut self, op: Op, ty: Type, args: &[&Row], width: usize) -> Result<Row, LoadError> {
        self.step_of_kind(op, ty.kind(), ty, args, width)
    }

    pub(super) fn step_of_kind(
        &mut self,
        op: Op,
        kind: Kind,
        ty: Type,
        args: &[&Row],
        width: usize,
    ) -> Result<Row, LoadError> {
        let stage = args.iter().map(|arg| arg.stage).max().unwrap_or(Stage::Before).max(Stage::Before);
        if stage == Stage::After && args.iter().any(|arg| arg.stage == Stage::Before) {
            let at = Place::part("graph");
            return Err(LoadError::unsupported(at, "a graph that joins its inputs with the results of its trees"));
        }
        self.spend(args.iter().map(|arg| arg.width()).sum::<usize>() + 16)?;
        let out = self.registers(width)?;
        let args = args.iter().map(|arg| arg.registers.iter().copied().collect()).collect();
        let step = Step { op, kind, args, out, width: width as u32 };
        if stage == Stage::Before {
            self.before.push(step)
        } else {
            self.after.push(step)
        }
        let registers = (out..out + width as u32).collect();
        Ok(Row { ty, stage, registers, rounded: ty == Type::Single, lazy: false, labels: None })
    }
}

/// A node's error as its result: fatal if the file is damaged.
fn bad(error: LoadError) -> Result<Value, LoadError> {
    match error {
        LoadError::Unsupported { at, what } => Ok(Value::Bad(Rc::new((at, what)))),
        other => Err(other),
    }
}
