//! `millstream status`: what the backend, the snapshots and the processes that run a pipeline say of each partition.

use std::collections::{BTreeMap, BTreeSet};

use millstream_connectors::look::{Owner, time_text};
use millstream_core::time::WATERMARK_START;
use millstream_core::{Result, TaskId};
use millstream_engine::Plan;
use millstream_engine::status::{self, Overview, SnapshotStatus, Standing};
use serde::{Deserialize, Serialize};

use crate::args::{LogFormat, StatusArgs};
use crate::failure::Outcome;
use crate::http::discovery::Announcement;
use crate::output::{self, table, thousands};
use crate::plan;
use crate::topic::remote::Remote;

/// A task as the process that runs it sees it: part of `GET /status`.
#[derive(Clone, Debug, Deserialize)]
struct Seen {
    task: String,
    partition: u32,
    position: u64,
    committed: Option<u64>,
    end: Option<u64>,
    watermark_ms: Option<i64>,
    state_keys: u64,
    state_bytes: u64,
}

#[derive(Deserialize)]
struct Said {
    #[serde(default)]
    tasks: Vec<Seen>,
}

/// A partition, as it is printed.
#[derive(Debug, Default, Serialize)]
struct Row {
    task: String,
    topic: Option<String>,
    partition: u32,
    owner: Option<String>,
    instance: Option<String>,
    position: Option<u64>,
    committed: Option<u64>,
    start: Option<u64>,
    end: Option<u64>,
    lag: Option<u64>,
    watermark_ms: Option<i64>,
    state_keys: Option<u64>,
    state_bytes: Option<u64>,
    snapshot: Option<SnapshotRow>,
}

#[derive(Debug, Serialize)]
struct SnapshotRow {
    offset: u64,
    age_s: f64,
    bytes: u64,
}

/// A process that runs the pipeline.
#[derive(Debug, Serialize)]
struct Process {
    name: String,
    pid: Option<u32>,
    http: Option<String>,
    /// Whether it was asked.
    answers: bool,
}

/// All of it.
#[derive(Debug, Default, Serialize)]
struct Status {
    pipeline: String,
    processes: Vec<Process>,
    partitions: Vec<Row>,
}

/// Prints where a pipeline stands.
pub fn status(args: &StatusArgs) -> Outcome {
    let plan = plan::plan(&args.file, false, plan::data_dir(args.data_dir.as_deref()), LogFormat::Text, true)?;
    let status = gather(&plan)?;
    if args.json {
        // Plain maps, lists and numbers always have a JSON form.
        return output::print(serde_json::to_string_pretty(&status).unwrap_or_default() + "\n");
    }
    output::print(text(&status, &args.file.display().to_string()))
}

fn gather(plan: &Plan) -> Result<Status> {
    // Whoever has the log says all there is to say about it; nobody else can look into it.
    if plan.uses_log()
        && let Some(announced) = Announcement::read(plan.env().data_dir())
        && announced.pipeline == plan.name()
        && let Some(run) = Remote::connect(&announced)
    {
        return of_run(plan, &announced, &run);
    }
    let Overview { tasks, owners } = status::overview(plan)?;
    let (processes, mut seen) = ask(plan, &owners);
    let rows = tasks.into_iter().map(|standing| {
        let owner = owners.iter().find(|owner| owner.tasks.contains(&standing.task));
        row(&standing, owner, seen.remove(&standing.task.to_string()))
    });
    Ok(Status { pipeline: plan.name().to_owned(), partitions: rows.collect(), processes })
}

/// Asks every process of this machine once.
fn ask(plan: &Plan, owners: &[Owner]) -> (Vec<Process>, BTreeMap<String, Seen>) {
    let (mut processes, mut seen) = (Vec::new(), BTreeMap::new());
    let mut known = BTreeSet::new();
    for owner in owners.iter().filter(|owner| known.insert(owner.name.clone())) {
        let pid = owner.host.as_ref().map(|(_, pid)| *pid);
        let said = owner.http.zip(pid).filter(|_| owner.is_here()).and_then(|(address, pid)| {
            let run = Remote::connect(&Announcement { pid, address, pipeline: plan.name().to_owned() })?;
            serde_json::from_value::<Said>(run.status().ok()?).ok()
        });
        let http = owner.http.map(|address| address.to_string());
        processes.push(Process { name: owner.name.clone(), pid, http, answers: said.is_some() });
        seen.extend(said.into_iter().flat_map(|said| said.tasks).map(|task| (task.task.clone(), task)));
    }
    (processes, seen)
}

/// What a run that has the log says.
fn of_run(plan: &Plan, announced: &Announcement, run: &Remote) -> Result<Status> {
    let said: Said = serde_json::from_value(run.status()?).unwrap_or(Said { tasks: Vec::new() });
    let name = format!("process {}", announced.pid);
    let process = Process {
        name: name.clone(),
        pid: Some(announced.pid),
        http: Some(announced.address.to_string()),
        answers: true,
    };
    let commits = if plan.commits_to_log() { BTreeMap::new() } else { status::committed(plan)? };
    let mut rows = Vec::new();
    for seen in said.tasks {
        let task = TaskId::new(seen.partition);
        let standing = Standing {
            task,
            topic: None,
            bounds: None,
            committed: seen.committed.or(commits.get(&task).copied()),
            snapshot: status::snapshot(plan, task)?,
        };
        rows.push(Row { owner: Some(name.clone()), ..row(&standing, None, Some(seen)) });
    }
    Ok(Status { pipeline: plan.name().to_owned(), processes: vec![process], partitions: rows })
}

