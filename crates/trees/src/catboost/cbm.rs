//! CatBoost's binary format: the mark `CBM1`, a FlatBuffer with features and trees, and, if the model has statistics of
//! categories, one FlatBuffer for each of their tables.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use super::ctr::{Combination, Counts, CtrBase, CtrFeature, CtrKind, CtrTable, Formula};
use super::flat::{Flat, Table};
use super::objective::{Fact, Facts};
use super::parts::{FloatFeature, OneHot, OtherFeature, Parts, RawNode, RawTree, Shape};
use crate::error::{LoadError, Place};
use crate::xgboost::OUTPUTS_MAX;

const MARK: &[u8] = b"CBM1";
/// What the part of a file is called that holds the tables.
const TABLES_PART: &str = "static_provider_v1";

pub(super) fn load(bytes: &[u8]) -> Result<(Parts, Facts), LoadError> {
    let mut rest = bytes;
    if rest.split_off(..MARK.len()) != Some(MARK) {
        return Err(LoadError::malformed(Place::byte(0), "the mark `CBM1` is missing"));
    }
    let core = Flat::new(sized(&mut rest, "the model")?, "model");
    let root = core.root()?;
    let format = root.text(0, "FormatVersion")?;
    if format != "FlabuffersModel_v1" {
        let format: String = format.chars().take(40).collect();
        return Err(LoadError::unsupported(Place::part("FormatVersion"), format!("format `{format}`")));
    }
    let trees = root.need(1, "ModelTrees")?;
    let claimed = trees.i32(0, 0, "ApproxDimension")?;
    let dimension = usize::try_from(claimed).ok().filter(|n| (1..=OUTPUTS_MAX).contains(n));
    let dimension = dimension.ok_or_else(|| {
        LoadError::malformed(Place::part("ApproxDimension"), format!("is {claimed}; 1 to {OUTPUTS_MAX} is allowed"))
    })?;
    let parts = parts(&root, &trees, dimension, rest)?;
    let info: BTreeMap<Cow<'_, str>, Cow<'_, str>> = root
        .tables(2, "InfoMap")?
        .iter()
        .map(|entry| Ok((entry.text(0, "InfoMap")?, entry.text(1, "InfoMap")?)))
        .collect::<Result<_, LoadError>>()?;
    let facts = Facts::read(|key| info.get(key).map(|text| Fact::Text(text)), dimension)?;
    Ok((parts, facts))
}

/// Takes a number of bytes, which stands before them, off the front.
fn sized<'a>(rest: &mut &'a [u8], what: &str) -> Result<&'a [u8], LoadError> {
    let cut = || LoadError::malformed(Place::part(what), "is cut short");
    let length = size(rest).ok_or_else(cut)?;
    usize::try_from(length).ok().and_then(|length| rest.split_off(..length)).ok_or_else(cut)
}

/// A length: four bytes, or four of ones and then eight.
fn size(rest: &mut &[u8]) -> Option<u64> {
    let short = u32::from_le_bytes(*rest.split_off(..4)?.first_chunk()?);
    if short < u32::MAX {
        return Some(u64::from(short));
    }
    Some(u64::from_le_bytes(*rest.split_off(..8)?.first_chunk()?))
}

fn parts(root: &Table<'_, '_>, trees: &Table<'_, '_>, dimension: usize, rest: &[u8]) -> Result<Parts, LoadError> {
    if !trees.tables(13, "EstimatedFeatures")?.is_empty() {
        return Err(LoadError::unsupported(Place::part("EstimatedFeatures"), "a model of texts or embeddings"));
    }
    let floats = trees.tables(5, "FloatFeatures")?.iter().map(float_feature).collect::<Result<_, _>>()?;
    let cats =
        trees.tables(4, "CatFeatures")?.iter().map(|t| other_feature(t, "CatFeatures")).collect::<Result<_, _>>()?;
    let mut idle = Vec::new();
    for (slot, part) in [(12, "TextFeatures"), (18, "EmbeddingFeatures")] {
        for feature in trees.tables(slot, part)? {
            idle.push(other_feature(&feature, part)?);
        }
    }
    let one_hot =
        |t: &Table<'_, '_>| Ok(OneHot { index: t.i32(0, -1, "OneHotFeatures")?, values: t.i32s(1, "OneHotFeatures")? });
    let one_hots = trees.tables(6, "OneHotFeatures")?.iter().map(one_hot).collect::<Result<_, LoadError>>()?;
    let mut features = Vec::new();
    for table in trees.tables(7, "CtrFeatures")? {
        features.push(ctr_feature(&table)?);
    }
    let (ctrs, tables) = if features.is_empty() { (Vec::new(), Vec::new()) } else { tables(root, features, rest)? };
    Ok(Parts {
        dimension,
        floats,
        cats,
        idle,
        one_hots,
        ctrs,
        tables,
        trees: raw_trees(trees, dimension)?,
        scale: trees.f64(14, 1.0, "Scale")?,
        bias: bias(trees, dimension)?,
    })
}

