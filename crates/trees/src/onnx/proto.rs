//! The messages of an ONNX file, as far as models of trees use them. Everything points into the file's bytes;
//! attributes are read when they are asked for.

use super::wire::{Fields, Wire};
use crate::error::{LoadError, Place};

/// Nodes of a graph: an isolation forest of a thousand trees has 27,000.
const NODES_MAX: usize = 1 << 18;
/// Inputs, outputs and constants of a graph, each.
const VALUES_MAX: usize = 1 << 16;

/// A model: what its file says outside the graph, and the graph.
#[derive(Debug, Default)]
pub(super) struct ModelProto<'a> {
    pub(super) producer: &'a str,
    pub(super) producer_version: &'a str,
    /// The version of the standard operator set that the model was written for.
    pub(super) opset: i64,
    pub(super) nodes: Vec<NodeProto<'a>>,
    pub(super) constants: Vec<TensorProto<'a>>,
    pub(super) inputs: Vec<ValueProto<'a>>,
    pub(super) outputs: Vec<ValueProto<'a>>,
}

/// One operation of the graph.
#[derive(Debug, Default)]
pub(super) struct NodeProto<'a> {
    /// Where it stands among the nodes.
    pub(super) index: usize,
    pub(super) inputs: Vec<&'a str>,
    pub(super) outputs: Vec<&'a str>,
    pub(super) name: &'a str,
    pub(super) op: &'a str,
    pub(super) domain: &'a str,
    attributes: Vec<&'a [u8]>,
}

/// A constant.
#[derive(Debug, Default)]
pub(super) struct TensorProto<'a> {
    pub(super) name: &'a str,
    pub(super) dims: Vec<i64>,
    pub(super) data_type: i64,
    fields: Vec<(u64, Wire<'a>)>,
}

/// An input or output of the graph.
#[derive(Debug, Default)]
pub(super) struct ValueProto<'a> {
    pub(super) name: &'a str,
    /// The type of its elements; 0 for a list of maps.
    pub(super) elements: i64,
    /// Its dimensions; `None` for one that the file leaves open.
    pub(super) dims: Vec<Option<i64>>,
}

/// The types of elements.
pub(super) mod element {
    pub(crate) const FLOAT: i64 = 1;
    pub(crate) const UINT8: i64 = 2;
    pub(crate) const INT8: i64 = 3;
    pub(crate) const UINT16: i64 = 4;
    pub(crate) const INT16: i64 = 5;
    pub(crate) const INT32: i64 = 6;
    pub(crate) const INT64: i64 = 7;
    pub(crate) const STRING: i64 = 8;
    pub(crate) const BOOL: i64 = 9;
    pub(crate) const DOUBLE: i64 = 11;
    pub(crate) const UINT32: i64 = 12;
    pub(crate) const UINT64: i64 = 13;
}

/// The numbers or strings of a constant.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Data {
    Numbers(Vec<f64>),
    Strings(Vec<String>),
}

impl<'a> ModelProto<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, LoadError> {
        let mut model = Self::default();
        let mut graph = None;
        for field in Fields::new(bytes, "model") {
            let field = field?;
            match field.number {
                2 => model.producer = field.value.text("producer_name")?,
                3 => model.producer_version = field.value.text("producer_version")?,
                7 => graph = Some(field.value.bytes("graph")?),
                8 => {
                    let (domain, version) = opset(field.value.bytes("opset_import")?)?;
                    if matches!(domain, "" | "ai.onnx") {
                        model.opset = model.opset.max(version);
                    }
                }
                _ => {}
            }
        }
        let graph =
            graph.ok_or_else(|| LoadError::malformed(Place::part("graph"), "is missing; the file is cut short"))?;
        for field in Fields::new(graph, "graph") {
            let field = field?;
            match field.number {
                1 => model.nodes.push(NodeProto::parse(model.nodes.len(), field.value.bytes("node")?)?),
                5 => model.constants.push(TensorProto::parse(field.value.bytes("initializer")?)?),
                11 => model.inputs.push(ValueProto::parse(field.value.bytes("input")?)?),
                12 => model.outputs.push(ValueProto::parse(field.value.bytes("output")?)?),
                _ => {}
            }
            limit(model.nodes.len(), NODES_MAX, "node")?;
            limit(model.constants.len(), VALUES_MAX, "initializer")?;
            limit(model.inputs.len(), VALUES_MAX, "input")?;
            limit(model.outputs.len(), VALUES_MAX, "output")?;
        }
        Ok(model)
    }
}

