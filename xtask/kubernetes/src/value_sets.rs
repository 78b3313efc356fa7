//! The sets of values that every test renders.

/// A set of values.
#[derive(Debug)]
pub(crate) struct ValueSet {
    pub(crate) name: &'static str,
    /// Arguments of `--set-json`.
    pub(crate) values: &'static [&'static str],
}

pub(crate) const VALUE_SETS: &[ValueSet] = &[
    ValueSet {
        name: "defaults",
        values: &[],
    },
    ValueSet {
        name: "no operator and no token",
        values: &[
            "podMonitor.enabled=false",
            "prometheusRule.enabled=false",
            "dashboard.enabled=false",
            "networkPolicy.enabled=false",
            "podDisruptionBudget.enabled=false",
            "topologySpread.enabled=false",
            "admin.token.enabled=false",
            "scrapeAnnotations.enabled=true",
        ],
    },
    ValueSet {
        name: "canary",
        values: &[
            r#"canary={"enabled":true,"revision":"0.2.0","enable":["cache"],"env":{"RUST_LOG":"debug"}}"#,
            r#"canary.image={"tag":"0.2.0"}"#,
            r#"canary.plugins.configMaps=[{"name":"leaky","files":["leaky.wasm"]}]"#,
        ],
    },
    ValueSet {
        name: "plugins of ConfigMaps and init containers",
        values: &[
            r#"plugins.configMaps=[{"name":"mine","files":["a.wasm","b.wasm"]},{"name":"more","files":["c.wasm"]}]"#,
            r#"plugins.initContainers=[{"name":"team","image":"registry.invalid/plugins:1"}]"#,
        ],
    },
    ValueSet {
        name: "plugins of an image",
        values: &[r#"plugins.image.reference="registry.invalid/plugins:1""#],
    },
    ValueSet {
        name: "load tests, profiles and everything else",
        values: &[
            "loadTests.enabled=true",
            "heapProfiles.enabled=true",
            r#"otel={"endpoint":"http://collector:4317","protocol":"grpc"}"#,
            r#"hostLabels={"team":"blue"}"#,
            r#"env={"RUST_LOG":"info"}"#,
            r#"extraArgs=["--base-latency=5ms"]"#,
            r#"enable=["cache"]"#,
            r#"admin.token.existingSecret="mine""#,
            r#"admin.allowedHosts=["lab.example"]"#,
            r#"networkPolicy.adminFrom=[{"namespaceSelector":{"matchLabels":{"kubernetes.io/metadata.name":"monitoring"}}}]"#,
            r#"networkPolicy.httpFrom=[{"podSelector":{}}]"#,
            r#"podMonitor.labels={"release":"prometheus"}"#,
            r#"prometheusRule.labels={"release":"prometheus"}"#,
            r#"dashboard.annotations={"grafana_folder":"Lab"}"#,
            r#"image={"digest":"sha256:0000000000000000000000000000000000000000000000000000000000000000","pullSecrets":["registry"]}"#,
            r#"resources.cpuLimit="1""#,
            r#"podLabels={"team":"blue"}"#,
            r#"podAnnotations={"note":"a"}"#,
            r#"nodeSelector={"kubernetes.io/os":"linux"}"#,
            r#"tolerations=[{"key":"lab","operator":"Exists"}]"#,
            r#"affinity={"nodeAffinity":{}}"#,
            r#"priorityClassName="low""#,
        ],
    },
];
