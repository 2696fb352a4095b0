//! Pods: what their Pinhole is told, how it is probed, how it ends, what it may use.

use super::{deploy, help, number, of, text};
use crate::common::server::Server;
use crate::common::{dist, pinhole, root};
use serde_json::Value;
use std::collections::BTreeMap;

/// A pod, however it comes to be.
struct Workload<'a> {
    folder: &'a str,
    /// The pod's own fields.
    pod: &'a Value,
    container: &'a Value,
    /// What ends it: seconds in all, and seconds before SIGTERM.
    end: u64,
    pause: u64,
    /// What it is told.
    variables: BTreeMap<String, String>,
}

/// Every pod of every folder.
fn workloads(deploy: &Value) -> Vec<Workload<'_>> {
    let mut found = Vec::new();
    for (folder, resources) in deploy["resources"].as_object().unwrap() {
        let resources = resources.as_array().unwrap();
        for resource in resources {
            let spec = &resource["spec"];
            let (pod, end, lifecycle) = match text(&resource["kind"]) {
                "Deployment" => {
                    let pod = &spec["template"]["spec"];
                    let lifecycle = &pod["containers"][0]["lifecycle"];
                    (pod, &pod["terminationGracePeriodSeconds"], lifecycle)
                }
                // Knative gives a pod as long as a request, and has a pause of its own.
                "Service" if resource["apiVersion"] == "serving.knative.dev/v1" => {
                    let pod = &spec["template"]["spec"];
                    (pod, &pod["timeoutSeconds"], &Value::Null)
                }
                // The rest of it is in the InferenceService.
                "ServingRuntime" => {
                    let service = super::one(resources, "InferenceService");
                    let predictor = &service["spec"]["predictor"];
                    let end = &predictor["terminationGracePeriodSeconds"];
                    (spec, end, &predictor["model"]["lifecycle"])
                }
                _ => continue,
            };
            let [container] = pod["containers"].as_array().unwrap().as_slice() else {
                panic!("{folder}: more than one container");
            };
            found.push(Workload {
                folder,
                pod,
                container,
                end: number(end),
                pause: lifecycle["preStop"]["sleep"]["seconds"]
                    .as_u64()
                    .unwrap_or(0),
                variables: variables(resources, container),
            });
        }
    }
    assert_eq!(found.len(), 5, "base, two overlays, KServe, Knative");
    found
}

/// The container's environment, as the cluster would fill it in.
fn variables(resources: &[Value], container: &Value) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    for from in container["envFrom"].as_array().into_iter().flatten() {
        let name = &from["configMapRef"]["name"];
        let map = resources
            .iter()
            .find(|resource| {
                resource["kind"] == "ConfigMap" && resource["metadata"]["name"] == *name
            })
            .unwrap_or_else(|| panic!("there is no ConfigMap {name}"));
        for (name, value) in map["data"].as_object().unwrap() {
            variables.insert(name.clone(), text(value).to_string());
        }
    }
    for variable in container["env"].as_array().into_iter().flatten() {
        let value = match &variable["valueFrom"]["resourceFieldRef"]["resource"] {
            Value::Null => text(&variable["value"]).to_string(),
            resource => {
                assert_eq!(resource, "requests.cpu");
                cores(text(&container["resources"]["requests"]["cpu"])).to_string()
            }
        };
        variables.insert(text(&variable["name"]).to_string(), value);
    }
    variables
}

/// Cores, rounded up, as the downward API does it.
fn cores(quantity: &str) -> u64 {
    match quantity.strip_suffix('m') {
        Some(thousandths) => thousandths.parse::<u64>().unwrap().div_ceil(1000),
        None => quantity.parse().unwrap(),
    }
}

fn mebibytes(quantity: &str) -> u64 {
    quantity.strip_suffix("Mi").unwrap().parse().unwrap()
}

/// Whether `pinhole serve` takes a variable.
fn is_known(help: &str, variable: &str) -> bool {
    help.contains(&format!("[env: {variable}=")) || help.contains(&format!("[env: {variable}]"))
}

#[test]
fn every_variable_is_pinhole_s_own() {
    let Some(deploy) = deploy() else { return };
    let help = help();
    assert!(!is_known(&help, "PINHOLE_WORKER") && is_known(&help, "PINHOLE_WORKERS"));
    for workload in workloads(deploy) {
        assert!(workload.variables.len() > 4, "{:?}", workload.variables);
        for variable in workload.variables.keys() {
            assert!(
                is_known(&help, variable),
                "{}: {variable} is in no flag's help",
                workload.folder
            );
        }
        // Nothing but the image's own command line.
        for field in ["args", "command"] {
            assert_eq!(
                workload.container[field],
                Value::Null,
                "{}",
                workload.folder
            );
        }
    }
}

