//! ONNX files, as far as one convolutional network needs the format: protocol buffers by hand.

/// Opset of the operators.
const OPSET: u64 = 17;

/// A graph that grows.
#[derive(Default)]
pub struct Graph(Vec<u8>);

/// An attribute of an operator.
pub enum Attribute<'a> {
    /// A whole number.
    Number(u64),
    /// Several.
    Numbers(&'a [usize]),
}

impl Graph {
    /// Adds a constant tensor of floats.
    pub fn constant(&mut self, name: &str, size: &[usize], values: &[f32]) {
        let mut tensor = Vec::new();
        for &size in size {
            number(&mut tensor, 1, size as u64);
        }
        number(&mut tensor, 2, 1);
        field(&mut tensor, 8, name.as_bytes());
        let bytes: Vec<u8> = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        field(&mut tensor, 9, &bytes);
        field(&mut self.0, 5, &tensor);
    }

    /// Adds an operator, which is called as its output.
    pub fn node(
        &mut self,
        operator: &str,
        inputs: &[&str],
        output: &str,
        attributes: &[(&str, Attribute<'_>)],
    ) {
        let mut node = Vec::new();
        for input in inputs {
            field(&mut node, 1, input.as_bytes());
        }
        field(&mut node, 2, output.as_bytes());
        field(&mut node, 3, output.as_bytes());
        field(&mut node, 4, operator.as_bytes());
        for (name, value) in attributes {
            let mut attribute = Vec::new();
            field(&mut attribute, 1, name.as_bytes());
            match value {
                Attribute::Number(value) => {
                    number(&mut attribute, 3, *value);
                    number(&mut attribute, 20, 2);
                }
                Attribute::Numbers(values) => {
                    for &value in *values {
                        number(&mut attribute, 8, value as u64);
                    }
                    number(&mut attribute, 20, 7);
                }
            }
            field(&mut node, 5, &attribute);
        }
        field(&mut self.0, 1, &node);
    }

    /// The whole file, of a network of this name with one input and one output.
    pub fn file(
        mut self,
        name: &str,
        input: (&str, &[usize]),
        output: (&str, &[usize]),
    ) -> Vec<u8> {
        field(&mut self.0, 2, name.as_bytes());
        field(&mut self.0, 11, &value(input));
        field(&mut self.0, 12, &value(output));
        let mut opset = Vec::new();
        number(&mut opset, 2, OPSET);
        let mut model = Vec::new();
        // The format's version, of that opset's time.
        number(&mut model, 1, 8);
        field(&mut model, 2, b"pinhole");
        field(&mut model, 7, &self.0);
        field(&mut model, 8, &opset);
        model
    }
}

fn value((name, size): (&str, &[usize])) -> Vec<u8> {
    let mut shape = Vec::new();
    for &size in size {
        let mut dimension = Vec::new();
        number(&mut dimension, 1, size as u64);
        field(&mut shape, 1, &dimension);
    }
    let mut tensor = Vec::new();
    number(&mut tensor, 1, 1);
    field(&mut tensor, 2, &shape);
    let mut kind = Vec::new();
    field(&mut kind, 1, &tensor);
    let mut value = Vec::new();
    field(&mut value, 1, name.as_bytes());
    field(&mut value, 2, &kind);
    value
}

/// A field of bytes, with its length.
fn field(to: &mut Vec<u8>, tag: u64, bytes: &[u8]) {
    varint(to, tag << 3 | 2);
    varint(to, bytes.len() as u64);
    to.extend_from_slice(bytes);
}

/// A field that is a number.
fn number(to: &mut Vec<u8>, tag: u64, value: u64) {
    varint(to, tag << 3);
    varint(to, value);
}

fn varint(to: &mut Vec<u8>, mut value: u64) {
    while value > 0x7f {
        to.push(value as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}
