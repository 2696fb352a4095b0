//! ONNX Runtime, natively, from a library that is loaded when the program starts: the one in PyPI's wheel or a
//! distribution's, named by ORT_DYLIB_PATH.

use super::model::{Engine, Model};
use super::open::{Open, settle};
use ort::environment::Environment;
use ort::session::builder::GraphOptimizationLevel;
use ort::session::{Session, SessionInputValue};
use ort::value::{TensorElementType, ValueType};
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, PoisonError};
use wasmtime_wasi_nn::Tensor;
use wasmtime_wasi_nn::wit::TensorType;

/// Which library to load.
const LIBRARY: &str = "ORT_DYLIB_PATH";

/// Reads an ONNX file. The first input has the given shape, where one is given. The error is the end of a sentence.
pub fn load(file: &[u8], shape: Option<&[usize]>) -> Result<Model, String> {
    let environment = environment()?;
    let first = session(environment, file)?;
    let inputs = first
        .inputs()
        .iter()
        .map(|input| slot(input.name(), input.dtype()))
        .collect::<Result<_, _>>()?;
    let inputs = settle(inputs, shape)?;
    let outputs = first
        .outputs()
        .iter()
        .map(|output| output.name().to_string())
        .collect();
    let engine = Sessions {
        environment,
        file: file.to_vec(),
        idle: Mutex::new(vec![first]),
    };
    Ok(Model::new(inputs, outputs, engine))
}

/// The library, loaded once.
fn environment() -> Result<&'static Environment, String> {
    static ENVIRONMENT: OnceLock<Result<Environment, String>> = OnceLock::new();
    let load = || {
        let path = std::env::var_os(LIBRARY)
            .map(PathBuf::from)
            .ok_or_else(|| format!("{LIBRARY} does not name ONNX Runtime's library"))?;
        ort::init_from(path)
            .map_err(|error| format!("ONNX Runtime's library cannot be loaded ({error})"))?
            .build()
            .map_err(|error| text(&error))
    };
    ENVIRONMENT.get_or_init(load).as_ref().map_err(Clone::clone)
}

fn session(environment: &Environment, file: &[u8]) -> Result<Session, String> {
    // Each worker runs one at a time: more threads would only take each other's cores.
    Session::builder(environment)
        .and_then(|builder| Ok(builder.with_optimization_level(GraphOptimizationLevel::Level3)?))
        .and_then(|builder| Ok(builder.with_intra_threads(1)?))
        .and_then(|mut builder| builder.commit_from_memory(file))
        .map_err(|error| text(&error))
}

fn slot(name: &str, kind: &ValueType) -> Result<Open, String> {
    let ValueType::Tensor { ty, shape, .. } = kind else {
        return Err(format!("its input `{name}` is no tensor"));
    };
    let element_type = match ty {
        TensorElementType::Float32 => TensorType::Fp32,
        TensorElementType::Uint8 => TensorType::U8,
        _ => {
            return Err(format!(
                "its input `{name}` has neither 32-bit floats nor bytes"
            ));
        }
    };
    Ok(Open {
        name: name.to_string(),
        shape: shape
            .iter()
            .map(|size| usize::try_from(*size).ok().filter(|size| *size > 0))
            .collect(),
        element_type,
    })
}

/// Sessions of one model, as many as have ever run at the same time: to run one takes it whole.
struct Sessions {
    environment: &'static Environment,
    file: Vec<u8>,
    /// Locked to take one or to give it back, and not while it runs.
    idle: Mutex<Vec<Session>>,
}

impl Engine for Sessions {
    fn name(&self) -> &'static str {
        "host-onnxruntime"
    }

    fn run(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, String> {
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = idle().pop();
        let mut session = match taken {
            Some(session) => session,
            None => session(self.environment, &self.file)?,
        };
        let outputs = evaluate(&mut session, inputs).map_err(|error| text(&error))?;
        idle().push(session);
        Ok(outputs)
    }
}

fn evaluate(session: &mut Session, inputs: &[Tensor]) -> ort::Result<Vec<Tensor>> {
    let inputs = inputs
        .iter()
        .map(taken)
        .collect::<ort::Result<Vec<SessionInputValue<'_>>>>()?;
    let outputs = session.run(inputs.as_slice())?;
    (0..outputs.len())
        .map(|index| {
            let (shape, scores) = outputs[index].try_extract_tensor::<f32>()?;
            Ok(Tensor::new(
                shape.iter().map(|size| *size as u32).collect(),
                TensorType::Fp32,
                scores
                    .iter()
                    .flat_map(|score| score.to_le_bytes())
                    .collect(),
            ))
        })
        .collect()
}

/// A tensor of the interface as one of the library's.
fn taken(tensor: &Tensor) -> ort::Result<SessionInputValue<'static>> {
    let shape: Vec<i64> = tensor
        .dimensions
        .iter()
        .map(|size| i64::from(*size))
        .collect();
    if tensor.ty == TensorType::U8 {
        return Ok(ort::value::Tensor::from_array((shape, tensor.data.clone()))?.into());
    }
    let (values, _) = tensor.data.as_chunks();
    let values: Vec<f32> = values
        .iter()
        .map(|value| f32::from_le_bytes(*value))
        .collect();
    Ok(ort::value::Tensor::from_array((shape, values))?.into())
}

fn text(error: &ort::Error) -> String {
    let text = error.to_string();
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.trim_end_matches('.').to_string()
}
