//! Building the plan: placing functions in stores, and what they need in rows and frames.

use arrow::datatypes::DataType;
use millstream_core::error::{Error, Result};

use super::{
    AccumulatorPlan, Cell, CellPlan, Computed, End, FlagPlan, FlagSet, FramePlan, FunctionPlan, IndexPlan, Indexed,
    Operation, StorePlan, TiePlan,
};
use crate::window::codes::UNSUPPORTED_WINDOW;
use crate::window::output::Fallback;
use crate::window::spec::{Emit, Frame, Function, WindowFunction, WindowSpec};
use crate::window::value::{Kind, plain_type};

/// Flags that one word holds.
const FLAGS: u32 = 64;

/// Plans the stores of a spec.
///
/// # Errors
/// A function over a type it is not defined for, or with the wrong number of arguments.
pub fn plan(spec: &WindowSpec) -> Result<Vec<StorePlan>> {
    let mut builders: Vec<StoreBuilder<'_>> = Vec::new();
    // Functions that don't care how rows of one time are ordered come last and take any store there is.
    let mut indexes: Vec<usize> = (0..spec.functions.len()).collect();
    indexes.sort_by_key(|&i| spec.functions.get(i).is_some_and(is_flexible));
    for index in indexes {
        let Some(function) = spec.functions.get(index) else { continue };
        check(spec, function)?;
        let mut partition_by = function.partition_by.clone();
        partition_by.sort_unstable();
        partition_by.dedup();
        for &argument in &partition_by {
            kind_of(spec, argument).ok_or_else(|| unsupported(spec, "PARTITION BY", argument))?;
        }
        let fitting = builders.iter_mut().find(|store| {
            store.plan.partition_by == partition_by
                && (store.orders_like(function) || is_flexible(function))
                && store.has_room(function)
        });
        let store = match fitting {
            Some(store) => store,
            None => {
                builders.push(StoreBuilder::new(spec, partition_by, function)?);
                let Some(last) = builders.last_mut() else { continue };
                last
            }
        };
        store.add(index, function)?;
    }
    Ok(builders.into_iter().map(StoreBuilder::finish).collect())
}

/// Whether a function depends on the event times of its rows only, not on their order.
fn is_flexible(function: &WindowFunction) -> bool {
    use Function as F;
    let ordered =
        matches!(function.function, F::FirstValue | F::LastValue | F::NthValue(_) | F::Lag { .. } | F::RowNumber);
    !ordered && function.tie_breaks.is_empty() && matches!(function.frame, Frame::Range(_))
}

fn kind_of(spec: &WindowSpec, argument: usize) -> Option<Kind> {
    Kind::of(spec.arguments.fields().get(argument)?.data_type())
}

fn unsupported(spec: &WindowSpec, what: &str, argument: usize) -> Error {
    let field = spec.arguments.fields().get(argument);
    let (name, data_type) = field.map_or(("?", DataType::Null), |f| (f.name().as_str(), f.data_type().clone()));
    Error::new(UNSUPPORTED_WINDOW, format!("{what} does not take `{name}`, which is of type {data_type}"))
        .help("numbers, booleans, strings, decimals, dates and timestamps can be used; CAST to one of them")
}

/// Checks that a function has its arguments, and that their types are ones it is defined for.
fn check(spec: &WindowSpec, function: &WindowFunction) -> Result<()> {
    use Function as F;
    let name = function.function.name();
    let (least, most) = match function.function {
        F::Count => (0, 1),
        F::RowNumber => (0, 0),
        F::Covariance { .. } | F::Correlation | F::RegressionSlope => (2, 2),
        _ => (1, 1),
    };
    let given = function.arguments.len();
    let columns = spec.arguments.fields().len();
    let used = function.arguments.iter().chain(&function.partition_by).chain(&function.filter);
    if given < least
        || given > most
        || used.chain(function.tie_breaks.iter().map(|t| &t.argument)).any(|&a| a >= columns)
    {
        return Err(Error::new(UNSUPPORTED_WINDOW, format!("{name} does not take {given} arguments")));
    }
    let numbers_only = matches!(
        function.function,
        F::Sum
            | F::Avg
            | F::ApproxPercentile(_)
            | F::Variance { .. }
            | F::Covariance { .. }
            | F::Correlation
            | F::RegressionSlope
    );
    for &argument in &function.arguments {
        if matches!(function.function, F::Count) {
            continue;
        }
        let data_type = spec.arguments.field(argument).data_type();
        let decimal = matches!(plain_type(data_type), DataType::Decimal128(..));
        let number = data_type.is_numeric() && Kind::of(data_type).is_some();
        let summable = decimal && matches!(function.function, F::Sum | F::Avg);
        let fits = if numbers_only { number && (!decimal || summable) } else { Kind::of(data_type).is_some() };
        if !fits {
            return Err(unsupported(spec, name, argument));
        }
    }
    Ok(())
}

