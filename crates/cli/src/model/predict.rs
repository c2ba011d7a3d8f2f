//! `millstream model predict`: rows in, a line out for each.
//!
//! Rows are predicted as soon as the input has no more of them ready, at most [`ROWS_MAX`] at a time; a prediction
//! doesn't depend on that.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;

use millstream_core::Error;
use millstream_models::codes::OUTPUT;
use millstream_trees::{Model, Output, PredictError, Rows, Scratch};

use super::row::Reader;
use crate::args::{ModelOutput, PredictArgs};
use crate::codes;
use crate::failure::{Failure, Outcome};

/// Rows predicted at once.
const ROWS_MAX: usize = 1024;
/// Numbers kept for them; fewer rows at once where a row has many.
const NUMBERS_MAX: usize = 1 << 20;
/// Classes and leaves below this are written without a point.
const WHOLE_BELOW: f64 = 9e15;
/// The longest line.
const LINE_BYTES_MAX: u64 = 64 << 20;

/// `millstream model predict FILE --input FILE --output WHAT`
pub fn predict(args: &PredictArgs) -> Outcome {
    let opened = super::open(&args.file, args.format, args.output == ModelOutput::Contributions)?;
    let mut writer = Writer::new(&opened.model, args.output)?;
    let reader = Reader::new(opened.model.features());
    let what = || match args.input.as_os_str() == "-" {
        true => "standard input".to_owned(),
        false => format!("`{}`", args.input.display()),
    };
    let mut input = open(&args.input).map_err(|cause| Failure::io(format!("opening {}", what()), cause))?;
    let mut out = io::stdout().lock();
    let (mut line, mut number) = (Vec::new(), 0u64);
    loop {
        line.clear();
        let read = (&mut input).take(LINE_BYTES_MAX + 1).read_until(b'\n', &mut line);
        let ended = read.map_err(|cause| Failure::io(format!("reading {}", what()), cause))? == 0;
        number += 1;
        let bad = |problem: String| {
            Error::new(codes::ROW, format!("line {number} of {}: {problem}", what())).help(
                "a row is an object by feature names or a list in their order; `millstream model inspect` shows them",
            )
        };
        let mut failed = None;
        if line.len() as u64 > LINE_BYTES_MAX {
            failed = Some(bad(format!("it is longer than {} MiB", LINE_BYTES_MAX >> 20)));
        } else if !line.trim_ascii().is_empty() {
            let before = writer.rows.len();
            failed = reader.read(line.trim_ascii(), &mut writer.rows).err().map(bad);
            if failed.is_some() {
                writer.rows.truncate(before);
            }
        }
        if ended || failed.is_some() || writer.is_full() || input.buffer().is_empty() {
            writer.flush(&mut out)?;
        }
        if let Some(error) = failed {
            return Err(error.into());
        }
        if ended {
            return Ok(());
        }
    }
}

fn open(path: &Path) -> io::Result<BufReader<Box<dyn Read>>> {
    let input: Box<dyn Read> = match path.as_os_str() == "-" {
        true => Box::new(io::stdin()),
        false => {
            let file = File::open(path)?;
            match path.extension().and_then(|e| e.to_str()) {
                Some("gz") => Box::new(flate2::read::MultiGzDecoder::new(file)),
                Some("zst") => Box::new(zstd::stream::read::Decoder::new(file)?),
                _ => Box::new(file),
            }
        }
    };
    Ok(BufReader::with_capacity(256 << 10, input))
}

/// Predicts the rows it holds and writes them.
struct Writer<'a> {
    model: &'a Model,
    wanted: ModelOutput,
    /// Numbers that are written for a row.
    width: usize,
    rows: Vec<f64>,
    numbers: Vec<f64>,
    leaves: Vec<u32>,
    text: Vec<u8>,
    scratch: Scratch,
}

