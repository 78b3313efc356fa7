//! Memory that is not linear memory counts against the plugin's limit too.

use xtask_hostile::Plugin;

use crate::hostile::lab_with;
use crate::lab::{Lab, LabBuilder, MIB, failures};

/// Starts a host whose plugins have 64 MiB each, and time to take them on a busy machine.
async fn start(lab: LabBuilder) -> Lab {
    let lab = lab.args(["--plugin-memory-limit", "64MiB"]);
    lab.args(["--plugin-deadline", "10s"]).start().await
}

/// Sends requests to a plugin that takes what it gets, and checks that it stops at its limit.
async fn check_exhausted(plugin: &Plugin<'_>) {
    let lab = start(lab_with(plugin, &["cache"])).await;
    let before = lab.resident_bytes();
    lab.enable(plugin.id).await;
    let data = lab.data().await;
    let reason = failures(&data)[0]["reason"].to_string();
    assert!(reason.contains("memory limit"), "{reason}");
    assert_eq!(lab.leak(plugin.id).await["state"], "exhausted");
    let grown = lab.resident_bytes() - before;
    assert!(grown < 100.0 * MIB, "{grown}");
    assert_eq!(lab.get("/health").await["plugins"]["running"], 1);
}

#[tokio::test]
async fn tables_count_together() {
    let tables = 60;
    let fields: String = (0..tables)
        .map(|n| format!("(table $t{n} 0 funcref)"))
        .collect();
    let fields = format!("{fields} (func $f) (elem declare func $f)");
    let grow: String = (0..tables)
        .map(|n| {
            format!(
                "(if (i32.lt_s (table.grow $t{n} (ref.func $f) (i32.const 1000000)) (i32.const 0))
                   (then (unreachable)))"
            )
        })
        .collect();
    let plugin = Plugin {
        id: "tables",
        fields: &fields,
        on_request: &grow,
        ..Plugin::default()
    };
    check_exhausted(&plugin).await;
}

#[tokio::test]
async fn objects_of_the_garbage_collector_count() {
    let plugin = Plugin {
        id: "objects",
        fields: "(type $bytes (array (mut i8)))
                 (type $node (struct (field (ref $bytes)) (field (ref null $node))))
                 (global $list (mut (ref null $node)) (ref.null $node))",
        on_request: "(loop $more
            (global.set $list (struct.new $node
              (array.new $bytes (i32.const 1) (i32.const 1000000)) (global.get $list)))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $more (i32.lt_u (local.get $i) (i32.const 1000))))",
        ..Plugin::default()
    };
    check_exhausted(&plugin).await;
}

#[tokio::test]
async fn a_component_with_too_many_memories_is_refused() {
    let memories: String = (0..80).map(|n| format!("(memory $m{n} 1)")).collect();
    let plugin = Plugin {
        id: "memories",
        fields: &memories,
        ..Plugin::default()
    };
    let lab = start(lab_with(&plugin, &["cache"])).await;
    let listed = lab.get("/admin/plugins").await;
    let problem = listed["problems"][0]["error"].as_str().unwrap();
    assert!(problem.contains("memor"), "{problem}");
    assert_eq!(listed["plugins"].as_array().unwrap().len(), 1);
}
