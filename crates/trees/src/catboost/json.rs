//! CatBoost's JSON format.

use std::collections::{BTreeMap, BTreeSet};

use super::ctr::{Combination, Counts, CtrFeature, CtrKind, CtrTable, Formula};
use super::objective::{Fact, Facts};
use super::parts::{FloatFeature, OneHot, OtherFeature, Parts, Question, RawNode, RawTree, Shape};
use crate::document::{At, Value, json};
use crate::error::{LoadError, Place};
use crate::xgboost::OUTPUTS_MAX;

const INFO: &str = "features_info";
const FLOATS: &str = "features_info.float_features";
const CATS: &str = "features_info.categorical_features";
const CTRS: &str = "features_info.ctrs";

pub(super) fn load(bytes: &[u8]) -> Result<(Parts, Facts), LoadError> {
    let document = json::parse(bytes)?;
    let root = At::root(&document);
    let Some(info) = root.find("", INFO) else {
        return Err(LoadError::UnknownFormat { seen: crate::format::foreign_json(|key| root.find("", key).is_some()) });
    };
    for key in ["text_features", "embedding_features", "estimated_features"] {
        if let Some(list) = present(&info, INFO, key)
            && !list.list()?.is_empty()
        {
            return Err(LoadError::unsupported(list.place(), "a model of texts or embeddings"));
        }
    }
    let (scale, bias) = scale_and_bias(&root)?;
    let (dimension, trees) = trees(&root, bias.len())?;
    let bias = match bias.as_slice() {
        &[one] if dimension > 1 && one == 0.0 => vec![one; dimension],
        [] => vec![0.0; dimension],
        _ if bias.len() == dimension => bias,
        _ => {
            let problem = format!("holds {} numbers, leaves hold {dimension}", bias.len());
            return Err(LoadError::malformed(Place::part("scale_and_bias"), problem));
        }
    };
    let (cats, one_hots) = categorical_features(&info)?;
    let (ctrs, tables) = ctrs(&root, &info)?;
    let floats = float_features(&info)?;
    let parts = Parts { dimension, floats, cats, idle: Vec::new(), one_hots, ctrs, tables, trees, scale, bias };
    check_splits(&root, &parts)?;
    let facts = root.find("", "model_info");
    let find = |key: &str| {
        let value = facts.as_ref()?.value.find(key)?;
        Some(match value {
            Value::Str(text) => Fact::Text(text),
            Value::NumberText(text) => Fact::Text(text),
            other => Fact::Document(other),
        })
    };
    let facts = Facts::read(find, dimension)?;
    Ok((parts, facts))
}

/// A key that is there and not null.
fn present<'v, 'a>(map: &At<'v, 'a>, path: &'v str, key: &'v str) -> Option<At<'v, 'a>> {
    map.find(path, key).filter(|value| !matches!(value.value, Value::Null))
}

/// The maps of a list that may be missing.
fn maps<'v, 'a>(map: &At<'v, 'a>, path: &'v str, key: &'v str, name: &'v str) -> Result<Vec<At<'v, 'a>>, LoadError> {
    let Some(list) = present(map, path, key) else { return Ok(Vec::new()) };
    Ok(list.list()?.iter().map(|item| At::root(item).named(name, None)).collect())
}

fn number(at: &At<'_, '_>) -> Result<f64, LoadError> {
    match at.value {
        Value::NumberText(text) => text.parse().map_err(|_| at.malformed("is no number")),
        _ => Err(at.malformed(format!("is {}, not a number", at.value.kind()))),
    }
}

fn index(at: &At<'_, '_>) -> Result<i32, LoadError> {
    let seen = at.int()?;
    i32::try_from(seen).map_err(|_| at.malformed(format!("is {seen}, too large a number")))
}

/// Numbers written as float32: read as float64 first, as CatBoost does.
fn singles(at: &At<'_, '_>) -> Result<Vec<f32>, LoadError> {
    Ok(doubles(at)?.into_iter().map(|number| number as f32).collect())
}

fn doubles(at: &At<'_, '_>) -> Result<Vec<f64>, LoadError> {
    at.numbers()?.f64s().map_err(|problem| at.malformed(problem))
}

/// `[scale, [bias, …]]`, and `[scale, bias]` in older files.
fn scale_and_bias(root: &At<'_, '_>) -> Result<(f64, Vec<f64>), LoadError> {
    let Some(pair) = present(root, "", "scale_and_bias") else { return Ok((1.0, Vec::new())) };
    if let Value::List(items) = pair.value
        && let [scale, bias] = items.as_slice()
    {
        let (scale, bias) = (At::root(scale), At::root(bias));
        return Ok((number(&scale.named("scale_and_bias", None))?, doubles(&bias.named("scale_and_bias", None))?));
    }
    match doubles(&pair)?.as_slice() {
        &[scale, bias] => Ok((scale, vec![bias])),
        other => Err(pair.malformed(format!("holds {} numbers; a scale and a bias belong there", other.len()))),
    }
}

