//! Random changes of components: what a fuzzer would upload. The same seed makes the same ones.

/// The most bytes of a component. Larger ones only take longer.
const MAX_BYTES: usize = 2 << 20;

/// Bytes that mean something in the binary format: ends of numbers, of ranges, and opcodes.
const BYTES: [u8; 12] = [
    0, 1, 2, 0x0b, 0x40, 0x7f, 0x80, 0xc0, 0xfc, 0xfd, 0xfe, 0xff,
];

/// Makes components from others.
#[derive(Debug)]
pub struct Mutations {
    seeds: Vec<Vec<u8>>,
    random: u64,
}

impl Mutations {
    /// Changes of these components.
    #[must_use]
    pub fn new(seeds: Vec<Vec<u8>>, seed: u64) -> Self {
        Mutations {
            seeds,
            random: seed.max(1),
        }
    }

    /// The next component: one of the others with one to four changes.
    pub fn next_component(&mut self) -> Vec<u8> {
        let mut bytes = self.seed();
        for _ in 0..=self.below(4) {
            self.change(&mut bytes);
        }
        bytes.truncate(MAX_BYTES);
        bytes
    }

    fn seed(&mut self) -> Vec<u8> {
        let index = self.below(self.seeds.len());
        self.seeds.get(index).cloned().unwrap_or_default()
    }

    fn change(&mut self, bytes: &mut Vec<u8>) {
        let at = self.below(bytes.len());
        // Most sections are short and near the start.
        let near = self.below(bytes.len().min(400));
        let kind = self.below(9);
        let at = if self.below(2) == 0 { at } else { near };
        let length = self.below(64).min(bytes.len() - at);
        match kind {
            0 | 1 => self.replace(bytes, at, |random| random),
            2 | 3 => self.replace(bytes, at, |random| {
                let index = random as usize % BYTES.len();
                BYTES.get(index).copied().unwrap_or_default().into()
            }),
            4 => bytes.truncate(at),
            5 => drop(bytes.drain(at..at + length)),
            6 => {
                let copy = bytes.get(at..at + length).unwrap_or_default().to_vec();
                bytes.splice(at..at, copy);
            }
            // The largest number of 32 bits.
            7 => drop(bytes.splice(at..at, [0xff, 0xff, 0xff, 0xff, 0x0f])),
            _ => {
                let other = self.seed();
                let from = self.below(other.len());
                let rest = other.get(from..).unwrap_or_default();
                bytes.splice(at.., rest.iter().copied());
            }
        }
    }

    fn replace(&mut self, bytes: &mut [u8], at: usize, by: impl Fn(u64) -> u64) {
        let random = self.next();
        if let Some(byte) = bytes.get_mut(at) {
            *byte = by(random).to_le_bytes()[0];
        }
    }

    /// A number below `end`; 0 below 0.
    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % (end.max(1) as u64)).unwrap_or_default()
    }

    /// Xorshift: no result depends on the quality of the numbers.
    fn next(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_makes_the_same_components_and_they_differ_from_the_original() {
        let seeds = vec![vec![7; 100], Vec::new()];
        let components = |seed| {
            let mut mutations = Mutations::new(seeds.clone(), seed);
            (0..200)
                .map(|_| mutations.next_component())
                .collect::<Vec<_>>()
        };
        assert_eq!(components(3), components(3));
        assert_ne!(components(3), components(4));
        let same = components(3).iter().filter(|c| seeds.contains(c)).count();
        assert!(same < 100, "{same}");
    }
}