fn limit(count: usize, max: usize, what: &str) -> Result<(), LoadError> {
    if count > max {
        return Err(LoadError::unsupported(Place::part(what), format!("a graph with more than {max} of them")));
    }
    Ok(())
}

fn opset(bytes: &[u8]) -> Result<(&str, i64), LoadError> {
    let mut opset = ("", 1);
    for field in Fields::new(bytes, "opset_import") {
        let field = field?;
        match field.number {
            1 => opset.0 = field.value.text("opset_import.domain")?,
            2 => opset.1 = field.value.int("opset_import.version")?,
            _ => {}
        }
    }
    Ok(opset)
}

impl<'a> NodeProto<'a> {
    fn parse(index: usize, bytes: &'a [u8]) -> Result<Self, LoadError> {
        let mut node = Self { index, ..Self::default() };
        for field in Fields::new(bytes, "node") {
            let field = field?;
            match field.number {
                1 => node.inputs.push(field.value.text("node.input")?),
                2 => node.outputs.push(field.value.text("node.output")?),
                3 => node.name = field.value.text("node.name")?,
                4 => node.op = field.value.text("node.op_type")?,
                5 => node.attributes.push(field.value.bytes("node.attribute")?),
                7 => node.domain = field.value.text("node.domain")?,
                _ => {}
            }
        }
        Ok(node)
    }

    /// What stands for an output of the graph.
    pub(super) fn output(name: &'a str) -> Self {
        Self { name, op: "output", inputs: vec![name], ..Self::default() }
    }

    /// What messages call the node.
    pub(super) fn title(&self) -> String {
        let short = |text: &str| text.chars().take(60).collect::<String>();
        let name = if self.name.is_empty() { self.outputs.first().copied().unwrap_or_default() } else { self.name };
        format!("node {} `{}` ({})", self.index, short(name), short(self.op))
    }

    /// A place in the node, for messages.
    pub(super) fn place(&self, part: &str) -> Place {
        let dot = if part.is_empty() { "" } else { ", " };
        Place::part(format!("{}{dot}{part}", self.title()))
    }

    pub(super) fn malformed(&self, part: &str, problem: impl Into<String>) -> LoadError {
        LoadError::malformed(self.place(part), problem)
    }

    pub(super) fn unsupported(&self, part: &str, what: impl Into<String>) -> LoadError {
        LoadError::unsupported(self.place(part), what)
    }

    /// Whether an attribute is there, and its fields.
    fn find(&self, name: &str) -> Result<Option<Vec<(u64, Wire<'a>)>>, LoadError> {
        for bytes in &self.attributes {
            // The name comes first in files as they are written, so that others need not be read to their end.
            let mut fields = Vec::new();
            let mut seen = None;
            for field in Fields::new(bytes, "node.attribute") {
                let field = field?;
                match field.number {
                    1 => {
                        seen = Some(field.value.text("node.attribute.name")?);
                        if seen != Some(name) {
                            break;
                        }
                    }
                    number => fields.push((number, field.value)),
                }
            }
            if seen == Some(name) {
                return Ok(Some(fields));
            }
        }
        Ok(None)
    }

    fn fields(&self, name: &str) -> Result<Vec<(u64, Wire<'a>)>, LoadError> {
        Ok(self.find(name)?.unwrap_or_default())
    }

