//! Tree inference next to the C interfaces of other libraries: one thread, in turns, in one process.
//!
//! Everything is called from here, compiled code calling compiled code; no interpreter stands between. Every rival's
//! predictions are first compared with Millstream's. Then each takes its turn at the same events, for many rounds; a figure
//! is the median of the rounds' CPU time for a row. For the cold figures a buffer larger than the caches is written before
//! every event, and the median of single calls is taken.
//!
//! `run.sh` makes the models and the libraries and calls this.

mod clock;
mod compiled;
mod frameworks;
mod library;
mod millstream;
mod onnxruntime;
mod scorer;

use std::fmt::Write as _;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clock::{cpu_ns, median};
use compiled::{Lleaves, Tl2cgen, Which};
use frameworks::{Lightgbm, Xgboost};
use millstream::Millstream;
use millstream_trees::{Instructions, Output};
use onnxruntime::OnnxRuntime;
use scorer::{Events, Result, Scorer};

/// Events of one turn.
const TURN: usize = 512;

/// Bytes that push everything else out of the caches.
const FLUSH_BYTES: usize = 96 << 20;

/// A model of the benchmark.
struct Case {
    title: &'static str,
    file: &'static str,
    /// Whether its events have missing values.
    missing: bool,
}

const CASES: [Case; 6] = [
    Case { title: "XGBoost, 100 trees of depth 6", file: "xgb-100x6.ubj", missing: true },
    Case { title: "XGBoost, 500 trees of depth 8", file: "xgb-500x8.ubj", missing: true },
    Case { title: "LightGBM, 100 trees of 31 leaves", file: "lgbm-100x31.txt", missing: true },
    Case { title: "LightGBM, 500 trees of 127 leaves", file: "lgbm-500x127.txt", missing: true },
    Case { title: "scikit-learn IsolationForest, 100 trees", file: "iforest-100.onnx", missing: false },
    Case { title: "scikit-learn RandomForestClassifier, 100 deep trees", file: "rf-100.onnx", missing: false },
];

/// A contestant's figures in ns per row: batch 1, batch 64, cold.
struct Figures {
    name: String,
    hot: [f64; 2],
    cold: f64,
}

struct Arguments {
    models: PathBuf,
    packages: PathBuf,
    rounds: usize,
    cold_events: usize,
    only: Option<String>,
    write: Option<PathBuf>,
}

fn main() -> Result<()> {
    let arguments = arguments()?;
    let mut text = String::new();
    for case in &CASES {
        if arguments.only.as_ref().is_none_or(|only| case.file.contains(only)) {
            let section = run(case, &arguments)?;
            print!("{section}");
            text += &section;
        }
    }
    match &arguments.write {
        // Half a section would take the place of a whole one.
        Some(path) if arguments.only.is_none() => write_section(path, &text, arguments.rounds),
        _ => Ok(()),
    }
}

fn arguments() -> Result<Arguments> {
    let mut words = std::env::args().skip(1);
    let mut arguments = Arguments {
        models: PathBuf::new(),
        packages: PathBuf::new(),
        rounds: 41,
        cold_events: 101,
        only: None,
        write: None,
    };
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value"));
        match word.as_str() {
            "--models" => arguments.models = value()?.into(),
            "--packages" => arguments.packages = value()?.into(),
            "--rounds" => arguments.rounds = value()?.parse()?,
            "--cold-events" => arguments.cold_events = value()?.parse()?,
            "--only" => arguments.only = Some(value()?),
            "--write" => arguments.write = Some(value()?.into()),
            other => return Err(format!("unknown option `{other}`").into()),
        }
    }
    Ok(arguments)
}

