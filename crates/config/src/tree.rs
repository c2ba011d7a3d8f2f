//! YAML text to a tree whose every node knows its bytes.
//!
//! The subset is small on purpose: one document, maps with text keys, lists, scalars. Anchors, aliases, merge keys and
//! tags are refused, so that what a file says stands where one reads it.

use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span as MarkerSpan};

use crate::codes::{DUPLICATE, LIMITS, SYNTAX, UNSUPPORTED_YAML};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::span::{Span, Spanned};
use crate::syntax;
use crate::text::{Style, Text};

/// The largest file that is read, in bytes.
pub const FILE_BYTES_MAX: usize = 4 << 20;
/// How deep lists and maps may be nested.
pub const DEPTH_MAX: usize = 64;
/// How many scalars, lists and maps a file may have.
pub const NODES_MAX: usize = 200_000;

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// What it is.
    pub value: Value,
    /// Where it stands. A value that was left out (`key:` and nothing) has the span of its key.
    pub span: Span,
}

/// What a node can be.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Text, a number, a boolean or nothing.
    Scalar(Scalar),
    /// `[a, b]`
    List(Vec<Node>),
    /// `{a: 1}`, in the order of the file; no key twice.
    Map(Vec<Entry>),
    /// Something that was already reported; whoever meets it says nothing more.
    Invalid,
}

/// One `key: value`.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: Spanned<String>,
    /// The value.
    pub node: Node,
}

/// A scalar: its content and whether it was written without quotes (and so may mean a number).
#[derive(Clone, Debug, PartialEq)]
pub struct Scalar {
    /// The content.
    pub text: Text,
    /// Written without quotes.
    pub plain: bool,
}

/// What a scalar means by YAML 1.2's core schema.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Meaning {
    /// Nothing, `~`, `null`.
    Null,
    /// `true`, `false`.
    Bool(bool),
    /// A whole number that fits.
    Int(i128),
    /// Any other number.
    Float(f64),
    /// Everything else.
    String,
}

impl Scalar {
    /// What it means. A value with variables means what they hold, in quotes too: between `{ }` it needs them.
    pub fn meaning(&self) -> Meaning {
        if !self.plain && !self.text.is_expanded() {
            return Meaning::String;
        }
        match self.text.value.as_str() {
            "" | "~" | "null" | "Null" | "NULL" if !self.text.is_expanded() => Meaning::Null,
            "true" | "True" | "TRUE" => Meaning::Bool(true),
            "false" | "False" | "FALSE" => Meaning::Bool(false),
            text => number(text),
        }
    }
}

fn number(text: &str) -> Meaning {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let all = |t: &str, of: fn(&char) -> bool| !t.is_empty() && t.chars().all(|c| of(&c));
    if all(digits, char::is_ascii_digit)
        && let Ok(int) = text.parse()
    {
        return Meaning::Int(int);
    }
    for (prefix, radix) in [("0x", 16), ("0o", 8)] {
        if let Some(hex) = text.strip_prefix(prefix)
            && all(hex, char::is_ascii_alphanumeric)
            && let Ok(int) = i128::from_str_radix(hex, radix)
        {
            return Meaning::Int(int);
        }
    }
    match digits {
        ".inf" | ".Inf" | ".INF" => {
            return Meaning::Float(if text.starts_with('-') { f64::NEG_INFINITY } else { f64::INFINITY });
        }
        ".nan" | ".NaN" | ".NAN" => return Meaning::Float(f64::NAN),
        _ => {}
    }
    // Rust would also read `inf`, `nan` and `infinity`.
    let numeric =
        digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') && digits.contains(|c: char| c.is_ascii_digit());
    match text.parse() {
        Ok(float) if numeric => Meaning::Float(float),
        _ => Meaning::String,
    }
}

impl Node {
    /// A node that was already reported.
    pub fn invalid(span: Span) -> Self {
        Self { value: Value::Invalid, span }
    }

    /// Whether nothing was written, or `null`.
    pub fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar(scalar) if scalar.meaning() == Meaning::Null)
    }

    /// The entries of a map; none for anything else.
    pub fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// Whether this is a map or a list with something in it.
    pub fn has_entries(&self) -> bool {
        match &self.value {
            Value::Map(entries) => !entries.is_empty(),
            Value::List(items) => !items.is_empty(),
            Value::Scalar(_) | Value::Invalid => false,
        }
    }

    /// The value of a key, if this is a map that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entries().iter().find(|entry| entry.key.value == key).map(|entry| &entry.node)
    }
}

