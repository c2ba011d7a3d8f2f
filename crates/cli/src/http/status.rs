//! `GET /status`: the run's counters as JSON.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use millstream_core::time::WATERMARK_START;
use millstream_core::{Result, TaskId};
use millstream_engine::{Phase, TaskStatus};
use serde_json::{Map, Value, json};

use super::Shared;
use crate::progress::phase_name;
use crate::summary;

/// What this process knows of its tasks.
fn tasks(shared: &Shared) -> Result<Vec<Value>> {
    let committed = match &shared.log {
        Some(log) => log.committed(&shared.pipeline)?,
        None => BTreeMap::new(),
    };
    let task = |(task, status): (TaskId, TaskStatus)| {
        let watermark_ms = (status.watermark != WATERMARK_START).then(|| status.watermark.div_euclid(1_000_000));
        json!({
            "task": task.to_string(),
            "partition": task.partition,
            "position": status.position,
            "committed": committed.get(&task),
            "end": status.lag.map(|lag| status.position + lag),
            "lag": status.lag,
            "watermark_ms": watermark_ms,
            "state_keys": status.state_keys,
            "state_bytes": status.state_bytes,
        })
    };
    Ok(shared.live.tasks().into_iter().map(task).collect())
}

pub fn json(shared: &Shared) -> Result<Value> {
    let live = &shared.live;
    let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let phase = live.phase();
    let outputs: Map<String, Value> =
        live.outputs.iter().map(|(name, rows)| (name.clone(), json!({ "rows": get(rows) }))).collect();
    let fraction = Some(get(&live.fraction_ppm)).filter(|&ppm| ppm != u64::MAX).map(|ppm| ppm as f64 / 1e6);
    let folded = if let Phase::Recovering { folded, left } = phase { Some((folded, left)) } else { None };
    Ok(json!({
        "pipeline": shared.pipeline,
        "version": env!("CARGO_PKG_VERSION"),
        "pid": std::process::id(),
        "uptime_s": shared.started.elapsed().as_secs_f64(),
        "phase": phase_name(phase),
        "folded": folded.map(|(folded, _)| folded),
        "left_to_fold": folded.map(|(_, left)| left),
        "events": get(&live.events),
        "predictions": get(&live.predictions),
        "dead_letters": get(&live.dead_letters),
        "late_dropped": get(&live.late_dropped),
        "epochs": get(&live.epochs),
        "lag": get(&live.lag),
        "fraction_read": fraction,
        "outputs": outputs,
        "tasks": tasks(shared)?,
        "cpu_s": summary::used().cpu.as_secs_f64(),
    }))
}
