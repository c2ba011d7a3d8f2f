//! `GET /status`: the run's counters as JSON.

use std::sync::atomic::{AtomicU64, Ordering};

use millstream_engine::Phase;
use serde_json::{Map, Value, json};

use super::Shared;
use crate::progress::phase_name;
use crate::summary;

pub fn json(shared: &Shared) -> Value {
    let live = &shared.live;
    let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let phase = live.phase();
    let outputs: Map<String, Value> =
        live.outputs.iter().map(|(name, rows)| (name.clone(), json!({ "rows": get(rows) }))).collect();
    let fraction = Some(get(&live.fraction_ppm)).filter(|&ppm| ppm != u64::MAX).map(|ppm| ppm as f64 / 1e6);
    let folded = if let Phase::Recovering { folded, left } = phase { Some((folded, left)) } else { None };
    json!({
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
        "cpu_s": summary::used().cpu.as_secs_f64(),
    })
}
