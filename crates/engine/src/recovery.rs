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
    /// Fingerprints of the stateful steps as they are planned now.
    pub steps: &'a BTreeMap<String, String>,
    /// Whether the source can go back to where the task first began.
    pub reaches_start: bool,
    /// Whether the user allows state to be lost.
    pub allow_state_loss: bool,
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
    /// The input no longer reaches back far enough, and nobody allowed the loss.
    Refuse {
        /// Steps whose state would be lost.
        lost: Vec<String>,
    },
}

/// Decides how a task starts.
pub fn decide(seen: &Seen<'_>) -> Start {
    let Some(commit) = seen.commit else { return Start::Fresh };
    let to = commit.position.clone();
    if seen.steps.is_empty() {
        return Start::Stateless { at: to };
    }
    // A snapshot ahead of the commit holds epochs that never were; one of other steps holds other state.
    let usable =
        |h: &Header| h.position.offset <= to.offset && h.epoch <= commit.epoch && h.journal_len <= commit.journal_len;
    if let Some(snapshot) = seen.snapshots.iter().position(|h| usable(h) && includes(&h.steps, seen.steps)) {
        return Start::Restore { snapshot, to, lost: Vec::new() };
    }
    if seen.reaches_start {
        return Start::Refold { from: commit.start.clone(), to };
    }
    let newest = seen.snapshots.iter().position(usable);
    let lost: Vec<String> = seen
        .steps
        .iter()
        .filter(|(name, print)| newest.is_none_or(|i| seen.snapshots[i].steps.get(*name) != Some(print)))
        .map(|(name, _)| name.clone())
        .collect();
    match (seen.allow_state_loss, newest) {
        (false, _) => Start::Refuse { lost },
        (true, Some(snapshot)) => Start::Restore { snapshot, to, lost },
        (true, None) => Start::Empty { at: to },
    }
}

fn includes(have: &BTreeMap<String, String>, want: &BTreeMap<String, String>) -> bool {
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
        type Case<'a> = (&'a str, Option<&'a CommitRecord>, Vec<Header>, &'a [(&'a str, &'a str)], bool, bool, Start);
        let cases: Vec<Case<'_>> = vec![
            ("never committed", None, vec![header(10, a1)], a1, true, false, Start::Fresh),
            ("no state", Some(&commit), vec![], &[], false, false, Start::Stateless { at: at(50) }),
            ("newest", Some(&commit), vec![header(50, a1), header(10, a1)], a1, true, false, restore(0)),
            (
                "one ahead of the commit",
                Some(&commit),
                vec![header(60, a1), header(10, a1)],
                a1,
                true,
                false,
                restore(1),
            ),
            (
                "changed",
                Some(&commit),
                vec![header(50, a1)],
                a2,
                true,
                false,
                Start::Refold { from: at(2), to: at(50) },
            ),
            ("a step was removed", Some(&commit), vec![header(50, both)], a1, true, false, restore(0)),
            ("none, refold", Some(&commit), vec![], a1, true, false, Start::Refold { from: at(2), to: at(50) }),
            ("none, too late", Some(&commit), vec![], a1, false, false, Start::Refuse { lost: vec!["a".into()] }),
            ("none, loss allowed", Some(&commit), vec![], a1, false, true, Start::Empty { at: at(50) }),
            (
                "a new step, loss allowed",
                Some(&commit),
                vec![header(50, a1)],
                both,
                false,
                true,
                Start::Restore { snapshot: 0, to: at(50), lost: vec!["b".into()] },
            ),
        ];
        for (name, commit, snapshots, want, reaches_start, allow_state_loss, expected) in cases {
            let steps = steps(want);
            let seen = Seen { commit, snapshots: &snapshots, steps: &steps, reaches_start, allow_state_loss };
            assert_eq!(decide(&seen), expected, "{name}");
        }
    }
}
