//! Small ONNX files, written field by field: enough of the format to make good and bad models for tests.

/// A model's parts.
pub struct Model<'a> {
    /// Operators: type, inputs, outputs.
    pub nodes: &'a [(&'a str, &'a [&'a str], &'a [&'a str])],
    /// Inputs: name and shape.
    pub inputs: &'a [(&'a str, &'a [u64])],
    /// Outputs: name and shape.
    pub outputs: &'a [(&'a str, &'a [u64])],
}

/// A classifier of three classes without a single weight: the scores are the means of the three channels.
pub const COLOURS: Model<'static> = Model {
    nodes: &[
        ("GlobalAveragePool", &["image"], &["means"]),
        ("Flatten", &["means"], &["scores"]),
    ],
    inputs: &[("image", &[1, 3, 8, 8])],
    outputs: &[("scores", &[1, 3])],
};

impl Model<'_> {
    /// The file.
    pub fn encode(&self) -> Vec<u8> {
        let mut opset = Vec::new();
        number(&mut opset, 2, 13);
        let mut model = Vec::new();
        number(&mut model, 1, 8);
        field(&mut model, 7, &self.graph());
        field(&mut model, 8, &opset);
        model
    }

    /// What makes these parts those of another file, written behind it: whoever reads both merges them.
    pub fn addition(&self) -> Vec<u8> {
        let mut model = Vec::new();
        field(&mut model, 7, &self.graph());
        model
    }

    fn graph(&self) -> Vec<u8> {
        let mut graph = Vec::new();
        for (kind, inputs, outputs) in self.nodes {
            let mut node = Vec::new();
            inputs
                .iter()
                .for_each(|name| field(&mut node, 1, name.as_bytes()));
            outputs
                .iter()
                .for_each(|name| field(&mut node, 2, name.as_bytes()));
            field(&mut node, 3, format!("{kind}_{}", outputs[0]).as_bytes());
            field(&mut node, 4, kind.as_bytes());
            field(&mut graph, 1, &node);
        }
        field(&mut graph, 2, b"test");
        self.inputs
            .iter()
            .for_each(|(name, shape)| field(&mut graph, 11, &tensor(name, shape)));
        self.outputs
            .iter()
            .for_each(|(name, shape)| field(&mut graph, 12, &tensor(name, shape)));
        graph
    }
}

/// A `ValueInfoProto` of 32-bit floats.
fn tensor(name: &str, shape: &[u64]) -> Vec<u8> {
    let mut dims = Vec::new();
    for &size in shape {
        let mut dim = Vec::new();
        number(&mut dim, 1, size);
        field(&mut dims, 1, &dim);
    }
    let mut tensor = Vec::new();
    number(&mut tensor, 1, 1);
    field(&mut tensor, 2, &dims);
    let mut kind = Vec::new();
    field(&mut kind, 1, &tensor);
    let mut info = Vec::new();
    field(&mut info, 1, name.as_bytes());
    field(&mut info, 2, &kind);
    info
}

/// A length-delimited field of a protocol buffer.
fn field(to: &mut Vec<u8>, tag: u64, bytes: &[u8]) {
    varint(to, tag << 3 | 2);
    varint(to, bytes.len() as u64);
    to.extend_from_slice(bytes);
}

/// A number field of a protocol buffer.
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
