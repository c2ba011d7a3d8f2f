//! Random forests in every layout, small enough for Miri (which sees the portable code).

use super::quant::{Line, Quantiser, RowBytes, count};
use super::{Buffers, Columns, Doubles, Fast, Input, Instructions, Level};
use crate::forest::{Compare, Forest, Node, Real, Tree};
use crate::model::Layout;

/// A small generator with a fixed seed, and how many features its forests have.
struct Random(u64, usize);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((self.0 >> 11) % end as u64) as usize
    }

    fn coin(&mut self) -> bool {
        self.below(2) == 1
    }

    /// Numbers where things go wrong, and their neighbours in both types.
    fn number(&mut self) -> f64 {
        const NUMBERS: [f64; 14] = [
            0.0,
            -0.0,
            1.0,
            -1.0,
            0.1,
            1.000_000_001,
            1.000_000_002,
            1.0000000180025095e-35,
            -1.0000000180025095e-35,
            5e-324,
            1e300,
            f32::MAX as f64,
            f64::INFINITY,
            f64::NEG_INFINITY,
        ];
        let number = NUMBERS[self.below(NUMBERS.len())];
        match self.below(6) {
            0 => number.next_up(),
            1 => number.next_down(),
            2 => f64::from((number as f32).next_up()),
            3 => f64::from((number as f32).next_down()),
            _ => number,
        }
    }

    fn tree<T: Real>(&mut self, depth: u32, zero_missing: bool) -> Tree<T> {
        let mut nodes = Vec::new();
        self.grow(depth, zero_missing, &mut nodes);
        Tree { nodes, output: 0, sets: vec![], vectors: vec![], linear: vec![], depth: 0 }
    }

    fn grow<T: Real>(&mut self, depth: u32, zero_missing: bool, nodes: &mut Vec<Node<T>>) -> u32 {
        let at = nodes.len();
        let value = T::from_f64(self.below(1000) as f64 / 7.0);
        nodes.push(Node::Leaf { value, index: 0 });
        if depth > 0 && self.below(8) > 0 {
            let feature = self.below(self.1) as u32;
            let threshold = if self.below(20) == 0 { T::NAN } else { T::from_f64(self.number()) };
            let (missing_left, zero_missing_here) = (self.coin(), zero_missing && self.coin());
            let (left, right) = (self.grow(depth - 1, zero_missing, nodes), self.grow(depth - 1, zero_missing, nodes));
            let zero_missing = zero_missing_here;
            nodes[at] = Node::Numeric { feature, threshold, missing_left, zero_missing, left, right };
        }
        at as u32
    }

    fn forest<T: Real>(&mut self, trees: usize, depth: u32, lightgbm: bool) -> Forest<T> {
        let trees = (0..trees).map(|_| self.tree(depth, lightgbm)).collect();
        let compare = if lightgbm { Compare::AtMost } else { Compare::Less };
        let start = vec![T::from_f64(0.25)];
        let mut forest = Forest { features: self.1, outputs: 1, compare, start, trees, tiny_is_zero: lightgbm };
        forest.check().unwrap();
        forest
    }

    /// The same with a vector in each leaf, or with trees that take turns at the outputs.
    fn several<T: Real>(&mut self, trees: usize, depth: u32, vectors: bool) -> Forest<T> {
        let mut forest = self.forest::<T>(trees, depth, false);
        forest.outputs = 3;
        forest.start = vec![T::from_f64(0.5); 3];
        for (number, tree) in (0u32..).zip(&mut forest.trees) {
            let mut leaves = 0;
            for node in &mut tree.nodes {
                if let Node::Leaf { index, .. } = node
                    && vectors
                {
                    *index = leaves;
                    leaves += 1;
                }
            }
            tree.vectors = (0..leaves * 3).map(|_| T::from_f64(self.below(1000) as f64 / 7.0)).collect();
            tree.output = if vectors { 0 } else { number % 3 };
        }
        forest.check().unwrap();
        forest
    }

    fn rows(&mut self, count: usize) -> Vec<f64> {
        (0..count * self.1).map(|_| if self.below(8) == 0 { f64::NAN } else { self.number() }).collect()
    }
}

/// How many rounds a test makes.
fn rounds(all: usize) -> usize {
    if cfg!(miri) { 1 } else { all }
}

fn raw<T: Real>(fast: &Fast<T>, forest: &Forest<T>, input: impl Input<T>, rows: usize, batch: usize) -> Vec<u64> {
    let (mut buffers, mut raw) = (Buffers::default(), vec![0.0; rows * forest.outputs]);
    for (number, raw) in raw.chunks_mut(batch * forest.outputs).enumerate() {
        fast.raw(forest, input, number * batch, &mut buffers, raw);
    }
    raw.into_iter().map(f64::to_bits).collect()
}

