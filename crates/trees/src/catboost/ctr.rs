//! Statistics of categories (CatBoost's CTRs): what training counted for each category, or combination of categories and
//! splits, and the number that becomes of it.

use std::ops::Range;

/// What a statistic counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum CtrKind {
    /// How often the target's class was above a border.
    Borders,
    /// How often the target's class was one.
    Buckets,
    /// The mean of the target's class.
    BinarizedTargetMeanValue,
    /// The mean of the target.
    FloatTargetMeanValue,
    /// How often the category was seen, in comparison with the most frequent one.
    Counter,
    /// How often the category was seen, in comparison with all rows.
    FeatureFreq,
}

impl CtrKind {
    pub(super) const ALL: [(&'static str, Self); 6] = [
        ("Borders", Self::Borders),
        ("Buckets", Self::Buckets),
        ("BinarizedTargetMeanValue", Self::BinarizedTargetMeanValue),
        ("FloatTargetMeanValue", Self::FloatTargetMeanValue),
        ("Counter", Self::Counter),
        ("FeatureFreq", Self::FeatureFreq),
    ];

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|&(_, kind)| kind)
    }

    pub(super) fn is_mean(self) -> bool {
        matches!(self, Self::BinarizedTargetMeanValue | Self::FloatTargetMeanValue)
    }

    pub(super) fn is_count(self) -> bool {
        matches!(self, Self::Counter | Self::FeatureFreq)
    }
}

/// What is counted together: categories as they are, and whether numbers and categories pass splits.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Combination {
    /// Numbers of categorical features.
    pub(super) cats: Vec<i32>,
    /// Numbers of numeric features, with borders.
    pub(super) floats: Vec<(i32, f32)>,
    /// Numbers of categorical features, with values.
    pub(super) one_hots: Vec<(i32, i32)>,
}

/// What a statistic is over; a model has one table for each.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct CtrBase {
    pub(super) combination: Combination,
    pub(super) kind: CtrKind,
    /// Which of several ways to make classes of the target.
    pub(super) classifier: i32,
}

impl CtrBase {
    /// What tells it from all others.
    pub(super) fn key(&self) -> Vec<u32> {
        let Combination { cats, floats, one_hots } = &self.combination;
        let lengths = [self.kind as usize, cats.len(), floats.len()].map(|n| n as u32);
        let cats = cats.iter().map(|&cat| cat as u32);
        let floats = floats.iter().flat_map(|&(index, border)| [index as u32, border.to_bits()]);
        let one_hots = one_hots.iter().flat_map(|&(index, value)| [index as u32, value as u32]);
        lengths.into_iter().chain([self.classifier as u32]).chain(cats).chain(floats).chain(one_hots).collect()
    }
}

/// A feature made of a statistic.
pub(super) struct CtrFeature {
    pub(super) combination: Combination,
    /// The table: an index into the model's tables.
    pub(super) table: usize,
    pub(super) formula: Formula,
    pub(super) borders: Vec<f32>,
}

/// From counts to a number, in float32 as CatBoost computes it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Formula {
    /// The class, or the border between classes, that is meant.
    pub(super) border: usize,
    pub(super) prior_numerator: f32,
    pub(super) prior_denominator: f32,
    pub(super) shift: f32,
    pub(super) scale: f32,
}

impl Formula {
    /// What tells it from all others.
    pub(super) fn key(&self) -> [u32; 5] {
        let numbers = [self.prior_numerator, self.prior_denominator, self.shift, self.scale].map(f32::to_bits);
        [self.border as u32, numbers[0], numbers[1], numbers[2], numbers[3]]
    }

    fn of(&self, part: f32, whole: f32) -> f32 {
        ((part + self.prior_numerator) / (whole + self.prior_denominator) + self.shift) * self.scale
    }
}

/// What was counted.
pub(super) struct CtrTable {
    kind: CtrKind,
    index: HashIndex,
    counts: Counts,
    /// Counts for each entry.
    width: usize,
    denominator: i32,
}