impl<'a> Writer<'a> {
    fn new(model: &'a Model, wanted: ModelOutput) -> Outcome<Self> {
        let width = match wanted {
            ModelOutput::Raw => model.outputs(Output::Raw),
            ModelOutput::Prediction => model.outputs(Output::Prediction),
            ModelOutput::Class => model.outputs(Output::Class),
            ModelOutput::Leaf => model.leaves_per_row(),
            ModelOutput::Contributions => model.contributions_per_row(),
        };
        let (rows, numbers, leaves, text) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut writer = Self { model, wanted, width, rows, numbers, leaves, text, scratch: Scratch::new() };
        // An output that the model doesn't have is told before the first row.
        writer.compute()?;
        Ok(writer)
    }

    fn is_full(&self) -> bool {
        let features = self.model.features().len();
        let most = (NUMBERS_MAX / self.width.max(features).max(1)).clamp(1, ROWS_MAX);
        self.rows.len() >= most * features
    }

    /// Predicts the rows.
    fn compute(&mut self) -> Outcome {
        let count = self.rows.len() / self.model.features().len().max(1);
        let (rows, scratch) = (Rows::F64(&self.rows), &mut self.scratch);
        self.numbers.clear();
        let output = match self.wanted {
            ModelOutput::Raw => Output::Raw,
            ModelOutput::Prediction => Output::Prediction,
            ModelOutput::Class => Output::Class,
            ModelOutput::Leaf => {
                self.leaves.resize(count * self.width, 0);
                self.model.leaf_indices(rows, &mut self.leaves, scratch).map_err(refused)?;
                self.numbers.extend(self.leaves.iter().map(|&leaf| f64::from(leaf)));
                return Ok(());
            }
            ModelOutput::Contributions => {
                if count > 0 {
                    self.numbers.resize(count * self.width, 0.0);
                }
                return Ok(self.model.contributions(rows, &mut self.numbers, scratch).map_err(refused)?);
            }
        };
        self.numbers.resize(count * self.width, 0.0);
        Ok(self.model.predict(rows, output, &mut self.numbers, scratch).map_err(refused)?)
    }

    /// Predicts and writes the rows, and forgets them.
    fn flush(&mut self, out: &mut impl Write) -> Outcome {
        if self.rows.is_empty() {
            return Ok(());
        }
        self.compute()?;
        let count = self.rows.len() / self.model.features().len().max(1);
        self.text.clear();
        for row in 0..count {
            let numbers = self.numbers.get(row * self.width..(row + 1) * self.width).unwrap_or_default();
            let text = &mut self.text;
            if let [number] = numbers {
                write_number(text, self.model, self.wanted, *number);
            } else {
                for (place, number) in numbers.iter().enumerate() {
                    text.push(if place == 0 { b'[' } else { b',' });
                    write_number(text, self.model, self.wanted, *number);
                }
                text.extend_from_slice(if numbers.is_empty() { b"[]" } else { b"]" });
            }
            text.push(b'\n');
        }
        self.rows.clear();
        let written = out.write_all(&self.text).and_then(|()| out.flush());
        written.map_err(|cause| Failure::io("writing to standard output", cause))
    }
}

/// Appends a number, or the name of a class, as JSON. Fractions have the fewest digits that give back the same float64.
fn write_number(text: &mut Vec<u8>, model: &Model, wanted: ModelOutput, number: f64) {
    let whole = matches!(wanted, ModelOutput::Class | ModelOutput::Leaf);
    let name = if wanted == ModelOutput::Class { model.class_names().get(number as usize) } else { None };
    // Writing to memory can't fail.
    let _ = match name {
        Some(name) => serde_json::to_writer(text, name).map_err(io::Error::from),
        None if number.is_nan() => text.write_all(b"\"NaN\""),
        None if number == f64::INFINITY => text.write_all(b"\"Infinity\""),
        None if number == f64::NEG_INFINITY => text.write_all(b"\"-Infinity\""),
        None if whole && number.fract() == 0.0 && number.abs() < WHOLE_BELOW => write!(text, "{}", number as i64),
        None => serde_json::to_writer(text, &number).map_err(io::Error::from),
    };
}

fn refused(error: PredictError) -> Error {
    Error::new(OUTPUT, format!("the model can't give this: {error}"))
        .help("`millstream model inspect` shows which outputs it has")
}
