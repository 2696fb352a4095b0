//! tract, natively: pure Rust, so that it is in the scratch image.

use super::model::{Engine, Model};
use super::slot::{Open, Slot, settle};
use tract_onnx::pb::{self, tensor_proto, tensor_shape_proto, type_proto};
use tract_onnx::prelude::*;
use wasmtime_wasi_nn::wit::TensorType;

/// Reads an ONNX file and optimises the model for a batch of 1. The first input has the given shape, where one is given. The
/// error is the end of a sentence.
pub fn load(mut file: &[u8], shape: Option<&[usize]>) -> Result<Model, String> {
    // Shapes noted inside a file carry a symbolic batch, which would contradict the batch of 1.
    let onnx = tract_onnx::onnx()
        .with_ignore_output_shapes(true)
        .with_ignore_value_info(true);
    let proto = onnx
        .proto_model_for_read(&mut file)
        .map_err(|_| "it is no ONNX model, or damaged".to_string())?;
    let graph = proto
        .graph
        .as_ref()
        .ok_or("it is no ONNX model: it has no graph")?;
    let weights: Vec<&str> = graph
        .initializer
        .iter()
        .map(|tensor| tensor.name.as_str())
        .collect();
    let inputs = graph
        .input
        .iter()
        .filter(|input| !weights.contains(&input.name.as_str()))
        .map(slot)
        .collect::<Result<_, _>>()?;
    let inputs = settle(inputs, shape)?;
    let outputs = graph
        .output
        .iter()
        .map(|output| output.name.clone())
        .collect();
    let plan = plan(&onnx, &proto, &inputs).map_err(|error| sentence(&error))?;
    Ok(Model::new(inputs, outputs, Plan(plan)))
}

fn plan(
    onnx: &tract_onnx::Onnx,
    proto: &pb::ModelProto,
    inputs: &[Slot],
) -> TractResult<Arc<TypedRunnableModel>> {
    let mut model = onnx.model_for_proto_model(proto)?;
    for (index, slot) in inputs.iter().enumerate() {
        let fact = InferenceFact::dt_shape(datum_type(slot.element_type)?, &slot.shape);
        model.set_input_fact(index, fact)?;
    }
    model.into_optimized()?.into_runnable()
}

fn slot(input: &pb::ValueInfoProto) -> Result<Open, String> {
    let name = &input.name;
    let Some(type_proto::Value::TensorType(tensor)) =
        input.r#type.as_ref().and_then(|kind| kind.value.as_ref())
    else {
        return Err(format!("its input `{name}` is no tensor"));
    };
    let element_type = match tensor_proto::DataType::try_from(tensor.elem_type) {
        Ok(tensor_proto::DataType::Float) => TensorType::Fp32,
        Ok(tensor_proto::DataType::Float16) => TensorType::Fp16,
        Ok(tensor_proto::DataType::Uint8) => TensorType::U8,
        _ => return Err(format!("its input `{name}` has neither floats nor bytes")),
    };
    let shape = tensor
        .shape
        .iter()
        .flat_map(|shape| &shape.dim)
        .map(|dim| match dim.value {
            Some(tensor_shape_proto::dimension::Value::DimValue(size)) => {
                usize::try_from(size).ok().filter(|size| *size > 0)
            }
            _ => None,
        })
        .collect();
    Ok(Open {
        name: name.clone(),
        shape,
        element_type,
    })
}

/// A model that tract has optimised. Each run has a state of its own, so that runs need no lock.
struct Plan(Arc<TypedRunnableModel>);

impl Engine for Plan {
    fn run(
        &self,
        inputs: &[wasmtime_wasi_nn::Tensor],
    ) -> Result<Vec<wasmtime_wasi_nn::Tensor>, String> {
        self.evaluate(inputs).map_err(|error| sentence(&error))
    }
}

impl Plan {
    fn evaluate(
        &self,
        inputs: &[wasmtime_wasi_nn::Tensor],
    ) -> TractResult<Vec<wasmtime_wasi_nn::Tensor>> {
        let inputs = inputs
            .iter()
            .map(|tensor| Ok(taken(tensor)?.into_tvalue()))
            .collect::<TractResult<_>>()?;
        let outputs = self.0.run(inputs)?;
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

/// An error with its causes, in one line.
fn sentence(error: &TractError) -> String {
    let causes: Vec<String> = error
        .chain()
        .map(|cause| cause.to_string().replace('\n', " "))
        .collect();
    causes.join(": ").trim_end_matches('.').to_string()
}
