//! Putting an ensemble to use: its trees, what their leaves give, and the step from sums to scores.

use std::rc::Rc;

use super::arithmetic::{Binary, Kind};
use super::builder::{Builder, Given, Use};
use super::ensemble::{Aggregate, Labels, Spec, SpecNode, Transform};
use super::lower::{Column, Lowered, lower};
use super::program::Op;
use super::proto::NodeProto;
use super::scores::Scores;
use super::value::{Leaves, Row, Stage, Type, Value};
use crate::error::LoadError;
use crate::forest::{Real, Tree};

impl<'a> Builder<'_, 'a> {
    /// The columns of an ensemble's input, as features of the forest.
    fn columns(&mut self, row: &Row) -> Result<Vec<Column>, LoadError> {
        self.spend(row.width())?;
        let mut columns = Vec::with_capacity(row.width());
        for &register in row.registers.iter() {
            let next = self.features.len() as u32;
            let feature = *self.feature_of.entry(register).or_insert(next);
            if feature == next {
                self.features.push(register);
            }
            columns.push(Column { feature, rounded: row.rounded });
        }
        Ok(columns)
    }

    /// An ensemble of trees. Its results: label and scores of a classifier, or the scores alone.
    pub(super) fn ensemble(&mut self, node: &NodeProto<'a>) -> Result<Vec<Value>, LoadError> {
        let input = match self.value(node, 0)? {
            Value::Row(row) => row,
            value => self.settle(node, value)?,
        };
        if input.stage == Stage::After {
            return Err(node.unsupported("", "an ensemble whose input comes from another one"));
        }
        if matches!(input.ty, Type::Text | Type::Label) {
            return Err(node.malformed("", "its input is of strings"));
        }
        let double = input.ty == Type::Double;
        if self.ensembles.iter().any(|other| other.double != double) {
            return Err(node.unsupported("", "float64 trees beside float32 trees in one graph"));
        }
        let unified = node.op == "TreeEnsemble";
        let spec = if unified {
            Spec::unified(node, input.width(), double)?
        } else {
            Spec::classic(node, input.width(), double)?
        };
        let columns = self.columns(&input)?;
        let spec = Rc::new(spec);
        self.ensembles.push(Rc::clone(&spec));
        let lowered = if double {
            lower_all(node, &spec, &columns, &mut self.double.trees)?
        } else {
            lower_all(node, &spec, &columns, &mut self.single.trees)?
        };
        // A TreeEnsemble of float64 gives float64; the others give float32 whatever their input is.
        let ty = if double && unified { Type::Double } else { Type::Single };
        if let (false, [(tree, leaves)], 1, None) = (double, lowered.as_slice(), spec.targets, &spec.labels)
            && spec.transform == Transform::None
        {
            let base = spec.base.first().copied().unwrap_or(0.0);
            self.spend(leaves.len())?;
            let table = leaves.iter().map(|&leaf| Binary::Add.apply(Kind::Single, first_weight(&spec, leaf), base));
            return Ok(vec![Value::Leaves(Leaves::one(ty, *tree, table.collect()))]);
        }
        let sums = self.place_all(&spec, &lowered)?;
        self.score(&spec, sums, double && !unified, ty)
    }

    /// Puts all trees of an ensemble to use, each target an output; the registers of their sums, and of whether any leaf
    /// gave to them.
    fn place_all(&mut self, spec: &Spec, lowered: &[(usize, Vec<u32>)]) -> Result<(Row, Row), LoadError> {
        let first = self.sums.len();
        let mirrored = is_mirrored(spec, lowered);
        let outputs = if mirrored { 1 } else { spec.targets };
        for _ in 0..outputs {
            let (sum, has) = (self.registers(1)?, self.registers(1)?);
            self.sums.push(sum);
            self.has.push(has);
        }
        let row = |registers: &[u32]| {
            let ty = if spec.double { Type::Double } else { Type::Single };
            let registers = registers.into();
            Row { ty, stage: Stage::After, registers, rounded: true, lazy: false, labels: None }
        };
        let (mut sums, mut has) = (row(&self.sums[first..]), row(&self.has[first..]));
        if outputs == 1 {
            self.template[self.has[first] as usize] = 1.0;
        }
        for (tree, leaves) in lowered {
            let given = if outputs == 1 {
                let value = if mirrored { weight_of_first_target } else { first_weight };
                let values = leaves.iter().map(|&leaf| value(spec, leaf)).collect();
                Given::Numbers { output: first as u32, values, aggregate: spec.aggregate }
            } else {
                let ranges = leaves.iter().map(|&leaf| spec.range(leaf)).collect();
                Given::Lists { first: first as u32, ensemble: self.ensembles.len() - 1, ranges }
            };
            let uses = if spec.double { &mut self.double.uses } else { &mut self.single.uses };
            uses.push(Use { tree: *tree, given });
        }
        if mirrored {
            // Zero less the sum, rather than its negative: a sum of nothing is 0, not -0.
            let zero = self.constants(&[0.0])?.into();
            let zero = Row { stage: Stage::Constant, registers: zero, ..sums.clone() };
            let other = self.step(Op::Binary(Binary::Sub), sums.ty, &[&zero, &sums], 1)?;
            sums.registers = [sums.registers[0], other.registers[0]].into();
            has.registers = [has.registers[0]; 2].into();
        }
        Ok((sums, has))
    }

    /// The step from sums to scores.
    fn score(&mut self, spec: &Spec, (sums, has): (Row, Row), narrow: bool, ty: Type) -> Result<Vec<Value>, LoadError> {
        let targets = spec.targets;
        let scores = Scores::new(spec, narrow);
        let classifier = scores.is_classifier();
        let all = self.step(Op::Scores(Box::new(scores)), ty, &[&sums, &has], targets * 2 + 1)?;
        let part = |from: usize, to: usize| Row { registers: all.registers[from..to].into(), ..all.clone() };
        self.raw.push(part(0, targets));
        let result = Value::Row(part(targets, targets * 2));
        if !classifier {
            return Ok(vec![result]);
        }
        let mut label = part(targets * 2, targets * 2 + 1);
        label.ty = Type::Whole;
        if let Some(Labels::Texts(texts)) = &spec.labels {
            label.ty = Type::Label;
            label.labels = Some(texts.as_slice().into());
        }
        Ok(vec![Value::Row(label), result])
    }
}

