//! Random ensembles, written as model files: the fast layout gives the plain evaluator's bits, whatever the numbers.

use std::fmt::Write as _;

use millstream_trees::{Layout, LoadOptions, Model, Output, Rows, Scratch};
use proptest::prelude::*;

use crate::memory;

const FEATURES: usize = 5;

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
    prop_oneof![3 => prop::sample::select(&SPECIAL), 2 => -2.0..2.0f64]
}

fn tree() -> impl Strategy<Value = Node> {
    let leaf = (-1.0..1.0f64).prop_map(Node::Leaf);
    leaf.prop_recursive(6, 40, 2, |inner| {
        // The layout refuses −∞ as a threshold; nothing is left of it.
        let finite = number().prop_map(|threshold| threshold.max(f64::MIN));
        (0..FEATURES, finite, any::<bool>(), 0..3u8, inner.clone(), inner).prop_map(
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
        self.condition.push((condition as f32).max(f32::MIN));
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

fn check(text: &str, rows: &[f64]) {
    let fast = Model::from_bytes(text.as_bytes(), &LoadOptions::default()).unwrap();
    let plain =
        Model::from_bytes(text.as_bytes(), &LoadOptions { layout: Layout::Plain, ..LoadOptions::default() }).unwrap();
    assert_eq!((fast.layout(), plain.layout()), ("interleaved", "plain"));
    for output in [Output::Raw, Output::Prediction, Output::Class] {
        let wanted = predict(&plain, rows, output, 1);
        for batch in [1, 3, 1000] {
            assert_eq!(predict(&fast, rows, output, batch), wanted, "{output:?}, batch {batch}");
        }
    }
    let singles: Vec<f32> = rows.iter().map(|&x| x as f32).collect();
    let doubles: Vec<f64> = singles.iter().map(|&x| f64::from(x)).collect();
    let (mut a, mut b) = (vec![0.0; rows.len() / FEATURES * fast.outputs(Output::Raw)], Vec::new());
    b.resize(a.len(), 0.0);
    fast.predict(Rows::F32(&singles), Output::Raw, &mut a, &mut Scratch::new()).unwrap();
    fast.predict(Rows::F64(&doubles), Output::Raw, &mut b, &mut Scratch::new()).unwrap();
    assert!(
        a.iter().zip(&b).all(|(a, b)| a.to_bits() == b.to_bits()),
        "float32 rows differ from the same rows in float64"
    );
}

proptest! {
    #[test]
    fn the_fast_layout_gives_the_plain_bits(
        trees in prop::collection::vec(tree(), 3..14),
        classes in 1..4usize,
        rows in rows(),
    ) {
        let whole = trees.len() / classes * classes;
        check(&xgboost(&trees[..whole], classes), &rows);
        check(&lightgbm(&trees[..whole], classes), &rows);
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
    assert_eq!(message(&[0.0; 7], 1, &mut scratch).unwrap_err(), "7 values are no whole number of rows of 5 features");
    assert_eq!(message(&[0.0; 10], 1, &mut scratch).unwrap_err(), "the output holds 1 numbers, 2 rows of 1 need 2");
    assert_eq!(message(&[], 0, &mut scratch), Ok(()));
}
