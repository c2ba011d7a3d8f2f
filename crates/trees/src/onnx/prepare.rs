//! The operators of `ai.onnx.ml` beside the ensembles: scaling, imputing, encoding, linear models.

use std::rc::Rc;

use super::arithmetic::Binary;
use super::builder::Builder;
use super::ensemble::{Labels, labels, transform};
use super::program::{Lookup, Norm, Op};
use super::proto::{Data, NodeProto};
use super::value::{Constant, Leaves, Row, Type, Value};
use crate::error::LoadError;

impl<'a> Builder<'_, 'a> {
    pub(super) fn normalizer(&mut self, node: &NodeProto<'a>) -> Result<Vec<Value>, LoadError> {
        let norm = match node.text("norm", "MAX")? {
            "MAX" => Norm::Max,
            "L1" => Norm::L1,
            "L2" => Norm::L2,
            other => return Err(node.malformed("norm", format!("is `{}`", other.chars().take(40).collect::<String>()))),
        };
        let row = self.numeric(node, 0)?;
        Ok(vec![Value::Row(self.step(Op::Normalize(norm), Type::Single, &[&row], row.width())?)])
    }

    /// A list of numbers, one for each column or one for all.
    fn per_column(&mut self, node: &NodeProto<'a>, name: &str, width: usize) -> Result<Row, LoadError> {
        let numbers: Vec<f64> = node.floats(name)?.into_iter().map(f64::from).collect();
        if numbers.len() != 1 && numbers.len() != width {
            return Err(node.malformed(name, format!("holds {} numbers, its input has {width} columns", numbers.len())));
        }
        let constant = Value::Constant(Rc::new(Constant::row(Type::Single, numbers)));
        self.settle(node, constant)
    }

    pub(super) fn scaler(&mut self, node: &NodeProto<'a>) -> Result<Vec<Value>, LoadError> {
        let row = self.numeric(node, 0)?;
        let width = row.width();
        let (offset, scale) = (self.per_column(node, "offset", width)?, self.per_column(node, "scale", width)?);
        let moved = self.step(Op::Binary(Binary::Sub), Type::Single, &[&row, &offset], width)?;
        Ok(vec![Value::Row(self.step(Op::Binary(Binary::Mul), Type::Single, &[&moved, &scale], width)?)])
    }

    pub(super) fn imputer(&mut self, node: &NodeProto<'a>) -> Result<Vec<Value>, LoadError> {
        let row = self.numeric(node, 0)?;
        if !row.ty.is_float() {
            return Err(node.unsupported("", "imputing whole numbers"));
        }
        let values = self.per_column(node, "imputed_value_floats", row.width())?;
        let missing = f64::from(node.float("replaced_value_float")?.unwrap_or(0.0));
        Ok(vec![Value::Row(self.step(Op::Replace(missing), row.ty, &[&row, &values], row.width())?)])
    }

    pub(super) fn one_hot(&mut self, node: &NodeProto<'a>) -> Result<Vec<Value>, LoadError> {
        if node.int("zeros", 1)? == 0 {
            return Err(node.unsupported("zeros", "an error for a category that is not known"));
        }
        let row = self.row(node, 0)?;
        let keys = self.keys(node, &row, node.strings("cats_strings")?, || {
            Ok(node.ints("cats_int64s")?.into_iter().map(|key| key as f64).collect())
        })?;
        let width = row.width().saturating_mul(keys.len());
        Ok(vec![Value::Row(self.step(Op::OneHot(keys.into()), Type::Single, &[&row], width)?)])
    }

    /// Keys that a column is compared with: strings as the codes of its categories, or numbers.
    fn keys(
        &mut self,
        node: &NodeProto<'a>,
        row: &Row,
        texts: Vec<&str>,
        numbers: impl FnOnce() -> Result<Vec<f64>, LoadError>,
    ) -> Result<Vec<f64>, LoadError> {
        let keys = match (row.ty, texts.is_empty()) {
            (Type::Text, _) => {
                self.spend(texts.len().saturating_mul(16))?;
                let [register] = *row.registers else {
                    return Err(node.unsupported("", "several columns of strings at once"));
                };
                let keys: Option<Vec<f64>> = texts.iter().map(|text| self.category(register, text)).collect();
                keys.ok_or_else(|| node.unsupported("", "strings that are not inputs"))?
            }
            (Type::Label, _) | (_, false) => return Err(node.unsupported("", "strings where numbers belong")),
            _ => numbers()?,
        };
        if keys.is_empty() {
            return Err(node.malformed("", "it has no keys"));
        }
        Ok(keys)
    }

    pub(super) fn label_encoder(&mut self, node: &NodeProto<'a>) -> Result<Vec<Value>, LoadError> {
        let (texts, classes) = (node.strings("keys_strings")?, node.strings("classes_strings")?);
        if !classes.is_empty() {
            return Err(node.unsupported("classes_strings", "a label encoder of operator set 1"));
        }
        let tensor =
            |name: &str| -> Result<Option<Data>, LoadError> { node.tensor(name)?.map(|t| t.data()).transpose() };
        let numbers = |kind: &str| -> Result<Vec<f64>, LoadError> {
            let mut all: Vec<f64> = node.floats(&format!("{kind}_floats"))?.into_iter().map(f64::from).collect();
            all.extend(node.ints(&format!("{kind}_int64s"))?.into_iter().map(|int| int as f64));
            if let Some(Data::Numbers(more)) = tensor(&format!("{kind}_tensor"))? {
                all.extend(more);
            }
            Ok(all)
        };
        let values = numbers("values")?;
        let ty = match node.tensor("values_tensor")? {
            Some(tensor) => Type::of_element(tensor.data_type).unwrap_or(Type::Single),
            None if node.has("values_int64s")? => Type::Whole,
            None => Type::Single,
        };
        if !node.strings("values_strings")?.is_empty() {
            return Err(node.unsupported("values_strings", "an encoder that gives strings"));
        }
        let default = match (node.tensor("default_tensor")?, ty) {
            (Some(tensor), _) => match tensor.data()? {
                Data::Numbers(numbers) => numbers.first().copied().unwrap_or(0.0),
                Data::Strings(_) => 0.0,
            },
            (None, Type::Whole) => node.int("default_int64", -1)? as f64,
            (None, _) => f64::from(node.float("default_float")?.unwrap_or(-0.0)),
        };
        let encode = |keys: &[f64]| -> Result<Lookup, LoadError> {
            if keys.len() != values.len() {
                return Err(
                    node.malformed("values", format!("holds {} items, there are {} keys", values.len(), keys.len()))
                );
            }
            Ok(Lookup::new(keys, &values, default))
        };
        if let Value::Leaves(Leaves { parts, .. }) = self.value(node, 0)?
            && let [(tree, table)] = parts.as_slice()
        {
            let lookup = encode(&numbers("keys")?)?;
            self.spend(table.len())?;
            let table = table.iter().map(|&x| lookup.get(x)).collect();
            return Ok(vec![Value::Leaves(Leaves::one(ty, *tree, table))]);
        }
        let row = self.row(node, 0)?;
        let keys = self.keys(node, &row, texts, || numbers("keys"))?;
        let lookup = Op::Lookup(Box::new(encode(&keys)?));
        Ok(vec![Value::Row(self.step(lookup, ty, &[&row], row.width())?)])
    }

    /// Products with coefficients, one row of them for each of the intercepts (or targets).
    fn linear(&mut self, node: &NodeProto<'a>, targets: usize) -> Result<Row, LoadError> {
        let row = self.numeric(node, 0)?;
        let coefficients: Vec<f64> = node.floats("coefficients")?.into_iter().map(f64::from).collect();
        let mut intercepts: Vec<f64> = node.floats("intercepts")?.into_iter().map(f64::from).collect();
        if intercepts.is_empty() {
            intercepts = vec![0.0; targets];
        }
        if intercepts.len() != targets || coefficients.len() != targets.saturating_mul(row.width()) {
            let problem = format!("holds {} numbers; {} columns, {targets} targets", coefficients.len(), row.width());
            return Err(node.malformed("coefficients", problem));
        }
        let constant = |numbers| Value::Constant(Rc::new(Constant::row(Type::Single, numbers)));
        let coefficients = self.settle(node, constant(coefficients))?;
        let intercepts = self.settle(node, constant(intercepts))?;
        self.step(Op::Linear, Type::Single, &[&row, &coefficients, &intercepts], targets)
    }

    pub(super) fn linear_regressor(&mut self, node: &NodeProto<'a>) -> Result<Vec<Value>, LoadError> {
        let targets = usize::try_from(node.int("targets", 1)?).unwrap_or(0).min(crate::xgboost::OUTPUTS_MAX);
        let scores = self.linear(node, targets)?;
        let transform = transform(node, node.text("post_transform", "NONE")?)?;
        self.raw.push(scores.clone());
        Ok(vec![Value::Row(self.step(Op::Transform(transform), Type::Single, &[&scores], targets)?)])
    }

    pub(super) fn linear_classifier(&mut self, node: &NodeProto<'a>) -> Result<Vec<Value>, LoadError> {
        let labels = labels(node)?;
        let targets = labels.len();
        if targets < 2 || node.floats("intercepts")?.len() != targets {
            return Err(node.unsupported("", "a linear classifier without a score for every class"));
        }
        let scores = self.linear(node, targets)?;
        let transform = transform(node, node.text("post_transform", "NONE")?)?;
        let index = self.step(Op::ArgMax, Type::Whole, &[&scores], 1)?;
        let label = match labels {
            Labels::Texts(names) => Row { ty: Type::Label, labels: Some(names.into()), ..index },
            Labels::Ints(ints) => {
                let places: Vec<f64> = (0..targets).map(|place| place as f64).collect();
                let ints: Vec<f64> = ints.iter().map(|&int| int as f64).collect();
                let lookup = Lookup::new(&places, &ints, 0.0);
                self.step(Op::Lookup(Box::new(lookup)), Type::Whole, &[&index], 1)?
            }
        };
        self.raw.push(scores.clone());
        let result = self.step(Op::Transform(transform), Type::Single, &[&scores], targets)?;
        Ok(vec![Value::Row(label), Value::Row(result)])
    }

    /// A product with a constant matrix of as many rows as the input has columns.
    pub(super) fn matmul(&mut self, node: &NodeProto<'a>) -> Result<Vec<Value>, LoadError> {
        let row = self.numeric(node, 0)?;
        let matrix = self.constant(node, 1)?;
        let numbers = matrix.numbers().unwrap_or_default();
        let columns = match *matrix.dims.as_slice() {
            [rows, columns] if rows == row.width() => columns,
            [rows] if rows == row.width() => 1,
            _ => return Err(node.unsupported("", format!("a matrix of {:?} for {} columns", matrix.dims, row.width()))),
        };
        self.spend(numbers.len())?;
        let turned = (0..columns).flat_map(|column| numbers.iter().skip(column).step_by(columns).copied()).collect();
        let constant = |numbers| Value::Constant(Rc::new(Constant::row(row.ty, numbers)));
        let coefficients = self.settle(node, constant(turned))?;
        let zero = self.settle(node, constant(vec![0.0]))?;
        Ok(vec![Value::Row(self.step(Op::Linear, row.ty, &[&row, &coefficients, &zero], columns)?)])
    }
}