/// The contestants, Millstream first.
fn contestants(case: &Case, arguments: &Arguments) -> Result<(String, Vec<Box<dyn Scorer>>)> {
    let path = arguments.models.join(case.file);
    let stem = path.with_extension("");
    let beside = |extension: &str| PathBuf::from(format!("{}.{extension}", stem.display()));
    let packages = |library: &str| arguments.packages.join(library);
    let onnx = case.file.ends_with(".onnx");
    let output = if onnx { Output::Prediction } else { Output::Raw };
    let auto = Millstream::open(&path, Instructions::Auto, output)?;
    let description = auto.describe();
    let mut list: Vec<Box<dyn Scorer>> = vec![Box::new(auto)];
    for instructions in [Instructions::Avx2, Instructions::Portable] {
        if instructions.available() {
            list.push(Box::new(Millstream::open(&path, instructions, output)?));
        }
    }
    let which = match case.file {
        file if file.starts_with("iforest") => Which::Decision,
        _ if onnx => Which::Prediction,
        _ => Which::Margin,
    };
    list.push(Box::new(Tl2cgen::open(&beside("tl2cgen.so"), which)?));
    if case.file.ends_with(".ubj") {
        list.push(Box::new(Xgboost::open(&packages("xgboost/lib/libxgboost.so"), &path)?));
    } else if case.file.ends_with(".txt") {
        list.push(Box::new(Lightgbm::open(&packages("lightgbm/lib/lib_lightgbm.so"), &path)?));
        list.push(Box::new(Lleaves::open(&beside("lleaves.so"))?));
    } else {
        let library = onnxruntime_library(&packages("onnxruntime/capi"))?;
        let (name, width) = if case.file.starts_with("iforest") { ("scores", 1) } else { ("probabilities", 2) };
        list.push(Box::new(OnnxRuntime::open(&library, &path, name, width)?));
    }
    Ok((description, list))
}

fn onnxruntime_library(folder: &Path) -> Result<PathBuf> {
    let named = |path: &PathBuf| path.file_name().is_some_and(|n| n.to_string_lossy().starts_with("libonnxruntime.so"));
    let mut found = std::fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.path())).filter(named);
    found.next().ok_or_else(|| format!("no libonnxruntime.so in {}", folder.display()).into())
}

fn run(case: &Case, arguments: &Arguments) -> Result<String> {
    let name = if case.missing { "events-missing.f64" } else { "events.f64" };
    let events = Events::read(&arguments.models.join(name))?;
    let (description, mut list) = contestants(case, arguments)?;
    compare(&mut list, &events)?;
    let mut hot = vec![[Vec::new(), Vec::new()]; list.len()];
    let mut cold = vec![Vec::new(); list.len()];
    for round in 0..arguments.rounds {
        for (scorer, samples) in list.iter_mut().zip(&mut hot) {
            for (batch, samples) in [1, 64].into_iter().zip(samples) {
                samples.push(turn(scorer.as_mut(), &events, round, batch)?);
            }
        }
    }
    let mut flush = vec![0u8; FLUSH_BYTES];
    for event in 0..arguments.cold_events {
        for (scorer, samples) in list.iter_mut().zip(&mut cold) {
            flush.iter_mut().step_by(64).for_each(|byte| *byte = byte.wrapping_add(1));
            black_box(&mut flush);
            let mut out = [0.0];
            let started = Instant::now();
            scorer.predict(&events, event % events.count(), &mut out)?;
            samples.push(started.elapsed().as_nanos() as f64);
        }
    }
    let figures: Vec<Figures> = list
        .iter()
        .zip(hot.into_iter().zip(cold))
        .map(|(scorer, (hot, cold))| Figures { name: scorer.name(), hot: hot.map(median), cold: median(cold) })
        .collect();
    Ok(table(case, &description, &figures))
}

/// The CPU time of a row in one turn.
fn turn(scorer: &mut dyn Scorer, events: &Events, round: usize, batch: usize) -> Result<f64> {
    let first = round * TURN % (events.count() - TURN + 1);
    let mut out = vec![0.0; batch];
    let mut predict = |start: usize, rows: usize| -> Result<()> {
        for row in (start..start + rows).step_by(batch) {
            scorer.predict(events, row, &mut out)?;
            black_box(&out);
        }
        Ok(())
    };
    // What the others left in the caches is not this one's fault.
    predict(first, TURN / 4)?;
    let started = cpu_ns();
    predict(first, TURN)?;
    Ok((cpu_ns() - started) / TURN as f64)
}

