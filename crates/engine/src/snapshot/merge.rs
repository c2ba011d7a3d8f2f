//! A new whole out of the last whole and the changes since, made by the writer's thread without the steps.
//!
//! A cut of a task is its watermark, then for each stateful step its name, whether its state is entries, and its state.

use millstream_core::{Result, StateReader, StateWriter, entries};

struct TaskCut<'a> {
    watermark: &'a [u8],
    steps: Vec<StepCut<'a>>,
}

#[derive(Clone, Copy)]
pub(crate) struct StepCut<'a> {
    pub(crate) name: &'a str,
    pub(crate) entries: bool,
    pub(crate) state: &'a [u8],
}

/// Reads the steps of a cut, after the watermark.
pub(crate) fn read_steps<'a>(state: &mut StateReader<'a>) -> Result<Vec<StepCut<'a>>> {
    (0..state.len(17)?)
        .map(|_| Ok(StepCut { name: state.str()?, entries: state.bool()?, state: state.bytes()? }))
        .collect()
}

/// Merges cuts, oldest first, the first of which is a full one.
pub(crate) fn merge(cuts: &[Vec<u8>]) -> Result<Vec<u8>> {
    let mut read = Vec::with_capacity(cuts.len());
    for cut in cuts {
        let mut state = StateReader::new(cut);
        read.push(TaskCut { watermark: state.bytes()?, steps: read_steps(&mut state)? });
    }
    let mut out = StateWriter::new();
    let Some(newest) = read.last() else { return Ok(Vec::new()) };
    out.bytes(newest.watermark);
    out.u64(newest.steps.len() as u64);
    for step in &newest.steps {
        out.str(step.name);
        out.bool(step.entries);
        if !step.entries {
            out.bytes(step.state);
            continue;
        }
        let same = read.iter().filter_map(|cut| cut.steps.iter().rfind(|s| s.name == step.name));
        let texts: Vec<&[u8]> = same.filter(|s| s.entries).map(|s| s.state).collect();
        let mut merged = Ok(());
        out.nested(|out| merged = entries::merge(&texts, out));
        merged?;
    }
    Ok(out.into_bytes())
}
