//! Who runs the model, and whose file it is: settled at the start, or refused.

use super::{OPPOSITE, for_tract};
use crate::common::imagenet::imagenet_nn;
use crate::common::onnx::COLOURS;
use crate::common::pictures::{jpeg, scene};
use crate::common::{Ended, answer, dist, pinhole, run};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Runs `pinhole classify` on a picture.
fn classify(component: &Path, options: &[&str]) -> Ended {
    let mut command = pinhole();
    command.args(["classify", "--json", "--component"]);
    run(
        command.arg(component).args(options).arg("-"),
        &jpeg(&scene(64, 64)),
    )
}

/// A component for the host, and the model that it was baked for.
fn colours(folder: &Path) -> (PathBuf, PathBuf) {
    let (model, labels) = (folder.join("colours.onnx"), folder.join("labels.txt"));
    std::fs::write(&model, COLOURS.encode()).unwrap();
    std::fs::write(&labels, "red\ngreen\nblue\n").unwrap();
    let component = folder.join("colours.wasm");
    let mut command = pinhole();
    command.args(["bake", "--engine", "nn", "--precompile", "--model"]);
    command.arg(&model).arg("--labels").arg(&labels);
    run(command.arg("-o").arg(&component), b"").ok();
    (component.with_extension("cwasm"), model)
}

#[test]
fn who_runs_the_model_is_settled_before_anything_is_run() {
    let folder = TempDir::new().unwrap();
    let (component, model) = colours(folder.path());
    let other = folder.path().join("other.onnx");
    std::fs::write(&other, OPPOSITE.encode()).unwrap();
    let (model, other) = (model.to_str().unwrap(), other.to_str().unwrap());
    let named = format!("colours={other}");
    let stranger = format!("stranger={model}");

    let best = |options: &[&str]| {
        let answer = answer(&classify(&component, options).ok());
        answer.predictions[0].label.clone()
    };
    let tract = ["--engine", "tract", "--model"];
    let own = best(&[&tract[..], &[model]].concat());
    // The opposite scores, under a name that the operator vouches for.
    assert_ne!(best(&[&tract[..], &[&named]].concat()), own);

    let kernels = ["--engine", "kernels", "--model"];
    let default = dist("guest.cwasm");
    for (component, options, words) in [
        (&component, vec![], "leaves its model to the host"),
        (&component, vec!["--engine", "tract"], "there is none"),
        (
            &component,
            vec!["--model", model],
            "--engine says that the guest runs",
        ),
        (
            &component,
            [&tract[..], &[other]].concat(),
            "is not the file that",
        ),
        (
            &component,
            [&tract[..], &["no/such.onnx"]].concat(),
            "cannot be read",
        ),
        (
            &component,
            [&tract[..], &[&stranger]].concat(),
            "named `colours`",
        ),
        (
            &component,
            [&tract[..], &[model, "--model", &named]].concat(),
            "Two models are named `colours`",
        ),
        (
            &component,
            [&kernels[..], &[model]].concat(),
            "`pinhole bake --network`",
        ),
        (
            &default,
            [&tract[..], &[model]].concat(),
            "runs its model itself",
        ),
    ] {
        let ended = classify(component, &options);
        assert_eq!(ended.code, Some(3), "{options:?}: {}", ended.stderr);
        assert!(
            ended.stderr.contains(words),
            "{options:?}: {}",
            ended.stderr
        );
        assert_eq!(
            ended.stderr.trim_end().lines().count(),
            1,
            "{}",
            ended.stderr
        );
    }

    let damaged = folder.path().join("damaged.onnx");
    std::fs::write(&damaged, b"\x08no model").unwrap();
    let damaged = format!("colours={}", damaged.display());
    let ended = classify(&component, &[&tract[..], &[&damaged]].concat());
    assert_eq!(ended.code, Some(3), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("cannot be made ready"),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_model_that_the_kernels_cannot_run_is_not_written_down() {
    let Some(model) = imagenet_nn() else { return };
    let folder = TempDir::new().unwrap();
    let labels = model.onnx.with_file_name("imagenet-labels.txt");
    for (onnx, engine, words) in [
        (
            for_tract(model).to_path_buf(),
            "nn",
            "serve it with --engine tract",
        ),
        (model.onnx.clone(), "guest", "goes with --engine nn"),
    ] {
        let mut command = pinhole();
        command.args(["bake", "--engine", engine, "--model"]);
        command.arg(onnx).arg("--labels").arg(&labels);
        command.arg("-o").arg(folder.path().join("model.wasm"));
        command
            .arg("--network")
            .arg(folder.path().join("model.network"));
        let ended = run(&mut command, b"");
        assert_eq!(ended.code, Some(3), "{}", ended.stderr);
        assert!(ended.stderr.contains(words), "{}", ended.stderr);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