fn bias(trees: &Table<'_, '_>, dimension: usize) -> Result<Vec<f64>, LoadError> {
    let bias = trees.f64s(16, "MultiBias")?;
    if bias.is_empty() {
        return Ok(vec![trees.f64(15, 0.0, "Bias")?; dimension]);
    }
    if bias.len() != dimension {
        return Err(trees.bad("MultiBias", format!("holds {} numbers, leaves hold {dimension}", bias.len())));
    }
    Ok(bias)
}

fn float_feature(table: &Table<'_, '_>) -> Result<FloatFeature, LoadError> {
    const PART: &str = "FloatFeatures";
    let treatment = table.byte(5, 0, PART)?;
    if treatment > 2 {
        return Err(table.bad(PART, format!("treatment of missing values is {treatment}; 0 to 2 are known")));
    }
    Ok(FloatFeature {
        index: table.i32(1, -1, PART)?,
        flat: table.i32(2, -1, PART)?,
        name: table.text(4, PART)?.into_owned(),
        nan_is_greatest: table.byte(0, 0, PART)? != 0 && treatment == 2,
        borders: table.f32s(3, PART)?,
    })
}

fn other_feature(table: &Table<'_, '_>, part: &str) -> Result<OtherFeature, LoadError> {
    Ok(OtherFeature {
        index: table.i32(0, -1, part)?,
        flat: table.i32(1, -1, part)?,
        name: table.text(2, part)?.into_owned(),
    })
}

/// A statistic without its table: what it is over, its formula and its borders.
type Unbound = (CtrBase, Formula, Vec<f32>);

fn ctr_feature(table: &Table<'_, '_>) -> Result<Unbound, LoadError> {
    const PART: &str = "CtrFeatures";
    let ctr = table.need(0, PART)?;
    let border = ctr.i32(1, 0, PART)?;
    let formula = Formula {
        border: usize::try_from(border).map_err(|_| table.bad(PART, format!("target border {border}")))?,
        prior_numerator: ctr.f32(2, 0.0, PART)?,
        prior_denominator: ctr.f32(3, 1.0, PART)?,
        shift: ctr.f32(4, 0.0, PART)?,
        scale: ctr.f32(5, 1.0, PART)?,
    };
    Ok((ctr_base(&ctr.need(0, PART)?, PART)?, formula, table.f32s(1, PART)?))
}

fn ctr_base(table: &Table<'_, '_>, part: &'static str) -> Result<CtrBase, LoadError> {
    let kind = table.byte(1, 0, part)?;
    let known = CtrKind::ALL.get(usize::from(kind)).map(|&(_, kind)| kind);
    let kind = known.ok_or_else(|| LoadError::unsupported(Place::part(part), format!("statistic {kind}")))?;
    let combination = table.need(0, part)?;
    let pair = |&[a, b, c, d, e, f, g, h]: &[u8; 8]| (i32::from_le_bytes([a, b, c, d]), [e, f, g, h]);
    let floats = combination.items(1, part)?.iter().map(pair);
    let one_hots = combination.items(2, part)?.iter().map(pair);
    Ok(CtrBase {
        combination: Combination {
            cats: combination.i32s(0, part)?,
            floats: floats.map(|(index, border)| (index, f32::from_le_bytes(border))).collect(),
            one_hots: one_hots.map(|(index, value)| (index, i32::from_le_bytes(value))).collect(),
        },
        kind,
        classifier: table.i32(2, 0, part)?,
    })
}

