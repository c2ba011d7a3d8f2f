//! The command line: every command, flag and help text. Parsing only; nothing here acts.

mod model;
mod operating;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use model::{InspectArgs, ModelArgs, ModelCommand, ModelOutput, PredictArgs};
use operating::{RESET_EXAMPLES, STATUS_EXAMPLES};
pub use operating::{ResetArgs, ResetState, ResetTo, StatusArgs};

/// Exit codes, as `--help` and `docs/cli.md` say them.
pub const EXIT_CODES: &str = "\
Exit codes:
  0    success; also a run that drained and committed after the first Ctrl-C
  1    the command or the run failed
  2    the command line is wrong
  3    a pipeline file has errors
  4    the data directory is in use, or stored state can't be used
  101  a bug in Millstream
  130  a run was stopped at once by a second Ctrl-C";

const NEW_HERE: &str = "New here? `millstream init demo && millstream run demo/pipeline.yaml` runs at once.";

/// Millstream scores events as they happen: events in, SQL features, a model, predictions out, exactly once.
#[derive(Debug, Parser)]
#[command(
    name = "millstream",
    version,
    max_term_width = 100,
    after_help = NEW_HERE,
    after_long_help = format!("{NEW_HERE}\n\n{EXIT_CODES}"),
    disable_help_subcommand = true,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a pipeline until its input ends or Ctrl-C stops it
    ///
    /// Resumes where the last run committed. The first Ctrl-C (or SIGTERM) finishes the open epoch, commits
    /// it and ends with exit code 0; the second ends at once, and the next run resumes at the last commit.
    #[command(after_long_help = RUN_EXAMPLES)]
    Run(RunArgs),
    /// Check pipeline files and report every problem at once
    ///
    /// Offline: reads the file and the models and tables it names, and changes nothing. With --connect it also
    /// opens the inputs and outputs.
    #[command(after_long_help = CHECK_EXAMPLES)]
    Check(CheckArgs),
    /// Show what a pipeline will do: plan, state, delivery guarantees, watermarks
    #[command(after_long_help = "Example:\n  millstream explain pipeline.yaml")]
    Explain(ExplainArgs),
    /// Show where a pipeline stands: owners, positions, lag, watermarks, snapshots
    ///
    /// Changes nothing, and works whether or not the pipeline runs. Positions and watermarks come from the processes that
    /// run it on this machine; the rest from what they commit. `-` is what can't be known from here.
    #[command(after_long_help = STATUS_EXAMPLES)]
    Status(StatusArgs),
    /// Set where the next run of a pipeline goes on, and with what state
    ///
    /// The pipeline must not run. What was written to outputs stays, and what is read again is written again. To begin
    /// anew with new outputs, use `run --fresh`.
    #[command(after_long_help = RESET_EXAMPLES)]
    Reset(ResetArgs),
    /// Write a commented pipeline and a small sample input that run at once
    ///
    /// Asks nothing and overwrites nothing.
    #[command(after_long_help = "Example:\n  millstream init demo\n  millstream run demo/pipeline.yaml")]
    Init(InitArgs),
    /// Work with topics of the embedded log, or of a Kafka cluster
    ///
    /// While a run has the data directory open, these commands go through that run's HTTP port; otherwise they
    /// use the files directly. With `--brokers` or `--pipeline` they go to a Kafka cluster.
    #[command(after_long_help = TOPIC_EXAMPLES)]
    Topic(TopicArgs),
    /// Look at model files, and predict with them
    #[command(subcommand_required = true, arg_required_else_help = true)]
    Model(ModelArgs),
    /// Generate sample data from a seed
    #[command(subcommand_required = true, arg_required_else_help = true)]
    Generate(GenerateArgs),
    /// Print the JSON Schema of the pipeline file, for completion in editors
    #[command(after_long_help = SCHEMA_EXAMPLES)]
    Schema,
    /// Print the page of an error code
    #[command(after_long_help = "Example:\n  millstream error MS0701")]
    Error(ErrorArgs),
    /// Print a completion script for a shell
    #[command(after_long_help = "Example:\n  millstream completions bash > /etc/bash_completion.d/millstream")]
    Completions(CompletionsArgs),
    /// Print generated reference pages
    #[command(hide = true)]
    Docs(DocsArgs),
}

