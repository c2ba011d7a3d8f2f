//! The operators that may stand around an ensemble.

use std::rc::Rc;

use super::arithmetic::{Binary, Unary};
use super::builder::Builder;
use super::program::{Lookup, Op, Reduce};
use super::proto::{Data, NodeProto, element};
use super::value::{Constant, Leaves, Row, Type, Value};
use crate::error::LoadError;

/// What an error says beside the operator's name.
const KNOWN: &str = "casts, scaling, imputing, encoding, arithmetic, softmax, sums and labels may stand around trees";

impl<'a> Builder<'_, 'a> {
    /// The results of a node.
    pub(super) fn node(&mut self, node: &NodeProto<'a>) -> Result<Vec<Value>, LoadError> {
        let ml = node.domain == "ai.onnx.ml";
        if !ml && !matches!(node.domain, "" | "ai.onnx") {
            return Err(node.unsupported(
                "",
                format!("an operator of domain `{}`", node.domain.chars().take(60).collect::<String>()),
            ));
        }
        let unary = |builder: &mut Self, op| Ok(vec![builder.unary(node, op, None)?]);
        let binary = |builder: &mut Self, op| Ok(vec![builder.binary(node, op)?]);
        match (ml, node.op) {
            (true, "TreeEnsembleClassifier" | "TreeEnsembleRegressor" | "TreeEnsemble") => self.ensemble(node),
            (true, "LinearRegressor") => self.linear_regressor(node),
            (true, "LinearClassifier") => self.linear_classifier(node),
            (true, "Scaler") => self.scaler(node),
            (true, "Imputer") => self.imputer(node),
            (true, "Normalizer") => self.normalizer(node),
            (true, "OneHotEncoder") => self.one_hot(node),
            (true, "LabelEncoder") => self.label_encoder(node),
            (true, "ArrayFeatureExtractor") | (false, "Gather") => self.pick(node, ml),
            (true, "ZipMap") | (false, "Identity" | "Dropout") => Ok(vec![self.value(node, 0)?]),
            (true, "FeatureVectorizer") | (false, "Concat") => self.concat(node, ml),
            (false, "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze") => self.reshape(node),
            (false, "Slice") => self.slice(node),
            (false, "Constant") => constant_node(node),
            (false, "Cast") => self.cast(node),
            (false, "Neg") => unary(self, Unary::Neg),
            (false, "Abs") => unary(self, Unary::Abs),
            (false, "Exp") => unary(self, Unary::Exp),
            (false, "Log") => unary(self, Unary::Log),
            (false, "Sqrt") => unary(self, Unary::Sqrt),
            (false, "Sigmoid") => unary(self, Unary::Sigmoid),
            (false, "Not") => unary(self, Unary::Not),
            (false, "Add" | "Sum") => binary(self, Binary::Add),
            (false, "Sub") => binary(self, Binary::Sub),
            (false, "Mul") => binary(self, Binary::Mul),
            (false, "Div") => binary(self, Binary::Div),
            (false, "Pow") => binary(self, Binary::Pow),
            (false, "Max") => binary(self, Binary::Max),
            (false, "Min") => binary(self, Binary::Min),
            (false, "Equal") => binary(self, Binary::Equal),
            (false, "Less") => binary(self, Binary::Less),
            (false, "LessOrEqual") => binary(self, Binary::LessOrEqual),
            (false, "Greater") => binary(self, Binary::Greater),
            (false, "GreaterOrEqual") => binary(self, Binary::GreaterOrEqual),
            (false, "And") => binary(self, Binary::And),
            (false, "Or") => binary(self, Binary::Or),
            (false, "Clip") => self.clip(node),
            (false, "MatMul") => self.matmul(node),
            (false, "Where") => self.choose(node),
            (false, "Softmax") => self.softmax(node),
            (false, "ArgMax") => self.argmax(node),
            (false, "ReduceSum") => self.reduce(node, Reduce::Sum),
            (false, "ReduceMean") => self.reduce(node, Reduce::Mean),
            (false, "ReduceMax") => self.reduce(node, Reduce::Max),
            (false, "ReduceMin") => self.reduce(node, Reduce::Min),
            _ => Err(node.unsupported("", format!("this operator ({KNOWN})"))),
        }
    }

    fn unary(&mut self, node: &NodeProto<'a>, op: Unary, to: Option<Type>) -> Result<Value, LoadError> {
        match self.value(node, 0)? {
            Value::Constant(constant) if constant.numbers().is_some() => {
                let ty = to.unwrap_or(constant.ty);
                let numbers = constant.numbers().unwrap_or_default();
                self.spend(numbers.len())?;
                let numbers = numbers.iter().map(|&x| op.apply(ty.kind(), x)).collect();
                Ok(Value::Constant(Rc::new(Constant { ty, dims: constant.dims.clone(), data: Data::Numbers(numbers) })))
            }
            Value::Leaves(Leaves { ty, parts }) if parts.len() == 1 => {
                let ty = to.unwrap_or(ty);
                let (tree, table) = &parts[0];
                self.spend(table.len())?;
                let table = table.iter().map(|&x| op.apply(ty.kind(), x)).collect();
                Ok(Value::Leaves(Leaves::one(ty, *tree, table)))
            }
            _ => {
                let row = self.numeric(node, 0)?;
                Ok(Value::Row(self.step(Op::Unary(op), to.unwrap_or(row.ty), &[&row], row.width())?))
            }
        }
    }

    /// Columns of numbers.
    pub(super) fn numeric(&mut self, node: &NodeProto<'a>, which: usize) -> Result<Row, LoadError> {
        let row = self.row(node, which)?;
        if matches!(row.ty, Type::Text | Type::Label) {
            return Err(node.unsupported("", "arithmetic with strings"));
        }
        Ok(row)
    }

    /// An operator of two inputs; `Sum`, `Max` and `Min` may have any number of them, taken in order.
    fn binary(&mut self, node: &NodeProto<'a>, op: Binary) -> Result<Value, LoadError> {
        let mut result = self.value(node, 0)?;
        if let Value::Leaves(sum) = &result {
            self.spend(sum.parts.len() * 3)?;
        }
        for which in 1..node.inputs.len() {
            result = self.pair(node, op, result, which)?;
        }
        if node.inputs.len() == 1 { Ok(Value::Row(self.numeric(node, 0)?)) } else { Ok(result) }
    }

    fn pair(&mut self, node: &NodeProto<'a>, op: Binary, left: Value, which: usize) -> Result<Value, LoadError> {
        let right = self.value(node, which)?;
        if let Some(folded) = self.fold(op, &left, &right)? {
            return Ok(folded);
        }
        let left = match (left, &right) {
            (Value::Leaves(mut sum), Value::Leaves(next))
                if op == Binary::Add && sum.ty == next.ty && next.parts.len() == 1 =>
            {
                Rc::make_mut(&mut sum.parts).extend(next.parts.iter().cloned());
                return Ok(Value::Leaves(sum));
            }
            (left, _) => left,
        };
        let left = if which == 1 { self.numeric(node, 0)? } else { self.settle(node, left)? };
        let right = self.numeric(node, which)?;
        let width = match (left.width(), right.width()) {
            (a, b) if a == b => a,
            (1, b) => b,
            (a, 1) => a,
            (a, b) => return Err(node.malformed("", format!("its inputs have {a} and {b} columns"))),
        };
        let ty = if op.is_comparison() { Type::Bool } else { left.ty };
        Ok(Value::Row(self.step_of_kind(Op::Binary(op), left.ty.kind(), ty, &[&left, &right], width)?))
    }

    /// Computes at once what depends on constants and one tree only.
    fn fold(&mut self, op: Binary, left: &Value, right: &Value) -> Result<Option<Value>, LoadError> {
        let single = |value: &Value| match value {
            Value::Leaves(leaves) if leaves.parts.len() == 1 => {
                leaves.parts.first().cloned().map(|part| (leaves.ty, part))
            }
            _ => None,
        };
        let number = |value: &Value| match value {
            Value::Constant(constant) => match constant.numbers() {
                Some([number]) => Some((constant.ty, *number)),
                _ => None,
            },
            _ => None,
        };
        let ty = |ty: Type| if op.is_comparison() { Type::Bool } else { ty };
        let (ty, tree, table): (Type, usize, Rc<[f64]>) =
            match (single(left), single(right), number(left), number(right)) {
                (Some((t, (tree, a))), _, _, Some((_, b))) => {
                    (ty(t), tree, a.iter().map(|&a| op.apply(t.kind(), a, b)).collect())
                }
                (_, Some((t, (tree, b))), Some((_, a)), _) => {
                    (ty(t), tree, b.iter().map(|&b| op.apply(t.kind(), a, b)).collect())
                }
                (Some((t, (tree, a))), Some((_, (other, b))), ..) if tree == other => {
                    (ty(t), tree, a.iter().zip(b.iter()).map(|(&a, &b)| op.apply(t.kind(), a, b)).collect())
                }
                (_, _, Some((t, a)), Some((_, b))) => {
                    let folded = Constant::row(ty(t), vec![op.apply(t.kind(), a, b)]);
                    return Ok(Some(Value::Constant(Rc::new(folded))));
                }
                _ => return Ok(None),
            };
        self.spend(table.len())?;
        Ok(Some(Value::Leaves(Leaves::one(ty, tree, table))))
    }

    fn cast(&mut self, node: &NodeProto<'a>) -> Result<Vec<Value>, LoadError> {
        let to = node.int("to", 0)?;
        let ty = Type::of_element(to).ok_or_else(|| node.unsupported("", format!("a cast to type {to}")))?;
        match self.value(node, 0)? {
            // Labels as strings stay what they are.
            Value::Row(row) if matches!(row.ty, Type::Text | Type::Label) => {
                if to == element::STRING {
                    Ok(vec![Value::Row(row)])
                } else {
                    Err(node.unsupported("", "a cast of strings to numbers"))
                }
            }
            _ if to == element::STRING => Err(node.unsupported("", "a cast of numbers to strings")),
            Value::Row(row) if row.ty == ty => Ok(vec![Value::Row(row)]),
            Value::Row(row) if row.stage == super::value::Stage::Before && self.is_input(&row) && ty.is_float() => {
                // Ensembles round their inputs themselves; a float32 that becomes float64 keeps its rounding.
                let rounded = row.rounded || ty == Type::Single;
                let lazy = row.lazy || (ty == Type::Single && !row.rounded);
                Ok(vec![Value::Row(Row { ty, rounded, lazy, ..row })])
            }
            _ if ty == Type::Bool => Ok(vec![self.unary(node, Unary::ToBool, Some(ty))?]),
            _ => Ok(vec![self.unary(node, Unary::Cast, Some(ty))?]),
        }
    }

    /// Whether the columns are inputs of the graph as they are.
    fn is_input(&self, row: &Row) -> bool {
        row.registers.iter().all(|&register| (register as usize) < self.inputs.len())
    }

    /// Columns by number: `Gather` along the columns, or `ArrayFeatureExtractor`, which may also look up labels.
    fn pick(&mut self, node: &NodeProto<'a>, ml: bool) -> Result<Vec<Value>, LoadError> {
        if let Value::Constant(table) = self.value(node, 0)? {
            return self.pick_label(node, &table);
        }
        if !ml && !matches!(node.int("axis", 0)?, 1 | -1) {
            return Err(node.unsupported("axis", "gathering rows"));
        }
        let row = self.shape_only(node)?;
        let wanted = self.constant(node, 1)?;
        let wanted = wanted.numbers().unwrap_or_default();
        self.spend(wanted.len())?;
        let width = row.width() as f64;
        let mut registers = Vec::with_capacity(wanted.len());
        for &index in wanted {
            let index = if index < 0.0 { index + width } else { index };
            let register = (index >= 0.0 && index < width).then(|| row.registers[index as usize]);
            registers
                .push(register.ok_or_else(|| node.malformed("input", format!("column {index} of {width} is meant")))?);
        }
        Ok(vec![Value::Row(Row { registers: registers.into(), ..row })])
    }

    /// A label by its place in a list.
    fn pick_label(&mut self, node: &NodeProto<'a>, table: &Constant) -> Result<Vec<Value>, LoadError> {
        let index = self.numeric(node, 1)?;
        if index.width() != 1 {
            return Err(node.unsupported("", "more than one label a row"));
        }
        match &table.data {
            Data::Strings(names) => {
                self.spend(names.len() * 4)?;
                let labels = Some(names.as_slice().into());
                Ok(vec![Value::Row(Row { ty: Type::Label, labels, ..index })])
            }
            Data::Numbers(numbers) => {
                let places: Vec<f64> = (0..numbers.len()).map(|place| place as f64).collect();
                let lookup = Lookup::new(&places, numbers, 0.0);
                Ok(vec![Value::Row(self.step(Op::Lookup(Box::new(lookup)), table.ty, &[&index], 1)?)])
            }
        }
    }

    /// An input as columns whose places are all that matters: it may be rounded later.
    fn shape_only(&mut self, node: &NodeProto<'a>) -> Result<Row, LoadError> {
        match self.value(node, 0)? {
            Value::Row(row) => Ok(row),
            _ => self.row(node, 0),
        }
    }

    fn concat(&mut self, node: &NodeProto<'a>, ml: bool) -> Result<Vec<Value>, LoadError> {
        if !ml && !matches!(node.int("axis", 1)?, 1 | -1) {
            return Err(node.unsupported("axis", "joining rows"));
        }
        let first = self.row(node, 0)?;
        let (mut registers, mut row) = (first.registers.to_vec(), first);
        for which in 1..node.inputs.len() {
            let next = self.row(node, which)?;
            if next.ty != row.ty {
                return Err(node.malformed("", "its inputs differ in type"));
            }
            if next.stage != row.stage && next.stage.max(row.stage) == super::value::Stage::After {
                return Err(node.unsupported("", "a graph that joins its inputs with the results of its trees"));
            }
            row.stage = row.stage.max(next.stage);
            row.rounded &= next.rounded;
            self.spend(next.width())?;
            registers.extend_from_slice(&next.registers);
        }
        Ok(vec![Value::Row(Row { registers: registers.into(), ..row })])
    }

    /// Operators that change a shape, where they change nothing for a single row.
    fn reshape(&mut self, node: &NodeProto<'a>) -> Result<Vec<Value>, LoadError> {
        let value = self.value(node, 0)?;
        let width = match &value {
            Value::Row(row) => row.width(),
            Value::Leaves(_) => 1,
            _ => return Ok(vec![value]),
        };
        if node.op == "Reshape" {
            let shape = if node.inputs.len() > 1 {
                self.constant(node, 1)?.numbers().unwrap_or_default().to_vec()
            } else {
                node.ints("shape")?.into_iter().map(|dim| dim as f64).collect()
            };
            let columns: f64 = shape.iter().skip(1).product();
            if !matches!(shape.first(), Some(&first) if first == -1.0 || first == 0.0) || columns.abs() != width as f64
            {
                let rows_only = matches!(shape.as_slice(), [-1.0] if width == 1) || columns == -1.0;
                if !rows_only {
                    return Err(node.unsupported("", format!("a change of shape to {shape:?} of rows of {width}")));
                }
            }
        }
        Ok(vec![value])
    }

    fn slice(&mut self, node: &NodeProto<'a>) -> Result<Vec<Value>, LoadError> {
        let row = self.shape_only(node)?;
        let list = |builder: &Self, which: usize, name: &str| -> Result<Vec<f64>, LoadError> {
            if node.inputs.get(which).is_some_and(|name| !name.is_empty()) {
                return Ok(builder.constant(node, which)?.numbers().unwrap_or_default().to_vec());
            }
            Ok(node.ints(name)?.into_iter().map(|int| int as f64).collect())
        };
        let (starts, ends) = (list(self, 1, "starts")?, list(self, 2, "ends")?);
        let (axes, steps) = (list(self, 3, "axes")?, list(self, 4, "steps")?);
        let ([start], [end], [1.0 | -1.0], [] | [1.0]) =
            (starts.as_slice(), ends.as_slice(), axes.as_slice(), steps.as_slice())
        else {
            return Err(node.unsupported("", "a slice of anything but columns side by side"));
        };
        let width = row.width() as f64;
        let place = |x: f64| if x < 0.0 { (x + width).max(0.0) } else { x.min(width) } as usize;
        let columns = row.registers.get(place(*start)..place(*end));
        let columns = columns.ok_or_else(|| node.malformed("", "a slice that ends before it begins"))?;
        self.spend(columns.len())?;
        Ok(vec![Value::Row(Row { registers: columns.into(), ..row })])
    }

    fn choose(&mut self, node: &NodeProto<'a>) -> Result<Vec<Value>, LoadError> {
        let (which, yes, no) = (self.numeric(node, 0)?, self.numeric(node, 1)?, self.numeric(node, 2)?);
        let width = which.width().max(yes.width()).max(no.width());
        if [&which, &yes, &no].iter().any(|row| row.width() != 1 && row.width() != width) {
            return Err(node.malformed("", "its inputs differ in columns"));
        }
        Ok(vec![Value::Row(self.step(Op::Where, yes.ty, &[&which, &yes, &no], width)?)])
    }

    /// Not below the second input and not above the third, where they are given.
    fn clip(&mut self, node: &NodeProto<'a>) -> Result<Vec<Value>, LoadError> {
        let mut row = self.numeric(node, 0)?;
        for (which, name, op) in [(1, "min", Binary::Max), (2, "max", Binary::Min)] {
            let limit = if node.inputs.get(which).is_some_and(|name| !name.is_empty()) {
                self.numeric(node, which)?
            } else if let Some(number) = node.float(name)? {
                let constant = Rc::new(Constant::row(row.ty, vec![f64::from(number)]));
                self.settle(node, Value::Constant(constant))?
            } else {
                continue;
            };
            if limit.width() != 1 {
                return Err(node.malformed(name, "is more than one number"));
            }
            row = self.step(Op::Binary(op), row.ty, &[&row, &limit], row.width())?;
        }
        Ok(vec![Value::Row(row)])
    }

    /// Whether an operator over an axis goes over the columns.
    fn check_axis(&self, node: &NodeProto<'a>, default: i64) -> Result<(), LoadError> {
        let mut axes = node.ints("axes")?;
        if node.has("axis")? || axes.is_empty() {
            axes = vec![node.int("axis", default)?];
        }
        if node.inputs.get(1).is_some_and(|name| !name.is_empty()) {
            axes = self.constant(node, 1)?.numbers().unwrap_or_default().iter().map(|&axis| axis as i64).collect();
        }
        if matches!(axes.as_slice(), [1 | -1]) {
            Ok(())
        } else {
            Err(node.unsupported("axis", format!("axes {axes:?}; only columns")))
        }
    }

    fn softmax(&mut self, node: &NodeProto<'a>) -> Result<Vec<Value>, LoadError> {
        self.check_axis(node, if self.model.opset >= 13 { -1 } else { 1 })?;
        let row = self.numeric(node, 0)?;
        Ok(vec![Value::Row(self.step(Op::Softmax, row.ty, &[&row], row.width())?)])
    }

    fn argmax(&mut self, node: &NodeProto<'a>) -> Result<Vec<Value>, LoadError> {
        self.check_axis(node, 0)?;
        if node.int("select_last_index", 0)? != 0 {
            return Err(node.unsupported("select_last_index", "the last of equals"));
        }
        let row = self.numeric(node, 0)?;
        Ok(vec![Value::Row(self.step(Op::ArgMax, Type::Whole, &[&row], 1)?)])
    }

    fn reduce(&mut self, node: &NodeProto<'a>, reduce: Reduce) -> Result<Vec<Value>, LoadError> {
        self.check_axis(node, 0)?;
        let row = self.numeric(node, 0)?;
        Ok(vec![Value::Row(self.step(Op::Reduce(reduce), row.ty, &[&row], 1)?)])
    }
}

fn constant_node(node: &NodeProto<'_>) -> Result<Vec<Value>, LoadError> {
    let constant = if let Some(tensor) = node.tensor("value")? {
        Constant::of(&tensor)?
    } else if let Some(number) = node.float("value_float")? {
        Constant { ty: Type::Single, dims: Vec::new(), data: Data::Numbers(vec![f64::from(number)]) }
    } else if node.has("value_floats")? {
        Constant::row(Type::Single, node.floats("value_floats")?.into_iter().map(f64::from).collect())
    } else if node.has("value_int")? {
        Constant { ty: Type::Whole, dims: Vec::new(), data: Data::Numbers(vec![node.int("value_int", 0)? as f64]) }
    } else if node.has("value_ints")? {
        Constant::row(Type::Whole, node.ints("value_ints")?.into_iter().map(|int| int as f64).collect())
    } else {
        return Err(node.unsupported("", "a constant of another kind"));
    };
    Ok(vec![Value::Constant(Rc::new(constant))])
}