fn name(feature: &At<'_, '_>, path: &str) -> String {
    let named = |key| feature.find(path, key).and_then(|name| name.str().ok().map(str::to_owned));
    named("feature_id").filter(|name| !name.is_empty()).or_else(|| named("feature_name")).unwrap_or_default()
}

fn float_features(info: &At<'_, '_>) -> Result<Vec<FloatFeature>, LoadError> {
    let read = |feature: At<'_, '_>| {
        let nan_is_greatest = match present(&feature, FLOATS, "nan_value_treatment") {
            None => false,
            Some(treatment) => match treatment.str()? {
                "AsIs" | "AsFalse" => false,
                "AsTrue" => present(&feature, FLOATS, "has_nans").is_some_and(|v| matches!(v.value, Value::Bool(true))),
                other => {
                    let other: String = other.chars().take(40).collect();
                    return Err(treatment.malformed(format!("is `{other}`; `AsIs`, `AsFalse` and `AsTrue` are known")));
                }
            },
        };
        Ok(FloatFeature {
            index: index(&feature.get(FLOATS, "feature_index")?)?,
            flat: index(&feature.get(FLOATS, "flat_feature_index")?)?,
            name: name(&feature, FLOATS),
            nan_is_greatest,
            borders: present(&feature, FLOATS, "borders").map_or(Ok(Vec::new()), |borders| singles(&borders))?,
        })
    };
    maps(info, INFO, "float_features", FLOATS)?.into_iter().map(read).collect()
}

fn categorical_features(info: &At<'_, '_>) -> Result<(Vec<OtherFeature>, Vec<OneHot>), LoadError> {
    let (mut cats, mut one_hots) = (Vec::new(), Vec::new());
    for feature in maps(info, INFO, "categorical_features", CATS)? {
        let number = index(&feature.get(CATS, "feature_index")?)?;
        let flat = index(&feature.get(CATS, "flat_feature_index")?)?;
        cats.push(OtherFeature { index: number, flat, name: name(&feature, CATS) });
        if let Some(list) = present(&feature, CATS, "values") {
            let values = list.i64s()?.into_iter().map(|value| hash32(value, &list)).collect::<Result<_, _>>()?;
            one_hots.push(OneHot { index: number, values });
        }
    }
    Ok((cats, one_hots))
}

/// A category's hash: 32 bits, with or without a sign.
fn hash32(value: i64, at: &At<'_, '_>) -> Result<i32, LoadError> {
    let signed = i32::try_from(value).ok().or_else(|| u32::try_from(value).ok().map(|value| value as i32));
    signed.ok_or_else(|| at.malformed(format!("{value} is no hash of 32 bits")))
}

fn combination(elements: &[Value<'_>]) -> Result<Combination, LoadError> {
    const PATH: &str = "features_info.ctrs.elements";
    let mut out = Combination::default();
    for element in elements {
        let element = At::root(element).named(PATH, None);
        let cat = || index(&element.get(PATH, "cat_feature_index")?);
        let kind = element.get(PATH, "combination_element")?;
        match kind.str()? {
            "cat_feature_value" => out.cats.push(cat()?),
            "float_feature" => {
                let border = number(&element.get(PATH, "border")?)? as f32;
                out.floats.push((index(&element.get(PATH, "float_feature_index")?)?, border));
            }
            "cat_feature_exact_value" => {
                let value = element.get(PATH, "value")?;
                out.one_hots.push((cat()?, hash32(value.int()?, &value)?));
            }
            other => {
                let other: String = other.chars().take(40).collect();
                return Err(LoadError::unsupported(kind.place(), format!("combination element `{other}`")));
            }
        }
    }
    Ok(out)
}

fn ctrs(root: &At<'_, '_>, info: &At<'_, '_>) -> Result<(Vec<CtrFeature>, Vec<CtrTable>), LoadError> {
    let data = present(root, "", "ctr_data");
    let (mut features, mut tables, mut known) = (Vec::new(), Vec::new(), BTreeMap::new());
    let mut formulas = BTreeSet::new();
    let stored: BTreeMap<&str, &Value<'_>> = match data.as_ref().map(|data| data.value) {
        Some(Value::Map(entries)) => entries.iter().map(|(key, value)| (key.as_ref(), value)).collect(),
        _ => BTreeMap::new(),
    };
    for ctr in maps(info, INFO, "ctrs", CTRS)? {
        let kind = ctr.get(CTRS, "ctr_type")?;
        let text = kind.str()?;
        let known_kind = CtrKind::named(text).ok_or_else(|| {
            let text: String = text.chars().take(40).collect();
            LoadError::unsupported(kind.place(), format!("statistic `{text}`"))
        })?;
        let single = |key: &'static str| Ok::<f32, LoadError>(number(&ctr.get(CTRS, key)?)? as f32);
        let formula = Formula {
            border: ctr.get(CTRS, "target_border_idx")?.count(OUTPUTS_MAX)?,
            prior_numerator: single("prior_numerator")?,
            prior_denominator: single("prior_denomerator")?,
            shift: single("shift")?,
            scale: single("scale")?,
        };
        let identifier = ctr.get(CTRS, "identifier")?;
        let key = identifier.str()?;
        // Models of several targets have a table for each; under one name, only the last of them is in the file.
        if !formulas.insert((key, formula.key())) {
            let what = "JSON of a model with statistics of several targets (it holds one; save the model as CBM)";
            return Err(LoadError::unsupported(identifier.place(), what));
        }
        let table = match known.get(key) {
            Some(&table) => table,
            None => {
                let missing = || identifier.malformed("has no table in `ctr_data`");
                let value = stored.get(key).ok_or_else(missing)?;
                tables.push(ctr_table(&At::root(value).named("ctr_data", None), known_kind)?);
                known.insert(key, tables.len() - 1);
                tables.len() - 1
            }
        };
        features.push(CtrFeature {
            combination: combination(ctr.get(CTRS, "elements")?.list()?)?,
            table,
            formula,
            borders: present(&ctr, CTRS, "borders").map_or(Ok(Vec::new()), |borders| singles(&borders))?,
        });
    }
    Ok((features, tables))
}

