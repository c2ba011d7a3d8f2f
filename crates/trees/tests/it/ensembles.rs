//! Random ensembles, written as model files: the fast layout gives the plain evaluator's bits, whatever the numbers.

use std::fmt::Write as _;

use millstream_trees::{Instructions, Layout, LoadOptions, Model, Output, Rows, Scratch};
use proptest::prelude::*;

use crate::corpus::ways;
use crate::memory;

const FEATURES: usize = 24;

/// A tree as nested splits.
#[derive(Clone, Debug)]
enum Node {
    Leaf(f64),
    Split { feature: usize, threshold: f64, missing_left: bool, missing_kind: u8, children: Box<(Node, Node)> },
}

/// Numbers where things go wrong: zeros, denormals, infinities, the zero threshold of LightGBM, neighbours of thresholds.
const SPECIAL: [f64; 20] = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.1,
    1e-35,
    -1e-35,
    1.0000000180025095e-35,
    -1.0000000180025095e-35,
    1.1e-35,
    1e-40,
    -1e-45,
    5e-324,
    3.4e38,
    -3.4e38,
    1e300,
    f64::INFINITY,
    f64::NEG_INFINITY,
    1.0000000000000002,
    0.9999999403953552,
];

fn number() -> impl Strategy<Value = f64> {
    let special = || prop::sample::select(&SPECIAL);
    prop_oneof![
        6 => special(),
        4 => -2.0..2.0f64,
        // One step beside a number, in either type; several float64 that round to one float32.
        1 => special().prop_map(f64::next_up),
        1 => special().prop_map(f64::next_down),
        1 => special().prop_map(|x| f64::from((x as f32).next_up())),
        1 => special().prop_map(|x| f64::from((x as f32).next_down())),
        1 => (0..40i32).prop_map(|k| 1.0 + f64::from(k) * 1e-9),
    ]
}

fn tree(depth: u32, size: u32) -> impl Strategy<Value = Node> {
    let leaf = (-1.0..1.0f64).prop_map(Node::Leaf);
    leaf.prop_recursive(depth, size, 2, |inner| {
        (0..FEATURES, number(), any::<bool>(), 0..3u8, inner.clone(), inner).prop_map(
            |(feature, threshold, missing_left, missing_kind, left, right)| Node::Split {
                feature,
                threshold,
                missing_left,
                missing_kind,
                children: Box::new((left, right)),
            },
        )
    })
}

fn rows() -> impl Strategy<Value = Vec<f64>> {
    let value = prop_oneof![4 => number(), 1 => Just(f64::NAN)];
    prop::collection::vec(value, 70 * FEATURES)
}

/// The columns of an XGBoost tree.
#[derive(Default)]
struct Columns {
    left: Vec<i64>,
    right: Vec<i64>,
    feature: Vec<usize>,
    condition: Vec<f32>,
    default_left: Vec<u8>,
}

impl Columns {
    fn add(&mut self, node: &Node) -> i64 {
        let at = self.left.len();
        let (feature, condition, missing_left) = match node {
            Node::Leaf(value) => (0, *value, false),
            Node::Split { feature, threshold, missing_left, .. } => (*feature, *threshold, *missing_left),
        };
        self.left.push(-1);
        self.right.push(-1);
        self.feature.push(feature);
        self.condition.push(condition as f32);
        self.default_left.push(u8::from(missing_left));
        if let Node::Split { children, .. } = node {
            self.left[at] = self.add(&children.0);
            self.right[at] = self.add(&children.1);
        }
        at as i64
    }
}

fn xgboost(trees: &[Node], classes: usize) -> String {
    let mut list = Vec::new();
    for tree in trees {
        let mut c = Columns::default();
        c.add(tree);
        let conditions: Vec<String> = c.condition.iter().map(|v| v.to_string().replace("inf", "Infinity")).collect();
        list.push(format!(
            r#"{{"left_children":{:?},"right_children":{:?},"split_indices":{:?},"split_conditions":[{}],"default_left":{:?},"tree_param":{{}}}}"#,
            c.left, c.right, c.feature, conditions.join(","), c.default_left
        ));
    }
    let info: Vec<usize> = (0..trees.len()).map(|tree| tree % classes).collect();
    let objective = if classes > 1 { "multi:softprob" } else { "binary:logistic" };
    format!(
        r#"{{"learner":{{"gradient_booster":{{"name":"gbtree","model":{{"trees":[{}],"tree_info":{info:?}}}}},
        "learner_model_param":{{"base_score":"0.3","num_class":"{classes}","num_feature":"{FEATURES}"}},"objective":{{"name":"{objective}"}}}},"version":[2,0,0]}}"#,
        list.join(",")
    )
}

/// The columns of a LightGBM tree: splits and leaves are numbered apart.
#[derive(Default)]
struct Lines {
    left: Vec<i64>,
    right: Vec<i64>,
    feature: Vec<usize>,
    threshold: Vec<f64>,
    decision: Vec<u8>,
    leaves: Vec<f64>,
}

