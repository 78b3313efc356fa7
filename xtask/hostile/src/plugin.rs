//! Plugins that fit the contract and are written by hand, to do what no compiler makes them do.

use std::fmt::Write as _;
use std::path::Path;

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};

/// Where the manifest is in linear memory, with its texts after it.
const DATA: usize = 1024;
/// Where the answers of all calls are. Zeros mean success.
const ANSWER: usize = 512;
/// Bytes of the manifest record, and of one setting.
const MANIFEST_BYTES: usize = 48;
const SETTING_BYTES: usize = 56;

/// A plugin in parts of wasm text. Each part is empty in a plugin that does nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Plugin<'a> {
    /// Its id: at most 40 characters.
    pub id: &'a str,
    /// Imports, which come first in a module. `$log` of the contract is there already.
    pub imports: &'a str,
    /// Tables, types, globals and functions.
    pub fields: &'a str,
    /// The start function.
    pub start: &'a str,
    /// Runs in `describe`.
    pub describe: &'a str,
    /// Runs in `on-request`. The answer is at address 512.
    pub on_request: &'a str,
    /// Runs in `clear`.
    pub clear: &'a str,
}

impl Plugin<'_> {
    /// Encodes the plugin as a component. `wit` is the folder of the contract.
    ///
    /// # Errors
    ///
    /// When a part is not valid, or when it does not fit the contract.
    pub fn build(&self, wit: &Path) -> anyhow::Result<Vec<u8>> {
        let mut module = wat::parse_str(self.text())?;
        let mut resolve = wit_parser::Resolve::default();
        let (package, _) = resolve.push_path(wit)?;
        let world = resolve.select_world(&[package], Some("leak-plugin"))?;
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8, false)?;
        ComponentEncoder::default().module(&module)?.encode()
    }

    fn text(&self) -> String {
        let Plugin {
            imports,
            fields,
            start,
            describe,
            on_request,
            clear,
            ..
        } = self;
        let data = escaped(&manifest(self.id));
        let start = match *start {
            "" => String::new(),
            body => format!("(func $start {LOCALS} {body}) (start $start)"),
        };
        format!(
            r#"(module
            (import "leak-lab:plugin/logging@0.1.0" "log" (func $log (param i32 i32 i32)))
            {imports}
            (memory (export "memory") 2)
            (data (i32.const {DATA}) "{data}")
            (data (i32.const 520) "\01")
            (global $next (mut i32) (i32.const 65536))
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (local $at i32)
              (local.set $at (i32.and (i32.add (global.get $next) (i32.const 15)) (i32.const -16)))
              (if (i32.gt_u (i32.add (local.get $at) (local.get 3)) (i32.const 130000))
                (then (local.set $at (i32.const 65536))))
              (global.set $next (i32.add (local.get $at) (local.get 3)))
              (local.get $at))
            {fields}
            (func (export "leak-lab:plugin/leak@0.1.0#describe") (result i32) {LOCALS}
              {describe} (i32.const {DATA}))
            (func (export "leak-lab:plugin/leak@0.1.0#configure") (param i32 i32) (result i32)
              (i32.const 544))
            (func (export "leak-lab:plugin/leak@0.1.0#on-request") (param i32) (result i32) {LOCALS}
              {on_request} (i32.const {ANSWER}))
            (func (export "leak-lab:plugin/leak@0.1.0#retained") (result i32) (i32.const 576))
            (func (export "leak-lab:plugin/leak@0.1.0#clear") (result i32) {LOCALS}
              {clear} (i32.const 576))
            {start})"#
        )
    }
}

/// Locals that every part can use.
const LOCALS: &str = "(local $i i32) (local $n i32)";

/// The manifest in the layout of the component model, at address [`DATA`]: `variant` as a choice
/// and `payload_bytes` as an integer.
fn manifest(id: &str) -> Vec<u8> {
    let settings = MANIFEST_BYTES;
    let choices = settings + 2 * SETTING_BYTES;
    let mut texts = Texts {
        start: DATA + choices + 16,
        bytes: Vec::new(),
    };
    let mut record = vec![0; choices + 16];
    let mut put = |at: usize, number: usize| {
        let end = at + 4;
        if let (Some(slot), Ok(number)) = (record.get_mut(at..end), u32::try_from(number)) {
            slot.copy_from_slice(&number.to_le_bytes());
        }
    };
    for (at, text) in [
        (0, id),
        (8, "1.0.0"),
        (16, "Title"),
        (24, "Description"),
        (32, "entries"),
        (settings, "variant"),
        (settings + 8, "Which variant"),
        (settings + 48, "leaky"),
        (settings + SETTING_BYTES, "payload_bytes"),
        (settings + SETTING_BYTES + 8, "Bytes of one request"),
        (choices, "leaky"),
        (choices + 8, "fixed"),
    ] {
        put(at, texts.add(text));
        put(at + 4, text.len());
    }
    put(40, DATA + settings);
    put(44, 2);
    // A choice of two words, with a text as its default.
    put(settings + 16, 3);
    put(settings + 24, DATA + choices);
    put(settings + 28, 2);
    put(settings + 40, 3);
    // An integer from 0 to 4096, with 0 as its default.
    put(settings + SETTING_BYTES + 16, 1);
    put(settings + SETTING_BYTES + 32, 4096);
    put(settings + SETTING_BYTES + 40, 1);
    record.extend(texts.bytes);
    record
}

struct Texts {
    start: usize,
    bytes: Vec<u8>,
}

impl Texts {
    /// Adds a text and returns its address.
    fn add(&mut self, text: &str) -> usize {
        let at = self.start + self.bytes.len();
        self.bytes.extend(text.bytes());
        at
    }
}

fn escaped(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "\\{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_without_parts_fits_the_contract() {
        let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit");
        let plugin = Plugin {
            id: "quiet",
            ..Plugin::default()
        };
        let component = plugin.build(&wit).unwrap();
        assert_eq!(component.get(..4), Some(&b"\0asm"[..]));
    }
}