fn row(standing: &Standing, owner: Option<&Owner>, seen: Option<Seen>) -> Row {
    let snapshot = standing.snapshot;
    let kept = snapshot.map(|s| s.watermark).filter(|w| *w != WATERMARK_START).map(|ns| ns.div_euclid(1_000_000));
    let end = standing.bounds.map(|(_, end)| end).or(seen.as_ref().and_then(|seen| seen.end));
    let start = standing.bounds.map(|(start, _)| start);
    Row {
        task: standing.task.to_string(),
        topic: standing.topic.clone(),
        partition: standing.task.partition,
        owner: owner.map(|owner| owner.name.clone()),
        instance: owner.and_then(|owner| owner.instance.clone()),
        position: seen.as_ref().map(|seen| seen.position),
        committed: standing.committed,
        start,
        end,
        lag: end.zip(standing.committed.or(start)).map(|(end, from)| end.saturating_sub(from)),
        watermark_ms: seen.as_ref().map_or(kept, |seen| seen.watermark_ms),
        state_keys: seen.as_ref().map(|seen| seen.state_keys),
        state_bytes: seen.map(|seen| seen.state_bytes),
        snapshot: snapshot.map(|s: SnapshotStatus| SnapshotRow {
            offset: s.offset,
            age_s: s.age.as_secs_f64(),
            bytes: s.bytes,
        }),
    }
}

fn text(status: &Status, file: &str) -> String {
    let processes = status.processes.len();
    let head = match processes {
        0 => format!("{}: not running\n", status.pipeline),
        1 => format!("{}: 1 process\n", status.pipeline),
        _ => format!("{}: {processes} processes\n", status.pipeline),
    };
    if status.partitions.is_empty() {
        return format!("{head}nothing was read or committed yet; `millstream run {file}` begins\n");
    }
    let several = status.partitions.iter().any(|row| row.topic != status.partitions[0].topic);
    let rows: Vec<Vec<String>> = status.partitions.iter().map(|row| cells(row, several)).collect();
    let mut header =
        vec!["partition", "owner", "position", "committed", "end", "lag", "watermark", "state", "snapshot", "of"];
    let mut right = vec![0, 2, 3, 4, 5, 7, 9];
    if several {
        header.insert(0, "topic");
        right.iter_mut().for_each(|column| *column += 1);
    }
    let silent: Vec<&str> = status.processes.iter().filter(|p| !p.answers).map(|p| p.name.as_str()).collect();
    let mut text = head + &table(&header, &rows, &right);
    if !silent.is_empty() {
        text += &format!(
            "positions and state of {} can't be asked from here: run this on its machine, with its `http:` on\n",
            silent.join(", ")
        );
    }
    if status.partitions.iter().all(|row| row.end == Some(0)) {
        text += "the input has no records yet\n";
    }
    text
}

fn cells(row: &Row, with_topic: bool) -> Vec<String> {
    let dash = || "-".to_owned();
    let number = |n: Option<u64>| n.map_or_else(dash, thousands);
    let mut cells = vec![
        row.partition.to_string(),
        row.owner.clone().unwrap_or_else(dash),
        number(row.position),
        number(row.committed),
        number(row.end),
        number(row.lag),
        row.watermark_ms.and_then(time_text).unwrap_or_else(dash),
        row.state_bytes.map_or_else(dash, size),
        row.snapshot.as_ref().map_or_else(dash, |s| format!("{} ago, {}", age(s.age_s), size(s.bytes))),
        number(row.snapshot.as_ref().map(|s| s.offset)),
    ];
    if with_topic {
        cells.insert(0, row.topic.clone().unwrap_or_else(dash));
    }
    cells
}

fn age(seconds: f64) -> String {
    output::duration(std::time::Duration::from_secs_f64(seconds.max(0.0).round()))
        .replace(".00 s", " s")
        .replace(".0 s", " s")
        .replace("0 ns", "0 s")
}

/// `12.3 MB`
fn size(bytes: u64) -> String {
    let (value, unit) = match bytes {
        0..1000 => return format!("{bytes} B"),
        1000..1_000_000 => (bytes as f64 / 1e3, "kB"),
        1_000_000..1_000_000_000 => (bytes as f64 / 1e6, "MB"),
        _ => (bytes as f64 / 1e9, "GB"),
    };
    format!("{value:.*} {unit}", usize::from(value < 100.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_ages_for_people() {
        assert_eq!(
            [size(0), size(999), size(1234), size(250_000), size(12_345_678)].join(" "),
            "0 B 999 B 1.2 kB 250 kB 12.3 MB"
        );
        assert_eq!([age(0.2), age(3.4), age(42.0), age(185.0)].join(", "), "0 s, 3 s, 42 s, 3m 05s");
    }

    #[test]
    fn what_is_not_known_is_a_dash() {
        let row = Row { partition: 3, end: Some(12_000), lag: Some(12_000), ..Row::default() };
        let status = Status { pipeline: "p".to_owned(), processes: Vec::new(), partitions: vec![row] };
        let text = text(&status, "p.yaml");
        assert!(text.starts_with("p: not running\n"), "{text}");
        assert!(
            text.lines().nth(2).unwrap().split_whitespace().eq("3 - - - 12,000 12,000 - - - -".split(' ')),
            "{text}"
        );
    }
}
