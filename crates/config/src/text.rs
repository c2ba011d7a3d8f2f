//! Scalars that remember how their content maps to the bytes of the file.
//!
//! The mapping is found by walking content and source side by side and is kept only if every character
//! agrees; so a wrong guess about YAML's folding rules can't give a wrong place, only a coarse one.

use std::ops::Range;

use crate::span::Span;

/// How a scalar was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Without quotes.
    Plain,
    /// `'…'`
    Single,
    /// `"…"`
    Double,
    /// A block: `|` or `>`.
    Block,
}

/// The content of a scalar.
///
/// Two of them are equal when their contents are, wherever they stand.
#[derive(Clone, Debug)]
pub struct Text {
    /// The content, with quotes, escapes, folding and variables resolved.
    pub value: String,
    /// Where it stands in the file, quotes included.
    pub span: Span,
    /// The content before variables were put in, where there were any.
    pub(crate) unexpanded: Option<String>,
    segments: Vec<Segment>,
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

/// Some bytes of the content and where they come from. A segment starts where the one before it ends.
#[derive(Clone, Debug)]
struct Segment {
    value_end: usize,
    source: Span,
    /// Whether content and source are the same bytes, one to one.
    exact: bool,
}

impl Text {
    /// A text with no finer mapping than its whole span.
    pub fn new(value: impl Into<String>, span: Span) -> Self {
        Self { value: value.into(), span, unexpanded: None, segments: Vec::new() }
    }

    /// A text whose content came from `source`, which starts at byte `span.start` of the file.
    pub(crate) fn mapped(value: String, span: Span, source: &str, style: Style) -> Self {
        let segments = align(&value, source, span.start, style).unwrap_or_default();
        Self { value, span, unexpanded: None, segments }
    }

    /// The content as it may be shown: variables by name, never by value.
    pub fn shown(&self) -> &str {
        self.unexpanded.as_deref().unwrap_or(&self.value)
    }

    /// Whether variables were put in.
    pub fn is_expanded(&self) -> bool {
        self.unexpanded.is_some()
    }

    /// Where a byte range of the content stands in the file. What came out of a variable maps to the whole
    /// `${…}`; where the mapping is not known (or the range lies outside) the whole scalar is the answer.
    pub fn span_of(&self, range: Range<usize>) -> Span {
        if range.start > self.value.len() || range.end < range.start {
            return self.span;
        }
        let Some(start) = self.source_start(range.start) else { return self.span };
        if range.end == range.start {
            return Span::new(start, start);
        }
        let Some(end) = self.source_end(range.end.min(self.value.len())) else { return self.span };
        Span::new(start, end)
    }

    fn source_start(&self, at: usize) -> Option<usize> {
        let i = self.segments.partition_point(|s| s.value_end <= at);
        let Some(segment) = self.segments.get(i) else { return self.segments.last().map(|s| s.source.end) };
        let offset = at - self.value_start(i);
        Some(segment.source.start + if segment.exact { offset } else { 0 })
    }

    /// `end` is at least 1.
    fn source_end(&self, end: usize) -> Option<usize> {
        let i = self.segments.partition_point(|s| s.value_end < end);
        let segment = self.segments.get(i)?;
        let offset = end - self.value_start(i);
        Some(if segment.exact { segment.source.start + offset } else { segment.source.end })
    }

    fn value_start(&self, segment: usize) -> usize {
        segment.checked_sub(1).and_then(|i| self.segments.get(i)).map_or(0, |s| s.value_end)
    }

    /// An empty text to build from pieces of `self`, for putting variables in.
    pub(crate) fn rebuild(&self) -> Rebuild<'_> {
        let text = Text {
            value: String::with_capacity(self.value.len()),
            span: self.span,
            unexpanded: Some(self.shown().to_owned()),
            segments: Vec::new(),
        };
        Rebuild { from: self, text }
    }
}

/// Builds a text from pieces of another one.
pub(crate) struct Rebuild<'a> {
    from: &'a Text,
    text: Text,
}

impl Rebuild<'_> {
    /// Takes over a range of the old content.
    pub(crate) fn keep(&mut self, range: Range<usize>) {
        let Some(piece) = self.from.value.get(range.clone()) else { return };
        let base = self.text.value.len();
        self.text.value.push_str(piece);
        let first = self.from.segments.partition_point(|s| s.value_end <= range.start);
        for (i, segment) in self.from.segments.iter().enumerate().skip(first) {
            let start = self.from.value_start(i);
            if start >= range.end {
                break;
            }
            let (lo, hi) = (start.max(range.start), segment.value_end.min(range.end));
            let source = if segment.exact {
                Span::new(segment.source.start + (lo - start), segment.source.start + (hi - start))
            } else {
                segment.source
            };
            push(&mut self.text.segments, base + (hi - range.start), source, segment.exact);
        }
    }

    /// Puts `piece` in the place of a range of the old content.
    pub(crate) fn replace(&mut self, range: Range<usize>, piece: &str) {
        if piece.is_empty() {
            return;
        }
        self.text.value.push_str(piece);
        if !self.from.segments.is_empty() {
            let source = self.from.span_of(range);
            push(&mut self.text.segments, self.text.value.len(), source, false);
        }
    }

    pub(crate) fn finish(self) -> Text {
        self.text
    }
}