fn check<T: Real>(forest: &Forest<T>, rows: &[f64]) {
    let features = forest.features;
    let count = rows.len() / features;
    let input = Doubles(rows, features);
    let columns: Vec<Vec<f64>> = (0..features).map(|f| rows[f..].iter().step_by(features).copied().collect()).collect();
    let columns: Vec<&[f64]> = columns.iter().map(Vec::as_slice).collect();
    let wanted = raw(&Fast::Plain, forest, input, count, 1);
    for instructions in [Instructions::Portable, Instructions::Avx2, Instructions::Avx512, Instructions::Neon] {
        let Some(level) = Level::of(instructions) else { continue };
        for layout in
            [Layout::Auto, Layout::Interleaved, Layout::Ranked, Layout::Table, Layout::Perfect, Layout::Scorer]
        {
            let Ok(fast) = Fast::new(forest, layout, level) else { continue };
            for batch in [1, 64] {
                assert_eq!(raw(&fast, forest, input, count, batch), wanted, "{layout:?}, {instructions:?}");
            }
            assert_eq!(
                raw(&fast, forest, Columns(&columns), count, 64),
                wanted,
                "{layout:?}, {instructions:?}, columns"
            );
        }
    }
}

#[test]
fn every_layout_gives_the_plain_bits() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15, 6);
    for round in 0..rounds(60) {
        let (trees, depth) = if cfg!(miri) { (3, 3) } else { [(3, 4), (9, 6), (1, 9), (40, 3)][round % 4] };
        let rows = random.rows(if cfg!(miri) { 3 } else { 70 });
        check(&random.forest::<f32>(trees, depth, false), &rows);
        check(&random.forest::<f64>(trees, depth, true), &rows);
        check(&random.forest::<f64>(trees, depth, false), &rows);
        check(&random.several::<f32>(trees, depth, round % 2 == 0), &rows);
        check(&random.several::<f64>(trees, depth, round % 2 == 1), &rows);
    }
}

/// Up to 16, 32, 64 and 128 columns are looked up in different ways.
#[test]
fn so_they_do_however_many_columns_there_are() {
    for features in [5, 12, 25, 50].into_iter().skip(if cfg!(miri) { 3 } else { 0 }) {
        let mut random = Random(0x6a09_e667_f3bc_c908, features);
        for (trees, depth) in [(40, 5), (70, 3), (9, 6)].into_iter().take(rounds(3)) {
            let (trees, depth) = if cfg!(miri) { (2, 3) } else { (trees, depth) };
            let rows = random.rows(if cfg!(miri) { 1 } else { 24 });
            check(&random.forest::<f32>(trees, depth, false), &rows);
            check(&random.forest::<f64>(trees, depth, true), &rows);
        }
    }
}

#[test]
fn a_test_of_bytes_says_what_the_split_says() {
    let mut random = Random(0x2545_f491_4f6c_dd1d, 6);
    for round in 0..rounds(200) {
        let (trees, rows) = if cfg!(miri) { (2, 3) } else { (8, 20) };
        one_split(&mut random.forest::<f32>(trees, 4, round % 2 == 0), &random.rows(rows));
        one_split(&mut random.forest::<f64>(trees, 4, round % 2 == 0), &random.rows(rows));
    }
}

/// Compares each split of a forest, alone, with its test.
fn one_split<T: Real>(forest: &mut Forest<T>, rows: &[f64]) {
    let (quantiser, index) = Quantiser::new(forest).unwrap();
    for row in rows.chunks_exact(forest.features) {
        let mut bytes: RowBytes = [Line([0; 64]); 2];
        let input = Doubles(row, forest.features);
        if quantiser.is_double() {
            quantiser.row::<true>(|feature| Input::<T>::value(input, 0, feature), count::<true>, &mut bytes);
        } else {
            quantiser.row::<false>(|feature| Input::<T>::value(input, 0, feature), count::<false>, &mut bytes);
        }
        let seen: Vec<T> = row.iter().map(|&x| forest.seen(T::from_f64(x))).collect();
        for node in forest.trees.iter().flat_map(|tree| &tree.nodes) {
            let Node::Numeric { feature, threshold, missing_left, zero_missing, .. } = *node else { continue };
            let test = index.test(feature, threshold.to_f64(), missing_left, zero_missing).unwrap();
            let byte = bytes[usize::from(test.column) / 64].0[usize::from(test.column) % 64];
            let leaf = |index| Node::Leaf { value: T::default(), index };
            let split = Node::Numeric { feature, threshold, missing_left, zero_missing, left: 1, right: 2 };
            let nodes = vec![split, leaf(0), leaf(1)];
            let tree = Tree { nodes, output: 0, sets: vec![], vectors: vec![], linear: vec![], depth: 1 };
            let right = tree.leaf(forest.compare, &seen).1 == 1;
            assert_eq!(byte >= test.code, right, "{node:?}, {:?} in {:?}", row[feature as usize], forest.compare);
        }
    }
}
