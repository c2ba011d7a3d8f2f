//! How a task starts: a decision taken from what was found, and nothing else.

use std::collections::BTreeMap;

use millstream_core::{CommitRecord, Position};

use crate::snapshot::Header;

/// What is known when a task starts.
#[derive(Debug)]
pub struct Seen<'a> {
    /// The newest commit, if the task ever committed.
    pub commit: Option<&'a CommitRecord>,
    /// Headers of the snapshots that check out, newest first.
    pub snapshots: &'a [Header],
    /// For each of them, whether the source can go back to its position.
    pub reaches: Vec<bool>,
    /// Fingerprints of the stateful steps as they are planned now.
    pub steps: &'a BTreeMap<String, String>,
    /// Whether the source can go back to where the task first began.
    pub reaches_start: bool,
    /// What the user allows where state can't be rebuilt.
    pub way_out: Option<WayOut>,
}

/// What to do where state can't be rebuilt; only the user can choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WayOut {
    /// Go on with empty state: `--state empty`.
    Empty,
    /// Fold what the input still has: `--rebuild-from earliest`.
    Earliest,
}

/// What is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lack {
    /// Events after the newest snapshot that would do.
    Retention {
        /// The offset it is of.
        snapshot: u64,
    },
    /// A snapshot with these steps.
    State {
        /// Their names.
        lost: Vec<String>,
    },
}

/// How to start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// Nothing was ever committed.
    Fresh,
    /// No step holds state: go straight to the committed position.
    Stateless {
        /// Where to go on.
        at: Position,
    },
    /// Load snapshot number `snapshot`, then fold up to the committed position, outputs suppressed.
    Restore {
        /// Index into `Seen::snapshots`.
        snapshot: usize,
        /// The committed position.
        to: Position,
        /// Steps that start empty there, with the user's leave.
        lost: Vec<String>,
    },
    /// Fold from where the task first began up to the committed position, outputs suppressed.
    Refold {
        /// Where the task first began.
        from: Position,
        /// The committed position.
        to: Position,
    },
    /// Go on at the committed position with empty state, with the user's leave.
    Empty {
        /// The committed position.
        at: Position,
    },
    /// Fold from the oldest event that is kept up to the committed position, with the user's leave.
    RefoldEarliest {
        /// The committed position.
        to: Position,
    },
    /// The input no longer reaches back far enough, and nobody allowed the loss.
    Refuse {
        /// What is missing.
        lack: Lack,
    },
}

impl Start {
    /// Whether state is lost, with or without the user's leave.
    pub fn loses(&self) -> bool {
        match self {
            Self::Fresh | Self::Stateless { .. } | Self::Refold { .. } => false,
            Self::Restore { lost, .. } => !lost.is_empty(),
            Self::Empty { .. } | Self::RefoldEarliest { .. } | Self::Refuse { .. } => true,
        }
    }
}

/// Decides how a task starts.
pub fn decide(seen: &Seen<'_>) -> Start {
    let Some(commit) = seen.commit else { return Start::Fresh };
    let to = commit.position.clone();
    if seen.steps.is_empty() {
        return Start::Stateless { at: to };
    }
    // A snapshot ahead of the commit holds epochs that never were; one of other steps holds other state; and one that
    // the input does not reach back to can't be folded on from.
    let behind =
        |h: &Header| h.position.offset <= to.offset && h.epoch <= commit.epoch && h.journal_len <= commit.journal_len;
    let whole = |h: &Header| behind(h) && includes(&h.steps, seen.steps);
    let reached = |i: usize| seen.reaches.get(i) == Some(&true);
    let find = |wanted: &dyn Fn(usize, &Header) -> bool| (0..).zip(seen.snapshots).find(|(i, h)| wanted(*i, h));
    if let Some((snapshot, _)) = find(&|i, h| whole(h) && reached(i)) {
        return Start::Restore { snapshot, to, lost: Vec::new() };
    }
    if seen.reaches_start {
        return Start::Refold { from: commit.start.clone(), to };
    }
    let partial = find(&|i, h| behind(h) && reached(i));
    let lost = seen.steps.iter().filter(|(name, print)| partial.is_none_or(|(_, h)| h.steps.get(*name) != Some(print)));
    let lost: Vec<String> = lost.map(|(name, _)| name.clone()).collect();
    match (seen.way_out, partial, find(&|_, h| whole(h))) {
        (None, _, Some((_, newest))) => Start::Refuse { lack: Lack::Retention { snapshot: newest.position.offset } },
        (None, _, None) => Start::Refuse { lack: Lack::State { lost } },
        (Some(WayOut::Earliest), _, _) => Start::RefoldEarliest { to },
        (Some(WayOut::Empty), Some((snapshot, _)), _) => Start::Restore { snapshot, to, lost },
        (Some(WayOut::Empty), None, _) => Start::Empty { at: to },
    }
}

