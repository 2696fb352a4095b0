//! What `deploy/` tells a cluster: right by the schemas of those who read it, and about a Pinhole that there is. A route, a
//! port, a variable or a metric that is misspelt in a manifest fails nothing but the deployment.
//!
//! `tests/deploy/check.py` renders and checks the files with other people's tools, and hands them over as JSON.

mod compose;
mod scaling;
mod workloads;

use crate::common::{pinhole, python_with, root, run, say};
use serde_json::Value;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// Everything in `deploy/`, rendered and checked once for all tests; none, said aloud, where there is no Python for it.
fn deploy() -> Option<&'static Value> {
    static DEPLOY: OnceLock<Option<Value>> = OnceLock::new();
    let rendered = DEPLOY.get_or_init(|| check(&[root().join("deploy")])?.pop());
    if let Some(deploy) = rendered {
        assert_eq!(deploy["error"], Value::Null);
    }
    rendered.as_ref()
}

/// What is in each of these copies of `deploy/`, or the error in it.
fn check(folders: &[PathBuf]) -> Option<Vec<Value>> {
    let mut script = Command::new(python_with("deploy")?);
    script
        .arg(root().join("tests/deploy/check.py"))
        .args(folders);
    let lines = run(&mut script, b"").ok();
    let checked: Vec<_> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(checked.len(), folders.len());
    Some(checked)
}

/// The resources of one folder.
fn of<'a>(deploy: &'a Value, folder: &str) -> &'a [Value] {
    deploy["resources"][folder].as_array().unwrap()
}

/// The one resource of this kind.
fn one<'a>(resources: &'a [Value], kind: &str) -> &'a Value {
    let mut found = resources.iter().filter(|resource| resource["kind"] == kind);
    let resource = found.next().unwrap_or_else(|| panic!("there is no {kind}"));
    assert!(found.next().is_none(), "there are several of {kind}");
    resource
}

/// `pinhole serve --help`, on one line.
fn help() -> String {
    let help = run(pinhole().args(["serve", "--help"]), b"").ok();
    help.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn text(value: &Value) -> &str {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{value} is no text"))
}

fn number(value: &Value) -> u64 {
    value
        .as_u64()
        .unwrap_or_else(|| panic!("{value} is no number"))
}

#[test]
fn every_resource_is_what_its_schema_says() {
    let Some(deploy) = deploy() else { return };
    let mut kinds = BTreeMap::new();
    for resource in deploy["resources"]
        .as_object()
        .unwrap()
        .values()
        .flat_map(|all| all.as_array().unwrap())
    {
        *kinds.entry(text(&resource["kind"])).or_insert(0) += 1;
    }
    for kind in [
        "Deployment",
        "HorizontalPodAutoscaler",
        "InferenceService",
        "NetworkPolicy",
        "PodDisruptionBudget",
        "Service",
        "ServiceMonitor",
        "ServingRuntime",
    ] {
        assert!(kinds.contains_key(kind), "there is no {kind}");
    }
    say(&format!(
        "resources checked against their schemas: {kinds:?}"
    ));
}

/// The schemas are strict, each of them: what they do not know is an error, and not ignored.
#[test]
fn a_misspelt_field_is_found_in_every_kind_of_file() {
    let misspelt = [
        (
            "kubernetes/base/deployment.yaml",
            "readOnlyRootFilesystem:",
            "readOnlyRootFileSystem:",
        ),
        (
            "kubernetes/base/kustomization.yaml",
            "configMapGenerator:",
            "configMapGenerators:",
        ),
        (
            "kubernetes/components/monitoring/service-monitor.yaml",
            "interval: 15s",
            "intervall: 15s",
        ),
        (
            "kubernetes/overlays/production/kustomization.yaml",
            "- ../../base",
            "- ../../bases",
        ),
        (
            "kserve/inference-service.yaml",
            "maxReplicas: 10",
            "maxReplicas: \"10\"",
        ),
        (
            "kserve/serving-runtime.yaml",
            "containerPort:",
            "containerport:",
        ),
        (
            "knative/service.yaml",
            "containerConcurrency:",
            "containerConcurency:",
        ),
        ("compose.yaml", "stop_grace_period:", "stop_grace_time:"),
    ];
    let folder = tempfile::tempdir().unwrap();
    let mut copies = Vec::new();
    for (index, (file, right, wrong)) in misspelt.iter().enumerate() {
        let copied = folder.path().join(index.to_string());
        copy(&root().join("deploy"), &copied);
        let before = std::fs::read_to_string(copied.join(file)).unwrap();
        let after = before.replacen(right, wrong, 1);
        assert_ne!(before, after, "{file} has no {right}");
        std::fs::write(copied.join(file), after).unwrap();
        copies.push(copied);
    }
    let Some(checked) = check(&copies) else {
        return;
    };
    for ((file, _, wrong), found) in misspelt.iter().zip(checked) {
        assert!(
            found["error"].is_string(),
            "{wrong} in {file} is not noticed"
        );
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else if path.extension() != Some(OsStr::new("json")) {
            std::fs::copy(&path, target).unwrap();
        }
    }
}
