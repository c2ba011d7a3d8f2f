//! Reference tables: read once, whole, and indexed by a unique key.

pub(crate) mod csv;
pub(crate) mod index;
pub(crate) mod infer;
pub(crate) mod json;
pub(crate) mod side;

use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::compute::{cast_with_options, concat_batches};
use arrow::datatypes::{Schema, SchemaRef};
use millstream_core::{Error, Result};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use sha2::{Digest, Sha256};

use self::index::KeyIndex;
use crate::catalog::TableSchema;
use crate::codes;
use crate::exec::eval::internal;
use crate::names::{did_you_mean, type_name};

/// How a table's file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableFormat {
    /// Comma-separated values with a header line.
    Csv,
    /// One JSON object a line.
    Json,
    /// Parquet.
    Parquet,
}

impl TableFormat {
    /// By the file's extension: `csv`, `json`, `ndjson`, `jsonl`, `parquet`.
    pub fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "csv" => Some(Self::Csv),
            "json" | "ndjson" | "jsonl" => Some(Self::Json),
            "parquet" => Some(Self::Parquet),
            _ => None,
        }
    }
}

/// A loaded table. Immutable; shared by all tasks.
pub struct Table {
    batch: RecordBatch,
    key: Vec<usize>,
    index: Arc<KeyIndex>,
    digest: String,
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Table")
            .field("schema", &self.batch.schema())
            .field("rows", &self.rows())
            .finish_non_exhaustive()
    }
}

/// Rows of a file with the line each began on (or its number, from 1, where there are no lines).
pub(crate) struct Loaded {
    pub(crate) batch: RecordBatch,
    pub(crate) lines: Vec<u64>,
}

pub(crate) fn unreadable(path: &Path, what: impl std::fmt::Display) -> Error {
    Error::new(codes::TABLE_READ, format!("table file `{}`: {what}", path.display()))
}

impl Table {
    /// Reads a whole file, checks that `key` is unique, and indexes it. Without `declared`, the columns and
    /// their types (int64, float64, bool, string) are inferred from all rows.
    ///
    /// # Errors
    /// The file can't be read or does not fit the declared columns (with line); the key is not there; two rows
    /// have one key (with both lines).
    pub fn load(path: &Path, format: TableFormat, declared: Option<SchemaRef>, key: &[String]) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|e| unreadable(path, e))?;
        Self::from_bytes(path, &bytes, format, declared, key)
    }

    /// As [`Table::load`], of bytes already read; `path` only names them.
    ///
    /// # Errors
    /// As for [`Table::load`].
    pub fn from_bytes(
        path: &Path,
        bytes: &[u8],
        format: TableFormat,
        declared: Option<SchemaRef>,
        key: &[String],
    ) -> Result<Self> {
        let digest = Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect();
        let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let loaded = match format {
            TableFormat::Csv => csv::load(path, text, declared.as_ref())?,
            TableFormat::Json => json::load(path, text, declared.as_ref())?,
            TableFormat::Parquet => parquet_file(path, bytes, declared.as_ref())?,
        };
        if loaded.batch.num_rows() >= index::MISSING as usize {
            return Err(unreadable(path, "more rows than a table can have"));
        }
        let schema = loaded.batch.schema();
        let key = key_columns(path, &schema, key)?;
        let columns: Vec<ArrayRef> = key.iter().filter_map(|&i| loaded.batch.columns().get(i).cloned()).collect();
        refuse_null_keys(path, &schema, &key, &columns, &loaded.lines)?;
        let index = KeyIndex::build(&columns)?.map_err(|duplicate| {
            let line = |row: usize| loaded.lines.get(row).copied().unwrap_or_default();
            let value = describe_key(&schema, &key, &columns, duplicate.second);
            Error::new(
                codes::TABLE_DUPLICATE_KEY,
                format!(
                    "table file `{}`: {value} stands on line {} and again on line {}",
                    path.display(),
                    line(duplicate.first),
                    line(duplicate.second)
                ),
            )
            .help("a key finds one row at most: remove one of the lines, or choose another `key:`")
        })?;
        Ok(Self { batch: loaded.batch, key, index: Arc::new(index), digest })
    }

    /// The columns.
    pub fn schema(&self) -> &Schema {
        self.batch.schema_ref()
    }

    /// What planning needs to know, under the name the table has in FROM.
    pub fn describe(&self, name: &str) -> TableSchema {
        TableSchema { name: name.to_owned(), schema: self.batch.schema(), key: self.key.clone() }
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.batch.num_rows()
    }

    /// SHA-256 of the file's bytes, hex.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    pub(crate) fn batch(&self) -> &RecordBatch {
        &self.batch
    }

    pub(crate) fn index(&self) -> &Arc<KeyIndex> {
        &self.index
    }
}