struct StoreBuilder<'a> {
    spec: &'a WindowSpec,
    plan: StorePlan,
}

impl<'a> StoreBuilder<'a> {
    fn new(spec: &'a WindowSpec, partition_by: Vec<usize>, function: &WindowFunction) -> Result<Self> {
        let mut builder = Self { spec, plan: StorePlan { partition_by, ..StorePlan::default() } };
        for tie in &function.tie_breaks {
            let argument = tie.argument;
            let kind = kind_of(spec, argument).ok_or_else(|| unsupported(spec, "ORDER BY", argument))?;
            let (mut word, mut valid) = (0, 0);
            // Rows that come out behind the watermark are sorted before they are stored.
            if spec.emit == Emit::OnArrival {
                valid = if kind.is_interned() {
                    builder.flag(FlagPlan { argument, set: FlagSet::Tied })
                } else {
                    builder.valid(argument)
                };
                word = builder.word(argument, kind, true, valid);
            }
            let (descending, nulls_first) = (tie.descending, tie.nulls_first);
            builder.plan.ties.push(TiePlan { argument, descending, nulls_first, kind, word, valid });
        }
        Ok(builder)
    }

    fn orders_like(&self, function: &WindowFunction) -> bool {
        self.plan.ties.len() == function.tie_breaks.len()
            && self
                .plan
                .ties
                .iter()
                .zip(&function.tie_breaks)
                .all(|(a, b)| (a.argument, a.descending, a.nulls_first) == (b.argument, b.descending, b.nulls_first))
    }

    /// A function sets at most three flags.
    fn has_room(&self, _function: &WindowFunction) -> bool {
        self.plan.flags.len() as u32 + 3 <= FLAGS
    }

    fn word(&mut self, argument: usize, kind: Kind, tie_only: bool, held: u64) -> usize {
        let known = self.plan.cells.iter().position(|cell| cell.argument == argument);
        let at = known.unwrap_or_else(|| {
            self.plan.cells.push(CellPlan { argument, kind, tie_only, held });
            self.plan.cells.len() - 1
        });
        if let Some(cell) = self.plan.cells.get_mut(at)
            && !tie_only
        {
            (cell.tie_only, cell.held) = (false, held);
        }
        at
    }

    fn flag(&mut self, flag: FlagPlan) -> u64 {
        let known = self.plan.flags.iter().position(|&known| known == flag);
        1 << known.unwrap_or_else(|| {
            self.plan.flags.push(flag);
            self.plan.flags.len() - 1
        })
    }

    fn valid(&mut self, argument: usize) -> u64 {
        let nullable = self.spec.arguments.fields().get(argument).is_none_or(|field| field.is_nullable());
        if nullable { self.flag(FlagPlan { argument, set: FlagSet::Valid }) } else { 0 }
    }

    fn cell(&mut self, argument: usize) -> Cell {
        let kind = kind_of(self.spec, argument).unwrap_or(Kind::UInt);
        let valid = self.valid(argument);
        Cell { word: self.word(argument, kind, false, valid), kind, valid }
    }

    /// An index that finds the k-th row with the flags; where all rows count, none is needed.
    fn rank(&mut self, need: u64) -> usize {
        if need == 0 { usize::MAX } else { self.index(Indexed::Rank, need) }
    }

    fn index(&mut self, what: Indexed, need: u64) -> usize {
        let index = IndexPlan { what, need };
        let known = self.plan.indexes.iter().position(|&known| known == index);
        known.unwrap_or_else(|| {
            self.plan.indexes.push(index);
            self.plan.indexes.len() - 1
        })
    }

    /// The place of a frame in the plan.
    fn frame(&mut self, function: &WindowFunction) -> usize {
        let positional = matches!(function.function, Function::Lag { .. } | Function::RowNumber);
        let (frame, end) = match function.frame {
            _ if positional => (Frame::Rows(Some(0)), End::Row),
            frame @ Frame::Rows(_) => (frame, End::Row),
            frame @ Frame::Range(_) if function.tie_breaks.is_empty() => (frame, End::Time),
            frame @ Frame::Range(_) => (frame, End::Peers),
        };
        let known = self.plan.frames.iter().position(|f| (f.frame, f.end) == (frame, end));
        known.unwrap_or_else(|| {
            let (accumulators, functions) = (Vec::new(), Vec::new());
            self.plan.frames.push(FramePlan { frame, end, first: 0, accumulators, functions });
            self.plan.frames.len() - 1
        })
    }

