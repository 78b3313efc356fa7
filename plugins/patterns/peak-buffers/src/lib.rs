//! Buffers that never shrink.
//!
//! **Symptom.** Memory rises when connections receive one large message each, and it never falls,
//! although only small messages follow. It looks like a leak, but the growth ends when every
//! connection has had its large message. From then on memory stays far above what is needed.
//!
//! **Cause.** Each connection reuses one read buffer for all messages, which is good practice. But
//! to clear a buffer does not free it: the buffer stays as large as the largest message so far.
//! Here the first message of a connection has `payload_bytes`; all later messages have 64 bytes.
//!
//! **Fix.** `variant: fixed` frees a buffer that grew beyond `keep_bytes`. After a switch to
//! `fixed`, each request checks [`SHRINK_STEP`] connections and frees their large buffers.

use leak_plugin_sdk::{
    Call, Container, Effect, Failure, LeakPlugin, Retention, SHRINK_STEP, Variant,
};

leak_plugin_sdk::settings! {
    /// The number of connections, and the bound of the fixed variant.
    pub struct BufferSettings {
        /// Number of open connections. Each request uses the next one in turn.
        pub connections: usize = 10_000, in 1..=100_000;
        /// Maximum size in bytes of an idle buffer of the fixed variant.
        pub keep_bytes: usize = 256, in 0..=1_048_576;
    }
}

/// The size of every message of a connection except the first.
const SMALL_MESSAGE_BYTES: usize = 64;

/// The open connections of a server.
#[derive(Debug, Default)]
pub struct PeakBuffers {
    connections: Vec<Connection>,
    /// The index of the connection that receives the next message.
    next: usize,
    /// The index of the next connection that `sweep` checks.
    next_swept: usize,
    buffers: usize,     // The number of buffers that own memory.
    owned_bytes: usize, // Their total size.
}

#[derive(Debug, Default)]
struct Connection {
    read_buffer: Vec<u8>,
}

impl LeakPlugin for PeakBuffers {
    const TITLE: &'static str = "Buffers that never shrink";
    const UNIT: &'static str = "buffers";
    const PAYLOAD_BYTES: usize = 16 * 1024;
    const PAYLOAD_DESCRIPTION: &'static str =
        "Bytes of the first message of a connection. Its buffer stays that large.";
    type Settings = BufferSettings;

    fn on_request(&mut self, call: Call<'_, BufferSettings>) -> Result<Effect, Failure> {
        let open = call.settings.connections;
        // Allocates the table with its final size.
        self.connections
            .reserve_exact(open.saturating_sub(self.connections.len()));
        if self.next >= open {
            self.next = 0;
        }
        let message = if self.next < self.connections.len() {
            call.payload(SMALL_MESSAGE_BYTES)
        } else {
            self.connections.push(Connection::default());
            call.payload(call.payload_bytes)
        };
        let keep_bytes = (call.variant == Variant::Fixed).then_some(call.settings.keep_bytes);
        self.receive(self.next, message.as_bytes(), keep_bytes);
        self.next += 1;
        if let Some(keep_bytes) = keep_bytes {
            self.sweep(keep_bytes);
        }
        Ok(Effect::Triggered)
    }

    fn retained(&self) -> Retention {
        Retention::of(
            self.buffers,
            self.owned_bytes + self.connections.block_bytes(),
        )
    }
}

impl PeakBuffers {
    /// Reads a message into the buffer of a connection. With `keep_bytes`, it then frees a buffer
    /// that is larger.
    fn receive(&mut self, connection: usize, message: &[u8], keep_bytes: Option<usize>) {
        let Some(Connection { read_buffer }) = self.connections.get_mut(connection) else {
            return;
        };
        let before = read_buffer.block_bytes();
        // The bug: `clear` keeps the memory of the buffer.
        read_buffer.clear();
        read_buffer.extend_from_slice(message);
        // The fix: free a buffer that is too large.
        if keep_bytes.is_some_and(|keep| read_buffer.capacity() > keep) {
            *read_buffer = Vec::new();
        }
        let after = read_buffer.block_bytes();
        self.account(before, after);
    }

    /// Checks the next [`SHRINK_STEP`] connections and frees their large buffers.
    fn sweep(&mut self, keep_bytes: usize) {
        for _ in 0..SHRINK_STEP.min(self.connections.len()) {
            if self.next_swept >= self.connections.len() {
                self.next_swept = 0;
            }
            if let Some(Connection { read_buffer }) = self.connections.get_mut(self.next_swept)
                && read_buffer.capacity() > keep_bytes
            {
                let freed = std::mem::take(read_buffer);
                self.account(freed.block_bytes(), 0);
            }
            self.next_swept += 1;
        }
    }

    /// Updates the totals after one buffer changed from `before` to `after` bytes.
    fn account(&mut self, before: usize, after: usize) {
        self.owned_bytes = self.owned_bytes + after - before;
        self.buffers = self.buffers + usize::from(after > 0) - usize::from(before > 0);
    }
}

leak_plugin_sdk::export!(PeakBuffers);

#[cfg(test)]
mod tests;