/// The weight of a leaf that has one target: its first one, or else its node's own value.
fn first_weight(spec: &Spec, leaf: u32) -> f64 {
    match spec.nodes[leaf as usize] {
        SpecNode::Leaf { from, to, .. } if from < to => spec.weights[from as usize].1,
        SpecNode::Leaf { value, .. } => value,
        SpecNode::Split { .. } => 0.0,
    }
}

/// Lowers the trees of an ensemble; for each its number among all trees, and its leaves in the spec.
fn lower_all<T: Real>(
    node: &NodeProto<'_>,
    spec: &Spec,
    columns: &[Column],
    trees: &mut Vec<Tree<T>>,
) -> Result<Vec<(usize, Vec<u32>)>, LoadError> {
    let mut seen = vec![false; spec.nodes.len()];
    let mut all = Vec::with_capacity(spec.roots.len());
    for number in 0..spec.roots.len() {
        let Lowered { tree, leaves } = lower(node, spec, number, columns, &mut seen)?;
        all.push((trees.len(), leaves));
        trees.push(tree);
    }
    Ok(all)
}

/// Whether every leaf gives one class just the opposite of what it gives the other, as CatBoost writes it: then one sum
/// tells the other.
fn is_mirrored(spec: &Spec, lowered: &[(usize, Vec<u32>)]) -> bool {
    let leaf_is = |&leaf: &u32| {
        let (from, to) = spec.range(leaf);
        matches!(spec.weights.get(from as usize..to as usize), Some([(0, a), (1, b)] | [(1, b), (0, a)]) if *a == -*b)
    };
    spec.targets == 2
        && matches!(spec.aggregate, Aggregate::Sum | Aggregate::Average)
        && lowered.iter().all(|(_, leaves)| leaves.iter().all(leaf_is))
}

/// What a leaf gives to target 0.
fn weight_of_first_target(spec: &Spec, leaf: u32) -> f64 {
    let (from, to) = spec.range(leaf);
    let weights = &spec.weights[from as usize..to as usize];
    weights.iter().find(|(target, _)| *target == 0).map_or(0.0, |&(_, weight)| weight)
}

impl Spec {
    /// The weights of a leaf.
    fn range(&self, leaf: u32) -> (u32, u32) {
        match self.nodes[leaf as usize] {
            SpecNode::Leaf { from, to, .. } => (from, to),
            SpecNode::Split { .. } => (0, 0),
        }
    }
}
