//! Baking: good models answer, the same inputs give the same bytes, bad inputs are one sentence and leave nothing behind.

use crate::common::onnx::{COLOURS, Model};
use crate::common::pictures::{encode, jpeg, scene};
use crate::common::server::Server;
use crate::common::{Ended, answer, dist, in_ci, pinhole, root, run, shared, skipped};
use image::{ImageFormat, Rgb, RgbImage};
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// A folder with files to bake from.
struct Kitchen(TempDir);

impl Kitchen {
    fn new() -> Self {
        let kitchen = Self(TempDir::new().unwrap());
        std::fs::create_dir(kitchen.0.path().join("out")).unwrap();
        kitchen
    }

    fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    fn output(&self, name: &str) -> PathBuf {
        self.0.path().join("out").join(name)
    }

    fn bake(&self, model: &Path, labels: &Path, more: &[&str]) -> Ended {
        let mut command = pinhole();
        command
            .arg("bake")
            .arg("--model")
            .arg(model)
            .arg("--labels")
            .arg(labels)
            .args(more);
        if !more.contains(&"-o") {
            command.arg("-o").arg(self.output("baked.wasm"));
        }
        run(command.arg("--precompile"), b"")
    }

    /// Fails unless baking ends with 3, a last line that is a sentence with these words, and no file.
    #[track_caller]
    fn refuses(&self, model: &Path, labels: &Path, more: &[&str], words: &str) {
        let Ended { code, stderr, .. } = self.bake(model, labels, more);
        assert_eq!(code, Some(3), "{stderr}");
        let mut lines = stderr.lines().rev();
        let sentence = lines.next().unwrap_or_default();
        assert!(
            sentence.starts_with(|first: char| first.is_uppercase() || "/`".contains(first)),
            "{stderr}"
        );
        assert!(
            sentence.ends_with('.') && !sentence.ends_with(".."),
            "{stderr}"
        );
        assert!(sentence.contains(words), "{stderr}");
        assert!(
            !stderr.contains("panicked") && !stderr.contains("backtrace"),
            "{stderr}"
        );
        let left: Vec<_> = std::fs::read_dir(self.output("")).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn a_model_of_ones_own_answers() {
    let kitchen = Kitchen::new();
    let model = kitchen.file("colours.onnx", COLOURS.encode());
    let labels = kitchen.file("labels.txt", "red\ngreen\nblue\n");
    let config = "[preprocess]\nmean = [0.0, 0.0, 0.0]\nstd = [0.1, 0.1, 0.1]\n";
    let config = kitchen.file("colours.toml", config);
    let ended = kitchen.bake(
        &model,
        &labels,
        &[
            "--config",
            config.to_str().unwrap(),
            "--name",
            "colours",
            "--model-version",
            "7",
        ],
    );
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    for stage in ["parse", "optimise", "warm up", "snapshot", "precompile"] {
        let told = ended.stderr.lines().any(|line| line.starts_with(stage));
        assert!(told, "{stage}: {}", ended.stderr);
    }
    let ask = |component: &str, colour: [u8; 3]| {
        let image = encode(&RgbImage::from_pixel(20, 30, Rgb(colour)), ImageFormat::Png);
        let json = run(
            pinhole()
                .args(["classify", "--json", "--component"])
                .arg(kitchen.output(component))
                .arg("-"),
            &image,
        );
        answer(&json.ok())
    };
    for component in ["baked.wasm", "baked.cwasm"] {
        let red = ask(component, [255, 0, 0]);
        assert_eq!(
            (red.model.name.as_str(), red.model.version.as_str()),
            ("colours", "7")
        );
        assert_eq!(
            (
                red.predictions[0].label.as_str(),
                red.predictions[0].class_id
            ),
            ("red", 0)
        );
        // The scores are 10, 0 and 0.
        assert!(
            (red.predictions[0].probability - 0.999_909).abs() < 1e-5,
            "{red:?}"
        );
        assert_eq!(ask(component, [0, 200, 10]).predictions[0].label, "green");
        assert_eq!(ask(component, [0, 20, 100]).predictions[0].label, "blue");
    }
    let server = Server::of(&kitchen.output("baked.cwasm"), &[]);
    assert_eq!(
        server
            .client
            .predict(&jpeg(&scene(64, 64)))
            .answer()
            .predictions
            .len(),
        3
    );
}

#[test]
fn the_same_inputs_give_the_same_bytes() {
    let models = root().join("models");
    let [first, second] = [Kitchen::new(), Kitchen::new()].map(|kitchen| {
        // Copies in another place: no path must get into what is baked.
        let copy = |name: &str| kitchen.file(name, std::fs::read(models.join(name)).unwrap());
        let (model, labels, config) = (
            copy("default.onnx"),
            copy("default.labels.txt"),
            copy("default.toml"),
        );
        let ended = kitchen.bake(&model, &labels, &["--config", config.to_str().unwrap()]);
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        ["baked.wasm", "baked.cwasm"].map(|name| std::fs::read(kitchen.output(name)).unwrap())
    });
    assert!(first[0] == second[0], "the components differ");
    assert!(first[1] == second[1], "the precompiled components differ");
    let shipped = std::fs::read(dist("guest.wasm")).unwrap();
    assert!(
        first[0] == shipped,
        "the component is not the one that `cargo xtask build` made"
    );
}

#[test]
fn what_is_no_model_is_refused() {
    let kitchen = Kitchen::new();
    let labels = kitchen.file("labels.txt", "a\nb\nc\n");
    let picture = kitchen.file("picture.onnx", encode(&scene(64, 64), ImageFormat::Png));
    kitchen.refuses(&picture, &labels, &[], "ONNX");
    let whole = std::fs::read(root().join("models/default.onnx")).unwrap();
    let truncated = kitchen.file("truncated.onnx", &whole[..whole.len() / 2]);
    kitchen.refuses(&truncated, &labels, &[], "ONNX");
    let empty = kitchen.file("empty.onnx", "");
    kitchen.refuses(&empty, &labels, &[], "");
    kitchen.refuses(
        &kitchen.0.path().join("none.onnx"),
        &labels,
        &[],
        "none.onnx",
    );
}

#[test]
fn models_of_another_kind_are_refused() {
    let kitchen = Kitchen::new();
    let labels = kitchen.file("labels.txt", "a\nb\nc\n");
    let image: (&str, &[u64]) = ("image", &[1, 3, 8, 8]);
    let refuse = |name: &str, model: Model, words: &str| {
        kitchen.refuses(&kitchen.file(name, model.encode()), &labels, &[], words);
    };
    let two_inputs = Model {
        nodes: &[
            ("Add", &["image", "other"], &["sum"]),
            ("GlobalAveragePool", &["sum"], &["scores"]),
        ],
        inputs: &[image, ("other", &[1, 3, 8, 8])],
        outputs: &[("scores", &[1, 3, 1, 1])],
    };
    refuse("two-inputs.onnx", two_inputs, "one input");
    let segmentation = Model {
        nodes: &[("Relu", &["image"], &["mask"])],
        inputs: &[image],
        outputs: &[("mask", &[1, 3, 8, 8])],
    };
    refuse("segmentation.onnx", segmentation, "one score a class");
    let unknown = Model {
        nodes: &[("Frobnicate", &["image"], &["scores"])],
        inputs: &[image],
        outputs: &[("scores", &[1, 3])],
    };
    refuse("unknown.onnx", unknown, "Frobnicate");
    let text = Model {
        inputs: &[("tokens", &[1, 512])],
        ..COLOURS
    };
    refuse("text.onnx", text, "");
}

#[test]
fn labels_must_be_as_many_as_classes() {
    let kitchen = Kitchen::new();
    let model = kitchen.file("colours.onnx", COLOURS.encode());
    kitchen.refuses(&model, &kitchen.file("two.txt", "a\nb\n"), &[], "3 classes");
    kitchen.refuses(
        &model,
        &kitchen.file("four.txt", "a\nb\nc\nd"),
        &[],
        "4 labels",
    );
    kitchen.refuses(&model, &kitchen.file("empty.txt", ""), &[], "label");
    kitchen.refuses(
        &model,
        &kitchen.file("binary.txt", [0xff, 0xfe, 0]),
        &[],
        "binary.txt",
    );
    kitchen.refuses(&model, &kitchen.0.path().join("none.txt"), &[], "none.txt");
    if let Some(shared) = shared("models") {
        let labels = std::fs::read_to_string(shared.join("imagenet-labels.txt")).unwrap();
        let fewer: Vec<&str> = labels.lines().skip(1).collect();
        let fewer = kitchen.file("999.txt", fewer.join("\n"));
        kitchen.refuses(
            &shared.join("mobilenetv2-imagenet.onnx"),
            &fewer,
            &[],
            "999 labels",
        );
    }
}

#[test]
fn wrong_configurations_are_refused() {
    let kitchen = Kitchen::new();
    let model = kitchen.file("colours.onnx", COLOURS.encode());
    let labels = kitchen.file("labels.txt", "a\nb\nc\n");
    for (text, words) in [
        ("nonsense", "wrong.toml"),
        ("colour = \"rgb\"", "colour"),
        ("[preprocess]\ncrop = \"big\"", "wrong.toml"),
        ("[preprocess]\ncrop = 9", "crop"),
        ("[preprocess]\nresize = 4", "resize"),
        ("[preprocess]\nstd = [1.0, 0.0, 1.0]", "std"),
        ("[preprocess]\nmean = [1.0]", "mean"),
        ("[preprocess]\ninterpolation = \"magic\"", "magic"),
        ("[preprocess]\naspect = \"wide\"", "wide"),
    ] {
        let config = kitchen.file("wrong.toml", text);
        kitchen.refuses(
            &model,
            &labels,
            &["--config", config.to_str().unwrap()],
            words,
        );
    }
    // A folder without guests, and one whose guests are none.
    let folder = tempfile::TempDir::new().unwrap();
    let guests = ["--guests", folder.path().to_str().unwrap()];
    kitchen.refuses(&model, &labels, &guests, "guest-tract.wasm");
    for name in ["guest-tract.wasm", "guest-kernels.wasm"] {
        std::fs::write(folder.path().join(name), "not wasm").unwrap();
    }
    kitchen.refuses(&model, &labels, &guests, "bare guest");
}

#[test]
fn a_place_that_cannot_be_written_is_refused() {
    let kitchen = Kitchen::new();
    let model = kitchen.file("colours.onnx", COLOURS.encode());
    let labels = kitchen.file("labels.txt", "a\nb\nc\n");
    let nowhere = kitchen.output("none/baked.wasm");
    kitchen.refuses(
        &model,
        &labels,
        &["-o", nowhere.to_str().unwrap()],
        "cannot be written",
    );
}

/// Bakes onto a file system of this many bytes, and returns how that ended and what it left there; none where file systems
/// cannot be mounted. Nobody else sees this one, and it is gone with the process.
fn bake_onto_a_disk(of: u64, kitchen: &Kitchen, model: &Path, labels: &Path) -> Option<Ended> {
    let script = r#"
        mount -t tmpfs -o "size=$1" none "$2" || exit 99
        "$3" bake --model "$4" --labels "$5" -o "$2/baked.wasm" --precompile
        code=$?
        ls -A "$2"
        exit $code
    "#;
    // Anybody may do this in a user namespace of their own; where those are forbidden, root still may.
    for namespaces in [&["--user", "--map-root-user", "--mount"][..], &["--mount"]] {
        let output = Command::new("unshare")
            .args(namespaces)
            .args(["sh", "-c", script, "sh", &of.to_string()])
            .args([&kitchen.output(""), &dist("pinhole")])
            .args([model, labels])
            .output()
            .ok()?;
        let stderr = String::from_utf8(output.stderr).unwrap();
        if output.status.code() != Some(99) && !stderr.starts_with("unshare:") {
            return Some(Ended {
                code: output.status.code(),
                stdout: String::from_utf8(output.stdout).unwrap(),
                stderr,
            });
        }
    }
    None
}

#[test]
fn a_full_disk_is_one_sentence_and_keeps_nothing() {
    let kitchen = Kitchen::new();
    let model = kitchen.file("colours.onnx", COLOURS.encode());
    let labels = kitchen.file("labels.txt", "a\nb\nc\n");
    assert_eq!(kitchen.bake(&model, &labels, &[]).code, Some(0));
    let [component, code] = ["baked.wasm", "baked.cwasm"].map(|name| {
        let file = kitchen.output(name);
        let size = std::fs::metadata(&file).unwrap().len();
        std::fs::remove_file(file).unwrap();
        size
    });
    // Too small for the first file, then for the second only.
    for size in [component / 2, component + code / 2] {
        let Some(ended) = bake_onto_a_disk(size, &kitchen, &model, &labels) else {
            assert!(
                !in_ci(),
                "no file system can be mounted, and in CI one must"
            );
            return skipped("no file system can be mounted");
        };
        assert_eq!(ended.code, Some(3), "{}", ended.stderr);
        let sentence = ended.stderr.lines().last().unwrap();
        assert!(sentence.contains("cannot be written"), "{}", ended.stderr);
        assert!(
            sentence.ends_with('.') && !sentence.contains("panicked"),
            "{}",
            ended.stderr
        );
        assert_eq!(ended.stdout, "", "files are left behind");
    }
    // The sizes were wrong if it does not work on a disk that is large enough.
    let ended = bake_onto_a_disk(component + code + (1 << 20), &kitchen, &model, &labels).unwrap();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(
        ended.stdout.lines().collect::<Vec<_>>(),
        ["baked.cwasm", "baked.wasm"]
    );
}
