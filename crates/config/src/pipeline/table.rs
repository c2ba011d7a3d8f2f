//! What stands under `tables:`.

use millstream_core::FieldType;

use crate::decode::{Map, OneOrMore};
use crate::span::Spanned;
use crate::text::Text;
use crate::{spec, spec_enum};

spec! {
    /// Reference data: loaded at the start, joined by its key.
    pub(crate) struct TableSpec {
        /// Where it comes from.
        r#type: TableType = required,
        /// The file, relative to the pipeline file.
        path: Text = required,
        /// The column, or columns, that identify a row.
        key: OneOrMore<Text> = required,
        /// The file's format. Default: by its extension.
        format: Spanned<TableFormat> = optional,
        /// The columns, each with its type. Default: as found in the file.
        schema: Map<FieldType> = optional,
    }
}

spec_enum! {
    /// Where a table comes from.
    pub enum TableType {
        /// A file.
        File = "file",
    }
}

spec_enum! {
    /// The format of a table's file.
    pub enum TableFormat {
        /// Comma-separated values with a header.
        Csv = "csv",
        /// One JSON object a line.
        Json = "json",
        /// Apache Parquet.
        Parquet = "parquet",
    }
}