/// Refuses to measure what predicts something else.
fn compare(list: &mut [Box<dyn Scorer>], events: &Events) -> Result<()> {
    let mut wanted = vec![0.0; 1024];
    for (index, scorer) in list.iter_mut().enumerate() {
        for batch in [1, 64] {
            let mut seen = vec![0.0; wanted.len()];
            for (number, out) in seen.chunks_mut(batch).enumerate() {
                scorer.predict(events, number * batch, out)?;
            }
            if index == 0 && batch == 1 {
                wanted = seen;
                continue;
            }
            let tolerance = scorer.tolerance();
            let differ = |a: f64, b: f64| (a - b).abs() > tolerance * a.abs().max(1.0);
            if let Some(row) = (0..wanted.len()).find(|&row| differ(wanted[row], seen[row])) {
                let (name, ours, theirs) = (scorer.name(), wanted[row], seen[row]);
                return Err(format!("{name} gives {theirs} for event {row}, Millstream {ours} (batch {batch})").into());
            }
        }
    }
    Ok(())
}

fn table(case: &Case, description: &str, figures: &[Figures]) -> String {
    let mut text = format!("### {}\n\n{description}\n\n| | batch 1 | batch 64 | batch 1, cold |\n|---|---|---|---|\n", case.title);
    let is_own = |figures: &Figures| figures.name.starts_with("Millstream");
    for row in figures {
        let of_own = |rival: f64, own: f64| if is_own(row) { String::new() } else { format!(" ({:.1}x)", rival / own) };
        let _ = writeln!(
            text,
            "| {} | {:.0}{} | {:.0}{} | {:.0}{} |",
            row.name,
            row.hot[0],
            of_own(row.hot[0], figures[0].hot[0]),
            row.hot[1],
            of_own(row.hot[1], figures[0].hot[1]),
            row.cold,
            of_own(row.cold, figures[0].cold)
        );
    }
    let rivals = || figures.iter().filter(|figures| !is_own(figures));
    let best = |at: usize| rivals().map(|rival| rival.hot[at]).fold(f64::INFINITY, f64::min);
    let own = figures.iter().filter(|figures| is_own(figures));
    let ratios: Vec<String> = own
        .map(|own| format!("{} {:.1}x and {:.1}x", own.name, best(0) / own.hot[0], best(1) / own.hot[1]))
        .collect();
    let _ = writeln!(text, "\nAgainst the best of the others at batch 1 and 64: {}.\n", ratios.join("; "));
    text
}

/// What it was measured on, and how busy that was.
fn machine() -> String {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("an unknown processor");
    let model = model.trim_start_matches(['\t', ' ', ':']);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let load = read("/proc/loadavg");
    let load = load.split(' ').nth(2).unwrap_or("unknown");
    format!("Machine: {model}, {cores} cores; its load in the last quarter of an hour was {load}.")
}

/// Replaces the section on trees of a page, up to the next heading of its rank.
fn write_section(path: &Path, tables: &str, rounds: usize) -> Result<()> {
    const HEADING: &str = "## Trees\n";
    let page = std::fs::read_to_string(path)?;
    let start = page.find(HEADING).unwrap_or(page.len());
    let end = page[start..].find("\n## ").map_or(page.len(), |at| start + at + 1);
    let intro = include_str!("intro.md");
    let section = format!("{HEADING}\n{intro}\nMedians of {rounds} rounds of {TURN} events. {}\n\n{tables}", machine());
    let before = page[..start].trim_end();
    std::fs::write(path, format!("{before}\n\n{}\n{}", section.trim_end(), &page[end..]))?;
    Ok(())
}