pub(super) enum Counts {
    Numbers(Vec<i32>),
    /// Sums of the target, and how many rows.
    Means(Vec<(f32, i32)>),
}

impl CtrTable {
    /// A table over entries `(hash, which of the counts)`. `classes` counts belong to each entry of `Borders` and `Buckets`.
    pub(super) fn new(
        kind: CtrKind,
        entries: Vec<(u64, u32)>,
        counts: Counts,
        classes: i32,
        denominator: i32,
    ) -> Result<Self, String> {
        let width = match kind {
            CtrKind::Borders => usize::try_from(classes).ok().filter(|&n| n >= 2),
            CtrKind::Buckets => usize::try_from(classes).ok().filter(|&n| n >= 1),
            _ => Some(1),
        };
        let width = width.ok_or_else(|| format!("{classes} classes are counted; {kind:?} needs at least two"))?;
        let there = match &counts {
            Counts::Numbers(numbers) => numbers.len() / width,
            Counts::Means(means) => means.len(),
        };
        if let Some((_, at)) = entries.iter().find(|(_, at)| *at as usize >= there) {
            return Err(format!("a category's counts are number {at} of {there}"));
        }
        Ok(Self { kind, index: HashIndex::new(entries), counts, width, denominator })
    }

    /// Whether the table can answer a formula.
    pub(super) fn check(&self, formula: &Formula) -> Result<(), String> {
        let limit = match self.kind {
            CtrKind::Borders => self.width - 1,
            CtrKind::Buckets => self.width,
            _ => return Ok(()),
        };
        if formula.border < limit {
            return Ok(());
        }
        Err(format!("target border {} of {limit} is meant", formula.border))
    }

    pub(super) fn find(&self, hash: u64) -> Option<u32> {
        self.index.find(hash)
    }

    /// The number for an entry that [`CtrTable::find`] gave.
    pub(super) fn value(&self, entry: Option<u32>, formula: &Formula) -> f32 {
        let place = |width: usize| -> Option<Range<usize>> {
            let at = entry? as usize * width;
            Some(at..at + width)
        };
        match &self.counts {
            Counts::Means(means) => {
                let (sum, count) = entry.and_then(|at| means.get(at as usize)).copied().unwrap_or_default();
                formula.of(sum, count as f32)
            }
            Counts::Numbers(numbers) if self.kind.is_count() => {
                let count = entry.and_then(|at| numbers.get(at as usize)).copied().unwrap_or_default();
                formula.of(count as f32, self.denominator as f32)
            }
            Counts::Numbers(numbers) => {
                let classes = place(self.width).and_then(|range| numbers.get(range)).unwrap_or_default();
                let sum = |counts: &[i32]| counts.iter().fold(0i32, |sum, &count| sum.wrapping_add(count));
                let good = match self.kind {
                    CtrKind::Buckets => classes.get(formula.border).copied().unwrap_or_default(),
                    _ => sum(classes.get(formula.border + 1..).unwrap_or_default()),
                };
                formula.of(good as f32, sum(classes) as f32)
            }
        }
    }
}

/// From hashes to entries: sorted by hash, with a directory of the upper bits. Whatever the hashes are, building takes
/// `n log n` steps and looking up at most `log n`.
struct HashIndex {
    hashes: Vec<u64>,
    entries: Vec<u32>,
    /// Where the hashes with these upper bits begin; one more at the end.
    directory: Vec<u32>,
    shift: u32,
}

/// What CatBoost marks empty places of its tables with; no category is found there.
pub(super) const NO_HASH: u64 = u64::MAX;

