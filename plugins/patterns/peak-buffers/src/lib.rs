//! Buffers that never shrink.
//!
//! **Symptom.** Memory rises as connections have their one large message, and stays there although only
//! small ones follow. It looks like a leak and yet ends: when each connection has had its peak. Then it
//! is far above what is needed, for good.
//!
//! **Cause.** Each connection has a read buffer that is used again for every message, which is a good
//! thing. Clearing a buffer keeps its memory: it is as large as the largest message it ever held.
//! Here the first message of a connection has `payload_bytes`, all later ones 64 bytes.
//!
//! **Fix.** `variant: fixed` gives a buffer back when it has become larger than `keep_bytes`. Buffers
//! that had grown before the switch are given back in steps of [`SHRINK_STEP`] per request.

use leak_plugin_sdk::{
    Call, Container, Effect, Failure, LeakPlugin, Retention, SHRINK_STEP, Variant,
};

leak_plugin_sdk::settings! {
    /// How many connections there are, and what the fixed variant lets them keep.
    pub struct BufferSettings {
        /// Connections that are open; requests come over one after the other.
        pub connections: usize = 10_000, in 1..=100_000;
        /// Bytes that a buffer of the fixed variant may keep between two messages.
        pub keep_bytes: usize = 256, in 0..=1_048_576;
    }
}

/// What every message but the first of a connection has, in bytes.
const SMALL_BYTES: usize = 64;

/// The open connections of a server.
#[derive(Debug, Default)]
pub struct PeakBuffers {
    connections: Vec<Connection>,
    /// The connection that the next message comes over.
    next: usize,
    /// Where the search for large buffers goes on.
    swept: usize,
    buffers: usize,
    buffers_bytes: usize,
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
        "Bytes of a connection's first message, which its buffer then keeps.";
    type Settings = BufferSettings;

    fn on_request(&mut self, call: Call<'_, BufferSettings>) -> Result<Effect, Failure> {
        let open = call.settings.connections;
        // The table is as large from the start as it will be.
        self.connections
            .reserve_exact(open.saturating_sub(self.connections.len()));
        if self.next >= open {
            self.next = 0;
        }
        let message = if self.next < self.connections.len() {
            call.payload(SMALL_BYTES)
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
            self.buffers_bytes + self.connections.block_bytes(),
        )
    }
}

impl PeakBuffers {
    /// Reads a message into the buffer of a connection. Between two messages the buffer keeps what it
    /// has, or `keep_bytes` at most.
    fn receive(&mut self, connection: usize, message: &[u8], keep_bytes: Option<usize>) {
        let Some(Connection { read_buffer }) = self.connections.get_mut(connection) else {
            return;
        };
        let before = read_buffer.block_bytes();
        // The bug: cleared, not freed.
        read_buffer.clear();
        read_buffer.extend_from_slice(message);
        if keep_bytes.is_some_and(|keep| read_buffer.capacity() > keep) {
            *read_buffer = Vec::new();
        }
        let after = read_buffer.block_bytes();
        self.account(before, after);
    }

    /// Gives back the large buffers among the next [`SHRINK_STEP`] connections.
    fn sweep(&mut self, keep_bytes: usize) {
        for _ in 0..SHRINK_STEP.min(self.connections.len()) {
            if self.swept >= self.connections.len() {
                self.swept = 0;
            }
            if let Some(Connection { read_buffer }) = self.connections.get_mut(self.swept)
                && read_buffer.capacity() > keep_bytes
            {
                let given_back = std::mem::take(read_buffer);
                self.account(given_back.block_bytes(), 0);
            }
            self.swept += 1;
        }
    }

    fn account(&mut self, before: usize, after: usize) {
        self.buffers_bytes = self.buffers_bytes + after - before;
        self.buffers = self.buffers + usize::from(after > 0) - usize::from(before > 0);
    }
}

leak_plugin_sdk::export!(PeakBuffers);

#[cfg(test)]
mod tests;
