//! Where one row's bytes end and the next one's begin.

use millstream_core::record::{Header, NO_TIMESTAMP};
use millstream_core::time::NO_EVENT_TIME;
use millstream_core::{Chunk, EncodedRecord, Error, Meta, Result, Rows};

use super::cells::Cells;
use crate::codec::EncodeContext;
use crate::codec::Timestamps;
use crate::codec::codes::{ENCODE, UNWRITABLE_TYPE};

/// Whether rows become records of a log, and what their keys, partitions and headers are.
#[derive(Clone, Debug)]
pub(crate) struct Records {
    boundaries: bool,
    key_column: Option<usize>,
    partition_column: Option<usize>,
    header_columns: Vec<(String, usize)>,
}

/// A record that is being written.
pub(crate) struct Open {
    key: Option<(u32, u32)>,
    start: usize,
}

impl Records {
    pub(crate) fn new(context: &EncodeContext) -> Self {
        Self {
            boundaries: context.boundaries,
            key_column: context.key_column,
            partition_column: context.partition_column,
            header_columns: context.header_columns.clone(),
        }
    }

    /// Begins row `i`: its key comes before its value.
    #[inline]
    pub(crate) fn open(&self, meta: &Meta, i: usize, cells: &[Cells<'_>], chunk: &mut Chunk) -> Open {
        if !self.boundaries {
            return Open { key: None, start: chunk.data.len() };
        }
        let start = chunk.data.len();
        let keyed = match self.key_column {
            Some(column) => match cells.get(column) {
                Some(cells) if !cells.is_null(i) => {
                    cells.write_text(i, &mut chunk.data);
                    true
                }
                _ => false,
            },
            None => {
                let (raw, index) = meta.raw(i);
                let key = raw.key(index);
                chunk.data.extend_from_slice(key.unwrap_or_default());
                key.is_some()
            }
        };
        let end = chunk.data.len();
        Open { key: keyed.then_some((start as u32, (end - start) as u32)), start: end }
    }

    /// Ends row `i`: as a line, or as a record.
    #[inline]
    pub(crate) fn close(
        &self,
        open: Open,
        meta: &Meta,
        i: usize,
        cells: &[Cells<'_>],
        chunk: &mut Chunk,
    ) -> Result<()> {
        if !self.boundaries {
            chunk.data.push(b'\n');
            return Ok(());
        }
        let partition = match self.partition_column {
            None => meta.raw(i).0.partition(),
            Some(column) => partition(cells.get(column).and_then(|cells| cells.whole(i)))?,
        };
        let value = Some((open.start as u32, (chunk.data.len() - open.start) as u32));
        chunk.records.push(EncodedRecord {
            key: open.key,
            value,
            timestamp_ms: match meta.event_time(i) {
                NO_EVENT_TIME => NO_TIMESTAMP,
                time => time.div_euclid(1_000_000),
            },
            partition,
            headers: self.headers(i, cells),
        });
        Ok(())
    }

    /// The headers of row `i`; a column that is null gives none.
    fn headers(&self, i: usize, cells: &[Cells<'_>]) -> Vec<Header> {
        let header = |(name, column): &(String, usize)| {
            let cells = cells.get(*column).filter(|cells| !cells.is_null(i))?;
            let mut value = Vec::new();
            cells.write_text(i, &mut value);
            Some(Header { name: name.clone(), value })
        };
        self.header_columns.iter().filter_map(header).collect()
    }

    /// A record that is not made of a row's columns.
    pub(crate) fn push(
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        timestamp_ms: i64,
        partition: u32,
        headers: Vec<Header>,
        chunk: &mut Chunk,
    ) {
        let key = key.map(|key| append(key, &mut chunk.data));
        let value = value.map(|value| append(value, &mut chunk.data));
        chunk.records.push(EncodedRecord { key, value, timestamp_ms, partition, headers });
    }
}

/// What a column says about a row's partition.
fn partition(value: Option<i64>) -> Result<u32> {
    value.and_then(|value| u32::try_from(value).ok()).ok_or_else(|| {
        let seen = value.map_or("nothing".to_owned(), |value| value.to_string());
        Error::new(ENCODE, format!("the column of `partition:` says {seen} for a row, which is no partition"))
            .help("make it a whole number from 0 on for every row (`coalesce`, `abs`, `%`), or leave such rows out with `where:`")
    })
}

fn append(bytes: &[u8], data: &mut Vec<u8>) -> (u32, u32) {
    let start = data.len() as u32;
    data.extend_from_slice(bytes);
    (start, bytes.len() as u32)
}

/// Runs `write`; if it fails, or the chunk grows beyond what its 32-bit places reach, the chunk is as before.
pub(crate) fn all_or_nothing(chunk: &mut Chunk, write: impl FnOnce(&mut Chunk) -> Result<()>) -> Result<()> {
    let (bytes, records, rows) = (chunk.data.len(), chunk.records.len(), chunk.rows);
    let written = write(chunk).and_then(|()| match u32::try_from(chunk.data.len()) {
        Ok(_) => Ok(()),
        Err(_) => Err(Error::new(ENCODE, "an epoch's output grew beyond 4 GiB")
            .help("set a smaller `batch_rows_max` or a shorter `epoch_max`")),
    });
    if written.is_err() {
        chunk.data.truncate(bytes);
        chunk.records.truncate(records);
        chunk.rows = rows;
    }
    written
}

/// The columns of a batch, ready to be written: `planned` of them.
pub(crate) fn cells(rows: &Rows, planned: usize, timestamps: Timestamps) -> Result<Vec<Cells<'_>>> {
    let given = rows.columns.num_columns();
    if given != planned {
        return Err(Error::new(ENCODE, format!("an output of {planned} columns was given rows of {given}")));
    }
    let mut cells = Vec::with_capacity(given);
    for (column, field) in rows.columns.columns().iter().zip(rows.columns.schema_ref().fields()) {
        let (name, kind) = (field.name(), field.data_type());
        cells.push(Cells::new(column, timestamps).ok_or_else(|| {
            Error::new(
                UNWRITABLE_TYPE,
                format!("the column `{name}` has the type {kind}, which is not written as text"),
            )
        })?);
    }
    Ok(cells)
}