/// Reads the tables that features need, and binds the features to them.
fn tables(
    root: &Table<'_, '_>,
    features: Vec<Unbound>,
    mut rest: &[u8],
) -> Result<(Vec<CtrFeature>, Vec<CtrTable>), LoadError> {
    let names = root.texts(3, "ModelPartIds")?;
    if names.first().is_none_or(|name| name != TABLES_PART) {
        let seen: String = names.first().map_or("nothing", |name| name).chars().take(40).collect();
        let problem = format!("`{TABLES_PART}` must come first for a model with CtrFeatures, and `{seen}` does");
        return Err(LoadError::malformed(Place::part("ModelPartIds"), problem));
    }
    let count = size(&mut rest).ok_or_else(|| LoadError::malformed(Place::part(TABLES_PART), "is cut short"))?;
    let wanted: BTreeSet<_> = features.iter().map(|(base, ..)| base.key()).collect();
    let (mut bases, mut tables) = (BTreeMap::new(), Vec::new());
    for number in 0..count {
        let flat = Flat::new(sized(&mut rest, TABLES_PART)?, TABLES_PART);
        let table = flat.root()?;
        let base = ctr_base(&table.need(0, "ModelCtrBase")?, "ModelCtrBase")?;
        // Tables that no feature needs are passed over.
        let key = base.key();
        if wanted.contains(&key) && !bases.contains_key(&key) {
            let problem =
                |problem| LoadError::malformed(Place::part(format!("{TABLES_PART}, table {number}")), problem);
            tables.push(ctr_table(&table, base.kind)?.map_err(problem)?);
            bases.insert(key, tables.len() - 1);
        }
    }
    let bind = |(base, formula, borders): Unbound| {
        let table = bases.get(&base.key()).copied().ok_or_else(|| {
            LoadError::malformed(Place::part("CtrFeatures"), format!("a table of {:?} is missing", base.kind))
        })?;
        Ok(CtrFeature { combination: base.combination, table, formula, borders })
    };
    let features = features.into_iter().map(bind).collect::<Result<_, LoadError>>()?;
    Ok((features, tables))
}

fn ctr_table(table: &Table<'_, '_>, kind: CtrKind) -> Result<Result<CtrTable, String>, LoadError> {
    let entry = |bucket: &[u8; 12]| {
        let (hash, at) = bucket.split_first_chunk::<8>()?;
        Some((u64::from_le_bytes(*hash), u32::from_le_bytes(*at.first_chunk()?)))
    };
    let buckets = table.raw(1, "IndexHashRaw")?.as_chunks().0;
    let entries = buckets.iter().filter_map(entry).filter(|&(hash, _)| hash != super::ctr::NO_HASH).collect();
    let blob = table.raw(2, "CTRBlob")?;
    let number = |bytes: &[u8; 4]| i32::from_le_bytes(*bytes);
    let counts = if kind.is_mean() {
        let mean = |&[a, b, c, d, e, f, g, h]: &[u8; 8]| (f32::from_le_bytes([a, b, c, d]), number(&[e, f, g, h]));
        Counts::Means(blob.as_chunks().0.iter().map(mean).collect())
    } else {
        Counts::Numbers(blob.as_chunks().0.iter().map(number).collect())
    };
    let (denominator, classes) = (table.i32(3, 0, "CounterDenominator")?, table.i32(4, 0, "TargetClassesCount")?);
    Ok(CtrTable::new(kind, entries, counts, classes, denominator))
}

