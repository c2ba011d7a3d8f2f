//! From the sums of an ensemble's leaves to scores and labels, as ONNX Runtime does it: its order of roundings, and
//! its habits where the specification is silent (mostly about classifiers of two classes).

use super::arithmetic::Kind;
use super::ensemble::{Aggregate, Labels, Spec, Transform};
use crate::exp32::exp32;
use crate::link::greatest;

/// What comes after the sums of one ensemble.
#[derive(Clone, Debug)]
pub(super) struct Scores {
    targets: usize,
    kind: Kind,
    aggregate: Aggregate,
    trees: f64,
    base: Vec<f64>,
    transform: Transform,
    /// Whether results are float32 although sums are float64.
    narrow: bool,
    classifier: Option<Classifier>,
}

#[derive(Clone, Debug)]
struct Classifier {
    /// The number of each label: itself, or its place in the list of strings.
    labels: Vec<f64>,
    /// Whether there are two classes, and weights for only one of them.
    binary: bool,
    positive: bool,
}

/// How the row of a binary classifier gets its second score.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Second {
    None,
    /// `1 - p` and `p`.
    Complement,
    /// `-s` and `s`, or the logistic function of both.
    Mixed,
}

impl Scores {
    pub(super) fn new(spec: &Spec, narrow: bool) -> Self {
        let classifier = spec.labels.as_ref().map(|labels| Classifier {
            labels: match labels {
                Labels::Ints(labels) => labels.iter().map(|&label| label as f64).collect(),
                Labels::Texts(labels) => (0..labels.len()).map(|index| index as f64).collect(),
            },
            binary: spec.targets == 2 && spec.one_class,
            positive: spec.positive,
        });
        Self {
            targets: spec.targets,
            kind: if spec.double { Kind::Double } else { Kind::Single },
            aggregate: spec.aggregate,
            trees: spec.roots.len() as f64,
            base: spec.base.clone(),
            transform: spec.transform,
            narrow,
            classifier,
        }
    }

    pub(super) fn is_classifier(&self) -> bool {
        self.classifier.is_some()
    }

    /// Computes one row: from `sums` (and whether a leaf gave each one anything) the scores before the transform into
    /// `raw` and those after it into `out`, each as long as there are targets. Gives back the label of a classifier.
    pub(super) fn row(&self, sums: &[f64], has: &[f64], raw: &mut [f64], out: &mut [f64]) -> f64 {
        let label = match &self.classifier {
            Some(classifier) => self.classify(classifier, sums, has, raw, out),
            None => {
                self.regress(sums, has, raw);
                out.copy_from_slice(raw);
                match raw.len() {
                    1 if self.transform == Transform::Probit => out[0] = probit(out[0]),
                    1 => {}
                    _ => self.transform(out),
                }
                0.0
            }
        };
        if self.narrow {
            out.iter_mut().for_each(|x| *x = f64::from(*x as f32));
        }
        label
    }

    fn regress(&self, sums: &[f64], has: &[f64], raw: &mut [f64]) {
        let base = |target: usize| self.base.get(target).copied().unwrap_or(0.0);
        for (target, raw) in raw.iter_mut().enumerate() {
            let score = match self.aggregate {
                Aggregate::Average => self.kind.round(sums[target] / self.trees),
                Aggregate::Min | Aggregate::Max if has[target] == 0.0 => 0.0,
                _ => sums[target],
            };
            *raw = self.kind.round(score + base(target));
        }
    }

    fn classify(&self, classifier: &Classifier, sums: &[f64], has: &[f64], raw: &mut [f64], out: &mut [f64]) -> f64 {
        match self.targets {
            1 => self.classify_one(sums, raw, out),
            2 => self.classify_two(classifier, sums, has, raw, out),
            _ => {
                let based = !self.base.is_empty();
                let mut best = None;
                for (class, raw) in raw.iter_mut().enumerate() {
                    *raw = self.kind.round(sums[class] + self.base.get(class).copied().unwrap_or(0.0));
                    let better = best.is_none_or(|(_, score)| *raw > score);
                    if (based || has[class] != 0.0) && better {
                        best = Some((class, *raw));
                    }
                }
                out.copy_from_slice(raw);
                self.transform(out);
                let class = best.map_or(0, |(class, _)| class);
                classifier.labels.get(class).copied().unwrap_or(0.0)
            }
        }
    }

    fn classify_one(&self, sums: &[f64], raw: &mut [f64], out: &mut [f64]) -> f64 {
        raw[0] = self.kind.round(sums[0] + self.base.first().copied().unwrap_or(0.0));
        out[0] = if self.transform == Transform::Probit { probit(raw[0]) } else { raw[0] };
        f64::from(u8::from(raw[0] > 0.0))
    }