impl Lines {
    fn add(&mut self, node: &Node) -> i64 {
        match node {
            Node::Leaf(value) => {
                self.leaves.push(*value);
                -(self.leaves.len() as i64)
            }
            Node::Split { feature, threshold, missing_left, missing_kind, children } => {
                let at = self.left.len();
                self.left.push(0);
                self.right.push(0);
                self.feature.push(*feature);
                self.threshold.push(*threshold);
                self.decision.push(u8::from(*missing_left) * 2 + missing_kind * 4);
                self.left[at] = self.add(&children.0);
                self.right[at] = self.add(&children.1);
                at as i64
            }
        }
    }
}

fn lightgbm(trees: &[Node], classes: usize) -> String {
    fn join<T: ToString>(list: &[T]) -> String {
        list.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }
    let objective = if classes > 1 { format!("multiclass num_class:{classes}") } else { "binary sigmoid:1".into() };
    let names: Vec<String> = (0..FEATURES).map(|i| format!("f{i}")).collect();
    let mut text = format!(
        "tree\nversion=v4\nnum_class={classes}\nnum_tree_per_iteration={classes}\nmax_feature_idx={}\nobjective={objective}\nfeature_names={}\n\n",
        FEATURES - 1,
        join(&names)
    );
    for (number, tree) in trees.iter().enumerate() {
        let mut l = Lines::default();
        l.add(tree);
        let _ = writeln!(
            text,
            "Tree={number}\nnum_leaves={}\nnum_cat=0\nsplit_feature={}",
            l.leaves.len(),
            join(&l.feature)
        );
        let _ = writeln!(text, "threshold={}\ndecision_type={}", join(&l.threshold), join(&l.decision));
        let _ = writeln!(
            text,
            "left_child={}\nright_child={}\nleaf_value={}\n",
            join(&l.left),
            join(&l.right),
            join(&l.leaves)
        );
    }
    text + "end of trees\n"
}

fn predict(model: &Model, rows: &[f64], output: Output, batch: usize) -> Vec<u64> {
    let (outputs, mut scratch) = (model.outputs(output), Scratch::new());
    let mut out = vec![0.0; rows.len() / FEATURES * outputs];
    for (rows, out) in rows.chunks(batch * FEATURES).zip(out.chunks_mut(batch * outputs)) {
        model.predict(Rows::F64(rows), output, out, &mut scratch).unwrap();
    }
    out.into_iter().map(f64::to_bits).collect()
}

/// Checks every layout against the plain evaluator; gives the layouts that were used.
fn check(text: &str, rows: &[f64]) -> Vec<&'static str> {
    let load = |layout, instructions| {
        Model::from_bytes(text.as_bytes(), &LoadOptions { layout, instructions, ..LoadOptions::default() })
    };
    let plain = load(Layout::Plain, Instructions::Auto).unwrap();
    let wanted = [Output::Raw, Output::Prediction, Output::Class].map(|output| predict(&plain, rows, output, 1));
    let mut used = Vec::new();
    for (layout, instructions) in ways() {
        let Ok(fast) = load(layout, instructions) else {
            assert_ne!(layout, Layout::Auto);
            continue;
        };
        used.push(fast.layout());
        for (output, wanted) in [Output::Raw, Output::Prediction, Output::Class].into_iter().zip(&wanted) {
            for batch in [1, 3, 30, 1000] {
                let seen = predict(&fast, rows, output, batch);
                assert_eq!(&seen, wanted, "{} {instructions:?}, {output:?}, batch {batch}", fast.layout());
            }
        }
        check_kinds_of_rows(&fast, rows);
    }
    used
}

/// The same rows as float32, as float64 and as columns.
fn check_kinds_of_rows(model: &Model, rows: &[f64]) {
    let count = rows.len() / FEATURES;
    let mut scratch = Scratch::new();
    let mut raw = |rows: Rows<'_>| {
        let mut out = vec![0.0; count * model.outputs(Output::Raw)];
        model.predict(rows, Output::Raw, &mut out, &mut scratch).unwrap();
        out.into_iter().map(f64::to_bits).collect::<Vec<_>>()
    };
    let columns: Vec<Vec<f64>> = (0..FEATURES).map(|f| rows[f..].iter().step_by(FEATURES).copied().collect()).collect();
    let columns: Vec<&[f64]> = columns.iter().map(Vec::as_slice).collect();
    assert_eq!(raw(Rows::Columns(&columns)), raw(Rows::F64(rows)), "columns differ from rows");
    let singles: Vec<f32> = rows.iter().map(|&x| x as f32).collect();
    let doubles: Vec<f64> = singles.iter().map(|&x| f64::from(x)).collect();
    assert_eq!(raw(Rows::F32(&singles)), raw(Rows::F64(&doubles)), "float32 rows differ from the same rows in float64");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn small_trees_in_every_layout_give_the_plain_bits(
        trees in prop::collection::vec(tree(6, 40), 3..14),
        repeat in 1..8usize,
        classes in 1..4usize,
        rows in rows(),
    ) {
        // More trees than a group of any layout holds.
        let trees: Vec<Node> = trees.iter().cycle().take(trees.len() * repeat).cloned().collect();
        let whole = trees.len() / classes * classes;
        check(&xgboost(&trees[..whole], classes), &rows);
        check(&lightgbm(&trees[..whole], classes), &rows);
    }

    #[test]
    fn large_trees_in_every_layout_give_the_plain_bits(
        trees in prop::collection::vec(tree(12, 300), 1..5),
        rows in rows(),
    ) {
        check(&xgboost(&trees, 1), &rows);
        check(&lightgbm(&trees, 1), &rows);
    }
}

