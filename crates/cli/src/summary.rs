//! What a run says when it has ended.

use std::time::Duration;

use millstream_engine::Summary;
use nix::sys::resource::{Usage, UsageWho, getrusage};

use crate::output::{duration, table, thousands};

/// What the process used.
#[derive(Clone, Copy, Debug, Default)]
pub struct Used {
    /// User and system time of all threads.
    pub cpu: Duration,
    /// The most memory that was resident at once, in bytes.
    pub memory_max: u64,
}

/// What this process has used up to now; zero where the system does not say.
pub fn used() -> Used {
    getrusage(UsageWho::RUSAGE_SELF).map_or_else(|_| Used::default(), |usage| from_usage(&usage))
}

fn from_usage(usage: &Usage) -> Used {
    let time = |t: nix::sys::time::TimeVal| {
        Duration::new(u64::try_from(t.tv_sec()).unwrap_or(0), u32::try_from(t.tv_usec()).unwrap_or(0) * 1000)
    };
    // Linux counts in KiB, macOS in bytes.
    let unit = if cfg!(target_os = "macos") { 1 } else { 1024 };
    let memory_max = u64::try_from(usage.max_rss()).unwrap_or(0) * unit;
    Used { cpu: time(usage.user_time()) + time(usage.system_time()), memory_max }
}

/// Events a second over the whole run.
fn rate(summary: &Summary) -> u64 {
    (summary.events as f64 / summary.wall.as_secs_f64().max(1e-9)).round() as u64
}

/// Whether there was nothing left to do.
fn nothing_new(summary: &Summary) -> bool {
    summary.events == 0 && summary.resumed_after > 0 && !summary.stopped
}

/// The summary for people: a block of counts, the outputs, the latencies.
pub fn text(name: &str, file: &str, summary: &Summary, outputs: &[(String, String)], used: Used) -> String {
    let how = if summary.stopped { "stopped; everything read is committed" } else { "end of input" };
    let mut text = format!("\n{name}: {how}\n");
    if nothing_new(summary) {
        text += &format!(
            "  nothing new to read: all {} events were committed by earlier runs\n  \
             help: `millstream run {file} --fresh` reads them again from the beginning\n",
            thousands(summary.resumed_after)
        );
    }
    text += &indent(&table(&["", ""], &counts(summary, used), &[1]));
    text += "\n";
    text += &indent(&table(&["output", "rows", "where"], &output_rows(summary, outputs), &[1]));
    // A stage that saw no event has no latency.
    let stages: Vec<Vec<String>> = summary
        .stages
        .iter()
        .filter(|s| !s.p99.is_zero())
        .map(|s| vec![s.stage.clone(), duration(s.p50), duration(s.p99)])
        .collect();
    if !stages.is_empty() {
        text += "\n";
        text += &indent(&table(&["latency of", "p50", "p99"], &stages, &[1, 2]));
    }
    text
}

fn counts(summary: &Summary, used: Used) -> Vec<Vec<String>> {
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut row = |what: &str, value: String| rows.push(vec![what.to_owned(), value]);
    row("events", thousands(summary.events));
    if summary.resumed_after > 0 {
        row("committed before", thousands(summary.resumed_after));
    }
    if summary.folded > 0 {
        row("folded for state", thousands(summary.folded));
    }
    row("predictions", thousands(summary.predictions));
    row("dead letters", thousands(summary.dead_letters));
    row("late, dropped", thousands(summary.late_dropped));
    row("epochs", thousands(summary.epochs));
    row("wall time", duration(summary.wall));
    if let Some(first) = summary.first_output {
        row("to first output", duration(first));
    }
    row("events/s", thousands(rate(summary)));
    row("CPU time", duration(used.cpu));
    row("peak memory", format!("{} MB", thousands(used.memory_max / 1_000_000)));
    rows
}

fn output_rows(summary: &Summary, outputs: &[(String, String)]) -> Vec<Vec<String>> {
    let place =
        |name: &str| outputs.iter().find(|(n, _)| n == name).map(|(_, place)| place.clone()).unwrap_or_default();
    summary.outputs.iter().map(|(name, rows)| vec![name.clone(), thousands(*rows), place(name)]).collect()
}

fn indent(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}

/// The summary for programs: one JSON object.
pub fn json(name: &str, summary: &Summary, outputs: &[(String, String)], used: Used) -> serde_json::Value {
    let ms = |d: Duration| d.as_secs_f64() * 1e3;
    let outputs = summary.outputs.iter().map(|(output, rows)| {
        let place = outputs.iter().find(|(n, _)| n == output).map(|(_, place)| place);
        serde_json::json!({ "name": output, "rows": rows, "where": place })
    });
    let stages = summary
        .stages
        .iter()
        .map(|s| serde_json::json!({ "stage": s.stage, "p50_ms": ms(s.p50), "p99_ms": ms(s.p99) }));
    serde_json::json!({
        "pipeline": name,
        "events": summary.events,
        "committed_before": summary.resumed_after,
        "folded": summary.folded,
        "predictions": summary.predictions,
        "dead_letters": summary.dead_letters,
        "late_dropped": summary.late_dropped,
        "epochs": summary.epochs,
        "wall_ms": ms(summary.wall),
        "first_output_ms": summary.first_output.map(ms),
        "events_per_s": rate(summary),
        "cpu_ms": ms(used.cpu),
        "memory_max_bytes": used.memory_max,
        "stopped": summary.stopped,
        "outputs": outputs.collect::<Vec<_>>(),
        "stages": stages.collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use millstream_engine::StageLatency;

    fn summary(events: u64) -> Summary {
        Summary {
            events,
            resumed_after: 1000,
            folded: 0,
            predictions: events,
            outputs: vec![("scores".to_owned(), events)],
            dead_letters: 0,
            late_dropped: 0,
            epochs: 3,
            wall: Duration::from_millis(500),
            first_output: Some(Duration::from_millis(40)),
            stages: vec![StageLatency {
                stage: "decode".to_owned(),
                p50: Duration::from_micros(10),
                p99: Duration::from_micros(90),
            }],
            stopped: false,
        }
    }

    #[test]
    fn an_idle_run_points_to_fresh() {
        let outputs = [("scores".to_owned(), "file out/scores.ndjson".to_owned())];
        let idle = text("fraud", "p.yaml", &summary(0), &outputs, Used::default());
        assert!(idle.contains("nothing new to read: all 1,000 events"), "{idle}");
        assert!(idle.contains("millstream run p.yaml --fresh"), "{idle}");
        let busy = text("fraud", "p.yaml", &summary(2000), &outputs, Used::default());
        assert!(!busy.contains("--fresh"), "{busy}");
        assert!(busy.contains("events/s            4,000\n"), "{busy}");
        assert!(busy.contains("scores  2,000  file out/scores.ndjson\n"), "{busy}");
        assert!(busy.contains("decode      10.0 µs  90.0 µs\n"), "{busy}");
    }

    #[test]
    fn the_process_used_something() {
        assert!(used().memory_max > 0);
    }
}
