//! What an ONNX file says of itself, and whether we can use it: read before tract works on it, because the file's own
//! words make better error sentences than an optimiser's.

use crate::preprocess::Layout;
use pinhole_onnx::{Held, causes, held, is_float};
use tract_onnx::Onnx;
use tract_onnx::pb::{self, tensor_proto};
use tract_onnx::prelude::{DatumType, Framework, InferenceModel};

/// An ONNX model that takes one image, as far as its file tells.
pub struct Described {
    /// The parsed file.
    pub proto: pb::ModelProto,
    /// The input's name.
    pub input: String,
    /// The output's name.
    pub output: String,
    /// Type of the input's elements.
    pub element_type: DatumType,
    /// The four dimensions; none where the file leaves one open.
    pub dims: [Option<usize>; 4],
    /// Whether the file ends in a softmax or sigmoid, so that scores are probabilities already.
    pub ends_in_probabilities: bool,
}

/// Reads and checks a file. The error is one plain sentence.
pub fn describe(onnx: &Onnx, mut file: &[u8]) -> Result<Described, String> {
    let proto = onnx.proto_model_for_read(&mut file).map_err(|_| {
        "This is not an ONNX model, or the file is damaged or cut short: it does not parse."
            .to_string()
    })?;
    let graph = proto
        .graph
        .as_ref()
        .filter(|graph| !graph.node.is_empty())
        .ok_or("This is not an ONNX model: it has no graph.")?;

    let external = tensor_proto::DataLocation::External as i32;
    if graph
        .initializer
        .iter()
        .any(|tensor| tensor.data_location == Some(external))
    {
        return Err("The model keeps its weights in a separate file: save it as one file, with the weights inside.".into());
    }
    let inputs = pinhole_onnx::inputs(graph);
    let &[input] = inputs.as_slice() else {
        let names: Vec<_> = inputs.iter().map(|input| input.name.as_str()).collect();
        return Err(format!(
            "An image classifier takes one input, but this model takes {} ({}).",
            inputs.len(),
            names.join(", ")
        ));
    };
    let [output] = graph.output.as_slice() else {
        return Err(format!(
            "An image classifier gives one output, but this model gives {}.",
            graph.output.len()
        ));
    };
    if let Some(Held {
        kind: Some(kind), ..
    }) = held(output)
        && !is_float(kind)
    {
        return Err(format!(
            "The model's output `{}` holds whole numbers, such as the classes that ArgMax finds: a classifier gives one score a class, in floating point.",
            output.name
        ));
    }
    let mut unknown: Vec<&str> = graph
        .node
        .iter()
        .map(|node| node.op_type.as_str())
        .filter(|operator| !onnx.op_register.0.contains_key(*operator))
        .collect();
    unknown.sort_unstable();
    unknown.dedup();
    if !unknown.is_empty() {
        return Err(format!(
            "The model uses {}, which cannot be run here: export it with standard ONNX operators.",
            list(&unknown)
        ));
    }

    let (element_type, dims) = tensor_of(input)?;
    let ends_in_probabilities = pinhole_onnx::ends_in_probabilities(graph, &output.name);
    let (input, output) = (input.name.clone(), output.name.clone());
    Ok(Described {
        proto,
        input,
        output,
        element_type,
        dims,
        ends_in_probabilities,
    })
}

impl Described {
    /// Which dimension holds the channels, where the file says so.
    pub fn layout(&self) -> Option<Layout> {
        let is_channels = |dim: Option<usize>| matches!(dim, Some(1 | 3));
        match (is_channels(self.dims[1]), is_channels(self.dims[3])) {
            (true, _) => Some(Layout::Nchw),
            (false, true) => Some(Layout::Nhwc),
            (false, false) => None,
        }
    }

    /// Whether tensors are rounded to 8 bits on the way.
    pub fn is_quantised(&self) -> bool {
        let graph = self.proto.graph.as_ref();
        graph.is_some_and(pinhole_onnx::is_quantised)
    }

    /// The same model, but nothing in it is rounded to 8 bits on the way. The error is the end of a sentence.
    pub fn without_rounding(&self, onnx: &Onnx) -> Result<Self, String> {
        Ok(Self {
            proto: pinhole_onnx::without_rounding(onnx, &self.proto)?,
            input: self.input.clone(),
            output: self.output.clone(),
            ..*self
        })
    }

    /// The parsed graph, for tract.
    pub fn into_graph(self, onnx: &Onnx) -> Result<InferenceModel, String> {
        onnx.model_for_proto_model(&self.proto)
            .map_err(|error| sentence("The model cannot be read", &error))
    }
}

fn tensor_of(input: &pb::ValueInfoProto) -> Result<(DatumType, [Option<usize>; 4]), String> {
    let name = &input.name;
    let Some(Held {
        element_type, dims, ..
    }) = held(input)
    else {
        return Err(format!("The model's input `{name}` is not a tensor."));
    };
    let element_type = element_type.ok_or_else(|| {
        format!(
            "The model's input `{name}` has elements that are neither 32-bit nor 16-bit floats nor bytes."
        )
    })?;
    let dims = <[Option<usize>; 4]>::try_from(dims).map_err(|dims| {
        format!(
            "The model's input `{name}` has {} dimensions; an image needs 4: batch, channels, height and width, in either order.",
            dims.len()
        )
    })?;
    Ok((element_type, dims))
}

fn list(names: &[&str]) -> String {
    match names {
        [one] => format!("the operator `{one}`"),
        many => format!("the operators `{}`", many.join("`, `")),
    }
}

/// An error of tract as the end of a sentence.
pub fn sentence(what: &str, error: &tract_onnx::prelude::TractError) -> String {
    format!("{what}: {}.", causes(error))
}