#[test]
fn each_layout_is_used_where_it_can_be() {
    // A full tree of so many levels, on every feature in turn.
    fn full(levels: usize, seed: usize) -> Node {
        if levels == 0 {
            return Node::Leaf(seed as f64 * 0.37 % 1.0);
        }
        let children = Box::new((full(levels - 1, seed * 2 + 1), full(levels - 1, seed * 2 + 2)));
        let threshold = (seed * 7919 % 1009) as f64 / 1009.0;
        let (missing_left, missing_kind) = (seed.is_multiple_of(2), (seed % 3) as u8);
        Node::Split { feature: seed % FEATURES, threshold, missing_left, missing_kind, children }
    }
    let rows: Vec<f64> =
        (0..70 * FEATURES).map(|k| if k % 11 == 0 { f64::NAN } else { (k * 31 % 1009) as f64 / 1009.0 }).collect();
    let mut used = std::collections::BTreeSet::new();
    for levels in 1..=9 {
        for count in [1, 33, 70] {
            let trees: Vec<Node> = (0..count).map(|tree| full(levels, tree)).collect();
            used.extend(check(&xgboost(&trees, 1), &rows));
            used.extend(check(&lightgbm(&trees, 1), &rows));
        }
    }
    assert!(used.contains("interleaved") && used.contains("table"), "{used:?}");
    if Instructions::Avx512.available() {
        assert!(used.contains("perfect") && used.contains("scorer"), "{used:?}");
    }
}

#[test]
fn a_prediction_allocates_nothing_once_warm() {
    let leaf = |v| Box::new((Node::Leaf(v), Node::Leaf(-v)));
    let split = |f, v| Node::Split { feature: f, threshold: v, missing_left: true, missing_kind: 2, children: leaf(v) };
    let trees: Vec<Node> = (0..30).map(|i| split(i % FEATURES, i as f64 / 30.0)).collect();
    let rows = vec![0.25; 300 * FEATURES];
    for text in [xgboost(&trees, 1), lightgbm(&trees, 1), xgboost(&trees, 3), lightgbm(&trees, 3)] {
        for layout in [Layout::Auto, Layout::Plain] {
            let model = Model::from_bytes(text.as_bytes(), &LoadOptions { layout, ..LoadOptions::default() }).unwrap();
            let mut scratch = Scratch::new();
            for output in [Output::Class, Output::Prediction, Output::Raw] {
                let mut out = vec![0.0; 300 * model.outputs(output)];
                let mut run = || model.predict(Rows::F64(&rows), output, &mut out, &mut scratch).unwrap();
                run();
                assert_eq!(memory::allocations(run).1, 0, "{output:?}, {layout:?}");
            }
        }
    }
}

#[test]
fn slices_that_do_not_fit_are_refused() {
    let model = Model::from_bytes(xgboost(&[Node::Leaf(1.0)], 1).as_bytes(), &LoadOptions::default()).unwrap();
    let mut scratch = Scratch::new();
    let message = |rows: &[f64], out: usize, scratch: &mut Scratch| {
        model.predict(Rows::F64(rows), Output::Raw, &mut vec![0.0; out], scratch).map_err(|e| e.to_string())
    };
    assert_eq!(message(&[0.0; 7], 1, &mut scratch).unwrap_err(), "7 values are no whole number of rows of 24 features");
    let rows = [0.0; 2 * FEATURES];
    assert_eq!(message(&rows, 1, &mut scratch).unwrap_err(), "the output holds 1 numbers, 2 rows of 1 need 2");
    assert_eq!(message(&[], 0, &mut scratch), Ok(()));
    let columns: Vec<&[f64]> = vec![&rows[..2]; FEATURES - 1];
    let error = model.predict(Rows::Columns(&columns), Output::Raw, &mut [0.0; 2], &mut scratch).unwrap_err();
    assert_eq!(error.to_string(), "23 columns of 2 to 2 values, the model has 24 features");
}
