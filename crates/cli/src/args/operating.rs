//! The arguments of `status` and `reset`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

pub(super) const STATUS_EXAMPLES: &str = "\
Examples:
  millstream status pipeline.yaml
  millstream status pipeline.yaml --json | jq '.partitions[].lag'";

pub(super) const RESET_EXAMPLES: &str = "\
Examples:
  millstream reset pipeline.yaml --to earliest --dry-run                       # shows what would change
  millstream reset pipeline.yaml --to timestamp=2026-01-01T00:00:00Z --yes     # with the state that belongs there
  millstream reset pipeline.yaml --to offset=1200 --partition 3 --yes
  millstream reset pipeline.yaml --to latest --state empty --yes               # skip what is there, forget what was
  millstream reset pipeline.yaml --state empty --yes                           # forget state, go on at the same place";

#[derive(Debug, Args)]
pub struct StatusArgs {
    /// The pipeline file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
    /// Where commits, snapshots and the embedded log live; overrides `data_dir` of the file
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct ResetArgs {
    /// The pipeline file
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Where the next run goes on: `earliest`, `latest`, `offset=N`, or `timestamp=2026-01-01T00:00:00Z` (or milliseconds
    /// since 1970); without it, where it is now
    #[arg(long, value_name = "WHERE", required_unless_present = "state")]
    pub to: Option<ResetTo>,
    /// These partitions only
    #[arg(long, short, value_name = "N", value_delimiter = ',')]
    pub partition: Vec<u32>,
    /// What becomes of state; by default it is rebuilt, and empty with `--to earliest`
    #[arg(long, value_enum)]
    pub state: Option<ResetState>,
    /// Show what would change, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask
    #[arg(long, short)]
    pub yes: bool,
    /// Where commits, snapshots and the embedded log live; overrides `data_dir` of the file
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

/// What becomes of state in a reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ResetState {
    /// It begins empty at the new position
    Empty,
    /// It is what an undisturbed run has there: the next run folds the events before it, without writing outputs
    Rebuild,
}

/// Where `reset` goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetTo {
    Earliest,
    Latest,
    Offset(u64),
    /// Milliseconds since 1970.
    Timestamp(i64),
}

impl std::str::FromStr for ResetTo {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unknown = || "say `earliest`, `latest`, `offset=N` or `timestamp=2026-01-01T00:00:00Z`".to_owned();
        match text.split_once('=') {
            None if text == "earliest" => Ok(Self::Earliest),
            None if text == "latest" => Ok(Self::Latest),
            Some(("offset", number)) => number.parse().map(Self::Offset).map_err(|_| unknown()),
            Some(("timestamp", time)) => time_ms(time).map(Self::Timestamp).ok_or_else(unknown),
            _ => Err(unknown()),
        }
    }
}

/// A time as RFC 3339 or as milliseconds since 1970, in milliseconds.
fn time_ms(text: &str) -> Option<i64> {
    match text.parse::<i64>() {
        // As milliseconds these would be days of 1970: they are seconds.
        Ok(ms) => Some(ms).filter(|ms| *ms >= 100_000_000_000),
        Err(_) => millstream_connectors::look::time_ms(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resets_go_where_they_are_told() {
        assert_eq!("latest".parse(), Ok(ResetTo::Latest));
        assert_eq!("offset=17".parse(), Ok(ResetTo::Offset(17)));
        assert_eq!("timestamp=1750000000000".parse(), Ok(ResetTo::Timestamp(1_750_000_000_000)));
        assert_eq!("timestamp=2026-01-01T00:00:00Z".parse(), Ok(ResetTo::Timestamp(1_767_225_600_000)));
        for wrong in ["17", "offset=-1", "timestamp=1750000000", "timestamp=yesterday", "yesterday"] {
            assert!(wrong.parse::<ResetTo>().is_err(), "{wrong}");
        }
    }
}
