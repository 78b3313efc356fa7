//! Eight 32-bit lanes: the keys of one bucket of the live table, compared all at once.
//!
//! On wasm two SIMD vectors, elsewhere (for the tests) an array.

#[cfg(target_arch = "wasm32")]
pub use wasm::Lanes;

#[cfg(not(target_arch = "wasm32"))]
pub use portable::Lanes;

#[cfg(target_arch = "wasm32")]
mod wasm {
    use core::arch::wasm32::{
        i16x8_bitmask, i16x8_narrow_i32x4, i32x4_eq, u32x4, u32x4_extract_lane, u32x4_splat, v128, v128_andnot,
        v128_bitselect,
    };

    /// Eight 32-bit lanes.
    #[derive(Clone, Copy)]
    #[repr(C, align(32))]
    pub struct Lanes(v128, v128);

    impl Lanes {
        /// The same value in each lane.
        #[inline(always)]
        pub fn splat(value: u32) -> Self {
            Self(u32x4_splat(value), u32x4_splat(value))
        }

        /// Lanes that are equal in both: all ones there, all zeros elsewhere.
        #[inline(always)]
        pub fn equal(self, other: Self) -> Self {
            Self(i32x4_eq(self.0, other.0), i32x4_eq(self.1, other.1))
        }

        /// One bit for each lane of a comparison's result.
        #[inline(always)]
        pub fn bits(self) -> u32 {
            u32::from(i16x8_bitmask(i16x8_narrow_i32x4(self.0, self.1)))
        }

        /// Zero in the lanes of a comparison's result.
        #[inline(always)]
        pub fn clear(self, hits: Self) -> Self {
            Self(v128_andnot(self.0, hits.0), v128_andnot(self.1, hits.1))
        }

        /// All eight.
        pub fn values(self) -> [u32; 8] {
            [
                u32x4_extract_lane::<0>(self.0),
                u32x4_extract_lane::<1>(self.0),
                u32x4_extract_lane::<2>(self.0),
                u32x4_extract_lane::<3>(self.0),
                u32x4_extract_lane::<0>(self.1),
                u32x4_extract_lane::<1>(self.1),
                u32x4_extract_lane::<2>(self.1),
                u32x4_extract_lane::<3>(self.1),
            ]
        }

        /// `value` in the given lane, 0 to 7.
        #[inline(always)]
        pub fn with(self, lane: u32, value: u32) -> Self {
            let (value, lane) = (u32x4_splat(value), u32x4_splat(lane));
            Self(
                v128_bitselect(value, self.0, i32x4_eq(u32x4(0, 1, 2, 3), lane)),
                v128_bitselect(value, self.1, i32x4_eq(u32x4(4, 5, 6, 7), lane)),
            )
        }
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod portable {
    /// Eight 32-bit lanes.
    #[derive(Clone, Copy)]
    #[repr(C, align(32))]
    pub struct Lanes([u32; 8]);

    impl Lanes {
        /// The same value in each lane.
        pub fn splat(value: u32) -> Self {
            Self([value; 8])
        }

        /// Lanes that are equal in both: all ones there, all zeros elsewhere.
        pub fn equal(self, other: Self) -> Self {
            Self(core::array::from_fn(|i| {
                if self.0[i] == other.0[i] { !0 } else { 0 }
            }))
        }

        /// One bit for each lane of a comparison's result.
        pub fn bits(self) -> u32 {
            (0..8).map(|i| (self.0[i] >> 31) << i).sum()
        }

        /// Zero in the lanes of a comparison's result.
        pub fn clear(self, hits: Self) -> Self {
            Self(core::array::from_fn(|i| self.0[i] & !hits.0[i]))
        }

        /// All eight.
        pub fn values(self) -> [u32; 8] {
            self.0
        }

        /// `value` in the given lane, 0 to 7.
        pub fn with(mut self, lane: u32, value: u32) -> Self {
            self.0[lane as usize] = value;
            self
        }
    }
}
