//! tract, natively: pure Rust, so that it is in the scratch image. It reads every model, and is what our own kernels are
//! compared with before they run one instead.

use super::kernels::Layers;
use super::model::{Engine, Model};
use super::open::{Open, settle};
use super::slot::Slot;
use pinhole_kernels::{NetworkBuilder, Precision};
use pinhole_onnx::{
    Held, Obstacle, Recognised, agree, causes, held, is_quantised, not_run_quantised, recognise,
    without_rounding,
};
use pinhole_probes::noise;
use tract_onnx::pb;
use tract_onnx::prelude::*;
use wasmtime_wasi_nn::wit::TensorType;

/// An ONNX file that tract has optimised for a batch of 1.
struct Loaded {
    inputs: Vec<Slot>,
    outputs: Vec<String>,
    /// The same as layers of our own kernels, or why it is none.
    layers: Result<Layers, Obstacle>,
    plan: Plan,
}

/// Reads an ONNX file. The first input has the given shape, where one is given. The error is the end of a sentence.
pub fn load(file: &[u8], shape: Option<&[usize]>) -> Result<Model, String> {
    let Loaded {
        inputs,
        outputs,
        layers,
        plan,
    } = read(file, |inputs| settle(inputs, shape))?;
    Ok(match layers {
        Ok(layers) => Model::new(inputs, outputs, layers),
        Err(why) => {
            tracing::debug!("tract runs the model, and not our own kernels: {why}");
            Model::new(inputs, outputs, plan)
        }
    })
}

/// The one input, the one output, and the layers of a model that our own kernels can run. The error, where they cannot, is
/// the end of a sentence.
#[cfg(feature = "bake")]
pub fn layers(file: &[u8], side: usize) -> Result<(Slot, String, Layers), String> {
    let loaded = read(file, |mut inputs| {
        if let Some(first) = inputs.first_mut() {
            let sizes = first.shape.iter_mut().skip(1);
            sizes.for_each(|size| *size = size.or(Some(side)));
        }
        settle(inputs, None)
    })?;
    let layers = loaded.layers.map_err(|why| why.to_string())?;
    match (
        <[Slot; 1]>::try_from(loaded.inputs),
        <[String; 1]>::try_from(loaded.outputs),
    ) {
        (Ok([input]), Ok([output])) => Ok((input, output, layers)),
        _ => Err("it has several inputs or outputs".into()),
    }
}

fn read(
    mut file: &[u8],
    settle: impl FnOnce(Vec<Open>) -> Result<Vec<Slot>, String>,
) -> Result<Loaded, String> {
    let onnx = pinhole_onnx::framework();
    let proto = onnx
        .proto_model_for_read(&mut file)
        .map_err(|_| "it is no ONNX model, or damaged".to_string())?;
    let graph = proto
        .graph
        .as_ref()
        .ok_or("it is no ONNX model: it has no graph")?;
    let inputs = pinhole_onnx::inputs(graph)
        .into_iter()
        .map(slot)
        .collect::<Result<_, _>>()?;
    let inputs = settle(inputs)?;
    let outputs = graph
        .output
        .iter()
        .map(|output| output.name.clone())
        .collect();
    let recognised = recognised(&onnx, graph, &inputs);
    let plan = plan(&onnx, &proto, &inputs).map_err(|error| causes(&error))?;
    let layers = recognised.and_then(|recognised| {
        // Rounding makes much of a last bit: what rounds is compared without.
        if recognised.builder.is_quantised() {
            let smooth = without_rounding(&onnx, &proto)?;
            let smooth = self::plan(&onnx, &smooth, &inputs);
            Ok(believed(
                recognised,
                &smooth.map_err(|error| causes(&error))?,
            )?)
        } else {
            Ok(believed(recognised, &plan)?)
        }
    });
    if let Err(why) = &layers
        && is_quantised(graph)
    {
        return Err(not_run_quantised(why));
    }
    Ok(Loaded {
        inputs,
        outputs,
        layers,
        plan,
    })
}

/// The model as layers of our own kernels, or why it is none.
fn recognised(
    onnx: &tract_onnx::Onnx,
    graph: &pb::GraphProto,
    inputs: &[Slot],
) -> Result<Recognised, Obstacle> {
    let [input] = inputs else {
        return Err(format!("it takes {} inputs", inputs.len()).into());
    };
    match (input.element_type, input.shape.as_slice()) {
        (TensorType::Fp32, &[1, channels, height, width]) if height == width => {
            recognise(onnx, graph, &input.name, height, (channels, false))
        }
        _ => Err("its input is no square of 32-bit floats, channels first".into()),
    }
}

/// Recognised layers, if they give the scores that tract gives where nothing is rounded.
fn believed(recognised: Recognised, plan: &Plan) -> Result<Layers, String> {
    let (expected, shape) = plan.probed().map_err(|error| causes(&error))?;
    let dimensions = shape
        .iter()
        .map(|size| u32::try_from(*size).map_err(|error| error.to_string()))
        .collect::<Result<Vec<_>, _>>()?;
    let Recognised {
        builder,
        output,
        softmax,
    } = recognised;
    let layers = |builder: NetworkBuilder| {
        let network = builder.build(output, Precision::Fp32);
        let network = network.map_err(|error| error.to_string())?;
        Ok::<_, String>(Layers::new(network, softmax, dimensions.clone()))
    };
    let kept = builder.is_quantised().then(|| builder.clone());
    let checked = layers(builder.without_rounding())?;
    let probe: Vec<[u8; 4]> = noise(plan.shape.iter().product())
        .into_iter()
        .map(f32::to_le_bytes)
        .collect();
    if !agree(&checked.scores(&probe), &expected) {
        return Err("the recognised layers give other scores".into());
    }
    kept.map_or(Ok(checked), layers)
}