fn push(segments: &mut Vec<Segment>, value_end: usize, source: Span, exact: bool) {
    if let Some(last) = segments.last_mut()
        && exact
        && last.exact
        && last.source.end == source.start
    {
        last.source.end = source.end;
        last.value_end = value_end;
        return;
    }
    segments.push(Segment { value_end, source, exact });
}

/// One character of content as the source spells it.
struct Unit {
    /// The character; a raw line break is `\n`.
    char: char,
    /// Bytes of source it takes.
    len: usize,
    /// White space that stands there itself (not as an escape), and so may be folded or stripped.
    raw_space: bool,
}

/// Maps content to source, or gives `None` where they don't agree. `source` includes the quotes.
fn align(value: &str, source: &str, base: usize, style: Style) -> Option<Vec<Segment>> {
    let (mut at, source) = match style {
        Style::Plain | Style::Block => (0, source),
        Style::Single => (1, source.strip_prefix('\'')?.strip_suffix('\'').map(|_| &source[..source.len() - 1])?),
        Style::Double => (1, source.strip_prefix('"')?.strip_suffix('"').map(|_| &source[..source.len() - 1])?),
    };
    let mut segments = Vec::new();
    let mut done = 0;
    if style == Style::Block {
        // Empty lines before the first line of a block are content, but lie before its span.
        done = value.len() - value.trim_start_matches('\n').len();
        if done > 0 {
            push(&mut segments, done, Span::new(base, base), false);
        }
    }
    while done < value.len() {
        let rest = &value[done..];
        let Some(unit) = unit_at(source, at, style) else {
            // The line break that ends a block may be missing in the file.
            if rest.bytes().any(|b| b != b'\n') {
                return None;
            }
            let end = base + source.len();
            push(&mut segments, value.len(), Span::new(end, end), false);
            break;
        };
        if unit.raw_space {
            let (run_end, breaks) = space_run(source, at, style);
            let run = &source[at..run_end];
            if !breaks {
                if !rest.starts_with(run) {
                    return None;
                }
                done += run.len();
                push(&mut segments, done, Span::new(base + at, base + run_end), true);
            } else {
                let space = rest.len() - rest.trim_start_matches([' ', '\t', '\n']).len();
                // What follows the last break is indentation within the content, and stands there as such.
                let tail = rest[..space].rfind('\n').map_or(0, |i| space - i - 1);
                let tail = if run.ends_with(&rest[space - tail..space]) { tail } else { 0 };
                if space > tail {
                    push(&mut segments, done + space - tail, Span::new(base + at, base + run_end - tail), false);
                }
                if tail > 0 {
                    push(&mut segments, done + space, Span::new(base + run_end - tail, base + run_end), true);
                }
                done += space;
            }
            at = run_end;
        } else {
            if !rest.starts_with(unit.char) {
                return None;
            }
            let len = unit.char.len_utf8();
            done += len;
            push(&mut segments, done, Span::new(base + at, base + at + unit.len), unit.len == len);
            at += unit.len;
        }
    }
    Some(segments)
}

/// The end of the run of raw white space at `at`, and whether it has a line break.
fn space_run(source: &str, at: usize, style: Style) -> (usize, bool) {
    let (mut end, mut breaks) = (at, false);
    while let Some(unit) = unit_at(source, end, style)
        && unit.raw_space
    {
        breaks |= unit.char == '\n';
        end += unit.len;
    }
    (end, breaks)
}

fn unit_at(source: &str, at: usize, style: Style) -> Option<Unit> {
    let rest = source.get(at..)?;
    let first = rest.chars().next()?;
    Some(match first {
        ' ' | '\t' => Unit { char: first, len: 1, raw_space: true },
        '\n' => Unit { char: '\n', len: 1, raw_space: true },
        '\r' => Unit { char: '\n', len: if rest.starts_with("\r\n") { 2 } else { 1 }, raw_space: true },
        '\'' if style == Style::Single => Unit { char: '\'', len: 2, raw_space: false },
        '\\' if style == Style::Double => return escape(rest),
        other => Unit { char: other, len: other.len_utf8(), raw_space: false },
    })
}

fn escape(rest: &str) -> Option<Unit> {
    let letter = rest.chars().nth(1)?;
    let plain = |char| Some(Unit { char, len: 1 + letter.len_utf8(), raw_space: false });
    let hex = |digits: usize| {
        let char = char::from_u32(u32::from_str_radix(rest.get(2..2 + digits)?, 16).ok()?)?;
        Some(Unit { char, len: 2 + digits, raw_space: false })
    };
    match letter {
        '0' => plain('\0'),
        'a' => plain('\x07'),
        'b' => plain('\x08'),
        't' | '\t' => plain('\t'),
        'n' => plain('\n'),
        'v' => plain('\x0b'),
        'f' => plain('\x0c'),
        'r' => plain('\r'),
        'e' => plain('\x1b'),
        'N' => plain('\u{85}'),
        '_' => plain('\u{a0}'),
        'L' => plain('\u{2028}'),
        'P' => plain('\u{2029}'),
        'x' => hex(2),
        'u' => hex(4),
        'U' => hex(8),
        // A break that is taken out together with the indentation after it.
        '\n' => Some(Unit { char: '\n', len: 2, raw_space: true }),
        '\r' => Some(Unit { char: '\n', len: if rest[2..].starts_with('\n') { 3 } else { 2 }, raw_space: true }),
        other => plain(other),
    }
}
