//! How resources find each other, and what they scale by.

use super::{deploy, number, of, one, text};
use crate::common::server::Server;
use crate::common::{promtool, run};
use serde_json::{Value, json};

const BASE: &str = "kubernetes/base";
const PRODUCTION: &str = "kubernetes/overlays/production";

/// Whether a label selector that names labels names only such as there are.
fn selects(selector: &Value, labels: &Value) -> bool {
    let wanted = selector.as_object().unwrap();
    !wanted.is_empty() && wanted.iter().all(|(name, value)| labels[name] == *value)
}

#[test]
fn everything_selects_the_pods() {
    let Some(deploy) = deploy() else { return };
    for folder in [BASE, PRODUCTION, "kubernetes/overlays/local"] {
        let resources = of(deploy, folder);
        let deployment = one(resources, "Deployment");
        let labels = &deployment["spec"]["template"]["metadata"]["labels"];
        let is_local = folder.ends_with("local");
        let mut selectors = vec![
            &deployment["spec"]["selector"]["matchLabels"],
            &one(resources, "Service")["spec"]["selector"],
        ];
        if !is_local {
            selectors
                .push(&one(resources, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"]);
        }
        let policies = resources
            .iter()
            .filter(|resource| resource["kind"] == "NetworkPolicy");
        selectors.extend(policies.map(|policy| &policy["spec"]["podSelector"]["matchLabels"]));
        for selector in selectors {
            assert!(selects(selector, labels), "{folder}: {selector}");
        }
        for resource in resources
            .iter()
            .filter(|resource| resource["kind"] != "Namespace")
        {
            assert_eq!(
                resource["metadata"]["namespace"], "pinhole",
                "{folder}: {resource}"
            );
        }
        // A number of replicas and an autoscaler would undo each other.
        assert_eq!(
            deployment["spec"]["replicas"].is_null(),
            !is_local,
            "{folder}"
        );
    }
}

#[test]
fn ports_have_the_name_that_they_are_asked_by() {
    let Some(deploy) = deploy() else { return };
    let resources = of(deploy, PRODUCTION);
    let container = &one(resources, "Deployment")["spec"]["template"]["spec"]["containers"][0];
    let port = text(&container["ports"][0]["name"]);
    let service = &one(resources, "Service")["spec"]["ports"][0];
    assert_eq!(service["targetPort"], port);
    let endpoint = &one(resources, "ServiceMonitor")["spec"]["endpoints"][0];
    assert_eq!(endpoint["port"], service["name"]);
    for policy in resources
        .iter()
        .filter(|resource| resource["kind"] == "NetworkPolicy")
    {
        for rule in policy["spec"]["ingress"].as_array().unwrap() {
            assert_eq!(rule["ports"], json!([{"port": port}]));
        }
    }
    let server = Server::start(&[]);
    assert_eq!(server.client.get(text(&endpoint["path"])).status, 200);
}

#[test]
fn the_autoscaler_scales_by_what_there_is() {
    let Some(deploy) = deploy() else { return };
    let autoscaler = one(of(deploy, PRODUCTION), "HorizontalPodAutoscaler");
    let target = &autoscaler["spec"]["scaleTargetRef"];
    let deployment = one(of(deploy, PRODUCTION), "Deployment");
    assert_eq!(target["kind"], deployment["kind"]);
    assert_eq!(target["apiVersion"], deployment["apiVersion"]);
    assert_eq!(target["name"], deployment["metadata"]["name"]);
    assert!(number(&autoscaler["spec"]["minReplicas"]) >= 2);

    let metrics = autoscaler["spec"]["metrics"].as_array().unwrap();
    let [cpu, queue] = metrics.as_slice() else {
        panic!("{metrics:?}")
    };
    assert_eq!(cpu["resource"]["name"], "cpu");
    // A share of what is requested: nothing where nothing is.
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    assert!(container["resources"]["requests"]["cpu"].is_string());
    let name = text(&queue["pods"]["metric"]["name"]);
    let rules = deploy["adapter"]["rules"]["custom"].as_array().unwrap();
    let [rule] = rules.as_slice() else {
        panic!("{rules:?}")
    };
    assert!(text(&rule["seriesQuery"]).starts_with(&format!("{name}{{")));
    let server = Server::start(&[]);
    let metrics = server.client.get("/metrics").body;
    assert!(
        metrics.contains(&format!("# TYPE {name} gauge\n")),
        "{metrics}"
    );
}

/// The query that prometheus-adapter makes of its template, as Prometheus' own parser reads it.
#[test]
fn the_adapter_s_query_is_one() {
    let (Some(deploy), Some(mut promtool)) = (deploy(), promtool()) else {
        return;
    };
    let rule = &deploy["adapter"]["rules"]["custom"][0];
    let query = text(&rule["metricsQuery"])
        .replace("<<.Series>>", "pinhole_queue_depth")
        .replace("<<.LabelMatchers>>", r#"namespace="pinhole",pod=~"a|b""#)
        .replace("<<.GroupBy>>", "pod");
    assert!(!query.contains("<<"), "{query}");
    let folder = tempfile::tempdir().unwrap();
    let rules = folder.path().join("rules.json");
    let group =
        json!({"groups": [{"name": "adapter", "rules": [{"record": "depth", "expr": query}]}]});
    // JSON is YAML.
    std::fs::write(&rules, group.to_string()).unwrap();
    run(promtool.args(["check", "rules"]).arg(rules), b"").ok();
}

#[test]
fn kserve_s_clients_find_the_model() {
    let Some(deploy) = deploy() else { return };
    let (runtime, service) = (
        one(of(deploy, "kserve"), "ServingRuntime"),
        one(of(deploy, "kserve"), "InferenceService"),
    );
    let model = &service["spec"]["predictor"]["model"];
    assert_eq!(model["runtime"], runtime["metadata"]["name"]);
    let formats = runtime["spec"]["supportedModelFormats"].as_array().unwrap();
    assert!(formats.iter().any(|format| {
        format["name"] == model["modelFormat"]["name"]
            && format["version"] == model["modelFormat"]["version"]
    }));
    let protocols = runtime["spec"]["protocolVersions"].as_array().unwrap();
    assert!(protocols.contains(&model["protocolVersion"]));
    // KServe looks for a container of this name.
    assert_eq!(runtime["spec"]["containers"][0]["name"], "kserve-container");
    let server = Server::start(&[]);
    let path = format!("/v2/models/{}/ready", text(&service["metadata"]["name"]));
    assert_eq!(server.client.get(&path).status, 200, "{path}");
}

#[test]
fn knative_scales_to_zero_within_what_pinhole_takes() {
    let Some(deploy) = deploy() else { return };
    let [service] = of(deploy, "knative") else {
        panic!("one file, one service")
    };
    let template = &service["spec"]["template"];
    let annotation = |name: &str| {
        text(&template["metadata"]["annotations"][format!("autoscaling.knative.dev/{name}")])
            .parse::<u64>()
            .unwrap()
    };
    assert_eq!(annotation("min-scale"), 0);
    let variable = |name: &str| {
        let all = template["spec"]["containers"][0]["env"].as_array().unwrap();
        let found = all
            .iter()
            .find(|variable| variable["name"] == name)
            .unwrap();
        text(&found["value"]).parse::<u64>().unwrap()
    };
    let taken = variable("PINHOLE_WORKERS") + variable("PINHOLE_QUEUE");
    assert_eq!(number(&template["spec"]["containerConcurrency"]), taken);
    assert!(annotation("target") <= taken);
}
