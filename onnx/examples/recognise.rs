//! Says of ONNX files whether our own kernels run them, or what is in the way; and how near their scores are to tract's.
//!
//! `recognise FILE...`: each takes one image of three channels, 224 pixels a side unless the file says otherwise.

use pinhole_kernels::Precision;
use pinhole_onnx::{framework, held, inputs, recognise};
use pinhole_probes::noise;
use std::time::Instant;
use tract_onnx::pb::ModelProto;
use tract_onnx::prelude::{
    DatumType, Framework, InferenceFact, InferenceModelExt, IntoRunnable, Tensor, tvec,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for file in std::env::args().skip(1) {
        match one(&file) {
            Ok(found) => println!("{file}: {found}"),
            Err(error) => println!("{file}: {error}"),
        }
    }
    Ok(())
}

fn one(file: &str) -> Result<String, Box<dyn std::error::Error>> {
    let onnx = framework();
    let model: ModelProto = onnx.proto_model_for_path(file)?;
    let graph = model.graph.as_ref().ok_or("there is no graph")?;
    let input = *inputs(graph).first().ok_or("there is no input")?;
    let dims = held(input).ok_or("the input is no tensor")?.dims;
    let size = |at: usize| dims.get(at).copied().flatten();
    let side = size(2).unwrap_or(224);
    let last = size(1) != Some(3) && size(3) == Some(3);
    let channels = size(if last { 3 } else { 1 }).unwrap_or(3);
    let found = recognise(&onnx, graph, &input.name, side, (channels, last))?;
    let probe = noise(channels * side * side);

    let network = found.builder.build(found.output, Precision::Fp32)?;
    let pixels = side * side;
    let mut image = vec![0.0; probe.len()];
    for (index, value) in probe.iter().enumerate() {
        let place = match last {
            true => index,
            false => index % pixels * channels + index / pixels,
        };
        image[place] = *value;
    }
    let mut scores = vec![0.0; network.output_len()];
    let mut arena = network.arena();
    network.run(&mut arena, &image, &mut scores);
    let start = Instant::now();
    network.run(&mut arena, &image, &mut scores);
    let elapsed = start.elapsed().as_secs_f64() * 1e3;

    let shape = match last {
        true => [1, side, side, channels],
        false => [1, channels, side, side],
    };
    let mut typed = onnx.model_for_path(file)?;
    typed.set_input_fact(0, InferenceFact::dt_shape(DatumType::F32, shape))?;
    let plan = typed.into_optimized()?.into_runnable()?;
    let outputs = plan.run(tvec!(Tensor::from_shape(&shape, &probe)?.into()))?;
    let mut expected = outputs[0].try_as_plain_ram()?.as_slice::<f32>()?.to_vec();
    if found.softmax {
        expected = expected.iter().map(|value| value.ln()).collect();
        let shift = scores[0] - expected[0];
        expected.iter_mut().for_each(|value| *value += shift);
    }
    let largest = expected
        .iter()
        .fold(0.0f32, |most, value| most.max(value.abs()));
    let error = scores
        .iter()
        .zip(&expected)
        .fold(0.0f32, |most, (a, b)| most.max((a - b).abs()));
    let agree = if scores.len() == expected.len() && error <= 1e-3 * largest.max(1.0) {
        "agrees"
    } else {
        "DISAGREES"
    };
    Ok(format!(
        "{agree}, off by {error:e} of {largest}, {elapsed:.1} ms, {} million",
        network.macs() / 1_000_000
    ))
}