    pub(super) fn has(&self, name: &str) -> Result<bool, LoadError> {
        Ok(self.find(name)?.is_some())
    }

    pub(super) fn int(&self, name: &str, default: i64) -> Result<i64, LoadError> {
        let fields = self.fields(name)?;
        let value = fields.iter().rev().find(|(number, _)| *number == 3);
        value.map_or(Ok(default), |(_, value)| value.int(name))
    }

    pub(super) fn float(&self, name: &str) -> Result<Option<f32>, LoadError> {
        let fields = self.fields(name)?;
        let mut floats = Vec::new();
        for (_, value) in fields.iter().filter(|(number, _)| *number == 2) {
            value.floats(&mut floats, name)?;
        }
        Ok(floats.pop())
    }

    pub(super) fn text(&self, name: &str, default: &'a str) -> Result<&'a str, LoadError> {
        let fields = self.fields(name)?;
        let value = fields.iter().rev().find(|(number, _)| *number == 4);
        value.map_or(Ok(default), |(_, value)| value.text(name))
    }

    pub(super) fn ints(&self, name: &str) -> Result<Vec<i64>, LoadError> {
        let mut ints = Vec::new();
        for (_, value) in self.fields(name)?.into_iter().filter(|(number, _)| *number == 8) {
            value.ints(&mut ints, name)?;
        }
        Ok(ints)
    }

    pub(super) fn floats(&self, name: &str) -> Result<Vec<f32>, LoadError> {
        let mut floats = Vec::new();
        for (_, value) in self.fields(name)?.into_iter().filter(|(number, _)| *number == 7) {
            value.floats(&mut floats, name)?;
        }
        Ok(floats)
    }

    pub(super) fn strings(&self, name: &str) -> Result<Vec<&'a str>, LoadError> {
        let fields = self.fields(name)?.into_iter();
        fields.filter(|(number, _)| *number == 9).map(|(_, value)| value.text(name)).collect()
    }

    pub(super) fn tensor(&self, name: &str) -> Result<Option<TensorProto<'a>>, LoadError> {
        let fields = self.fields(name)?;
        let value = fields.iter().rev().find(|(number, _)| *number == 5);
        value.map(|(_, value)| TensorProto::parse(value.bytes(name)?)).transpose()
    }
}

