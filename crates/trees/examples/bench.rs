//! Prints the time per row of a model file at batches of 1, 64 and 1024 rows, and of a row's contributions:
//!
//! ```text
//! cargo run --release -p millstream-trees --example bench -- model.json [LAYOUT [INSTRUCTIONS]]
//! ```
//!
//! LAYOUT is auto, plain, interleaved, ranked, table, perfect or scorer; INSTRUCTIONS auto, portable, avx2, avx512 or neon.
//!
//! Rows are drawn at random, with a twentieth of the values missing; each figure is the best of several rounds.

use std::hint::black_box;
use std::time::Instant;

use millstream_trees::{Instructions, Layout, LoadOptions, Model, Output, Rows, Scratch};

const ROWS: usize = 4096;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().ok_or("usage: bench MODEL [LAYOUT [INSTRUCTIONS]]")?;
    let layout = match arguments.next().as_deref() {
        None | Some("auto") => Layout::Auto,
        Some("plain") => Layout::Plain,
        Some("interleaved") => Layout::Interleaved,
        Some("ranked") => Layout::Ranked,
        Some("table") => Layout::Table,
        Some("perfect") => Layout::Perfect,
        Some("scorer") => Layout::Scorer,
        Some(other) => return Err(format!("no layout is called `{other}`").into()),
    };
    let instructions = match arguments.next().as_deref() {
        None | Some("auto") => Instructions::Auto,
        Some("portable") => Instructions::Portable,
        Some("avx2") => Instructions::Avx2,
        Some("avx512") => Instructions::Avx512,
        Some("neon") => Instructions::Neon,
        Some(other) => return Err(format!("no instructions are called `{other}`").into()),
    };
    let started = Instant::now();
    let model =
        Model::load(&path, &LoadOptions { layout, instructions, contributions: true, ..LoadOptions::default() })?;
    let loaded = started.elapsed();
    println!(
        "{}, {} layout, {} KiB, loaded in {loaded:.1?}",
        model.description(),
        model.layout(),
        model.layout_bytes() / 1024
    );
    let rows = random_rows(ROWS * model.features().len());
    for batch in [1, 64, 1024] {
        let ns = (0..7).map(|_| ns_per_row(&model, &rows, batch)).fold(f64::INFINITY, f64::min);
        println!("batch {batch:>4}: {ns:>8.0} ns/row");
    }
    let (features, mut scratch) = (model.features().len(), Scratch::new());
    let mut out = vec![0.0; model.contributions_per_row()];
    if let Err(error) = model.contributions(Rows::F64(&rows[..features]), &mut out, &mut scratch) {
        println!("{error}");
        return Ok(());
    }
    let best = (0..7).map(|_| {
        let started = Instant::now();
        for row in rows.chunks_exact(features) {
            let _ = model.contributions(Rows::F64(black_box(row)), &mut out, &mut scratch);
            black_box(&out);
        }
        started.elapsed().as_nanos() as f64 / ROWS as f64
    });
    let kib = model.contributions_bytes() / 1024;
    println!("contributions: {:.0} ns/row, {kib} KiB", best.fold(f64::INFINITY, f64::min));
    Ok(())
}

fn ns_per_row(model: &Model, rows: &[f64], batch: usize) -> f64 {
    let (features, outputs) = (model.features().len(), model.outputs(Output::Raw));
    let (mut out, mut scratch) = (vec![0.0; batch * outputs], Scratch::new());
    let started = Instant::now();
    for rows in rows.chunks_exact(batch * features) {
        if model.predict(Rows::F64(black_box(rows)), Output::Raw, &mut out, &mut scratch).is_err() {
            unreachable!("the slices fit the model");
        }
        black_box(&out);
    }
    started.elapsed().as_nanos() as f64 / ROWS as f64
}

/// Numbers of many magnitudes, from a small generator with a fixed seed.
fn random_rows(count: usize) -> Vec<f64> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..count)
        .map(|_| {
            let (bits, scale) = (next(), next() % 5);
            let unit = (bits >> 11) as f64 / (1u64 << 53) as f64;
            if bits % 20 == 0 { f64::NAN } else { (unit * 2.0 - 0.7) * 10f64.powi(scale as i32) }
        })
        .collect()
}
