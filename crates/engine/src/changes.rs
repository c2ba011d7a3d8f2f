//! A changed pipeline file: which steps keep, rebuild or lose the state of earlier runs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::PathBuf;

use millstream_connectors::codes::OUTPUT_MOVED;
use millstream_core::{Error, Result};
use serde::{Deserialize, Serialize};

use crate::codes::SNAPSHOT_WRITE;
use crate::plan::Plan;

/// What happens to the state of one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateChange {
    /// The step is as it was.
    Keep,
    /// The step is new or changed; its state is folded anew from the input.
    Rebuild,
    /// The step is new or changed, and the input can't be read again: it would start empty.
    Lose,
    /// The pipeline no longer has the step.
    Drop,
}

/// What a run would do with the state of earlier runs, step by step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StateReport {
    /// Stateful steps and what happens to them. Empty if the pipeline never ran or never held state.
    pub changes: Vec<(String, StateChange)>,
}

impl StateReport {
    /// Whether anything changes at all.
    pub fn is_quiet(&self) -> bool {
        self.changes.iter().all(|(_, c)| *c == StateChange::Keep)
    }
}

impl fmt::Display for StateReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, change) in &self.changes {
            let what = match change {
                StateChange::Keep => "keeps its state",
                StateChange::Rebuild => "is new or changed: its state is rebuilt from the start of the input",
                StateChange::Lose => {
                    "is new or changed, and the input can't be read again: it would start empty (needs `--state empty`)"
                }
                StateChange::Drop => "is gone: its state is dropped",
            };
            writeln!(f, "step `{name}` {what}")?;
        }
        Ok(())
    }
}

/// What the last run of a pipeline looked like; written when a run starts.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Manifest {
    steps: BTreeMap<String, String>,
    /// What each output's rows look like, as far as it may not change.
    #[serde(default)]
    outputs: BTreeMap<String, String>,
}

fn manifest_path(plan: &Plan) -> PathBuf {
    plan.env.data_dir().join("pipelines").join(format!("{}.json", plan.name))
}

/// Writes down the steps of the run that starts now.
pub(crate) fn remember(plan: &Plan) -> Result<()> {
    let path = manifest_path(plan);
    let manifest = Manifest { steps: plan.fingerprints(), outputs: plan.output_forms() };
    let write = || -> std::io::Result<()> {
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir)?;
        }
        // Other processes of the pipeline may start at the same moment.
        let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
        fs::write(&temporary, serde_json::to_vec_pretty(&manifest)?)?;
        fs::rename(&temporary, &path)
    };
    write().map_err(|e| Error::new(SNAPSHOT_WRITE, format!("can't write `{}`", path.display())).because(e))
}

/// Refuses to go on with an output whose rows would no longer fit those that are there. `written` names the outputs
/// that rows were committed to.
pub(crate) fn check_outputs(plan: &Plan, written: &BTreeSet<String>) -> Result<()> {
    let Ok(text) = fs::read(manifest_path(plan)) else { return Ok(()) };
    let earlier: Manifest = serde_json::from_slice(&text).unwrap_or_default();
    for (name, form) in plan.output_forms().into_iter().filter(|(name, _)| written.contains(name)) {
        let Some(before) = earlier.outputs.get(&name).filter(|before| **before != form) else { continue };
        return Err(Error::new(OUTPUT_MOVED, format!("output `{name}` holds {before}, and is now to hold {form}"))
            .help("give the new rows another path under another output name, change it back, or start over with `--fresh`"));
    }
    Ok(())
}

/// Forgets what the last run looked like.
pub(crate) fn forget(plan: &Plan) {
    // Gone already is as good.
    let _ = fs::remove_file(manifest_path(plan));
}

/// Compares the plan with the last run.
pub(crate) fn report(plan: &Plan) -> Result<StateReport> {
    let Ok(text) = fs::read(manifest_path(plan)) else { return Ok(StateReport::default()) };
    // A damaged manifest only costs the report; recovery itself goes by the snapshots' own headers.
    let earlier: Manifest = serde_json::from_slice(&text).unwrap_or_default();
    let replayable = plan.source.spec.delivery() == millstream_core::Delivery::ExactlyOnce;
    Ok(compare(&earlier.steps, &plan.fingerprints(), replayable))
}

fn compare(earlier: &BTreeMap<String, String>, now: &BTreeMap<String, String>, replayable: bool) -> StateReport {
    let mut changes: Vec<_> = now
        .iter()
        .map(|(name, print)| {
            let change = match (earlier.get(name) == Some(print), replayable) {
                (true, _) => StateChange::Keep,
                (false, true) => StateChange::Rebuild,
                (false, false) => StateChange::Lose,
            };
            (name.clone(), change)
        })
        .collect();
    changes.extend(earlier.keys().filter(|k| !now.contains_key(*k)).map(|k| (k.clone(), StateChange::Drop)));
    StateReport { changes }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compares_by_name_and_fingerprint() {
        let map = |pairs: &[(&str, &str)]| pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
        let earlier = map(&[("a", "1"), ("b", "1"), ("gone", "1")]);
        let now = map(&[("a", "1"), ("b", "2"), ("c", "1")]);
        let report = compare(&earlier, &now, true);
        let expected = [
            ("a", StateChange::Keep),
            ("b", StateChange::Rebuild),
            ("c", StateChange::Rebuild),
            ("gone", StateChange::Drop),
        ];
        assert_eq!(report.changes, expected.map(|(n, c)| (n.to_owned(), c)));
        assert_eq!(compare(&earlier, &now, false).changes[1].1, StateChange::Lose);
    }
}