fn key_columns(path: &Path, schema: &Schema, key: &[String]) -> Result<Vec<usize>> {
    if key.is_empty() {
        return Err(Error::new(codes::TABLE_KEY, format!("table file `{}` has no key", path.display()))
            .help("name the column that finds a row: `key: <column>`"));
    }
    let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
    key.iter()
        .map(|name| {
            schema.index_of(name).map_err(|_| {
                let help = did_you_mean(name, &names, "columns").unwrap_or_default();
                Error::new(codes::TABLE_KEY, format!("table file `{}` has no column `{name}`", path.display()))
                    .help(help)
            })
        })
        .collect()
}

fn refuse_null_keys(path: &Path, schema: &Schema, key: &[usize], columns: &[ArrayRef], lines: &[u64]) -> Result<()> {
    for (&field, column) in key.iter().zip(columns) {
        if let Some(row) = (0..column.len()).find(|&i| column.is_null(i)) {
            let name = schema.fields().get(field).map(|f| f.name().clone()).unwrap_or_default();
            let line = lines.get(row).copied().unwrap_or_default();
            return Err(Error::new(
                codes::TABLE_KEY,
                format!("table file `{}`: the key `{name}` is empty on line {line}", path.display()),
            )
            .help("a row without a key can't be found: remove it, or choose another `key:`"));
        }
    }
    Ok(())
}

fn describe_key(schema: &Schema, key: &[usize], columns: &[ArrayRef], row: usize) -> String {
    let parts: Vec<String> = key
        .iter()
        .zip(columns)
        .map(|(&field, column)| {
            let name = schema.fields().get(field).map(|f| f.name().clone()).unwrap_or_default();
            let value = arrow::util::display::array_value_to_string(column, row).unwrap_or_default();
            format!("`{name}` = `{value}`")
        })
        .collect();
    parts.join(", ")
}

fn parquet_file(path: &Path, bytes: &[u8], declared: Option<&SchemaRef>) -> Result<Loaded> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::copy_from_slice(bytes))
        .and_then(|b| b.build())
        .map_err(|e| unreadable(path, e))?;
    let schema = arrow::array::RecordBatchReader::schema(&reader);
    let batches = reader.collect::<Result<Vec<_>, _>>().map_err(|e| unreadable(path, e))?;
    let all = concat_batches(&schema, &batches).map_err(internal)?;
    let lines = (1..=all.num_rows() as u64).collect();
    let wanted = declared.cloned().unwrap_or_else(|| infer::plain_schema(&schema));
    let mut columns = Vec::with_capacity(wanted.fields().len());
    for field in wanted.fields() {
        let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
        let column = all.column_by_name(field.name()).ok_or_else(|| {
            unreadable(path, format!("there is no column `{}`", field.name()))
                .help(did_you_mean(field.name(), &names, "columns").unwrap_or_default())
        })?;
        let options = arrow::compute::CastOptions { safe: false, ..Default::default() };
        let cast = cast_with_options(column, field.data_type(), &options).map_err(|e| {
            let (from, to) = (type_name(column.data_type()), type_name(field.data_type()));
            unreadable(path, format!("column `{}` is {from}, not {to}: {e}", field.name()))
        })?;
        columns.push(cast);
    }
    let batch = RecordBatch::try_new(wanted, columns).map_err(|e| unreadable(path, e))?;
    Ok(Loaded { batch, lines })
}