/// Reads YAML. All problems go to `diagnostics` (whose text must be `text`); what could be read in spite of them is
/// returned, so that more problems can be found in it. `None` where there is no tree at all.
pub fn parse(text: &str, diagnostics: &mut Diagnostics) -> Option<Node> {
    if text.len() > FILE_BYTES_MAX {
        let message = format!("the file has {} bytes, at most {FILE_BYTES_MAX} are read", text.len());
        diagnostics.push(
            Diagnostic::error(LIMITS, Span::default(), message)
                .help("a pipeline file holds no data; put reference data into a file and load it under `tables:`"),
        );
        return None;
    }
    let mut builder = Builder::new(text, diagnostics);
    for event in Parser::new_from_str(text) {
        let (event, span) = match event {
            Ok(event) => event,
            Err(error) => {
                builder.scan_error(error.info(), error.marker());
                return None;
            }
        };
        if builder.event(event, span).is_err() {
            return None;
        }
    }
    let root = builder.root.take();
    if root.is_none() {
        diagnostics.push(
            Diagnostic::error(SYNTAX, Span::default(), "the file is empty")
                .help("`millstream init` writes a pipeline file to start from"),
        );
    }
    root
}

/// The tree can't be built any further; the reason is reported.
struct Stop;

enum Frame {
    List { start: usize, flow: bool, items: Vec<Node> },
    Map { start: usize, flow: bool, entries: Vec<Entry>, seen: HashMap<String, Span>, key: Option<Key> },
}

struct Key {
    name: Spanned<String>,
    /// Its value is read, and dropped.
    refused: bool,
}

struct Builder<'a> {
    text: &'a str,
    /// Byte offset of every character; `None` where characters are bytes.
    offsets: Option<Vec<u32>>,
    diagnostics: &'a mut Diagnostics,
    stack: Vec<Frame>,
    root: Option<Node>,
    nodes: usize,
}

impl<'a> Builder<'a> {
    fn new(text: &'a str, diagnostics: &'a mut Diagnostics) -> Self {
        let offsets = (!text.is_ascii()).then(|| text.char_indices().map(|(i, _)| i as u32).collect());
        Self { text, offsets, diagnostics, stack: Vec::new(), root: None, nodes: 0 }
    }

    /// The byte a marker points at; markers count characters.
    fn byte(&self, marker: &Marker) -> usize {
        match &self.offsets {
            None => marker.index().min(self.text.len()),
            Some(offsets) => offsets.get(marker.index()).map_or(self.text.len(), |&byte| byte as usize),
        }
    }

    fn span(&self, span: &MarkerSpan) -> Span {
        Span::new(self.byte(&span.start), self.byte(&span.end))
    }

