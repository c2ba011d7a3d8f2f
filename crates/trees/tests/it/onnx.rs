//! ONNX graphs written by hand: what is said about those that are refused, and how much memory hostile ones take.

use millstream_trees::{LoadOptions, Model, Output, Rows, Scratch};

use crate::memory;

/// A message of protocol buffers, as it is written.
#[derive(Clone, Default)]
struct Message(Vec<u8>);

impl Message {
    fn number(mut self, field: u64, value: i64) -> Self {
        self.varint(field << 3);
        self.varint(value.cast_unsigned());
        self
    }

    fn bytes(mut self, field: u64, bytes: &[u8]) -> Self {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
        self
    }

    fn text(self, field: u64, text: &str) -> Self {
        self.bytes(field, text.as_bytes())
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

fn ints(name: &str, values: &[i64]) -> Message {
    values.iter().fold(Message::default().text(1, name), |message, &value| message.number(8, value))
}

fn floats(name: &str, values: &[f32]) -> Message {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    Message::default().text(1, name).bytes(7, &bytes)
}

fn texts(name: &str, values: &[&str]) -> Message {
    values.iter().fold(Message::default().text(1, name), |message, value| message.text(9, value))
}

fn node(op: &str, domain: &str, inputs: &[&str], outputs: &[&str], attributes: &[Message]) -> Message {
    let message = inputs.iter().fold(Message::default(), |message, input| message.text(1, input));
    let message = outputs.iter().fold(message, |message, output| message.text(2, output));
    let message = message.text(3, &format!("the_{op}")).text(4, op).text(7, domain);
    attributes.iter().fold(message, |message, attribute| message.bytes(5, &attribute.0))
}

fn value(field: u64, name: &str, elements: i64, columns: i64) -> (u64, Message) {
    let dim = |size| Message::default().number(1, size);
    let shape = Message::default().bytes(1, &dim(0).0).bytes(1, &dim(columns).0);
    let tensor = Message::default().number(1, elements).bytes(2, &shape.0);
    (field, Message::default().text(1, name).bytes(2, &Message::default().bytes(1, &tensor.0).0))
}

fn model(nodes: &[Message], values: &[(u64, Message)]) -> Vec<u8> {
    let graph = nodes.iter().fold(Message::default(), |graph, node| graph.bytes(1, &node.0));
    let graph = values.iter().fold(graph, |graph, (field, value)| graph.bytes(*field, &value.0));
    Message::default()
        .number(1, 8)
        .bytes(7, &graph.0)
        .bytes(8, &Message::default().text(1, "ai.onnx.ml").number(2, 3).0)
        .0
}

const FLOAT: i64 = 1;

/// A tree of one split, with attributes in the place of those it would have.
fn stump(replaced: Vec<Message>) -> Vec<u8> {
    let name = |message: &Message| message.0[2..2 + message.0[1] as usize].to_vec();
    let mut attributes = vec![
        ints("nodes_treeids", &[7, 7, 7]),
        ints("nodes_nodeids", &[10, 11, 12]),
        ints("nodes_featureids", &[1, 0, 0]),
        texts("nodes_modes", &["BRANCH_GT", "LEAF", "LEAF"]),
        floats("nodes_values", &[2.0, 0.0, 0.0]),
        ints("nodes_truenodeids", &[11, 0, 0]),
        ints("nodes_falsenodeids", &[12, 0, 0]),
        ints("target_treeids", &[7, 7]),
        ints("target_nodeids", &[11, 12]),
        ints("target_ids", &[0, 0]),
        floats("target_weights", &[1.5, -1.5]),
        Message::default().text(1, "n_targets").number(3, 1),
    ];
    for other in replaced {
        attributes.retain(|attribute| name(attribute) != name(&other));
        attributes.push(other);
    }
    let tree = node("TreeEnsembleRegressor", "ai.onnx.ml", &["X"], &["Y"], &attributes);
    model(&[tree], &[value(11, "X", FLOAT, 2), value(12, "Y", FLOAT, 1)])
}

fn load(bytes: &[u8]) -> Result<Model, String> {
    let (loaded, peak) = memory::peak(|| Model::from_bytes(bytes, &LoadOptions::default()));
    let bound = (64 << 20) + 100 * bytes.len();
    assert!(peak <= bound, "{peak} bytes for a file of {}", bytes.len());
    loaded.map_err(|error| error.to_string())
}

fn predict(model: &Model, row: &[f64]) -> Vec<f64> {
    let mut out = vec![0.0; model.outputs(Output::Prediction)];
    model.predict(Rows::F64(row), Output::Prediction, &mut out, &mut Scratch::new()).unwrap();
    out
}

#[test]
fn a_tree_predicts() {
    let model = load(&stump(vec![])).unwrap();
    assert_eq!(model.description().to_string(), "onnx regressor, 1 trees, depth 1");
    for (x, wanted) in [(2.0, -1.5), (2.0000001, -1.5), (2.0000003, 1.5), (f64::INFINITY, 1.5), (f64::NAN, -1.5)] {
        assert_eq!(predict(&model, &[0.0, x]), [wanted], "{x}");
    }
}

#[test]
fn messages_name_the_node_and_the_tree() {
    let cases = [
        (
            ints("nodes_truenodeids", &[99, 0, 0]),
            "tree 0, node 10, node 0 `the_TreeEnsembleRegressor` (TreeEnsembleRegressor), nodes_truenodeids: tree 7 has no node 99",
        ),
        (ints("nodes_truenodeids", &[10, 0, 0]), "children: the node has two parents, or is its own ancestor"),
        (
            ints("nodes_truenodeids", &[12, 0, 0]),
            "tree 0, node 12, node 0 `the_TreeEnsembleRegressor` (TreeEnsembleRegressor), children: the node has two parents",
        ),
        (ints("nodes_featureids", &[2, 0, 0]), "nodes_featureids: splits on feature 2, its input has 2"),
        (ints("nodes_featureids", &[-1, 0, 0]), "nodes_featureids: splits on feature -1"),
        (ints("nodes_nodeids", &[10, 11, 11]), "nodes_nodeids: node 11 of tree 7 is there twice"),
        (texts("nodes_modes", &["BRANCH_IN", "LEAF", "LEAF"]), "nodes_modes: is `BRANCH_IN`, no mode that is known"),
        (texts("nodes_modes", &["LEAF"]), "nodes_modes: holds 1 items, 3 belong here"),
        (ints("target_ids", &[0, 1]), "target_ids: is 1; 0 to 0 is allowed"),
        (floats("base_values", &[1.0, 2.0]), "base_values: holds 2 numbers for 1 targets"),
        (
            Message::default().text(1, "n_targets").number(3, 0),
            "n_targets: 0 targets or classes; 1 to 65536 is allowed",
        ),
        (Message::default().text(1, "post_transform").text(4, "TANH"), "post_transform: is `TANH`"),
    ];
    for (attribute, wanted) in cases {
        let seen = load(&stump(vec![attribute])).unwrap_err();
        assert!(seen.contains(wanted), "`{seen}` should say `{wanted}`");
    }
}

#[test]
fn an_operator_that_is_not_known_is_named_if_it_is_needed() {
    let odd = node("FancyOp", "", &["X"], &["Z"], &[]);
    let values = [value(11, "X", FLOAT, 2), value(12, "Z", FLOAT, 2)];
    let seen = load(&model(std::slice::from_ref(&odd), &values)).unwrap_err();
    assert!(seen.starts_with("node 0 `the_FancyOp` (FancyOp): this operator (casts, scaling"), "{seen}");
    let seen = load(&model(&[node("Abs", "com.example", &["X"], &["Z"], &[])], &values)).unwrap_err();
    assert!(seen.ends_with("an operator of domain `com.example` is not supported"), "{seen}");
    let needed = node("Neg", "", &["X"], &["Y"], &[]);
    let values = [value(11, "X", FLOAT, 2), value(12, "Y", FLOAT, 2)];
    assert_eq!(predict(&load(&model(&[odd, needed], &values)).unwrap(), &[1.0, -2.0]), [-1.0, 2.0]);
    let seen = load(&model(&[], &[value(11, "X", FLOAT, 2), value(12, "nothing", FLOAT, 2)])).unwrap_err();
    assert!(seen.contains("`nothing` is no value that was computed before"), "{seen}");
    let seen = load(&model(&[], &[value(11, "X", 16, 2)])).unwrap_err();
    assert_eq!(seen, "graph.input `X`: an input of type 16 is not supported");
}

/// A set of categories as converters write it: splits one after another, all with one true branch.
#[test]
fn a_chain_of_equalities_is_a_set() {
    let bytes = stump(vec![
        ints("nodes_treeids", &[7, 7, 7, 7]),
        ints("nodes_nodeids", &[10, 13, 11, 12]),
        ints("nodes_featureids", &[1, 1, 0, 0]),
        texts("nodes_modes", &["BRANCH_EQ", "BRANCH_EQ", "LEAF", "LEAF"]),
        floats("nodes_values", &[2.0, 5.0, 0.0, 0.0]),
        ints("nodes_truenodeids", &[11, 11, 0, 0]),
        ints("nodes_falsenodeids", &[13, 12, 0, 0]),
    ]);
    let model = load(&bytes).unwrap();
    for (x, wanted) in [(2.0, 1.5), (5.0, 1.5), (2.5, -1.5), (3.0, -1.5), (-0.0, -1.5), (f64::NAN, -1.5)] {
        assert_eq!(predict(&model, &[0.0, x]), [wanted], "{x}");
    }
}

#[test]
fn a_graph_cut_anywhere_is_refused() {
    let bytes = stump(vec![]);
    // What follows the graph can be left out: the operator sets' versions.
    let end = bytes.windows(12).position(|window| window == b"\x0a\nai.onnx.ml".as_slice()).unwrap_or(bytes.len());
    for length in 0..end.min(bytes.len()) - 4 {
        assert!(load(&bytes[..length]).is_err(), "cut at {length}");
    }
}

#[test]
fn hostile_graphs_stay_small() {
    let names: Vec<String> = (0..60).map(|step| format!("v{step}")).collect();
    let doubling = |op: &str| -> Vec<Message> {
        let step = |pair: &[String]| node(op, "", &[&pair[0], &pair[0]], &[&pair[1]], &[]);
        names.windows(2).map(step).collect()
    };
    let values = [value(11, "v0", FLOAT, 1000), value(12, "v59", FLOAT, 1)];
    assert!(load(&model(&doubling("Concat"), &values)).is_err());
    assert!(load(&model(&doubling("Add"), &values)).is_ok());
    let wide = [value(11, "X", FLOAT, 1 << 40), value(12, "X", FLOAT, 1)];
    assert!(load(&model(&[], &wide)).unwrap_err().contains("input columns"));
    let wide = [value(11, "X", FLOAT, 1 << 18), value(12, "X", FLOAT, 1)];
    assert_eq!(load(&model(&[], &wide)).unwrap().features().len(), 1 << 18);
    let empty = vec![Message::default(); 300_000];
    assert!(load(&model(&empty, &values)).unwrap_err().contains("a graph with more than"));
    // One leaf with a weight for each of many targets, and many leaves with one.
    let leaves = 4000;
    let many: Vec<i64> = (0..leaves).collect();
    let modes = vec!["LEAF"; leaves as usize];
    let zeros = vec![0; leaves as usize];
    let bytes = stump(vec![
        ints("nodes_treeids", &many),
        ints("nodes_nodeids", &zeros),
        ints("nodes_featureids", &zeros),
        texts("nodes_modes", &modes),
        floats("nodes_values", &vec![0.0; leaves as usize]),
        ints("nodes_truenodeids", &zeros),
        ints("nodes_falsenodeids", &zeros),
        ints("target_treeids", &many),
        ints("target_nodeids", &zeros),
        ints("target_ids", &many),
        floats("target_weights", &vec![1.0; leaves as usize]),
        Message::default().text(1, "n_targets").number(3, 65536),
    ]);
    assert_eq!(load(&bytes).unwrap().outputs(Output::Prediction), 65536);
}