/// Whether every step of `want` is among `have`, as it is.
pub(crate) fn includes(have: &BTreeMap<String, String>, want: &BTreeMap<String, String>) -> bool {
    want.iter().all(|(name, print)| have.get(name) == Some(print))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: u64) -> Position {
        Position { offset, cursor: String::new() }
    }

    fn steps(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
    }

    fn header(offset: u64, with: &[(&str, &str)]) -> Header {
        Header {
            pipeline: "p".into(),
            task: millstream_core::TaskId::new(0),
            epoch: 1,
            position: at(offset),
            journal_len: 0,
            steps: steps(with),
            artifacts: BTreeMap::new(),
        }
    }

    #[test]
    fn table() {
        let commit = CommitRecord { epoch: 5, start: at(2), position: at(50), ..CommitRecord::default() };
        let (a1, a2) = (&[("a", "1")][..], &[("a", "2")][..]);
        let both = &[("a", "1"), ("b", "1")][..];
        let restore = |i| Start::Restore { snapshot: i, to: at(50), lost: vec![] };
        let refuse = |lack| Start::Refuse { lack };
        let (empty, earliest) = (Some(WayOut::Empty), Some(WayOut::Earliest));
        type Case<'a> = (
            &'a str,
            Option<&'a CommitRecord>,
            Vec<(Header, bool)>,
            &'a [(&'a str, &'a str)],
            bool,
            Option<WayOut>,
            Start,
        );
        let refold = || Start::Refold { from: at(2), to: at(50) };
        let there = |offset, with| (header(offset, with), true);
        let gone = |offset, with| (header(offset, with), false);
        let cases: Vec<Case<'_>> = vec![
            ("never committed", None, vec![there(10, a1)], a1, true, None, Start::Fresh),
            ("no state", Some(&commit), vec![], &[], false, None, Start::Stateless { at: at(50) }),
            ("newest", Some(&commit), vec![there(50, a1), there(10, a1)], a1, true, None, restore(0)),
            ("ahead of the commit", Some(&commit), vec![there(60, a1), there(10, a1)], a1, true, None, restore(1)),
            ("changed", Some(&commit), vec![there(50, a1)], a2, true, None, refold()),
            ("a step was removed", Some(&commit), vec![there(50, both)], a1, true, None, restore(0)),
            ("none, refold", Some(&commit), vec![], a1, true, None, refold()),
            ("none, too late", Some(&commit), vec![], a1, false, None, refuse(Lack::State { lost: vec!["a".into()] })),
            ("none, loss allowed", Some(&commit), vec![], a1, false, empty, Start::Empty { at: at(50) }),
            ("none, what is left", Some(&commit), vec![], a1, false, earliest, Start::RefoldEarliest { to: at(50) }),
            (
                "retention passed it",
                Some(&commit),
                vec![gone(10, a1)],
                a1,
                false,
                None,
                refuse(Lack::Retention { snapshot: 10 }),
            ),
            (
                "retention passed it, loss allowed",
                Some(&commit),
                vec![gone(10, a1)],
                a1,
                false,
                empty,
                Start::Empty { at: at(50) },
            ),
            (
                "a new step, loss allowed",
                Some(&commit),
                vec![there(50, a1)],
                both,
                false,
                empty,
                Start::Restore { snapshot: 0, to: at(50), lost: vec!["b".into()] },
            ),
        ];
        for (name, commit, snapshots, want, reaches_start, way_out, expected) in cases {
            let steps = steps(want);
            let (headers, reaches): (Vec<_>, Vec<_>) = snapshots.into_iter().unzip();
            let seen = Seen { commit, snapshots: &headers, reaches, steps: &steps, reaches_start, way_out };
            assert_eq!(decide(&seen), expected, "{name}");
        }
    }
}
