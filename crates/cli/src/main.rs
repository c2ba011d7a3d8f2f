//! The command line of Millstream.
//!
//! `main` parses, calls the command, and turns what it gives back into an exit code. Commands live in a module
//! each; what they share stands in `failure` (errors and exit codes), `output` (standard output) and `logging`.

mod args;
mod background;
mod check;
mod codes;
mod failure;
mod generate;
mod http;
mod init;
mod log;
mod logging;
mod memory;
mod model;
mod output;
mod pages;
mod plan;
mod progress;
mod reference;
mod reset;
mod run;
mod sample;
mod signals;
mod status;
mod summary;
mod topic;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use crate::args::{Cli, Command};
use crate::failure::{Exit, Outcome};

fn main() -> ExitCode {
    memory::init();
    failure::install_panic_hook();
    let outcome = std::panic::catch_unwind(|| command(&Cli::parse().command));
    match outcome {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(failure)) => failure.report(),
        // The hook has said what there is to say.
        Err(_) => ExitCode::from(Exit::Bug as u8),
    }
}

fn command(command: &Command) -> Outcome {
    match command {
        Command::Run(args) => run::run(args),
        Command::Check(args) => check::check(args),
        Command::Explain(args) => check::explain(args),
        Command::Status(args) => status::status(args),
        Command::Reset(args) => reset::reset(args),
        Command::Init(args) => init::init(args),
        Command::Topic(args) => topic::topic(args),
        Command::Model(args) => model::model(args),
        Command::Generate(args) => sample::generate(args),
        Command::Schema => reference::schema(),
        Command::Error(args) => pages::show(args),
        Command::Completions(args) => output::print_with(|out| {
            // The generator takes a writer that can't fail; what it wrote is passed on as a whole.
            let mut script = Vec::new();
            clap_complete::generate(args.shell, &mut Cli::command(), "millstream", &mut script);
            out.write_all(&script)
        }),
        Command::Docs(args) => reference::docs(args),
    }
}