const RUN_EXAMPLES: &str = "\
Examples:
  millstream run pipeline.yaml
  millstream run pipeline.yaml --workers 4
  millstream run pipeline.yaml --fresh            # from the beginning, outputs written anew
  millstream run pipeline.yaml --log-format json --http 127.0.0.1:7070";

const CHECK_EXAMPLES: &str = "\
Examples:
  millstream check pipeline.yaml
  millstream check pipelines/*.yaml --connect
  millstream check pipeline.yaml --format json    # one diagnostic a line, for editors and CI";

const TOPIC_EXAMPLES: &str = "\
Examples:
  millstream topic create payments --partitions 4
  millstream topic produce payments --key-field card_id < payments.ndjson
  millstream topic tail payments --from latest --follow
  millstream topic list --data-dir /var/lib/millstream
  millstream topic --brokers localhost:9092 tail scores --from latest --follow
  millstream topic --pipeline pipeline.yaml create payments --partitions 12 --replication 3";

const SCHEMA_EXAMPLES: &str = "\
Example:
  millstream schema > pipeline.schema.json
  # first line of the pipeline file, for editors with a YAML language server:
  # yaml-language-server: $schema=pipeline.schema.json";

#[derive(Debug, Args)]
pub struct RunArgs {
    /// The pipeline file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Threads; overrides `workers` of the file
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub workers: Option<u16>,
    /// Rows a micro-batch may have; overrides `batch_rows_max` of the file
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub batch_rows_max: Option<u32>,
    /// Where commits, snapshots and the embedded log live; overrides `data_dir` of the file
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Forget earlier runs of this pipeline: read from the beginning and write the outputs anew
    #[arg(long)]
    pub fresh: bool,
    /// Where a step's state can't be rebuilt, go on with it empty
    #[arg(long, value_name = "empty", conflicts_with = "rebuild_from")]
    pub state: Option<StateChoice>,
    /// Where a step's state can't be rebuilt, fold what the input still has
    #[arg(long, value_name = "earliest")]
    pub rebuild_from: Option<RebuildFrom>,
    /// Address of the HTTP API (loopback only), or `off`; overrides `http` of the file
    #[arg(long, value_name = "ADDR|off")]
    pub http: Option<String>,
    #[command(flatten)]
    pub log: LogArgs,
}

/// What to do with state that can't be rebuilt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StateChoice {
    /// Start it empty.
    Empty,
}

/// Where to rebuild state from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RebuildFrom {
    /// The oldest event that the input still has.
    Earliest,
}

#[derive(Clone, Debug, Args)]
pub struct LogArgs {
    /// How log lines are written to standard error
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// What is logged: error, warn, info, debug or trace; also for one part, as in `info,millstream_engine=debug`
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub log_level: String,
    /// Only warnings and errors: no progress, no summary
    #[arg(long, short)]
    pub quiet: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people; on a terminal with a progress bar
    Text,
    /// One JSON object a line
    Json,
}

#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Pipeline files
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// Also open the inputs and outputs, to see that they are there
    #[arg(long)]
    pub connect: bool,
    /// How problems are printed
    #[arg(long, value_enum, default_value_t = CheckFormat::Text)]
    pub format: CheckFormat,
    /// Where commits, snapshots and the embedded log live; overrides `data_dir` of the files
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CheckFormat {
    /// With the offending text underlined
    Text,
    /// One JSON object a line
    Json,
}

#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// The pipeline file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Where commits, snapshots and the embedded log live; overrides `data_dir` of the file
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct InitArgs {
    /// The folder to write to; made if it does not exist
    #[arg(value_name = "DIR", default_value = ".")]
    pub dir: PathBuf,
}

#[derive(Debug, Args)]
pub struct TopicArgs {
    /// The data directory that holds the log (the `data_dir` of a pipeline file)
    #[arg(long, global = true, value_name = "DIR", default_value = ".millstream")]
    pub data_dir: PathBuf,
    #[command(flatten)]
    pub cluster: ClusterArgs,
    #[command(subcommand)]
    pub command: TopicCommand,
}

/// Which Kafka cluster, instead of the embedded log.
#[derive(Debug, Args)]
pub struct ClusterArgs {
    /// Work on the topics of this Kafka cluster instead of an embedded log: `host:port`, or several with commas
    #[arg(long, global = true, value_name = "BROKERS", conflicts_with = "pipeline")]
    pub brokers: Option<String>,
    /// Work on the Kafka cluster that this pipeline file has under `connections:`, as the user that it names
    #[arg(long, global = true, value_name = "FILE")]
    pub pipeline: Option<PathBuf>,
    /// Which of the connections of `--pipeline`, where it has several
    #[arg(long, global = true, value_name = "NAME", requires = "pipeline")]
    pub connection: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum TopicCommand {
    /// Create a topic
    Create(CreateArgs),
    /// List topics
    List {
        /// How it is printed
        #[arg(long, value_enum, default_value_t = TableFormat::Text)]
        format: TableFormat,
    },
    /// Show the partitions and offsets of a topic
    Describe {
        /// The topic
        topic: String,
        /// How it is printed
        #[arg(long, value_enum, default_value_t = TableFormat::Text)]
        format: TableFormat,
    },
    /// Append records from NDJSON lines
    ///
    /// Every non-empty line is one record's value, byte for byte. A record goes to the partition of its key, as
    /// Kafka's default partitioner places it; records without a key are spread evenly. All lines of a batch
    /// are durable when the command says so.
    #[command(
        after_long_help = "Examples:\n  millstream topic produce payments --key-field card_id < payments.ndjson\n  \
        echo '{\"amount\": 12}' | millstream topic produce payments --key c1"
    )]
    Produce(ProduceArgs),
    /// Print records
    #[command(after_long_help = "Examples:\n  millstream topic tail scores\n  \
        millstream topic tail scores --from latest --follow\n  \
        millstream topic tail scores --partition 0 --from 1000 --limit 10 --format json")]
    Tail(TailArgs),
    /// Change how long the records of a topic are kept
    #[command(after_long_help = "Examples:\n  millstream topic alter payments --keep-for 30d\n  \
        millstream topic alter payments --keep-for forever --keep-bytes 10GB")]
    Alter {
        /// The topic
        topic: String,
        #[command(flatten)]
        keep: KeepArgs,
    },
    /// Delete a topic and all its records
    Delete {
        /// The topic
        topic: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TableFormat {
    /// A table
    Text,
    /// JSON
    Json,
}

#[derive(Debug, Args)]
pub struct CreateArgs {
    /// The topic: letters, digits, `.`, `_` and `-`
    pub topic: String,
    /// How many partitions it has; can't be changed later
    #[arg(long, short, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub partitions: u32,
    /// On how many brokers of Kafka each record is kept; the brokers' default if it is not said
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=100))]
    pub replication: Option<u16>,
    #[command(flatten)]
    pub keep: KeepArgs,
}

/// How long records are kept.
#[derive(Debug, Args)]
pub struct KeepArgs {
    /// Records older than this may be removed, as in `7d`; `forever` removes the bound
    #[arg(long, value_name = "TIME")]
    pub keep_for: Option<String>,
    /// The oldest records of a partition may be removed while it stores more than this, as in `10GB`; `unlimited`
    /// removes the bound
    #[arg(long, value_name = "SIZE")]
    pub keep_bytes: Option<String>,
}

#[derive(Debug, Args)]
pub struct ProduceArgs {
    /// The topic
    pub topic: String,
    /// Read lines from this file (.gz and .zst are decompressed) instead of standard input
    #[arg(long, short, value_name = "FILE")]
    pub input: Option<PathBuf>,
    /// Take each record's key from this field of its JSON; `a.b` looks inside objects
    #[arg(long, value_name = "FIELD", conflicts_with = "key")]
    pub key_field: Option<String>,
    /// Give every record this key
    #[arg(long, value_name = "KEY")]
    pub key: Option<String>,
    /// Append to this partition whatever the key
    #[arg(long, short, value_name = "N")]
    pub partition: Option<u32>,
    /// Do not say how many records were appended
    #[arg(long, short)]
    pub quiet: bool,
}

#[derive(Debug, Args)]
pub struct TailArgs {
    /// The topic
    pub topic: String,
    /// Where to begin: `earliest`, `latest`, or an offset
    #[arg(long, value_name = "WHERE", default_value = "earliest")]
    pub from: From,
    /// Only this partition
    #[arg(long, short, value_name = "N")]
    pub partition: Option<u32>,
    /// End after so many records
    #[arg(long, short = 'n', value_name = "N")]
    pub limit: Option<u64>,
    /// Wait for new records until Ctrl-C
    #[arg(long, short)]
    pub follow: bool,
    /// What is printed of each record
    #[arg(long, value_enum, default_value_t = TailFormat::Value)]
    pub format: TailFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TailFormat {
    /// Its value, and a line feed
    Value,
    /// A JSON object with partition, offset, timestamp, key, value and headers
    Json,
}

/// Where `tail` begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    Earliest,
    Latest,
    Offset(u64),
}

impl std::str::FromStr for From {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "earliest" => Ok(Self::Earliest),
            "latest" => Ok(Self::Latest),
            other => other.parse().map(Self::Offset).map_err(|_| "say `earliest`, `latest`, or an offset".to_owned()),
        }
    }
}

#[derive(Debug, Args)]
pub struct ErrorArgs {
    /// The code, as in `error[MS0701]`
    #[arg(value_name = "CODE")]
    pub code: String,
}

#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
pub struct GenerateArgs {
    #[command(subcommand)]
    pub command: GenerateCommand,
}

#[derive(Debug, Subcommand)]
pub enum GenerateCommand {
    /// Card transactions, one JSON object a line: the same seed gives the same bytes everywhere
    ///
    /// A shorter run is the beginning of a longer one with the same seed. One event in a hundred comes up to 2,990 ms
    /// late, so `lateness: 3s` loses none.
    #[command(after_long_help = GENERATE_EXAMPLES)]
    Fraud(FraudArgs),
}

const GENERATE_EXAMPLES: &str = "\
Examples:
  millstream generate fraud --events 1000000 --output transactions.ndjson.zst
  millstream generate fraud --events 1000 --bad-fraction 0.01 | millstream topic produce transactions
  millstream generate fraud --merchants-output merchants.csv --output transactions.ndjson";

#[derive(Debug, Args)]
pub struct FraudArgs {
    /// How many events
    #[arg(long, short = 'n', value_name = "N", default_value_t = 100_000)]
    pub events: u64,
    /// Everything follows from it
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Write to this file (.gz and .zst are compressed) instead of standard output
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Also write the merchants to this CSV file
    #[arg(long, value_name = "FILE")]
    pub merchants_output: Option<PathBuf>,
    /// Events per second of event time, on average
    #[arg(long, value_name = "N", default_value_t = 100.0)]
    pub rate: f64,
    /// How many cards there are
    #[arg(long, value_name = "N", default_value_t = 50_000)]
    pub cards: u32,
    /// How many merchants there are
    #[arg(long, value_name = "N", default_value_t = 2_000)]
    pub merchants: u32,
    /// How unevenly cards and merchants are used: 0 is evenly
    #[arg(long, value_name = "X", default_value_t = 0.8)]
    pub zipf: f64,
    /// The fraction of events made unusable, 0 to 1
    #[arg(long, value_name = "X", default_value_t = 0.0)]
    pub bad_fraction: f64,
}

#[derive(Debug, Args)]
pub struct DocsArgs {
    #[command(subcommand)]
    pub command: DocsCommand,
}

#[derive(Debug, Subcommand)]
pub enum DocsCommand {
    /// Print one generated page, for the check that `docs/` has not drifted
    Reference {
        /// Which page
        #[arg(value_enum)]
        page: ReferencePage,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReferencePage {
    /// docs/cli.md
    Cli,
    /// docs/pipeline-file.md
    Pipeline,
    /// docs/errors/README.md
    Errors,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn tail_begins_where_it_is_told() {
        assert_eq!("earliest".parse(), Ok(From::Earliest));
        assert_eq!("17".parse(), Ok(From::Offset(17)));
        assert!("yesterday".parse::<From>().is_err());
    }
}
