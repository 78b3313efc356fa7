//! Values that the chart must refuse, each with a sentence that says what is wrong.

use anyhow::{Result, bail, ensure};

use crate::chart::Chart;

/// Values that are refused.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) name: &'static str,
    /// Arguments of `--set-json`.
    values: &'static [&'static str],
    /// Part of Helm's message.
    message: &'static str,
    /// More arguments of `helm template`.
    more: &'static [&'static str],
}

const fn case(
    name: &'static str,
    values: &'static [&'static str],
    message: &'static str,
) -> Refused {
    Refused {
        name,
        values,
        message,
        more: &[],
    }
}

#[rustfmt::skip] // One line for each case, as far as it fits.
pub(crate) const CASES: &[Refused] = &[
    case("a value that does not exist", &["replica=3"], "additional properties 'replica' not allowed"),
    case("no replicas", &["replicas=0"], "at '/replicas': minimum"),
    case("replicas as text", &[r#"replicas="five""#], "got string, want integer"),
    case("memory without a unit", &[r#"resources.memory="256""#], "at '/resources/memory'"),
    case("a revision that is no label", &[r#"revision="a b""#], "at '/revision'"),
    case("a digest that is none", &[r#"image.digest="sha256:1""#], "at '/image/digest'"),
    case("a port below 1024", &["service.adminPort=80"], "at '/service/adminPort'"),
    case("both ports equal", &["service.adminPort=8080"], "service.port and service.adminPort are both 8080"),
    case("an exporter over TLS", &[r#"otel.endpoint="https://a:4317""#], "at '/otel/endpoint'"),
    case("an address of pages without a slash", &[r#"prometheusRule.runbookUrl="https://a/b""#], "at '/prometheusRule/runbookUrl'"),
    case("no rules, but enabled", &["prometheusRule.lab=false", "prometheusRule.production=false"], "are both false: enable one"),
    case("a variable of the chart", &[r#"env={"LEAK_LABELS":"a=b"}"#], "the chart sets LEAK_LABELS itself"),
    case("a label of the chart", &[r#"hostLabels={"pod":"a"}"#], "the chart sets pod itself"),
    case("a Secret without a token", &[r#"admin.token={"enabled":false,"existingSecret":"a"}"#], "but admin.token.enabled is false"),
    case("a peer that is none", &[r#"networkPolicy.adminFrom=[{"namespace":"a"}]"#], "additional properties 'namespace' not allowed"),
    case("percent of one replica", &["replicas=1", r#"canary={"enabled":true,"revision":"b"}"#], "canary.enabled needs at least 2 replicas, and replicas is 1"),
    case("percent over 99", &["canary.percent=100"], "at '/canary/percent': maximum"),
    case("a canary without a revision", &["canary.enabled=true"], "canary.revision is empty"),
    case("a canary with the same revision", &[r#"revision="b""#, r#"canary={"enabled":true,"revision":"b"}"#], "canary.revision and revision are both \"b\""),
    case("a plugin file that is none", &[r#"plugins.configMaps=[{"name":"a","files":["a.txt"]}]"#], "at '/plugins/configMaps/0/files/0'"),
    case("a plugin twice", &[r#"plugins.configMaps=[{"name":"a","files":["x.wasm"]},{"name":"b","files":["x.wasm"]}]"#], "the file x.wasm comes from a and from b"),
    case("a source of plugins twice", &[r#"plugins.initContainers=[{"name":"a","image":"x"},{"name":"a","image":"y"}]"#], "two sources are called \"a\""),
    case("an image and other sources of plugins", &[r#"plugins.image.reference="a""#, r#"plugins.initContainers=[{"name":"a","image":"x"}]"#], "takes no more files"),
    case("a source of the canary twice", &[r#"canary.plugins.initContainers=[{"name":"a","image":"x"},{"name":"a","image":"y"}]"#], "canary.plugins.initContainers: two sources"),
    case("a load script that does not exist", &["loadTests.enabled=true", r#"loadTests.runs=[{"name":"a","script":"a.js"}]"#], "there is no script \"a.js\"; the chart has baseline.js"),
    case("two runs with one name", &["loadTests.enabled=true", r#"loadTests.runs=[{"name":"a","script":"burst.js"},{"name":"a","script":"burst.js"}]"#], "two runs are called \"a\""),
    Refused {
        more: &["--kube-version", "1.32.0"],
        ..case("an image of plugins on an old cluster", &[r#"plugins.image.reference="a""#], "needs Kubernetes 1.33, and this cluster has v1.32.0")
    },
    Refused {
        more: &["--kube-version", "1.29.0"],
        ..case("a cluster that is too old", &[], "requires kubeVersion: >=1.30.0-0")
    },
];

impl Refused {
    /// Helm must end with the message.
    ///
    /// # Errors
    /// When it does not.
    pub(crate) fn check(&self, chart: &Chart) -> Result<String> {
        match chart.template(self.values, self.more) {
            Ok(_) => bail!("Helm takes these values"),
            Err(error) => {
                let text = format!("{error:#}");
                ensure!(text.contains(self.message), "another reason: {text}");
                Ok(format!("{:?}", self.message))
            }
        }
    }
}