#[test]
fn a_real_service_takes_the_variables_and_answers_the_probes() {
    let Some(deploy) = deploy() else { return };
    for workload in workloads(deploy) {
        let mut command = pinhole();
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--component"])
            .arg(dist("guest.cwasm"))
            .envs(&workload.variables);
        let server = Server::run(&mut command);
        let metrics = server.client.get("/metrics").body;
        let workers = &workload.variables["PINHOLE_WORKERS"];
        assert!(
            metrics.contains(&format!("pinhole_workers {workers}\n")),
            "{metrics}"
        );
        // One line of JSON for each event.
        assert!(server.log().starts_with('{'), "{}", server.log());

        let ports = workload.container["ports"].as_array().unwrap();
        let [port] = ports.as_slice() else {
            panic!("{ports:?}")
        };
        let probe = |name: &str| {
            let probe = &workload.container[format!("{name}Probe")];
            assert!(probe.is_object(), "{}: no {name} probe", workload.folder);
            let target = &probe["httpGet"]["port"];
            assert!(
                target.is_null() || *target == port["name"] || *target == port["containerPort"],
                "{}: the {name} probe asks at {target}",
                workload.folder
            );
            text(&probe["httpGet"]["path"]).to_string()
        };
        assert_eq!(probe("readiness"), "/v2/health/ready");
        assert_eq!(probe("liveness"), "/v2/health/live");
        for path in [probe("readiness"), probe("liveness")] {
            assert_eq!(server.client.get(&path).status, 200, "{path}");
        }
        if workload.folder.starts_with("kubernetes") {
            assert_eq!(probe("startup"), probe("readiness"));
        }
    }
}

#[test]
fn pods_listen_where_they_say() {
    let Some(deploy) = deploy() else { return };
    let dockerfile = std::fs::read_to_string(root().join("Dockerfile.scratch")).unwrap();
    let help = help();
    for workload in workloads(deploy) {
        let port = &workload.container["ports"][0]["containerPort"];
        assert!(dockerfile.contains(&format!("EXPOSE {port}\n")));
        assert!(
            help.contains(&format!("0.0.0.0 with PORT, or {port}]")),
            "{help}"
        );
    }
    // Knative names the port in a variable.
    let mut command = pinhole();
    command
        .arg("serve")
        .env("PORT", "0")
        .env("MODEL_PATH", dist("guest.cwasm"));
    let server = Server::run(&mut command);
    assert!(server.client.address.starts_with("0.0.0.0:"));
}

#[test]
fn there_is_time_to_end_in() {
    let Some(deploy) = deploy() else { return };
    for Workload {
        folder,
        end,
        pause,
        variables,
        ..
    } in workloads(deploy)
    {
        let grace: u64 = variables["PINHOLE_GRACE_S"].parse().unwrap();
        assert!(
            pause + grace < end,
            "{folder}: {pause} + {grace} s in {end} s"
        );
        if folder != "knative" {
            assert!(pause > 0, "{folder}: nothing waits for the nodes to know");
        }
    }
}

#[test]
fn memory_holds_what_may_come_together() {
    let Some(deploy) = deploy() else { return };
    for Workload {
        folder,
        container,
        variables,
        ..
    } in workloads(deploy)
    {
        let of = |name: &str| variables[name].parse::<u64>().unwrap();
        let most =
            of("PINHOLE_WORKERS") * of("PINHOLE_MEMORY_MIB") + of("PINHOLE_BODIES_MIB") + 256;
        let limit = mebibytes(text(&container["resources"]["limits"]["memory"]));
        assert!(most <= limit, "{folder}: {most} MiB in {limit} MiB");
        assert_eq!(
            of("PINHOLE_WORKERS"),
            cores(text(&container["resources"]["requests"]["cpu"]))
        );
    }
}

/// The `restricted` Pod Security Standard, and a file system that nobody writes to.
#[test]
fn nothing_is_allowed_that_is_not_needed() {
    let Some(deploy) = deploy() else { return };
    for Workload {
        folder,
        pod,
        container,
        ..
    } in workloads(deploy)
    {
        let own = &container["securityContext"];
        let either = |field: &str| match &own[field] {
            Value::Null => &pod["securityContext"][field],
            value => value,
        };
        assert_eq!(*either("runAsNonRoot"), true, "{folder}");
        assert_eq!(*either("runAsUser"), 65532, "{folder}");
        assert_eq!(
            either("seccompProfile")["type"],
            "RuntimeDefault",
            "{folder}"
        );
        assert_eq!(own["allowPrivilegeEscalation"], false, "{folder}");
        assert_eq!(own["readOnlyRootFilesystem"], true, "{folder}");
        assert_eq!(
            own["capabilities"],
            serde_json::json!({"drop": ["ALL"]}),
            "{folder}"
        );
        assert_eq!(pod["volumes"], Value::Null, "{folder}");
    }
    let namespace = super::one(of(deploy, "kubernetes/base"), "Namespace");
    assert_eq!(
        namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"],
        "restricted"
    );
}

#[test]
fn images_are_of_this_version() {
    let Some(deploy) = deploy() else { return };
    for Workload {
        folder, container, ..
    } in workloads(deploy)
    {
        let expected = match folder {
            // As `cargo xtask image` calls it.
            "kubernetes/base" | "kubernetes/overlays/local" => "pinhole".to_string(),
            _ => format!("registry.example.com/pinhole:{}", env!("CARGO_PKG_VERSION")),
        };
        assert_eq!(container["image"], *expected, "{folder}");
    }
}
