//! The real ImageNet MobileNetV2, baked once for all tests in each precision, and for the host to run.

use super::{pinhole, run, shared};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The component with real weights.
pub struct ImageNet {
    /// The component.
    pub wasm: PathBuf,
    /// The same, precompiled.
    pub cwasm: PathBuf,
    /// The model that it was baked from.
    pub onnx: PathBuf,
    /// The same for the host's own kernels, where the host is to run it.
    pub network: PathBuf,
    /// The photographs, and what ONNX Runtime says of them.
    pub images: PathBuf,
}

/// In full precision. None, said aloud, where the weights are not there.
pub fn imagenet() -> Option<&'static ImageNet> {
    static BAKED: OnceLock<Option<ImageNet>> = OnceLock::new();
    let (models, images) = (shared("models")?, shared("images")?);
    BAKED
        .get_or_init(|| Some(bake(&models, images, ["--precision", "fp32"])))
        .as_ref()
}

/// As it is baked where nothing is said.
pub fn imagenet_int8() -> Option<&'static ImageNet> {
    static BAKED: OnceLock<Option<ImageNet>> = OnceLock::new();
    let (models, images) = (shared("models")?, shared("images")?);
    BAKED
        .get_or_init(|| Some(bake(&models, images, ["--precision", "int8"])))
        .as_ref()
}

/// For the host to run.
pub fn imagenet_nn() -> Option<&'static ImageNet> {
    static BAKED: OnceLock<Option<ImageNet>> = OnceLock::new();
    let (models, images) = (shared("models")?, shared("images")?);
    BAKED
        .get_or_init(|| Some(bake(&models, images, ["--engine", "nn"])))
        .as_ref()
}

fn bake(models: &Path, images: PathBuf, options: [&str; 2]) -> ImageNet {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("imagenet-{}", options[1]));
    std::fs::create_dir_all(&folder).unwrap();
    let wasm = folder.join("imagenet.wasm");
    let onnx = models.join("mobilenetv2-imagenet.onnx");
    let network = folder.join("imagenet.network");
    let mut bake = pinhole();
    bake.arg("bake")
        .args([Path::new("--model"), &onnx])
        .args([Path::new("--labels"), &models.join("imagenet-labels.txt")])
        .args([Path::new("-o"), &wasm])
        .arg("--precompile")
        .args(options);
    if options == ["--engine", "nn"] {
        bake.arg("--network").arg(&network);
    }
    run(&mut bake, b"").ok();
    let cwasm = folder.join("imagenet.cwasm");
    assert!(wasm.is_file() && cwasm.is_file());
    ImageNet {
        wasm,
        cwasm,
        onnx,
        network,
        images,
    }
}
