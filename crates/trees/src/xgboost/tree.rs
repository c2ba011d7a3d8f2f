//! One tree of an XGBoost model.

use super::Header;
use crate::document::At;
use crate::error::{LoadError, Place};
use crate::forest::{CategorySet, Node, Tree};

/// Category codes are below 2^24, so that a float32 holds them exactly.
const CATEGORY_MAX: i64 = (1 << 24) - 1;

/// The columns of a tree, all of one length.
struct Columns {
    left: Vec<i64>,
    right: Vec<i64>,
    feature: Vec<i64>,
    condition: Vec<f32>,
    default_left: Vec<i64>,
    /// 1 for a categorical split; empty in files without categories.
    split_type: Vec<i64>,
}

pub(super) fn load(tree: &At<'_, '_>, output: u32, header: &Header) -> Result<Tree<f32>, LoadError> {
    let columns = columns(tree)?;
    let (sets, set_of) = category_sets(tree, columns.left.len())?;
    let width = match tree.get("", "tree_param")?.find("tree_param", "size_leaf_vector") {
        Some(width) => width.count(usize::MAX)?,
        None => 1,
    };
    let vectors = if width > 1 { Some(vectors(tree, width, header, &columns)?) } else { None };
    let number = tree.tree.unwrap_or(0);
    let mut nodes = Vec::with_capacity(columns.left.len());
    for (at, &left) in columns.left.iter().enumerate() {
        let index = |name: &str, value: i64| {
            u32::try_from(value).map_err(|_| LoadError::malformed(Place::node(number, at, name), format!("is {value}")))
        };
        if left == -1 {
            let index = match &vectors {
                // Since 3.1 the vectors of leaves stand by themselves, and the right child says which is meant.
                Some(vectors) if vectors.by_right_child => index("right_children", columns.right[at])?,
                _ => at as u32,
            };
            nodes.push(Node::Leaf { value: columns.condition[at], index });
            continue;
        }
        let (left, right) = (index("left_children", left)?, index("right_children", columns.right[at])?);
        let feature = index("split_indices", columns.feature[at])?;
        let missing_left = columns.default_left[at] != 0;
        nodes.push(match columns.split_type.get(at) {
            None | Some(0) => {
                let threshold = columns.condition[at];
                Node::Numeric { feature, threshold, missing_left, zero_missing: false, left, right }
            }
            // XGBoost sends the categories of the set to the right.
            Some(1) => Node::Category { feature, set: set_of[at], found_left: false, missing_left, left, right },
            Some(other) => {
                let place = Place::node(number, at, "split_type");
                return Err(LoadError::malformed(
                    place,
                    format!("is {other}; 0 (numeric) and 1 (categorical) are known"),
                ));
            }
        });
    }
    Ok(Tree {
        nodes,
        output,
        sets,
        vectors: vectors.map(|v| v.values).unwrap_or_default(),
        linear: Vec::new(),
        depth: 0,
    })
}

/// The sum of Hessians of each node.
pub(super) fn covers(tree: &At<'_, '_>, nodes: usize) -> Result<Vec<f64>, LoadError> {
    let list = tree.get("", "sum_hessian")?;
    let values = list.f32s()?;
    if values.len() != nodes {
        return Err(list.malformed(format!("holds {} numbers, the tree has {nodes} nodes", values.len())));
    }
    Ok(values.into_iter().map(f64::from).collect())
}

fn columns(tree: &At<'_, '_>) -> Result<Columns, LoadError> {
    let param = tree.get("", "tree_param")?;
    let left = tree.get("", "left_children")?.i64s()?;
    if let Some(claimed) = param.find("tree_param", "num_nodes")
        && claimed.int()? != left.len() as i64
    {
        return Err(claimed.malformed(format!("is {}, left_children holds {} numbers", claimed.int()?, left.len())));
    }
    if left.len() > u32::MAX as usize {
        return Err(tree.malformed("the tree has more than 2^32 nodes"));
    }
    let same = |key: &'static str, length: usize| -> Result<(), LoadError> {
        if length == left.len() {
            return Ok(());
        }
        Err(tree.get("", key)?.malformed(format!("holds {length} numbers, left_children holds {}", left.len())))
    };
    let ints = |key: &'static str| -> Result<Vec<i64>, LoadError> {
        let values = tree.get("", key)?.i64s()?;
        same(key, values.len())?;
        Ok(values)
    };
    let condition = tree.get("", "split_conditions")?.f32s()?;
    same("split_conditions", condition.len())?;
    let split_type = if tree.find("", "split_type").is_some() { ints("split_type")? } else { Vec::new() };
    Ok(Columns {
        right: ints("right_children")?,
        feature: ints("split_indices")?,
        default_left: ints("default_left")?,
        left,
        condition,
        split_type,
    })
}

