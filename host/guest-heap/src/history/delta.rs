//! Encodes the differences between two readings in a few bytes.
//!
//! Each changed line takes three variable-length integers: the distance from the changed line
//! before it, and the changes of its bytes and of its blocks.

/// The change of one line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Delta {
    /// Position of the line in the table of the history.
    pub(super) line: u16,
    pub(super) bytes: i64,
    pub(super) objects: i64,
}

impl Delta {
    fn is_zero(&self) -> bool {
        self.bytes == 0 && self.objects == 0
    }
}

/// Encodes changes, which must be in ascending order of their lines. Omits changes of zero.
pub(super) fn encode(deltas: &[Delta]) -> Box<[u8]> {
    let mut encoded = Vec::with_capacity(deltas.len() * 6);
    let mut next = 0;
    for delta in deltas.iter().filter(|delta| !delta.is_zero()) {
        write_varint(&mut encoded, u64::from(delta.line.wrapping_sub(next)));
        write_varint(&mut encoded, zigzag(delta.bytes));
        write_varint(&mut encoded, zigzag(delta.objects));
        next = delta.line.wrapping_add(1);
    }
    encoded.into_boxed_slice()
}

/// Decodes the bytes of [`encode`].
pub(super) fn decode(mut encoded: &[u8]) -> impl Iterator<Item = Delta> + '_ {
    let mut next = 0_u16;
    std::iter::from_fn(move || {
        let line = next.wrapping_add(read_varint(&mut encoded)? as u16);
        let (bytes, objects) = (
            unzigzag(read_varint(&mut encoded)?),
            unzigzag(read_varint(&mut encoded)?),
        );
        next = line.wrapping_add(1);
        Some(Delta {
            line,
            bytes,
            objects,
        })
    })
}

/// Encodes changes in any order. Adds up the changes of the same line.
pub(super) fn encode_sums(mut deltas: Vec<Delta>) -> Box<[u8]> {
    deltas.sort_by_key(|delta| delta.line);
    deltas.dedup_by(|next, kept| {
        let same = next.line == kept.line;
        if same {
            kept.bytes += next.bytes;
            kept.objects += next.objects;
        }
        same
    });
    encode(&deltas)
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

fn write_varint(to: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        to.push(value as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}

fn read_varint(from: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = from.split_first()?;
        *from = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delta(line: u16, bytes: i64, objects: i64) -> Delta {
        Delta {
            line,
            bytes,
            objects,
        }
    }

    #[test]
    fn decoding_returns_the_encoded_changes_except_zeros() {
        let changes = [
            delta(0, 1, 0),
            delta(3, -70_000, -1),
            delta(4, 0, 0),
            delta(5, i64::MAX, i64::MIN),
            delta(511, -1, 300),
        ];
        let encoded = encode(&changes);
        let decoded: Vec<Delta> = decode(&encoded).collect();
        assert_eq!(decoded, [changes[0], changes[1], changes[3], changes[4]]);
        assert!(encode(&[delta(7, 0, 0)]).is_empty());
    }

    #[test]
    fn sums_add_up_and_omit_changes_that_cancel_out() {
        let both = [
            delta(1, 10, 1),
            delta(2, 5, 1),
            delta(0, 7, 1),
            delta(1, 10, 1),
            delta(2, -5, -1),
        ];
        let encoded = encode_sums(both.to_vec());
        let merged: Vec<Delta> = decode(&encoded).collect();
        assert_eq!(merged, [delta(0, 7, 1), delta(1, 20, 2)]);
    }
}