/// `hash_map` holds a hash and its counts, and again; `hash_stride` says how many items that are.
fn ctr_table(table: &At<'_, '_>, kind: CtrKind) -> Result<CtrTable, LoadError> {
    const PATH: &str = "ctr_data";
    let stride = table.get(PATH, "hash_stride")?.count(OUTPUTS_MAX)?;
    let width = if kind.is_mean() { 2 } else { stride.saturating_sub(1) };
    if stride != width + 1 || width == 0 || (kind.is_count() && width != 1) {
        return Err(table.malformed(format!("hash_stride is {stride}, which is not that of {kind:?}")));
    }
    let map = table.get(PATH, "hash_map")?;
    let items = map.list()?;
    if !items.len().is_multiple_of(stride) {
        return Err(map.malformed(format!("holds {} items, no multiple of hash_stride, {stride}", items.len())));
    }
    let bad = |item: usize| map.malformed(format!("item {item} is no number that belongs there"));
    let text = |item: usize| match items.get(item) {
        Some(Value::Str(text)) => Ok(text.as_ref()),
        Some(Value::NumberText(text)) => Ok(*text),
        _ => Err(bad(item)),
    };
    let mut entries = Vec::with_capacity(items.len() / stride);
    let (mut numbers, mut means) = (Vec::new(), Vec::new());
    for (entry, first) in (0..items.len()).step_by(stride).enumerate() {
        entries.push((text(first)?.parse().map_err(|_| bad(first))?, entry as u32));
        let int = |item: usize| text(item)?.parse::<i32>().map_err(|_| bad(item));
        if kind.is_mean() {
            means.push((text(first + 1)?.parse::<f64>().map_err(|_| bad(first + 1))? as f32, int(first + 2)?));
        } else {
            for item in first + 1..first + stride {
                numbers.push(int(item)?);
            }
        }
    }
    let counts = if kind.is_mean() { Counts::Means(means) } else { Counts::Numbers(numbers) };
    let denominator = present(table, PATH, "counter_denominator").map_or(Ok(0), |denominator| index(&denominator))?;
    CtrTable::new(kind, entries, counts, width as i32, denominator).map_err(|problem| table.malformed(problem))
}

/// The trees, and how many numbers a leaf has.
fn trees(root: &At<'_, '_>, biases: usize) -> Result<(usize, Vec<RawTree>), LoadError> {
    let (list, oblivious) = match present(root, "", "oblivious_trees") {
        Some(list) => (list, true),
        None => (root.get("", "trees")?, false),
    };
    let mut out = Vec::new();
    let mut dimension = None;
    for (number, tree) in list.list()?.iter().enumerate() {
        let at = At::root(tree).named("trees", Some(number));
        let (shape, leaves, values) = if oblivious { oblivious_tree(&at)? } else { binary_tree(&at)? };
        let wanted = *dimension.get_or_insert(values / leaves);
        if wanted == 0 || wanted > OUTPUTS_MAX || wanted.checked_mul(leaves) != Some(values) {
            let problem = format!("{leaves} leaves hold {values} numbers");
            return Err(LoadError::malformed(Place::tree(number, "leaf_values"), problem));
        }
        out.push(shape);
    }
    Ok((dimension.unwrap_or(biases.max(1)), out))
}