fn raw_trees(trees: &Table<'_, '_>, dimension: usize) -> Result<Vec<RawTree>, LoadError> {
    let (splits, sizes) = (trees.i32s(1, "TreeSplits")?, trees.i32s(2, "TreeSizes")?);
    let leaves = trees.f64s(8, "LeafValues")?;
    let steps = trees.items::<4>(10, "NonSymmetricStepNodes")?;
    let leaf_of = trees.i32s(11, "NonSymmetricNodeIdToLeafId")?;
    let oblivious = steps.is_empty();
    if !oblivious && (steps.len() != splits.len() || leaf_of.len() != splits.len()) {
        let problem = format!("holds {} nodes, TreeSplits {}", steps.len(), splits.len());
        return Err(trees.bad("NonSymmetricStepNodes", problem));
    }
    let (mut splits, mut steps, mut leaf_of) = (splits.as_slice(), steps, leaf_of.as_slice());
    let (mut out, mut rest, mut used) = (Vec::with_capacity(sizes.len()), leaves.as_slice(), 0);
    for (number, &size) in sizes.iter().enumerate() {
        let bad = |part: &str, problem: String| LoadError::malformed(Place::tree(number, part), problem);
        let own = usize::try_from(size).ok().and_then(|size| splits.split_off(..size));
        let own = own.ok_or_else(|| bad("TreeSizes", format!("is {size}, more than TreeSplits holds")))?;
        if oblivious {
            let count = (own.len() < 31).then(|| dimension.checked_mul(1 << own.len())).flatten();
            let values = count.and_then(|count| rest.split_off(..count));
            let values =
                values.ok_or_else(|| bad("LeafValues", format!("holds too few for a tree of depth {size}")))?;
            out.push(RawTree { shape: Shape::Oblivious(own.to_vec()), leaves: values.to_vec() });
            continue;
        }
        let (steps, leaf_of) = (steps.split_off(..own.len()), leaf_of.split_off(..own.len()));
        let nodes = Nodes { splits: own, steps: steps.unwrap_or_default(), leaf_of: leaf_of.unwrap_or_default() };
        let tree = nodes.tree(number, dimension, &leaves)?;
        used += tree.leaves.len();
        if used > leaves.len() {
            return Err(bad("LeafValues", "several trees use the same values".into()));
        }
        out.push(tree);
    }
    Ok(out)
}

/// A tree that is not oblivious. A node leads so many nodes further; one that leads nowhere is where a walk ends.
struct Nodes<'a> {
    splits: &'a [i32],
    steps: &'a [[u8; 4]],
    leaf_of: &'a [i32],
}

impl Nodes<'_> {
    fn tree(&self, number: usize, dimension: usize, leaves: &[f64]) -> Result<RawTree, LoadError> {
        let at = |node, part: &str, problem: String| LoadError::malformed(Place::node(number, node, part), problem);
        // Where each node's leaf is, among all leaves; only ends have one.
        let steps = || self.steps.iter().map(|&[a, b, c, d]| (u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d])));
        let ends = || steps().zip(self.leaf_of).filter(|((left, right), _)| *left == 0 || *right == 0);
        let (mut first, mut last) = (usize::MAX, 0);
        for (node, ((left, right), &leaf)) in steps().zip(self.leaf_of).enumerate() {
            if left == 0 || right == 0 {
                let place = usize::try_from(leaf).ok().filter(|&leaf| leaf + dimension <= leaves.len());
                let place = place.ok_or_else(|| {
                    at(node, "NonSymmetricNodeIdToLeafId", format!("is {leaf}, there are {} leaf values", leaves.len()))
                })?;
                (first, last) = (first.min(place), last.max(place));
            }
        }
        let count = ends().count();
        if count == 0 || last != first + (count - 1) * dimension {
            let problem = format!("the values of {count} leaves don't stand side by side");
            return Err(LoadError::malformed(Place::tree(number, "NonSymmetricNodeIdToLeafId"), problem));
        }
        let mut nodes = Vec::with_capacity(self.splits.len());
        let mut extra = Vec::new();
        for (node, (((left, right), &leaf), &split)) in steps().zip(self.leaf_of).zip(self.splits).enumerate() {
            let index = || (leaf as usize - first) / dimension;
            if (left == 0 || right == 0) && !(leaf as usize - first).is_multiple_of(dimension) {
                return Err(at(node, "NonSymmetricNodeIdToLeafId", format!("is {leaf}, within another leaf")));
            }
            if left == 0 && right == 0 {
                nodes.push(RawNode::Leaf(index() as u32));
                continue;
            }
            // A node that leads on to one side only is itself the end of the other.
            let mut child = |step: u16| {
                if step > 0 {
                    return (node + usize::from(step)) as u32;
                }
                extra.push(RawNode::Leaf(index() as u32));
                (self.splits.len() + extra.len() - 1) as u32
            };
            let (left_child, right_child) = (child(left), child(right));
            for (child, step) in [(left_child, left), (right_child, right)] {
                if step > 0 && child as usize >= self.splits.len() {
                    let problem = format!("leads to node {child}, the tree has {}", self.splits.len());
                    return Err(at(node, "NonSymmetricStepNodes", problem));
                }
            }
            nodes.push(RawNode::Split { split, left: left_child, right: right_child });
        }
        nodes.extend(extra);
        let values = leaves.get(first..last + dimension).unwrap_or_default().to_vec();
        Ok(RawTree { shape: Shape::Nodes(nodes), leaves: values })
    }
}
