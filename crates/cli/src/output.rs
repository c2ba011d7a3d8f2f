//! Standard output, buffered; a reader that goes away ends the command quietly.

use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};

use crate::failure::{Failure, Outcome};

/// Locked, buffered standard output.
pub struct Output(BufWriter<StdoutLock<'static>>);

impl Output {
    /// Takes standard output for the rest of the command.
    pub fn new() -> Self {
        Self(BufWriter::with_capacity(64 << 10, io::stdout().lock()))
    }

    /// Writes bytes.
    pub fn write(&mut self, bytes: impl AsRef<[u8]>) -> Outcome {
        self.0.write_all(bytes.as_ref()).map_err(failed)
    }

    /// Writes what is buffered; must be called at the end.
    pub fn flush(&mut self) -> Outcome {
        self.0.flush().map_err(failed)
    }
}

/// Writes a text to standard output.
pub fn print(text: impl AsRef<[u8]>) -> Outcome {
    let mut out = Output::new();
    out.write(text)?;
    out.flush()
}

/// Writes a text to standard error. Where that is closed or on a full disk there is nobody to tell, and what the
/// command does goes on; `eprint!` would panic.
pub fn complain(text: impl AsRef<[u8]>) {
    let _ = io::stderr().lock().write_all(text.as_ref());
}

/// Runs something that writes to standard output by itself.
pub fn print_with(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Outcome {
    let mut out = Output::new();
    write(&mut out.0).map_err(failed)?;
    out.flush()
}

fn failed(cause: io::Error) -> Failure {
    Failure::io("writing to standard output", cause)
}

/// Whether text for this stream may have colours.
pub fn color(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// A table of text: a header, then rows; the columns named in `right` are aligned right.
pub fn table(header: &[&str], rows: &[Vec<String>], right: &[usize]) -> String {
    let mut widths: Vec<usize> = header.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    let mut line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut out = String::new();
        for (i, (cell, &width)) in cells.zip(&widths).enumerate() {
            let gap = " ".repeat(width.saturating_sub(cell.chars().count()));
            let (before, after) = if right.contains(&i) { (gap.as_str(), "") } else { ("", gap.as_str()) };
            out.push_str(if i == 0 { "" } else { "  " });
            out.extend([before, cell, after]);
        }
        text.push_str(out.trim_end());
        text.push('\n');
    };
    if header.iter().any(|cell| !cell.is_empty()) {
        line(&mut header.iter().copied());
    }
    for row in rows {
        line(&mut row.iter().map(String::as_str));
    }
    text
}

/// `1,234,567`
pub fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A duration with three digits and a fitting unit: `3.21 s`, `41.0 ms`, `7.12 µs`; from a minute on `2m 05s`.
pub fn duration(d: std::time::Duration) -> String {
    let s = d.as_secs_f64();
    let (value, unit) = match s {
        s if s >= 3600.0 => return format!("{}h {:02}m", d.as_secs() / 3600, d.as_secs() / 60 % 60),
        s if s >= 60.0 => return format!("{}m {:02}s", d.as_secs() / 60, d.as_secs() % 60),
        s if s >= 1.0 => (s, "s"),
        s if s >= 1e-3 => (s * 1e3, "ms"),
        s if s >= 1e-6 => (s * 1e6, "µs"),
        _ => return format!("{} ns", d.as_nanos()),
    };
    let decimals = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
    format!("{value:.decimals$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn numbers_for_people() {
        assert_eq!(duration(Duration::ZERO), "0 ns");
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(1_234_567), "1,234,567");
        assert_eq!(duration(Duration::from_micros(3210)), "3.21 ms");
        assert_eq!(duration(Duration::from_millis(41_000)), "41.0 s");
        assert_eq!(duration(Duration::from_nanos(999)), "999 ns");
        assert_eq!(duration(Duration::from_secs(125)), "2m 05s");
        assert_eq!(duration(Duration::from_secs(7260)), "2h 01m");
    }

    #[test]
    fn tables_align() {
        let rows = vec![vec!["a".to_owned(), "1".to_owned()], vec!["längst".to_owned(), "1,000".to_owned()]];
        assert_eq!(table(&["name", "n"], &rows, &[1]), "name        n\na           1\nlängst  1,000\n");
    }
}
