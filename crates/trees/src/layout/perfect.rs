//! Perfect trees: every test of a tree at once, then a walk over the bits.
//!
//! A tree is filled up to a perfect one of 6, 7 or 8 levels; below a leaf of the tree every place is that leaf. One
//! permute brings the row's bytes in the order of the tests, one compare answers 64 of them, and a walk of the answers
//! takes a shift and an addition for each level, for eight trees at a time. For trees up to 6 levels a block of 64 rows is
//! evaluated bit-sliced instead: one bit of a word for each row, and words choose between words.

use super::quant::{Line, Test};
use super::shape::{Leaves, Shape};
use crate::forest::Real;

/// Levels of the deepest tree that is filled up.
pub(crate) const DEPTH_MAX: u32 = 8;

/// Levels of the deepest tree that is bit-sliced.
pub(crate) const SLICED_DEPTH_MAX: u32 = 6;

/// 64 tests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tests {
    pub(crate) columns: Line,
    pub(crate) codes: Line,
}

impl Tests {
    /// The tests, 64 of them or fewer, filled up with ones that nobody looks at.
    pub(crate) fn of(tests: &[Test]) -> Self {
        let at = |k: usize| tests.get(k).copied().unwrap_or(Test { column: 0, code: 255 });
        Self { columns: Line(std::array::from_fn(|k| at(k).column)), codes: Line(std::array::from_fn(|k| at(k).code)) }
    }
}

/// Trees filled up to perfect ones.
#[derive(Clone, Debug)]
pub(crate) struct Perfect {
    /// The tests of each tree, `blocks` times 64. Test 0 is not used, the root is test 1.
    pub(crate) tests: Vec<Tests>,
    pub(crate) blocks: usize,
}

impl Perfect {
    /// Fills up trees; `None` if one is too deep.
    pub(crate) fn new<T: Real>(shapes: &[Shape<T>], outputs: &[u32]) -> Option<(Self, Leaves<T>)> {
        let depth = shapes.iter().map(|shape| shape.depth).max()?.max(SLICED_DEPTH_MAX);
        if depth > DEPTH_MAX {
            return None;
        }
        let (mut tests, mut places) = (Vec::new(), Vec::new());
        for shape in shapes {
            let (leaves, inner) = shape.perfect(depth);
            tests.extend(inner.chunks(64).map(Tests::of));
            places.push(leaves);
        }
        let leaves = Leaves::at_places(&places, shapes, outputs);
        Some((Self { tests, blocks: (1 << depth) / 64 }, leaves))
    }

    pub(crate) fn bytes(&self) -> usize {
        size_of_val(self.tests.as_slice())
    }
}