/// The category sets of a tree, and which belongs to each node. A categorical split without a set has an empty one.
fn category_sets(tree: &At<'_, '_>, nodes: usize) -> Result<(Vec<CategorySet>, Vec<u32>), LoadError> {
    let split_types = tree.find("", "split_type").map(|types| types.i64s()).transpose()?.unwrap_or_default();
    if split_types.iter().all(|&t| t == 0) {
        return Ok((Vec::new(), Vec::new()));
    }
    let list = tree.get("", "categories_nodes")?;
    let owners = list.i64s()?;
    let (segments, sizes) = (tree.get("", "categories_segments")?.i64s()?, tree.get("", "categories_sizes")?.i64s()?);
    let categories = tree.get("", "categories")?.i64s()?;
    if segments.len() != owners.len() || sizes.len() != owners.len() {
        return Err(list.malformed("categories_nodes, categories_segments and categories_sizes differ in length"));
    }
    let (mut sets, mut set_of) = (vec![CategorySet::of(Vec::new())], vec![0u32; nodes]);
    let mut used = 0usize;
    for ((&owner, &from), &size) in owners.iter().zip(&segments).zip(&sizes) {
        let bad = |problem: String| {
            let node = usize::try_from(owner).ok();
            LoadError::malformed(Place { part: "categories".into(), tree: tree.tree, node }, problem)
        };
        let slot = usize::try_from(owner).ok().and_then(|owner| set_of.get_mut(owner));
        let Some(slot) = slot else { return Err(bad(format!("categories_nodes names node {owner} of {nodes}"))) };
        let range = usize::try_from(from).ok().zip(usize::try_from(size).ok());
        let codes = range.and_then(|(from, size)| categories.get(from..from.checked_add(size)?));
        let Some(codes) = codes else {
            return Err(bad(format!("{size} categories from {from} are meant, there are {}", categories.len())));
        };
        // Segments that overlap could multiply a small file into much memory.
        used += codes.len();
        if used > categories.len() {
            return Err(bad("the sets of the nodes overlap".into()));
        }
        if let Some(code) = codes.iter().find(|code| !(0..=CATEGORY_MAX).contains(*code)) {
            return Err(bad(format!("category code {code}; 0 to {CATEGORY_MAX} is allowed")));
        }
        *slot = sets.len() as u32;
        sets.push(CategorySet::of(codes.iter().map(|&code| code as u32).collect()));
    }
    Ok((sets, set_of))
}

struct Vectors {
    values: Vec<f32>,
    by_right_child: bool,
}

/// The vectors of a tree whose leaves give all outputs at once.
fn vectors(tree: &At<'_, '_>, width: usize, header: &Header, columns: &Columns) -> Result<Vectors, LoadError> {
    if width != header.outputs {
        let problem = format!("size_leaf_vector is {width}, the model has {} outputs", header.outputs);
        return Err(LoadError::malformed(Place::tree(tree.tree.unwrap_or(0), "tree_param"), problem));
    }
    let apart = tree.find("", "leaf_weights");
    let list = apart.map_or_else(|| tree.get("", "base_weights"), Ok)?;
    let values = list.f32s()?;
    let leaves = columns.left.iter().filter(|&&left| left == -1).count();
    let wanted = if apart.is_some() { leaves } else { columns.left.len() };
    if values.len() != wanted * width {
        return Err(list.malformed(format!("holds {} numbers, {wanted} vectors of {width} are meant", values.len())));
    }
    Ok(Vectors { values, by_right_child: apart.is_some() })
}