    /// The place of an accumulator in its frame.
    fn accumulator(&mut self, frame: usize, plan: AccumulatorPlan) -> usize {
        let Some(frame) = self.plan.frames.get_mut(frame) else { return 0 };
        let known = frame.accumulators.iter().position(|&known| known == plan);
        known.unwrap_or_else(|| {
            frame.accumulators.push(plan);
            frame.accumulators.len() - 1
        })
    }

    fn add(&mut self, index: usize, function: &WindowFunction) -> Result<()> {
        let frame = self.frame(function);
        let filter = function.filter.map_or(0, |argument| self.flag(FlagPlan { argument, set: FlagSet::True }));
        let unbounded = self.plan.frames.get(frame).is_some_and(FramePlan::unbounded);
        let result = match (&function.function, function.arguments.as_slice()) {
            (Function::RowNumber, _) => {
                self.plan.permanent = true;
                Computed::RowNumber
            }
            (Function::Count, []) if filter == 0 => Computed::CountRows,
            (Function::Count, arguments) => {
                let valid = arguments.first().map_or(0, |&argument| self.valid(argument));
                match valid | filter {
                    0 => Computed::CountRows,
                    need => Computed::Count { at: self.simple(frame, Operation::Count, need, None) },
                }
            }
            (kind, &[y, x]) => self.pair(frame, kind, y, x, filter),
            (kind, &[argument]) => {
                let cell = self.cell(argument);
                match kind {
                    Function::Sum | Function::Avg => self.sum(frame, function, argument, cell, filter)?,
                    _ => self.single(frame, function, cell, filter, unbounded)?,
                }
            }
            _ => return Err(Error::new(UNSUPPORTED_WINDOW, "a window function without its arguments")),
        };
        if let Some(frame) = self.plan.frames.get_mut(frame) {
            frame.functions.push(FunctionPlan { index, result });
        }
        Ok(())
    }

    fn simple(&mut self, frame: usize, operation: Operation, need: u64, cell: Option<Cell>) -> usize {
        let none = Cell { word: 0, kind: Kind::UInt, valid: 0 };
        let cell = cell.unwrap_or(none);
        self.accumulator(frame, AccumulatorPlan { operation, need, cell, other: none })
    }

    fn pair(&mut self, frame: usize, function: &Function, y: usize, x: usize, filter: u64) -> Computed {
        let (cell, other) = (self.cell(y), self.cell(x));
        let need = cell.valid | other.valid | filter;
        let at = self.accumulator(frame, AccumulatorPlan { operation: Operation::Moments, need, cell, other });
        match function {
            Function::Covariance { sample } => Computed::Covariance { at, sample: *sample },
            Function::RegressionSlope => Computed::Slope { at },
            _ => Computed::Correlation { at },
        }
    }

    fn sum(
        &mut self,
        frame: usize,
        function: &WindowFunction,
        argument: usize,
        cell: Cell,
        filter: u64,
    ) -> Result<Computed> {
        let need = cell.valid | filter;
        let input = plain_type(self.spec.arguments.field(argument).data_type());
        let output = function.output.data_type();
        let operation = match cell.kind {
            Kind::Float => Operation::Floats,
            Kind::Wide => Operation::WideIntegers,
            _ => Operation::Integers,
        };
        let at = self.simple(frame, operation, need, Some(cell));
        let mean = function.function == Function::Avg;
        Ok(match (cell.kind, input, output) {
            (Kind::Float, _, DataType::Float64) if mean => Computed::FloatMean { at },
            (Kind::Float, _, DataType::Float64) => Computed::FloatSum { at },
            (_, DataType::Decimal128(_, from), &DataType::Decimal128(precision, to)) if mean && to >= from => {
                Computed::DecimalMean { at, precision, digits: (to - from) as u32 }
            }
            (_, DataType::Decimal128(_, from), &DataType::Decimal128(precision, to)) if !mean && to == from => {
                Computed::DecimalSum { at, precision }
            }
            (Kind::Int | Kind::UInt, input, DataType::Float64) if mean && input.is_integer() => {
                Computed::IntegerMean { at }
            }
            (Kind::Int | Kind::UInt, input, DataType::Int64) if !mean && input.is_integer() => {
                Computed::IntegerSum { at, signed: true }
            }
            (Kind::Int | Kind::UInt, input, DataType::UInt64) if !mean && input.is_integer() => {
                Computed::IntegerSum { at, signed: false }
            }
            (_, input, output) => {
                let name = function.function.name();
                let message = format!("{name} over {input} does not give {output}");
                return Err(Error::new(UNSUPPORTED_WINDOW, message));
            }
        })
    }