impl HashIndex {
    fn new(mut pairs: Vec<(u64, u32)>) -> Self {
        pairs.retain(|&(hash, _)| hash != NO_HASH);
        pairs.sort_by_key(|&(hash, _)| hash);
        pairs.dedup_by_key(|&mut (hash, _)| hash);
        let bits = (usize::BITS - pairs.len().leading_zeros()).clamp(1, 24);
        let shift = 64 - bits;
        let mut directory = vec![0u32; (1 << bits) + 1];
        for &(hash, _) in &pairs {
            if let Some(count) = directory.get_mut((hash >> shift) as usize + 1) {
                *count += 1;
            }
        }
        let mut sum = 0;
        for place in &mut directory {
            sum += *place;
            *place = sum;
        }
        let (hashes, entries) = pairs.into_iter().unzip();
        Self { hashes, entries, directory, shift }
    }

    fn find(&self, hash: u64) -> Option<u32> {
        let bucket = (hash >> self.shift) as usize;
        let (from, to) = (*self.directory.get(bucket)? as usize, *self.directory.get(bucket + 1)? as usize);
        let at = self.hashes.get(from..to)?.binary_search(&hash).ok()?;
        self.entries.get(from + at).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hash_is_found() {
        for count in [0u64, 1, 2, 3, 100, 1000] {
            let hashes: Vec<u64> = (0..count).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect();
            let index = HashIndex::new(hashes.iter().copied().zip(0..).chain([(NO_HASH, 7)]).collect());
            for (hash, entry) in hashes.iter().zip(0..) {
                assert_eq!(index.find(*hash), Some(entry));
            }
            assert_eq!(index.find(12345), None);
            assert_eq!(index.find(NO_HASH), None);
        }
        let same_bits = HashIndex::new((0..5000).map(|n| (u64::from(n), n)).collect());
        assert_eq!(same_bits.find(4321), Some(4321));
    }

    #[test]
    fn formulas_are_catboosts() {
        let formula = Formula { border: 0, prior_numerator: 0.5, prior_denominator: 1.0, shift: 0.0, scale: 15.0 };
        let table = |kind, counts, classes| CtrTable::new(kind, vec![(9, 1)], counts, classes, 20).unwrap();
        let value = |table: &CtrTable, hash| table.value(table.find(hash), &formula);
        let numbers = || Counts::Numbers(vec![0, 0, 0, 3, 4, 5]);
        assert_eq!(value(&table(CtrKind::Borders, numbers(), 3), 9), (9.5 / 13.0) * 15.0);
        assert_eq!(value(&table(CtrKind::Buckets, numbers(), 3), 9), (3.5 / 13.0) * 15.0);
        assert_eq!(value(&table(CtrKind::Borders, numbers(), 3), 8), (0.5 / 1.0) * 15.0);
        assert_eq!(value(&table(CtrKind::Counter, Counts::Numbers(vec![1, 2]), 0), 9), (2.5 / 21.0) * 15.0);
        assert_eq!(value(&table(CtrKind::Counter, Counts::Numbers(vec![1, 2]), 0), 8), (0.5 / 21.0) * 15.0);
        let means = Counts::Means(vec![(0.0, 0), (2.25, 4)]);
        assert_eq!(value(&table(CtrKind::FloatTargetMeanValue, means, 0), 9), (2.75 / 5.0) * 15.0);
    }

    #[test]
    fn tables_that_are_too_small_are_refused() {
        let new = |kind, counts, classes| CtrTable::new(kind, vec![(9, 1)], Counts::Numbers(counts), classes, 0);
        assert!(new(CtrKind::Borders, vec![0; 3], 2).is_err());
        assert!(new(CtrKind::Borders, vec![0; 4], 1).is_err());
        assert!(new(CtrKind::Counter, vec![0], 0).is_err());
        let table = new(CtrKind::Borders, vec![0; 4], 2).unwrap();
        let formula = Formula { border: 1, prior_numerator: 0.0, prior_denominator: 1.0, shift: 0.0, scale: 1.0 };
        assert_eq!(table.check(&formula).unwrap_err(), "target border 1 of 1 is meant");
    }
}
