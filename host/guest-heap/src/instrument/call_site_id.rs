//! The numbers in calling contexts: the factor between two calls, and the ids of call sites.

/// The factor `K`. It is odd, so that no bit of the caller's context is lost, and has no pattern.
/// It fits into 31 bits, so that machine code has it in the multiplication itself.
pub(crate) const MULTIPLIER: u64 = 0x4FBB_3E23;

/// The id of the call site at an offset in its original module. 32 bits make the instruction short,
/// in wasm and in machine code.
pub(crate) fn site_id(start: u64, salt: u64) -> i32 {
    mix(start ^ salt) as i32
}

/// Makes the call sites of a module different from those of other modules. `index` is the module's
/// index in the component.
pub(crate) fn module_salt(index: u32) -> u64 {
    mix(u64::from(index) + 1)
}

/// The finaliser of splitmix64: each input bit changes about half of the output bits.
pub(super) fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}