/// A tree, how many leaves it has, and how many numbers they hold together.
type Counted = (RawTree, usize, usize);

fn oblivious_tree(tree: &At<'_, '_>) -> Result<Counted, LoadError> {
    let leaves = doubles(&tree.get("", "leaf_values")?)?;
    let mut splits = Vec::new();
    for split in maps(tree, "", "splits", "splits")? {
        let place = split.named("splits", tree.tree);
        splits.push(index(&place.get("splits", "split_index")?)?);
    }
    let count = u32::try_from(splits.len()).ok().filter(|&depth| depth < 31).map(|depth| 1usize << depth);
    let values = leaves.len();
    let Some(count) = count.filter(|&count| values >= count) else {
        return Err(tree.malformed(format!("leaf_values holds {values} numbers, too few for {} splits", splits.len())));
    };
    Ok((RawTree { shape: Shape::Oblivious(splits), leaves }, count, values))
}

fn binary_tree(tree: &At<'_, '_>) -> Result<Counted, LoadError> {
    let (mut nodes, mut leaves, mut count) = (Vec::new(), Vec::new(), 0);
    // A node that is still to be read, and whose child it is: the right one, or the left.
    let mut stack = vec![(*tree, None)];
    while let Some((node, parent)) = stack.pop() {
        let place = nodes.len() as u32;
        if let Some((parent, is_right)) = parent {
            match nodes.get_mut(parent) {
                Some(RawNode::Split { right, .. }) if is_right => *right = place,
                Some(RawNode::Split { left, .. }) => *left = place,
                _ => {}
            }
        }
        let Some(split) = present(&node, "", "split") else {
            let value = node.get("", "value")?;
            match value.value {
                Value::NumberText(_) => leaves.push(number(&value)?),
                _ => leaves.extend(doubles(&value)?),
            }
            nodes.push(RawNode::Leaf(count));
            count += 1;
            continue;
        };
        nodes.push(RawNode::Split { split: index(&split.get("split", "split_index")?)?, left: 0, right: 0 });
        stack.push((node.get("", "right")?, Some((place as usize, true))));
        stack.push((node.get("", "left")?, Some((place as usize, false))));
    }
    let values = leaves.len();
    Ok((RawTree { shape: Shape::Nodes(nodes), leaves }, count as usize, values))
}

/// A split says what it asks, and the number of the question: they must agree.
fn check_splits(root: &At<'_, '_>, parts: &Parts) -> Result<(), LoadError> {
    let questions = parts.questions();
    let trees = ["oblivious_trees", "trees"].iter().find_map(|key| present(root, "", key));
    let trees = trees.map(|trees| trees.list()).transpose()?.unwrap_or_default();
    for (number, tree) in trees.iter().enumerate() {
        let mut stack = vec![tree];
        while let Some(node) = stack.pop() {
            stack.extend(["left", "right"].iter().filter_map(|key| node.find(key)));
            let splits = match node.find("splits") {
                Some(Value::List(splits)) => splits.as_slice(),
                _ => node.find("split").map_or(&[][..], std::slice::from_ref),
            };
            for split in splits {
                check_split(&At::root(split).named("splits", Some(number)), &questions, parts)?;
            }
        }
    }
    Ok(())
}

fn check_split(split: &At<'_, '_>, questions: &[Question], parts: &Parts) -> Result<(), LoadError> {
    let at = index(&split.get("splits", "split_index")?)?;
    let question = usize::try_from(at).ok().and_then(|at| questions.get(at));
    let int = |key| split.find("splits", key).map(|value| value.int()).transpose();
    let agrees = match question {
        None => false,
        Some(&Question::Border { float, border }) => {
            let index = parts.floats.get(float).map(|feature| i64::from(feature.index));
            let said = split.find("splits", "border").map(|border| number(&border)).transpose()?;
            int("float_feature_index")?.is_none_or(|said| Some(said) == index)
                && said.is_none_or(|said| said as f32 == border)
                && split.find("splits", "value").is_none()
        }
        Some(&Question::Value { index, value }) => {
            int("cat_feature_index")?.is_none_or(|said| said == i64::from(index))
                && int("value")?.is_none_or(|said| said as i32 == value)
                && split.find("splits", "border").is_none()
        }
        Some(Question::Ctr { .. }) => int("float_feature_index")?.is_none() && int("cat_feature_index")?.is_none(),
    };
    if agrees {
        return Ok(());
    }
    Err(split.malformed(format!("question {at} of {} is not what the split asks", questions.len())))
}
