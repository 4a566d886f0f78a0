//! The inner loops, once for each set of instructions, with the same functions in each.

#[cfg(target_arch = "x86_64")]
pub(super) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(super) mod avx512;
#[cfg(target_arch = "x86_64")]
pub(super) mod chunks;
pub(super) mod plain;
#[cfg(target_arch = "x86_64")]
pub(super) mod sums;
#[cfg(target_arch = "x86_64")]
pub(super) mod votes;