    fn event(&mut self, event: Event<'_>, markers: MarkerSpan) -> Result<(), Stop> {
        let span = self.span(&markers);
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
            Event::DocumentStart(_) => {
                if self.root.is_some() {
                    self.refuse(
                        span,
                        "a second document",
                        "keep one pipeline in one file, without `---` after its start",
                    );
                    return Err(Stop);
                }
            }
            Event::Alias(_) => {
                let whole = self.word(span.start);
                self.refuse_anchor(whole);
                self.add(Node::invalid(whole))?;
            }
            Event::Scalar(value, style, anchor, tag) => {
                self.properties(anchor, tag.is_some(), span);
                let node = self.scalar(value.into_owned(), style, span);
                self.add(node)?;
            }
            Event::SequenceStart(anchor, tag) => {
                self.properties(anchor, tag.is_some(), span);
                self.open(Frame::List { start: span.start, flow: self.is_flow(span.start), items: Vec::new() })?;
            }
            Event::MappingStart(anchor, tag) => {
                self.properties(anchor, tag.is_some(), span);
                let flow = self.is_flow(span.start);
                let (entries, seen) = (Vec::new(), HashMap::new());
                self.open(Frame::Map { start: span.start, flow, entries, seen, key: None })?;
            }
            // The span of a closing bracket runs on over white space and comments.
            Event::SequenceEnd | Event::MappingEnd => self.close(span.start + 1)?,
        }
        Ok(())
    }

    fn is_flow(&self, at: usize) -> bool {
        matches!(self.text.as_bytes().get(at), Some(b'[' | b'{'))
    }

    /// From `start` to the next white space.
    fn word(&self, start: usize) -> Span {
        let rest = self.text.get(start..).unwrap_or("");
        Span::new(start, start + rest.find(|c: char| c.is_whitespace() || ",]}".contains(c)).unwrap_or(rest.len()))
    }

    fn refuse(&mut self, span: Span, what: &str, help: &str) {
        let message = format!("pipeline files don't have {what}");
        self.diagnostics.push(Diagnostic::error(UNSUPPORTED_YAML, span, message).help(help));
    }

    fn refuse_anchor(&mut self, span: Span) {
        let help = "write the value out where it is used; a string that begins with `&` or `*` needs quotes";
        self.refuse(span, "anchors and aliases (`&name`, `*name`)", help);
    }

    fn properties(&mut self, anchor: usize, tag: bool, span: Span) {
        // Anchor and tag stand at the start of the node, in either order.
        let mut at = span.start;
        for _ in 0..usize::from(anchor > 0) + usize::from(tag) {
            let word = self.word(at);
            if self.text.get(word.start..).is_some_and(|t| t.starts_with('&')) {
                self.refuse_anchor(word);
            } else {
                let help = "leave the tag out; a string that begins with `!` needs quotes";
                self.refuse(word, "tags (`!name`)", help);
            }
            let rest = self.text.get(word.end..).unwrap_or("");
            at = word.end + (rest.len() - rest.trim_start().len());
        }
    }

    fn scalar(&self, value: String, style: ScalarStyle, span: Span) -> Node {
        let style = match style {
            ScalarStyle::Plain => Style::Plain,
            ScalarStyle::SingleQuoted => Style::Single,
            ScalarStyle::DoubleQuoted => Style::Double,
            ScalarStyle::Literal | ScalarStyle::Folded => Style::Block,
        };
        let covered = self.text.get(span.start..span.end).unwrap_or("");
        // The scanner's span of a quoted scalar runs on over white space and comments.
        let covered = match style {
            Style::Single | Style::Double => quoted(covered),
            Style::Plain | Style::Block => covered.trim_end(),
        };
        let span = Span::new(span.start, span.start + covered.len());
        let text = Text::mapped(value, span, covered, style);
        Node { value: Value::Scalar(Scalar { text, plain: style == Style::Plain }), span }
    }

    fn count(&mut self, span: Span) -> Result<(), Stop> {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            let message = format!("the file has more than {NODES_MAX} values");
            self.diagnostics.push(
                Diagnostic::error(LIMITS, span, message)
                    .help("a pipeline file holds no data; put reference data into a file and load it under `tables:`"),
            );
            return Err(Stop);
        }
        Ok(())
    }

    fn open(&mut self, frame: Frame) -> Result<(), Stop> {
        let (Frame::List { start, .. } | Frame::Map { start, .. }) = frame;
        let span = Span::new(start, start);
        self.count(span)?;
        if self.stack.len() >= DEPTH_MAX {
            let message = format!("lists and maps are nested deeper than {DEPTH_MAX}");
            self.diagnostics.push(Diagnostic::error(LIMITS, span, message));
            return Err(Stop);
        }
        self.stack.push(frame);
        Ok(())
    }

    fn close(&mut self, bracket_end: usize) -> Result<(), Stop> {
        let node = match self.stack.pop() {
            Some(Frame::List { start, flow, items }) => {
                let inner = items.first().zip(items.last()).map(|(a, b)| Span::new(a.span.start, b.span.end));
                let span = collection_span(start, flow, bracket_end, inner);
                Node { value: Value::List(items), span }
            }
            Some(Frame::Map { start, flow, entries, .. }) => {
                let inner =
                    entries.first().zip(entries.last()).map(|(a, b)| Span::new(a.key.span.start, b.node.span.end));
                let span = collection_span(start, flow, bracket_end, inner);
                Node { value: Value::Map(entries), span }
            }
            None => return Ok(()),
        };
        self.add_finished(node);
        Ok(())
    }

    fn add(&mut self, node: Node) -> Result<(), Stop> {
        self.count(node.span)?;
        self.add_finished(node);
        Ok(())
    }

    fn add_finished(&mut self, mut node: Node) {
        match self.stack.last_mut() {
            None => self.root = Some(node),
            Some(Frame::List { items, .. }) => {
                if node.span.is_empty() {
                    // The dash of an empty item is all there is to underline.
                    let before = self.text.get(..node.span.start).unwrap_or("");
                    node.span = before.rfind('-').map_or(node.span, |dash| Span::new(dash, dash + 1));
                }
                items.push(node);
            }
            Some(Frame::Map { entries, key, .. }) if key.is_some() => {
                if let Some(key) = key.take()
                    && !key.refused
                {
                    if node.span.is_empty() {
                        node.span = key.name.span;
                    }
                    entries.push(Entry { key: key.name, node });
                }
            }
            Some(Frame::Map { .. }) => self.key(&node),
        }
    }

    fn key(&mut self, node: &Node) {
        let Some(Frame::Map { seen, key, .. }) = self.stack.last_mut() else { return };
        let mut refused = true;
        let mut name = Spanned::new(String::new(), node.span);
        let mut problem = None;
        match &node.value {
            Value::Scalar(scalar) if node.is_null() => {
                name.span = scalar.text.span;
                let message = "a key is empty";
                problem = Some(
                    Diagnostic::error(UNSUPPORTED_YAML, node.span, message)
                        .help("write a name before the colon; a key that is the word `null` or `~` needs quotes"),
                );
            }
            Value::Scalar(scalar) if scalar.plain && scalar.text.value == "<<" => {
                problem = Some(
                    Diagnostic::error(UNSUPPORTED_YAML, node.span, "pipeline files don't have merge keys (`<<`)")
                        .help("write the fields out where they are used"),
                );
            }
            Value::Scalar(scalar) => {
                name.value.clone_from(&scalar.text.value);
                if let Some(first) = seen.get(&name.value) {
                    let message = format!("the key `{}` is given twice", name.value);
                    problem = Some(
                        Diagnostic::error(DUPLICATE, node.span, message)
                            .label("given again here")
                            .related(*first, "given first here")
                            .help("keep one of the two"),
                    );
                } else {
                    seen.insert(name.value.clone(), node.span);
                    refused = false;
                }
            }
            Value::List(_) | Value::Map(_) => {
                problem = Some(
                    Diagnostic::error(UNSUPPORTED_YAML, node.span, "a key is a list or a map; keys are text")
                        .help("quote the key if its brackets are part of a name"),
                );
            }
            Value::Invalid => {}
        }
        *key = Some(Key { name, refused });
        if let Some(problem) = problem {
            self.diagnostics.push(problem);
        }
    }

    fn scan_error(&mut self, info: &str, marker: &Marker) {
        let at = self.byte(marker);
        if info.contains("unknown anchor") {
            return self.refuse_anchor(self.word(at));
        }
        let (span, (message, help)) = match self.tab_near(at) {
            Some(tab) => {
                let message = "not valid YAML: a line is indented with a tab".to_owned();
                (Span::new(tab, tab + 1), (message, Some("indent with spaces")))
            }
            None => {
                let seen = self.text.get(at..).and_then(|rest| rest.chars().next());
                let len = seen.filter(|c| !matches!(c, '\n' | '\r')).map_or(0, char::len_utf8);
                (Span::new(at, at + len), syntax::explain(info, self.line(at)))
            }
        };
        let mut diagnostic = Diagnostic::error(SYNTAX, span, message);
        diagnostic.help = help.map(str::to_owned);
        self.diagnostics.push(diagnostic);
    }

    /// The line at `at`.
    fn line(&self, at: usize) -> &'a str {
        let start = self.text.get(..at).and_then(|before| before.rfind('\n')).map_or(0, |i| i + 1);
        self.text.get(start..).and_then(|rest| rest.lines().next()).unwrap_or("")
    }

    /// A tab in the indentation of the line at `at`, or of the next: the scanner points at what comes before it.
    fn tab_near(&self, at: usize) -> Option<usize> {
        let mut start = self.text.get(..at)?.rfind('\n').map_or(0, |i| i + 1);
        for line in self.text.get(start..)?.split_inclusive('\n').take(2) {
            let indentation = line.len() - line.trim_start_matches([' ', '\t']).len();
            if let Some(tab) = line.get(..indentation).and_then(|blanks| blanks.find('\t')) {
                return Some(start + tab);
            }
            start += line.len();
        }
        None
    }
}

fn collection_span(start: usize, flow: bool, bracket_end: usize, inner: Option<Span>) -> Span {
    match inner {
        _ if flow => Span::new(start, bracket_end),
        Some(inner) => Span::new(start.min(inner.start), inner.end),
        None => Span::new(start, start),
    }
}

/// The part of `source` from its opening quote to the closing one.
fn quoted(source: &str) -> &str {
    let mut chars = source.char_indices().peekable();
    let Some((_, quote)) = chars.next() else { return source };
    while let Some((i, c)) = chars.next() {
        if quote == '"' && c == '\\' {
            chars.next();
        } else if c == quote {
            if quote == '\'' && chars.peek().is_some_and(|&(_, next)| next == quote) {
                chars.next();
            } else {
                return source.get(..=i).unwrap_or(source);
            }
        }
    }
    source.trim_end()
}
