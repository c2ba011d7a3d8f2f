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
        let single = raw.len() == 1;
        for (target, raw) in raw.iter_mut().enumerate() {
            // With several targets, one that no leaf gave to is zero, whatever its base value.
            let given = has[target] != 0.0;
            let base = self.base.get(target).copied().filter(|_| given || single).unwrap_or(0.0);
            let score = match self.aggregate {
                Aggregate::Average => self.kind.round(sums[target] / self.trees),
                Aggregate::Min | Aggregate::Max if !given => 0.0,
                _ => sums[target],
            };
            *raw = self.kind.round(score + base);
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

    fn classify_two(
        &self,
        classifier: &Classifier,
        sums: &[f64],
        has: &[f64],
        raw: &mut [f64],
        out: &mut [f64],
    ) -> f64 {
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
        let positive_score = if has[1] != 0.0 {
            raw[1]
        } else if has[0] != 0.0 {
            raw[0]
        } else {
            0.0
        };
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
            // A score that no leaf gave to counts as zero, although the label is found with its base value.
            raw.iter_mut().zip(has).filter(|(_, has)| **has == 0.0).for_each(|(raw, _)| *raw = 0.0);
            out.copy_from_slice(raw);
            self.transform(out);
        } else {
            self.single_score(
                raw,
                out,
                if second == Second::None && self.base.is_empty() { Second::Mixed } else { second },
            );
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
        let logistic_wanted = second != Second::None && self.transform == Transform::Logistic;
        (raw[0], raw[1]) = match second {
            Second::None => (score, 0.0),
            Second::Complement if !logistic_wanted => (self.kind.round(1.0 - score), score),
            _ => (-score, score),
        };
        out.copy_from_slice(raw);
        if logistic_wanted {
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
        Transform::Softmax => softmax(scores),
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
    let x = 2.0 * (x as f32) - 1.0;
    f64::from(std::f32::consts::SQRT_2 * inverse_erf(x))
}

/// The approximation of the inverse error function that ONNX Runtime has, with its own idea of π.
#[allow(clippy::approx_constant)]
fn inverse_erf(x: f32) -> f32 {
    let sign = if x < 0.0 { -1.0 } else { 1.0 };
    let log = ((1.0 - x) * (1.0 + x)).ln();
    let v = 2.0 / (3.14159 * 0.147) + 0.5 * log;
    let v2 = 1.0 / 0.147 * log;
    let v3 = -v + (v * v - v2).sqrt();
    sign * v3.sqrt()
}

/// Class probabilities, in float32 whatever the scores are.
fn softmax(scores: &mut [f64]) {
    let max = greatest_single(scores);
    let mut sum = 0.0f32;
    for x in scores.iter_mut() {
        let power = exp32(*x as f32 - max);
        *x = f64::from(power);
        sum += power;
    }
    scores.iter_mut().for_each(|x| *x = f64::from(*x as f32 / sum));
}

/// Class probabilities in which a score of zero stays (nearly) zero.
fn softmax_zero(kind: Kind, scores: &mut [f64]) {
    let max = greatest_single(scores);
    let zero = exp32(-max);
    let mut sum = 0.0f32;
    for x in scores.iter_mut() {
        let score = *x as f32;
        let power = if score.abs() > 0.000_000_1 { exp32(score - max) } else { score * zero };
        if score.abs() > 0.000_000_1 {
            sum += power;
        }
        *x = f64::from(power);
    }
    scores.iter_mut().for_each(|x| *x = kind.round(*x / f64::from(sum)));
}

fn greatest_single(scores: &[f64]) -> f32 {
    scores.iter().fold(f32::MIN, |max, &x| if x as f32 > max { x as f32 } else { max })
}

/// What the operator `Softmax` computes.
pub(super) fn softmax_of(kind: Kind, scores: &mut [f64]) {
    if kind == Kind::Single {
        return softmax(scores);
    }
    let max = scores.iter().fold(f64::MIN, |max, &x| max.max(x));
    let mut sum = 0.0;
    for x in scores.iter_mut() {
        *x = (*x - max).exp();
        sum += *x;
    }
    scores.iter_mut().for_each(|x| *x /= sum);
}

/// The place of the greatest score.
pub(super) fn argmax(scores: &[f64]) -> f64 {
    greatest(scores) as f64
}
