//! Four 32-bit lanes: the addresses in one bucket of the live table.
//!
//! On wasm, [`Lanes`] is a SIMD vector, so that one instruction compares all four. On other
//! targets, for the tests, it is an array.

#[cfg(target_arch = "wasm32")]
pub use wasm::Lanes;

#[cfg(not(target_arch = "wasm32"))]
pub use portable::Lanes;

/// Lanes of a vector.
pub const LANES: usize = 4;

#[cfg(target_arch = "wasm32")]
mod wasm {
    use core::arch::wasm32::{
        i32x4_bitmask, i32x4_eq, u32x4, u32x4_extract_lane, u32x4_splat, v128, v128_and, v128_or,
        v128_xor,
    };

    use super::LANES;

    /// Four 32-bit lanes.
    #[derive(Clone, Copy)]
    #[repr(transparent)]
    pub struct Lanes(v128);

    impl Lanes {
        /// A vector with `value` in each lane.
        #[inline(always)]
        pub fn splat(value: u32) -> Self {
            Self(u32x4_splat(value))
        }

        /// A vector with these values.
        #[inline(always)]
        pub fn load(values: &[u32; LANES]) -> Self {
            let [a, b, c, d] = *values;
            Self(u32x4(a, b, c, d))
        }

        /// Compares lane by lane: all ones where both are equal, all zeros elsewhere.
        #[inline(always)]
        pub fn equal(self, other: Self) -> Self {
            Self(i32x4_eq(self.0, other.0))
        }

        /// One bit per lane of a comparison's result; bit 0 is lane 0.
        #[inline(always)]
        pub fn bits(self) -> u32 {
            u32::from(i32x4_bitmask(self.0))
        }

        /// Sets the lanes that `hits` selects to zero. Each of them must hold `value`.
        #[inline(always)]
        pub fn clear(self, hits: Self, value: u32) -> Self {
            // This takes fewer instructions than "and not".
            Self(v128_xor(self.0, v128_and(hits.0, u32x4_splat(value))))
        }

        /// Sets a lane to `value`. The lane must be zero.
        #[inline(always)]
        pub fn fill(self, lane: u32, value: u32) -> Self {
            let here = i32x4_eq(u32x4(0, 1, 2, 3), u32x4_splat(lane));
            Self(v128_or(self.0, v128_and(here, u32x4_splat(value))))
        }

        /// The values of all lanes.
        pub fn values(self) -> [u32; LANES] {
            [
                u32x4_extract_lane::<0>(self.0),
                u32x4_extract_lane::<1>(self.0),
                u32x4_extract_lane::<2>(self.0),
                u32x4_extract_lane::<3>(self.0),
            ]
        }
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod portable {
    use super::LANES;

    /// Four 32-bit lanes.
    #[derive(Clone, Copy)]
    #[repr(C, align(16))]
    pub struct Lanes([u32; LANES]);

    impl Lanes {
        /// A vector with `value` in each lane.
        pub fn splat(value: u32) -> Self {
            Self([value; LANES])
        }

        /// A vector with these values.
        pub fn load(values: &[u32; LANES]) -> Self {
            Self(*values)
        }

        /// Compares lane by lane: all ones where both are equal, all zeros elsewhere.
        pub fn equal(self, other: Self) -> Self {
            Self(core::array::from_fn(|i| {
                if self.0[i] == other.0[i] { !0 } else { 0 }
            }))
        }

        /// One bit per lane of a comparison's result; bit 0 is lane 0.
        pub fn bits(self) -> u32 {
            (0..LANES).map(|i| (self.0[i] >> 31) << i).sum()
        }

        /// Sets the lanes that `hits` selects to zero. Each of them must hold `value`.
        pub fn clear(self, hits: Self, value: u32) -> Self {
            Self(core::array::from_fn(|i| self.0[i] ^ (hits.0[i] & value)))
        }

        /// Sets a lane to `value`. The lane must be zero.
        pub fn fill(mut self, lane: u32, value: u32) -> Self {
            self.0[lane as usize] |= value;
            self
        }

        /// The values of all lanes.
        pub fn values(self) -> [u32; LANES] {
            self.0
        }
    }
}
