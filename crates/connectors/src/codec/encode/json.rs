//! Rows as JSON objects, one a line or one a record.

use millstream_core::{Chunk, DeadLetter, Encoder, Result, Rows};

use super::cells::{Cells, prefixes};
use super::dead_letter::not_dead_letters;
use super::event::EventFields;
use super::records::{Records, all_or_nothing, cells};
use crate::codec::EncodeContext;
use crate::codec::Timestamps;
use crate::codec::json::write::Stamp;

/// Writes every column in order, null as `null`: all rows of an output have the same keys.
pub(crate) struct JsonEncoder {
    prefixes: Vec<Stamp>,
    timestamps: Timestamps,
    records: Records,
    event: Option<EventFields>,
}

impl JsonEncoder {
    pub(crate) fn new(context: &EncodeContext) -> Self {
        let names = || context.schema.fields().iter().map(|field| field.name().as_str());
        Self {
            prefixes: prefixes(names()),
            timestamps: context.timestamps,
            records: Records::new(context),
            event: context.include_event.then(|| EventFields::new(&context.source_format, names())),
        }
    }

    fn write_rows(&mut self, rows: &Rows, chunk: &mut Chunk) -> Result<()> {
        let cells = cells(rows, self.prefixes.len(), self.timestamps)?;
        // Where a dictionary's entry was written last: the next row most often has the same.
        let mut repeated: Vec<Option<(usize, usize, usize)>> = vec![None; cells.len()];
        for i in 0..rows.len() {
            let open = self.records.open(&rows.meta, i, &cells, chunk);
            let out = &mut chunk.data;
            let mut begun = false;
            if let Some(event) = &mut self.event {
                out.push(b'{');
                let (raw, index) = rows.meta.raw(i);
                begun = event.write(raw, index, out)?;
                if !begun {
                    out.pop();
                }
            }
            for (((prefix, cells), column), last) in self.prefixes.iter().zip(&cells).zip(0..).zip(&mut repeated) {
                let start = out.len();
                prefix.write(out);
                if column == 0 && begun {
                    // The prefix of the first column opens the object, which is open already.
                    if let Some(first) = out.get_mut(start) {
                        *first = b',';
                    }
                }
                write_cell(cells, i, last, out);
            }
            if self.prefixes.is_empty() && !begun {
                out.push(b'{');
            }
            out.push(b'}');
            self.records.close(open, &rows.meta, i, &cells, chunk)?;
        }
        chunk.rows += rows.len() as u64;
        Ok(())
    }
}

/// Appends a cell; a dictionary entry that was just written is copied from there.
#[inline]
fn write_cell(cells: &Cells<'_>, i: usize, last: &mut Option<(usize, usize, usize)>, out: &mut Vec<u8>) {
    let Some(entry) = cells.entry(i) else {
        cells.write_json(i, out);
        return;
    };
    match *last {
        Some((same, start, end)) if same == entry => out.extend_from_within(start..end),
        _ => {
            let start = out.len();
            cells.write_json(i, out);
            *last = Some((entry, start, out.len()));
        }
    }
}

impl Encoder for JsonEncoder {
    fn write(&mut self, rows: &Rows, chunk: &mut Chunk) -> Result<()> {
        all_or_nothing(chunk, |chunk| self.write_rows(rows, chunk))
    }

    fn write_dead_letter(&mut self, _letter: &DeadLetter, _chunk: &mut Chunk) -> Result<()> {
        Err(not_dead_letters())
    }
}