    fn single(
        &mut self,
        frame: usize,
        function: &WindowFunction,
        cell: Cell,
        filter: u64,
        unbounded: bool,
    ) -> Result<Computed> {
        let need = cell.valid | filter;
        let chosen = filter | if function.ignore_nulls { cell.valid } else { 0 };
        Ok(match function.function {
            Function::CountDistinct | Function::ApproxDistinct => {
                Computed::Distinct { at: self.simple(frame, Operation::Distinct, need, Some(cell)) }
            }
            Function::ApproxPercentile(p) => {
                let at = self.simple(frame, Operation::Sorted, need, Some(cell));
                Computed::Percentile { at, p: p.clamp(0.0, 1.0), kind: cell.kind }
            }
            Function::Variance { sample, root } => {
                let sum_at = self.simple(frame, Operation::Floats, need, Some(cell));
                let squares_at = self.simple(frame, Operation::Squares, need, Some(cell));
                Computed::Variance { sum_at, squares_at, sample, root }
            }
            Function::Min | Function::Max => {
                let greatest = function.function == Function::Max;
                let at = self.simple(frame, Operation::Extreme { greatest }, need, Some(cell));
                let dropped = Operation::DroppedExtreme { greatest };
                let dropped_at = unbounded.then(|| self.simple(frame, dropped, need, Some(cell)));
                let index = self.index(Indexed::Extreme { word: cell.word, kind: cell.kind, greatest }, need);
                Computed::Extreme { at, dropped_at, index, cell }
            }
            Function::LastValue => {
                let dropped = Operation::DroppedLast(1);
                let dropped_at = unbounded.then(|| self.simple(frame, dropped, chosen, Some(cell)));
                Computed::Last { cell, need: chosen, index: self.rank(chosen), dropped_at }
            }
            Function::Lag { offset, ref default } => {
                self.plan.permanent = true;
                let default = Fallback::new(default, function.output.data_type())?;
                let mut dropped_at = None;
                if chosen == 0 {
                    self.plan.reach_rows = self.plan.reach_rows.max(offset);
                } else {
                    dropped_at = Some(self.simple(frame, Operation::DroppedLast(offset), chosen, Some(cell)));
                }
                let index = self.rank(chosen);
                Computed::Lag { offset, cell, need: chosen, index, dropped_at, default }
            }
            ref other => {
                let n = if let Function::NthValue(n) = other { (*n).max(1) } else { 1 };
                let dropped = Operation::DroppedNth(n);
                let dropped_at = unbounded.then(|| self.simple(frame, dropped, chosen, Some(cell)));
                Computed::Nth { n, cell, need: chosen, index: self.rank(chosen), dropped_at }
            }
        })
    }

    /// Lays rows out and numbers the accumulators.
    fn finish(mut self) -> StorePlan {
        let plan = &mut self.plan;
        // Words were counted from the first cell until now; the time and the flags stand before it.
        let head = 1 + usize::from(!plan.flags.is_empty());
        plan.stride = head + plan.cells.len();
        for tie in &mut plan.ties {
            tie.word += head;
        }
        for index in &mut plan.indexes {
            if let Indexed::Extreme { word, .. } = &mut index.what {
                *word += head;
            }
        }
        let mut first = 0;
        for frame in &mut plan.frames {
            frame.first = first;
            first += frame.accumulators.len();
            for accumulator in &mut frame.accumulators {
                accumulator.cell.word += head;
                accumulator.other.word += head;
            }
            for function in &mut frame.functions {
                match &mut function.result {
                    Computed::Extreme { cell, .. }
                    | Computed::Nth { cell, .. }
                    | Computed::Last { cell, .. }
                    | Computed::Lag { cell, .. } => cell.word += head,
                    _ => {}
                }
            }
            match frame.frame {
                Frame::Range(Some(ns)) => plan.reach_ns = Some(plan.reach_ns.map_or(ns, |known| known.max(ns))),
                Frame::Rows(Some(rows)) => plan.reach_rows = plan.reach_rows.max(rows),
                Frame::Range(None) | Frame::Rows(None) => plan.permanent = true,
            }
        }
        plan.permanent |= plan.reach_rows > 0;
        plan.interns = plan.cells.iter().any(|cell| cell.kind.is_interned());
        plan.forgets_ties = plan.cells.iter().any(|cell| cell.tie_only && cell.kind.is_interned());
        plan.tracks_settled = plan.reach_ns.is_none() || plan.permanent || plan.forgets_ties;
        self.plan
    }
}
