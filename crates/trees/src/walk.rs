//! The inner loop of the interleaved layout, and the only module of this crate with `unsafe` in it: bounds checks in
//! this loop cost a third of its time.
//!
//! What makes it sound is checked here and nowhere else: [`Walker::new`] looks at every node once, [`Walker::leaves`] at
//! the row it is given. Nothing outside can change a walker.

#![allow(unsafe_code)]

use crate::forest::{Real, is_nan};

/// Trees walked at once.
pub(crate) const LANES: usize = 16;

/// A split or a leaf.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packed<T> {
    /// The threshold of a split, the value of a leaf.
    pub(crate) threshold: T,
    /// Which slot of the row is compared; 0 for a leaf.
    pub(crate) slot: u16,
    /// How far ahead the left child stands; the right one is its neighbour. 0 for a leaf.
    pub(crate) step: u16,
}

/// The packed nodes of an ensemble.
///
/// Invariants, checked by [`Walker::new`]:
/// 1. Every root is the index of a node.
/// 2. Every node's `slot` is below `slots`, which is at least 1.
/// 3. A node with `step > 0` has a node `step` and a node `step + 1` further on.
/// 4. A node with `step == 0` has slot 0 and a value above −∞ (so not NaN).
#[derive(Clone, Debug)]
pub(crate) struct Walker<T> {
    nodes: Vec<Packed<T>>,
    groups: Vec<([u32; LANES], u32)>,
    slots: usize,
}

impl<T: Real> Walker<T> {
    /// Takes nodes and groups of trees: the roots, and how deep the deepest goes. `None` if an invariant is broken.
    pub(crate) fn new(nodes: Vec<Packed<T>>, groups: Vec<([u32; LANES], u32)>, slots: usize) -> Option<Self> {
        let node_is_sound = |(at, node): (usize, &Packed<T>)| {
            let step = usize::from(node.step);
            let leaf = node.slot == 0 && !is_nan(node.threshold) && node.threshold > T::NEG_INFINITY;
            usize::from(node.slot) < slots && if step == 0 { leaf } else { at + step + 1 < nodes.len() }
        };
        let roots_are_sound = groups.iter().flat_map(|(roots, _)| roots).all(|&root| (root as usize) < nodes.len());
        (roots_are_sound && nodes.iter().enumerate().all(node_is_sound)).then_some(Self { nodes, groups, slots })
    }

    /// How many groups there are.
    pub(crate) fn groups(&self) -> usize {
        self.groups.len()
    }

    /// How many slots a row has.
    pub(crate) fn slots(&self) -> usize {
        self.slots
    }

    /// Bytes of the nodes.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(self.nodes.as_slice())
    }

    /// Walks a row down the trees of a group. `LESS` says whether `x < threshold` goes left, or `x <= threshold`.
    ///
    /// # Panics
    /// If there is no such group, or the row has too few slots, or slot 0 is not −∞.
    #[inline(always)]
    pub(crate) fn leaves<const LESS: bool>(&self, group: usize, row: &[T]) -> [T; LANES] {
        assert!(row.len() >= self.slots && row[0] == T::NEG_INFINITY, "the row was not filled");
        let (roots, depth) = &self.groups[group];
        let mut at = roots.map(|root| root as usize);
        for _ in 0..*depth {
            let mut moved = 0;
            for at in &mut at {
                debug_assert!(*at < self.nodes.len());
                // SAFETY: `at` is the index of a node: it begins at a root (invariant 1), and each step goes to a node, for:
                // a split leads `step` or `step + 1` further on (3); a leaf leads to itself, because it compares slot 0,
                // which is −∞ (asserted above), with a value above −∞ (4), so that it adds 0 and 0.
                let node = unsafe { *self.nodes.get_unchecked(*at) };
                debug_assert!(usize::from(node.slot) < row.len());
                // SAFETY: `slot < slots` (2), and the row has at least as many (asserted above).
                let x = unsafe { *row.get_unchecked(usize::from(node.slot)) };
                let left = if LESS { x < node.threshold } else { x <= node.threshold };
                *at += usize::from(node.step) + usize::from(!left);
                moved |= node.step;
            }
            if moved == 0 {
                break;
            }
        }
        // SAFETY: as above, `at` is the index of a node.
        at.map(|at| unsafe { self.nodes.get_unchecked(at) }.threshold)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(threshold: f32, slot: u16, step: u16) -> Packed<f32> {
        Packed { threshold, slot, step }
    }

    #[test]
    fn what_breaks_an_invariant_is_refused() {
        let sound = vec![node(0.5, 1, 1), node(10.0, 0, 0), node(20.0, 0, 0)];
        let new = |nodes: &[Packed<f32>], root| Walker::new(nodes.to_vec(), vec![([root; LANES], 1)], 2);
        let walker = new(&sound, 0).unwrap();
        assert_eq!(walker.leaves::<true>(0, &[f32::NEG_INFINITY, 0.4]), [10.0; LANES]);
        assert_eq!(walker.leaves::<true>(0, &[f32::NEG_INFINITY, 0.5]), [20.0; LANES]);
        assert_eq!(walker.leaves::<false>(0, &[f32::NEG_INFINITY, 0.5]), [10.0; LANES]);
        assert_eq!(walker.leaves::<false>(0, &[f32::NEG_INFINITY, f32::NAN]), [20.0; LANES]);
        assert!(new(&sound, 3).is_none(), "a root out of range");
        assert!(new(&sound[..2], 0).is_none(), "a child out of range");
        let with = |at: usize, other| {
            let mut nodes = sound.clone();
            nodes[at] = other;
            new(&nodes, 0).is_none()
        };
        assert!(with(0, node(0.5, 2, 1)), "a slot out of range");
        assert!(with(1, node(1.0, 1, 0)), "a leaf that compares");
        assert!(with(1, node(f32::NEG_INFINITY, 0, 0)) && with(1, node(f32::NAN, 0, 0)), "a leaf that leads on");
    }

    #[test]
    #[should_panic(expected = "the row was not filled")]
    fn a_row_that_was_not_filled_is_refused() {
        let walker = Walker::new(vec![node(1.0, 0, 0)], vec![([0; LANES], 0)], 1).unwrap();
        let _ = walker.leaves::<true>(0, &[0.0]);
    }
}