    fn classify_two(&self, classifier: &Classifier, sums: &[f64], has: &[f64], raw: &mut [f64], out: &mut [f64]) -> f64 {
        let round = |x: f64| self.kind.round(x);
        raw.copy_from_slice(sums);
        let mut both = has[1] != 0.0;
        match self.base.as_slice() {
            [_, base] if both => {
                // The first base value is not used, as if it were the same.
                raw[1] = round(base + raw[0]);
                raw[0] = -raw[1];
            }
            [first, second] => {
                raw[0] = round(raw[0] + first);
                raw[1] = round(raw[1] + second);
                both = true;
            }
            [base] => raw[0] = round(raw[0] + base),
            _ => {}
        }
        let positive_score = if has[1] != 0.0 { raw[1] } else if has[0] != 0.0 { raw[0] } else { 0.0 };
        let second = if !classifier.binary {
            Second::None
        } else if classifier.positive {
            Second::Complement
        } else {
            Second::Mixed
        };
        let limit = if second == Second::Complement { 0.5 } else { 0.0 };
        let positive = positive_score > limit;
        if both {
            out.copy_from_slice(raw);
            self.transform(out);
        } else {
            self.single_score(raw, out, if second == Second::None && self.base.is_empty() { Second::Mixed } else { second });
        }
        match (classifier.binary, positive) {
            (true, positive) => classifier.labels[usize::from(positive)],
            (false, positive) => f64::from(u8::from(positive)),
        }
    }

    /// Two scores from one.
    fn single_score(&self, raw: &mut [f64], out: &mut [f64], second: Second) {
        let score = raw[0];
        if self.transform == Transform::Probit {
            (out[0], out[1]) = (probit(score), 0.0);
            return;
        }
        (raw[0], raw[1]) = match second {
            Second::None => (score, 0.0),
            Second::Complement => (self.kind.round(1.0 - score), score),
            Second::Mixed => (-score, score),
        };
        out.copy_from_slice(raw);
        if second == Second::Mixed && self.transform == Transform::Logistic {
            out.iter_mut().for_each(|x| *x = logistic(*x));
        }
    }

    fn transform(&self, scores: &mut [f64]) {
        transform(self.transform, self.kind, scores);
    }
}

/// Applies a transform to the scores of one row.
pub(super) fn transform(transform: Transform, kind: Kind, scores: &mut [f64]) {
    match transform {
        Transform::None => {}
        Transform::Logistic => scores.iter_mut().for_each(|x| *x = logistic(*x)),
        Transform::Probit => scores.iter_mut().for_each(|x| *x = probit(*x)),
        Transform::Softmax => softmax(kind, scores),
        Transform::SoftmaxZero => softmax_zero(kind, scores),
    }
}

/// The logistic function, in float32 whatever the scores are.
fn logistic(x: f64) -> f64 {
    let x = x as f32;
    let upper = 1.0 / (1.0 + exp32(-x.abs()));
    f64::from(if x < 0.0 { 1.0 - upper } else { upper })
}

fn probit(x: f64) -> f64 {
    const SQRT_2: f32 = 1.414_213_6;
    let x = 2.0 * (x as f32) - 1.0;
    f64::from(SQRT_2 * inverse_erf(x))
}

/// The approximation of the inverse error function that ONNX Runtime has.
fn inverse_erf(x: f32) -> f32 {
    let sign = if x < 0.0 { -1.0 } else { 1.0 };
    let log = f64::from((1.0 - x) * (1.0 + x)).ln() as f32;
    let v = 2.0 / (3.14159 * 0.147) + 0.5 * log;
    let v2 = 1.0 / 0.147 * log;
    let v3 = -v + (v * v - v2).sqrt();
    sign * v3.sqrt()
}

fn exp(kind: Kind, x: f64) -> f64 {
    if kind == Kind::Single { f64::from(exp32(x as f32)) } else { x.exp() }
}

/// Class probabilities.
pub(super) fn softmax(kind: Kind, scores: &mut [f64]) {
    let lowest = if kind == Kind::Single { f64::from(f32::MIN) } else { f64::MIN };
    let max = scores.iter().fold(lowest, |max, &x| if x > max { x } else { max });
    let mut sum = 0.0;
    for x in scores.iter_mut() {
        *x = exp(kind, kind.round(*x - max));
        sum = kind.round(sum + *x);
    }
    scores.iter_mut().for_each(|x| *x = kind.round(*x / sum));
}

/// Class probabilities in which a score of zero stays (nearly) zero.
fn softmax_zero(kind: Kind, scores: &mut [f64]) {
    let lowest = if kind == Kind::Single { f64::from(f32::MIN) } else { f64::MIN };
    let max = scores.iter().fold(lowest, |max, &x| if x > max { x } else { max });
    let zero = exp(kind, -max);
    let mut sum = 0.0;
    for x in scores.iter_mut() {
        if x.abs() > f64::from(0.000_000_1f32) {
            *x = exp(kind, kind.round(*x - max));
            sum = kind.round(sum + *x);
        } else {
            *x = kind.round(*x * zero);
        }
    }
    scores.iter_mut().for_each(|x| *x = kind.round(*x / sum));
}

/// The place of the greatest score.
pub(super) fn argmax(scores: &[f64]) -> f64 {
    greatest(scores) as f64
}
