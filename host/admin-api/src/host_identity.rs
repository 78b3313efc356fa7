//! Who a host is among others.

use std::collections::BTreeMap;

/// Who this host is among others.
#[derive(Debug, Clone, Default)]
pub struct HostIdentity {
    /// Its name, on Kubernetes that of the pod.
    pub name: String,
    /// The labels that it was started with.
    pub labels: BTreeMap<String, String>,
    /// The revision of the source that it was built from.
    pub revision: String,
}
