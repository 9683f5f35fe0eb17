//! Chance for the spread of reconnections.

/// Random numbers from a seed, good enough to spread reconnections.
#[derive(Debug)]
pub(super) struct Random(u64);

impl Random {
    /// Neighbouring seeds give unlike numbers (the finalizer of SplitMix64, Steele 2014).
    pub(super) fn new(seed: u64) -> Self {
        let mut mixed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        Self((mixed ^ (mixed >> 31)) | 1)
    }

    /// From 0 to 1 (xorshift64*, Marsaglia 2003 and Vigna 2016).
    pub(super) fn fraction(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let bits = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 40;
        bits as f64 / (1u64 << 24) as f64
    }
}
