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
        self.encode_with_outputs_of(1)
    }

    /// The file, with outputs of another type of elements than 32-bit floats, by its number.
    pub fn encode_with_outputs_of(&self, kind: u64) -> Vec<u8> {
        let mut opset = Vec::new();
        number(&mut opset, 2, 13);
        let mut model = Vec::new();
        number(&mut model, 1, 8);
        field(&mut model, 7, &self.graph(kind));
        field(&mut model, 8, &opset);
        model
    }

    /// What makes these parts those of another file, written behind it: whoever reads both merges them.
    pub fn addition(&self) -> Vec<u8> {
        let mut model = Vec::new();
        field(&mut model, 7, &self.graph(1));
        model
    }

    fn graph(&self, kind: u64) -> Vec<u8> {
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
            .for_each(|(name, shape)| field(&mut graph, 11, &tensor(name, 1, shape)));
        self.outputs
            .iter()
            .for_each(|(name, shape)| field(&mut graph, 12, &tensor(name, kind, shape)));
        graph
    }
}

/// What adds a tensor of floats to a file that it is written behind.
pub fn floats(name: &str, dims: &[u64], values: &[f32]) -> Vec<u8> {
    let bytes = values.iter().flat_map(|value| value.to_le_bytes());
    initializer(name, 1, dims, &bytes.collect::<Vec<u8>>())
}

/// The same for a list of integers.
pub fn integers(name: &str, values: &[i64]) -> Vec<u8> {
    let bytes = values.iter().flat_map(|value| value.to_le_bytes());
    let dims = [values.len() as u64];
    initializer(name, 7, &dims, &bytes.collect::<Vec<u8>>())
}

fn initializer(name: &str, kind: u64, dims: &[u64], bytes: &[u8]) -> Vec<u8> {
    let mut tensor = Vec::new();
    dims.iter().for_each(|&size| number(&mut tensor, 1, size));
    number(&mut tensor, 2, kind);
    field(&mut tensor, 8, name.as_bytes());
    field(&mut tensor, 9, bytes);
    let (mut graph, mut model) = (Vec::new(), Vec::new());
    field(&mut graph, 5, &tensor);
    field(&mut model, 7, &graph);
    model
}

/// A `ValueInfoProto` of elements of this kind.
fn tensor(name: &str, kind: u64, shape: &[u64]) -> Vec<u8> {
    let mut dims = Vec::new();
    for &size in shape {
        let mut dim = Vec::new();
        number(&mut dim, 1, size);
        field(&mut dims, 1, &dim);
    }
    let mut tensor = Vec::new();
    number(&mut tensor, 1, kind);
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
