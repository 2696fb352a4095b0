//! What a guest can do with the host's models, by name. The models take an `image` of `[1, 3, 8, 8]` floats and give `scores`.

use crate::answer;
use crate::bindings::exports::pinhole::vision::classify::{Classification, ClassifyError};
use crate::bindings::wasi::nn::errors::Error;
use crate::bindings::wasi::nn::graph::{ExecutionTarget, GraphEncoding, load, load_by_name};
use crate::bindings::wasi::nn::inference::GraphExecutionContext;
use crate::bindings::wasi::nn::tensor::{Tensor, TensorType};
use std::hint::black_box;

/// The shape of the models' input.
const SHAPE: [u32; 4] = [1, 3, 8, 8];

/// Pixels of one channel.
const PIXELS: usize = 64;

/// Does what the image names: `model NAME VALUE` is a good request, and everything else a misdeed. None when it names
/// neither.
pub fn commit(image: &str) -> Option<Result<Classification, ClassifyError>> {
    let words: Vec<&str> = image.split(' ').collect();
    let done = match *words.as_slice() {
        ["model", name, value] => ask(name, value.parse().ok()?),
        ["both", one, other, value] => both(one, other, value.parse().ok()?),
        ["bad", "name"] => try_with(vec![("nobody", good(0.0))]),
        ["bad", "type"] => try_with(vec![("image", typed(TensorType::I32))]),
        ["bad", "shape"] => try_with(vec![("image", shaped(&[1, 8, 8, 3]))]),
        ["bad", "rank"] => try_with(vec![("image", shaped(&[192]))]),
        ["bad", "product"] => try_with(vec![("image", shaped(&[u32::MAX; 8]))]),
        ["bad", "few-bytes"] => try_with(vec![("image", sized(767))]),
        ["bad", "no-bytes"] => try_with(vec![("image", sized(0))]),
        ["bad", "nan"] => try_with(vec![("image", good(f32::NAN))]),
        ["bad", "none"] => try_with(vec![]),
        ["bad", "twice"] => try_with(vec![("image", good(0.0)), ("image", good(0.0))]),
        ["bad", "graph"] => load_by_name("nothing").map(|_| String::new()),
        ["bad", "load"] => take(),
        ["bad", "failing"] => ask("failing", 7.0),
        ["bad", "many-bytes"] => try_with(vec![("image", sized(1 << 20))]),
        ["bad", "dimensions"] => try_with(vec![("image", shaped(&[1; 9]))]),
        ["bad", "tensors"] => hoard(),
        ["slow"] => slow(),
        ["flood"] => flood(),
        _ => return None,
    };
    Some(match done {
        Ok(label) => Ok(answer([label].into_iter())),
        Err(error) => Err(ClassifyError::Inference(format!(
            "The host says {:?}.",
            error.code()
        ))),
    })
}

/// Channels of `value`, `value + 1` and `value + 2`.
fn good(value: f32) -> Tensor {
    let data: Vec<u8> = (0..3 * PIXELS)
        .map(|index| value + (index / PIXELS) as f32)
        .flat_map(f32::to_le_bytes)
        .collect();
    Tensor::new(&SHAPE, TensorType::Fp32, &data)
}

fn typed(element_type: TensorType) -> Tensor {
    Tensor::new(&SHAPE, element_type, &[0; 3 * PIXELS * 4])
}

fn shaped(dimensions: &[u32]) -> Tensor {
    Tensor::new(dimensions, TensorType::Fp32, &[0; 3 * PIXELS * 4])
}

fn sized(bytes: usize) -> Tensor {
    Tensor::new(&SHAPE, TensorType::Fp32, &vec![0; bytes])
}

fn context(name: &str) -> Result<GraphExecutionContext, Error> {
    load_by_name(name)?.init_execution_context()
}

/// The scores, as text.
fn run(context: &GraphExecutionContext, inputs: Vec<(&str, Tensor)>) -> Result<String, Error> {
    let inputs = inputs
        .into_iter()
        .map(|(name, tensor)| (name.to_string(), tensor))
        .collect();
    let (_, scores) = context.compute(inputs)?.swap_remove(0);
    let data = scores.data();
    let (values, _) = data.as_chunks();
    let texts: Vec<String> = values
        .iter()
        .map(|value| f32::from_le_bytes(*value).to_string())
        .collect();
    Ok(texts.join(" "))
}

fn ask(name: &str, value: f32) -> Result<String, Error> {
    run(&context(name)?, vec![("image", good(value))])
}

/// Two graphs that are open at the same time, used in turns.
fn both(one: &str, other: &str, value: f32) -> Result<String, Error> {
    let (one, other) = (context(one)?, context(other)?);
    let mut texts = Vec::new();
    for turn in 0..2 {
        for context in [&one, &other] {
            texts.push(run(context, vec![("image", good(value + turn as f32))])?);
        }
    }
    Ok(texts.join(", "))
}

fn try_with(inputs: Vec<(&str, Tensor)>) -> Result<String, Error> {
    run(&context("hostile")?, inputs)
}

/// Brings a model of its own.
fn take() -> Result<String, Error> {
    let graph = load(
        &[b"a model that nobody named".to_vec()],
        GraphEncoding::Onnx,
        ExecutionTarget::Cpu,
    )?;
    graph.init_execution_context()?;
    Ok(String::new())
}

/// Keeps tensors in the host's memory.
fn hoard() -> Result<String, Error> {
    let held: Vec<Tensor> = (0..100_000).map(|_| black_box(good(0.0))).collect();
    Ok(held.len().to_string())
}

/// Has the host's engine work for longer than the guest itself does.
fn slow() -> Result<String, Error> {
    let context = context("slow")?;
    let shape = [1, 3, 224, 224];
    let tensor = Tensor::new(&shape, TensorType::Fp32, &vec![0; 4 * 3 * 224 * 224]);
    let scores = context.compute(vec![("input".into(), tensor)])?;
    Ok(scores.len().to_string())
}

/// Makes the same mistake again and again, at length.
fn flood() -> Result<String, Error> {
    let name = "x".repeat(10_000);
    for _ in 0..10_000 {
        if let Err(error) = load_by_name(&name) {
            black_box(error.code());
        }
    }
    let context = context("hostile")?;
    for _ in 0..10_000 {
        if let Err(error) = run(&context, vec![("nobody", good(0.0))]) {
            black_box(error.code());
        }
    }
    Ok("flooded".into())
}
