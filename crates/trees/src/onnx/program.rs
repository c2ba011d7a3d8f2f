//! What a graph computes around its ensembles, row by row: a list of steps over a file of registers. Every step writes
//! registers of its own, which no other step writes.

use super::arithmetic::{Binary, Kind, Unary};
use super::ensemble::Transform;
use super::scores::{self, Scores};

/// One step. `args` are lists of registers; a list of one stands for as many as the result has.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) op: Op,
    pub(super) kind: Kind,
    pub(super) args: Vec<Box<[u32]>>,
    pub(super) out: u32,
    pub(super) width: u32,
}

#[derive(Clone, Debug)]
pub(super) enum Op {
    Unary(Unary),
    Binary(Binary),
    /// The second argument where the first is true, else the third.
    Where,
    Softmax,
    Transform(Transform),
    Normalize(Norm),
    Reduce(Reduce),
    ArgMax,
    /// The value beside the first key that equals the argument.
    Lookup(Box<Lookup>),
    /// 1 at the place of each argument's key, for every argument in turn.
    OneHot(Box<[f64]>),
    /// The second argument in the place of a value, which may be NaN.
    Replace(f64),
    /// Products with each row of coefficients (the second argument), and the third argument added.
    Linear,
    /// Sums, and whether each has one: raw scores, scores, and the label.
    Scores(Box<Scores>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Norm {
    Max,
    L1,
    L2,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reduce {
    Sum,
    Mean,
    Max,
    Min,
}

#[derive(Clone, Debug)]
pub(super) struct Lookup {
    /// Keys that are numbers in rising order, with their values.
    pub(super) pairs: Vec<(f64, f64)>,
    /// The value for NaN.
    pub(super) nan: f64,
    pub(super) default: f64,
}

impl Lookup {
    /// The first of equal keys counts.
    pub(super) fn new(keys: &[f64], values: &[f64], default: f64) -> Self {
        let mut pairs: Vec<(f64, f64)> = keys.iter().copied().zip(values.iter().copied()).collect();
        let nan = pairs.iter().find(|(key, _)| key.is_nan()).map_or(default, |&(_, value)| value);
        pairs.retain(|(key, _)| !key.is_nan());
        pairs.sort_by(|a, b| (a.0 + 0.0).total_cmp(&(b.0 + 0.0)));
        pairs.dedup_by(|next, first| next.0 == first.0);
        Self { pairs, nan, default }
    }

    pub(super) fn get(&self, x: f64) -> f64 {
        if x.is_nan() {
            return self.nan;
        }
        let at = self.pairs.partition_point(|&(key, _)| key < x);
        self.pairs.get(at).filter(|&&(key, _)| key == x).map_or(self.default, |&(_, value)| value)
    }
}

impl Step {
    /// Runs the step on the registers of one row. `work` is memory to reuse.
    pub(super) fn run(&self, registers: &mut [f64], work: &mut Vec<f64>) {
        let (out, width) = (self.out as usize, self.width as usize);
        let kind = self.kind;
        let arg = |registers: &[f64], which: usize, index: usize| {
            let list = &self.args[which];
            registers[list[if list.len() == 1 { 0 } else { index }] as usize]
        };
        match &self.op {
            Op::Unary(op) => {
                for index in 0..width {
                    registers[out + index] = op.apply(kind, arg(registers, 0, index));
                }
            }
            Op::Binary(op) => {
                for index in 0..width {
                    registers[out + index] = op.apply(kind, arg(registers, 0, index), arg(registers, 1, index));
                }
            }
            Op::Where => {
                for index in 0..width {
                    let which = if arg(registers, 0, index) != 0.0 { 1 } else { 2 };
                    registers[out + index] = arg(registers, which, index);
                }
            }
            Op::Lookup(lookup) => {
                for index in 0..width {
                    registers[out + index] = lookup.get(arg(registers, 0, index));
                }
            }
            Op::Replace(what) => {
                for index in 0..width {
                    let x = arg(registers, 0, index);
                    let found = if what.is_nan() { x.is_nan() } else { x == *what };
                    registers[out + index] = if found { arg(registers, 1, index) } else { x };
                }
            }
            Op::OneHot(keys) => {
                for index in 0..width {
                    let x = registers[self.args[0][index / keys.len()] as usize];
                    registers[out + index] = f64::from(u8::from(x == keys[index % keys.len()]));
                }
            }
            _ => {
                self.gather(registers, work);
                self.run_whole(registers, work, out, width);
            }
        }
    }

    /// Copies the first argument into `work`.
    fn gather(&self, registers: &[f64], work: &mut Vec<f64>) {
        work.clear();
        work.extend(self.args[0].iter().map(|&register| registers[register as usize]));
    }

    /// Steps that need their whole argument at once; it stands in `work`.
    fn run_whole(&self, registers: &mut [f64], work: &mut Vec<f64>, out: usize, width: usize) {
        let kind = self.kind;
        match &self.op {
            Op::Softmax => {
                scores::softmax_of(kind, work);
                registers[out..out + width].copy_from_slice(work);
            }
            Op::Transform(transform) => {
                scores::transform(*transform, kind, work);
                registers[out..out + width].copy_from_slice(work);
            }
            Op::Normalize(norm) => {
                norm.apply(kind, work);
                registers[out..out + width].copy_from_slice(work);
            }
            Op::Reduce(reduce) => registers[out] = reduce.apply(kind, work),
            Op::ArgMax => registers[out] = scores::argmax(work),
            Op::Linear => {
                for index in 0..width {
                    let coefficients = self.args[1].iter().skip(index * work.len());
                    let pairs = work.iter().zip(coefficients).map(|(&x, &c)| (x, registers[c as usize]));
                    let start = registers[self.args[2][if self.args[2].len() == 1 { 0 } else { index }] as usize];
                    registers[out + index] = kind.products(pairs, start);
                }
            }
            Op::Scores(scores) => {
                let targets = work.len();
                work.extend(self.args[1].iter().map(|&register| registers[register as usize]));
                let (sums, has) = work.split_at(targets);
                let (raw, rest) = registers[out..].split_at_mut(targets);
                let (result, rest) = rest.split_at_mut(targets);
                rest[0] = scores.row(sums, has, raw, result);
            }
            _ => {}
        }
    }
}

impl Norm {
    fn apply(self, kind: Kind, row: &mut [f64]) {
        let norm = match self {
            Self::Max => row.iter().fold(f64::NEG_INFINITY, |max, &x| max.max(x)),
            Self::L1 => row.iter().fold(0.0, |sum, x| kind.round(sum + x.abs())),
            Self::L2 => row.iter().fold(0.0, |sum, x| kind.round(sum + kind.round(x * x))).sqrt(),
        };
        let norm = kind.round(norm);
        if norm != 0.0 {
            row.iter_mut().for_each(|x| *x = kind.round(*x / norm));
        }
    }
}

impl Reduce {
    fn apply(self, kind: Kind, row: &[f64]) -> f64 {
        let sum = || row.iter().fold(0.0, |sum, x| kind.round(sum + x));
        match self {
            Self::Sum => sum(),
            Self::Mean => kind.round(sum() / row.len() as f64),
            Self::Max => row.iter().fold(f64::NEG_INFINITY, |max, &x| max.max(x)),
            Self::Min => row.iter().fold(f64::INFINITY, |min, &x| min.min(x)),
        }
    }
}