impl<'a> TensorProto<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, LoadError> {
        let mut tensor = Self::default();
        for field in Fields::new(bytes, "tensor") {
            let field = field?;
            match field.number {
                1 => field.value.ints(&mut tensor.dims, "tensor.dims")?,
                2 => tensor.data_type = field.value.int("tensor.data_type")?,
                8 => tensor.name = field.value.text("tensor.name")?,
                number => tensor.fields.push((number, field.value)),
            }
        }
        Ok(tensor)
    }

    fn place(&self) -> Place {
        Place::part(format!("tensor `{}`", self.name.chars().take(60).collect::<String>()))
    }

    /// The contents; as many as the dimensions say.
    pub(super) fn data(&self) -> Result<Data, LoadError> {
        let count = self.dims.iter().try_fold(1usize, |product, &dim| product.checked_mul(usize::try_from(dim).ok()?));
        let count = count.ok_or_else(|| LoadError::malformed(self.place(), "its dimensions can't be"))?;
        let data = self.contents()?;
        let seen = match &data {
            Data::Numbers(numbers) => numbers.len(),
            Data::Strings(strings) => strings.len(),
        };
        if seen != count {
            return Err(LoadError::malformed(
                self.place(),
                format!("it holds {seen} elements, its dimensions say {count}"),
            ));
        }
        Ok(data)
    }

    fn contents(&self) -> Result<Data, LoadError> {
        const WHAT: &str = "tensor";
        let (mut floats, mut ints, mut numbers, mut strings, mut raw) = (vec![], vec![], vec![], vec![], None);
        for (number, value) in &self.fields {
            match number {
                4 => value.floats(&mut floats, WHAT)?,
                5 | 7 | 11 => value.ints(&mut ints, WHAT)?,
                6 => strings.push(value.text(WHAT)?.to_owned()),
                9 => raw = Some(value.bytes(WHAT)?),
                10 => value.doubles(&mut numbers, WHAT)?,
                13 => return Err(LoadError::unsupported(self.place(), "a tensor that stands in another file")),
                _ => {}
            }
        }
        if self.data_type == element::STRING {
            return Ok(Data::Strings(strings));
        }
        if let Some(raw) = raw.filter(|raw| !raw.is_empty()) {
            return Ok(Data::Numbers(self.raw(raw)?));
        }
        Ok(Data::Numbers(match self.data_type {
            element::FLOAT => floats.into_iter().map(f64::from).collect(),
            element::DOUBLE => numbers,
            _ => ints.into_iter().map(|int| int as f64).collect(),
        }))
    }

    fn raw(&self, raw: &[u8]) -> Result<Vec<f64>, LoadError> {
        fn each<const N: usize>(raw: &[u8], read: fn([u8; N]) -> f64) -> Vec<f64> {
            raw.as_chunks::<N>().0.iter().map(|chunk| read(*chunk)).collect()
        }
        Ok(match self.data_type {
            element::FLOAT => each(raw, |bytes| f64::from(f32::from_le_bytes(bytes))),
            element::DOUBLE => each(raw, f64::from_le_bytes),
            element::INT64 => each(raw, |bytes| i64::from_le_bytes(bytes) as f64),
            element::INT32 => each(raw, |bytes| f64::from(i32::from_le_bytes(bytes))),
            element::UINT8 | element::BOOL => each(raw, |[byte]| f64::from(byte)),
            element::INT8 => each(raw, |bytes| f64::from(i8::from_le_bytes(bytes))),
            element::INT16 => each(raw, |bytes| f64::from(i16::from_le_bytes(bytes))),
            element::UINT16 => each(raw, |bytes| f64::from(u16::from_le_bytes(bytes))),
            element::UINT32 => each(raw, |bytes| f64::from(u32::from_le_bytes(bytes))),
            element::UINT64 => each(raw, |bytes| u64::from_le_bytes(bytes) as f64),
            other => {
                return Err(LoadError::unsupported(self.place(), format!("a tensor with elements of type {other}")));
            }
        })
    }
}

impl<'a> ValueProto<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, LoadError> {
        let mut value = Self::default();
        for field in Fields::new(bytes, "value") {
            let field = field?;
            match field.number {
                1 => value.name = field.value.text("value.name")?,
                2 => value.read_type(field.value.bytes("value.type")?)?,
                _ => {}
            }
        }
        Ok(value)
    }

    fn read_type(&mut self, bytes: &[u8]) -> Result<(), LoadError> {
        for field in Fields::new(bytes, "value.type") {
            let field = field?;
            if field.number != 1 {
                continue;
            }
            for field in Fields::new(field.value.bytes("value.type.tensor_type")?, "value.type.tensor_type") {
                let field = field?;
                match field.number {
                    1 => self.elements = field.value.int("value.type.tensor_type.elem_type")?,
                    2 => self.read_shape(field.value.bytes("value.type.tensor_type.shape")?)?,
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn read_shape(&mut self, bytes: &[u8]) -> Result<(), LoadError> {
        const WHAT: &str = "value.type.tensor_type.shape";
        for field in Fields::new(bytes, WHAT) {
            let field = field?;
            if field.number != 1 {
                continue;
            }
            let mut dim = None;
            for field in Fields::new(field.value.bytes(WHAT)?, WHAT) {
                let field = field?;
                if field.number == 1 {
                    dim = Some(field.value.int(WHAT)?);
                }
            }
            self.dims.push(dim);
        }
        Ok(())
    }
}