fn plan(onnx: &tract_onnx::Onnx, proto: &pb::ModelProto, inputs: &[Slot]) -> TractResult<Plan> {
    let mut model = onnx.model_for_proto_model(proto)?;
    for (index, slot) in inputs.iter().enumerate() {
        let fact = InferenceFact::dt_shape(datum_type(slot.element_type)?, &slot.shape);
        model.set_input_fact(index, fact)?;
    }
    Ok(Plan {
        shape: inputs
            .first()
            .map(|slot| slot.shape.clone())
            .unwrap_or_default(),
        model: model.into_optimized()?.into_runnable()?,
    })
}

fn slot(input: &pb::ValueInfoProto) -> Result<Open, String> {
    let name = &input.name;
    let Some(Held {
        element_type, dims, ..
    }) = held(input)
    else {
        return Err(format!("its input `{name}` is no tensor"));
    };
    let element_type = match element_type {
        Some(DatumType::F32) => TensorType::Fp32,
        Some(DatumType::F16) => TensorType::Fp16,
        Some(DatumType::U8) => TensorType::U8,
        _ => return Err(format!("its input `{name}` has neither floats nor bytes")),
    };
    Ok(Open {
        name: name.clone(),
        shape: dims,
        element_type,
    })
}

/// A model that tract has optimised. Each run has a state of its own, so that runs need no lock.
struct Plan {
    model: Arc<TypedRunnableModel>,
    /// Of its first input.
    shape: Vec<usize>,
}

impl Engine for Plan {
    fn name(&self) -> &'static str {
        "host-tract"
    }

    fn run(
        &self,
        inputs: &[wasmtime_wasi_nn::Tensor],
    ) -> Result<Vec<wasmtime_wasi_nn::Tensor>, String> {
        self.evaluate(inputs).map_err(|error| causes(&error))
    }
}

impl Plan {
    /// The scores of a probe, and their shape.
    fn probed(&self) -> TractResult<(Vec<f32>, Vec<usize>)> {
        let probe = noise(self.shape.iter().product());
        let input = Tensor::from_shape(&self.shape, &probe)?;
        let outputs = self.model.run(tvec!(input.into_tvalue()))?;
        let scores = outputs[0].cast_to::<f32>()?;
        let scores = scores.try_as_plain_ram()?.as_slice::<f32>()?.to_vec();
        Ok((scores, outputs[0].shape().to_vec()))
    }

    fn evaluate(
        &self,
        inputs: &[wasmtime_wasi_nn::Tensor],
    ) -> TractResult<Vec<wasmtime_wasi_nn::Tensor>> {
        let inputs = inputs
            .iter()
            .map(|tensor| Ok(taken(tensor)?.into_tvalue()))
            .collect::<TractResult<_>>()?;
        let outputs = self.model.run(inputs)?;
        outputs.iter().map(|tensor| given(tensor)).collect()
    }
}

fn datum_type(element_type: TensorType) -> TractResult<DatumType> {
    Ok(match element_type {
        TensorType::Fp32 => DatumType::F32,
        TensorType::Fp16 => DatumType::F16,
        TensorType::U8 => DatumType::U8,
        other => anyhow::bail!("elements of {other:?} are not taken"),
    })
}

/// A tensor of the interface as one of tract's.
fn taken(tensor: &wasmtime_wasi_nn::Tensor) -> TractResult<Tensor> {
    let shape: Vec<usize> = tensor
        .dimensions
        .iter()
        .map(|size| *size as usize)
        .collect();
    let data = tensor.data.as_slice();
    match tensor.ty {
        TensorType::Fp32 => {
            let (values, _) = data.as_chunks();
            let values: Vec<f32> = values
                .iter()
                .map(|value| f32::from_le_bytes(*value))
                .collect();
            Tensor::from_shape(&shape, &values)
        }
        TensorType::Fp16 => {
            let (values, _) = data.as_chunks();
            let values: Vec<f16> = values
                .iter()
                .map(|value| f16::from_le_bytes(*value))
                .collect();
            Tensor::from_shape(&shape, &values)
        }
        TensorType::U8 => Tensor::from_shape(&shape, data),
        other => anyhow::bail!("elements of {other:?} are not taken"),
    }
}

/// A tensor of tract's as one of the interface: scores are floats there, or bytes.
fn given(tensor: &Tensor) -> TractResult<wasmtime_wasi_nn::Tensor> {
    let shape = tensor
        .shape()
        .iter()
        .map(|size| u32::try_from(*size))
        .collect::<Result<_, _>>()?;
    let (ty, data) = match tensor.datum_type() {
        DatumType::U8 => (
            TensorType::U8,
            tensor.try_as_plain_ram()?.as_slice::<u8>()?.to_vec(),
        ),
        DatumType::F16 => {
            let plain = tensor.try_as_plain_ram()?;
            let values = plain.as_slice::<f16>()?.iter();
            (
                TensorType::Fp16,
                values.flat_map(|value| value.to_le_bytes()).collect(),
            )
        }
        _ => {
            let floats = tensor.cast_to::<f32>()?;
            let plain = floats.try_as_plain_ram()?;
            let values = plain.as_slice::<f32>()?.iter();
            (
                TensorType::Fp32,
                values.flat_map(|value| value.to_le_bytes()).collect(),
            )
        }
    };
    Ok(wasmtime_wasi_nn::Tensor::new(shape, ty, data))
}
