//! `millstream generate`: seeded sample data to standard output or files.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use millstream_core::Error;

use crate::args::{FraudArgs, GenerateArgs, GenerateCommand};
use crate::codes;
use crate::failure::{Failure, Outcome};
use crate::generate::{FraudOptions, generate_fraud, generate_merchants};
use crate::output;

/// Generates what was asked for.
pub fn generate(args: &GenerateArgs) -> Outcome {
    let GenerateCommand::Fraud(args) = &args.command;
    let options = options(args);
    if let Some(path) = &args.merchants_output {
        to_file(path, |out| generate_merchants(&options, out))?;
    }
    match &args.output {
        Some(path) => to_file(path, |out| generate_fraud(&options, out)),
        None => {
            let mut refused = None;
            output::print_with(|out| match generate_fraud(&options, out) {
                Err(cause) if cause.kind() == io::ErrorKind::InvalidInput => {
                    refused = Some(cause);
                    Ok(())
                }
                written => written,
            })?;
            refused.map_or(Ok(()), |cause| Err(bad_option(cause)))
        }
    }
}

fn options(args: &FraudArgs) -> FraudOptions {
    FraudOptions {
        events: args.events,
        seed: args.seed,
        rate: args.rate,
        cards: args.cards,
        merchants: args.merchants,
        zipf: args.zipf,
        bad_fraction: args.bad_fraction,
    }
}

/// The generator refuses options as invalid input.
fn bad_option(cause: io::Error) -> Failure {
    Error::new(codes::ARGUMENT, cause.to_string()).into()
}

/// Writes a file, compressed if its name says so.
fn to_file(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Outcome {
    let attempt = || -> io::Result<()> {
        let file = BufWriter::with_capacity(1 << 20, File::create(path)?);
        match path.extension().and_then(|e| e.to_str()) {
            Some("gz") => {
                let mut out = flate2::write::GzEncoder::new(file, flate2::Compression::default());
                write(&mut out)?;
                out.finish()?.flush()
            }
            Some("zst") => {
                let mut out = zstd::stream::write::Encoder::new(file, 3)?;
                write(&mut out)?;
                out.finish()?.flush()
            }
            _ => {
                let mut out = file;
                write(&mut out)
            }
        }
    };
    attempt().map_err(|cause| match cause.kind() {
        io::ErrorKind::InvalidInput => bad_option(cause),
        _ => Failure::io(format!("writing `{}`", path.display()), cause),
    })
}
